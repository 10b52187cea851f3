"""The LightningModule around every network: one shared step, metrics, optimiser and schedule."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast, runtime_checkable

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from fer.config import OptimConfig
from fer.data.batches import Batch
from fer.distill import Teacher
from fer.errors import FerError
from fer.mixup import mixed, mixed_targets
from fer.muon import Muon


@runtime_checkable
class Grouped(Protocol):
    """A network whose parts train at different rates."""

    def parameter_groups(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """Return parameters with their share of the learning rate."""


class DivergedError(FerError):
    """The training has left the numbers; no later step brings it back."""


class EmotionClassifier(L.LightningModule):
    """Trains a network that maps uint8 faces to logits.

    Logged for training and validation alike: `loss`, the plain cross-entropy (natural logarithm, no smoothing and
    no weights, so that the two curves compare), and `acc`; for validation also `f1`, the macro average, and one
    F1 a class. With mixup the training's are of mixed faces, by the label of the one that shows most.
    `train/objective` is what is minimised, smoothing, weights and the batch's own targets included.

    Args:
        network: Maps uint8 (N, 1, H, W) to logits (N, C).
        optim: Loss, optimiser and schedule.
        classes: The class names in label order.
        class_weights: Weight of each class in the objective, (C,); None for equal ones.
        model_config: The plain values that rebuild `network`, saved in the checkpoint.
        seed: Seed of dropout and whatever else is drawn on the device, step by step.
        teacher: A trained network to learn from beside the labels.
    """

    def __init__(
        self,
        network: nn.Module,
        optim: OptimConfig,
        classes: Sequence[str],
        class_weights: Sequence[float] | None = None,
        model_config: Mapping[str, Any] | None = None,
        seed: int = 0,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        # plain values only: a checkpoint with modules or partials in it does not load with weights_only=True
        self.save_hyperparameters({"model": dict(model_config or {}), "classes": list(classes)}, logger=False)
        self.network = network
        self.optim = optim
        self.classes = tuple(classes)
        self.seed_base = seed
        self.teacher = teacher
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        # not saved: the objective is no part of the trained model
        self.register_buffer("class_weights", weights, persistent=False)
        # not synchronised: the progress bar reads them in one process alone, which would wait for ever; and not checked
        # behind every batch, for which a GPU would have to finish it
        mean: dict[str, Any] = {"nan_strategy": "disable", "sync_on_compute": False}
        share: dict[str, Any] = {"average": "micro", "validate_args": False, "sync_on_compute": False}
        self.train_metrics = MetricCollection(
            {
                "loss": MeanMetric(**mean),
                "objective": MeanMetric(**mean),
                "acc": MulticlassAccuracy(len(self.classes), **share),
            }
        )
        # in the checkpoint, so that an epoch that was stopped in its middle reports all of its batches (of several
        # devices, those of the first)
        self.train_metrics.persistent(True)
        self.outputs: list[tuple[Tensor, Tensor]] = []

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, uint8 (N, 1, H, W), to float32 logits (N, C)."""
        logits: Tensor = self.network(faces)
        return logits.float()

    def on_fit_start(self) -> None:
        """Have the teacher where the student is."""
        if self.teacher is not None:
            self.teacher.to(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Have an epoch that was stopped behind its training validated, as a whole.

        Lightning would go on in the middle of a validation, with the batches before it lost, and leave out one that
        was stopped at its very beginning or end.
        """
        loops = checkpoint["loops"]["fit_loop"]
        epoch, batches = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
        trained = batches["is_last_batch"] and batches["current"]["completed"] == batches["current"]["ready"]
        if trained and epoch["processed"] < epoch["started"]:
            for part in ("total", "current"):
                begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
                loops["epoch_loop.val_loop.batch_progress"][part].update(begun)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what this step draws, so that a resumed run draws what an uninterrupted one would have."""
        seed = (self.seed_base + 1) * 1_000_003 + self.global_step * 97 + self.global_rank
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would ask for every kind of device, in 0.2 ms
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the objective of one batch, and keep its figures."""
        objective, logits = self.learned(batch)
        with torch.no_grad():
            metrics, labels = self.train_metrics, batch[1]
            # an epoch's batches are equally large
            _update(metrics["loss"], F.cross_entropy(logits.detach(), labels))
            _update(metrics["objective"], objective.detach())
            _update(metrics["acc"], logits.detach(), labels)
        return objective

    def learned(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the objective of one batch, and the logits, float32 (N, C): what of a step is not bookkeeping."""
        faces, _, targets = batch if len(batch) == 3 else (*batch, batch[1])
        share = None
        if self.optim.mixup is not None:
            faces, share = mixed(faces, self.optim.mixup)
        logits = self(faces)
        return self._objective(faces, logits, targets, share), logits

    def _objective(self, faces: Tensor, logits: Tensor, targets: Tensor, share: Tensor | None) -> Tensor:
        """Return the cross-entropy with smoothing and weights, neighbours' targets and the teacher's opinion mixed in.

        Args:
            faces: uint8, (N, 1, H, W).
            logits: Float32, (N, C).
            targets: int64 (N,), labels; float (N, C), shares that sum to one; or bool (N, C), classes that are all
                right, of which the likeliest counts, so that the loss is the negative logarithm of the largest of
                their probabilities (Barsoum et al., 2016).
            share: How much of its neighbour every face shows, (N,); None without mixup.
        """
        options: Any = {"weight": self._weights, "label_smoothing": self.optim.label_smoothing}
        if targets.dtype == torch.bool:
            targets = logits.detach().masked_fill(~targets, -math.inf).argmax(dim=1)
        if share is not None:
            targets = mixed_targets(targets, len(self.classes), share)
        if self.teacher is not None:
            targets = self.teacher.mixed(faces, targets)
        if not targets.is_floating_point():
            return F.cross_entropy(logits, targets, **options)
        # torch would divide by the number of faces, and so weigh shares of one otherwise than the same labels
        weight = len(targets) if self._weights is None else (targets * self._weights).sum()
        return F.cross_entropy(logits, targets, reduction="sum", **options) / weight

    @property
    def _weights(self) -> Tensor | None:
        return cast(Tensor | None, self.class_weights)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's running training figures, as measured while the network was learning."""
        for name, metric in self.train_metrics.items():
            # all devices see equally many faces, so the mean of their figures is the figure of all
            self.log(f"train/{name}", metric.compute(), sync_dist=True)
        self.train_metrics.reset()
        self.log("lr", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]

    def running(self) -> dict[str, float]:
        """Return loss and accuracy of the training epoch so far, for a progress bar."""
        return {name: float(self.train_metrics[name].compute()) for name in ("loss", "acc")}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of one batch."""
        self._keep(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of one batch."""
        self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        faces, labels = batch[:2]
        self.outputs.append((self(faces), labels))

    def evaluated(self) -> tuple[Tensor, Tensor]:
        """Return logits, float32 (N, C), and labels, int64 (N,), of the last evaluation in the data's order."""
        logits, labels = zip(*self.outputs, strict=True)
        return torch.cat(logits), torch.cat(labels)

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch, and have all devices validate the same network.

        Behind the last step each has batch norm statistics of its own; those of the first are the ones that are saved.
        """
        self.outputs.clear()
        if self.trainer.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def on_test_epoch_start(self) -> None:
        """Forget the last evaluation."""
        self.outputs.clear()

    def on_validation_epoch_end(self) -> None:
        """Log the validation figures."""
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Log the test figures."""
        self._log_evaluation("test")

    def _log_evaluation(self, stage: Literal["val", "test"]) -> None:
        # every device evaluates the whole split: it is small, and so no figure depends on their number
        logits, labels = self.evaluated()
        if not torch.isfinite(logits).all():
            raise DivergedError("training diverged: the network's outputs are no numbers any more; lower optim.lr")
        count = len(self.classes)
        present = torch.bincount(labels, minlength=count) > 0
        f1 = multiclass_f1_score(logits, labels, count, average="none")
        self.log(f"{stage}/loss", F.cross_entropy(logits, labels))
        self.log(f"{stage}/acc", multiclass_accuracy(logits, labels, count, average="micro"))
        self.log(f"{stage}/f1", f1[present].mean())  # as `fer.scores` has it
        self.log_dict({f"{stage}_f1/{name}": value for name, value in zip(self.classes, f1, strict=True)})

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser over what trains, with its schedule, a factor a step."""
        optimizer = self._optimizer(list(self._groups()))
        total = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        warmup = round(self.optim.warmup_epochs * total / epochs)
        schedule = LambdaLR(optimizer, lambda step: lr_factor(self.optim.schedule, step, total, warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> Iterable[dict[str, Any]]:
        network = getattr(self.network, "network", self.network)
        grouped = network.parameter_groups() if isinstance(network, Grouped) else [(1.0, network.parameters())]
        for share, parameters in grouped:
            trained = [parameter for parameter in parameters if parameter.requires_grad]
            # gains and offsets are not decayed: it only fights the batch norm that follows
            for decayed in (True, False):
                chosen = [parameter for parameter in trained if (parameter.ndim > 1) == decayed]
                decay = self.optim.weight_decay if decayed else 0.0
                if chosen:
                    yield {"params": chosen, "lr": self.optim.lr * share, "weight_decay": decay}

    def _optimizer(self, groups: list[dict[str, Any]]) -> Optimizer:
        if self.optim.optimizer == "adamw":
            return AdamW(groups, lr=self.optim.lr)
        if self.optim.optimizer == "muon":
            low = torch.bfloat16 if str(self.trainer.precision).startswith("bf16") else torch.float32
            return Muon(groups, self.optim.lr, self.optim.momentum, dtype=low)
        momentum = self.optim.momentum
        # one operation over all tensors, as on a GPU by default; Lightning clips no gradients for the fused one
        return SGD(groups, lr=self.optim.lr, momentum=momentum, nesterov=momentum > 0, foreach=True)


def _update(metric: object, *args: object) -> None:
    # MetricCollection is typed as a ModuleDict, whose values are modules
    cast(Metric, metric).update(*args)


def lr_factor(schedule: str, step: int, total: int, warmup: int) -> float:
    """Return the learning rate of a step as a share of its peak.

    Args:
        schedule: "cosine" and "linear" fall to zero at `total`, "constant" stays.
        step: Steps done.
        total: Steps of the whole training.
        warmup: Steps over which the rate rises linearly from zero.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1 - progress if schedule == "linear" else 1.0
