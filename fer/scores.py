"""From logits to figures: loss, accuracies, F1, calibration, and the intervals of those that have one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from fer.errors import FerError

METRICS: tuple[str, ...] = ("loss", "accuracy", "balanced_accuracy", "macro_f1", "top2", "ece")
"""The single figures of `Scores`, in the order in which tables show them."""

INTERVALS = tuple(name for name in METRICS if name != "ece")
"""Those with an interval. Resampling adds noise to the bins of the calibration error, and so, on average, raises it."""

RESAMPLES = 10_000
"""Number of resamples of the pictures for each interval: the ends of FER2013's vary by 0.02 points then."""

_AT_ONCE = 100_000
"""Pictures drawn at once for resamples, or cells of confusion matrices: they fit into a processor's caches."""

BINS = 15
"""Bins of confidence, as many as Guo et al. (2017) use."""


class ClassScores(TypedDict):
    """The figures of one class; None where the class has no picture."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Scores:
    """The scores of one set of predictions.

    Attributes:
        loss: Mean cross-entropy in nats, without label smoothing.
        accuracy: Share of pictures whose largest logit is the true class.
        balanced_accuracy: Mean recall over the classes that have pictures.
        macro_f1: Mean F1 over the classes that have pictures.
        top2: Share of pictures whose true class is among the two largest logits.
        ece: Expected calibration error over 15 bins of equal width (Guo et al., 2017).
        per_class: Precision, recall, F1 and number of pictures per class, in label order.
        confusion: int64, (C, C), rows the true class, columns the predicted one.
        count: Number of pictures.
        intervals: 95 % bootstrap interval (low, high) per name in `INTERVALS`.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    top2: float
    ece: float
    per_class: dict[str, ClassScores]
    confusion: NDArray[np.int64]
    count: int
    intervals: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the same content in plain values that JSON can hold, without NaN."""
        return {
            "count": self.count,
            **{name: getattr(self, name) for name in METRICS},
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "per_class": {name: dict(figures) for name, figures in self.per_class.items()},
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in bins of equal width, the data of a reliability diagram.

    Attributes:
        counts: int64, (B,), pictures per bin; bin b holds confidences in (b / B, (b + 1) / B].
        confidence: float64, (B,), mean confidence per bin, 0 in an empty one.
        accuracy: float64, (B,), share of correct predictions per bin, 0 in an empty one.
    """

    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error: the gap between confidence and accuracy, weighted by pictures."""
        gaps = np.abs(self.accuracy - self.confidence)
        return float((self.counts * gaps).sum() / self.counts.sum())


@dataclass(frozen=True)
class _Outcomes:
    """What the figures need to know of each picture; every field is an array of length N."""

    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    loss: NDArray[np.float64]
    correct: NDArray[np.float64]
    in_top2: NDArray[np.float64]
    confidence: NDArray[np.float64]


def score(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> Scores:
    """Score predictions against the truth.

    Definitions are scikit-learn's with zero_division=0, save that classes without a picture are left out
    of the means even where they were predicted. Of equal logits, the lower label comes first. The intervals are
    percentiles of resamples of the pictures (Efron and Tibshirani, 1993, chapter 13), the same at every call.

    Args:
        logits: Floating point, (N, C).
        labels: int64, (N,), true classes.
        classes: C names in label order.

    Raises:
        FerError: If there is no picture, or a logit is NaN or infinite.
        ValueError: If the shapes disagree.
    """
    if logits.ndim != 2 or logits.shape != (len(labels), len(classes)):
        raise ValueError(f"logits {tuple(logits.shape)} fit neither {len(labels)} labels nor {len(classes)} classes")
    outcomes = _outcomes(logits, labels)
    sums = _sums(outcomes, len(classes), np.arange(len(labels))[None])[0]
    figures = _figures(sums, len(classes))
    confusion = sums[3:].reshape(len(classes), len(classes)).astype(np.int64)
    resampled = _figures(_resample(outcomes, len(classes)), len(classes))
    intervals = {}
    for name in INTERVALS:
        low, high = np.percentile(resampled[name], (2.5, 97.5))
        intervals[name] = (float(low), float(high))
    return Scores(
        **{name: float(value) for name, value in figures.items()},
        ece=_calibration(outcomes).error,
        per_class=_per_class(confusion, classes),
        confusion=confusion,
        count=len(labels),
        intervals=intervals,
    )


def correct(logits: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Return 1 for each picture whose largest logit is the true class, and 0 for the others, (N,).

    Args:
        logits: Floating point, (N, C).
        labels: int64, (N,), true classes.
    """
    return _outcomes(logits, labels).correct


def difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return how much more accurate the first of two networks is on the same pictures, with its 95 % interval.

    What is resampled are pictures, each with what both networks make of it. Networks are often right on the same
    pictures, so this interval is narrower than those of their accuracies would suggest.

    Args:
        first: For each picture whether the one is right, from `correct`.
        second: The same of the other.

    Returns:
        The difference, and the low and the high end of the interval, as shares.
    """
    gaps = first - second
    count = len(gaps)
    shares = [(gaps == sign).mean() for sign in (1, -1, 0)]
    # how often a resample holds pictures of each kind, without drawing the pictures
    better, worse, _ = np.random.default_rng(0).multinomial(count, shares, size=RESAMPLES).T
    low, high = np.percentile((better - worse) / count, (2.5, 97.5))
    return float(gaps.mean()), float(low), float(high)


def calibration(logits: Tensor, labels: Tensor) -> Calibration:
    """Return the bins of a reliability diagram (Guo et al., 2017, https://arxiv.org/abs/1706.04599).

    Args:
        logits: Floating point, (N, C).
        labels: int64, (N,), true classes.
    """
    return _calibration(_outcomes(logits, labels))


def _calibration(outcomes: _Outcomes) -> Calibration:
    bins = (np.ceil(outcomes.confidence * BINS).astype(np.int64) - 1).clip(0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    shares = np.maximum(counts, 1)
    return Calibration(
        counts=counts,
        confidence=np.bincount(bins, outcomes.confidence, BINS) / shares,
        accuracy=np.bincount(bins, outcomes.correct, BINS) / shares,
    )


def _outcomes(logits: Tensor, labels: Tensor) -> _Outcomes:
    if not len(labels):
        raise FerError("there is no picture to score; check the split and the data source")
    if not torch.isfinite(logits).all():
        raise FerError("the logits hold NaN or infinity, so training diverged; lower the learning rate")
    logits = logits.detach().cpu().double()
    labels = labels.detach().cpu()
    ranking = logits.argsort(dim=1, descending=True, stable=True)
    return _Outcomes(
        labels=labels.numpy(),
        predicted=ranking[:, 0].numpy(),
        loss=functional.cross_entropy(logits, labels, reduction="none").numpy(),
        correct=(ranking[:, 0] == labels).double().numpy(),
        in_top2=(ranking[:, :2] == labels[:, None]).any(dim=1).double().numpy(),
        confidence=logits.softmax(dim=1).amax(dim=1).numpy(),
    )


def _sums(outcomes: _Outcomes, classes: int, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what every figure with an interval follows from, float64, (R, 3 + C * C).

    These are sums over the pictures: of the loss, of correctness, of top-2, and the confusion matrix.

    Args:
        outcomes: Of N pictures.
        classes: C.
        drawn: R resamples, each of them K indices of pictures, (R, K).
    """
    cells = (outcomes.labels * classes + outcomes.predicted)[drawn]
    cells += classes**2 * np.arange(len(drawn))[:, None]
    confusion = np.bincount(cells.ravel(), minlength=len(drawn) * classes**2).reshape(len(drawn), -1)
    each = (outcomes.loss, outcomes.correct, outcomes.in_top2)
    return np.column_stack([one[drawn].sum(axis=1) for one in each] + [confusion])


def _resample(outcomes: _Outcomes, classes: int) -> NDArray[np.float64]:
    """Return the sums of resamples of the pictures with replacement: (RESAMPLES, 3 + C * C)."""
    rng = np.random.default_rng(0)
    count = len(outcomes.labels)
    size = max(1, _AT_ONCE // max(count, classes**2))
    sizes = (min(size, RESAMPLES - start) for start in range(0, RESAMPLES, size))
    return np.concatenate([_sums(outcomes, classes, rng.integers(count, size=(some, count))) for some in sizes])


def _figures(sums: NDArray[np.float64], classes: int) -> dict[str, NDArray[np.float64]]:
    """Return each name in `INTERVALS` with its value, computed from column sums of shape (..., K)."""
    confusion = sums[..., 3:].reshape(*sums.shape[:-1], classes, classes)
    count = confusion.sum(axis=(-2, -1))
    hits = confusion.diagonal(axis1=-2, axis2=-1)
    support = confusion.sum(axis=-1)
    predicted = confusion.sum(axis=-2)
    present = (support > 0).sum(axis=-1)
    # A class without pictures has no hits either, so it adds 0 to the sums below.
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    return {
        "loss": sums[..., 0] / count,
        "accuracy": sums[..., 1] / count,
        "balanced_accuracy": recall.sum(axis=-1) / present,
        "macro_f1": f1.sum(axis=-1) / present,
        "top2": sums[..., 2] / count,
    }


def _per_class(confusion: NDArray[np.int64], classes: Sequence[str]) -> dict[str, ClassScores]:
    figures: dict[str, ClassScores] = {}
    for index, name in enumerate(classes):
        hits, support, predicted = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
        figures[name] = ClassScores(
            precision=float(hits / max(predicted, 1)) if support else None,
            recall=float(hits / support) if support else None,
            f1=float(2 * hits / (support + predicted)) if support else None,
            support=int(support),
        )
    return figures
