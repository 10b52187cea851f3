"""Mixup: a second face shines through every face, and its target counts to the same share (Zhang et al., 2018)."""

import torch
from torch import Tensor
from torch.distributions import Beta

from fer.objective import as_shares


def mixed(faces: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Mix every face of a batch with its neighbour, by a share of its own.

    The face keeps at least half of itself, so that its label stays what the mixture shows most of; torchvision's
    `MixUp` draws one share for the whole batch, which may exceed a half. Draws from torch's global generator.

    Args:
        faces: uint8, (N, 1, H, W), in random order.
        alpha: Parameter of the beta distribution that the shares come from, above 0: 0.2 leaves most faces nearly
            unchanged, 1 draws uniformly.

    Returns:
        Faces, uint8 (N, 1, H, W), and the neighbours' shares in them, float32 (N,), at most a half.
    """
    share = Beta(alpha, alpha).sample((len(faces),))  # on the CPU: not every device can draw from it
    share = torch.minimum(share, 1 - share).to(faces.device)
    mixture = faces.float().lerp_(faces.roll(1, 0).float(), share.view(-1, 1, 1, 1)).round_()
    return mixture.to(torch.uint8), share


def mixed_targets(targets: Tensor, num_classes: int, share: Tensor) -> Tensor:
    """Mix the targets of a batch as its faces were.

    Args:
        targets: int64 (N,), labels, or float (N, C), shares that sum to one.
        num_classes: C.
        share: The neighbours' shares, (N,).

    Returns:
        Float32 (N, C).
    """
    targets = as_shares(targets, num_classes)
    return targets.lerp(targets.roll(1, 0), share.view(-1, 1))
