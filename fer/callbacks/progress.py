"""The progress bar, and the speed that it shows."""

import logging
import time
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import RichProgressBarTheme

from fer.callbacks.history import History
from fer.classifier import EmotionClassifier

log = logging.getLogger(__name__)

Shown = dict[str, int | str | float | dict[str, float]]


class Throughput(Callback):
    """Logs the training speed of each epoch, `images_per_s`, over all devices and without validation."""

    def __init__(self) -> None:
        self.images = 0
        self.batches = 0
        self.seconds = 0.0
        self._last = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock for a run that resumes in the middle of an epoch."""
        self._last = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the epoch's clock."""
        self.images, self.batches, self.seconds, self._last = 0, 0, 0.0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch; for the epoch's last one, wait until the device has finished it and all before it."""
        if trainer.is_last_batch and pl_module.device.type != "cpu":
            torch.accelerator.synchronize(pl_module.device)
        self.images += len(batch[1]) * trainer.world_size
        self.batches += 1
        now = time.perf_counter()
        self.seconds += now - self._last
        self._last = now

    @property
    def images_per_s(self) -> float:
        """Images a second in this epoch so far."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch's speed, unless the run was resumed after the epoch's last batch."""
        if self.images:
            pl_module.log("images_per_s", self.images_per_s, rank_zero_only=True)


class TrainingBar(RichProgressBar):
    """Shows epoch, batches with the time left in the epoch, loss, accuracy, images/s and the time left in all.

    Args:
        throughput: Where the speed comes from.
    """

    def __init__(self, throughput: Throughput) -> None:
        # twice a second: drawing takes a core from the network, and reading the figures makes a GPU wait
        super().__init__(refresh_rate=2, theme=RichProgressBarTheme(metrics_format=".3f"))
        self.throughput = throughput
        self._shown: Shown = {}
        self._due = 0.0

    def _get_train_description(self, current_epoch: int) -> str:
        # Lightning counts epochs from 0; tables, charts and users count from 1
        return f"Epoch {current_epoch + 1}/{self.trainer.max_epochs}"

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the whole epoch's figures."""
        self._due = 0.0
        super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the validation's accuracy."""
        self._due = 0.0
        super().on_validation_end(trainer, pl_module)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Shown:
        """Return the figures beside the bar, read anew only when it is drawn again and not after every batch."""
        now = time.perf_counter()
        if now >= self._due:
            self._shown = self._figures(trainer, pl_module)
            self._due = now + 1 / self.refresh_rate
        return self._shown

    def _figures(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Shown:
        shown: Shown = {}
        if self.throughput.images:
            shown.update(cast(EmotionClassifier, pl_module).running())
        if "val/acc" in trainer.callback_metrics:
            shown["val acc"] = float(trainer.callback_metrics["val/acc"])
        speed = self.throughput.images_per_s
        if speed and trainer.max_epochs:
            batches = cast(int, trainer.num_training_batches)
            left = (trainer.max_epochs - trainer.current_epoch) * batches - trainer.fit_loop.epoch_loop.batch_idx - 1
            shown["images/s"] = f"{speed:.0f}"
            # batches of this epoch that were trained on before the run was resumed have taken no time here
            shown["left"] = clock(max(0, left) * self.throughput.seconds / self.throughput.batches)
        return shown


class EpochLines(Checkpoint):
    """Logs a line for each epoch, where there is no terminal to draw a bar in: in a notebook's shell or a log file.

    A checkpoint callback, as `fer.callbacks.history.History` is, so that it runs after that one.

    Args:
        history: The epochs' figures.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the epoch's figures, and how long the remaining epochs will take."""
        row, epochs = self.history.rows[-1], cast(int, trainer.max_epochs)
        left = (epochs - row["epoch"]) * row["seconds"] / row["epoch"]
        log.info(
            "Epoch %d/%d: train %.2f %%, val %.2f %%, %.0f images/s, %s left",
            row["epoch"],
            epochs,
            100 * row["train/acc"],
            100 * row["val/acc"],
            row.get("images_per_s", 0.0),
            clock(left),
        )


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
