"""Checkpoints of a run whose folder may be moved."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from fer.callbacks.budget import Budget
from fer.classifier import DivergedError
from fer.files import drafted

SHARE = 0.05  # of the training's time that writing `last.ckpt` may take


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside those that they replace.

    Lightning writes them to the system's folder for temporary files and moves them. From another disk that is a copy
    over the old one, of which a kill or a full disk would leave nothing whole.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint in one step."""
        with drafted(Path(path)) as draft:
            torch.save(checkpoint, draft)


class RunCheckpoint(ModelCheckpoint):
    """Finds its files where the run's folder lies now, so that a run can be moved and resumed.

    Lightning forgets the best score when the folder is another than before, and would overwrite the best
    checkpoint with the first one after the resume.

    Without a monitor, what it writes is there to go on from, and it leaves epochs out that take less than twenty times
    as long as writing does: on a GPU every epoch of a small network would wait for it. A run that is killed then
    repeats the last few of them; one that is stopped is written at once. With a monitor it writes the network alone,
    and not what only going on with the training would need, which is twice as large.
    """

    _writing = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._budget = Budget(SHARE)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget a best network from behind the point that a killed run goes on from, and one that is damaged.

        What comes after that is trained again, on a GPU not quite as before, and the network that was best before it is
        overwritten.
        """
        super().on_train_start(trainer, pl_module)
        best = Path(self.best_model_path)
        if self.monitor is None or not best.is_file():
            return
        if _steps(best) > trainer.global_step:
            self.best_k_models.clear()
            self.best_model_path = self.kth_best_model_path = ""
            self.best_model_score = None

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch's checkpoint where it is due."""
        if self.monitor is not None or self._due(trainer):
            with self._budget.spending():
                super().on_train_epoch_end(trainer, pl_module)

    def _due(self, trainer: L.Trainer) -> bool:
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due = ends or self._budget.affordable()
        return bool(trainer.strategy.broadcast(due))  # all processes take part in writing

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        self._writing = True
        try:
            super()._save_checkpoint(trainer, filepath)
        finally:
            self._writing = False

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave out what the best network does not need, behind the callback that puts the averaged weights in."""
        if self._writing and self.monitor is not None:
            for name in ("optimizer_states", "current_model_state"):
                checkpoint.pop(name, None)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keep the state before an interruption, but not that of a training which diverged, within a step or an end.

        A step that is done by half, and done again when the training goes on, would leave other weights than one that
        was done once; at the end of an epoch, a best score may be known whose network is not written yet. Behind a
        second Ctrl-C or an error there, the run goes on from what was kept before.
        """
        batch: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        epoch: Any = trainer.fit_loop.epoch_progress.current
        whole = batch.started == batch.completed and epoch.processed == epoch.completed
        if whole and not isinstance(exception, DivergedError):
            super().on_exception(trainer, pl_module, exception)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the paths to be below the run's folder."""
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in names if name in state_dict}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath, "best_k_models": kept})


def _steps(path: Path) -> float:
    """Return behind which step a checkpoint was written; infinity for one that cannot be read."""
    try:
        return float(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception:  # whatever unpickling a damaged file raises
        return math.inf
