"""One evaluation as an HTML page that stands alone: opens from disk, loads nothing, prints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from fer.data.faces import Faces
from fer.figures import confusion_matrix, curves, png_bytes
from fer.files import write_whole
from fer.pages import png_uri, render
from fer.prediction_table import write_predictions
from fer.runs import make_folder, write_json
from fer.scores import METRICS, Scores

_NAMES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_f1": "Macro F1",
    "top2": "Top-2 accuracy",
    "ece": "Calibration error",
}
_HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "loss")


@dataclass(frozen=True)
class Evaluation:
    """Everything that the report of one evaluated checkpoint shows.

    Attributes:
        name: The model's name.
        split: The split it was evaluated on.
        scores: Its scores for each of `fer.prediction.VIEWS`.
        leak_free: The same over the pictures that are not in training too; may be empty.
        config: The configuration of the run, in plain values.
        facts: Where the numbers come from: seed, commit, data hash, versions, hardware, epoch, date.
        history: A row per epoch, as `fer.figures.curves` takes it; empty where the run left none.
        figures: Title, caption and figure each, shown below the confusion matrix and the curves, which the
            report draws itself.
        best_epoch: The epoch of the checkpoint, marked in the curves.
    """

    name: str
    split: str
    scores: Mapping[str, Scores]
    leak_free: Mapping[str, Scores]
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    history: Sequence[Mapping[str, float]] = ()
    figures: Sequence[tuple[str, str, Figure]] = field(default_factory=tuple)
    best_epoch: int | None = None


def write_evaluation(
    evaluation: Evaluation, folder: Path, metrics: Mapping[str, Any], faces: Faces, logits: Mapping[str, Tensor]
) -> None:
    """Write what an evaluation leaves behind: `metrics.json`, `predictions.csv` and `report.html`.

    Args:
        evaluation: What the report shows.
        folder: Where the three go.
        metrics: The content of `metrics.json`.
        faces: The N pictures that were scored.
        logits: (N, C) for each of `fer.prediction.VIEWS`, in the order of the faces' classes.

    Raises:
        FerError: If the folder cannot be written.
    """
    make_folder(folder, "evaluate a copy of the run, or start the command for a file of weights, in a folder that can")
    write_json(folder / "metrics.json", metrics)
    labels = [faces.classes[label] for label in faces.labels]
    write_predictions(folder / "predictions.csv", faces.origins, faces.classes, logits, labels)
    write_report(evaluation, folder / "report.html")


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Write the page, whole or not at all, and create the folders above it.

    Args:
        evaluation: What to show.
        path: The HTML file, replaced where it exists.
    """
    page = render(
        "report.html.j2",
        evaluation=evaluation,
        headlines=[_metric(evaluation, name) for name in _HEADLINES],
        metrics=[_metric(evaluation, name) for name in METRICS],
        parts=_parts(evaluation),
        figures=[
            {"title": title, "caption": caption, "source": png_uri(png_bytes(figure)), "width": _css_pixels(figure)}
            for title, caption, figure in _figures(evaluation)
        ],
        config=json.dumps(evaluation.config, indent=2, default=str, ensure_ascii=False),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page)


def _figures(evaluation: Evaluation) -> list[tuple[str, str, Figure]]:
    """Return the figures that the report draws itself, and then those that came with the evaluation."""
    scores = evaluation.scores["plain"]
    caption = "Rows are the true class, columns the predicted one; colours and percentages are shares of a row."
    figures = [("Confusion", caption, confusion_matrix(scores.confusion, list(scores.per_class)))]
    if evaluation.history:
        caption = (
            "Per epoch. Training: a running average over the faces as training sees them, augmented and with dropout. "
            "Validation: afterwards, over faces as they are, with averaged weights where these are averaged."
        )
        figures.append(("Training", caption, curves(evaluation.history, evaluation.best_epoch)))
    return [*figures, *evaluation.figures]


def _metric(evaluation: Evaluation, name: str) -> dict[str, str]:
    """Return a metric as people read it: the value and its interval, and the values with more views."""
    return {
        "name": _NAMES[name],
        "value": _shown(name, getattr(evaluation.scores["plain"], name)),
        "interval": _interval(evaluation.scores["plain"], name),
        "flip": _shown(name, getattr(evaluation.scores["flip"], name)),
        "ten": _shown(name, getattr(evaluation.scores["ten"], name)),
    }


def _parts(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the accuracy over the whole split and over what training has not seen, for each view."""
    parts = {"the whole split": evaluation.scores, "no identical picture in training": evaluation.leak_free}
    return [
        {
            "name": name,
            "count": f"{views['plain'].count:,}",
            "cells": [(_shown("accuracy", some.accuracy), _interval(some, "accuracy")) for some in views.values()],
        }
        for name, views in parts.items()
        if views
    ]


def _interval(scores: Scores, name: str) -> str:
    ends = scores.intervals.get(name)
    return f"{_shown(name, ends[0])} to {_shown(name, ends[1])}" if ends else ""


def _shown(name: str, value: float) -> str:
    return f"{value:.3f}" if name == "loss" else f"{100 * value:.1f} %"


def _css_pixels(figure: Figure) -> int:
    """Return the width at which type in the figure has its nominal size in points."""
    return round(96 * figure.get_figwidth())
