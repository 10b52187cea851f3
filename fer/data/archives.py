"""Zip and tar archives, read in memory: nothing is unpacked to disk, and nothing in them is trusted."""

import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from fer.data.index import Index, unpacked_limit
from fer.data.tars import open_tar
from fer.data.trees import MAX_PICTURE_BYTES, Tree
from fer.errors import FerError, one_line

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,  # from zipfile for a password, from tarfile for endless chains of headers
    NotImplementedError,
    ValueError,  # from the header parsers for malformed numbers
)


class DamagedArchiveError(FerError):
    """The archive itself cannot be read, not just one picture in it."""


def is_archive(name: str) -> bool:
    """Return whether a file's name ends like that of a zip or a tar."""
    return name.lower().endswith(SUFFIXES)


@contextmanager
def open_archive(path: Path) -> Iterator[Tree]:
    """Open an archive as a tree; it closes with the context.

    Args:
        path: A zip, or a tar packed with gzip, xz, bzip2 or not at all; its content tells which.

    Raises:
        FerError: If the archive is damaged, encrypted or too large, or holds links or paths that lead out of
            it. The tree raises the same for damage found while reading it.
    """
    with ExitStack() as stack:
        with _damage_told(path):
            with path.open("rb") as file:
                magic = file.read(6)
            if magic.startswith(b"PK"):
                tree: Tree = _ZipTree(path, stack.enter_context(zipfile.ZipFile(path)))
            else:
                tree = stack.enter_context(open_tar(path, magic))
        yield _Told(tree, path)


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DamagedArchiveError(
            f"the archive {path} cannot be read ({one_line(error)}); download it again"
        ) from error


class _Told:
    """An archive's tree that reports damage in a sentence.

    Only the tree's own reads are wrapped, so that nobody else's errors are mistaken for damage.
    """

    def __init__(self, tree: Tree, archive: Path) -> None:
        self._tree = tree
        self._archive = archive
        self.where, self.folders, self.files, self.size = tree.where, tree.folders, tree.files, tree.size
        self.in_order = tree.in_order

    def read(self, path: str) -> bytes:
        with _damage_told(self._archive):
            return self._tree.read(path)

    def open(self, path: str) -> IO[bytes]:
        with _damage_told(self._archive):
            return io.BufferedReader(_ToldStream(self._tree.open(path), self._archive))


class _ToldStream(io.RawIOBase):
    def __init__(self, file: IO[bytes], archive: Path) -> None:
        self._file = file
        self._archive = archive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _damage_told(self._archive):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class _ZipTree(Index):
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        super().__init__(path)
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > unpacked_limit(path):
            raise FerError(f"the archive {path} unpacks to far more than faces need; do not use it")
        for info in infos:
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                self.refuse_link(info.filename)
            if name := self.add(info.filename, info.is_dir()):
                self._members[name] = info

    def in_order(self, paths: Sequence[str]) -> list[str]:
        return list(paths)

    def read(self, path: str) -> bytes:
        if self.size(path) > MAX_PICTURE_BYTES:
            self.refuse_size(path)
        return self._archive.read(self._members[path])

    def open(self, path: str) -> IO[bytes]:
        return self._archive.open(self._members[path])

    def size(self, path: str) -> int:
        return self._members[path].file_size
