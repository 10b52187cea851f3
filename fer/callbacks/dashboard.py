"""What TensorBoard shows besides the scalars."""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fer.callbacks.budget import Budget
from fer.classifier import EmotionClassifier
from fer.config import TrainConfig
from fer.data.datamodule import FaceDataModule
from fer.errors import first_line
from fer.figures import confusion_matrix, mistakes, raw_and_augmented, rgb_array
from fer.files import markdown_table
from fer.naming import INERT

log = logging.getLogger(__name__)

LAYOUT = {
    "Training and validation": {
        "accuracy": ["Multiline", ["train/acc", "val/acc"]],
        "loss": ["Multiline", ["train/loss", "val/loss"]],
    },
    "Classes": {"F1 on the validation split": ["Multiline", ["val_f1/.*"]]},
}
AUGMENTED_COPIES = 7
SHARE = 0.05  # of the training's time that the pictures of its best epochs may take


class Dashboard(Callback):
    """Adds charts, pictures, precision-recall curves and the model graph to the run's TensorBoard events.

    Args:
        data: The data module, for the faces in the pictures.
        best: The callback that keeps the best checkpoint, and so knows which epochs are worth a picture.
    """

    def __init__(self, data: FaceDataModule, best: ModelCheckpoint) -> None:
        self.data = data
        self.best = best
        self._budget = Budget(SHARE)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the layout, the graph and how training faces are augmented."""
        writer = _writer(trainer)
        if writer is None or trainer.ckpt_path is not None:  # a resumed run has shown them
            return
        writer.add_custom_scalars(LAYOUT)
        writer.add_text("data/training faces", self._counts())
        figure = raw_and_augmented(*self._augmented())
        writer.add_image("faces/raw and augmented", rgb_array(figure), dataformats="HWC")
        _add_graph(writer, cast(EmotionClassifier, pl_module), self.data.config.size)

    def _counts(self) -> str:
        """Return the class counts before and after oversampling as a Markdown table."""
        rows = [(name, *map(str, counts)) for name, counts in self.data.counts.items()]
        return markdown_table(("", *self.data.all_faces.classes), rows)

    def _augmented(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[str]]:
        """Return a face of each class, what training makes of it, and the classes' names."""
        faces = self.data.faces["train"]
        rows = np.array([np.flatnonzero(faces.labels == label)[0] for label in np.unique(faces.labels)])
        raw, labels = np.asarray(faces.images[rows]), faces.labels[rows]
        copies = [self.data.augmenter(raw, labels, seed) for seed in range(AUGMENTED_COPIES)]
        return raw, np.stack(copies, axis=1), [faces.classes[label] for label in labels]

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show this epoch's precision-recall curves; for the best epochs and the last, confusions and mistakes too.

        Drawing these two takes half a second, for which a GPU would wait after every epoch: where epochs are short, not
        all of the best ones get them.
        """
        writer = _writer(trainer)
        if writer is None or trainer.state.fn != TrainerFn.FITTING:
            return
        logits, labels = (tensor.cpu() for tensor in cast(EmotionClassifier, pl_module).evaluated())
        probabilities = logits.softmax(dim=1)
        classes, step = self.data.faces["val"].classes, trainer.current_epoch + 1
        for label, name in enumerate(classes):
            writer.add_pr_curve(f"validation/{name}", labels == label, probabilities[:, label], step)
        if step == trainer.max_epochs or (self._improved(trainer) and self._budget.affordable()):
            with self._budget.spending():
                self._draw(writer, logits, probabilities, labels, step)

    def _draw(self, writer: SummaryWriter, logits: Tensor, probabilities: Tensor, labels: Tensor, step: int) -> None:
        classes = self.data.faces["val"].classes
        counts = multiclass_confusion_matrix(logits, labels, len(classes))
        matrix = confusion_matrix(counts.numpy(), classes)
        writer.add_image("validation/confusion matrix", rgb_array(matrix), step, dataformats="HWC")
        images = self.data.faces["val"].images
        gallery = mistakes(images, labels.numpy(), probabilities.numpy(), classes)
        writer.add_image("validation/surest mistakes", rgb_array(gallery), step, dataformats="HWC")

    def _improved(self, trainer: L.Trainer) -> bool:
        """Return whether no earlier epoch was as good; this one's checkpoint is written only afterwards."""
        best, monitor = self.best.best_model_score, cast(str, self.best.monitor)
        if best is None:
            return True
        now = trainer.callback_metrics[monitor]
        return bool(now > best if self.best.mode == "max" else now < best)


def _writer(trainer: L.Trainer) -> SummaryWriter | None:
    """Return the TensorBoard writer of the process that logs, None in the others."""
    logger = trainer.logger
    if not isinstance(logger, TensorBoardLogger) or not trainer.is_global_zero:
        return None
    return cast(SummaryWriter, logger.experiment)


def _add_graph(writer: SummaryWriter, module: EmotionClassifier, size: int) -> None:
    # a compiled network cannot be traced, but its copy is not compiled
    network = copy.deepcopy(module.network).eval()
    faces = torch.zeros(1, 1, size, size, dtype=torch.uint8, device=module.device)
    with warnings.catch_warnings(), torch.no_grad():
        # the tracer warns of every shape it takes as fixed; the picture of the graph needs no more
        warnings.simplefilter("ignore")
        try:
            writer.add_graph(network, faces, verbose=False)
        except Exception as error:  # a network that cannot be traced can be trained all the same
            log.warning("The dashboard shows no graph: the network cannot be traced (%s).", first_line(error))


def _told(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of a command line that matter and that the tab does not show anyway."""
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        if key not in {"model", "data", "seed", *INERT} and not key.startswith(("optim.", "~")):
            yield key, value


def log_hparams(logger: TensorBoardLogger, config: TrainConfig, metrics: Mapping[str, Any]) -> None:
    """Fill the HPARAMS tab: what the configuration is about, with all that was told, and the final figures.

    Args:
        logger: The run's logger.
        config: Its configuration.
        metrics: The content of its `metrics.json`.
    """
    plain = asdict(config)
    chosen = {
        "model": config.model.name,
        "seed": config.seed,
        "data": metrics["data"]["source"],
        "epochs": metrics["epochs"],
        "batch_size": config.data.batch_size,
        "oversample": str(config.data.oversample.classes) if config.data.oversample.enabled else "none",
        "augment": str(config.data.augment.classes),
        "input_size": config.model.input.size,
        **{f"optim.{name}": value for name, value in plain["optim"].items()},
        **dict(_told(metrics["overrides"] or [])),
    }
    final = {
        f"final/{split}_{name}": value
        for split in ("train", "val", "test")
        for name, value in (metrics[split] or {}).items()
    }
    logger.log_hyperparams(chosen, final, step=metrics["epochs"])
    # written at the logger's first save, when there was nothing for it yet; it is written again only if it is missing
    Path(logger.log_dir, logger.NAME_HPARAMS_FILE).unlink(missing_ok=True)
