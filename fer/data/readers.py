"""Find out what lies at a path, and read it as faces."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fer.data.archives import SUFFIXES, is_archive, open_archive
from fer.data.faces import Faces
from fer.data.folders import has_split_folders, list_pictures, read_pictures
from fer.data.pictures import Pictures
from fer.data.table import read_table
from fer.data.trees import FolderTree, Tree, join
from fer.data.validation import hold_out
from fer.errors import FerError

Form = Literal["folders", "table", "archive"]

SIZES = range(8, 257)
TABLES = ("fer2013.csv", "icml_face_data.csv")

_MAX_DEPTH = 4
_LOOKED_FOR = f"train/<class>/ and test/<class>/, {', '.join(TABLES)} or one archive ({' '.join(SUFFIXES)})"
_GET_IT = "download FER2013 (msambare/fer2013) from Kaggle and unpack it there"


@dataclass(frozen=True)
class Found:
    """Data that can be read, found but not yet read.

    Attributes:
        form: What it is.
        path: Where it lies in its tree: the folder that holds `train` and `test`, the table or the archive.
        ignored: A sentence on other data beside it, which is not read.
    """

    form: Form
    path: str
    ignored: tuple[str, ...] = ()

    def title(self) -> str:
        """Return what people call it."""
        return "Kaggle folders" if self.form == "folders" else self.path.rpartition("/")[2]


def read_faces(root: Path, *, size: int = 48, val_fraction: float = 0.1) -> Faces:
    """Read the faces at a path, whatever layout they have there.

    Kaggle's folders, `fer2013.csv` and `icml_face_data.csv` are known, each also in a zip or tar, and each
    also in the only subfolder of `root`. All give the same classes, splits and counts for the same data.

    Args:
        root: A folder, or a table or archive itself.
        size: Height and width of the result; pictures of another size are resized.
        val_fraction: The part of the training pictures held out for validation where the source names none.

    Returns:
        Images uint8 (N, size, size), in the order of their paths or rows. The notes say what was resized,
        held out or ignored.

    Raises:
        FerError: If there is nothing to read, or something in it is missing, damaged or not understood.
    """
    check_arguments(size, val_fraction)
    tree, found = find(root)
    return located(read_found(tree, found, size=size, val_fraction=val_fraction), tree, found)


def check_arguments(size: int, val_fraction: float) -> None:
    """Refuse a size or fraction that no data set can be read with.

    Raises:
        FerError: If one lies outside its range.
    """
    if size not in SIZES:
        raise FerError(f"data.size: {size} is out of range; choose one from {SIZES.start} to {SIZES.stop - 1}")
    if not 0 < val_fraction < 1:
        raise FerError(f"data.val_fraction: {val_fraction} is out of range; choose one between 0 and 1")


def find(root: Path) -> tuple[FolderTree, Found]:
    """Find the data at a path without reading it.

    Returns:
        The folder on disk, and what in it is to be read.

    Raises:
        FerError: If there is nothing, or there are several archives and nothing else.
    """
    if root.is_dir():
        tree = FolderTree(root)
        return tree, _choose(tree)
    if root.is_file() and (is_archive(root.name) or root.suffix.lower() == ".csv"):
        form: Form = "archive" if is_archive(root.name) else "table"
        return FolderTree(root.parent), Found(form, root.name)
    if root.is_file():
        raise FerError(f"{root} is neither a table (.csv) nor an archive ({' '.join(SUFFIXES)})")
    raise FerError(f"{root} does not exist; looked for a folder with {_LOOKED_FOR}; {_GET_IT}")


def read_found(tree: FolderTree, found: Found, *, size: int, val_fraction: float) -> Faces:
    """Read what `find` found.

    Args:
        tree: The folder on disk.
        found: What to read in it.
        size: Height and width of the result.
        val_fraction: The part of the training pictures to hold out where the source has none for validation.

    Returns:
        The faces, with nothing in them that depends on where they lie or on what lies beside them.

    Raises:
        FerError: If something is missing, damaged or not understood.
    """
    with _opened(tree, found) as (inner, data):
        pictures = _read(inner, data, size)
    splits, held = hold_out(pictures.labels, pictures.splits, pictures.fingerprints, val_fraction)
    title = found.title() if data is found else f"{data.title()} packed in {found.title()}"
    return Faces(
        images=pictures.images,
        labels=pictures.labels,
        splits=splits,
        origins=pictures.origins,
        source=title,
        notes=(*(data.ignored if data is not found else ()), *pictures.notes, *held),
    )


def located(faces: Faces, tree: FolderTree, found: Found) -> Faces:
    """Return what `read_found` read, with its place and with notes on what was ignored beside it."""
    return replace(faces, source=f"{faces.source} in {tree.root}", notes=(*found.ignored, *faces.notes))


@contextmanager
def _opened(tree: FolderTree, found: Found) -> Iterator[tuple[Tree, Found]]:
    if found.form != "archive":
        yield tree, found
        return
    with open_archive(tree.root / found.path) as inner:
        yield inner, _choose(inner)


def _read(tree: Tree, found: Found, size: int) -> Pictures:
    if found.form == "folders":
        return read_pictures(tree, list_pictures(tree, found.path), size)
    return read_table(tree, found.path, size)


def _choose(tree: Tree) -> Found:
    everything = list(_candidates(tree))
    if not everything:
        raise FerError(f"{tree.where('')} holds nothing to read; looked for {_LOOKED_FOR}; {_GET_IT}")
    best, *rest = sorted(everything, key=_rank)
    if best.form == "archive" and any(other.path.count("/") == best.path.count("/") for other in rest):
        names = ", ".join(other.path for other in everything)
        raise FerError(f"{tree.where('')} holds several archives ({names}); name the one to read")
    if not rest:
        return best
    names = ", ".join(other.path or other.title() for other in rest)
    verb = "were" if best.form == "folders" else "was"
    note = f"Of what lies there, only {best.title()} {verb} read; ignored: {names}."
    return Found(best.form, best.path, (note,))


def _candidates(tree: Tree, at: str = "", depth: int = 0) -> Iterator[Found]:
    """Yield what can be read in a folder and, where it has a single subfolder, in that."""
    for name in tree.files(at):
        if name.lower() in TABLES:
            yield Found("table", join(at, name))
        elif is_archive(name) and isinstance(tree, FolderTree):  # an archive within an archive is not opened
            yield Found("archive", join(at, name))
    if has_split_folders(tree, at):
        yield Found("folders", at)
        return
    folders = tree.folders(at)
    if len(folders) == 1 and depth < _MAX_DEPTH:
        yield from _candidates(tree, join(at, folders[0]), depth + 1)


def _rank(found: Found) -> tuple[int, int, str]:
    name = found.path.rpartition("/")[2].lower()
    order = {"folders": 0, "table": 1 + (name in TABLES[1:]), "archive": 3}
    return order[found.form], found.path.count("/"), found.path
