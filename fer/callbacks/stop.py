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
    """Early stopping that stays in effect when a run that it stopped is resumed, say for its test."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Train no further epoch if the patience had run out."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class CleanStop(Callback):
    """Turns the first Ctrl-C into a stop before the next batch; a second one stops at once.

    When several processes train together, it handles SIGTERM too: a single process leaves that to Lightning.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals; only the main thread may."""
        if threading.current_thread() is threading.main_thread():
            taken = [signal.SIGINT]
            if trainer.world_size > 1:  # Lightning's own handler has the processes communicate, wherever each is
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
        """Stop at a point where Lightning counts the step before as done and this one as not begun."""
        if self.wanted(trainer):
            raise KeyboardInterrupt

    def wanted(self, trainer: L.Trainer) -> bool:
        """Return whether a stop was requested, in any of the processes; all of them must call this."""
        if trainer.world_size > 1:  # the signal reaches the processes at different batches
            return trainer.strategy.reduce_boolean_decision(self.requested, all=False)
        return self.requested

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Let the first of several processes outlive the others and say what became of the run.

        Every five seconds, Lightning checks whether one of them has failed, and if so kills the first one; it would do
        so when they all stop. Ending the others remains the launcher's task.
        """
        launcher = trainer.strategy.launcher
        if isinstance(exception, KeyboardInterrupt) and isinstance(launcher, _SubprocessScriptLauncher):
            watched, launcher.procs = launcher.procs, list(launcher.procs)
            watched.clear()

    def restore(self) -> None:
        """Restore the signal handlers; only after the last checkpoint is saved, which Ctrl-C would cut short."""
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._request:  # otherwise Lightning has put back what was there before
                signal.signal(number, handler)
        self._previous = {}
