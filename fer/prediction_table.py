"""A network's opinion of every picture as a table, for whoever wants to compute something else from it."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from fer.errors import FerError
from fer.files import drafted

_AT_ONCE = 10_000
_HEAD = 100  # bytes of a file's first line that tell what it is
_COLUMNS = re.compile(rb"picture,(label,)?views,predicted,")


def is_predictions(path: Path) -> bool:
    """Return whether a file is a table of predictions, or empty, so that it may be replaced."""
    try:
        with path.open("rb") as file:
            head = file.readline(_HEAD)
        # spreadsheets write a mark of the encoding first, and quotes
        return not head or bool(_COLUMNS.match(head.removeprefix(b"\xef\xbb\xbf").replace(b'"', b"")))
    except OSError:
        return False


def write_predictions(
    path: Path,
    pictures: Sequence[str],
    classes: Sequence[str],
    logits: Mapping[str, Tensor],
    labels: Sequence[str] | None = None,
) -> None:
    """Write a CSV with a row for each picture and test-time view.

    The columns: `picture`, `label` where labels are known, `views`, `predicted`, and each class's probability.

    Args:
        path: The file.
        pictures: N names.
        classes: C names in label order.
        logits: (N, C) for each of some of `fer.prediction.VIEWS`.
        labels: The N true classes.

    Raises:
        FerError: If it cannot be written.
    """
    columns = ["picture", *(["label"] if labels is not None else []), "views", "predicted", *classes]
    try:
        with drafted(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writerow(columns)
            for views, some in logits.items():
                probabilities = some.softmax(1)
                for start in range(0, len(pictures), _AT_ONCE):  # all rows of a large set would fill gigabytes
                    part = probabilities[start : start + _AT_ONCE]
                    guesses, rows = part.argmax(1).tolist(), part.tolist()
                    for row, (guess, shares) in enumerate(zip(guesses, rows, strict=True), start):
                        truth = [labels[row]] if labels is not None else []
                        named = (f"{share:.6f}" for share in shares)
                        # Python before 3.13 does not quote a carriage return by itself
                        chosen = quoting if "\r" in pictures[row] else writer
                        chosen.writerow([pictures[row], *truth, views, classes[guess], *named])
    except OSError as error:
        raise FerError(
            f"'{path}' cannot be written ({error.strerror}); close it where it is open, or choose another"
        ) from error
