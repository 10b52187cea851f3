"""Figures made of pictures: galleries, mistakes, augmentation, Grad-CAM."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fer.figures.style import INK, SMALL, TEXT, message, new_figure

CELL = 1.4
"""Width and height of a picture in inches; "surprise → disgust 0.97" fits above it."""

GUTTER = 0.12
HEADING = 0.24
LABEL = 0.9
COLUMNS = 8
"""Pictures per row where the caller does not choose."""


def face_grid(images: NDArray[np.uint8], titles: Sequence[str], columns: int) -> Figure:
    """Draw a gallery.

    Args:
        images: uint8, (N, H, W).
        titles: N titles.
        columns: Pictures per row.
    """
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    pitch = CELL + HEADING + GUTTER
    figure = new_figure(columns * (CELL + GUTTER) + GUTTER, rows * pitch)
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(index, columns)
        _place(figure, image, title, left=GUTTER + column * (CELL + GUTTER), top=HEADING + row * pitch)
    return figure


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    limit: int = 16,
) -> Figure:
    """Draw the wrong predictions that the model was surest of, each as "true → predicted 0.97".

    Args:
        images: uint8, (N, H, W).
        labels: int64, (N,), true classes.
        probabilities: Floating point, (N, C).
        classes: C names in label order.
        limit: Number of pictures at most.
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    if not len(wrong):
        return message(f"no mistake among {len(labels)} pictures")
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit]
    titles = [f"{classes[labels[i]]} → {classes[predicted[i]]} {confidence[i]:.2f}" for i in worst]
    return face_grid(images[worst], titles, COLUMNS)


def raw_and_augmented(raw: NDArray[np.uint8], augmented: NDArray[np.uint8], titles: Sequence[str]) -> Figure:
    """Draw each picture at the left of a row and its augmented versions to the right of it.

    Args:
        raw: uint8, (N, H, W).
        augmented: uint8, (N, K, H, W).
        titles: N titles, one per row.
    """
    rows, versions = augmented.shape[:2]
    first = LABEL + CELL + 3 * GUTTER  # a wider gap keeps the original apart from what was made of it
    width, height = first + versions * (CELL + GUTTER), HEADING + rows * (CELL + GUTTER)
    figure = new_figure(width, height)
    for row, title in enumerate(titles):
        top = HEADING + row * (CELL + GUTTER)
        middle = 1 - (top + CELL / 2) / height
        figure.text((LABEL - GUTTER) / width, middle, title, ha="right", va="center", fontsize=TEXT, color=INK)
        _place(figure, raw[row], "raw" if row == 0 else "", left=LABEL, top=top)
        for version, image in enumerate(augmented[row]):
            heading = "augmented" if row == version == 0 else ""
            _place(figure, image, heading, left=first + version * (CELL + GUTTER), top=top)
    return figure


def grad_cam_grid(images: NDArray[np.uint8], heatmaps: NDArray[np.floating], titles: Sequence[str]) -> Figure:
    """Draw each picture above the same picture with its Grad-CAM heatmap.

    Args:
        images: uint8, (N, H, W).
        heatmaps: Floating point, (N, H, W), 0 to 1.
        titles: N titles.
    """
    columns = min(len(images), COLUMNS)
    blocks = -(-len(images) // columns)
    pitch = HEADING + 2 * CELL + 2 * GUTTER
    figure = new_figure(columns * (CELL + GUTTER) + GUTTER, blocks * pitch)
    for index, (image, heat, title) in enumerate(zip(images, heatmaps, titles, strict=True)):
        block, column = divmod(index, columns)
        left, top = GUTTER + column * (CELL + GUTTER), HEADING + block * pitch
        _place(figure, image, title, left=left, top=top)
        _place(figure, _overlay(image, heat), "", left=left, top=top + CELL + GUTTER / 3)
    return figure


def _overlay(image: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Blend a heatmap over a grey picture, clear where it is cold: uint8, (H, W, 3)."""
    grey = np.repeat(image[..., None] / 255.0, 3, axis=2)
    colour = colormaps["inferno"](heat)[..., :3]
    alpha = 0.7 * heat[..., None]
    blend: NDArray[np.float64] = 255 * ((1 - alpha) * grey + alpha * colour)
    return blend.round().astype(np.uint8)


def _place(figure: Figure, image: NDArray[np.uint8], title: str, *, left: float, top: float) -> None:
    """Put a picture at a place in inches; a layout engine needs seconds for a hundred pictures."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + CELL) / height, CELL / width, CELL / height))
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=SMALL, color=INK, pad=4)
