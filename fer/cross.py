"""Score trained runs on data sets that they were not trained on, over the classes that both have."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fer.config import DataConfig
from fer.data.exclude import excluded
from fer.data.faces import SPLITS, Faces, Split
from fer.data.leaks import identical_to_any
from fer.data.sources import announce, are_fer2013, read_source, still_found
from fer.device import computed_on, root_device
from fer.diagrams import cams, diagrams
from fer.errors import FerError
from fer.files import numbered, sha256
from fer.prediction import in_batches, most_at_once, predict
from fer.report import Evaluation, write_evaluation
from fer.runs import EXCLUDED, read_metrics
from fer.scores import Scores, score
from fer.weights import DIGEST, TrainedRun, temperature

log = logging.getLogger(__name__)

_OFFICIAL = ("fer2013", "ferplus")


class CrossResult(NamedTuple):
    """A run's result on another data set.

    Attributes:
        name: The run's name.
        data: The data set's name.
        shared: The classes that were scored, by their names.
        left_out: How many of the data set's pictures belong to other classes.
        scores: The scores for each of `fer.prediction.VIEWS`.
        report: The page that shows them.
    """

    name: str
    data: str
    shared: tuple[str, ...]
    left_out: int
    scores: Mapping[str, Scores]
    report: Path


def shared_classes(trained: Sequence[str], faces: Faces) -> tuple[str, ...]:
    """Return the classes that a network knows and that have pictures, in the network's order.

    Raises:
        FerError: If there are fewer than two, which leaves a network nothing to choose between.
    """
    there = {name for name, count in zip(faces.classes, faces.counts(), strict=True) if count}
    shared = tuple(name for name in trained if name in there)
    if len(shared) < 2:
        raise FerError(
            f"{faces.source}: its classes ({', '.join(sorted(there))}) and the run's ({', '.join(trained)}) share "
            f"{len(shared)}; a score needs two"
        )
    return shared


class CrossEvaluator:
    """Scores runs on one other data set.

    A run's probabilities are taken over the shared classes alone, and pictures of other classes are left out: what
    remains is a choice that the network could have got right.

    Args:
        name: What to call the data set in tables and folders.
        data: The configuration of the data set.
        split: The split to score, or "all" for every picture of the set.
        accelerator: As Lightning names them.
        faces: Show faces of the data set in the reports.

    Raises:
        FerError: If the data set cannot be read, or has no such split.
    """

    def __init__(
        self,
        name: str,
        data: DataConfig,
        split: Split | Literal["all"] = "test",
        accelerator: str = "auto",
        faces: bool = True,
    ) -> None:
        self.name = name
        self.data = data
        self.split = split
        self.device = root_device(accelerator)
        self.faces = faces
        self._faces: dict[int, Faces] = {}
        self._digests: dict[int, str] = {}
        self._trained: dict[str, Faces] = {}  # what runs learned from, by its digest: the runs of a sweep share it
        self._source = ""  # what was read: data=fer2013 may turn out to be something else

    def evaluate(self, run: TrainedRun, name: str) -> CrossResult:
        """Score a run, and write `metrics.json`, `predictions.csv` and `report.html` into its folder.

        Raises:
            FerError: If the two share fewer than two classes.
        """
        faces = self._read(run.config.data.size)
        trained = run.trained.classes
        shared = shared_classes(_learned(run), faces)
        names = np.array(faces.classes)[faces.labels]
        scored = faces.take(np.flatnonzero(np.isin(names, shared)))
        if warning := self._overlap(run, scored):
            log.warning("%s: %s", name, warning)
        own = {name: shared.index(name) for name in shared}
        labels = np.array([own[faces.classes[label]] for label in scored.labels], dtype=np.int64)
        scored = replace(scored, labels=labels, classes=shared, targets=None)
        model = run.trained.model.to(self.device)
        columns = [trained.index(name) for name in shared]
        size = most_at_once(self.device, run.config.data.batch_size)
        every = predict(model, in_batches(scored.images, size), self.device)
        logits = {view: some[:, columns] for view, some in every.items()}
        truth = torch.from_numpy(labels)
        scores = {view: score(some, truth, shared) for view, some in logits.items()}
        folder = _report_folder(run.folder / "evaluation", f"{self.name}-{self.split}", faces.source)
        result = CrossResult(name, self.name, shared, len(faces) - len(scored), scores, folder / "report.html")
        self._write(result, run, scored, logits, warning)
        return result

    def _overlap(self, run: TrainedRun, faces: Faces) -> str:
        """Return a sentence on what the run may have been trained on, or was; '' if nothing is known."""
        if self._taught(run):
            return f"{faces.source} are what it was trained on, so this is no score on other data."
        seen = self._seen(run, faces)
        if seen is None and self._same_place(run):
            return f"{faces.source} have changed since it was trained on some of them, perhaps on some of these."
        return f"of the {len(faces)} pictures to be scored, it was trained on {seen}." if seen else ""

    def _taught(self, run: TrainedRun) -> bool:
        """Return whether the run may have been trained on some of the pictures, as far as its record tells."""
        own = run.config.data
        if own.name in _OFFICIAL and self._source in _OFFICIAL:
            # the test split is the same with either labels; so is validation, where file names or Usage define it
            drawn = [(data.split_seed, data.val_fraction) for data in (own, self.data)]
            return self.split in ("all", "train") or (self.split == "val" and drawn[0] != drawn[1])
        if self._digests[own.size] == run.record.get("data", {}).get("digest"):
            return self.split in ("all", "train")
        # if read with other classes, say; what a smaller split holds of them is counted
        return self.split in ("all", "train") and self._same_place(run)

    def _same_place(self, run: TrainedRun) -> bool:
        own = run.config.data
        return own.root is not None and _place(own.root) == _place(self.data.root)

    def _seen(self, run: TrainedRun, faces: Faces) -> int | None:
        """Return how many pictures are among the run's training pictures, byte for byte; None if these are gone."""
        digest = str(run.record.get("data", {}).get("digest"))
        own = replace(still_found(run.config.data), download=False)
        official = own.name in _OFFICIAL and self._source in _OFFICIAL  # each report tells what repeats
        if official:
            return 0
        if own.name == "huggingface":  # which would be downloaded
            return None
        if digest not in self._trained:
            try:
                trained, _ = read_source(own)
            except FerError:  # moved, or never here
                return None
            if trained.digest() != digest:
                return None
            self._trained[digest] = trained
        trained = self._trained[digest]
        if self._source in _OFFICIAL and are_fer2013(trained):  # its forms differ by a few grey levels
            return int((faces.splits == SPLITS.index("train")).sum())
        if (run.folder / EXCLUDED).is_file():
            trained = excluded(trained, run.folder / EXCLUDED, own.name == "ferplus")
        return int(identical_to_any(faces, trained.split("train")).sum())

    def _read(self, size: int) -> Faces:
        """Return the split's faces at the size that a run uses, read once for all runs of that size."""
        if size not in self._faces:
            faces, self._source = read_source(replace(self.data, size=size))
            if are_fer2013(faces):
                self._source = "fer2013"
            announce(faces)
            self._digests[size] = faces.digest()
            if self.split != "all":
                faces = faces.split(self.split)
            if not len(faces):
                raise FerError(
                    f"{faces.source}: the {self.split} split is empty; choose another of {', '.join(SPLITS)}"
                )
            self._faces[size] = faces
        return self._faces[size]

    def _write(
        self, result: CrossResult, run: TrainedRun, faces: Faces, logits: Mapping[str, Tensor], warning: str
    ) -> None:
        facts = {
            "model": run.trained.name,
            "trained on": f"{run.config.data.name} ({run.record.get('data', {}).get('digest')})",
            "commit": run.record.get("commit"),
            DIGEST: sha256(run.file),
            **temperature(run),
            "scored on": faces.source,
            **({"how it was read": " ".join(faces.notes)} if faces.notes else {}),
            **({"warning": warning} if warning else {}),
            "split": self.split,
            "classes": ", ".join(result.shared),
            "pictures of other classes, left out": result.left_out,
            "evaluated on": computed_on(self.device),
            "date": datetime.now().isoformat(timespec="seconds"),
        }
        scores = {view: scores.to_dict() for view, scores in result.scores.items()}
        name = f"{result.name} on {self.name}"
        pictures = diagrams(faces, logits["plain"], self.faces)
        if self.faces:
            outputs = [run.trained.classes.index(one) for one in result.shared]
            pictures += cams(run.trained.model, faces, logits["plain"], self.device, outputs)
        evaluation = Evaluation(name, self.split, result.scores, {}, {}, facts, figures=pictures)
        write_evaluation(evaluation, result.report.parent, {**facts, **scores}, faces, logits)


def _learned(run: TrainedRun) -> tuple[str, ...]:
    """Return the classes that a network had training pictures of; all that it tells apart if its record is older."""
    known = run.record.get("data", {}).get("learned")
    return tuple(name for name in run.trained.classes if not isinstance(known, list) or name in known)


def _place(root: str | None) -> str | None:
    return None if root is None else str(Path(root).expanduser().resolve())


def _report_folder(folder: Path, name: str, source: str) -> Path:
    """Return the folder for a report: data sets whose folders share a name, say `test`, each get one of their own."""
    places = numbered(folder / name)
    return next(place for place in places if (read_metrics(place) or {}).get("scored on", source) == source)
