"""Read what lies at a path as faces, whatever layout it has."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fer.data.affectnet import list_affectnet
from fer.data.archives import open_archive
from fer.data.classes import missing_classes
from fer.data.faces import Faces
from fer.data.finding import Form, Found, choose_found, find
from fer.data.folders import list_class_folders, list_split_folders
from fer.data.listing import Listing, read_pictures
from fer.data.options import ReadOptions
from fer.data.pictures import Pictures
from fer.data.raf_db import list_raf_db
from fer.data.table import read_tables
from fer.data.trees import FolderTree, Tree
from fer.data.validation import divide, hold_out
from fer.errors import FerError

LISTERS: dict[Form, Callable[[Tree, str, ReadOptions], Listing]] = {
    "folders": list_split_folders,
    "classes": list_class_folders,
    "raf-db": list_raf_db,
    "affectnet": list_affectnet,
}
"""How the layouts with one picture per file are listed; all other forms are tables, or archives of either."""


def read_faces(root: Path, options: ReadOptions | None = None) -> Faces:
    """Read the faces at a path, whatever layout they have there.

    The known layouts are Kaggle's folders and others with a folder per class, `fer2013.csv`, `icml_face_data.csv`,
    a trio of `train.csv`, `val.csv` and `test.csv`, RAF-DB, AffectNet and CK+. Each may also be in a zip or tar, or
    in the only subfolder of `root`. The same data give the same splits and counts in any layout.

    Args:
        root: A folder, or a table or archive itself.
        options: How it is read.

    Returns:
        Images uint8 (N, size, size), in the order of their paths or rows. The notes say which classes were
        renamed or left out, and what was resized, held out or ignored.

    Raises:
        FerError: If there is nothing to read, or something in it is missing, damaged or not understood.
    """
    options = options or ReadOptions()
    tree, found = find(root, options)
    return located(read_found(tree, found, options), tree, found)


def read_found(tree: FolderTree, found: Found, options: ReadOptions, scratch: Path | None = None) -> Faces:
    """Read what `find` found.

    Args:
        tree: The folder on disk.
        found: What to read in it.
        options: How to read it.
        scratch: The folder for pictures too many for memory; by default the system's temporary folder.

    Returns:
        The faces, with nothing in them that depends on where they lie or on what lies beside them.

    Raises:
        FerError: If something is missing, damaged or not understood.
    """
    with _opened(tree, found, options) as (inner, data):
        title, pictures = _read(inner, data, options, scratch)
        where = inner.where(data.path)
    if data is not found:
        title = f"{title} packed in {found.title()}"
        pictures = replace(pictures, notes=(*data.ignored, *pictures.notes))
    return as_faces(pictures, title, where, options)


def as_faces(pictures: Pictures, title: str, where: str, options: ReadOptions) -> Faces:
    """Return pictures as faces, drawing any splits that their source does not name.

    Args:
        pictures: What a reader found.
        title: What people call the source's layout.
        where: The source, for error messages.
        options: How the splits are drawn.

    Raises:
        FerError: If there is no picture, or the splits to be drawn would leave nothing for training.
    """
    if not len(pictures.labels):
        raise FerError(f"{where} has no picture of any class; put some there")
    part, seed = options.val_fraction, options.split_seed
    if pictures.splits is None:
        splits, drawn = divide(pictures.labels, pictures.fingerprints, pictures.people, part, seed)
    else:
        splits, drawn = hold_out(pictures.labels, pictures.splits, pictures.fingerprints, pictures.people, part, seed)
        drawn = drawn or _undrawn(options)
    gaps = missing_classes(pictures.labels, splits, pictures.classes)
    return Faces(
        images=pictures.images,
        labels=pictures.labels,
        splits=splits,
        origins=pictures.origins,
        source=title,
        notes=(*pictures.notes, *drawn, *gaps),
        classes=pictures.classes,
    )


def _undrawn(options: ReadOptions) -> tuple[str, ...]:
    """Say that options for drawing splits, if any are given, have no effect."""
    usual = ReadOptions()
    drawing = ("val_fraction", "split_seed")
    idle = [f"data.{name}" for name in drawing if getattr(options, name) != getattr(usual, name)]
    return (f"The source names its validation pictures, so without effect: {', '.join(idle)}.",) if idle else ()


def located(faces: Faces, tree: FolderTree, found: Found) -> Faces:
    """Return what `read_found` read, with its place and with notes on what was ignored beside it."""
    return replace(faces, source=f"{faces.source} in {tree.root}", notes=(*found.ignored, *faces.notes))


@contextmanager
def _opened(tree: FolderTree, found: Found, options: ReadOptions) -> Iterator[tuple[Tree, Found]]:
    if found.form != "archive":
        yield tree, found
        return
    with open_archive(tree.root / found.path) as inner:
        yield inner, choose_found(inner, options)


def _read(tree: Tree, found: Found, options: ReadOptions, scratch: Path | None) -> tuple[str, Pictures]:
    """Return what people call the layout, and the pictures."""
    if found.form in LISTERS:
        listing = LISTERS[found.form](tree, found.path, options)
        return listing.title, read_pictures(tree, listing, options, scratch)
    return found.title(), read_tables(tree, dict(found.tables), options, scratch)
