"""A sweep's results in one table: Markdown, CSV, a picture and the terminal."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from fer.compared import Run, group, names_apart, one_a_seed, read_run
from fer.errors import FerError, first_line
from fer.figures import leaderboard, png_bytes
from fer.files import csv_text, markdown_table, write_whole
from fer.runs import read_metrics

log = logging.getLogger(__name__)


class Reference(NamedTuple):
    """Accuracies of the Keras networks that these models are measured against, on FER2013.

    They were given to this project, are unpublished, and their split is unknown.
    """

    train_acc: float
    val_acc: float


REFERENCE: dict[str, Reference] = {
    "cnn10": Reference(0.6897, 0.6398),
    "cnn12": Reference(0.68, 0.63),
    "cnn16": Reference(0.5161, 0.5335),
    "mnv2": Reference(0.6513, 0.6041),
    "mnv2_ft": Reference(0.7160, 0.6256),
}

FIGURES: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "train_acc": lambda run: run["train"]["acc"],
    "train_loss": lambda run: run["train"]["loss"],
    "val_acc": lambda run: run["val"]["acc"],
    "val_loss": lambda run: run["val"]["loss"],
    "val_f1": lambda run: run["val"]["f1"],
    "test_acc": lambda run: run["test"] and run["test"]["acc"],  # None with trainer.test=false
    "test_f1": lambda run: run["test"] and run["test"]["f1"],
    "best_epoch": lambda run: run["best_epoch"],
    "epochs": lambda run: run["epochs"],
    "seconds": lambda run: run["seconds"],
    "images_per_s": lambda run: run["images_per_s"],
}


def collect(folder: Path) -> list[Run]:
    """Return the runs in a sweep's folder, including failed ones; what cannot be read is left out with a warning."""
    runs = []
    for path in sorted(folder.glob("*/metrics.json")):
        metrics = read_metrics(path.parent)
        if metrics is None or not (path.parent / "config.yaml").is_file():
            continue
        try:
            runs.append(_run(path.parent, metrics))
        except (FerError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is left out of the leaderboard: it cannot be read (%s)", path.parent, first_line(error))
    return runs


def _run(folder: Path, metrics: dict[str, Any]) -> Run:
    if metrics["status"] == "finished":
        for get in FIGURES.values():  # raises if one is missing
            get(metrics)
    return read_run(folder, metrics)


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Group runs that differ in nothing but their seed, and return a row for each group, best first.

    A row has "name", "model", "status", "seeds", each of `FIGURES` and its deviation over seeds ("…_std", None for
    one seed), "parameters", "trainable_parameters", "multiply_adds", the reference's accuracies, "folders" and, for
    a group of failed runs, "error".
    """
    groups = group(runs)
    names = names_apart([first for first, *_ in groups])
    table = [_row(name, members) for name, members in zip(names, groups, strict=True)]
    return sorted(table, key=lambda row: -(row["val_acc"] or 0.0))


def _row(name: str, members: Sequence[Run]) -> dict[str, Any]:
    first = members[0].metrics
    finished = first["status"] == "finished"
    seeds = one_a_seed(members)
    row: dict[str, Any] = {
        "name": name,
        "model": first["model"],
        "status": first["status"],
        "seeds": len(seeds),
        "error": first.get("error", ""),
        "folders": " ".join(run.folder.name for run in members),
    }
    for figure, get in FIGURES.items():
        measured = [get(run.metrics) for run in seeds] if finished else []
        values = [value for value in measured if value is not None]
        row[figure] = mean(values) if values else None
        row[f"{figure}_std"] = stdev(values) if len(values) > 1 else None
    for count in ("parameters", "trainable_parameters", "multiply_adds"):
        row[count] = first.get(count)
    # the reference was measured on FER2013: next to figures on other faces it would mean nothing
    reference = REFERENCE.get(first["model"]) if members[0].config.get("data.name") == "fer2013" else None
    row["reference_train_acc"] = reference.train_acc if reference else None
    row["reference_val_acc"] = reference.val_acc if reference else None
    return row


def write_leaderboard(folder: Path) -> list[dict[str, Any]]:
    """Write `leaderboard.md`, `.csv` and `.png` into a sweep's folder and return the rows."""
    table = rows(collect(folder))
    if not table:
        return table
    write_whole(folder / "leaderboard.csv", csv_text(table, list(table[0])))
    write_whole(folder / "leaderboard.md", markdown(table))
    finished = [row for row in table if row["status"] == "finished"]
    if finished:
        write_whole(folder / "leaderboard.png", png_bytes(leaderboard(finished)))
    return table


COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "model": lambda row: row["name"],
    "train acc": lambda row: _percent(row, "train_acc"),
    "val acc": lambda row: _percent(row, "val_acc"),
    "reference train / val": lambda row: _reference(row),
    "test acc": lambda row: _percent(row, "test_acc"),
    "test macro F1": lambda row: _percent(row, "test_f1"),
    "train loss": lambda row: _loss(row, "train_loss"),
    "val loss": lambda row: _loss(row, "val_loss"),
    "parameters": lambda row: _millions(row["parameters"]),
    "multiply-adds": lambda row: _millions(row["multiply_adds"]),
    "time": lambda row: "" if row["seconds"] is None else f"{row['seconds'] / 60:.1f} min",
    "images/s": lambda row: "" if row["images_per_s"] is None else f"{row['images_per_s']:.0f}",
}
IN_A_TERMINAL = ("model", "train acc", "val acc", "reference train / val", "test acc", "time")  # fit 80 characters


def markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table; a failed run says why."""
    cells = [
        [cell(row) for cell in COLUMNS.values()]
        if row["status"] == "finished"
        else [row["name"], f"**{row['status']}**: {row['error']}", *[""] * (len(COLUMNS) - 2)]
        for row in table
    ]
    return markdown_table(list(COLUMNS), cells)


def terminal_table(table: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as a table for the terminal, with the columns that fit there."""
    shown = Table(title="Leaderboard")
    for name in IN_A_TERMINAL:
        shown.add_column(name, justify="left" if name == "model" else "right")
    for row in table:
        if row["status"] == "finished":
            shown.add_row(*(escape(COLUMNS[name](row)) for name in IN_A_TERMINAL))
        else:
            shown.add_row(escape(row["name"]), f"[red]{row['status']}")
    return shown


def _percent(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return ""
    deviation = row[f"{name}_std"]
    return f"{100 * row[name]:.2f}" + (f" ± {100 * deviation:.2f}" if deviation is not None else "")


def _loss(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return ""
    deviation = row[f"{name}_std"]
    return f"{row[name]:.3f}" + (f" ± {deviation:.3f}" if deviation is not None else "")


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f} M"


def _reference(row: Mapping[str, Any]) -> str:
    if row["reference_val_acc"] is None:
        return ""
    return f"{100 * row['reference_train_acc']:.2f} / {100 * row['reference_val_acc']:.2f}"
