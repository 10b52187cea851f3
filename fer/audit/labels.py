"""Suspected wrong labels, by confident learning (Northcutt et al., 2021) over the predictions of a quick model."""

from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fer.audit.extra import needed
from fer.data.faces import SPLITS, Faces
from fer.data.leaks import digests
from fer.data.pictures import with_progress
from fer.errors import FerError

FOLDS = 5
EPOCHS = 8
BATCH = 256
SIDE = 48
CELL = 8
DIRECTIONS = 9


class Suspect(NamedTuple):
    """A picture whose label the model doubts.

    Attributes:
        row: Its row.
        given: Its label.
        suggested: The label that the model prefers.
        quality: How probable a model that has not seen the picture finds the given label, 0 to 1.
    """

    row: int
    given: int
    suggested: int
    quality: float


def features(images: NDArray[np.uint8]) -> Tensor:
    """Return histograms of oriented gradients (Dalal and Triggs, 2005) of grey pictures: float32, (N, 900).

    (OpenCV dropped them in version 5.)

    Nine directions in cells of 8×8 pixels, out of 48×48, normalised in overlapping blocks of 2×2 cells.

    Args:
        images: uint8, (N, H, W).
    """
    found = []
    for start in with_progress(range(0, len(images), 1024), -(-len(images) // 1024), "Describing pictures", least=4):
        pixels = torch.from_numpy(images[start : start + 1024].astype(np.float32))[:, None] / 255
        if pixels.shape[-2:] != (SIDE, SIDE):
            pixels = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", antialias=True)
        padded = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
        across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
        down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
        # opposite directions count as one; each pixel votes for the two directions nearest to its own
        place = torch.atan2(down, across).remainder(torch.pi) / torch.pi * DIRECTIONS
        low, part = place.floor(), place.frac()
        size = torch.hypot(across, down)
        votes = torch.zeros(len(pixels), DIRECTIONS, SIDE, SIDE)
        votes.scatter_add_(1, low.long() % DIRECTIONS, size * (1 - part))
        votes.scatter_add_(1, (low.long() + 1) % DIRECTIONS, size * part)
        blocks = F.unfold(F.avg_pool2d(votes, CELL), 2)
        found.append(F.normalize(F.normalize(blocks, dim=1).clamp(max=0.2), dim=1).flatten(1))
    return torch.cat(found)


def folds(faces: Faces, seed: int) -> NDArray[np.int64]:
    """Return a fold for each picture, (N,), the same for byte-identical ones: no model judges what it has seen."""
    _, picture = np.unique(digests(faces.images), return_inverse=True)
    fold_of = np.random.default_rng(seed).permutation(int(picture.max()) + 1) % FOLDS
    return np.asarray(fold_of[picture], dtype=np.int64)


def out_of_fold(faces: Faces, seed: int = 0) -> NDArray[np.float64]:
    """Return each picture's class probabilities by a model that was trained without it: float64, (N, C).

    The models are trained on training faces alone, if there are any: what validation and test say must not decide
    what training leaves out.
    """
    x = features(faces.images)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    y = torch.from_numpy(faces.labels)
    fold, train = torch.from_numpy(folds(faces, seed)), torch.from_numpy(faces.splits == SPLITS.index("train"))
    train |= not train.any()
    found = torch.empty(len(x), len(faces.classes), dtype=torch.float64)
    torch.manual_seed(seed)
    for number in range(FOLDS):
        held = fold == number
        learnt = ~held & train
        if not learnt.any():
            raise FerError(
                f"{faces.source} has too few different training pictures to look for suspected labels; leave that out "
                "with labels=false"
            )
        model = _trained(x[learnt], y[learnt], len(faces.classes), f"Judging labels, fold {number + 1} of {FOLDS}")
        with torch.inference_mode():
            found[held] = model(x[held]).double().softmax(1)
    return found.numpy()


def _trained(x: Tensor, y: Tensor, classes: int, what: str) -> nn.Module:
    layers = (nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, classes))
    model = nn.Sequential(*layers)
    steps = EPOCHS * -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    model.train()
    batches = chain.from_iterable(torch.split(torch.randperm(len(x)), BATCH) for _ in range(EPOCHS))
    for rows in with_progress(batches, steps, what):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return model.eval()


def suspects(faces: Faces, probabilities: NDArray[np.float64]) -> list[Suspect]:
    """Return the pictures that confident learning takes to be labelled wrongly, the most suspected first.

    Each split is judged by its own thresholds, so that no test label affects the verdict on a training picture.

    Args:
        faces: The pictures.
        probabilities: Out-of-fold probabilities, (N, C).
    """
    found: list[tuple[float, Suspect]] = []
    for number in range(len(SPLITS)):
        rows = np.flatnonzero(faces.splits == number)
        found += _suspects(rows, faces.labels[rows], probabilities[rows])
    return [suspect for _, suspect in sorted(found)]


def _suspects(
    rows: NDArray[np.intp], given: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> list[tuple[float, Suspect]]:
    """Return a split's suspects, each with the margin by which its label lies ahead of all others."""
    present = np.flatnonzero(np.bincount(given, minlength=1))  # a class without pictures has no threshold to learn
    if len(present) < 2:
        return []
    labels, shares = np.searchsorted(present, given), probabilities[:, present]
    shares = shares / shares.sum(axis=1, keepdims=True)
    issues = needed("cleanlab.filter").find_label_issues(labels, shares, n_jobs=1, min_examples_per_class=0)
    quality = shares[np.arange(len(labels)), labels]
    others = shares.copy()
    others[np.arange(len(labels)), labels] = -1
    margin = quality - others.max(axis=1)
    return [
        (
            float(margin[at]),
            Suspect(int(rows[at]), int(given[at]), int(present[shares[at].argmax()]), float(quality[at])),
        )
        for at in np.flatnonzero(issues)
    ]
