"""Pictures that nobody has labelled: a single one, or all that lie below a folder or in an archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer.data.archives import DamagedArchiveError, is_archive, open_archive
from fer.data.pictures import decode, with_progress
from fer.data.rows import blank, kept
from fer.data.trees import FolderTree, Tree, join, refuse_unreadable
from fer.errors import FerError


class Unlabelled(NamedTuple):
    """What was read.

    Attributes:
        names: N paths, sorted, relative to the folder or archive.
        images: uint8, (N, size, size), grey levels.
        errors: One for each file that is not a valid picture.
    """

    names: list[str]
    images: NDArray[np.uint8]
    errors: list[FerError]


def read_unlabelled(path: Path, size: int, ignored: Path | None = None) -> Unlabelled:
    """Read pictures of any size, grey or colour.

    Args:
        path: A picture, a folder, or a zip or tar.
        size: Height and width of the result.
        ignored: A file to leave out where it lies in the folder.

    Raises:
        FerError: If there is nothing at this path, or no picture.
    """
    with _opened(path) as (tree, paths):
        paths = [name for name in paths if ignored is None or path.joinpath(name).absolute() != ignored.absolute()]
        row_of = {name: row for row, name in enumerate(paths)}
        images = blank((len(paths), size, size), None)
        errors: dict[int, FerError] = {}
        for name in with_progress(tree.in_order(paths), len(paths), "Reading pictures"):
            try:
                images[row_of[name]] = decode(tree.read(name), tree.where(name), size).image
            except DamagedArchiveError:
                raise
            except FerError as error:
                errors[row_of[name]] = error
        sound = [row for row in range(len(paths)) if row not in errors]
    if not sound:
        if len(errors) > 1:
            raise FerError(f"pictures: none of the {len(errors)} files in '{path}' can be used; the first: {errors[0]}")
        raise errors[0] if errors else FerError(f"pictures: there is no picture in '{path}'")
    return Unlabelled([paths[row] for row in sound], kept(images, sound), [errors[row] for row in sorted(errors)])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Tree, list[str]]]:
    """Open what lies at a path, with the sorted paths of the files in it."""
    if path.is_dir():
        tree = FolderTree(path)
        yield tree, sorted(_below(tree, ""))
    elif path.is_file() and is_archive(path.name):
        with open_archive(path) as archive:
            yield archive, sorted(_below(archive, ""))
    elif path.is_file():
        refuse_unreadable(path.name, str(path.parent))
        yield FolderTree(path.parent), [path.name]
    else:
        raise FerError(f"pictures: '{path}' does not exist; name a picture, a folder or an archive")


def _below(tree: Tree, at: str) -> Iterator[str]:
    yield from (join(at, name) for name in tree.files(at))
    for name in tree.folders(at):
        yield from _below(tree, join(at, name))
