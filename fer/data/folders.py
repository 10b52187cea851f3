"""Kaggle's folders: train/<class>/ and test/<class>/ with a picture per file."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fer.data.faces import SPLITS, Split
from fer.data.pictures import Pictures, decode, fingerprint, resized_note, with_progress
from fer.data.trees import Tree, join
from fer.errors import FerError
from fer.labels import EMOTIONS, emotion_index

_FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "publictest": "val",
    "test": "test",
    "privatetest": "test",
}
_PREFIXES: dict[str, Split] = {"Training_": "train", "PublicTest_": "val", "PrivateTest_": "test"}


class Entry(NamedTuple):
    """A picture file, not yet read."""

    path: str
    label: int
    split: Split


def has_split_folders(tree: Tree, at: str) -> bool:
    """Return whether a folder holds `train` or `test`, under any of their names and in any case."""
    return any(_FOLDERS.get(name.lower()) in ("train", "test") for name in tree.folders(at))


def list_pictures(tree: Tree, at: str) -> list[Entry]:
    """Return the picture files of Kaggle's folders, sorted by path, without reading them.

    The folders give the splits where there is one for validation. Where there is none, the file names do if
    they begin as FER2013's (`Training_`, `PublicTest_` for validation, `PrivateTest_` for test).

    Args:
        tree: Where to look.
        at: The folder that holds `train` and `test`.

    Raises:
        FerError: If `train`, `test` or one of their classes is missing or empty, or a class is unknown.
    """
    folders = _split_folders(tree, at)
    entries = []
    for split, folder in folders.items():
        for path, label in _class_files(tree, join(at, folder)):
            named = None if "val" in folders else _split_by_name(path)
            entries.append(Entry(path, label, named or split))
    return sorted(entries)


def read_pictures(tree: Tree, entries: Sequence[Entry], size: int) -> Pictures:
    """Read and decode pictures.

    Args:
        tree: Where they lie.
        entries: Which ones; the result keeps their order.
        size: Height and width of the result; pictures of another size are resized.

    Raises:
        FerError: If a file cannot be read or is no sound picture.
    """
    row_of = {entry.path: row for row, entry in enumerate(entries)}
    images = np.empty((len(entries), size, size), np.uint8)
    fingerprints = [b""] * len(entries)
    resized = 0
    for path, data in with_progress(tree.read(list(row_of)), len(entries), "Reading pictures"):
        row = row_of[path]
        images[row], changed = decode(data, tree.where(path), size)
        fingerprints[row] = fingerprint(data)
        resized += changed
    return Pictures(
        images=images,
        labels=np.array([entry.label for entry in entries], np.int64),
        splits=np.array([SPLITS.index(entry.split) for entry in entries], np.uint8),
        origins=list(row_of),
        fingerprints=fingerprints,
        notes=resized_note(resized, len(entries), size),
    )


def _split_folders(tree: Tree, at: str) -> dict[Split, str]:
    found: dict[Split, str] = {}
    for name in tree.folders(at):
        split = _FOLDERS.get(name.lower())
        if split is None:
            continue
        if split in found:
            raise FerError(
                f"{tree.where(at)} holds two folders for one split, '{found[split]}' and '{name}'; remove one"
            )
        found[split] = name
    for needed in ("train", "test"):
        if needed not in found:
            raise FerError(f"{tree.where(at)} has no folder '{needed}'; expected are train/<class>/ and test/<class>/")
    return found


def _class_files(tree: Tree, at: str) -> list[tuple[str, int]]:
    files: dict[int, list[str]] = {}
    for name in tree.folders(at):
        folder = join(at, name)
        label = emotion_index(name)
        if label is None:
            known = ", ".join(EMOTIONS)
            raise FerError(f"{tree.where(folder)} is named after no known class; known are {known}")
        if inner := tree.folders(folder):
            raise FerError(f"{tree.where(join(folder, inner[0]))} is a folder inside a class; move its pictures up")
        names = tree.files(folder)
        if not names:
            raise FerError(f"{tree.where(folder)} is empty; every class needs pictures")
        files.setdefault(label, []).extend(join(folder, file) for file in names)
    missing = [emotion for label, emotion in enumerate(EMOTIONS) if label not in files]
    if missing:
        raise FerError(f"{tree.where(at)} has no folder for {', '.join(missing)}; every class needs pictures")
    return [(path, label) for label, paths in files.items() for path in paths]


def _split_by_name(path: str) -> Split | None:
    name = path.rpartition("/")[2]
    return next((split for prefix, split in _PREFIXES.items() if name.startswith(prefix)), None)
