"""Evaluate runs from their folders alone: scores, intervals, pictures and a report."""

import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from fer.callbacks.history import read_rows
from fer.checkpoint import Trained, load_trained
from fer.config import DataConfig, TrainConfig, checked
from fer.data.batches import Batch
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces, Split
from fer.device import auto_precision, hardware, root_device
from fer.errors import FerError
from fer.explain import grad_cam
from fer.figures import grad_cam_grid, mistakes, pr_curves, reliability
from fer.models.preprocess import FaceModel
from fer.report import Evaluation, write_report
from fer.runs import check_data, make_folder, read_config, read_environment, read_metrics, write_json
from fer.scores import Scores, calibration, score

Picture = tuple[str, str, Figure]  # title, caption and what is seen


class Result(NamedTuple):
    """What evaluating one run came to."""

    folder: Path
    name: str
    scores: Scores
    scores_flip: Scores
    report: Path


def load_run(folder: Path) -> tuple[TrainConfig, Trained]:
    """Return a run's configuration and its best model.

    Raises:
        FerError: If either is missing or damaged, or they are not of the same model.
    """
    config = checked(read_config(folder), TrainConfig)
    return config, load_trained(folder / "best.ckpt", config.model)


def predict(
    model: nn.Module, batches: Iterable[Batch], device: torch.device, low_precision: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """Return a model's logits without and with test-time flip.

    Args:
        model: Maps uint8 (N, 1, H, W) to logits (N, C); in evaluation mode, on `device`.
        batches: Faces and labels.
        device: Where to compute.
        low_precision: Compute in mixed precision with this type, as Lightning does in training; None for float32.

    Returns:
        Two float32 tensors (N, C) on the CPU: the logits, and the logarithm of the mean of the probabilities of
        each face and its mirror image.
    """
    plain, flipped = [], []
    with torch.inference_mode(), torch.autocast(device.type, low_precision, enabled=low_precision is not None):
        for faces, _ in batches:
            faces = faces.to(device)
            logits, mirrored = model(faces).float(), model(faces.flip(-1)).float()
            plain.append(logits.cpu())
            # the mean of the probabilities, in logarithms: a sure network's would underflow
            both = torch.logaddexp(logits.log_softmax(1), mirrored.log_softmax(1)) - math.log(2)
            flipped.append(both.cpu())
    return torch.cat(plain), torch.cat(flipped)


class Evaluator:
    """Scores runs on one split; runs that share a data set share one reading of it.

    Args:
        split: The split to score.
        accelerator: As Lightning names them; "auto" takes the best there is.
        data_root: Where the runs' data set lies now, if it has moved.

    Raises:
        FerError: If there is no such accelerator.
    """

    def __init__(self, split: Split, accelerator: str = "auto", data_root: str | None = None) -> None:
        self.split: Split = split
        self.device = root_device(accelerator)
        self.data_root = data_root
        self._data: FaceDataModule | None = None

    def evaluate(self, folder: Path, name: str | None = None) -> Result:
        """Score a run's best model, and write `metrics.json` and `report.html` into the run's folder.

        Args:
            folder: The run's folder.
            name: What to call it; its model's name by default.

        Raises:
            FerError: If the run cannot be loaded, or its data are not what it was trained on.
        """
        failure = (read_metrics(folder) or {}).get("error")
        if failure and not (folder / "best.ckpt").is_file():
            raise FerError(f"'{folder}' failed in training: {failure}")
        config, trained = load_run(folder)
        data = self._read(config)
        digest = check_data(folder, data.digest, data.all_faces.source)
        model = trained.model.to(self.device)
        batches = data.evaluation_dataloader(self.split)
        logits, flipped = predict(model, batches, self.device, _low_precision(config.trainer.precision, self.device))
        faces = data.faces[self.split]
        labels = torch.from_numpy(faces.labels)
        scores, scores_flip = score(logits, labels, trained.classes), score(flipped, labels, trained.classes)
        result = Result(
            folder, name or trained.name, scores, scores_flip, folder / "evaluation" / self.split / "report.html"
        )
        facts = self._facts(folder, trained, digest)
        make_folder(result.report.parent, "evaluate a copy of the run in a folder that can")
        write_json(
            result.report.with_name("metrics.json"), {**facts, **scores.to_dict(), "flip": scores_flip.to_dict()}
        )
        pictures = [*_diagrams(faces, logits), *_cams(model, faces, logits, self.device)]
        write_report(_evaluation(result, self.split, config, facts, pictures), result.report)
        return result

    def _read(self, config: TrainConfig) -> FaceDataModule:
        """Return the faces that a run means, those of the run before where they are the same."""
        data = replace(
            config.data,
            root=self.data_root or config.data.root,
            oversample=replace(config.data.oversample, enabled=False),  # no split is scored with copies in it
        )
        if self._data is None or not _same_source(self._data.config, data):
            self._data = FaceDataModule(data, seed=config.seed)
            self._data.setup()
        return self._data

    def _facts(self, folder: Path, trained: Trained, digest: str | None) -> dict[str, Any]:
        """Return what the figures depend on, from the run's own record."""
        record = read_environment(folder)
        return {
            "model": trained.name,
            "split": self.split,
            "checkpoint": "best.ckpt",
            "epoch": trained.epoch,
            "seed": record.get("seed"),
            "commit": record.get("commit"),
            "data": digest or "unknown: environment.json is missing",
            "trained on": record.get("hardware"),
            "evaluated on": hardware(self.device),
            "versions": ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items()),
            "date": datetime.now().isoformat(timespec="seconds"),
        }


