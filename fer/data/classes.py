"""Maps a source's class names to the labels of this program."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import SPLITS, Faces
from fer.data.options import ReadOptions
from fer.errors import FerError
from fer.labels import EMOTIONS, emotion_indices, folded, plain_name

_TYPABLE = re.compile(r"[\w ./+$%*@?|-]+", re.ASCII)  # what Hydra accepts as a key; keys cannot be quoted there
_NAME = re.compile(r"\w[\w -]{0,49}")  # becomes a folder's name in oversampling


@dataclass(frozen=True)
class ClassMapping:
    """What each class of a source is called here.

    Attributes:
        classes: The class names in label order: the seven emotions, then any other classes that were kept.
        labels: The label of each name as found; None for a class that is left out.
        notes: What was renamed, kept and left out, a sentence each.
    """

    classes: tuple[str, ...]
    labels: Mapping[str, int | None]
    notes: tuple[str, ...]


def map_classes(
    found: Mapping[str, str], options: ReadOptions, digits: Mapping[str, str] | None = None
) -> ClassMapping:
    """Decide what a source's classes are called.

    Args:
        found: The class names as written in the source, each with its location, for error messages.
        options: `class_map` takes precedence over the known names; `extra_classes` says what to do with unknown ones.
        digits: What digits mean in this source.

    Raises:
        FerError: If a class is none of the seven and to be neither left out nor kept, or `class_map` names a
            class that is not there, or maps one to a class that does not exist.
    """
    plain = {name: (digits or {}).get(name) or plain_name(name) for name in found}
    meant = _class_map(plain, options)
    names = {name: meant.get(name, plain[name]) for name in found}
    extras = sorted({name for name in names.values() if name not in EMOTIONS})
    if extras and options.extra_classes == "error":
        raise _unknown(next(name for name in found if names[name] == extras[0]), found, names)
    classes = EMOTIONS
    if options.extra_classes == "keep":
        classes = (*EMOTIONS, *extras)
    labels = {name: classes.index(final) if final in classes else None for name, final in names.items()}
    renamed = [f"{name}→{final}" for name, final in sorted(names.items()) if final in classes and final != folded(name)]
    notes = [f"Classes: {', '.join(renamed)}."] if renamed else []
    if extras:
        kept = options.extra_classes == "keep"
        verb = "kept beside the seven" if kept else "left out"
        notes.append(f"Classes {verb} (data.extra_classes={options.extra_classes}): {', '.join(extras)}.")
    return ClassMapping(classes, labels, tuple(notes))


def missing_classes(labels: NDArray[np.int64], splits: NDArray[np.uint8], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Say which classes have no pictures, at all or in a split.

    Args:
        labels: int64, (N,), indices into `classes`.
        splits: uint8, (N,), indices into `SPLITS`.
        classes: The class names.
    """
    counts = _by_split(labels, splits, classes)
    total = np.bincount(labels, minlength=len(classes))
    absent = [name for name, every in zip(classes, total, strict=True) if not every]
    notes = [f"There is no picture of {', '.join(absent)}."] if absent else []
    for split in SPLITS[1:]:
        gaps = [name for name, some, every in zip(classes, counts[split], total, strict=True) if every and not some]
        if gaps:
            notes.append(f"The {split} split has no picture of {', '.join(gaps)}.")
    return tuple(notes)


def check_learnable(faces: Faces) -> None:
    """Check that a network can be trained on these faces to recognise all of their classes.

    Raises:
        FerError: If a split has no picture, if training has none of a class that another split has, or if
            a class has a name that no folder of copies can have.
    """
    counts = _by_split(faces.labels, faces.splits, faces.classes)
    for split in SPLITS:
        if not counts[split].any():
            drawn = "" if split == "train" else ", or, where splits are drawn, at least three of each class"
            kind = "training" if split == "train" else split
            raise FerError(f"{faces.source} has no {kind} picture; put some there{drawn}")
    unlearnt = [
        name
        for name, some, every in zip(faces.classes, counts["train"], faces.counts(), strict=True)
        if every and not some
    ]
    if unlearnt:
        raise FerError(
            f"{faces.source} has no training picture of {', '.join(unlearnt)}, though another split has; "
            "put some there, or remove the class from the other splits"
        )
    for name in faces.classes[len(EMOTIONS) :]:
        if not _NAME.fullmatch(name):
            raise FerError(
                f"the class '{name[:50]}' cannot be kept, for folders are to be named after it; give it a name of "
                "letters with data.class_map, or leave it out with data.extra_classes=drop"
            )


def _by_split(
    labels: NDArray[np.int64], splits: NDArray[np.uint8], classes: tuple[str, ...]
) -> dict[str, NDArray[np.int64]]:
    return {name: np.bincount(labels[splits == at], minlength=len(classes)) for at, name in enumerate(SPLITS)}


def _class_map(plain: Mapping[str, str], options: ReadOptions) -> dict[str, str]:
    """Return the class that `class_map` assigns to each name it covers, names being as written in the source."""
    meant: dict[str, str] = {}
    for key, value in options.class_map.items():
        names = [name for name, known in plain.items() if folded(key) in (folded(name), known)]
        if not names:
            raise FerError(f"data.class_map: '{key}' is no class of this data; its classes are {', '.join(plain)}")
        if options.extra_classes != "keep":
            emotion_indices([value], "data.class_map")
        meant |= dict.fromkeys(names, plain_name(value))
    return meant


def _unknown(name: str, found: Mapping[str, str], names: Mapping[str, str]) -> FerError:
    other = "" if names[name] == folded(name) else f" ({names[name]})"
    return FerError(
        f"{found[name]}{other} is named after no known class; known are {', '.join(EMOTIONS)}; leave it out with "
        f"data.extra_classes=drop, keep it as a class of its own with keep, or say what it means with "
        f"{map_hint([names[name]])}"
    )


def map_hint(names: Sequence[str]) -> str:
    """Return the setting that says what classes of these names mean, for an error message."""
    if not all(_TYPABLE.fullmatch(name) for name in names):
        return "class_map in a file of your own beside conf/data/folder.yaml (no command line takes such names)"
    return f"'data.class_map={{{', '.join(f'{name}: disgust' for name in names[:2])}{', …' * (len(names) > 2)}}}'"
