import gc
import io
import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot, rcParams
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from PIL import Image
from torchmetrics.functional.classification import multiclass_average_precision

from fer import figures
from fer.labels import EMOTIONS
from fer.scores import calibration


def pictures(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(256, size=(*shape, 48, 48), dtype=np.uint8)


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() or axes.get_title(loc="left") for axes in figure.axes]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legends(figure: Figure) -> list[list[str]]:
    found = (axes.get_legend() for axes in figure.axes)
    return [[text.get_text() for text in legend.get_texts()] for legend in found if legend]


def heights(bars: Iterable[Patch]) -> list[float]:
    return [bar.get_height() for bar in bars if isinstance(bar, Rectangle)]


def predictions(count: int) -> tuple[NDArray[np.int64], torch.Tensor]:
    rng = np.random.default_rng(0)
    labels = rng.integers(7, size=count)
    logits = torch.from_numpy(rng.normal(size=(count, 7)))
    logits[np.arange(count), labels] += 1.5
    return labels, logits


def leaderboard_row(name: str, val: float | None, **more: float | None) -> dict[str, Any]:
    empty = {"train_acc": None, "test_acc": None, "val_acc_std": None, "test_acc_std": None}
    return {"name": name, "val_acc": val, "reference_val_acc": None, **empty, **more}


def test_curves_show_both_splits_and_mark_the_best_epoch() -> None:
    keys = ("train/loss", "val/loss", "train/acc", "val/acc")
    history = [{"epoch": e, **dict.fromkeys(keys, 0.5 + e / 20)} for e in range(5)]
    figure = figures.curves(history, best_epoch=3)
    assert titles(figure) == ["Accuracy", "Loss"]
    assert legends(figure) == [
        ["training", "validation", "epoch 3: 65.0 %"],
        ["training", "validation", "epoch 3: 0.650"],
    ]
    train = figure.axes[0].lines[0]
    assert np.asarray(train.get_xdata()).tolist() == [0, 1, 2, 3, 4]
    assert np.asarray(train.get_ydata()).tolist() == pytest.approx([0.5, 0.55, 0.6, 0.65, 0.7])


def test_curves_bear_missing_values() -> None:
    figure = figures.curves([{"epoch": 0, "val/acc": 0.3}, {"epoch": 1, "train/loss": 1.2}], best_epoch=1)
    assert legends(figure) == [["training", "validation"]] * 2
    assert len(figures.png_bytes(figures.curves([], best_epoch=None))) > 1000


