"""A trained model's logits, for pictures as they are and averaged over test-time views."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.errors import FerError

VIEWS: dict[str, Sequence[int]] = {"plain": (0,), "flip": (0, 5), "ten": range(10)}
"""The test-time views, as indices into what `ten_views` returns: the picture alone, with its mirror image, and both
at five places."""

SHIFT = 1 / 16
"""How far the ten views shift a picture, as a share of its sides: 3 of 48 pixels."""


def average(logits: Iterable[Tensor]) -> Tensor:
    """Return the logarithm, (N, C), of the mean probabilities of several sets of logits (N, C).

    In logarithms throughout: the probabilities of a confident network would underflow.
    """
    stack = torch.stack([some.log_softmax(1) for some in logits])
    return stack.logsumexp(0) - math.log(len(stack))


def ten_views(faces: Tensor) -> list[Tensor]:
    """Return pictures, uint8 (N, 1, H, W), at five places, the centre first, and the mirror images of these.

    The ten crops of Krizhevsky et al., 2012, for pictures that fill their frame: they are shifted to the four
    corners, and the gap is filled with the nearest pixel.
    """
    height, width = faces.shape[-2:]
    down, right = max(1, round(SHIFT * height)), max(1, round(SHIFT * width))
    padded = F.pad(faces.float(), (right, right, down, down), mode="replicate").to(faces.dtype)
    corners = [(down, right), (0, 0), (0, 2 * right), (2 * down, 0), (2 * down, 2 * right)]
    places = [padded[..., y : y + height, x : x + width] for y, x in corners]
    return [*places, *(place.flip(-1) for place in places)]


def most_at_once(device: torch.device, batch_size: int) -> int:
    """Return how many faces to evaluate at a time.

    Twice as many as in a training's batch, which needs no more memory since no gradients follow; but on a CPU at most
    64, because the feature maps of more do not fit into its caches, and elsewhere at most 256.
    """
    return min(2 * batch_size, 64 if device.type == "cpu" else 256)


def in_batches(images: NDArray[np.uint8], size: int) -> Iterator[Tensor]:
    """Yield pictures, uint8 (N, H, W), as `predict` takes them: uint8 (n, 1, H, W), n being `size` but for the last."""
    for start in range(0, len(images), size):
        yield torch.from_numpy(np.array(images[start : start + size]))[:, None]


def predict(
    model: nn.Module,
    batches: Iterable[Tensor],
    device: torch.device,
    views: Iterable[str] = VIEWS,
) -> dict[str, Tensor]:
    """Return a model's logits for each of some of `VIEWS`, computed in float32 as validation does in training.

    Args:
        model: Maps uint8 (N, 1, H, W) to logits (N, C); in evaluation mode, on `device`.
        batches: Faces, uint8 (n, 1, H, W), N of them in all.
        device: Where to compute.
        views: Which of them; only the pictures that these need are computed.

    Returns:
        Float32 tensors (N, C) on the CPU: "plain" logits, and for "flip" and "ten" the logarithm of the mean of the
        views' probabilities, divided by the model's temperature for them if it has any.

    Raises:
        FerError: If the faces are something else.
    """
    temperatures: Mapping[str, float] = getattr(model, "view_temperatures", {})
    found: dict[str, list[Tensor]] = {view: [] for view in views}
    wanted = sorted({place for view in found for place in VIEWS[view]})
    with torch.inference_mode():
        for faces in batches:
            if faces.dtype != torch.uint8 or faces.ndim != 4 or faces.shape[1] != 1:
                # grey from 0 to 1, or colour for a MobileNetV2, would give wrong answers without a word
                given = f"{str(faces.dtype).removeprefix('torch.')} {tuple(faces.shape)}"
                raise FerError(f"predict takes grey faces from 0 to 255, uint8 (n, 1, H, W), not {given}")
            pictures = ten_views(faces.to(device))
            seen = {place: model(pictures[place]).float().cpu() for place in wanted}
            for view, logits in found.items():
                of_view = [seen[place] for place in VIEWS[view]]
                logits.append(average(of_view) / temperatures.get(view, 1.0) if len(of_view) > 1 else of_view[0])
    return {view: torch.cat(logits) for view, logits in found.items()}
