"""Faces in memory: what every reader returns and everything after it consumes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer.data.rows import take
from fer.labels import EMOTIONS

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

Targets = NDArray[np.float32] | NDArray[np.bool_]
"""What training learns instead of labels, (N, C): shares of votes, or the classes that count as right."""


@dataclass(frozen=True)
class Faces:
    """Pictures of faces with their labels, splits and origins.

    Attributes:
        images: uint8, (N, H, W), grey levels 0 to 255. May be a read-only memory map, or `fer.data.rows.Rows`.
        labels: int64, (N,), indices into `classes`.
        splits: uint8, (N,), indices into `SPLITS`.
        origins: N strings, each the file (relative to the source's root) or the row a picture came from.
        source: What was read, in words: "Kaggle folders in /data/fer2013", say.
        notes: What a user must know about how it was read, a sentence each.
        classes: The class names in label order.
        targets: What several people said about each face, if training is to learn more than the labels.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.uint8]
    origins: Sequence[str]
    source: str
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = EMOTIONS
    targets: Targets | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, name: Split) -> "Faces":
        """Return the faces of one split, in their order."""
        return self.take(np.flatnonzero(self.splits == SPLITS.index(name)))

    def take(self, rows: NDArray[np.intp]) -> "Faces":
        """Return the faces at these rows, in this order."""
        return replace(
            self,
            images=take(self.images, rows),
            labels=self.labels[rows],
            splits=self.splits[rows],
            origins=[self.origins[row] for row in rows],
            targets=None if self.targets is None else self.targets[rows],
        )

    def counts(self) -> NDArray[np.int64]:
        """Return the number of faces per class: int64, (C,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def digest(self) -> str:
        """Return 16 hexadecimal digits that change with any pixel, label, split or target, but not with the order.

        Two layouts of the same pictures (folders and archive, say) have the same digest.
        """
        total = 0
        for row, (image, label, split) in enumerate(zip(self.images, self.labels, self.splits, strict=True)):
            face = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
            face.update(bytes((*_digits(int(label)), int(split))))
            if self.targets is not None:
                face.update(self.targets[row].tobytes())
            total = (total + int.from_bytes(face.digest(), "big")) % 2**128
        return f"{total:032x}"[:16]


def _digits(label: int) -> bytes:
    return label.to_bytes(1 if label < 256 else 2, "big")
