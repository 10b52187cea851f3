"""Pictures that occur in two splits: what a network has seen in training says nothing about new faces."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import Faces


def digests(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return 64 bits for each picture, equal for byte-identical pictures: uint64, (N,).

    Args:
        images: uint8, (N, H, W).
    """
    found = (hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(found), dtype=np.uint64)


def identical_to_any(faces: Faces, others: Faces) -> NDArray[np.bool_]:
    """Return for each face whether a byte-identical picture is among `others`: bool, (N,)."""
    return np.isin(digests(faces.images), digests(others.images))