def _same_source(one: DataConfig, other: DataConfig) -> bool:
    keys = ("name", "root", "size", "val_fraction", "batch_size")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _low_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type of Lightning's mixed precisions; all others are computed in float32."""
    name = auto_precision(device) if precision == "auto" else precision
    return {"bf16-mixed": torch.bfloat16, "bf16": torch.bfloat16, "16-mixed": torch.float16}.get(name)


def _evaluation(
    result: Result, split: Split, config: TrainConfig, facts: dict[str, Any], pictures: list[Picture]
) -> Evaluation:
    history = result.folder / "metrics.csv"
    return Evaluation(
        name=result.name,
        split=split,
        scores=result.scores,
        scores_flip=result.scores_flip,
        config=asdict(config),
        facts={key: str(value) for key, value in facts.items()},
        history=read_rows(history) if history.is_file() else [],
        figures=pictures,
        best_epoch=facts["epoch"],
    )


def _diagrams(faces: Faces, logits: Tensor) -> list[Picture]:
    labels, probabilities = faces.labels, logits.softmax(1).numpy()
    bins = calibration(logits, torch.from_numpy(labels))
    return [
        ("Calibration", "Accuracy against confidence, in fifteen bins.", reliability(bins)),
        ("Precision and recall", "Each class against the rest.", pr_curves(labels, probabilities, faces.classes)),
        (
            "Surest mistakes",
            "True class, predicted class and the confidence in it.",
            mistakes(faces.images, labels, probabilities, faces.classes),
        ),
    ]


def _cams(model: FaceModel, faces: Faces, logits: Tensor, device: torch.device) -> list[Picture]:
    """Return Grad-CAM pictures of the first two faces of each class; none where the network names no layer."""
    layer = getattr(model.network, "cam_layer", None)
    if layer is None:
        return []
    rows = np.concatenate([np.flatnonzero(faces.labels == label)[:2] for label in range(logits.shape[1])])
    some = faces.take(rows)
    predicted = logits[rows].argmax(1)
    heat = grad_cam(model, layer, torch.from_numpy(some.images[:, None]).to(device), predicted.to(device))
    titles = [
        faces.classes[truth] + ("" if truth == guess else f" → {faces.classes[guess]}")
        for truth, guess in zip(some.labels, predicted.tolist(), strict=True)
    ]
    grid = grad_cam_grid(some.images, heat.cpu().numpy(), titles)
    return [("Grad-CAM", "Where each face speaks for the class predicted.", grid)]
