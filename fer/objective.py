"""What a training minimises: cross-entropy against labels, shares of classes, or several classes that are all right."""

import math

import torch.nn.functional as F
from torch import Tensor


def likeliest(logits: Tensor, right: Tensor) -> Tensor:
    """Return which of several right classes a network finds likeliest: int64, (N,).

    With it as the target, the loss is the negative logarithm of the largest of their probabilities (Barsoum et al.,
    2016).

    Args:
        logits: Float32, (N, C).
        right: bool, (N, C), the classes that all count as right.
    """
    return logits.detach().masked_fill(~right, -math.inf).argmax(dim=1)


def as_shares(targets: Tensor, classes: int) -> Tensor:
    """Return targets as float32 shares of classes, (N, C): labels, int64 (N,), or shares, float (N, C)."""
    return (targets if targets.is_floating_point() else F.one_hot(targets, classes)).float()


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the mean cross-entropy, which is the same for labels and for the shares of one that say as much.

    Args:
        logits: Float32, (N, C).
        targets: int64 (N,), labels; or float (N, C), shares that sum to one.
        weights: Weight of each class, (C,); None for equal ones.
        smoothing: Share of every target that goes to all classes alike (Szegedy et al., 2016).
    """
    if weights is None and not targets.is_floating_point():
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    targets = as_shares(targets, logits.shape[1])  # with int labels and weights, cross_entropy would wait for the GPU
    # torch would divide by the number of faces, and so weight one-hot targets differently from the same labels
    weight = len(targets) if weights is None else (targets * weights).sum()
    total = F.cross_entropy(logits, targets, weights, reduction="sum", label_smoothing=smoothing)
    return total / weight
