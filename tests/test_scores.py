import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from fer.errors import FerError
from fer.labels import EMOTIONS
from fer.scores import METRICS, calibration, correct, difference, score

ABC = ("a", "b", "c")


def made_up(count: int, classes: int = 7, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits that are right in about two pictures of three."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator)
    logits[torch.arange(count), labels] += 2.0
    return logits, labels


def test_figures_equal_those_computed_by_hand() -> None:
    # Predictions a, a, b, b, c, a for the truth a, a, a, b, b, c.
    predicted = torch.tensor([0, 0, 1, 1, 2, 0])
    second = torch.tensor([1, 1, 2, 0, 1, 1])
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    logits = torch.zeros(6, 3)
    logits[torch.arange(6), predicted] = 2.0
    logits[torch.arange(6), second] = 1.0
    scores = score(logits, labels, ABC)

    assert scores.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert scores.accuracy == pytest.approx(3 / 6)
    assert scores.top2 == pytest.approx(4 / 6)  # the second b is saved by its second guess
    assert scores.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scores.per_class["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3})
    assert scores.per_class["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    total = math.log(math.exp(2) + math.exp(1) + 1)
    assert scores.loss == pytest.approx(total - (2 * 3 + 1 * 1 + 0 * 2) / 6)
    confidence = math.exp(2 - total)
    assert scores.ece == pytest.approx(abs(confidence - 0.5))  # all pictures lie in one bin


def test_calibration_error_equals_torchmetrics() -> None:
    logits, labels = made_up(500)
    expected = multiclass_calibration_error(logits.double().softmax(1), labels, 7, n_bins=15)
    bins = calibration(logits, labels)
    assert score(logits, labels, EMOTIONS).ece == pytest.approx(float(expected), abs=1e-6)
    assert bins.error == pytest.approx(float(expected), abs=1e-6)
    assert bins.counts.sum() == 500


def test_certain_and_right_is_perfect() -> None:
    labels = torch.arange(7)
    scores = score(100.0 * torch.eye(7), labels, EMOTIONS)
    assert scores.accuracy == scores.balanced_accuracy == scores.macro_f1 == scores.top2 == 1.0
    assert scores.loss == pytest.approx(0.0) and scores.ece == pytest.approx(0.0)
    assert calibration(100.0 * torch.eye(7), labels).counts.tolist() == [0] * 14 + [7]


def test_a_class_without_pictures_is_left_out_and_gives_no_nan() -> None:
    # "c" has no picture; one "a" is taken for it.
    logits = torch.tensor([[3.0, 0, 0], [0, 0, 3.0], [0, 3.0, 0], [0, 3.0, 0]])
    scores = score(logits, torch.tensor([0, 0, 1, 1]), ABC)
    assert scores.per_class["c"] == {"precision": None, "recall": None, "f1": None, "support": 0}
    assert scores.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    content = json.loads(json.dumps(scores.to_dict(), allow_nan=False))
    assert content["per_class"]["c"]["recall"] is None
    assert content["count"] == 4 and content["confusion"] == [[1, 0, 1], [0, 2, 0], [0, 0, 0]]


def test_of_equal_logits_the_lower_label_comes_first() -> None:
    scores = score(torch.zeros(3, 3), torch.tensor([0, 1, 2]), ABC)
    assert scores.accuracy == pytest.approx(1 / 3)
    assert scores.top2 == pytest.approx(2 / 3)


def test_intervals_hold_the_estimate_and_shrink_with_more_pictures() -> None:
    widths = []
    for count in (200, 3200):
        scores = score(*made_up(count), EMOTIONS)
        assert set(scores.intervals) == set(METRICS) - {"ece"}  # resampling biases calibration error upwards
        for name, (low, high) in scores.intervals.items():
            assert low < getattr(scores, name) < high
        widths.append({name: high - low for name, (low, high) in scores.intervals.items()})
    few, many = widths
    for name, width in many.items():
        assert width < few[name]
    # Sixteen times the pictures, a quarter of the width.
    assert few["accuracy"] / many["accuracy"] == pytest.approx(4, rel=0.25)


def test_the_interval_of_accuracy_is_the_binomial_one() -> None:
    scores = score(*made_up(2000), EMOTIONS)
    low, high = scores.intervals["accuracy"]
    deviation = math.sqrt(scores.accuracy * (1 - scores.accuracy) / 2000)
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_the_ends_of_an_interval_hardly_depend_on_the_draws() -> None:
    scores = score(*made_up(3589), EMOTIONS)
    share, deviation = scores.accuracy, math.sqrt(scores.accuracy * (1 - scores.accuracy) / 3589)
    ends = (share - 1.96 * deviation, share + 1.96 * deviation)
    assert scores.intervals["accuracy"] == pytest.approx(ends, abs=0.0006)


def test_two_networks_are_compared_on_the_same_pictures() -> None:
    one, labels = made_up(2000)
    other = one.clone()
    other[:100] = made_up(100)[0].roll(1, dims=0)
    first, second = correct(one, labels), correct(other, labels)
    assert first.tolist() == (one.argmax(dim=1) == labels).double().tolist()
    gap, low, high = difference(first, second)
    gaps = first - second
    assert gap == pytest.approx(float(gaps.mean()))
    deviation = float(gaps.std()) / math.sqrt(2000)
    assert (low, high) == pytest.approx((gap - 1.96 * deviation, gap + 1.96 * deviation), abs=0.2 * deviation)
    alone = score(one, labels, EMOTIONS).intervals["accuracy"]
    assert high - low < 0.5 * (alone[1] - alone[0])  # they agree on most pictures
    assert difference(second, first) == pytest.approx((-gap, -high, -low), abs=0.1 * deviation)
    assert difference(first, first) == (0, 0, 0)


def test_the_same_predictions_have_the_same_intervals() -> None:
    logits, labels = made_up(300)
    assert score(logits, labels, EMOTIONS).intervals == score(logits, labels, EMOTIONS).intervals


def test_neither_type_nor_gradient_of_the_logits_matters() -> None:
    logits, labels = made_up(50)
    half = score(logits.half().float(), labels, EMOTIONS).to_dict()
    assert score(logits.half().requires_grad_(), labels, EMOTIONS).to_dict() == half


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_of_a_diverged_model_are_refused(value: float) -> None:
    with pytest.raises(FerError, match="diverged"):
        score(torch.tensor([[value, 0.0, 0.0]]), torch.tensor([0]), ABC)


def test_no_pictures_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(FerError, match="no picture"):
        score(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), ABC)
    with pytest.raises(ValueError, match="fit neither"):
        score(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), EMOTIONS)


def test_the_confusion_matrix_counts_every_picture() -> None:
    logits, labels = made_up(400)
    scores = score(logits, labels, EMOTIONS)
    assert scores.confusion.dtype == np.int64
    assert scores.confusion.sum(axis=1).tolist() == torch.bincount(labels, minlength=7).tolist()
    assert scores.confusion.trace() / 400 == pytest.approx(scores.accuracy)


def test_scoring_does_not_load_matplotlib() -> None:
    code = "import sys, fer.scores; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
