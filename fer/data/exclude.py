"""Lists of training pictures to leave out: leaks, blanks, and whatever else a user names."""

import csv
import re
import shutil
from collections.abc import Mapping
from io import StringIO
from itertools import count
from pathlib import Path

import numpy as np

from fer.data.faces import SPLITS, Faces
from fer.errors import FerError
from fer.files import csv_text, write_whole

COLUMN = "picture"


def write_exclusions(path: Path, reasons: Mapping[str, str]) -> Path | None:
    """Write a list of pictures, each by its origin (file or row) and with the reason, for people to read and edit.

    Returns:
        Where the list that was there before is now, if it was another one: someone may have edited it.
    """
    text = csv_text([{COLUMN: name, "reason": why} for name, why in reasons.items()], [COLUMN, "reason"])
    before = None
    if path.is_file() and path.read_bytes() != text.encode():
        numbered = (path.with_stem(f"{path.stem}-before-{number}") for number in count(1))
        before = next(other for other in numbered if not other.exists())
        shutil.copyfile(path, before)
    write_whole(path, text)
    return before


def read_exclusions(path: Path) -> list[str]:
    """Return the origins in a list: its column `picture`.

    Raises:
        FerError: If the file cannot be read, is no table or has no such column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise FerError(f"data.exclude: '{path}' cannot be read ({reason})") from error
    # where the decimal sign is a comma, spreadsheets separate by semicolons
    separator = ";" if re.match(rf'"?{COLUMN}"?;', text) else ","
    # unless it is strict, a quotation mark swallows what follows it
    rows = csv.DictReader(StringIO(text), delimiter=separator, strict=True)
    try:
        if COLUMN not in (rows.fieldnames or ()):
            raise FerError(
                f"data.exclude: '{path}' has no column '{COLUMN}' in its first line; python -m fer.audit writes one"
            )
        return [row[COLUMN].strip() for row in rows if row[COLUMN] and row[COLUMN].strip()]
    except csv.Error as error:
        reason = f"its quotation marks do not match ({error})"
        raise FerError(f"data.exclude: '{path}' cannot be read behind line {rows.line_num}: {reason}") from error


def excluded(faces: Faces, path: Path, filtered: bool = False) -> Faces:
    """Return the faces without the training pictures that a list names.

    Args:
        faces: Faces of all splits.
        path: The list.
        filtered: Whether some were left out already, as by FER+, so that the list may name pictures no longer there.

    Raises:
        FerError: If the list names a picture that is not there (for filtered faces: if none of those it names is),
            or one outside training: validation and test are never changed.
    """
    row_of = {origin: row for row, origin in enumerate(faces.origins)}
    dropped = np.zeros(len(faces), dtype=bool)
    names = read_exclusions(path)
    if filtered and any(name in row_of for name in names):
        names = [name for name in names if name in row_of]
    for name in names:
        row = row_of.get(name)
        if row is None:
            raise FerError(f"data.exclude: '{path}' names '{name}', which {faces.source} does not hold")
        if SPLITS[faces.splits[row]] != "train":
            raise FerError(
                f"data.exclude: '{path}' names '{name}', which is in the {SPLITS[faces.splits[row]]} split; only "
                "training pictures can be left out (drawn splits: audit with the training's data.split_seed and "
                "data.val_fraction)"
            )
        dropped[row] = True
    return faces.take(np.flatnonzero(~dropped))
