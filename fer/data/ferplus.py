"""FER+: FER2013's pictures as labelled by ten taggers (Barsoum et al., 2016, https://arxiv.org/abs/1608.01041).

What counts and what is learned follow the authors' code (`src/ferplus.py` in github.com/microsoft/FERPlus), filter
by filter. The filters apply in this order, in whatever order they are given:

- "blank": a row without an image name is left out.
- "outliers": a class with only one of the ten votes counts as having none.
- "unknown": a face for which more taggers said "unknown" or "no face" than any one emotion is left out.
- "leading": the shares that are drawn from or learned cover only the classes with most votes: from the top down,
  classes with equally many votes together, until three quarters of all votes or three classes are reached, and none
  with fewer votes than "unknown" or "no face".
- "majority": a face is left out unless more than half of all its votes, those for "unknown" and "no face" included,
  are for one emotion. In training for a target other than the majority, it is enough that they are for the classes
  in the target: for those with 30 % of the votes or more, or for those that lead, if there are at most three.

With all of them, 25,060 training faces remain for the majority (27,956 for shares, 27,671 for several right classes),
3,199 of PublicTest and 3,153 of PrivateTest; without "leading" and "majority", 28,389, 3,553 and 3,546.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fer.data.faces import SPLITS, Faces, Targets
from fer.data.votes import EMOTIONS, Votes, read_index, read_votes
from fer.errors import FerError
from fer.labels import EMOTIONS_WITH_CONTEMPT, emotion_index

TARGETS = ("majority", "probabilistic", "cross_entropy", "multi_target")
FILTERS = ("blank", "outliers", "unknown", "leading", "majority")
VOTES, INDEX = "fer2013new.csv", "index.csv"

_LABELS = np.array([emotion_index(name, EMOTIONS_WITH_CONTEMPT) for name in EMOTIONS])
_USAGES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}


class Verdict(NamedTuple):
    """The outcome of the votes.

    Attributes:
        kept: bool, (N,), whether the face passes the filters.
        labels: int64, (N,), the emotion with most votes, in the order of `EMOTIONS_WITH_CONTEMPT`.
        targets: float32, (N, 8), shares of the votes; bool, (N, 8), the classes that count as right; or None if
            the labels are all that is learned. The rows of faces that are not kept are meaningless.
    """

    kept: NDArray[np.bool_]
    labels: NDArray[np.int64]
    targets: Targets | None


def join_votes(
    faces: Faces,
    votes: Path,
    index: Path,
    *,
    contempt: bool,
    target: str,
    filters: Sequence[str],
    key: str = "data.index",
) -> Faces:
    """Give FER2013's faces the labels, and in training the targets, of FER+.

    Args:
        faces: All of FER2013, from its table or Kaggle's folders.
        votes: `fer2013new.csv`.
        index: The table of Kaggle's pictures by row; read only for Kaggle's folders.
        contempt: Keep contempt as the eighth class; otherwise its faces and votes are left out.
        target: One of `TARGETS`.
        filters: Some of `FILTERS`.
        key: The configuration key that names the table, for error messages.

    Returns:
        The faces that remain, in their order, with a note on how many there are.

    Raises:
        FerError: If the files do not belong to these faces, or a class is left without training faces.
    """
    read = read_votes(votes)
    if len(read.counts) != len(faces):
        raise FerError(
            f"{votes} has {len(read.counts):,} rows, but {faces.source} {len(faces):,} pictures; the votes belong to "
            "the whole of FER2013, row for row"
        )
    rows = _rows(faces, index, key)
    _check_usages(faces, read, rows, votes)
    ordered = Votes(read.counts[rows], read.blank[rows], read.splits[rows])
    verdict = judge(ordered, target, filters)
    classes = EMOTIONS_WITH_CONTEMPT if contempt else EMOTIONS_WITH_CONTEMPT[:-1]
    kept = verdict.kept & (verdict.labels < len(classes))
    labelled = replace(
        faces,
        labels=verdict.labels,
        classes=classes,
        targets=_without(verdict.targets, len(classes)),
        source=f"{faces.source} with the votes of {votes}",
    ).take(np.flatnonzero(kept))
    sizes = ", ".join(f"{int((kept & (faces.splits == part)).sum()):,} {name}" for part, name in enumerate(SPLITS))
    note = f"FER+ ({', '.join(filters) or 'no filter'}) keeps {sizes} of {len(faces):,} faces."
    _refuse_gaps(labelled, votes)
    return replace(labelled, notes=(*faces.notes, note))


def judge(votes: Votes, target: str, filters: Sequence[str]) -> Verdict:
    """Filter the faces by their votes, and label them; the module's docstring says how.

    Validation and test faces are always filtered and labelled by the majority, whatever the target.
    """
    counts = np.where(votes.counts == 1, 0, votes.counts) if "outliers" in filters else votes.counts
    emotions, others = counts[:, : len(EMOTIONS)], counts[:, len(EMOTIONS) :]
    labels, most = emotions.argmax(axis=1), emotions.max(axis=1)
    behind = most  # the votes for what is learned
    targets: Targets | None = None
    if target == "multi_target":
        behind, targets = _accepted(counts, labels)
    elif target != "majority":
        behind, targets = _shares(counts, labels, "leading" in filters)
    kept = most > 0
    if "blank" in filters:
        kept &= ~votes.blank
    if "unknown" in filters:
        kept &= most >= others.max(axis=1)
    if "majority" in filters:
        training = votes.splits == SPLITS.index("train")
        kept &= 2 * np.where(training, behind, most) > counts.sum(axis=1)
    if targets is not None:
        targets = targets[:, np.argsort(_LABELS)]
    return Verdict(kept, _LABELS[labels], targets)


def _accepted(counts: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the votes for classes with 30 % of them or more, and which emotions those are, always with the label.

    As in the authors' code, exactly 30 % are enough: three of ten votes.
    """
    large = 10 * counts >= 3 * counts.sum(axis=1, keepdims=True)
    right = large[:, : len(EMOTIONS)].copy()
    right[np.arange(len(labels)), labels] = True
    return (counts * large).sum(axis=1), right


