"""Evaluate runs from their folders alone: scores, intervals, pictures and a report."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fer.build import build_transforms, rebuild_model
from fer.callbacks.history import read_rows
from fer.config import TrainConfig, checked
from fer.data.batches import Batch
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces, Split
from fer.device import auto_precision, hardware, root_device
from fer.errors import FerError
from fer.explain import grad_cam
from fer.figures import grad_cam_grid, mistakes, pr_curves, reliability
from fer.models.preprocess import FaceModel
from fer.report import Evaluation, write_report
from fer.runs import make_folder, read_config, read_metrics, write_json
from fer.scores import Scores, calibration, score


class Trained(NamedTuple):
    """A run's best model, with what its checkpoint says of it."""

    model: FaceModel
    name: str
    classes: tuple[str, ...]
    epoch: int


class Result(NamedTuple):
    """What evaluating one run came to."""

    folder: Path
    name: str
    scores: Scores
    scores_flip: Scores
    report: Path


def load_checkpoint(path: Path) -> Trained:
    """Rebuild the model that a checkpoint holds.

    Raises:
        FerError: If the file is missing, cannot be read, or is no checkpoint of this program.
    """
    if not path.is_file():
        raise FerError(f"'{path.parent}' holds no {path.name}; has the run finished an epoch?")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load passes on whatever unpickling a damaged file raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FerError(f"'{path}' is damaged and cannot be read ({reason}); train the run again") from error
    try:
        plain = checkpoint["hyper_parameters"]["model"]
        classes = tuple(checkpoint["hyper_parameters"]["classes"])
        state = {name.removeprefix("network."): value for name, value in checkpoint["state_dict"].items()}
        model = rebuild_model(plain)
        model.load_state_dict(state)
        return Trained(model.eval(), plain["name"], classes, int(checkpoint["epoch"]) + 1)
    except (KeyError, TypeError, AttributeError) as error:
        raise FerError(f"'{path}' is no checkpoint of this program (it lacks {error})") from error
    except RuntimeError as error:
        raise FerError(f"'{path}' does not fit the model it names ({str(error).splitlines()[0]})") from error


def load_run(folder: Path) -> tuple[TrainConfig, Trained]:
    """Return a run's configuration and its best model.

    Raises:
        FerError: If either is missing or damaged, or they are not of the same model.
    """
    config = checked(read_config(folder), TrainConfig)
    trained = load_checkpoint(folder / "best.ckpt")
    if trained.name != config.model.name:
        raise FerError(
            f"'{folder / 'best.ckpt'}' is a checkpoint of {trained.name}, but the run's config.yaml is of "
            f"{config.model.name}; put the run's own checkpoint back"
        )
    return config, trained


def predict(model: nn.Module, batches: Iterable[Batch], device: torch.device, bf16: bool) -> tuple[Tensor, Tensor]:
    """Return a model's logits without and with test-time flip.

    Args:
        model: Maps uint8 (N, 1, H, W) to logits (N, C); in evaluation mode, on `device`.
        batches: Faces and labels.
        device: Where to compute.
        bf16: Compute in bf16 mixed precision, as Lightning does in training.

    Returns:
        Two float32 tensors (N, C) on the CPU: the logits, and the logarithm of the mean of the probabilities of
        each face and its mirror image.
    """
    plain, flipped = [], []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        for faces, _ in batches:
            faces = faces.to(device)
            logits, mirrored = model(faces).float(), model(faces.flip(-1)).float()
            plain.append(logits.cpu())
            flipped.append(((logits.softmax(1) + mirrored.softmax(1)) / 2).log().cpu())
    return torch.cat(plain), torch.cat(flipped)


