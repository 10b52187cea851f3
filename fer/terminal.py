"""What the commands print."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fer.cross import CrossResult
from fer.data.datamodule import FaceDataModule
from fer.data.faces import Split
from fer.evaluation import Result
from fer.result_table import COLUMNS, WORDS, accuracy, note, rows, seed_rows, title

console = Console()

# what fits 80 characters; the files hold everything
_SCORES = ("model", "views", "pictures", "accuracy", "macro F1")
_CROSS = ("model", "data", "views", "pictures", "left out", "accuracy")


def say(text: str) -> None:
    """Print a line as it is: paths stay whole, and brackets in them are not markup."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def counted(number: int, what: str) -> str:
    """Return a number with what it counts, in the singular for one."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def counts_table(data: FaceDataModule) -> Table:
    """Return the training faces of each class, before and after oversampling."""
    table = Table(title="Training faces")
    for name in ("class", "as read", "after oversampling"):
        table.add_column(name, justify="left" if name == "class" else "right")
    before, after = data.counts["before"], data.counts["after"]
    for name, *counts in zip(data.all_faces.classes, before, after, strict=True):
        table.add_row(escape(name), *(f"{count:,}" for count in counts))
    table.add_section()
    table.add_row("all", f"{np.sum(before):,}", f"{np.sum(after):,}")
    return table


def summary(metrics: dict[str, Any]) -> Table:
    """Return the results of a training."""
    table = Table(title=f"{metrics['model']}, epoch {metrics['best_epoch']} of {metrics['epochs']}")
    for name in ("split", "accuracy", "loss", "macro F1"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for split in ("train", "val", "test"):
        figures = metrics[split]
        if figures is None:  # trainer.test=false
            continue
        f1 = f"{100 * figures['f1']:.2f} %" if "f1" in figures else ""
        table.add_row(split, f"{100 * figures['acc']:.2f} %", f"{figures['loss']:.4f}", f1)
    table.caption = (
        f"{metrics['parameters'] / 1e6:.2f} M parameters, {metrics['multiply_adds'] / 1e6:.0f} M multiply-adds, "
        f"{metrics['seconds'] / 60:.1f} min, {metrics['images_per_s']:.0f} images/s"
    )
    return table


def results_table(split: Split, results: list[Result], seeds: Mapping[str, Sequence[Result]]) -> Table:
    """Return the scores of evaluated runs, for each test-time view, over the split and its leak-free part.

    Args:
        split: What was scored.
        results: Each run's scores.
        seeds: Runs among them that differ in their seed alone, under the name of each such group.
    """
    table = Table(title=title(split), caption=note(seeds))
    for column in _SCORES:
        table.add_column(column, justify="left" if column in COLUMNS[:WORDS] else "right", no_wrap=column == "accuracy")
    sections = [rows(result) for result in results]
    sections += [seed_rows(name, of_seeds) for name, of_seeds in seeds.items()]
    for section in sections:
        for row in section:
            table.add_row(*(escape(row[COLUMNS.index(column)]) for column in _SCORES))
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
            table.add_row(escape(result.name), escape(result.data), view, *counts, escape(accuracy(scores)))
        table.add_section()
    table.caption = "left out: pictures of classes that the run does not know"
    return table
