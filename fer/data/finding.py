"""Find out what lies at a path."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from fer.data.affectnet import has_affectnet
from fer.data.archives import SUFFIXES, is_archive
from fer.data.classes import map_hint
from fer.data.faces import SPLITS, Split
from fer.data.folders import folders_of_pictures, has_class_folders, has_split_folders, passed_over, split_named
from fer.data.options import ReadOptions
from fer.data.raf_db import LIST, has_raf_db
from fer.data.trees import FolderTree, Tree, join
from fer.errors import FerError
from fer.labels import emotion_index

Form = Literal["folders", "classes", "raf-db", "affectnet", "table", "tables", "archive"]

TABLES = ("fer2013.csv", "icml_face_data.csv")

_TITLES: dict[Form, str] = {
    "folders": "train and test folders",
    "classes": "class folders",
    "raf-db": LIST,
    "affectnet": "train_set and val_set",
}
_MAX_DEPTH = 4
_LOOKED_FOR = (
    f"train/<class>/ and test/<class>/, <class>/, {', '.join(TABLES)}, train.csv and test.csv, RAF-DB's {LIST}, "
    f"AffectNet's train_set and val_set, or one archive ({' '.join(SUFFIXES)})"
)
_GET_IT = "correct the path or, for FER2013, download it (msambare/fer2013) from Kaggle and unpack it there"


@dataclass(frozen=True)
class Found:
    """Data that can be read, found but not yet read.

    Attributes:
        form: What it is.
        path: Where it lies in its tree: the table or archive itself, or for all else the folder that holds it.
        tables: The tables to read, each with its split; None for a table whose rows name their own.
        ignored: Sentences on other data beside it, which is not read.
    """

    form: Form
    path: str
    tables: tuple[tuple[str, Split | None], ...] = ()
    ignored: tuple[str, ...] = ()

    def title(self) -> str:
        """Return what people call it."""
        if self.form == "tables":
            return ", ".join(path.rpartition("/")[2] for path, _ in self.tables)
        return _TITLES.get(self.form) or self.path.rpartition("/")[2]


def find(root: Path, options: ReadOptions) -> tuple[FolderTree, Found]:
    """Find the data at a path without reading it.

    Returns:
        The folder on disk, and what to read in it.

    Raises:
        FerError: If there is nothing, only folders of unknown names, or several archives and nothing else.
    """
    if root.is_dir():
        tree = FolderTree(root)
        return tree, choose_found(tree, options)
    if root.is_file() and is_archive(root.name):
        return FolderTree(root.parent), Found("archive", root.name)
    if root.is_file() and root.suffix.lower() == ".csv":
        return FolderTree(root.parent), _table(root.name)
    if root.is_file():
        raise FerError(f"{root} is neither a table (.csv) nor an archive ({' '.join(SUFFIXES)})")
    raise FerError(f"{root} does not exist; looked for a folder with {_LOOKED_FOR}; {_GET_IT}")


def choose_found(tree: Tree, options: ReadOptions) -> Found:
    """Return what to read in a tree, with a note on what is left unread.

    Raises:
        FerError: If there is nothing, only folders of unknown names, or several archives and nothing else, or two
            tables for one split.
    """
    everything = list(_candidates(tree, options))
    if not everything:
        return _strange(tree, options)
    best, *rest = sorted(everything, key=_rank)
    if best.form == "archive" and any(other.path.count("/") == best.path.count("/") for other in rest):
        names = ", ".join(other.path for other in everything)
        raise FerError(
            f"{tree.where('')} holds several archives ({names}); name the one to read, or unpack those that belong "
            "together"
        )
    for (one, split), (other, same) in pairwise(best.tables):
        if split == same:
            raise FerError(f"{tree.where('')} holds two tables for one split, '{one}' and '{other}'; remove one")
    if best.form in ("folders", "classes"):
        best = replace(best, ignored=passed_over(tree, best.path))
    if not rest:
        return best
    names = ", ".join(other.path if other.form in ("table", "archive") else other.title() for other in rest)
    verb = "was" if best.form in ("table", "archive", "raf-db") else "were"
    note = f"Of what lies there, only {best.title()} {verb} read; ignored: {names}."
    return replace(best, ignored=(note, *best.ignored))


def _strange(tree: Tree, options: ReadOptions) -> Found:
    """Return the folders of pictures whose names are no known classes, if such classes are to be kept.

    Raises:
        FerError: If there are none, or the options do not say what to do with them.
    """
    at = ""
    while len(folders := tree.folders(at)) == 1 and at.count("/") < _MAX_DEPTH:
        at = join(at, folders[0])
    names = folders_of_pictures(tree, at)
    if not names:
        raise FerError(f"{tree.where('')} holds nothing to read; looked for {_LOOKED_FOR}; {_GET_IT}")
    if options.extra_classes != "keep":
        strange = [name for name in names if emotion_index(name) is None]
        raise FerError(
            f"{tree.where(at)} holds no two folders named after known classes, but {', '.join(strange[:10])}; say what "
            f"they mean with {map_hint(strange)}, or keep them as they are with data.extra_classes=keep (looked for "
            f"{_LOOKED_FOR})"
        )
    return Found("classes", at)


def _candidates(tree: Tree, options: ReadOptions, at: str = "", depth: int = 0) -> Iterator[Found]:
    """Yield what can be read in a folder and, if it has a single subfolder, in that one."""
    for name in tree.files(at):
        if name.lower() in TABLES:
            yield _table(join(at, name))
        elif is_archive(name) and isinstance(tree, FolderTree):  # an archive within an archive is not opened
            yield Found("archive", join(at, name))
    if tables := _split_tables(tree, at):
        yield Found("tables", at, tables)
    pictures: dict[Form, bool] = {
        "raf-db": has_raf_db(tree, at),
        "affectnet": has_affectnet(tree, at),
        "folders": has_split_folders(tree, at),
        "classes": has_class_folders(tree, at, options.class_map),
    }
    if any(pictures.values()):
        yield from (Found(form, at) for form, there in pictures.items() if there)
        return
    folders = tree.folders(at)
    if len(folders) == 1 and depth < _MAX_DEPTH:
        yield from _candidates(tree, options, join(at, folders[0]), depth + 1)


def _split_tables(tree: Tree, at: str) -> tuple[tuple[str, Split | None], ...]:
    """Return the tables that are named after splits, in the splits' order; none without training and test."""
    found: list[tuple[int, str]] = []
    for name in tree.files(at):
        stem, _, suffix = name.rpartition(".")
        split = split_named(stem)
        if suffix.lower() == "csv" and split is not None:
            found.append((SPLITS.index(split), join(at, name)))
    tables = tuple((path, SPLITS[number]) for number, path in sorted(found))
    return tables if {"train", "test"} <= {split for _, split in tables} else ()


def _table(path: str) -> Found:
    return Found("table", path, ((path, None),))


def _rank(found: Found) -> tuple[int, int, str]:
    name = found.path.rpartition("/")[2].lower()
    forms: dict[Form, int] = {"raf-db": 0, "affectnet": 0, "folders": 1, "classes": 2, "tables": 5, "archive": 6}
    return forms.get(found.form, 3 + (name in TABLES[1:])), found.path.count("/"), found.path
