"""Splits for sources that come without them."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import SPLITS
from fer.errors import FerError

_TRAIN, _VAL = SPLITS.index("train"), SPLITS.index("val")


def hold_out(
    labels: NDArray[np.int64],
    splits: NDArray[np.uint8],
    fingerprints: Sequence[bytes],
    people: Sequence[str] | None,
    fraction: float,
    seed: int,
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Turn a part of the training pictures into validation pictures, unless there already are some.

    The part is stratified, and drawn by the pictures' content: it does not change with names, order or
    layout, and identical pictures of a class fall on the same side (except for one group at the cut), so that
    validation is not flattered by pictures seen in training. Where people are known, all pictures of one person
    fall on the same side, if there are enough people.

    Args:
        labels: int64, (N,).
        splits: uint8, (N,), indices into `SPLITS`.
        fingerprints: N digests of the pictures' content.
        people: N names of the people shown, '' for unknown; None if nobody is known.
        fraction: The part of each class to hold out, between 0 and 1; of two pictures or more, each side has one.
        seed: A different seed draws a different part.

    Returns:
        The splits, uint8, (N,), and, if something was held out, the sentence that says so.
    """
    if (splits == _VAL).any():
        return splits, ()
    held = _whole_people(labels, splits, fingerprints, people, fraction, seed) if people else None
    whom = "" if held is None else "; nobody stands in both"
    if held is None:
        held = _single_pictures(labels, splits, fingerprints, fraction, seed)
    note = (
        f"The source names no validation pictures, so {len(held):,} training pictures "
        f"({fraction:.0%} of each class{', or near it' if whom else ''}) were held out for validation "
        f"(data.split_seed={seed}{whom})."
    )
    splits = splits.copy()
    splits[held] = _VAL
    return splits, (note,)


def _single_pictures(
    labels: NDArray[np.int64], splits: NDArray[np.uint8], fingerprints: Sequence[bytes], fraction: float, seed: int
) -> list[int]:
    """Return the rows to hold out, a part of each class."""
    held: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & (splits == _TRAIN)).tolist()
        if len(rows) >= 2:
            wanted = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
            held += sorted(rows, key=lambda row: _draw(fingerprints[row], seed))[:wanted]
    return held


def _whole_people(
    labels: NDArray[np.int64],
    splits: NDArray[np.uint8],
    fingerprints: Sequence[bytes],
    people: Sequence[str],
    fraction: float,
    seed: int,
) -> list[int] | None:
    """Return the rows of some people to hold out; None if there are too few people for what both sides need."""
    groups = _groups(people, fingerprints, np.flatnonzero(splits == _TRAIN).tolist(), seed)
    counts = _counts(labels, groups)
    total = counts.sum(axis=0)
    given = np.array(_hand_out(counts, _wanted(total, fraction, others=1)))
    left = counts[given == _TRAIN].sum(axis=0)
    if not (given == _VAL).any() or ((total > 0) & (left == 0)).any():
        return None
    return [row for number in np.flatnonzero(given == _VAL) for row in groups[number]]


