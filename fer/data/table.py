"""FER2013 as a table: `fer2013.csv` and `icml_face_data.csv`."""

import csv
import io
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import SPLITS
from fer.data.pictures import Pictures, fingerprint, resize, resized_note, with_progress
from fer.data.trees import Tree
from fer.errors import FerError
from fer.labels import EMOTIONS

SIDE = 48
COLUMNS = ("emotion", "pixels", "usage")

_ROW_BYTES = 8100  # FER2013's average, to guess the number of rows for the progress bar
_MAX_LINE = 100_000  # below the csv module's own limit; the longest honest row has about 9,300 characters
_LEVELS = {str(level): level for level in range(256)}
_LABELS = {str(label): label for label in range(len(EMOTIONS))}
USAGES = {
    "training": SPLITS.index("train"),
    "publictest": SPLITS.index("val"),
    "privatetest": SPLITS.index("test"),
}


class _Row(NamedTuple):
    label: int
    pixels: bytes
    split: int


def read_table(tree: Tree, path: str, size: int) -> Pictures:
    """Read a table with the columns `emotion`, `pixels` and `Usage`, in any order.

    Origins read `fer2013.csv:row 17`, counting rows below the header from 0 as FER+ and pandas do; error
    messages name the line as an editor counts it, from 1 with the header.

    Args:
        tree: Where the table lies.
        path: The table.
        size: Height and width of the result; 48x48 pixels are resized to it.

    Raises:
        FerError: If the file is no such table, or a row has a bad label, pixel or usage.
    """
    where, name = tree.where(path), path.rpartition("/")[2]
    with tree.open(path) as file:
        total = tree.size(path) // _ROW_BYTES
        rows = list(with_progress(_rows(file, where), total, f"Reading {name}"))
    labels = np.array([row.label for row in rows], np.int64)
    splits = np.array([row.split for row in rows], np.uint8)
    _refuse_gaps(labels, splits, where)
    images = np.frombuffer(b"".join(row.pixels for row in rows), np.uint8).reshape(-1, SIDE, SIDE)
    fingerprints = [fingerprint(row.pixels) for row in rows]
    if size != SIDE:
        images = np.stack([resize(image, size) for image in images])
    return Pictures(
        images=images,
        labels=labels,
        splits=splits,
        origins=[f"{name}:row {row}" for row in range(len(rows))],
        fingerprints=fingerprints,
        notes=resized_note(len(rows) if size != SIDE else 0, len(rows), size),
    )


def _rows(file: IO[bytes], where: str) -> Iterator[_Row]:
    reader = csv.reader(_lines(file, where))
    try:
        columns = _columns(next(reader, []), where)
        for fields in reader:
            if fields:
                yield _row(fields, columns, f"{where}, line {reader.line_num}")
    except csv.Error as error:
        raise FerError(f"{where}, line {reader.line_num}: not readable as CSV ({error})") from error
    except UnicodeDecodeError as error:
        raise FerError(
            f"{where} is not UTF-8 text after line {reader.line_num} "
            f"(byte 0x{error.object[error.start]:02x}); is it a CSV file?"
        ) from error


def _lines(file: IO[bytes], where: str) -> Iterator[str]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    number = 0
    # readline with a limit: a gigabyte without a line break must not become one string.
    while line := text.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE:
            raise FerError(f"{where}, line {number}: longer than {_MAX_LINE:,} characters, so no row of FER2013")
        yield line


def _columns(header: list[str], where: str) -> tuple[int, int, int]:
    if not header:
        raise FerError(f"{where} is empty; expected is a table with the columns emotion, pixels and Usage")
    names = [name.strip().lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        found = ", ".join(names)[:80]
        raise FerError(f"{where} has no column {' and no column '.join(missing)}; its columns are {found}")
    emotion, pixels, usage = (names.index(name) for name in COLUMNS)
    return emotion, pixels, usage


def _row(fields: list[str], columns: tuple[int, int, int], where: str) -> _Row:
    if len(fields) <= max(columns):
        raise FerError(f"{where}: {len(fields)} fields where the header names at least {max(columns) + 1}")
    emotion, pixels, usage = (fields[column] for column in columns)
    label = _LABELS.get(emotion.strip())
    if label is None:
        raise FerError(f"{where}: emotion '{emotion[:20]}' is no label from 0 to {len(EMOTIONS) - 1}")
    split = USAGES.get(usage.strip().lower())
    if split is None:
        raise FerError(f"{where}: Usage '{usage[:20]}' is none of Training, PublicTest, PrivateTest")
    return _Row(label, _pixels(pixels, where), split)


def _pixels(text: str, where: str) -> bytes:
    tokens = text.split()
    if len(tokens) != SIDE * SIDE:
        raise FerError(f"{where}: {len(tokens)} pixels instead of {SIDE * SIDE} ({SIDE}x{SIDE})")
    try:
        # A look-up in a dictionary is twice as quick as int(), and also the check.
        return bytes(map(_LEVELS.__getitem__, tokens))
    except KeyError as error:
        raise FerError(f"{where}: pixel '{error.args[0][:20]}' is no whole number from 0 to 255") from None


def _refuse_gaps(labels: NDArray[np.int64], splits: NDArray[np.uint8], where: str) -> None:
    train = labels[splits == USAGES["training"]]
    missing = [f"{name} ({label})" for label, name in enumerate(EMOTIONS) if label not in train]
    if missing:
        raise FerError(f"{where} has no Training row of {', '.join(missing)}; every class needs pictures")
    if USAGES["privatetest"] not in splits:
        raise FerError(f"{where} has no PrivateTest row; without a test split nothing can be evaluated")
