"""What a report shows of an evaluation: calibration, precision and recall, mistakes, Grad-CAM."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fer.data.faces import Faces
from fer.errors import first_line
from fer.explain import grad_cam
from fer.figures import grad_cam_grid, mistakes, pr_curves, reliability
from fer.models.preprocess import FaceModel
from fer.scores import calibration

log = logging.getLogger(__name__)

Picture = tuple[str, str, Figure]
"""Title, caption and figure."""


def diagrams(faces: Faces, logits: Tensor, shown: bool = True) -> list[Picture]:
    """Return calibration, precision and recall, and the surest mistakes, each with title and caption.

    Args:
        faces: N faces of one split.
        logits: Float32, (N, C).
        shown: Whether to show faces; without them, the mistakes are left out.
    """
    labels, probabilities = faces.labels, logits.softmax(1).numpy()
    bins = calibration(logits, torch.from_numpy(labels))
    found = [
        ("Calibration", "Accuracy against confidence, in fifteen bins.", reliability(bins)),
        ("Precision and recall", "Each class against the rest.", pr_curves(labels, probabilities, faces.classes)),
    ]
    if shown:
        grid = mistakes(faces.images, labels, probabilities, faces.classes)
        found.append(("Surest mistakes", "True class, predicted class and the confidence in it.", grid))
    return found


def cams(
    model: FaceModel, faces: Faces, logits: Tensor, device: torch.device, outputs: Sequence[int] | None = None
) -> list[Picture]:
    """Return Grad-CAM pictures of the first two faces of each class; none where the network names no layer.

    Args:
        model: In evaluation mode, on `device`.
        faces: N faces of one split.
        logits: Float32, (N, C), the model's for these faces.
        device: Where to compute.
        outputs: The model's output for each of the C classes, where it knows more of them.
    """
    if "cam_layer" not in dir(model.network):
        return []
    rows = np.concatenate([np.flatnonzero(faces.labels == label)[:2] for label in range(logits.shape[1])])
    some = faces.take(rows)
    predicted = logits[rows].argmax(1)
    explained = predicted if outputs is None else torch.tensor(outputs)[predicted]
    try:
        layer: Any = model.network.cam_layer
        if layer is None:
            return []
        heat = grad_cam(model, layer, torch.from_numpy(some.images[:, None]).to(device), explained.to(device))
    except Exception as error:  # whatever a user's network may do: its scores are worth a report all the same
        log.warning("The report shows no Grad-CAM: cam_layer gives no feature maps (%s).", first_line(error))
        return []
    titles = [
        faces.classes[truth] + ("" if truth == guess else f" → {faces.classes[guess]}")
        for truth, guess in zip(some.labels, predicted.tolist(), strict=True)
    ]
    grid = grad_cam_grid(some.images, heat.cpu().numpy(), titles)
    return [("Grad-CAM", "Where each face speaks for the class predicted (HiResCAM).", grid)]
