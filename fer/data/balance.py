"""Offline oversampling: small classes are filled up with augmented copies, in a folder of their own."""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer.data.copies import Oversampling, plan, redraw
from fer.data.faces import SPLITS, Faces, Targets
from fer.data.folders import has_split_folders
from fer.data.leaks import digests
from fer.data.manifest import SUMMARY, Row, check_files, damaged, read_rows, read_summary, write_rows
from fer.data.pictures import with_progress
from fer.data.rows import blank
from fer.data.trees import FolderTree
from fer.errors import FerError
from fer.files import drafted_folder, remove_forgotten

__all__ = ["Oversampling", "check_apart", "load_oversampled", "oversample"]

FORMAT = 2
"""Increase this whenever the same configuration and faces would give a different folder."""


def check_apart(copies: Path, root: str | None) -> None:
    """Check that a folder for copies would not be read as a class of the data that it is made from.

    Args:
        copies: The folder for copies.
        root: Where the data lie, if anywhere. Beside their folders `train` and `test`, copies do no harm.

    Raises:
        FerError: If it would be.
    """
    data = None if root is None else Path(root).expanduser().resolve()
    place = copies.expanduser().resolve()
    if data is None or not place.is_relative_to(data):
        return
    if place.parent != data or not has_split_folders(FolderTree(data), ""):
        raise FerError(
            f"data.oversample.folder: {copies} lies within the data themselves ({root}), where its copies would be "
            "taken for pictures; choose a folder elsewhere"
        )


def oversample(faces: Faces, config: Oversampling, root: Path) -> Path:
    """Write the training faces and the copies that fill up their small classes, unless that was done before.

    Args:
        faces: The training split alone; images uint8 (N, H, W).
        config: What to copy, and how.
        root: The folder that holds a subfolder for each configuration and version of what draws; made if missing.

    Returns:
        The finished folder: `<class>/<name>.png` for the faces as given, `<class>/<name>_aug0001.png` and so
        on for their copies, `manifest.csv` and `manifest.json`.

    Raises:
        FerError: If `faces` holds other splits, nothing can be written, or the folder is another configuration's.
    """
    if np.any(faces.splits != SPLITS.index("train")):
        raise FerError("Only the training split may be oversampled, never validation or test pictures")
    source, versions = _identity(faces), _versions()
    key = _hash(json.dumps([FORMAT, asdict(config), source, versions], sort_keys=True))
    kinds = "auto" if config.classes == "auto" else "-".join(config.classes)[:100] or "none"  # file names end somewhere
    folder = root / f"{kinds}-{key[:8]}"
    remove_forgotten(root)  # at every start: right after a run was killed, its remains are still too fresh
    if not folder.exists():
        told = {"format": FORMAT, "key": key, "config": asdict(config), "source": faces.source}
        summary = {**told, **source, "versions": versions}
        _write(faces, config, summary, folder)
    if read_summary(folder).get("key") != key:
        raise damaged(folder, f"{SUMMARY} belongs to another configuration")
    return folder


def load_oversampled(folder: Path, source: Faces) -> Faces:
    """Read an oversampled folder back.

    Every file is read, and the manifest's digest shows whether it is still what was written. The files then known
    to hold the pictures in `source` are not decoded. That takes a second or so for FER2013, so a faster second
    copy of the pictures, which might come to differ from them, is not worth keeping.

    Args:
        folder: What `oversample` returned.
        source: The faces that it was given.

    Returns:
        The faces in `source`, in their order, followed by the copies, with their originals' targets; origins are
        files relative to `folder`.

    Raises:
        FerError: If the folder was made from other faces, or was changed since.
    """
    summary, rows = read_summary(folder), read_rows(folder)
    if any(summary.get(name) != value for name, value in _identity(source).items()):
        raise FerError(f"{folder} was made from other faces than {source.source}; oversample these first")
    check_files(folder, rows)
    digest = hashlib.blake2b(digest_size=16)
    copies: list[bytes] = []
    for row in rows:
        data = _read(folder, row)
        digest.update(data)
        if row.change:
            copies.append(data)
    if digest.hexdigest() != summary.get("digest"):
        raise damaged(folder, "some of its pictures were changed")
    images = blank((len(rows), *source.images.shape[1:]), folder.parent)
    for image, original in zip(images, source.images, strict=False):
        image[:] = original
    for image, data in zip(images[len(source) :], copies, strict=True):
        image[:] = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    label_of = {name: label for label, name in enumerate(source.classes)}
    return replace(
        source,
        images=images,
        labels=np.array([label_of[row.emotion] for row in rows], dtype=np.int64),
        splits=np.full(len(rows), SPLITS.index("train"), dtype=np.uint8),
        origins=[row.file for row in rows],
        targets=_targets(source, rows),
    )


def _targets(source: Faces, rows: list[Row]) -> Targets | None:
    if source.targets is None:
        return None
    original = {origin: index for index, origin in enumerate(source.origins)}
    return source.targets[[original[row.origin] for row in rows]]


def _write(faces: Faces, config: Oversampling, summary: dict[str, Any], folder: Path) -> None:
    try:
        with drafted_folder(folder) as draft:
            _fill(draft, faces, config, summary)
    except OSError as error:
        raise FerError(
            f"The oversampled pictures cannot be written to {folder.parent} ({error.strerror or error}); "
            "make room there, or name another folder with data.oversample.folder"
        ) from error


def _fill(folder: Path, faces: Faces, config: Oversampling, summary: dict[str, Any]) -> None:
    rows, sources = plan(faces, config)
    for emotion in {row.emotion for row in rows}:
        (folder / emotion).mkdir()
    digest = hashlib.blake2b(digest_size=16)
    work = zip(rows, sources, strict=True)
    for row, index in with_progress(work, len(rows), "Writing oversampled pictures"):
        original = faces.images[index]
        image = redraw(original, row.change) if row.change else original
        # not cv2.imwrite, which does not say why it failed
        data = cv2.imencode(".png", image)[1].tobytes()
        (folder / row.file).write_bytes(data)
        digest.update(data)
    write_rows(folder, rows)
    after = Counter(row.emotion for row in rows)
    summary |= {
        "digest": digest.hexdigest(),
        "before": dict(zip(faces.classes, faces.counts().tolist(), strict=True)),
        "after": {name: after[name] for name in faces.classes},
    }
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _read(folder: Path, row: Row) -> bytes:
    try:
        return (folder / row.file).read_bytes()
    except OSError as error:
        raise damaged(folder, f"{row.file} cannot be read") from error


def _identity(faces: Faces) -> dict[str, str]:
    """Return digests that identify these faces; names count too, each with its picture: files are named after them."""
    pictures = map(str, digests(faces.images).tolist())
    names = "\n".join((*faces.classes, *chain.from_iterable(zip(faces.origins, pictures, strict=True))))
    return {"source_digest": faces.digest(), "source_names": _hash(names)}


def _versions() -> dict[str, str]:
    """Return the versions of what draws the copies: another one may draw them a little differently."""
    return {"numpy": np.__version__, "opencv": cv2.__version__, "albumentations": version("albumentations")}


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
