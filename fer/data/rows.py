"""Arrays too large for memory: pictures on disk, and some of their rows, read on demand."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fer.errors import FerError

LARGE = 2**29
"""Size in bytes from which pictures stay on disk; FER2013 has 83 MB."""


class Rows:
    """Some rows of an array, in an order of their own, that are read on demand.

    Indexing works as on the array itself, and gives an array in memory.

    Args:
        base: The array, (M, …); usually a memory map.
        rows: Which of its rows, (N,).
    """

    def __init__(self, base: NDArray[np.uint8], rows: NDArray[np.intp]) -> None:
        self.base = base
        self.rows = rows
        self.shape = (len(rows), *base.shape[1:])
        self.dtype = base.dtype
        self.nbytes = len(rows) * int(np.prod(base.shape[1:])) * base.itemsize

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        return np.asarray(self.base[self.rows[index]])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (np.asarray(self.base[row]) for row in self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # for a worker that does not share this process's memory: NumPy would pass on the map's whole content
        base = self.base
        if isinstance(base, np.memmap) and base.filename is not None:
            return _reopened, (base.filename, base.offset, base.shape, self.rows)
        return Rows, (base, self.rows)


def _reopened(file: str, offset: int, shape: tuple[int, ...], rows: NDArray[np.intp]) -> Rows:
    return Rows(np.memmap(file, np.uint8, "r", offset, shape), rows)


def take(images: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint8]:
    """Return some rows of pictures: in memory where they are few, else as `Rows`, which looks like an array.

    Args:
        images: uint8, (M, H, W), an array or `Rows`.
        rows: Which of them.
    """
    size = len(rows) * int(np.prod(images.shape[1:]))
    if size < LARGE:
        return images[rows]
    if isinstance(images, Rows):
        return cast(NDArray[np.uint8], Rows(images.base, images.rows[rows]))
    return cast(NDArray[np.uint8], Rows(images, rows))


def kept(images: NDArray[np.uint8], rows: Sequence[int] | NDArray[np.intp]) -> NDArray[np.uint8]:
    """Move some rows of pictures, in ascending order, to the front and return them: a copy may not fit in memory."""
    if len(rows) < len(images):
        for place, row in enumerate(rows):
            images[place] = images[row]
    return images[: len(rows)]


def blank(shape: tuple[int, ...], folder: Path | None) -> NDArray[np.uint8]:
    """Return room for pictures: in memory if they are few, else in an unnamed file that vanishes with the array.

    Args:
        shape: (N, H, W).
        folder: Where the file lies; if None, or without room or permission, the system's temporary folder.

    Raises:
        FerError: If neither has room.
    """
    if int(np.prod(shape)) < LARGE:
        return np.empty(shape, np.uint8)
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return _in_a_file(shape, folder)
    except OSError:
        try:
            return _in_a_file(shape, None)
        except OSError as error:
            places = f"{folder} or {tempfile.gettempdir()}" if folder else tempfile.gettempdir()
            other = "data.cache_dir=path or " if folder else ""
            raise FerError(
                f"there is no room for {int(np.prod(shape)) / 1e9:.1f} GB of pictures in {places} "
                f"({error.strerror or error}); name another folder with {other}the environment variable TMPDIR"
            ) from error


def _in_a_file(shape: tuple[int, ...], folder: Path | None) -> NDArray[np.uint8]:
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # otherwise a full disk would end the program while the map is written
            os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)))
        return np.memmap(file, np.uint8, "w+", shape=shape)
