"""Evaluated runs in one table, for the terminal and for a file beside a sweep's leaderboard."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from fer.cross import CrossResult
from fer.data.faces import Split
from fer.errors import FerError
from fer.evaluation import Result, identity
from fer.files import markdown_table, write_whole
from fer.scores import Scores, correct, difference

_SHARES = {"balanced": "balanced_accuracy", "macro F1": "macro_f1", "top-2": "top2"}

_COLUMNS = ("model", "views", "pictures", "accuracy", *_SHARES, "loss", "ECE")
_WORDS = 2
"""How many of the columns, from the left, hold words; the others hold numbers."""
_IN_A_TERMINAL = ("model", "views", "pictures", "accuracy", "macro F1")  # fit 80 characters; the file holds everything
_CROSS = ("model", "data", "views", "pictures", "left out", "accuracy")
_DIFFERENCES = """Differences in accuracy, in points: the row's minus the column's, for the pictures as they are, over
the whole split, with 95 % intervals from resamples of the pictures that both have scored. Bold where the interval
leaves out 0; so does one in twenty between equally good networks. Other seeds may differ by more."""
_NOTE = "unseen: without the pictures that are also in training, pixel by pixel"


def _note(seeds: Mapping[str, Sequence[Result]]) -> str:
    """Return the note below the table."""
    return f"{_NOTE}; ±: sample standard deviation over seeds" if seeds else _NOTE


def _title(split: Split) -> str:
    """Return the title above the table."""
    return f"{split} split, with 95 % intervals"


def _accuracy(scores: Scores) -> str:
    """Return an accuracy with its 95 % interval, in percent."""
    low, high = scores.intervals["accuracy"]
    return f"{100 * scores.accuracy:.2f} [{100 * low:.2f}, {100 * high:.2f}]"


def _rows(result: Result) -> list[tuple[str, ...]]:
    """Return a run's scores for each test-time view, over the split and its leak-free part; shares in percent."""
    found = []
    for part, views in (("", result.scores), (", unseen", result.leak_free)):
        for view, scores in views.items():
            shares = (f"{100 * getattr(scores, name):.2f}" for name in _SHARES.values())
            cells = (_accuracy(scores), *shares, f"{scores.loss:.4f}", f"{scores.ece:.3f}")
            found.append((result.name, view + part, str(scores.count), *cells))
    return found


def seed_rows(name: str, results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return the mean and the sample standard deviation of two or more seeds' scores, in rows like those of one run."""
    found = []
    for part, scored in (("", [run.scores for run in results]), (", unseen", [run.leak_free for run in results])):
        for view in scored[0]:
            seeds = [scores[view] for scores in scored]
            shares = [
                _spread([100 * getattr(one, share) for one in seeds], 2) for share in ("accuracy", *_SHARES.values())
            ]
            others = (_spread([one.loss for one in seeds], 4), _spread([one.ece for one in seeds], 3))
            found.append((f"{name}, {len(seeds)} seeds", view + part, str(seeds[0].count), *shares, *others))
    return found


def _spread(values: Sequence[float], digits: int) -> str:
    return f"{mean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def write_results(folder: Path, split: Split, results: Sequence[Result], seeds: Mapping[str, Sequence[Result]]) -> Path:
    """Write `evaluation-<split>.md` for several runs and return its path.

    Args:
        folder: Where to; a sweep's, or one that is made.
        split: What was scored.
        results: Each run's scores.
        seeds: Runs among them that differ in their seed alone, under the name of each such group.

    Raises:
        FerError: If it cannot be written.
    """
    path = folder / f"evaluation-{split}.md"
    cells = [row for result in results for row in _rows(result)]
    cells += [row for name, of_seeds in seeds.items() for row in seed_rows(name, of_seeds)]
    table, differences = markdown_table(_COLUMNS, cells, _WORDS), _differences(results)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, "\n".join((f"{_title(split).capitalize()}.\n", table, f"({_note(seeds)})\n", *differences)))
    except OSError as error:
        raise FerError(f"'{path}' cannot be written ({error.strerror}); the runs' own reports are written") from error
    return path


def _differences(results: Sequence[Result]) -> list[str]:
    """Return a table of how much more accurate each run is than each after it; none if no two scored the same."""
    pictures = [(result.classes, identity(result.faces)) for result in results]
    right = [correct(result.logits["plain"], torch.from_numpy(result.faces.labels)) for result in results]
    places = range(len(results))
    rows = [
        [
            _difference(right[one], right[other]) if one < other and pictures[one] == pictures[other] else ""
            for other in places[1:]
        ]
        for one in places[:-1]
    ]
    if not any(map(any, rows)):
        return []
    names = [result.name for result in results]
    table = markdown_table(["", *names[1:]], [[name, *cells] for name, cells in zip(names, rows, strict=False)])
    return [f"{_DIFFERENCES}\n", table]


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Return how many points of accuracy one run has more than another."""
    gap, low, high = (100 * share for share in difference(one, other))
    told = f"{gap:+.2f} [{low:+.2f}, {high:+.2f}]"
    return f"**{told}**" if low > 0 or high < 0 else told


def results_table(split: Split, results: list[Result], seeds: Mapping[str, Sequence[Result]]) -> Table:
    """Return the scores of evaluated runs, for each test-time view, over the split and its leak-free part.

    Args:
        split: What was scored.
        results: Each run's scores.
        seeds: Runs among them that differ in their seed alone, under the name of each such group.
    """
    table = Table(title=_title(split), caption=_note(seeds))
    for column in _IN_A_TERMINAL:
        words = column in _COLUMNS[:_WORDS]
        table.add_column(column, justify="left" if words else "right", no_wrap=column == "accuracy")
    sections = [_rows(result) for result in results]
    sections += [seed_rows(name, of_seeds) for name, of_seeds in seeds.items()]
    for section in sections:
        for row in section:
            table.add_row(*(escape(row[_COLUMNS.index(column)]) for column in _IN_A_TERMINAL))
        table.add_section()
    return table


def cross_table(split: str, results: list[CrossResult]) -> Table:
    """Return the scores of runs on other data sets, for each test-time view."""
    table = Table(title=f"Other data, {split} pictures, with 95 % intervals")
    for column in _CROSS:
        words = column in ("model", "data", "views")
        table.add_column(column, justify="left" if words else "right", no_wrap=column == "accuracy")
    for result in results:
        for view, scores in result.scores.items():
            counts = (str(scores.count), str(result.left_out))
            table.add_row(escape(result.name), escape(result.data), view, *counts, escape(_accuracy(scores)))
        table.add_section()
    table.caption = "left out: pictures of classes that the run does not know"
    return table
