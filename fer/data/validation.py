"""A validation split for sources that bring none."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import SPLITS

_TRAIN, _VAL = SPLITS.index("train"), SPLITS.index("val")


def hold_out(
    labels: NDArray[np.int64], splits: NDArray[np.uint8], fingerprints: Sequence[bytes], fraction: float
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Turn a part of the training pictures into validation pictures, unless there already are some.

    The part is stratified, and drawn by the pictures' content: it does not change with names, order or
    layout, and identical pictures of a class fall on the same side (save for one group at the edge), so that
    validation is not flattered by pictures seen in training.

    Args:
        labels: int64, (N,).
        splits: uint8, (N,), indices into `SPLITS`.
        fingerprints: N digests of the pictures' content.
        fraction: The part of each class to hold out, between 0 and 1; each side keeps at least one picture.

    Returns:
        The splits, uint8, (N,), and the sentence that says so where something was held out.
    """
    if (splits == _VAL).any():
        return splits, ()
    splits = splits.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & (splits == _TRAIN)).tolist()
        if len(rows) < 2:
            continue
        wanted = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
        splits[sorted(rows, key=lambda row: fingerprints[row])[:wanted]] = _VAL
    held = int((splits == _VAL).sum())
    return splits, (
        f"The source names no validation pictures, so {held:,} training pictures "
        f"({fraction:.0%} of each class) were held out for validation.",
    )
