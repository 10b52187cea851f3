"""Files that are written whole or not at all, and hashes that tell them apart."""

import csv
import hashlib
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, in one step: whoever reads it sees the old file or the new one."""
    with drafted(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """Yield a path beside a file to write to; what is there then replaces the file, unless the writing fails."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def csv_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Return rows as the text of a CSV with these columns; a value that a row lacks stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
