"""Pictures that stand in two splits: what a network has seen in training tells nothing about new faces."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import Faces


def identical_to_any(faces: Faces, others: Faces) -> NDArray[np.bool_]:
    """Return for each face whether a byte-identical picture is among `others`: bool, (N,)."""
    known = {_digest(image) for image in others.images}
    return np.array([_digest(image) in known for image in faces.images], dtype=bool)


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
