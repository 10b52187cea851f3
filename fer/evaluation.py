"""Evaluate runs from their folders alone: scores, intervals, pictures and a report."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer.config import AugmentConfig, DataConfig, OversampleConfig, TrainConfig
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Faces, Split
from fer.data.leaks import identical_to_any
from fer.data.sources import find_fer2013, looked_for, moved, still_found
from fer.device import computed_on, hardware, root_device
from fer.diagrams import Picture, cams, diagrams
from fer.errors import FerError
from fer.files import sha256
from fer.prediction import VIEWS, average, in_batches, most_at_once, predict
from fer.report import Evaluation, write_evaluation
from fer.runs import check_data, read_metrics
from fer.scores import Scores, score
from fer.weights import DIGEST, TrainedRun, open_run, temperature


class Result(NamedTuple):
    """The result of evaluating one run, or the mean of several.

    Attributes:
        name: The model's name.
        scores: Its scores for each view, over the whole split.
        leak_free: The same over the pictures that are not in training too; empty for the training split.
        logits: Float32 (N, C) for each of the views.
        faces: The N pictures that were scored, with the classes as the run calls them.
        seen: Bool (N,), which of them are in training too.
        data: The digest of the data set that they come from.
        report: The page that shows it.
    """

    name: str
    scores: Mapping[str, Scores]
    leak_free: Mapping[str, Scores]
    logits: Mapping[str, Tensor]
    faces: Faces
    seen: NDArray[np.bool_]
    data: str
    report: Path

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in label order."""
        return self.faces.classes

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values: the plain view's on top, the others and the leak-free ones below."""
        leak_free = {view: scores.to_dict() for view, scores in self.leak_free.items()}
        views = {view: scores.to_dict() for view, scores in self.scores.items() if view != "plain"}
        return {**self.scores["plain"].to_dict(), **views, "leak_free": leak_free}


class _Reading(NamedTuple):
    """A data set as it was read, and which of the split's pictures are also in its training split, bool (N,)."""

    data: FaceDataModule
    seen: NDArray[np.bool_]


