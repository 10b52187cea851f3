"""Calibration of a trained network by one number, its temperature (Guo et al., 2017, arXiv:1706.04599)."""

import numpy as np
import torch.nn.functional as F
from torch import Tensor

CANDIDATES = np.geomspace(0.1, 10, 401)
"""The temperatures to choose from, 1.2 % apart, 1 among them."""


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature with which logits have the lowest cross-entropy.

    Dividing by it changes how sure a network is, but not which class it finds likeliest. Networks trained on smoothed
    or mixed labels, or by others that were, are less sure than they could be, and have temperatures below 1. If none
    of the candidates but the first or the last is best, the pictures are too few to tell, and the temperature is 1: a
    network that is right, or wrong, about all of them would ask for 0, or for infinity.

    Args:
        logits: Floating point, (N, C), of pictures that the network was not trained on.
        labels: int64, (N,), true classes.
    """
    exact = logits.double()
    losses = [float(F.cross_entropy(exact / float(temperature), labels)) for temperature in CANDIDATES]
    best = int(np.argmin(losses))
    return float(CANDIDATES[best]) if 0 < best < len(CANDIDATES) - 1 else 1.0
