"""Faces read once and kept as arrays, under a key made of the content they were read from."""

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer.data.faces import Faces
from fer.data.finding import Found, find
from fer.data.listing import contents
from fer.data.options import ReadOptions
from fer.data.readers import LISTERS, located, read_found
from fer.data.trees import FolderTree
from fer.errors import FerError
from fer.files import drafted_folder, remove_forgotten

FORMAT = 8
"""Increase this whenever the readers give something different for the same files."""

_ARRAYS = ("images", "labels", "splits")
_PIECE = 2**22


def default_cache_dir() -> Path:
    """Return `$FER_CACHE_DIR`, else `$XDG_CACHE_HOME/fer-lightning`, else `~/.cache/fer-lightning`.

    Raises:
        FerError: If there is no home folder, as for some users of containers.
    """
    try:
        if own := os.environ.get("FER_CACHE_DIR"):
            return Path(own).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "fer-lightning"
    except RuntimeError as error:
        raise FerError("there is no home folder to keep data in; set FER_CACHE_DIR or data.cache_dir=path") from error


def load_faces(root: Path, cache_dir: Path, options: ReadOptions | None = None) -> Faces:
    """Read the faces at a path as `fer.data.readers.read_faces` does, but quickly from the second time on.

    All files are hashed at every start, so that changed data can never be mistaken for what is cached.

    Args:
        root: A folder, or a table or archive itself.
        cache_dir: Where the arrays are kept; made if missing. If it cannot be written, the faces are read
            without it, and a note says so.
        options: How they are read; faces read with different options are cached separately.

    Returns:
        The faces, with images uint8 (N, size, size) as a read-only memory map.

    Raises:
        FerError: If there is nothing to read, or something in it is missing, damaged or not understood.
    """
    options = options or ReadOptions()
    tree, found = find(root, options)
    place = cache_dir / _key(tree, found, options)
    faces = _load(place)
    if faces is None:
        faces = read_found(tree, found, options, cache_dir)
        try:
            _store(faces, place)
        except OSError as error:
            note = f"The cache in {cache_dir} cannot be written ({error.strerror or error}), so every start reads anew."
            faces = replace(faces, notes=(*faces.notes, note))
        else:
            faces = _load(place) or faces
    return located(faces, tree, found)


def _key(tree: FolderTree, found: Found, options: ReadOptions) -> str:
    digest = hashlib.blake2b(digest_size=16)

    def add(*values: object) -> None:
        digest.update(f"{values!r}\0".encode(errors="surrogateescape"))

    add(FORMAT, options, found.form)
    if found.form in LISTERS:
        listing = LISTERS[found.form](tree, found.path, options)
        add(listing)
        for path, data in contents(tree, listing.entries, options.skip):
            add(path, None if isinstance(data, FerError) else len(data))
            digest.update(b"" if isinstance(data, FerError) else data)
    else:
        add(found.path, found.tables)
        for path in dict(found.tables) or [found.path]:
            add(path, tree.size(path))
            with tree.open(path) as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
    return digest.hexdigest()


def _load(place: Path) -> Faces | None:
    """Return the faces kept at a place, or None if there are none or they are no longer what was written."""
    try:
        meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
        images = np.load(place / "images.npy", mmap_mode="r")
        labels, splits = np.load(place / "labels.npy"), np.load(place / "splits.npy")
        notes, classes = tuple(meta["notes"]), tuple(meta["classes"])
        faces = Faces(images, labels, splits, meta["origins"], meta["source"], notes, classes)
        sound = _shapes(faces) == meta["arrays"] and (faces.digest(), _words(faces)) == (meta["digest"], meta["words"])
    except Exception:  # NumPy's and Python's parsers raise nearly anything on damaged bytes
        return None
    return faces if sound else None


def _store(faces: Faces, place: Path) -> None:
    """Write a folder beside the place, then rename it: nobody ever sees half of it."""
    remove_forgotten(place.parent)
    with drafted_folder(place) as draft:
        for name in _ARRAYS:
            np.save(draft / f"{name}.npy", getattr(faces, name))
        meta = {
            "arrays": _shapes(faces),
            "digest": faces.digest(),
            "words": _words(faces),
            "source": faces.source,
            "notes": faces.notes,
            "classes": faces.classes,
            "origins": list(faces.origins),
        }
        (draft / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        if place.exists() and _load(place) is None:
            place.rename(draft / "unsound")
    shutil.rmtree(place / "unsound", ignore_errors=True)


def _shapes(faces: Faces) -> dict[str, list[object]]:
    arrays = ((name, getattr(faces, name)) for name in _ARRAYS)
    return {name: [array.dtype.str, *array.shape] for name, array in arrays}


def _words(faces: Faces) -> str:
    """Return a digest of all that is not in the arrays."""
    words = json.dumps([faces.source, faces.notes, faces.classes, list(faces.origins)])
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