def divide(
    labels: NDArray[np.int64], fingerprints: Sequence[bytes], people: Sequence[str] | None, fraction: float, seed: int
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Divide pictures into training, validation and test, with about the same classes in each.

    What must not be torn apart stays together: the pictures of a person where people are known, unless they are too
    few, and identical pictures otherwise. Such groups are handed out one by one, those of the rarest class first, each
    to the split that lacks the largest part of its share of that class. This follows the iterative stratification of
    Sechidis, Tsoumakas and Vlahavas (2011), but they compare how many pictures a split lacks; comparing what part of
    its share it lacks serves the small splits first. The groups come in an order drawn from their names or content, so
    that files may be renamed or moved.

    Args:
        labels: int64, (N,).
        fingerprints: N digests of the pictures' content.
        people: N names of the people shown, '' for unknown; None if nobody is known.
        fraction: The part of each class for validation, and also the part for the test.
        seed: A different seed draws a different division.

    Returns:
        The splits, uint8, (N,), indices into `SPLITS`, and the sentence that says so.

    Raises:
        FerError: If nothing would be left for training.
    """
    if fraction >= 0.5:
        raise FerError(
            f"data.val_fraction: {fraction} for validation and as much for the test leave no training picture; "
            "choose one below 0.5"
        )
    groups = _groups(people, fingerprints, range(len(labels)), seed)
    counts = _counts(labels, groups)
    given = _hand_out(counts, _wanted(counts.sum(axis=0), fraction, others=2))
    shares = np.stack([counts[np.array(given) == number].sum(axis=0) for number in range(len(SPLITS))])
    if people is not None and (not shares.any(axis=1).all() or (counts.any(axis=0) & (shares[_TRAIN] == 0)).any()):
        splits, notes = divide(labels, fingerprints, None, fraction, seed)
        return splits, (*notes, "The people whom file names tell apart are too few to stand in one split each.")
    splits = np.full(len(labels), _TRAIN, np.uint8)
    for number, group in zip(given, groups, strict=True):
        splits[group] = number
    if people is None:
        return splits, (_drawn(fraction, seed),)
    return splits, (_divided([number for number, (row, *_) in zip(given, groups, strict=True) if people[row]], seed),)


def _groups(
    people: Sequence[str] | None, fingerprints: Sequence[bytes], rows: Sequence[int], seed: int
) -> list[list[int]]:
    """Return the rows that must stay together, in an order drawn from their names or content."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row in rows:
        groups[people[row].encode() if people and people[row] else fingerprints[row]].append(row)
    return [groups[name] for name in sorted(groups, key=lambda name: _draw(name, seed))]


def _counts(labels: NDArray[np.int64], groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Return the number of pictures of each class in each group: (G, C)."""
    classes = int(labels.max(initial=0)) + 1
    return np.array([np.bincount(labels[group], minlength=classes) for group in groups], np.int64).reshape(-1, classes)


def _hand_out(counts: NDArray[np.int64], wanted: NDArray[np.float64]) -> list[int]:
    """Return each group's split, from the `counts` of the groups, (G, C), and those `wanted` by the splits, (S, C)."""
    lacking, given = wanted.copy(), np.full(len(counts), -1)
    for label in np.argsort((counts > 0).sum(axis=0), kind="stable"):
        for number in np.flatnonzero((counts[:, label] > 0) & (given < 0)):
            given[number] = (lacking[:, label] / np.maximum(wanted[:, label], 1)).argmax()
            lacking[given[number]] -= counts[number]
    found: list[int] = given.tolist()
    return found


def _wanted(total: NDArray[np.int64], fraction: float, others: int) -> NDArray[np.float64]:
    """Return how many pictures of each class training and so many other splits are to have: (1 + others, C).

    A class with fewer pictures than there are splits is for training alone.
    """
    held = np.where(total > others, np.clip(np.round(total * fraction), 1, np.maximum((total - 1) // others, 1)), 0)
    return np.stack([total - others * held, *[held] * others]).astype(np.float64)


def _drawn(fraction: float, seed: int) -> str:
    return (
        f"The source names no splits, so {fraction:.0%} of each class were drawn for validation and as many for the "
        f"test (data.split_seed={seed})."
    )


def _divided(given: Sequence[int], seed: int) -> str:
    numbers = " + ".join(f"{given.count(number):,}" for number in range(len(SPLITS)))
    return (
        f"The source names no splits, so its {len(given):,} people were divided into {numbers} for training, "
        f"validation and test (data.split_seed={seed}); nobody who is known by a file's name stands in two of them."
    )


def _draw(name: bytes, seed: int) -> bytes:
    return hashlib.blake2b(name, digest_size=16, key=seed.to_bytes(4, "big")).digest()