def evaluate_run(
    folder: Path, split: Split, data: FaceDataModule | None, accelerator: str, data_root: str | None
) -> tuple[Result, FaceDataModule]:
    """Score a run's best model on a split and write `metrics.json` and `report.html` into the run's folder.

    Args:
        folder: The run's folder.
        split: The split to score.
        data: Faces already read for another run, used again where they are the same.
        accelerator: As Lightning names them; "auto" takes the best there is.
        data_root: Where the run's data set lies now, if it has moved.

    Returns:
        The result, and the faces for the next run.

    Raises:
        FerError: If the run cannot be loaded, or its data are not what it was trained on.
    """
    config, trained = load_run(folder)
    if data_root is not None:
        config.data.root = data_root
    data = _data(config, data)
    notes = _check_data(folder, data)
    device = root_device(accelerator)
    precision = config.trainer.precision
    bf16 = (auto_precision(device) if precision == "auto" else precision) == "bf16-mixed"
    model = trained.model.to(device)
    faces = data.faces[split]
    labels = torch.from_numpy(faces.labels)
    logits, flipped = predict(model, data.evaluation_dataloader(split), device, bf16)
    scores, scores_flip = score(logits, labels, trained.classes), score(flipped, labels, trained.classes)

    target = folder / "evaluation" / split
    make_folder(target)
    record = _record(folder, trained, split, hardware(device), notes)
    content = {**record, **scores.to_dict(), "flip": scores_flip.to_dict()}
    write_json(target / "metrics.json", content)
    pictures = [
        ("Calibration", "Accuracy against confidence, in fifteen bins.", reliability(calibration(logits, labels))),
        (
            "Precision and recall",
            "Each class against the rest.",
            pr_curves(labels.numpy(), logits.softmax(1).numpy(), trained.classes),
        ),
        (
            "Surest mistakes",
            "True class, predicted class and the confidence in it.",
            mistakes(faces.images, labels.numpy(), logits.softmax(1).numpy(), trained.classes),
        ),
        ("Grad-CAM", "Where each face speaks for the class predicted.", _cams(model, faces, logits, device)),
    ]
    history = folder / "metrics.csv"
    evaluation = Evaluation(
        name=trained.name,
        split=split,
        scores=scores,
        scores_flip=scores_flip,
        config=asdict(config),
        facts={key: str(value) for key, value in record.items()},
        history=read_rows(history) if history.is_file() else [],
        figures=[picture for picture in pictures if picture[2] is not None],
        best_epoch=trained.epoch,
    )
    write_report(evaluation, target / "report.html")
    return Result(folder, trained.name, scores, scores_flip, target / "report.html"), data


def _data(config: TrainConfig, before: FaceDataModule | None) -> FaceDataModule:
    if before is not None and _same_source(before, config):
        return before
    config.data.oversample.enabled = False  # no split is scored with copies in it
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    data.setup()
    return data


def _same_source(data: FaceDataModule, config: TrainConfig) -> bool:
    keys = ("name", "root", "size", "val_fraction", "batch_size")
    return all(getattr(data.config, key) == getattr(config.data, key) for key in keys)


def _check_data(folder: Path, data: FaceDataModule) -> str:
    """Compare the data with what the run was trained on."""
    try:
        trained_on = json.loads((folder / "environment.json").read_text())["data"]["digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown: environment.json is missing"
    if trained_on != data.digest:
        raise FerError(
            f"'{folder}' was trained on other data (digest {trained_on}) than what is read now (digest "
            f"{data.digest}, {data.all_faces.source}); name the run's data set with data_root=path"
        )
    return data.digest


def _record(folder: Path, trained: Trained, split: Split, machine: str, digest: str) -> dict[str, Any]:
    """Return what the figures depend on, from the run's own record."""
    metrics = read_metrics(folder) or {}
    return {
        "model": trained.name,
        "split": split,
        "checkpoint": "best.ckpt",
        "epoch": trained.epoch,
        "seed": metrics.get("seed"),
        "commit": metrics.get("commit"),
        "data": digest,
        "trained on": metrics.get("hardware"),
        "evaluated on": machine,
        "date": datetime.now().isoformat(timespec="seconds"),
    }


def _cams(model: FaceModel, faces: Faces, logits: Tensor, device: torch.device) -> Any:
    """Return Grad-CAM pictures of the first two faces of each class, None where the network names no layer."""
    layer = getattr(model.network, "cam_layer", None)
    if layer is None:
        return None
    rows = np.concatenate([np.flatnonzero(faces.labels == label)[:2] for label in range(logits.shape[1])])
    some = faces.take(rows)
    predicted = logits[rows].argmax(1)
    heat = grad_cam(model, layer, torch.from_numpy(some.images[:, None]).to(device), predicted.to(device))
    titles = [
        faces.classes[truth] + ("" if truth == guess else f" → {faces.classes[guess]}")
        for truth, guess in zip(some.labels, predicted.tolist(), strict=True)
    ]
    return grad_cam_grid(some.images, heat.cpu().numpy(), titles)
