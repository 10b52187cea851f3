"""What the FER+ taggers said about FER2013: `fer2013new.csv`, and the index of Kaggle's pictures by row."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fer.data.table import USAGES
from fer.errors import FerError

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""The columns of votes for an emotion, in the file's order, which also decides ties."""

OTHERS = ("unknown", "NF")
"""The columns of votes for no emotion: it cannot be told, or there is no face."""

_COUNTS = {str(count): count for count in range(100)}  # there were ten taggers


@dataclass(frozen=True)
class Votes:
    """The votes on each row of `fer2013.csv`.

    Attributes:
        counts: int64, (N, 10), votes for each of `EMOTIONS` and then of `OTHERS`.
        blank: bool, (N,), whether the row has no image name, as those that the authors left out.
        splits: uint8, (N,), indices into `fer.data.faces.SPLITS`.
    """

    counts: NDArray[np.int64]
    blank: NDArray[np.bool_]
    splits: NDArray[np.uint8]


def read_votes(path: Path) -> Votes:
    """Read `fer2013new.csv` as github.com/microsoft/FERPlus has it, its columns in any order.

    Raises:
        FerError: If the file is not such a table, or a row has a bad usage or number of votes.
    """
    columns = (*EMOTIONS, *OTHERS)
    counts, blank, splits = [], [], []
    for line, (usage, name, *votes) in _rows(path, ("Usage", "Image name", *columns)):
        split = USAGES.get(usage.lower())
        if split is None:
            raise FerError(f"{path}, line {line}: Usage '{usage[:20]}' is none of Training, PublicTest, PrivateTest")
        for column, vote in zip(columns, votes, strict=True):
            if vote not in _COUNTS:
                raise FerError(f"{path}, line {line}: '{vote[:20]}' is no number of votes for {column}, from 0 to 99")
        counts.append([_COUNTS[vote] for vote in votes])
        blank.append(not name)
        splits.append(split)
    return Votes(
        np.array(counts, np.int64).reshape(-1, len(columns)), np.array(blank, np.bool_), np.array(splits, np.uint8)
    )


def read_index(path: Path) -> dict[str, int]:
    """Read which of Kaggle's pictures is which row of `fer2013.csv`, from the columns `row` and `kaggle_file`.

    Returns:
        The rows, from 0, by file: {"train/angry/Training_3908.jpg": 0, …}.

    Raises:
        FerError: If the file is not such a table, a row is not a number, or a file or row occurs twice.
    """
    index: dict[str, int] = {}
    for line, (row, file) in _rows(path, ("row", "kaggle_file")):
        if not row.isdecimal():
            raise FerError(f"{path}, line {line}: row '{row[:20]}' is no whole number")
        if file in index:
            raise FerError(f"{path}, line {line}: '{file[:80]}' stands there twice; every picture has one row")
        index[file] = int(row)
    if len(set(index.values())) < len(index):
        raise FerError(f"{path} names a row twice; every row has one picture")
    return index


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's line number, from 1 with the header, and its stripped fields in the order of `columns`."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip().lower() for name in next(reader, [])]
            missing = [name for name in columns if name.lower() not in header]
            if missing:
                found = ", ".join(header)[:80] or "none"
                raise FerError(f"{path} has no column {', '.join(missing)}; its columns are {found}")
            places = [header.index(name.lower()) for name in columns]
            for fields in filter(None, reader):
                if len(fields) != len(header):
                    raise FerError(f"{path}, line {reader.line_num}: {len(fields)} fields instead of {len(header)}")
                yield reader.line_num, [fields[place].strip() for place in places]
    except OSError as error:
        raise FerError(f"{path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise FerError(f"{path} is not readable as CSV ({error}); take it as it was published") from error
