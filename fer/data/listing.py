"""Pictures that a source lists, found with their classes but not yet read; and how they are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fer.data.archives import DamagedArchiveError
from fer.data.faces import SPLITS, Split
from fer.data.options import ReadOptions
from fer.data.pictures import Pictures, decode, left_out_note, or_skipped, resized_note, with_progress
from fer.data.rows import blank, kept
from fer.data.trees import Tree
from fer.errors import FerError


class Entry(NamedTuple):
    """A picture file, not yet read.

    Attributes:
        path: Where it lies in its tree.
        label: Its class.
        split: Its split, or None where the source names none.
        person: Whom it shows; '' if unknown.
    """

    path: str
    label: int
    split: Split | None
    person: str = ""


@dataclass(frozen=True)
class Listing:
    """The pictures of a source.

    Attributes:
        title: What people call the source's layout.
        entries: The pictures, sorted by path; either all have a split or none has.
        classes: The class names in label order.
        notes: What a user must know about how they were found, a sentence each.
    """

    title: str
    entries: list[Entry]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def contents(tree: Tree, entries: Sequence[Entry], skip: bool) -> Iterator[tuple[str, bytes | FerError]]:
    """Yield each file as (path, bytes), in the order that is quickest to read.

    Args:
        tree: Where they lie.
        entries: Which ones.
        skip: Yield the error instead of the bytes of a file that cannot be read.

    Raises:
        FerError: If a file cannot be read, unless that is to be skipped.
    """
    for path in tree.in_order([entry.path for entry in entries]):
        data: bytes | FerError
        try:
            data = tree.read(path)
        except DamagedArchiveError:  # always an error: nothing of a damaged archive is skipped
            raise
        except FerError as error:
            if not skip:
                raise or_skipped(error) from error
            data = error
        yield path, data


def read_pictures(tree: Tree, listing: Listing, options: ReadOptions, scratch: Path | None = None) -> Pictures:
    """Read and decode pictures.

    Args:
        tree: Where they lie.
        listing: Which ones; the result keeps their order.
        options: The size of the result, and what to do with a picture that cannot be read.
        scratch: The folder for pictures too many for memory; by default the system's temporary folder.

    Raises:
        FerError: If a file cannot be read or is not a valid picture, unless such files are to be skipped.
    """
    entries, size = listing.entries, options.size
    row_of = {entry.path: row for row, entry in enumerate(entries)}
    images = blank((len(entries), size, size), scratch)
    fingerprints = [b""] * len(entries)
    resized, broken = 0, []
    files = contents(tree, entries, options.skip)
    for path, data in with_progress(files, len(entries), "Reading pictures"):
        row = row_of[path]
        try:
            if isinstance(data, FerError):
                raise data
            images[row], changed, fingerprints[row] = decode(data, tree.where(path), size)
        except FerError as error:
            if not options.skip:
                raise or_skipped(error) from error
            broken.append(row)
            continue
        resized += changed
    rows = np.setdiff1d(np.arange(len(entries)), broken)
    sound = [entries[row] for row in rows]
    drawn = any(entry.split is None for entry in entries)
    left_out = left_out_note([entries[row].path for row in sorted(broken)], len(entries), "pictures")
    return Pictures(
        images=kept(images, rows),
        labels=np.array([entry.label for entry in sound], np.int64),
        splits=None if drawn else np.array([SPLITS.index(entry.split) for entry in sound if entry.split], np.uint8),
        origins=[entry.path for entry in sound],
        fingerprints=[fingerprints[row] for row in rows],
        classes=listing.classes,
        notes=(*listing.notes, *left_out, *resized_note(resized, len(sound), size)),
        people=[entry.person for entry in sound] if any(entry.person for entry in sound) else None,
    )
