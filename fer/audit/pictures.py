"""Pictures that show nothing, and how bright the others are."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import SPLITS, Faces, Split

BLANK = 1.0
"""Deviation in grey levels below which a picture shows nothing at all; JPEG alone leaves half a level."""

NEARLY_BLANK = 12.0
"""Deviation below which a picture shows next to nothing; FER2013's darkest recognisable face has 11.7."""

FLAT = 0.25
"""A picture counts as decoded in part if at least this share of its rows has no variation."""


class Levels(NamedTuple):
    """Brightness and contrast of the pictures of one class in one split.

    Attributes:
        split: The split.
        emotion: The class.
        pictures: Number of pictures.
        brightness: Mean over the pictures of their mean grey level, 0 to 255; None without pictures.
        contrast: Mean over the pictures of their deviation in grey levels; None without pictures.
    """

    split: Split
    emotion: str
    pictures: int
    brightness: float | None
    contrast: float | None


def deviations(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the standard deviation of each picture's grey levels: float32, (N,)."""
    return np.array([image.std() for image in images], dtype=np.float32)


def partly_decoded(images: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Return the rows of pictures whose lower part is flat: what a decoder leaves of a file that ends too early."""
    flat = np.array([_flat_rows(image) for image in images])
    return np.flatnonzero((flat >= FLAT) & (flat < 1))


def _flat_rows(image: NDArray[np.uint8]) -> float:
    """Return the share of a picture's rows, counted from the bottom, that are all of one grey."""
    varied = np.flatnonzero((image != image[-1, -1]).any(axis=1))
    return 1 - (varied[-1] + 1) / len(image) if len(varied) else 1.0


def levels(faces: Faces, deviation: NDArray[np.float32]) -> Iterator[Levels]:
    """Yield brightness and contrast for each split and class."""
    brightness = np.array([image.mean() for image in faces.images], dtype=np.float32)
    for number, split in enumerate(SPLITS):
        for label, emotion in enumerate(faces.classes):
            rows = (faces.splits == number) & (faces.labels == label)
            means = (float(brightness[rows].mean()), float(deviation[rows].mean())) if rows.any() else (None, None)
            yield Levels(split, emotion, int(rows.sum()), *means)
