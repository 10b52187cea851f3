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
from fer.errors import FerError, first_line
from fer.files import drafted

SHARE = 0.05  # of the training's time that writing `last.ckpt` may take


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces, and then puts it in its place.

    Lightning writes to the system's folder for temporary files and then moves the file. From another disk, moving means
    copying over the old checkpoint: if a kill or a full disk cuts that short, no whole one is left.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint in one step.

        Raises:
            FerError: If there is no room for it.
        """
        try:
            with drafted(Path(path)) as draft:
                torch.save(checkpoint, draft)
        except (OSError, RuntimeError) as error:  # the latter is what PyTorch makes of a full disk
            folder = Path(path).parent
            again = f"go on with python train.py resume={folder}" if (folder / "last.ckpt").is_file() else "start again"
            raise FerError(
                f"'{path}' cannot be written ({first_line(error)}); is the disk full? Make room, and {again}"
            ) from error


class RunCheckpoint(ModelCheckpoint):
    """Finds its files where the run's folder is now, so that a run can be moved and resumed.

    Lightning forgets the best score when the folder has changed, and would overwrite the best checkpoint with the first
    one after the resume.

    Without a monitor, its checkpoints are there to resume from. It then skips epochs until twenty times as long as the
    last write took has passed: on a GPU, every epoch of a small network would otherwise wait for it. A run that is
    killed then repeats the last few epochs; one that is stopped is saved at once. With a monitor, it writes only the
    network, without what is needed only to continue the training, which is twice as large.
    """

    _writing = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._budget = Budget(SHARE)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget a best network from after the point at which a killed run resumes, and one that is damaged.

        The epochs after that point are trained again, on a GPU with not quite the same results, and the network that
        was the best before it has been overwritten.
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
        """Write the epoch's checkpoint if it is due."""
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
        """Leave out what the best network does not need, after another callback has put the averaged weights in."""
        if self._writing and self.monitor is not None:
            for name in ("optimizer_states", "current_model_state"):
                checkpoint.pop(name, None)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Save the state on an interruption, unless the training diverged or was within a step or an epoch's end.

        A step that was half done, and is done again on resuming, would lead to other weights than one that was done
        once; at the end of an epoch, a best score may be known whose network is not written yet. After a second Ctrl-C
        or an error at such a point, the run resumes from what was saved before.
        """
        batch: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        epoch: Any = trainer.fit_loop.epoch_progress.current
        whole = batch.started == batch.completed and epoch.processed == epoch.completed
        if whole and not isinstance(exception, DivergedError):
            super().on_exception(trainer, pl_module, exception)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Rewrite the paths to lie in the run's folder."""
        folder = Path(str(self.dirpath))

        def here(path: str) -> str:
            return str(folder / Path(path).name) if path else path

        names = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: here(state_dict[name]) for name in names if name in state_dict}
        kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "dirpath": self.dirpath, "best_k_models": kept})


def _steps(path: Path) -> float:
    """Return the step after which a checkpoint was written; infinity for one that cannot be read."""
    try:
        return float(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    except Exception:  # whatever unpickling a damaged file raises
        return math.inf
