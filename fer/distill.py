"""Learning from a trained network: its opinion of every face joins the label (Hinton et al., 2015)."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer.config import DistillConfig
from fer.errors import FerError
from fer.weights import open_as, origin, warn_of_other_data


class Teacher:
    """A trained network that is asked about the very faces, augmented, that the student sees.

    Asking anew for every augmented face teaches better than one answer for each picture (Beyer et al., 2022,
    "Knowledge distillation: A good teacher is patient and consistent"), and costs a small network's forward pass.
    No module of the student's, so that it is neither trained nor saved with it.

    Args:
        model: Maps uint8 (N, 1, H, W) to logits (N, C).
        share: What the teacher's opinion counts, from 0 to 1; the label counts the rest.
        record: What a run notes of its teacher.
    """

    def __init__(self, model: nn.Module, share: float, record: dict[str, Any]) -> None:
        self.model = model.eval().requires_grad_(False)
        self.share = share
        self.record = record

    def to(self, device: torch.device) -> None:
        """Move to the device that the student trains on."""
        self.model.to(device)

    @torch.no_grad()
    def mixed(self, faces: Tensor, targets: Tensor) -> Tensor:
        """Mix the targets with the teacher's probabilities.

        Args:
            faces: As the student sees them, uint8 (N, 1, H, W).
            targets: int64 (N,), labels, or float (N, C), shares that sum to one.

        Returns:
            float32 (N, C), shares that sum to one.
        """
        opinion = self.model(faces).float().softmax(dim=1)
        if not targets.is_floating_point():
            targets = F.one_hot(targets, opinion.shape[1])
        return torch.lerp(targets.float(), opinion, self.share)


def open_teacher(config: DistillConfig, classes: Sequence[str], digest: str) -> Teacher | None:
    """Open the teacher that a configuration names, if it names one.

    Args:
        config: The run's folder or file of weights, and its share.
        classes: The student's classes in label order.
        digest: Of the student's data.

    Raises:
        FerError: If the teacher cannot be opened or tells other classes apart.
    """
    if config.teacher is None:
        return None
    run = open_as("distill.teacher", config.teacher)
    if tuple(classes) != run.trained.classes:
        raise FerError(
            f"distill.teacher: {run.file} tells {', '.join(run.trained.classes)} apart, but the data hold "
            f"{', '.join(classes)}; a teacher needs the same classes in the same order"
        )
    warn_of_other_data("distill.teacher", run, digest)
    record = {**origin(run), "share": config.share}
    return Teacher(run.trained.model, config.share, record)
