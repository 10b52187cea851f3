"""Ctrl-C and SIGTERM between two batches, so that the last checkpoint holds a whole step."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

log = logging.getLogger(__name__)


class Patience(EarlyStopping):
    """Early stopping that a run which had stopped early remembers when it is resumed, say for its test."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train no further epoch where the patience was at its end."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class CleanStop(Callback):
    """Turns the first Ctrl-C into a stop before the next batch; a second one stops at once.

    Where several processes train together, SIGTERM too: one process alone leaves it to Lightning.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            taken = [signal.SIGINT]
            if trainer.world_size > 1:  # Lightning's own handler has the processes talk, wherever each of them is
                taken.append(signal.SIGTERM)
            self._previous = {number: signal.signal(number, self._request) for number in taken}

    def _request(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        log.warning("Stopping after this batch with a last checkpoint; Ctrl-C once more stops at once.")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop where Lightning counts the step before as done and this one as not begun."""
        if self.wanted(trainer):
            raise KeyboardInterrupt

    def wanted(self, trainer: L.Trainer) -> bool:
        """Return whether a stop was asked for; for several processes, which must all ask, in any of them."""
        if trainer.world_size > 1:  # the signal reaches several processes between different batches
            return trainer.strategy.reduce_boolean_decision(self.requested, all=False)
        return self.requested

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Let the first of several processes outlive the others and say what became of the run.

        Lightning looks every five seconds whether one of them failed, and kills the first one if so: it would when
        they all stop. Ending the others remains the launcher's task.
        """
        launcher = trainer.strategy.launcher
        if isinstance(exception, KeyboardInterrupt) and isinstance(launcher, _SubprocessScriptLauncher):
            watched, launcher.procs = launcher.procs, list(launcher.procs)
            watched.clear()

    def restore(self) -> None:
        """Give the signals back; not before the last checkpoint is saved, which one more Ctrl-C would cut short."""
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._request:  # else Lightning has put back what was there before itself
                signal.signal(number, handler)
        self._previous = {}
