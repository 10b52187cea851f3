"""Online augmentation with albumentations: which faces are transformed, and how the draws are reproduced."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from fer.errors import FerError, first_line
from fer.labels import EMOTIONS, emotion_indices


def augmented_classes(
    classes: object, known: Sequence[str] = EMOTIONS, key: str = "data.augment.classes"
) -> tuple[int, ...]:
    """Return the labels that are augmented.

    Args:
        classes: Emotion names, "all" or "none".
        known: The class names in label order.
        key: The configuration key, for error messages.

    Raises:
        FerError: If a name is unknown.
    """
    if classes == "all":
        return tuple(range(len(known)))
    if classes == "none":
        return ()
    if isinstance(classes, str) or not isinstance(classes, Sequence):
        raise FerError(f"{key}: give a list of emotions, 'all' or 'none', not '{classes}'")
    return emotion_indices(classes, key, known)


@runtime_checkable
class Batched(Protocol):
    """A transform that takes a whole batch and draws anew for each face."""

    def each(self, faces: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.uint8]:
        """Return faces, uint8 (N, H, W), transformed."""


def check_transforms(transforms: Sequence[A.BasicTransform | A.BaseCompose], size: int) -> None:
    """Try each transform on a face of `size` pixels a side.

    Raises:
        FerError: If one fails, or does not return a face of the same shape and type.
    """
    face = np.linspace(0, 255, size * size).astype(np.uint8).reshape(size, size, 1)
    for transform in _each(transforms):
        try:
            result = transform(image=face, force_apply=True)["image"]
        except Exception as error:  # a transform may be anyone's code
            raise FerError(
                f"data.augment.transforms: {type(transform).__name__} fails on a grey face ({first_line(error)})"
            ) from error
        _check(transform, face, result)


def _each(transforms: Sequence[Any]) -> Iterator[A.BasicTransform | A.BaseCompose]:
    """Yield the transforms; instead of one that chooses among several, yield those."""
    for transform in transforms:
        if isinstance(transform, A.OneOf | A.SomeOf | A.OneOrOther):
            yield from _each(transform.transforms)
        else:
            yield transform


def _check(transform: A.BasicTransform | A.BaseCompose, face: NDArray[np.uint8], result: NDArray[Any]) -> None:
    if result.shape != face.shape or result.dtype != np.uint8:
        raise FerError(
            f"data.augment.transforms: {type(transform).__name__} makes {result.dtype} {result.shape} of a face, uint8 "
            f"{face.shape}; leave it out (a face is scaled and resized by model.input, not here)"
        )


def _seed(transform: A.BasicTransform | A.BaseCompose, seed: int) -> None:
    """Seed a transform, and each of those that it is made of, which albumentations would all give the same seed."""
    transform.set_random_seed(seed)
    inner = transform.transforms if isinstance(transform, A.BaseCompose) else ()
    for one, own in zip(inner, np.random.SeedSequence(seed).generate_state(len(inner)).tolist(), strict=True):
        _seed(one, own)


class Augmenter:
    """Transforms the faces of some classes, with one draw per face.

    Each batch brings its own seed, so that what a face looks like depends on the run's seed, the epoch and the
    batch, and not on which worker made it.

    Args:
        transforms: albumentations transforms, applied in order to uint8 (H, W, 1).
        classes: Labels of the faces to transform.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform | A.BaseCompose], classes: Sequence[int]) -> None:
        self.transforms = list(transforms)
        self.classes = np.asarray(classes, dtype=np.int64)
        self.idle = not transforms or not len(self.classes)

    def __call__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
        """Return a batch in which the faces of the chosen classes are transformed.

        Args:
            images: uint8, (N, H, W); not changed.
            labels: int64, (N,).
            seed: Seed of this batch's draws.
        """
        if self.idle:
            return images
        rows = np.flatnonzero(np.isin(labels, self.classes))
        faces, seeds = images[rows], iter(np.random.SeedSequence(seed).generate_state(len(self.transforms)).tolist())
        for batched, group in groupby(self.transforms, lambda transform: isinstance(transform, Batched)):
            for_batch = self._batched if batched else self._one_by_one
            faces = for_batch(list(group), faces, seeds)
        result = images.copy()
        result[rows] = faces
        return result

    @staticmethod
    def _batched(transforms: Sequence[Any], faces: NDArray[np.uint8], seeds: Iterator[int]) -> NDArray[np.uint8]:
        for transform, seed in zip(transforms, seeds, strict=False):
            faces = transform.each(faces, np.random.default_rng(seed))
        return faces

    @staticmethod
    def _one_by_one(transforms: Sequence[Any], faces: NDArray[np.uint8], seeds: Iterator[int]) -> NDArray[np.uint8]:
        for transform, seed in zip(transforms, seeds, strict=False):
            _seed(transform, seed)
        for row, face in enumerate(faces[..., None]):
            for transform in transforms:  # called one by one, they take four fifths of the time of a Compose
                result = transform(image=face)["image"]
                _check(transform, face, result)  # of a choice within a Compose, not every option was tried
                face = result
            faces[row] = face[:, :, 0]
        return faces
