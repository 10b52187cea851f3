"""Files that are written whole or not at all, and hashes that tell them apart."""

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
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


def numbered(path: Path) -> Iterator[Path]:
    """Yield a path and then, for whoever finds it taken, the same path with -2, -3 and so on at its end."""
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return rows as a Markdown table whose first columns, `words` of them, hold words, and the others numbers."""
    heads = (columns, ["---"] * words + ["---:"] * (len(columns) - words))
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    return "".join(f"| {' | '.join(row)} |\n" for row in (*heads, *cells))


def csv_text(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Return rows as the text of a CSV with these columns; a value that a row lacks stays empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
