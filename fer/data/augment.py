"""Online albumentations: which faces are transformed, and how the draws repeat."""

from collections.abc import Sequence

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from fer.errors import FerError
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


class Augmenter:
    """Transforms the faces of some classes, one draw a face.

    A batch brings its own seed, so that what a face looks like depends on the run's seed, the epoch and the
    batch, and not on which worker made it.

    Args:
        transforms: albumentations transforms, applied in order to uint8 (H, W, 1).
        classes: Labels of the faces to transform.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform | A.BaseCompose], classes: Sequence[int]) -> None:
        # one grey channel is what the faces have: shape checks and conversions would only cost time
        self.compose = A.Compose(list(transforms))
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
        self.compose.set_random_seed(seed)
        result = images.copy()
        for row in np.flatnonzero(np.isin(labels, self.classes)):
            result[row] = self.compose(image=images[row, :, :, None])["image"][:, :, 0]
        return result
