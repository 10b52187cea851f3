"""Files and folders that are written whole or not at all, what tells them apart, and tables in them."""

import csv
import hashlib
import io
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

_WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6) if os.name == "nt" else ()
"""Seconds between tries to move a file. On Windows, none moves while a virus scanner or a reader has it open."""

_FORGOTTEN = 3600  # seconds; a living writer adds something to a folder's files every few seconds


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, in one step: whoever reads it sees the old file or the new one."""
    with drafted(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def _persistently(move: Callable[[Path], object], place: Path) -> None:
    """Move something to a place, again and again where others may keep it busy."""
    for wait in _WAITS:
        try:
            move(place)
            return
        except PermissionError:
            if place.is_dir():  # another process has finished first
                raise
            time.sleep(wait)
    move(place)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Yield a path beside a file to write to; what is there then replaces the file, unless the writing fails."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        _persistently(draft.replace, path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def drafted_folder(place: Path) -> Iterator[Path]:
    """Yield a folder beside a place to fill, and then move it there, so that only finished folders appear there.

    If another process has finished one first, that one stays: who writes to the same place writes the same.
    """
    draft = place.with_name(f".{place.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        draft.mkdir(parents=True)
        yield draft
        try:
            _persistently(draft.rename, place)
        except OSError:
            if not place.exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_forgotten(root: Path) -> None:
    """Remove drafts of killed writers: folders of `drafted_folder` in which nothing has been written for a while.

    Age reveals a dead writer on any file system and machine; a process number would mean nothing elsewhere.
    """
    for old in root.glob(f".*.{'[0-9a-f]' * 12}.tmp"):
        try:
            touched = max(path.stat().st_mtime for path in (old, *old.iterdir()))
        except OSError:  # its writer, or another one, is removing it right now
            continue
        if time.time() - touched > _FORGOTTEN:
            shutil.rmtree(old, ignore_errors=True)


def numbered(path: Path) -> Iterator[Path]:
    """Yield a path and then, for whoever finds it taken, the same path with -2, -3 and so on at its end."""
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return rows as a Markdown table whose first columns, `words` of them, hold words, and the others numbers."""
    head, *cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (columns, *rows))
    rule = ["---"] * words + ["---:"] * (len(columns) - words)
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *cells))


def csv_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Return rows as the text of a CSV with these columns; a value that a row lacks stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
