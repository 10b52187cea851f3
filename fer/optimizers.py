"""Optimisers over groups of a network's parameters, and the schedule of the learning rate."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from fer.config import OptimConfig
from fer.errors import FerError
from fer.muon import Muon


@runtime_checkable
class Grouped(Protocol):
    """A network whose parts train at different rates."""

    def parameter_groups(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """Return parameters with their share of the learning rate."""


def grouped(network: nn.Module, optim: OptimConfig) -> list[dict[str, Any]]:
    """Return a network's trainable parameters in groups for an optimiser, with learning rates and weight decays.

    Raises:
        FerError: If there are none, or the network's own groups do not hold each of them once.
    """
    parts = [(1.0, list(network.parameters()))]
    if isinstance(network, Grouped):
        parts = [(share, list(parameters)) for share, parameters in network.parameter_groups()]
    _check_whole(network, [parameter for _, parameters in parts for parameter in parameters])
    groups = []
    for share, parameters in parts:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        # gains and offsets are not decayed: decay only fights the batch norm that follows
        for decayed in (True, False):
            chosen = [parameter for parameter in trained if (parameter.ndim > 1) == decayed]
            decay = optim.weight_decay if decayed else 0.0
            if chosen:
                groups.append({"params": chosen, "lr": optim.lr * share, "weight_decay": decay})
    return groups


def _check_whole(network: nn.Module, found: list[nn.Parameter]) -> None:
    names = {id(parameter): name for name, parameter in network.named_parameters() if parameter.requires_grad}
    if not names:
        raise FerError("model.network: it has no parameter to train")
    if not all(isinstance(parameter, nn.Parameter) for parameter in found):
        raise FerError("model.network: its parameter_groups must give pairs of a share and a list of parameters")
    times = Counter(id(parameter) for parameter in found)
    for place, name in names.items():
        if times[place] != 1:
            raise FerError(f"model.network: its parameter_groups give {name} {times[place]} times, not once")


def build_optimizer(network: nn.Module, optim: OptimConfig, low: torch.dtype, replay: bool) -> Optimizer:
    """Return the configured optimiser over the trainable parameters.

    Args:
        network: The network to train.
        optim: Optimiser, rates and decay; AdamW has no use for `optim.momentum`.
        low: The type in which Muon multiplies its matrices.
        replay: Whether Muon replays its many small operations; see `fer.replay`.
    """
    groups, momentum = grouped(network, optim), optim.momentum
    if optim.optimizer == "adamw":
        return AdamW(groups, lr=optim.lr)
    if optim.optimizer == "muon":
        return Muon(groups, optim.lr, momentum, dtype=low, replay=replay)
    # one operation over all tensors, as on a GPU by default; Lightning clips no gradients for the fused one
    return SGD(groups, lr=optim.lr, momentum=momentum, nesterov=momentum > 0, foreach=True)


def lr_factor(schedule: str, step: int, total: int, warmup: int) -> float:
    """Return the learning rate of a step as a share of its peak.

    Args:
        schedule: "cosine" and "linear" fall to zero at `total`, "constant" stays.
        step: Steps done.
        total: Steps of the whole training.
        warmup: Steps over which the rate rises linearly, to 1 in the last of them.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1 - progress if schedule == "linear" else 1.0
