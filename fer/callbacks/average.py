"""A running mean of the weights: what is validated, saved, and left as a run's result."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

EVERY = 4  # steps between two updates: a mean over hundreds of steps does not see the difference


class ExponentialAverage(WeightAveraging):
    """Exponential moving average of weights and batch norm statistics (Polyak and Juditsky, 1992).

    Validation, test and `best.ckpt` see the mean; training goes on with its own weights, which `last.ckpt` keeps
    too, so that a resumed run goes on as if it had not stopped.

    Args:
        decay: Largest share of the old mean that one step keeps; 0.999 averages over the last thousand steps. Before
            step 9 / (1 - decay) the share is smaller, which gives a mean over the last ninth of the steps so far, so
            that the initial weights do not linger. Trainings shorter than that never reach this decay, and a higher
            one changes nothing.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.swapped = False
        super().__init__()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update after every fourth step; reading PyTorch's own counter of them would wait for the GPU."""
        step = trainer.global_step - 1
        if step % EVERY == 0 and trainer.global_step > self._latest_update_step:
            self._update(pl_module, step // EVERY)
            self._latest_update_step = trainer.global_step

    @torch.no_grad()
    def _update(self, module: L.LightningModule, count: int) -> None:
        assert self._average_model is not None
        keep = min(self.decay**EVERY, (1 + count) / (10 + count)) if count else 0.0
        means: list[Tensor] = []
        values: list[Tensor] = []
        for mean, value in zip(_state(self._average_model.module), _state(module), strict=True):
            if mean.is_floating_point():
                means.append(mean)
                values.append(value)
            else:  # batch norm's count of batches
                mean.copy_(value)
        torch._foreach_lerp_(means, values, 1 - keep)
        self._average_model.n_averaged += 1

    def _swap_models(self, pl_module: L.LightningModule) -> None:
        self.swapped = not self.swapped
        super()._swap_models(pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Discard the mean: what is evaluated from here on are the weights that were loaded."""
        self._average_model = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """If a validation is interrupted, give the training its own weights back before they are saved."""
        if self.swapped:
            self._swap_models(pl_module)


def _state(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())
