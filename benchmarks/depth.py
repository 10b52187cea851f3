"""Why deep plain networks underfit: cnn16 without shortcuts and batch norm, with either, and with both.

    python benchmarks/depth.py --root path/to/fer2013 --steps 150

For each variant: the gradient's norm in the first and the last convolution at the start, and the training loss
(cross-entropy, mean of the last 20 steps) after the same steps on the same batches.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from fer.data.cache import default_cache_dir, load_faces
from fer.data.faces import Faces
from fer.data.sample import draw_faces
from fer.models.cnn import CNN
from fer.models.preprocess import FaceModel, Preprocess

BATCH = 128


def batch(faces: Faces, step: int) -> tuple[Tensor, Tensor]:
    """Return the same batch for the same step."""
    rows = np.random.default_rng(step).choice(len(faces), BATCH, replace=False)
    return torch.from_numpy(faces.images[rows])[:, None], torch.from_numpy(faces.labels[rows])


def gradient_norms(model: nn.Module, faces: Faces) -> tuple[float, float]:
    """Return the gradient's norm in the first and the last convolution, for one batch."""
    images, labels = batch(faces, 0)
    F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
    norms = [
        float(m.weight.grad.norm()) for m in model.modules() if isinstance(m, nn.Conv2d) and m.weight.grad is not None
    ]
    model.zero_grad()
    return norms[0], norms[-1]


def final_loss(model: nn.Module, faces: Faces, steps: int, rate: float, name: str) -> float:
    """Train for some steps and return the mean loss of the last 20."""
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    losses = []
    for step in track(range(steps), description=name, transient=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 30)
        images, labels = batch(faces, step)
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses[-20:]))


def main() -> None:
    """Measure the four variants and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="FER2013; without it, the drawn sample")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--depth", type=int, default=16)
    arguments = parser.parse_args()
    source = load_faces(arguments.root, default_cache_dir()) if arguments.root else draw_faces()
    faces = source.split("train")
    table = Table(title=f"cnn{arguments.depth}, {arguments.steps} steps of {BATCH} on {source.source}")
    for name in ("batch norm", "shortcuts", "gradient, first layer", "last layer", "training loss"):
        table.add_column(name, justify="right")
    for batch_norm in (False, True):
        for residual in (False, True):
            torch.manual_seed(0)
            network = CNN(7, depth=arguments.depth, residual=residual, batch_norm=batch_norm, dropout=0.0)
            model = FaceModel(Preprocess(48, 1, [0.5074], [0.2552]), network)
            first, last = gradient_norms(model, faces)
            # a plain network diverges at the rate that batch norm allows
            rate = 0.1 if batch_norm else 0.01
            loss = final_loss(model, faces, arguments.steps, rate, f"batch norm {batch_norm}, shortcuts {residual}")
            yes = {True: "yes", False: "no"}
            table.add_row(yes[batch_norm], yes[residual], f"{first:.3f}", f"{last:.3f}", f"{loss:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
