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

    What is not trained and may hold anything (an attention mask's infinities, say) is copied.

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
        """Update after every fourth step and an epoch's last; reading PyTorch's counter would wait for the GPU."""
        done = trainer.global_step
        if done > self._latest_update_step and (done % EVERY == 1 or trainer.is_last_batch):
            self._update(pl_module, done - 1, done - self._latest_update_step)
            self._latest_update_step = done

    @torch.no_grad()
    def _update(self, module: L.LightningModule, step: int, added: int) -> None:
        assert self._average_model is not None
        count = step / EVERY
        keep = min(self.decay**EVERY, (1 + count) / (10 + count)) ** (added / EVERY) if step else 0.0
        averaged: tuple[list[Tensor], list[Tensor]] = ([], [])  # means, and values of the same
        copied: tuple[list[Tensor], list[Tensor]] = ([], [])
        for (name, mean), (_, value) in zip(_state(self._average_model.module), _state(module), strict=True):
            trained = value.requires_grad or name.endswith(("running_mean", "running_var"))
            means, values = averaged if trained else copied
            means.append(mean)
            values.append(value)
        torch._foreach_lerp_(*averaged, 1 - keep)
        torch._foreach_copy_(*copied)
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


def _state(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(module.named_parameters(), module.named_buffers())
