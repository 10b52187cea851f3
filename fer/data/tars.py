"""Tar archives, packed with gzip, xz, bzip2 or not at all."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from fer.data.index import Index, unpacked_limit
from fer.data.trees import MAX_PICTURE_BYTES, Tree


@contextmanager
def open_tar(path: Path, magic: bytes) -> Iterator[Tree]:
    """Open a tar as a tree; it closes with the context.

    Args:
        path: The tar.
        magic: Its first six bytes, which tell how it is packed.

    Raises:
        FerError: If it holds links, devices or paths that lead out of it.
        Exception: If it is damaged or too large, whatever the decompressors and tarfile raise.
    """
    with _decompressed(path, magic) as raw:
        bounded = _Bounded(raw, unpacked_limit(path))
        with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r:") as tar:
            yield _TarTree(path, tar, bounded)


class _TarTree(Index):
    def __init__(self, path: Path, tar: tarfile.TarFile, raw: "_Bounded") -> None:
        super().__init__(path)
        self._tar = tar
        self._members: dict[str, tarfile.TarInfo] = {}
        for member in tar:
            if member.size < 0:  # would send tarfile back to where it has been, in an endless loop
                raise tarfile.ReadError(f"'{member.name[:80]}' has a negative size")
            if not (member.isdir() or member.isreg()) or member.issparse():
                self.refuse_link(member.name)
            if name := self.add(member.name, member.isdir()):
                self._members[name] = member
        self._check_end(raw)

    def in_order(self, paths: Sequence[str]) -> list[str]:
        # A compressed stream only runs forward.
        return sorted(paths, key=lambda path: self._members[path].offset)

    def read(self, path: str) -> bytes:
        if self.size(path) > MAX_PICTURE_BYTES:
            self.refuse_size(path)
        with self.open(path) as file:
            return file.read()

    def open(self, path: str) -> IO[bytes]:
        return cast(IO[bytes], self._tar.extractfile(self._members[path]))

    def size(self, path: str) -> int:
        return self._members[path].size

    def _check_end(self, raw: "_Bounded") -> None:
        # tarfile mistakes a broken header for the end, and so would silently lose every picture after it.
        raw.seek(self._tar.offset)
        if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it is cut short or damaged")
        while raw.read(2**20):  # the compressor's checksum is at the very end
            pass


class _Bounded(io.RawIOBase):
    """A stream that raises an error once it has unpacked more than a limit, or when asked for too much at a time."""

    def __init__(self, raw: IO[bytes], limit: int) -> None:
        self._raw = raw
        self._limit = limit

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_PICTURE_BYTES:
            raise tarfile.ReadError(f"a header asks for {size:,} bytes at once")
        data = self._raw.read(size)
        if self._raw.tell() > self._limit:
            raise tarfile.ReadError("it unpacks to far more than faces need")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or not 0 <= offset <= self._limit:
            raise tarfile.ReadError("it unpacks to far more than faces need")
        return self._raw.seek(offset)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _decompressed(path: Path, magic: bytes) -> IO[bytes]:
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if magic.startswith(b"\xfd7zXZ"):
        return cast(IO[bytes], lzma.open(path))
    if magic.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(path))
    return path.open("rb")