def _shares(
    counts: NDArray[np.int64], labels: NDArray[np.int64], leading: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the votes for the emotions that are learned, 0 where too many lead, and each emotion's share of them."""
    votes = counts[:, : len(EMOTIONS)]
    behind = votes.sum(axis=1)
    if leading:
        above = votes[:, None, :] > votes[:, :, None]
        before = (above * votes[:, None, :]).sum(axis=2)  # votes for classes that have more
        lead = (4 * before < 3 * counts.sum(axis=1, keepdims=True)) & (above.sum(axis=2) < 3) & (votes > 0)
        lead &= votes >= counts[:, len(EMOTIONS) :].max(axis=1, keepdims=True)
        lead[np.arange(len(labels)), labels] = True
        votes = votes * lead
        behind = np.where(lead.sum(axis=1) > 3, 0, votes.sum(axis=1))
    return behind, (votes / np.maximum(votes.sum(axis=1, keepdims=True), 1)).astype(np.float32)


def _without(targets: Targets | None, classes: int) -> Targets | None:
    """Return the targets for the first classes alone, with shares scaled up in proportion."""
    if targets is None or targets.shape[1] == classes:
        return targets
    fewer = targets[:, :classes]
    if fewer.dtype == np.bool_:
        return fewer
    shares: NDArray[np.float32] = fewer / np.maximum(fewer.sum(axis=1, keepdims=True), np.float32(1e-9))
    return shares


def _rows(faces: Faces, path: Path, key: str) -> NDArray[np.intp]:
    """Return each face's row in `fer2013.csv`."""
    if faces.origins[0].endswith(":row 0"):  # a table, in its own order
        return np.arange(len(faces))
    if not path.is_file():
        raise FerError(
            f"{key}: {path} does not exist, and Kaggle's pictures do not say which rows of fer2013.csv they are; name "
            "a table with the columns row and kaggle_file, or read fer2013.csv itself, data.root=path/to/fer2013.csv"
        )
    index = read_index(path)
    rows = []
    for origin in faces.origins:
        row = index.get("/".join(origin.split("/")[-3:]))  # split, class and name, wherever these folders lie
        if row is None or row >= len(faces):
            reason = "has no row for" if row is None else f"has row {row}, beyond the last one, for"
            raise FerError(f"{path} {reason} {origin}; every picture of FER2013 needs its row there")
        rows.append(row)
    return np.array(rows)


def _check_usages(faces: Faces, votes: Votes, rows: NDArray[np.intp], path: Path) -> None:
    wrong = np.flatnonzero(votes.splits[rows] != faces.splits)
    if len(wrong):
        face = int(wrong[0])
        said, true = (_USAGES[SPLITS[splits]] for splits in (votes.splits[rows[face]], faces.splits[face]))
        raise FerError(
            f"{path}, row {rows[face]}: Usage is {said}, but {faces.origins[face]} is of {true}; the votes must be in "
            "the order of FER2013's rows, as both were published"
        )


def _refuse_gaps(faces: Faces, votes: Path) -> None:
    counts = faces.split("train").counts()
    missing = [name for name, count in zip(faces.classes, counts, strict=True) if not count]
    if missing:
        raise FerError(
            f"{votes} leaves no training face of {', '.join(missing)}; use fewer data.filters, or data.contempt=false"
        )
