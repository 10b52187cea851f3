"""Pictures that occur in a data set more than once, pixel for pixel or nearly so."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.audit.extra import needed
from fer.data.faces import Faces
from fer.data.leaks import digests
from fer.data.pictures import with_progress

BITS = 64
_AT_ONCE = 2**24  # pairs that are compared at a time, with 8 bytes each


class Pair(NamedTuple):
    """Two pictures that look alike: their rows, and the distance of their hashes in bits."""

    first: int
    second: int
    distance: int


def identical_groups(faces: Faces) -> list[NDArray[np.intp]]:
    """Return the rows of each picture that occurs more than once, groups in the order of their first rows."""
    _, picture = np.unique(digests(faces.images), return_inverse=True)
    order = np.argsort(picture, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(picture[order])) + 1)
    return sorted((group for group in groups if len(group) > 1), key=lambda group: int(group[0]))


def hashes(images: NDArray[np.uint8], rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """Return the perceptual hashes of some pictures: uint64, (N,).

    The 64 bits say which low frequencies of the cosine transform lie above their median (Zauner, 2010,
    "Implementation and Benchmarking of Perceptual Image Hash Functions").

    Args:
        images: uint8, (M, H, W).
        rows: Which of them, (N,).
    """
    phash = needed("imagehash").phash
    bits = np.empty((len(rows), BITS), dtype=bool)
    for place, row in with_progress(enumerate(rows), len(rows), "Hashing pictures"):
        bits[place] = phash(Image.fromarray(images[row])).hash.ravel()
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def near_pairs(faces: Faces, threshold: int, skipped: Sequence[int] = ()) -> list[Pair]:
    """Return the pairs of pictures whose hashes differ in few bits, the closest first.

    Of byte-identical pictures only the first is compared.

    Args:
        faces: The pictures.
        threshold: Largest number of bits by which two hashes may differ.
        skipped: Rows to leave out: blank pictures all look alike.
    """
    _, first = np.unique(digests(faces.images), return_index=True)
    rows = np.setdiff1d(first, np.asarray(skipped, dtype=np.intp))
    codes = hashes(faces.images, rows)
    pairs: list[Pair] = []
    block = max(1, _AT_ONCE // max(1, len(rows)))
    starts = range(0, len(rows), block)
    for start in with_progress(starts, len(starts), "Comparing pictures", least=4):
        others = codes[start:]
        distance = np.bitwise_count(codes[start : start + block, None] ^ others[None])
        one, two = np.nonzero(np.triu(distance <= threshold, k=1))
        found = zip(rows[start + one].tolist(), rows[start + two].tolist(), distance[one, two].tolist(), strict=True)
        pairs += [Pair(*pair) for pair in found]
    return sorted(pairs, key=lambda pair: (pair.distance, pair.first, pair.second))