def test_confusion_matrix_names_counts_and_shares() -> None:
    confusion = np.array([[3, 1, 0], [0, 5, 0], [0, 0, 0]])
    figure = figures.confusion_matrix(confusion, ("a", "b", "c"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert texts(figure)[:4] == ["75 %", "3", "25 %", "1"]
    assert texts(figure)[12:] == 3 * ["–", "0"]  # there is no picture of the last class
    colours = axes.images[0].get_array()
    assert colours is not None and colours[0].tolist() == [0.75, 0.25, 0.0]


def test_names_in_other_scripts_are_drawn_where_a_font_has_them() -> None:
    fonts = rcParams["font.family"]
    if fonts == ["sans-serif"]:
        pytest.skip("no font for Chinese, Japanese or Korean here")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of every letter that it lacks
        figure = figures.confusion_matrix(np.eye(3, dtype=np.int64), ("angry", "开心", "화남"))
        assert figures.png_bytes(figure)


def test_face_grid_has_a_place_per_face() -> None:
    figure = figures.face_grid(pictures(5), list("abcde"), columns=3)
    assert titles(figure) == list("abcde")
    tops = [axes.get_position().y1 for axes in figure.axes]
    assert tops[0] == tops[2] > tops[3] == tops[4]


def test_mistakes_are_the_most_confident_ones() -> None:
    labels = np.array([0, 1, 2, 0])
    probabilities = np.array([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.03, 0.97, 0.0], [0.2, 0.0, 0.8]])
    figure = figures.mistakes(pictures(4), labels, probabilities, ("a", "b", "c"), limit=2)
    assert titles(figure) == ["c → b 0.97", "a → c 0.80"]


def test_no_mistakes_are_said_in_words() -> None:
    figure = figures.mistakes(pictures(2), np.array([0, 1]), np.eye(2), ("a", "b"))
    assert [text.get_text() for text in figure.texts] == ["no mistake among 2 pictures"]


def test_raw_and_augmented_stand_side_by_side() -> None:
    raw, augmented = pictures(2), pictures(2, 3)
    figure = figures.raw_and_augmented(raw, augmented, ["happy", "sad"])
    assert len(figure.axes) == 2 * (1 + 3)
    assert [text.get_text() for text in figure.texts] == ["happy", "sad"]
    assert titles(figure)[:2] == ["raw", "augmented"]
    first = figure.axes[4].images[0].get_array()
    assert first is not None and np.array_equal(first, raw[1])


def test_reliability_draws_the_bins_and_their_error() -> None:
    labels, logits = predictions(300)
    bins = calibration(logits, torch.from_numpy(labels))
    figure = figures.reliability(bins)
    upper, lower = figure.axes
    assert titles(figure)[0] == f"Calibration error {100 * bins.error:.1f} %"
    accuracy, gap = upper.containers
    assert len(accuracy) == 15 and len(gap) == (bins.counts > 0).sum()
    assert heights(upper.patches[:15]) == pytest.approx(bins.accuracy.tolist())
    assert sum(heights(lower.patches)) == pytest.approx(1.0)


def test_pr_curves_have_the_average_precision_of_torchmetrics() -> None:
    labels, logits = predictions(400)
    probabilities = logits.softmax(dim=1)
    figure = figures.pr_curves(labels, probabilities.numpy(), EMOTIONS)
    expected = multiclass_average_precision(probabilities, torch.from_numpy(labels), 7, average=None)
    named = zip(EMOTIONS, expected.tolist(), strict=True)
    best_first = sorted(named, key=lambda pair: -pair[1])
    assert legends(figure) == [[f"{name}  {average:.2f}" for name, average in best_first]]
    assert titles(figure) == [f"Mean average precision {expected.mean():.3f}"]


def test_pr_curves_leave_out_classes_without_pictures() -> None:
    probabilities = np.array([[0.8, 0.2, 0.0], [0.3, 0.7, 0.0]])
    figure = figures.pr_curves(np.array([0, 1]), probabilities, ("a", "b", "c"))
    assert legends(figure) == [["a  1.00", "b  1.00"]]


def test_leaderboard_has_two_bars_per_model_and_the_references() -> None:
    rows = [
        leaderboard_row("low", 0.5, test_acc=0.52, reference_val_acc=0.6),
        leaderboard_row("high", 0.7, test_acc=0.71, val_acc_std=0.01, test_acc_std=0.02),
        leaderboard_row("new", None),
    ]
    figure = figures.leaderboard(rows)
    (axes,) = figure.axes
    assert len(axes.patches) == 6
    assert [label.get_text() for label in axes.get_yticklabels()] == ["new", "low", "high"]
    assert texts(figure) == ["not run", "50.0 %", "70.0 ± 1.0 %", "not run", "52.0 %", "71.0 ± 2.0 %"]
    assert sorted(legends(figure)[0]) == ["reference, validation", "test", "validation"]
    (reference,) = [each for each in axes.collections if each.get_label() == "reference, validation"]
    assert np.asarray(reference.get_offsets()).tolist() == [[0.6, 1.19]]
    assert len(legends(figures.leaderboard(rows[1:]))[0]) == 2  # no reference, no entry for it


def test_leaderboard_of_runs_without_a_test_shows_none() -> None:
    figure = figures.leaderboard([leaderboard_row("a", 0.5, reference_val_acc=0.6), leaderboard_row("b", 0.6)])
    (axes,) = figure.axes
    assert len(axes.patches) == 2
    assert texts(figure) == ["50.0 %", "60.0 %"]
    assert sorted(legends(figure)[0]) == ["reference, validation", "validation"]
    (reference,) = axes.collections
    assert np.asarray(reference.get_offsets()).tolist() == [[0.6, 0.0]]


def test_grad_cam_colours_only_what_is_hot() -> None:
    images, heat = pictures(2), np.zeros((2, 48, 48))
    heat[0, 10:20, 10:20] = 1.0
    figure = figures.grad_cam_grid(images, heat, ["a", "b"])
    assert titles(figure) == ["a", "", "b", ""]
    overlay = figure.axes[1].images[0].get_array()
    assert overlay is not None
    grey = (overlay == images[0][..., None]).all(axis=2)
    assert grey[heat[0] == 0].all() and not grey[heat[0] == 1].any()


def test_rendering_gives_png_and_pixels() -> None:
    figure = figures.face_grid(pictures(2), ["a", "b"], columns=2)
    png = figures.png_bytes(figure)
    assert png == figures.png_bytes(figure)
    assert Image.open(io.BytesIO(png)).format == "PNG"
    pixels = figures.rgb_array(figure)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert pixels.std() > 10


def test_figures_are_freed_and_unknown_to_pyplot() -> None:
    figure = figures.confusion_matrix(np.eye(3, dtype=np.int64), ("a", "b", "c"))
    figures.png_bytes(figure)
    trace = weakref.ref(figure)
    del figure
    gc.collect()
    assert trace() is None
    assert pyplot.get_fignums() == []


def test_a_single_epoch_is_counted_in_whole_numbers() -> None:
    row = {"epoch": 1.0, "train/loss": 1.0, "val/loss": 1.0, "train/acc": 0.5, "val/acc": 0.5}
    for axes in figures.curves([row], 1).axes:
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
