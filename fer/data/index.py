"""What zip and tar archives have in common: names by folder, and what is refused."""

from pathlib import Path, PurePosixPath
from typing import NoReturn

from fer.data.trees import is_litter, refuse_unreadable
from fer.errors import FerError

# FER2013's CSV packs 1:3, a table of blank faces about 1:200; only what is meant to do harm exceeds this.
_MAX_RATIO = 300
_SMALL = 64 * 2**20  # harmless whatever the ratio
_LARGE = 4 * 2**30  # beyond, only what unpacks to a few times its size, as pictures and tables do
_MAX_RATIO_OF_LARGE = 5


def unpacked_limit(path: Path) -> int:
    """Return the number of bytes that an archive may unpack to."""
    size = path.stat().st_size
    return min(max(size * _MAX_RATIO, _SMALL), max(size * _MAX_RATIO_OF_LARGE, _LARGE))


class Index:
    """The names in an archive, by folder: the part of a `Tree` that zip and tar share.

    Args:
        path: The archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folders: dict[str, set[str]] = {}
        self._files: dict[str, set[str]] = {}

    def where(self, path: str) -> str:
        """Return the archive and the path in it."""
        return f"{self.path}: {path}" if path else str(self.path)

    def folders(self, at: str) -> list[str]:
        """Return the sorted names of the folders directly in a folder."""
        return sorted(self._folders.get(at, ()))

    def files(self, at: str) -> list[str]:
        """Return the sorted names of the files directly in a folder."""
        return sorted(self._files.get(at, ()))

    def add(self, name: str, folder: bool) -> str:
        """Enter a member under its safe path, and return that path; '' for the top itself and for litter."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or (parts and (parts[0] == "/" or parts[0].endswith(":"))):
            raise FerError(f"the archive {self.path} holds '{name[:80]}', a path that leads out of it; do not use it")
        if not parts or any(is_litter(part) for part in parts):
            return ""
        refuse_unreadable(name, f"the archive {self.path}")
        for depth in range(len(parts) - (0 if folder else 1)):
            self._folders.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
        if not folder:
            self._files.setdefault("/".join(parts[:-1]), set()).add(parts[-1])
        return "/".join(parts)

    def refuse_link(self, name: str) -> NoReturn:
        """Raise the error for a member that is neither a plain file nor a folder."""
        raise FerError(f"the archive {self.path} holds '{name[:80]}', which is a link or device; pack files only")

    def refuse_size(self, name: str) -> NoReturn:
        """Raise the error for a picture of many megabytes."""
        raise FerError(f"{self.where(name)} is too large for a picture; remove it")
