"""Files by name, in the same way for a folder and for an archive."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol

from fer.errors import FerError

MAX_PICTURE_BYTES = 64 * 2**20
"""A face is a few kilobytes; a file beyond this is a mistake that would only fill the memory."""

_LITTER = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
    "__macosx", "icon\r", "lost+found",
}  # fmt: skip
"""What operating systems leave in folders and on disks."""


class Tree(Protocol):
    """Folders and files, named by paths with forward slashes relative to the top, which is ''."""

    def where(self, path: str) -> str:
        """Return the name of a file or folder for an error message."""

    def folders(self, at: str) -> list[str]:
        """Return the sorted names of the folders directly in a folder, without hidden ones."""

    def files(self, at: str) -> list[str]:
        """Return the sorted names of the files directly in a folder, without hidden ones."""

    def in_order(self, paths: Sequence[str]) -> list[str]:
        """Return these files in the order that is quickest to read."""

    def read(self, path: str) -> bytes:
        """Return the bytes of one file."""

    def open(self, path: str) -> IO[bytes]:
        """Open one file for reading."""

    def size(self, path: str) -> int:
        """Return the number of bytes in a file."""


def join(at: str, name: str) -> str:
    """Return the path of a name in a folder of a tree."""
    return f"{at}/{name}" if at else name


def inside(tree: Tree, at: str, path: str) -> str | None:
    """Return the path of a folder or file below a folder, or None where there is none.

    Args:
        tree: Where to look.
        at: The folder.
        path: The path from there: `Image/aligned`, say.
    """
    *folders, last = path.split("/")
    for name in folders:
        if name not in tree.folders(at):
            return None
        at = join(at, name)
    return join(at, last) if last in tree.folders(at) or last in tree.files(at) else None


def is_litter(name: str) -> bool:
    """Return whether a file manager or an operating system left this name behind."""
    return name.startswith(".") or name.lower() in _LITTER


def refuse_unreadable(name: str, where: str) -> None:
    """Raise FerError for a name that is not UTF-8, such as old archives may hold: no table could hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise FerError(f"the name {name!a} in {where} is no UTF-8; rename it") from None


def _is_broken_link(path: Path) -> bool:
    """Return whether this is a link to nothing, or to itself."""
    return path.is_symlink() and not path.exists()


def _holds(check: Callable[[], bool]) -> bool:
    """Return what a check of an entry says; False for a link to itself, at which it fails."""
    try:
        return check()
    except OSError:
        return False


class FolderTree:
    """A folder on disk.

    Args:
        root: The folder that paths are relative to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def where(self, path: str) -> str:
        """Return the path on disk."""
        return str(self.root / path)

    def folders(self, at: str) -> list[str]:
        """Return the sorted names of the folders directly in a folder, without hidden ones.

        Links to a folder around them are left out: whoever went into them would go round in circles.
        """
        entries = (entry for entry in self._entries(at) if _holds(entry.is_dir))
        return sorted(entry.name for entry in entries if not (entry.is_symlink() and self._leads_back(entry, at)))

    def files(self, at: str) -> list[str]:
        """Return the sorted names of the files directly in a folder, without hidden ones.

        A broken link counts as a file, so that it can be left out like any other that cannot be read.

        Raises:
            FerError: If something is neither file nor folder, such as a pipe, which would block.
        """
        names = []
        for entry in self._entries(at):
            if _holds(entry.is_file) or _is_broken_link(Path(entry.path)):
                names.append(entry.name)
            elif not entry.is_dir():
                raise FerError(f"{entry.path} is neither a file nor a folder; remove it")
        return sorted(names)

    def in_order(self, paths: Sequence[str]) -> list[str]:
        """Return the files in the order given."""
        return list(paths)

    def read(self, path: str) -> bytes:
        """Return the bytes of one file.

        Raises:
            FerError: If it cannot be read or is larger than `MAX_PICTURE_BYTES`.
        """
        try:
            # Bare descriptors: three times as quick as pathlib over 36,000 small files.
            file = os.open(f"{self.root}/{path}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
            try:
                return self._read_all(file, path)
            finally:
                os.close(file)
        except OSError as error:
            raise self._unreadable(path, error) from error

    def open(self, path: str) -> IO[bytes]:
        """Open one file for reading.

        Raises:
            FerError: If it cannot be opened.
        """
        try:
            return (self.root / path).open("rb")
        except OSError as error:
            raise self._unreadable(path, error) from error

    def size(self, path: str) -> int:
        """Return the number of bytes in a file.

        Raises:
            FerError: If it cannot be read.
        """
        try:
            return (self.root / path).stat().st_size
        except OSError as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: str, error: OSError) -> FerError:
        if _is_broken_link(self.root / path):
            return FerError(f"{self.where(path)} is a link to something that does not exist; remove it")
        return FerError(f"{self.where(path)} cannot be read: {error.strerror}")

    def _entries(self, at: str) -> list[os.DirEntry[str]]:
        folder = self.root / at
        try:
            with os.scandir(folder) as entries:
                found = [entry for entry in entries if not is_litter(entry.name)]
        except OSError as error:
            raise FerError(f"the folder {folder} cannot be listed: {error.strerror}") from error
        for entry in found:
            refuse_unreadable(entry.name, str(folder))
        return found

    def _leads_back(self, entry: os.DirEntry[str], at: str) -> bool:
        """Return whether a link leads to a folder on the way to it, from the top or through other links."""
        target, way = Path(entry.path).resolve(), Path(at)
        return any((self.root / part).resolve().is_relative_to(target) for part in (way, *way.parents))

    def _read_all(self, file: int, path: str) -> bytes:
        size = os.fstat(file).st_size
        if size > MAX_PICTURE_BYTES:
            raise FerError(f"{self.where(path)} has {size:,} bytes, too many for a picture; remove it")
        pieces = []
        while piece := os.read(file, size + 1):
            pieces.append(piece)
            if len(piece) == size:
                break
        return b"".join(pieces)
