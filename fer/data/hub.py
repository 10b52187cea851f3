"""Data sets of the Hugging Face hub, or in its format on disk; needs the extra `hf`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fer.data.classes import map_classes
from fer.data.faces import SPLITS, Faces, Split
from fer.data.folders import split_named
from fer.data.options import ReadOptions
from fer.data.pictures import (
    Pictures,
    decode,
    left_out_note,
    or_skipped,
    resized_note,
    with_progress,
)
from fer.data.readers import as_faces
from fer.data.trees import FolderTree
from fer.errors import FerError, one_line

_SAVED = ("dataset_dict.json", "state.json")  # what save_to_disk writes: for a set of splits, and for a single one


class _Columns(NamedTuple):
    image: str
    label: str
    names: list[str]


class _Picture(NamedTuple):
    origin: str
    split: Split | None
    name: str  # of its class
    data: bytes


def read_hub(name: str, options: ReadOptions) -> Faces:
    """Read a data set of the Hugging Face hub.

    Pictures and labels are the columns with the features `Image` and `ClassLabel`; the latter also gives the class
    names. Splits are recognised by their names; if there is only one, all three are drawn from it.

    Args:
        name: Its name on the hub, or a local folder that `load_dataset` or `load_from_disk` reads.
        options: How it is read.

    Raises:
        FerError: If the library `datasets` is not installed, the data set cannot be loaded, or it does not have
            exactly one column of pictures and one of labels.
    """
    try:
        library = import_module("datasets")
    except ImportError as error:
        raise FerError("data=huggingface needs the library 'datasets': pip install 'fer-lightning[hf]'") from error
    parts, ignored = _splits(_load(library, name), name)
    # each split has class names of its own: a library that encodes them leaves out those that a split lacks
    columns = {
        split: _columns(library, part.features, f"{name}: {split}" if split else name) for split, part in parts.items()
    }
    broken: list[str] = []
    pictures = [*_pictures(library, parts, columns, name, broken if options.skip else None)]
    found = {picture.name: f"{name}: {picture.name}" for picture in pictures}
    mapping = map_classes(dict(sorted(found.items())), options)
    kept = [(picture, label) for picture in pictures if (label := mapping.labels[picture.name]) is not None]
    read = _decoded(kept, name, options, broken)
    left_out = left_out_note(broken, len(read.labels) + len(broken), "pictures")
    read = replace(read, classes=mapping.classes, notes=(*ignored, *mapping.notes, *left_out, *read.notes))
    return as_faces(read, f"Hugging Face data set {name}", name, options)


def _load(library: Any, name: str) -> Mapping[str, Any]:
    """Return the splits by name."""
    path = Path(name).expanduser()
    try:
        if any((path / file).is_file() for file in _SAVED):
            data = library.load_from_disk(str(path))
        else:
            data = library.load_dataset(str(path) if path.is_dir() else name)
    except Exception as error:  # no network, no such name, no permission: the library passes any error on
        raise FerError(
            f"data.root: the Hugging Face data set '{name}' cannot be loaded ({one_line(error)}); check the name, "
            "or give a local folder"
        ) from error
    return data if isinstance(data, dict) else {"all": data}


def _splits(data: Mapping[str, Any], name: str) -> tuple[dict[Split | None, Any], tuple[str, ...]]:
    """Return the parts of a data set by split, and notes on those that are no split and on a missing test split."""
    parts: dict[Split | None, Any] = {}
    if len(data) == 1:
        (parts[None],) = data.values()
        return parts, ()
    ignored = []
    for key, part in data.items():
        split = split_named(key)
        if split is None or split in parts:
            ignored.append(key)
        else:
            parts[split] = part
    if "train" not in parts or len(parts) < 2:
        raise FerError(f"{name} has the splits {', '.join(data) or 'none'}; expected are train and test")
    notes = [f"Of the splits, these were not read: {', '.join(ignored)}."] if ignored else []
    if "test" not in parts:
        parts["test"] = parts.pop("val")
        notes.append("There is no test split, so the one for validation is it, looked at once at the end.")
    return parts, tuple(notes)


def _columns(library: Any, features: Mapping[str, Any], name: str) -> _Columns:
    found = {
        kind: [column for column, feature in features.items() if isinstance(feature, getattr(library, kind))]
        for kind in ("Image", "ClassLabel")
    }
    for kind, columns in found.items():
        if len(columns) != 1:
            raise FerError(
                f"{name} has {len(columns)} columns with the feature {kind} instead of one; its columns are "
                f"{', '.join(features)}; cast or remove columns and save it with save_to_disk"
            )
    (image,), (label,) = found.values()
    return _Columns(image, label, list(features[label].names))


def _pictures(
    library: Any,
    parts: Mapping[Split | None, Any],
    columns_of: Mapping[Split | None, _Columns],
    name: str,
    broken: list[str] | None,
) -> Iterator[_Picture]:
    """Yield the pictures undecoded, so that they are checked like those of any other source."""
    for split, part in parts.items():
        columns = columns_of[split]
        rows = part.select_columns([columns.image, columns.label])
        rows = rows.cast_column(columns.image, library.Image(decode=False))
        for number, row in enumerate(with_progress(rows, len(rows), f"Reading {name}")):
            origin = f"{split or 'all'}/{number}"
            label, image = row[columns.label], row[columns.image] or {}
            try:
                if label is None or not 0 <= label < len(columns.names):
                    raise FerError(f"{name}: {origin} has no label")
                data = image.get("bytes") or _file(image.get("path"), f"{name}: {origin}")
            except FerError as error:
                if broken is None:
                    raise or_skipped(error) from error
                broken.append(origin)
                continue
            yield _Picture(origin, split, columns.names[label], data)


def _file(path: str | None, where: str) -> bytes:
    place = Path(path or "")
    if not place.is_file():
        raise FerError(f"{where} has no picture")
    return FolderTree(place.parent).read(place.name)


def _decoded(kept: list[tuple[_Picture, int]], name: str, options: ReadOptions, broken: list[str]) -> Pictures:
    found, sound = [], []
    for picture, label in with_progress(kept, len(kept), "Decoding pictures"):
        try:
            decoded = decode(picture.data, f"{name}: {picture.origin}", options.size)
        except FerError as error:
            if not options.skip:
                raise or_skipped(error) from error
            broken.append(picture.origin)
            continue
        found.append(decoded)
        sound.append((picture, label))
    splits = [SPLITS.index(picture.split) for picture, _ in sound if picture.split]
    return Pictures(
        images=np.array([decoded.image for decoded in found], np.uint8).reshape(-1, options.size, options.size),
        labels=np.array([label for _, label in sound], np.int64),
        splits=np.array(splits, np.uint8) if splits else None,
        origins=[picture.origin for picture, _ in sound],
        fingerprints=[decoded.fingerprint for decoded in found],
        classes=(),
        notes=resized_note(sum(decoded.resized for decoded in found), len(sound), options.size),
    )
