"""Zip and tar archives, read in memory: nothing is unpacked to disk, and nothing in them is trusted."""

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fer.data.index import Index, unpacked_limit
from fer.data.tars import open_tar
from fer.data.trees import MAX_PICTURE_BYTES, Tree
from fer.errors import FerError

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
    RuntimeError,  # zipfile's for a password, tarfile's for endless chains of headers
    NotImplementedError,
    ValueError,  # the header parsers' for numbers that are none
)


def is_archive(name: str) -> bool:
    """Return whether a file's name ends as a zip's or a tar's."""
    return name.lower().endswith(SUFFIXES)


@contextmanager
def open_archive(path: Path) -> Iterator[Tree]:
    """Open an archive as a tree; it closes with the context.

    Args:
        path: A zip, or a tar packed with gzip, xz, bzip2 or not at all; its content tells which.

    Raises:
        FerError: If the archive is damaged, encrypted or too large, or holds links or paths that lead out of
            it. Damage found while reading the tree within the context is raised as that, too.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        if magic.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                yield _ZipTree(path, archive)
        else:
            with open_tar(path, magic) as tree:
                yield tree
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FerError(f"the archive {path} cannot be read ({reason[:200]}); download it again") from error


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
