"""Figures made of numbers: curves, confusion, calibration, precision and recall, the leaderboard."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from fer.figures import style
from fer.scores import Calibration

_ABOVE: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.3}
"""Legends stand above the axes, where no line can run through them."""


def curves(history: Sequence[Mapping[str, float]], best_epoch: int | None) -> Figure:
    """Draw accuracy and loss per epoch, training against validation.

    Args:
        history: A row per epoch with "epoch" and any of "train/loss", "val/loss", "train/acc", "val/acc";
            a value may be missing.
        best_epoch: The epoch of the checkpoint that was kept, marked in both panels.
    """
    figure = _chart(10, 3.8)
    for axes, title, key in zip(figure.subplots(1, 2), ("Accuracy", "Loss"), ("acc", "loss"), strict=True):
        style.dress(axes, title, x="epoch", grid="y")
        for split, name, colour in (("train", "training", style.TRAIN), ("val", "validation", style.VAL)):
            column = f"{split}/{key}"
            points = [(row["epoch"], row[column]) for row in history if column in row]
            marker = "o" if len(points) == 1 else ""  # a line through one point is invisible
            axes.plot(*np.array(points).reshape(-1, 2).T, color=colour, linewidth=2, marker=marker, label=name)
        if best_epoch is not None:
            _mark_best(axes, best_epoch, {row["epoch"]: row.get(f"val/{key}") for row in history}, key)
        axes.set_xlim(left=0.5)  # there is no epoch 0
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))  # for a single epoch too
        if key == "acc":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        style.legend(axes, **_ABOVE, ncols=3, handlelength=1.2, columnspacing=1.2)
    return figure


def _mark_best(axes: Axes, epoch: int, values: Mapping[float, float | None], key: str) -> None:
    axes.axvline(epoch, color=style.MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
    value = values.get(epoch)
    if value is None:
        return
    shown = f"{value:.1%}".replace("%", " %") if key == "acc" else f"{value:.3f}"
    label = f"epoch {epoch}: {shown}"
    axes.plot([epoch], [value], "o", color=style.VAL, markersize=7, markeredgecolor="white", label=label)


def confusion_matrix(confusion: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix, coloured by the share of each true class.

    Args:
        confusion: int64, (C, C), rows the true class, columns the predicted one. A class without pictures has
            dashes for shares.
        classes: C names in label order.
    """
    pictures = confusion.sum(axis=1)
    shares = confusion / np.maximum(pictures, 1)[:, None]
    side = 1.6 + 0.78 * len(classes)
    figure = _chart(side, side - 0.3)
    axes = figure.subplots()
    style.dress(axes, x="predicted", y="true")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes)
    if max(map(len, classes)) > 10:  # longer than the seven emotions: side by side, the names would overlap
        axes.tick_params(axis="x", rotation=35)
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(labelcolor=style.INK)
    axes.spines[:].set_visible(False)
    # White lines between the cells, drawn as the minor grid.
    axes.set_xticks(np.arange(1, len(classes)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(classes)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.62 else style.INK  # above this share, white contrasts better with the blue
        axes.text(
            column,
            row - 0.02,
            f"{100 * share:.0f} %" if pictures[row] else "–",
            ha="center",
            va="bottom",
            fontsize=style.TITLE,
            color=colour,
        )
        axes.text(
            column,
            row + 0.1,
            f"{confusion[row, column]}",
            ha="center",
            va="top",
            fontsize=style.SMALL,
            color=colour,
        )
    return figure


def reliability(bins: Calibration) -> Figure:
    """Draw accuracy against confidence, the gap to perfect calibration, and where the pictures lie."""
    count = len(bins.counts)
    centres, width = (np.arange(count) + 0.5) / count, 1 / count
    filled = bins.counts > 0
    figure = _chart(5.4, 6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    style.dress(upper, f"Calibration error {100 * bins.error:.1f} %", y="accuracy", grid="y")
    upper.bar(centres, bins.accuracy, width, color=style.VAL, alpha=0.5, edgecolor="white", label="accuracy")
    gap, base = bins.confidence - bins.accuracy, bins.accuracy
    upper.bar(
        centres[filled], gap[filled], width, base[filled],
        color="none", edgecolor=style.GAP, hatch="////", linewidth=0.8, label="gap to confidence",
    )  # fmt: skip
    upper.plot((0, 1), (0, 1), color=style.MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    upper.set(xlim=(0, 1), ylim=(0, 1))
    style.legend(upper, loc="upper left")
    style.dress(lower, x="confidence", y="pictures")
    lower.bar(centres, bins.counts / bins.counts.sum(), width, color=style.TRAIN, edgecolor="white")
    for axis in (upper.yaxis, lower.xaxis, lower.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=" %", decimals=0))
    return figure


def pr_curves(labels: NDArray[np.int64], probabilities: NDArray[np.floating], classes: Sequence[str]) -> Figure:
    """Draw precision against recall, each class against the rest, with average precision in the legend.

    Average precision is the area under the steps, sum of (R_n - R_(n-1)) P_n, as scikit-learn defines it.
    A class without pictures has no curve.

    Args:
        labels: int64, (N,), true classes.
        probabilities: Floating point, (N, C).
        classes: C names in label order.
    """
    lines = []
    for index, name in enumerate(classes):
        if (labels == index).any():
            recall, precision = _precision_recall(labels == index, probabilities[:, index])
            average = float(np.diff(recall) @ precision[1:])
            again, colour = divmod(index, len(style.CLASS_COLOURS))
            looks: dict[str, Any] = {
                "color": style.CLASS_COLOURS[colour],
                "linestyle": style.LINES[again % len(style.LINES)],
            }
            lines.append((average, name, recall, precision, looks))
    lines.sort(key=lambda line: -line[0])
    mean = np.mean([line[0] for line in lines])
    figure = _chart(7, 4.8)
    axes = figure.subplots()
    style.dress(axes, f"Mean average precision {mean:.3f}", x="recall", y="precision", grid="both")
    for average, name, recall, precision, looks in lines:
        # matplotlib leaves out labels that begin with an underscore
        label = f" {name}  {average:.2f}" if name.startswith("_") else f"{name}  {average:.2f}"
        axes.step(recall, precision, where="pre", linewidth=1.6, label=label, **looks)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    outside = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5), "alignment": "left"}
    style.legend(axes, title="average precision", **outside)
    return figure


def _precision_recall(
    positive: NDArray[np.bool_], scores: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision at every distinct threshold, highest first, from recall 0 on."""
    order = np.argsort(-scores, kind="stable")
    # Pictures with equal scores pass a threshold together.
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[ends]
    return np.append(0.0, hits / hits[-1]), np.append(1.0, hits / (ends + 1))


def leaderboard(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw validation and test accuracy per model, best validation on top.

    Args:
        rows: A row per model with "name" and, as fractions or None, "val_acc", "test_acc", their deviations
            over seeds "val_acc_std" and "test_acc_std", and the reference's "reference_val_acc". If none was
            tested, test accuracy is not shown.
    """
    rows = sorted(rows, key=lambda row: row["val_acc"] or 0.0)  # the last is drawn on top
    figure = _chart(9, 1.3 + 0.72 * len(rows))
    axes = figure.subplots()
    style.dress(axes, x="accuracy", grid="x")
    places = np.arange(len(rows), dtype=float)
    tested = any(row["test_acc"] is not None for row in rows)
    upper = 0.19 if tested else 0.0
    _accuracy_bars(axes, places + upper, rows, "val_acc", "validation", style.VAL)
    if tested:
        _accuracy_bars(axes, places - upper, rows, "test_acc", "test", style.TEST)
    known = [place for place, row in enumerate(rows) if row["reference_val_acc"] is not None]
    if known:
        values = [rows[place]["reference_val_acc"] for place in known]
        axes.scatter(
            values, places[known] + upper, s=38, marker="D", color=style.INK, edgecolor="white", zorder=3,
            label="reference, validation",
        )  # fmt: skip
    names = [textwrap.fill(row["name"], 28, break_long_words=False, break_on_hyphens=False) for row in rows]
    longest = max(name.count("\n") for name in names)  # what tells runs of one model apart may take several lines
    axes.set_yticks(places, names, linespacing=1.0)
    axes.tick_params(axis="y", labelcolor=style.INK, labelsize=style.TEXT + (1 if longest < 2 else -1))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %", decimals=0))
    axes.set_xlim(0, 1)
    style.legend(axes, **_ABOVE, ncols=3)
    return figure


def _accuracy_bars(
    axes: Axes,
    places: NDArray[np.float64],
    rows: Sequence[Mapping[str, Any]],
    key: str,
    name: str,
    colour: str,
) -> None:
    """Draw one bar per row, its deviation where there is one, and the figures right of the axes."""
    axes.barh(places, [row[key] or 0.0 for row in rows], 0.34, color=colour, label=name)
    for place, row in zip(places, rows, strict=True):
        value, deviation = row[key], row[f"{key}_std"]
        shown = "not run" if value is None else f"{100 * value:.1f} %"
        if value is not None and deviation is not None:
            shown = f"{100 * value:.1f} ± {100 * deviation:.1f} %"
            axes.errorbar(value, place, xerr=deviation, ecolor=style.INK, elinewidth=1.2, capsize=2.5)
        # In a column of their own, where neither bars nor markers can run into them.
        transform = axes.get_yaxis_transform()
        axes.text(1.02, place, shown, transform=transform, va="center", fontsize=style.TEXT, color=style.INK)


def _chart(width: float, height: float) -> Figure:
    """Return an empty figure whose axes make room for their labels."""
    figure = style.new_figure(width, height)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    return figure
