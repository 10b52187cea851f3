"""A running mean of the weights, which validates, is saved and is what a run leaves."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

EVERY = 4  # steps between two updates: a mean over hundreds of steps does not see the difference


class ExponentialAverage(WeightAveraging):
    """Exponential moving average of weights and batch norm statistics (Polyak and Juditsky, 1992).

    Validation, test and `best.ckpt` see the mean; training goes on with its own weights, which `last.ckpt` keeps
    too, so that a resumed run goes on as if it had not stopped.

    Args:
        decay: Share of the old mean that one step keeps; 0.999 averages over about the last thousand steps. At the
            start it is lower, so that the mean does not hold on to random weights.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.swapped = False
        super().__init__(multi_avg_fn=self._update)

    @torch.no_grad()
    def _update(self, averages: Any, currents: Any, updates: Tensor | int) -> None:
        count = int(updates)
        keep = min(self.decay**EVERY, (1 + count) / (10 + count))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, 1 - keep)
        else:  # batch norm's count of batches
            torch._foreach_copy_(averages, currents)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether to update behind this step."""
        return step_idx is not None and step_idx % EVERY == 0

    def _swap_models(self, pl_module: L.LightningModule) -> None:
        self.swapped = not self.swapped
        super()._swap_models(pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let go of the mean: what is validated from here on is what was loaded."""
        self._average_model = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the training its own weights back where a validation is stopped, before they are saved."""
        if self.swapped:
            self._swap_models(pl_module)
