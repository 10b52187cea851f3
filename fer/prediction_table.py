"""A network's opinion of every picture as a table, for whoever wants to compute something else from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from fer.errors import FerError
from fer.files import csv_text, write_whole


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
    known = ["label"] if labels is not None else []
    rows = []
    for views, some in logits.items():
        probabilities = some.softmax(1)
        for row, (guess, shares) in enumerate(
            zip(probabilities.argmax(1).tolist(), probabilities.tolist(), strict=True)
        ):
            truth = {"label": labels[row]} if labels is not None else {}
            named = {name: f"{share:.4f}" for name, share in zip(classes, shares, strict=True)}
            rows.append({"picture": pictures[row], **truth, "views": views, "predicted": classes[guess], **named})
    try:
        write_whole(path, csv_text(rows, ["picture", *known, "views", "predicted", *classes]))
    except OSError as error:
        raise FerError(
            f"'{path}' cannot be written ({error.strerror}); close it where it is open, or choose another"
        ) from error
