"""RAF-DB as it is published: a list of labels beside a folder of aligned faces (Li, Deng and Du, 2017)."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from fer.data.classes import map_classes
from fer.data.faces import Split
from fer.data.listing import Entry, Listing
from fer.data.options import ReadOptions
from fer.data.pictures import left_out_note, or_skipped
from fer.data.trees import Tree, inside, join
from fer.errors import FerError
from fer.labels import RAF_DB

LIST = "list_patition_label.txt"  # spelt so by its authors

_LISTS = tuple(
    f"{folder}{name}" for folder in ("", "EmoLabel/", "basic/EmoLabel/") for name in (LIST, "list_partition_label.txt")
)
_PICTURES = ("aligned", "Image/aligned", "basic/Image/aligned")
_MAX_LIST = 16 * 2**20  # bytes; RAF-DB's own has 300 thousand
_NAME = re.compile(r"((train|test)_\d{1,9})\.jpg", re.ASCII)


class _Row(NamedTuple):
    stem: str
    split: Split
    digit: str
    where: str


def has_raf_db(tree: Tree, at: str) -> bool:
    """Return whether RAF-DB's list lies in a folder, or in the subfolder where its authors put it."""
    return _find(tree, at, _LISTS) is not None


def list_raf_db(tree: Tree, at: str, options: ReadOptions) -> Listing:
    """List RAF-DB's aligned faces with the labels of `list_patition_label.txt`, sorted by path.

    Args:
        tree: Where to look.
        at: The folder that holds the list and `aligned`, or `EmoLabel` and `Image`, or `basic` with these.
        options: How classes are mapped, and what to do with lines without a picture.

    Raises:
        FerError: If `aligned` is missing, or a line has no valid label, or names a picture that is not there (unless
            such are to be skipped) or that another line names too.
    """
    path, folder = _find(tree, at, _LISTS), _find(tree, at, _PICTURES)
    assert path is not None
    if folder is None:
        raise FerError(
            f"{tree.where(path)} is RAF-DB's list, but no folder 'aligned' lies beside it; unpack aligned.zip"
        )
    rows = list(_rows(tree, path))
    mapping = map_classes({row.digit: f"{row.where}: {row.digit}" for row in rows}, options, RAF_DB)
    files = set(tree.files(folder))
    entries, missing = [], []
    for row in rows:
        name = next((name for name in (f"{row.stem}_aligned.jpg", f"{row.stem}.jpg") if name in files), None)
        if name is None and not options.skip:
            gap = f"{row.where}: {row.stem}_aligned.jpg is not in {tree.where(folder)}; remove the line, or get it"
            raise or_skipped(FerError(gap))
        if name is None:
            missing.append(row.stem)
            continue
        files.remove(name)
        label = mapping.labels[row.digit]
        if label is not None:
            entries.append(Entry(join(folder, name), label, row.split))
    notes = (*mapping.notes, *left_out_note(missing, len(rows), "lines, those without a picture,"))
    if files:
        notes = (*notes, f"{len(files):,} pictures in {folder} are not in {LIST} and were not read.")
    return Listing("RAF-DB", sorted(entries), mapping.classes, notes)


def _find(tree: Tree, at: str, places: tuple[str, ...]) -> str | None:
    return next((path for place in places if (path := inside(tree, at, place))), None)


def _rows(tree: Tree, path: str) -> Iterator[_Row]:
    where = tree.where(path)
    if tree.size(path) > _MAX_LIST:
        raise FerError(f"{where} is too large for a list of RAF-DB's labels; replace it with the original")
    seen = set()
    for number, line in enumerate(tree.read(path).decode("utf-8-sig", errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        here = f"{where}, line {number}"
        match = _NAME.fullmatch(words[0])
        if len(words) != 2 or not match or words[1] not in RAF_DB:
            raise FerError(f"{here}: '{line[:40]}' is not a picture and a label from 1 to 7, as in 'train_00001.jpg 5'")
        if match[1] in seen:
            raise FerError(f"{here}: {words[0]} stands there twice; remove one of the lines")
        seen.add(match[1])
        yield _Row(match[1], "train" if match[2] == "train" else "test", words[1], here)
