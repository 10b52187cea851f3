"""The LightningModule around every network: one shared step, metrics, optimiser and schedule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from fer.config import OptimConfig
from fer.data.batches import Batch
from fer.distill import Teacher
from fer.errors import FerError
from fer.mixup import mixed, mixed_targets
from fer.objective import likeliest, smoothed_cross_entropy
from fer.optimizers import build_optimizer, lr_factor
from fer.replay import Replayed, replayable


class DivergedError(FerError):
    """The network's outputs are NaN or infinite; no later step repairs that."""


class EmotionClassifier(L.LightningModule):
    """Trains a network that maps uint8 faces to logits.

    Logged for training and validation alike: `loss`, the plain cross-entropy (natural logarithm, no smoothing and
    no weights, so that the two curves compare), and `acc`; for validation also `f1`, the macro average, and one
    F1 per class. Validation and test are computed in float32, whatever the training computes in. With mixup, the
    training figures are of mixed faces, judged by the label of the face that shows most. `train/objective` is what is
    minimised, including smoothing, weights and the batch's own targets.

    Args:
        network: Maps uint8 (N, 1, H, W) to logits (N, C).
        optim: Loss, optimiser and schedule.
        classes: The class names in label order.
        class_weights: Weight of each class in the objective, (C,); None for equal ones.
        model_config: The plain values that rebuild `network`, saved in the checkpoint.
        seed: Seed of dropout and everything else that is drawn on the device; every step derives its own from it.
        teacher: A trained network to learn from in addition to the labels.
        replay: Record the step on a CUDA device and replay it, where the network says that it can be; see `fer.replay`.
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
        replay: bool = False,
    ) -> None:
        super().__init__()
        # plain values only: a checkpoint with modules or partials in it does not load with weights_only=True
        self.save_hyperparameters({"model": dict(model_config or {}), "classes": list(classes)}, logger=False)
        self.network = network
        self.optim = optim
        self.classes = tuple(classes)
        self.seed_base = seed
        self.teacher = teacher
        self.replay = replay
        weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        # not saved: the objective is not part of the trained model
        self.register_buffer("class_weights", weights, persistent=False)
        # loss, objective and share of right answers, summed over the epoch's batches, and the number of batches
        self.sums = torch.zeros(4)
        self.replayed: Replayed | None = None
        self.learning: list[nn.Parameter] = []  # the parameters whose gradients a replay computes
        self.outputs: list[tuple[Tensor, Tensor]] = []
        self._lr_factor: Callable[[int], float]

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, uint8 (N, 1, H, W), to float32 logits (N, C)."""
        logits: Tensor = self.network(faces)
        if not isinstance(logits, Tensor):  # an auxiliary head's, say; what it returns in evaluation was checked before
            raise FerError(f"model.network: returns a {type(logits).__name__} in training, not logits")
        return logits.float()

    @property
    def replays(self) -> bool:
        """Whether the steps of this training are recorded and replayed.

        Loss scaling and several devices rule it out: there Lightning handles the gradients between the operations.
        """
        trainer, wanted = self.trainer, self.replay and replayable(self.network)
        return wanted and self.device.type == "cuda" and trainer.world_size == 1 and trainer.precision != "16-mixed"

    def on_fit_start(self) -> None:
        """Move the teacher and the epoch's sums to the network's device, and set up recording where it is possible."""
        self.sums = self.sums.to(self.device)
        if self.teacher is not None:
            self.teacher.to(self.device)
        if self.replays:
            self.replayed = Replayed(self._with_gradients)
            self.learning = [parameter for parameter in self.parameters() if parameter.requires_grad]
            if self.teacher is not None:
                self.teacher.replay()

    def release(self) -> None:
        """Release what was recorded, and the gradients in it."""
        self.replayed = None
        self.zero_grad()
        if self.teacher is not None:
            self.teacher.release()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the epoch's sums.

        An epoch that was stopped midway thus still reports all of its batches (with several devices, the first's).
        """
        checkpoint["sums"] = self.sums.tolist()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Have an epoch that was stopped after its training validated from the beginning.

        Lightning would continue in the middle of the validation, having lost the batches before, and would skip a
        validation that was stopped at its very beginning or end.
        """
        if "sums" not in checkpoint:
            raise FerError("an earlier version of this program began this run, which cannot go on; train it anew")
        self.sums = torch.tensor(checkpoint["sums"])
        loops = checkpoint["loops"]["fit_loop"]
        epoch, batches = loops["epoch_progress"]["current"], loops["epoch_loop.batch_progress"]
        if batches["current"]["ready"] > batches["current"]["started"]:
            # stopped between two batches: Lightning takes the checkpoint for one from within a step, and counts that
            loops["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
        trained = batches["is_last_batch"] and batches["current"]["completed"] == batches["current"]["ready"]
        if trained and epoch["processed"] < epoch["started"]:
            for part in ("total", "current"):
                begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
                loops["epoch_loop.val_loop.batch_progress"][part].update(begun)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed what this step draws, so that a resumed run draws what an uninterrupted one would have."""
        seed = (self.seed_base + 1) * 1_000_003 + self.global_step * 97 + self.global_rank
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would query every kind of device, in 0.2 ms
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def training_step(self, batch: Batch, batch_idx: int = 0) -> Tensor:
        """Return the objective of one batch and keep its figures; a replayed step sets the gradients too."""
        faces, labels, targets = batch if len(batch) == 3 else (*batch, batch[1])
        share = opinion = None
        if self.optim.mixup is not None:
            faces, share = mixed(faces, self.optim.mixup)
        if self.teacher is not None:
            opinion = self.teacher.opinion(faces)
        if self.replayed is None:
            return self._forward(faces, labels, targets, share, opinion)
        objective: Tensor
        objective, gradients = self.replayed(faces, labels, targets, share, opinion)
        for parameter, gradient in zip(self.learning, gradients, strict=True):
            parameter.grad = gradient  # Lightning drops them before every validation
        return objective

    def _with_gradients(self, *batch: Any) -> tuple[Tensor, list[Tensor | None]]:
        """Return the objective of a batch and the gradients of `learning`."""
        for parameter in self.learning:
            parameter.grad = None
        objective = self._forward(*batch)
        with torch.autocast(self.device.type, enabled=False):
            objective.backward()  # type: ignore[no-untyped-call]
        return objective.detach(), [parameter.grad for parameter in self.learning]

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Compute the gradients, if the step has not done so."""
        if self.replayed is None:
            super().backward(loss, *args, **kwargs)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Clear the gradients, unless they are this step's already."""
        if self.replayed is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def _forward(
        self, faces: Tensor, labels: Tensor, targets: Tensor, share: Tensor | None, opinion: Tensor | None
    ) -> Tensor:
        logits = self(faces)
        objective = self._objective(logits, targets, share, opinion)
        with torch.no_grad():
            loss, right = F.cross_entropy(logits, labels), (logits.argmax(dim=1) == labels).float().mean()
            # all batches of an epoch have the same size
            self.sums += torch.stack([loss, objective, right, torch.ones_like(loss)])
        return objective

    def _objective(self, logits: Tensor, targets: Tensor, share: Tensor | None, opinion: Tensor | None) -> Tensor:
        """Return the cross-entropy with smoothing and weights, neighbours' targets and the teacher's opinion mixed in.

        Args:
            logits: Float32, (N, C).
            targets: int64 (N,), labels; float (N, C), shares that sum to one; or bool (N, C), classes that all count
                as right.
            share: How much of its neighbour every face shows, (N,); None without mixup.
            opinion: The teacher's probabilities, float32 (N, C); None without one.
        """
        if targets.dtype == torch.bool:
            targets = likeliest(logits, targets)
        if share is not None:
            targets = mixed_targets(targets, len(self.classes), share)
        if self.teacher is not None and opinion is not None:
            targets = self.teacher.mixed(targets, opinion)
        weights = cast(Tensor | None, self.class_weights)
        return smoothed_cross_entropy(logits, targets, weights, self.optim.label_smoothing)

    def on_train_epoch_end(self) -> None:
        """Log the epoch's running training figures, as measured while the network was learning."""
        for name, figure in zip(("loss", "objective", "acc"), self.sums[:3] / self.sums[3], strict=True):
            # all devices see equally many faces, so the mean of their figures is the figure of all
            self.log(f"train/{name}", figure, sync_dist=True)
        self.sums.zero_()
        # the last step's rate; by now the optimiser has that of the next step
        self.log("lr", self.optim.lr * self._lr_factor(self.trainer.global_step - 1))

    def running(self) -> dict[str, float]:
        """Return loss and accuracy of the training epoch so far, for a progress bar."""
        loss, _, right, batches = self.sums.tolist()
        return {"loss": loss / batches, "acc": right / batches} if batches else {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of one batch."""
        self._keep(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of one batch."""
        self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        faces, labels = batch[:2]
        # In float32, whatever the training computes in: bf16 gives one face in twenty another class, by luck.
        # A network is compiled for training; for an evaluation's batches, it would have to be compiled twice more.
        with torch.autocast(self.device.type, enabled=False), torch.compiler.set_stance("force_eager"):
            self.outputs.append((self(faces), labels))

    def evaluated(self) -> tuple[Tensor, Tensor]:
        """Return logits, float32 (N, C), and labels, int64 (N,), of the last evaluation in the data's order."""
        logits, labels = zip(*self.outputs, strict=True)
        return torch.cat(logits), torch.cat(labels)

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch, and have all devices validate the same network.

        After the last step, each has batch norm statistics of its own; those of the first are the ones that are saved.
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
        # every device evaluates the whole split: it is small, and so no figure depends on the number of devices
        logits, labels = self.evaluated()
        if not torch.isfinite(logits).all():
            raise DivergedError("training diverged: the network's outputs are no numbers any more; lower optim.lr")
        count = len(self.classes)
        present = torch.bincount(labels, minlength=count) > 0
        f1 = multiclass_f1_score(logits, labels, count, average="none")
        self.log(f"{stage}/loss", F.cross_entropy(logits, labels))
        self.log(f"{stage}/acc", multiclass_accuracy(logits, labels, count, average="micro"))
        self.log(f"{stage}/f1", f1[present].mean())  # as `fer.scores` defines it
        self.log_dict({f"{stage}_f1/{name}": value for name, value in zip(self.classes, f1, strict=True)})

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser over the trainable parameters, and its schedule as a factor for each step."""
        optimizer = self.new_optimizer()
        total = int(self.trainer.estimated_stepping_batches)
        warmup = round(self.optim.warmup_epochs * total / (self.trainer.max_epochs or 1))
        self._lr_factor = lambda step: lr_factor(self.optim.schedule, step, total, warmup)
        schedule = LambdaLR(optimizer, self._lr_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def new_optimizer(self) -> Optimizer:
        """Return the configured optimiser over the trainable parameters."""
        network = getattr(self.network, "network", self.network)
        low = str(self.trainer.precision).startswith("bf16")
        return build_optimizer(network, self.optim, torch.bfloat16 if low else torch.float32, self.replays)