class Evaluator:
    """Scores runs on one split; runs that share a data set share one reading of it.

    Args:
        split: The split to score.
        accelerator: As Lightning names them; "auto" takes the best there is.
        data_root: Where the runs' data set is now, if it has moved.
        faces: Show faces of the data set in the reports.

    Raises:
        FerError: If there is no such accelerator.
    """

    def __init__(
        self, split: Split, accelerator: str = "auto", data_root: str | None = None, faces: bool = True
    ) -> None:
        self.split: Split = split
        self.faces = faces
        self.device = root_device(accelerator)
        self.data_root = data_root
        self._reading: _Reading | None = None

    def evaluate(self, path: Path, name: str | None = None) -> Result:
        """Score a trained network, and write `metrics.json`, `predictions.csv` and `report.html` into its folder.

        Args:
            path: A run's folder, or a file of weights.
            name: What to call it; its model's name by default.

        Raises:
            FerError: If the run cannot be loaded, or its data are not what it was trained on.
        """
        failure = (read_metrics(path) or {}).get("error")
        if failure and not (path / "best.ckpt").is_file():
            raise FerError(f"'{path}' failed in training: {failure}")
        run = open_run(path)
        result = self.score(run, name)
        plain = result.logits["plain"]
        pictures = diagrams(result.faces, plain, self.faces)
        if self.faces:
            pictures += cams(run.trained.model, result.faces, plain, self.device)
        self._write(result, self._facts(run), asdict(run.config), pictures, run.history, run.trained.epoch)
        return result

    def score(self, run: TrainedRun, name: str | None = None, views: Iterable[str] = VIEWS) -> Result:
        """Score a trained network, over some of `fer.prediction.VIEWS`, and write nothing.

        Raises:
            FerError: If the data are not what it was trained on.
        """
        data, seen = self._read(run.config, run.record)
        check_data(run.file, run.record, data.digest, data.all_faces)
        if data.all_faces.classes != run.trained.classes:
            raise FerError(
                f"'{run.file}' tells {', '.join(run.trained.classes)} apart, but {data.all_faces.source} hold "
                f"{', '.join(data.all_faces.classes)}; data=folder data.root=path scores it over what both have"
            )
        model = run.trained.model.to(self.device)
        faces = replace(data.faces[self.split], classes=run.trained.classes)  # as the run calls them
        size = most_at_once(self.device, run.config.data.batch_size)
        logits = predict(model, in_batches(faces.images, size), self.device, views)
        return self._scored(run.folder, name or run.trained.name, logits, faces, seen, data.digest)

    def average(self, results: Sequence[Result], folder: Path) -> Result:
        """Score the mean of several runs' probabilities, and write its figures, predictions and report into `folder`.

        A picture counts as seen if any of the runs has seen it.

        Raises:
            FerError: If there are fewer than two, or they were not trained on the same classes and data.
        """
        if len(results) < 2:
            raise FerError("ensemble: a mean needs two runs or more; name their folder, or run=[one,another]")
        first = results[0]
        if len({(result.classes, identity(result.faces)) for result in results}) > 1:
            raise FerError(
                "ensemble: the runs differ in their classes, or in the pictures that they hold out (data.split_seed); "
                "average runs that are scored on the same"
            )
        logits = {view: average([result.logits[view] for result in results]) for view in first.logits}
        seen = np.any([result.seen for result in results], axis=0)
        result = self._scored(folder, f"mean of {len(results)}", logits, first.faces, seen, first.data)
        facts = {
            "runs": ", ".join(result.name for result in results),
            "split": self.split,
            "data": result.data,
            "evaluated on": hardware(self.device),
        }
        pictures = diagrams(result.faces, logits["plain"], self.faces)
        self._write(result, facts, {}, pictures, [], None)
        return result

    def _scored(
        self,
        folder: Path,
        name: str,
        logits: Mapping[str, Tensor],
        faces: Faces,
        seen: NDArray[np.bool_],
        data: str,
    ) -> Result:
        labels, classes = torch.from_numpy(faces.labels), faces.classes
        new = torch.from_numpy(~seen)
        return Result(
            name,
            {view: score(some, labels, classes) for view, some in logits.items()},
            {view: score(some[new], labels[new], classes) for view, some in logits.items() if new.any()},
            logits,
            faces,
            seen,
            data,
            folder / "evaluation" / self.split / "report.html",
        )

    def _write(
        self,
        result: Result,
        facts: dict[str, Any],
        config: dict[str, Any],
        pictures: list[Picture],
        history: list[dict[str, float]],
        epoch: int | None,
    ) -> None:
        evaluation = Evaluation(
            result.name, self.split, result.scores, result.leak_free, config, facts, history, pictures, epoch
        )
        content = {**facts, **result.to_dict()}
        write_evaluation(evaluation, result.report.parent, content, result.faces, result.logits)

    def _read(self, config: TrainConfig, record: Mapping[str, Any]) -> _Reading:
        """Read the faces that a run was trained with; if the previous run's are the same, return those."""
        builds = bool(record.get("start") or record.get("teacher"))  # on networks that may have seen what it left out
        data = replace(
            moved(config.data, self.data_root) if self.data_root else still_found(config.data),
            exclude=None if builds else config.data.exclude,
            oversample=replace(config.data.oversample, enabled=False),  # copies are never scored
        )
        _check_root(data)
        if self._reading is None or _as_scored(self._reading.data.config) != _as_scored(data):
            read = FaceDataModule(data, seed=config.seed)
            read.setup()
            self._reading = _Reading(read, identical_to_any(read.faces[self.split], read.faces["train"]))
        return self._reading

    def _facts(self, run: TrainedRun) -> dict[str, Any]:
        """Return what the figures depend on, from the run's own record."""
        record = run.record
        return {
            "model": run.trained.name,
            "split": self.split,
            "checkpoint": run.file.name,
            DIGEST: sha256(run.file),
            "epoch": run.trained.epoch,
            **temperature(run),
            "seed": record.get("seed"),
            "commit": record.get("commit"),
            "data": record.get("data", {}).get("digest") or "unknown: environment.json is missing",
            **_built_on(record),
            "trained on": record.get("hardware"),
            "evaluated on": computed_on(self.device),
            "versions": ", ".join(f"{name} {number}" for name, number in record.get("versions", {}).items()),
            "date": datetime.now().isoformat(timespec="seconds"),
        }


def _built_on(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the networks that a run started and learned from: its configuration may no longer name them."""
    teachers = record.get("teacher") or []
    found = {
        "started from": [record["start"]] if record.get("start") else [],
        "taught by": teachers if isinstance(teachers, list) else [teachers],
    }
    told = {
        key: Counter(f"{one['name']} ({one['file']}, SHA-256 {one['sha256'][:8]}…)" for one in networks)
        for key, networks in found.items()
    }
    return {
        key: ", ".join(name if times == 1 else f"{times} × {name}" for name, times in networks.items())
        for key, networks in told.items()
        if networks
    }


def identity(faces: Faces) -> str:
    """Return a digest of the pictures' origins, labels and order, but not of their size or targets."""
    content = hashlib.blake2b("\n".join(faces.origins).encode(), digest_size=16)
    content.update(faces.labels.tobytes())
    return content.hexdigest()


def _check_root(data: DataConfig) -> None:
    """Refuse a data set that is missing, and name the key with which an evaluation can say where it is."""
    if data.name == "sample" and data.root is not None:
        raise FerError(
            "data_root: the run learned from the drawn sample, which lies nowhere; data=folder data.root=path scores "
            "it on other data"
        )
    official = data.name in ("fer2013", "ferplus")
    root = find_fer2013(data.root) if official else data.root
    if root is None and data.name not in ("sample", "auto"):
        where = f"looked for {looked_for()}" if official else "the run does not say where it lies"
        named = "FER2013" if official else "the data set of the run"
        raise FerError(f"{named} was not found ({where}); name its place with data_root=…")
    if root is not None and data.name != "huggingface" and not Path(root).expanduser().exists():
        raise FerError(
            f"the data set of the run was not found ({root} does not exist); name its place with data_root=…"
        )


def _as_scored(data: DataConfig) -> DataConfig:
    """Return a configuration without what makes no difference to how its splits are scored."""
    return replace(
        data, augment=AugmentConfig(), oversample=OversampleConfig(), num_workers=0, download=False, cache_dir=None
    )
