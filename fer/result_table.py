"""Evaluated runs in one table, for the terminal and for a file beside a sweep's leaderboard."""

from collections.abc import Sequence
from pathlib import Path

from fer.data.faces import Split
from fer.errors import FerError
from fer.evaluation import Result
from fer.files import write_whole
from fer.scores import Scores

_SHARES = {"balanced": "balanced_accuracy", "macro F1": "macro_f1", "top-2": "top2"}

COLUMNS = ("model", "views", "pictures", "accuracy", *_SHARES, "loss", "ECE")
WORDS = 2
"""How many of the columns, from the left, hold words; the others hold numbers."""
NOTE = "unseen: without the pictures that stand, byte for byte, in training too"


def title(split: Split) -> str:
    """Return what stands above the table."""
    return f"{split} split, with 95 % intervals"


def accuracy(scores: Scores) -> str:
    """Return an accuracy with its 95 % interval, in percent."""
    low, high = scores.intervals["accuracy"]
    return f"{100 * scores.accuracy:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def rows(result: Result) -> list[tuple[str, ...]]:
    """Return a run's scores for each test-time view, over the split and its leak-free part; shares in percent."""
    found = []
    for part, views in (("", result.scores), (", unseen", result.leak_free)):
        for view, scores in views.items():
            shares = (f"{100 * getattr(scores, name):.2f}" for name in _SHARES.values())
            cells = (accuracy(scores), *shares, f"{scores.loss:.4f}", f"{scores.ece:.3f}")
            found.append((result.name, view + part, str(scores.count), *cells))
    return found


def write_results(folder: Path, split: Split, results: Sequence[Result]) -> Path:
    """Write `evaluation-<split>.md` into a sweep's folder and return where it lies.

    Raises:
        FerError: If it cannot be written.
    """
    path = folder / f"evaluation-{split}.md"
    heads = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * WORDS + " ---: |" * (len(COLUMNS) - WORDS)]
    lines = ["| " + " | ".join(row) + " |" for result in results for row in rows(result)]
    try:
        write_whole(path, "\n".join([title(split).capitalize() + ".", "", *heads, *lines, "", f"({NOTE})"]) + "\n")
    except OSError as error:
        raise FerError(f"'{path}' cannot be written ({error.strerror}); the runs' own reports are written") from error
    return path
