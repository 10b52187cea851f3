"""Learning from trained networks: their opinion of every face joins the label (Hinton et al., 2015)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fer.config import DistillConfig
from fer.errors import FerError
from fer.models.fold import fold
from fer.objective import as_shares
from fer.replay import Replayed, replayable
from fer.weights import open_as, origin, warn_of_other_data


class Teacher:
    """Trained networks that are asked about the very faces, augmented, that the student sees.

    With several teachers, each batch asks one of them, drawn at random. Over the steps the student learns their mean
    opinion, since the cross-entropy is linear in its targets, and many teachers cost no more than one.

    Asking anew for every augmented face teaches better than one answer for each picture (Beyer et al., 2022,
    "Knowledge distillation: A good teacher is patient and consistent"), and costs a small network's forward pass.
    The teachers are kept out of the student's modules, so that they are neither trained nor saved with it.

    Args:
        models: Each maps uint8 (N, 1, H, W) to logits (N, C); one that is listed twice is asked twice as often. They
            are changed: frozen and, of this package's networks, with their batch norms folded.
        share: Weight of the opinion, from 0 to 1; the label has the rest.
        record: What a run records about its teacher, or a list of that for several.
    """

    def __init__(
        self, models: Sequence[nn.Module], share: float, record: dict[str, Any] | list[dict[str, Any]]
    ) -> None:
        self.models = [model.eval().requires_grad_(False) for model in models]
        for model in self.models:
            if _foldable(model):
                fold(model)
        self.asked: list[Callable[[Tensor], Tensor]] = []
        self.release()
        self.share = share
        self.record = record

    def to(self, device: torch.device) -> None:
        """Move to the device that the student trains on."""
        for model in self.models:
            model.to(device)

    def replay(self) -> None:
        """From now on, replay those teachers that can be replayed on a CUDA device; see `fer.replay`."""
        asked = {model: partial(_opinion, model) for model in self.models}
        replayed = {model: Replayed(ask) if replayable(model) else ask for model, ask in asked.items()}
        self.asked = [replayed[model] for model in self.models]

    def release(self) -> None:
        """Release what was recorded."""
        self.asked = [partial(_opinion, model) for model in self.models]

    @torch.no_grad()
    def opinion(self, faces: Tensor) -> Tensor:
        """Return a teacher's probabilities, float32 (N, C); of several, torch's global generator draws one.

        Args:
            faces: As the student sees them, uint8 (N, 1, H, W).
        """
        count = len(self.asked)
        return self.asked[0 if count == 1 else int(torch.randint(count, ()))](faces)

    def mixed(self, targets: Tensor, opinion: Tensor) -> Tensor:
        """Mix targets with an opinion.

        Args:
            targets: int64 (N,), labels, or float (N, C), shares that sum to one.
            opinion: float32 (N, C), probabilities.

        Returns:
            float32 (N, C), shares that sum to one.
        """
        return torch.lerp(as_shares(targets, opinion.shape[1]), opinion, self.share)


def _foldable(model: nn.Module) -> bool:
    """Return whether batch norms may be folded: a network of one's own may use its layers in another order."""
    return type(getattr(model, "network", model)).__module__.startswith("fer.models.")


def _opinion(model: nn.Module, faces: Tensor) -> Tensor:
    logits: Tensor = model(faces)
    return logits.float().softmax(dim=1)


def open_teacher(config: DistillConfig, classes: Sequence[str], data: Mapping[str, Any]) -> Teacher | None:
    """Open the teachers that a configuration names, if it names any.

    Args:
        config: The runs' folders or files of weights, and their share.
        classes: The student's classes in label order.
        data: What the student learns from, as `FaceDataModule.record` describes it.

    Raises:
        FerError: If a teacher cannot be opened or distinguishes other classes.
    """
    opened = {path: open_as("distill.teacher", path) for path in dict.fromkeys(config.teachers)}
    for run in opened.values():
        if tuple(classes) != run.trained.classes:
            raise FerError(
                f"distill.teacher: {run.file} tells {', '.join(run.trained.classes)} apart, but the data hold "
                f"{', '.join(classes)}; a teacher needs the same classes in the same order"
            )
        warn_of_other_data("distill.teacher", run, data)
        # a run's folder and the calibrated file that was exported from it teach the same
        run.trained.model.temperature = 1.0
    if not opened:
        return None
    runs = [opened[path] for path in config.teachers]  # one that is named several times is asked more often
    records = [{**origin(run), "share": config.share} for run in runs]
    return Teacher([run.trained.model for run in runs], config.share, records if len(records) > 1 else records[0])
