"""FER2013 as a table: `fer2013.csv`, `icml_face_data.csv`, and `train.csv` with `val.csv` and `test.csv`."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from fer.data.classes import map_classes
from fer.data.faces import SPLITS, Split
from fer.data.options import ReadOptions
from fer.data.pictures import Pictures, fingerprint, left_out_note, or_skipped, resize, resized_note, with_progress
from fer.data.rows import blank
from fer.data.trees import Tree
from fer.errors import FerError
from fer.labels import EMOTIONS_WITH_CONTEMPT as CLASSES

SIDE = 48
COLUMNS = ("emotion", "pixels", "usage")

_ROW_BYTES = 8100  # FER2013's average, to guess the number of rows for the progress bar
_MAX_LINE = 100_000  # below the csv module's own limit; the longest honest row has about 9,300 characters
_LEVELS = {str(level): level for level in range(256)}
_LABELS = {str(label): label for label in range(len(CLASSES))}
USAGES = {
    "training": SPLITS.index("train"),
    "publictest": SPLITS.index("val"),
    "privatetest": SPLITS.index("test"),
}


class _Row(NamedTuple):
    label: int
    pixels: bytes
    split: int
    origin: str


def read_tables(
    tree: Tree, splits: Mapping[str, Split | None], options: ReadOptions, scratch: Path | None = None
) -> Pictures:
    """Read tables with the columns `emotion`, `pixels` and, unless each is a split, `Usage`, in any order.

    Label 7 is contempt, which FER2013 does not have, but tables of CK+ and of FER+ do.

    Origins read `fer2013.csv:row 17`, counting rows below the header from 0 as FER+ and pandas do; error
    messages name the line as an editor counts it, from 1 with the header.

    Args:
        tree: Where the tables lie.
        splits: The tables, each with its split; None where the column `Usage` tells it.
        options: The size of the result (48x48 pixels are resized to it), which classes to rename, and what to do
            with a row that cannot be read.
        scratch: The folder for faces too many for memory; by default the system's temporary folder.

    Raises:
        FerError: If a file is not such a table, or a row has a bad label, pixel or usage.
    """
    rows: list[_Row] = []
    broken: list[str] = []
    for path, split in splits.items():
        total = tree.size(path) // _ROW_BYTES
        with tree.open(path) as file:
            table = _Table(tree.where(path), path.rpartition("/")[2], split, broken if options.skip else None)
            rows.extend(with_progress(table.rows(file), total, f"Reading {table.name}"))
    where = tree.where(next(iter(splits)))
    if not rows:
        raise FerError(f"{where} has no row that can be read; put FER2013's rows there")
    present = sorted({row.label for row in rows})
    told = {CLASSES[label]: f"{where}: emotion {label} ({CLASSES[label]})" for label in present}
    mapping = map_classes(told, options)
    kept = [(row, label) for row in rows if (label := mapping.labels[CLASSES[row.label]]) is not None]
    images = np.frombuffer(b"".join(row.pixels for row, _ in kept), np.uint8).reshape(-1, SIDE, SIDE)
    fingerprints = [fingerprint(image) for image in images]
    if options.size != SIDE:
        small, images = images, blank((len(images), options.size, options.size), scratch)
        for place, image in zip(images, small, strict=True):
            place[:] = resize(image, options.size)
    resized = resized_note(len(kept) if options.size != SIDE else 0, len(kept), options.size)
    return Pictures(
        images=images,
        labels=np.array([label for _, label in kept], np.int64),
        splits=np.array([row.split for row, _ in kept], np.uint8),
        origins=[row.origin for row, _ in kept],
        fingerprints=fingerprints,
        classes=mapping.classes,
        notes=(*mapping.notes, *left_out_note(broken, len(rows) + len(broken), "rows"), *resized),
    )


class _Table:
    """One table.

    Args:
        where: Its name for error messages.
        name: Its file name.
        split: The split of all its rows; None where `Usage` tells it.
        broken: Where to note the lines that cannot be read; None to stop at one.
    """

    def __init__(self, where: str, name: str, split: Split | None, broken: list[str] | None) -> None:
        self.where = where
        self.name = name
        self.split = split
        self.broken = broken

    def rows(self, file: IO[bytes]) -> Iterator[_Row]:
        reader = csv.reader(_lines(file, self.where))
        try:
            columns = self._columns(next(reader, []))
            number, line = 0, reader.line_num
            for fields in reader:
                line, lines = reader.line_num, reader.line_num - line
                if not fields:
                    continue
                if lines > 1 and _holds_a_row(fields):
                    raise self._unclosed(line - lines + 1)
                try:
                    yield self._row(fields, columns, f"{self.where}, line {reader.line_num}", number)
                except FerError as error:
                    if lines > 1:
                        raise self._unclosed(line - lines + 1) from error
                    if self.broken is None:
                        raise or_skipped(error) from error
                    self.broken.append(f"{self.name}:row {number}")
                number += 1
        except csv.Error as error:
            raise FerError(f"{self.where}, line {reader.line_num}: not readable as CSV ({error})") from error
        except UnicodeDecodeError as error:
            raise FerError(
                f"{self.where} is not UTF-8 text after line {reader.line_num} "
                f"(byte 0x{error.object[error.start]:02x}); is it a CSV file?"
            ) from error

    def _unclosed(self, line: int) -> FerError:
        """Return the error, never skipped, for a field that may have swallowed any number of rows."""
        return FerError(
            f"{self.where}, line {line}: a quotation mark there is not closed on that line; close it, or remove it"
        )

    def _columns(self, header: list[str]) -> list[int]:
        wanted = COLUMNS if self.split is None else COLUMNS[:2]
        if not header:
            raise FerError(f"{self.where} is empty; expected is a table with the columns emotion, pixels and Usage")
        names = [name.strip().lower() for name in header]
        missing = [name for name in wanted if name not in names]
        if missing:
            found = ", ".join(names)[:80]
            raise FerError(f"{self.where} has no column {' and no column '.join(missing)}; its columns are {found}")
        return [names.index(name) for name in wanted]

    def _row(self, fields: list[str], columns: list[int], where: str, number: int) -> _Row:
        if len(fields) <= max(columns):
            raise FerError(f"{where}: {len(fields)} fields where the header names at least {max(columns) + 1}")
        emotion, pixels, *usage = (fields[column] for column in columns)
        label = _LABELS.get(emotion.strip())
        if label is None:
            raise FerError(f"{where}: emotion '{emotion[:20]}' is no label from 0 to {len(CLASSES) - 1}")
        split = USAGES.get(usage[0].strip().lower()) if self.split is None else SPLITS.index(self.split)
        if split is None:
            raise FerError(f"{where}: Usage '{usage[0][:20]}' is none of Training, PublicTest, PrivateTest")
        return _Row(label, _pixels(pixels, where), split, f"{self.name}:row {number}")


def _holds_a_row(fields: list[str]) -> bool:
    """Return whether a field goes on over a line that looks like a row of its own."""
    return any(line.count(",") > 1 for field in fields for line in field.split("\n")[1:])


def _lines(file: IO[bytes], where: str) -> Iterator[str]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    number = 0
    # readline with a limit: a gigabyte without a line break must not become one string.
    while line := text.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE:
            raise FerError(f"{where}, line {number}: longer than {_MAX_LINE:,} characters, so no row of FER2013")
        yield line


def _pixels(text: str, where: str) -> bytes:
    tokens = text.split()
    if len(tokens) != SIDE * SIDE:
        raise FerError(f"{where}: {len(tokens)} pixels instead of {SIDE * SIDE} ({SIDE}x{SIDE})")
    try:
        # A look-up in a dictionary is twice as quick as int(), and doubles as the check.
        return bytes(map(_LEVELS.__getitem__, tokens))
    except KeyError as error:
        raise FerError(f"{where}: pixel '{error.args[0][:20]}' is no whole number from 0 to 255") from None
