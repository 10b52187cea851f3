"""Muon: gradient descent whose steps change every direction of a convolution equally much."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from fer.replay import Replayed

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the published iteration
ITERATIONS = 5


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Return approximately the nearest matrix whose singular values are all 1, by Newton-Schulz iteration.

    Five iterations of a polynomial that is steep at zero bring the singular values that are not far below the largest
    to about 0.7 to 1.2, which serves as well as 1 would (Jordan et al., 2024, "Muon: An optimizer for hidden layers in
    neural networks"); smaller ones grow a few hundredfold.

    Args:
        matrix: Float, (M, N).
        dtype: What to multiply in; bfloat16 is exact enough.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).to(dtype)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.T).to(matrix.dtype)


def hidden(parameter: Tensor) -> bool:
    """Return whether a parameter is a convolution over several channels: what Muon is for.

    First layers on grey pictures, depthwise convolutions, linear layers, gains and offsets are not.
    """
    return parameter.ndim == 4 and parameter.shape[1] > 1


class Muon(Optimizer):
    """Muon for convolutions over several channels, Nesterov's momentum for everything else.

    (`torch.optim.Muon` takes only matrices.)

    A convolution is treated as a matrix with one row per filter. Its step is the orthogonalised momentum, times the
    learning rate, times √(rows / columns) if there are more rows than columns. The size of the step does not depend
    on the size of the gradient, and small directions learn as fast as large ones: fewer steps reach the same loss.
    Only convolutions are decayed, by the learning rate times the weight decay, decoupled from the gradient.

    Args:
        params: Parameters, or groups of them with their own "lr" and "weight_decay".
        lr: Learning rate.
        momentum: Share of the mean gradient that one step keeps.
        weight_decay: Of convolutions.
        dtype: What the matrices are multiplied in.
        replay: Replay a step's many small operations on a CUDA device; see `fer.replay`.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.1,
        dtype: torch.dtype = torch.bfloat16,
        replay: bool = False,
    ) -> None:
        self.dtype = dtype
        self.replay = replay
        self.replayed: dict[Tensor, Replayed] = {}  # keyed by the first of a group's convolutions
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step, and return what the closure returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._change(group)
        return loss

    def _change(self, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        given = [parameter for parameter in group["params"] if parameter.grad is not None]
        for parameter in given:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter.grad)
        if others := [parameter for parameter in given if not hidden(parameter)]:
            gradients, means = [parameter.grad for parameter in others], self._means(others)
            torch._foreach_mul_(means, momentum)
            torch._foreach_add_(means, gradients)
            torch._foreach_add_(others, torch._foreach_add(gradients, means, alpha=momentum), alpha=-lr)
        if convolutions := [parameter for parameter in given if hidden(parameter)]:
            changes = self._changing(convolutions, momentum)(*[parameter.grad for parameter in convolutions])
            torch._foreach_mul_(convolutions, 1 - lr * group["weight_decay"])
            torch._foreach_add_(convolutions, changes, alpha=-lr)

    def _means(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        return [self.state[parameter]["momentum_buffer"] for parameter in parameters]

    def _changing(self, convolutions: Sequence[Tensor], momentum: float) -> Callable[..., list[Tensor]]:
        """Return a function that makes changes of gradients; a replayed one is kept from step to step."""
        if not self.replay:
            return partial(self._changes, convolutions, momentum)
        first = convolutions[0]
        if first not in self.replayed:
            self.replayed[first] = Replayed(partial(self._changes, convolutions, momentum))
        return self.replayed[first]

    def _changes(self, convolutions: Sequence[Tensor], momentum: float, *gradients: Tensor) -> list[Tensor]:
        changes = []
        for mean, gradient in zip(self._means(convolutions), gradients, strict=True):
            mean.lerp_(gradient, 1 - momentum)
            ahead = gradient.lerp(mean, momentum).permute(0, 2, 3, 1)  # the order of channels_last: no copy
            matrix = ahead.flatten(1)
            change = orthogonal(matrix, self.dtype).reshape(ahead.shape).permute(0, 3, 1, 2)
            rows, columns = matrix.shape
            changes.append(change * max(1.0, rows / columns) ** 0.5)
        return changes
