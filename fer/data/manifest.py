"""What an oversampled folder says about itself: a row for each picture, and whether all of them are there."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer.data.trees import is_litter
from fer.errors import FerError

ROWS = "manifest.csv"
SUMMARY = "manifest.json"
_HEADER = (
    "file", "class", "origin", "kind", "seed", "angle", "shift_x", "shift_y", "scale", "flip",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What was done to an original to make a copy; the numbers are exact, not rounded for display.

    Attributes:
        seed: Where the other numbers were drawn from.
        angle: Counter-clockwise rotation in degrees.
        shift_x: Whole pixels to the right.
        shift_y: Whole pixels downwards.
        scale: Enlargement of both height and width.
        flip: Whether it was mirrored, left to right, after all that.
    """

    seed: int
    angle: float
    shift_x: int
    shift_y: int
    scale: float
    flip: bool


@dataclass(frozen=True)
class Row:
    """One picture of the folder.

    Attributes:
        file: Its path relative to the folder.
        emotion: Its class.
        origin: The origin, in the source, of the picture that it is, or from which it was made.
        change: How a copy was made; None for an original.
    """

    file: str
    emotion: str
    origin: str
    change: Change | None = None


def write_rows(folder: Path, rows: Sequence[Row]) -> None:
    """Write the rows to the folder's `manifest.csv`."""
    with (folder / ROWS).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for row in rows:
            what: tuple[object, ...] = ("original",) + ("",) * 6
            if change := row.change:
                # repr keeps every digit of a float, so that the copy can be redrawn bit for bit
                moved = (repr(change.angle), change.shift_x, change.shift_y, repr(change.scale))
                what = ("copy", change.seed, *moved, int(change.flip))
            writer.writerow((row.file, row.emotion, row.origin, *what))


def read_rows(folder: Path) -> list[Row]:
    """Read the rows of the folder's `manifest.csv`, in the order in which they were written.

    Raises:
        FerError: If the file is missing or not what was written.
    """
    try:
        with (folder / ROWS).open(newline="", encoding="utf-8") as file:
            header, *lines = csv.reader(file)
        if tuple(header) != _HEADER:
            raise damaged(folder, f"{ROWS} has another header")
        return [_row(line) for line in lines]
    except (OSError, ValueError) as error:
        raise damaged(folder, f"{ROWS} cannot be read") from error


def _row(line: list[str]) -> Row:
    file, emotion, origin, kind, seed, angle, shift_x, shift_y, scale, flip = line
    if kind == "original":
        return Row(file, emotion, origin)
    change = Change(int(seed), float(angle), int(shift_x), int(shift_y), float(scale), flip == "1")
    return Row(file, emotion, origin, change)


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the folder's `manifest.json`.

    Raises:
        FerError: If the file is missing or is not a JSON object.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise damaged(folder, f"{SUMMARY} cannot be read") from error
    if not isinstance(summary, dict):
        raise damaged(folder, f"{SUMMARY} is no JSON object")
    return summary


def check_files(folder: Path, rows: Sequence[Row]) -> None:
    """Compare the folder's pictures with the rows by name; quick, since none of them is opened.

    Raises:
        FerError: If a picture is missing, or one is there that has no row.
    """
    wanted = {row.file for row in rows}
    found: set[str] = set()
    for entry in os.scandir(folder):
        if entry.is_dir():
            found.update(f"{entry.name}/{name}" for name in os.listdir(entry.path) if not is_litter(name))  # noqa: PTH208  # names suffice
    missing, extra = wanted - found, found - wanted
    if missing:
        raise damaged(folder, f"{len(missing)} of its {len(wanted)} pictures are missing, {min(missing)} for one")
    if extra:
        raise damaged(folder, f"{len(extra)} files in it are not in {ROWS}, {min(extra)} for one")


def damaged(folder: Path, reason: str) -> FerError:
    """Return the error for a folder that is no longer as it was written."""
    return FerError(
        f"{folder} is not as it was written: {reason}; restore it, or delete the folder to have it written anew"
    )
