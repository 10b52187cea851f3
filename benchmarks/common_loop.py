"""This framework beside the loop that people write: `ImageFolder`, PIL, torchvision transforms and bare PyTorch.

    python benchmarks/common_loop.py experiment=fast model=cnn10 data.root=path/to/fer2013
    python benchmarks/common_loop.py --accuracy 0.6 experiment=fast model=cnn10 data.root=path/to/fer2013

The same network and the same data, which must be the Kaggle folders: an `ImageFolder` reads `train/` as it is. Both
train on the CPU and take turns in one run; images a second are means over a turn's steps, and of the turns the median.
With `--accuracy`, the loop then trains (Adam, learning rate 0.001, no schedule) until PublicTest reaches it;
`time_to_accuracy.py` gives this framework's time.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from overhead import in_lightning, prepared  # the script beside this one
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from fer.build import build_model
from fer.commands import quieten
from fer.config import TrainConfig
from fer.data.datamodule import FaceDataModule
from fer.data.sources import find_fer2013
from fer.device import cpu_cores, hardware

Pair = tuple[Tensor, Tensor]


def loader(root: Path, config: TrainConfig) -> DataLoader[Pair]:
    """Return the training pictures as tutorials load them."""
    mean, std = config.model.input.mean, config.model.input.std
    transform = transforms.Compose(
        [
            transforms.Grayscale(),
            transforms.RandomHorizontalFlip(),
            transforms.RandomAffine(10, translate=(0.08, 0.08), scale=(0.85, 1.15)),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    folder = ImageFolder(str(root / "train"), transform)
    return DataLoader(folder, config.data.batch_size, shuffle=True, num_workers=cpu_cores(), drop_last=True)


def network_of(config: TrainConfig) -> nn.Module:
    """Return the same network without this framework's preprocessing, precision and memory format."""
    return build_model(config.model, 7, channels_last=False).network.train()


def steps(network: nn.Module, optimizer: Optimizer, batches: DataLoader[Pair]) -> Iterator[float]:
    """Train for an epoch, and yield the seconds of each step."""
    start = time.perf_counter()
    for images, labels in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        now = time.perf_counter()
        yield now - start
        start = now


def adam(network: nn.Module) -> Optimizer:
    """Return the optimiser that tutorials take."""
    return torch.optim.Adam(network.parameters(), 1e-3)


def accuracy(network: nn.Module, data: FaceDataModule, config: TrainConfig) -> float:
    """Return the network's accuracy on the validation split."""
    mean, std = config.model.input.mean[0], config.model.input.std[0]
    network.eval()
    hits = 0
    with torch.inference_mode():
        for faces, labels in data.evaluation_dataloader("val"):
            # an ImageFolder's labels are in alphabetical order, this program's in FER2013's
            predicted = network((faces.float() / 255 - mean) / std).argmax(1)
            order = torch.tensor([data.all_faces.classes.index(name) for name in sorted(data.all_faces.classes)])
            hits += int((order[predicted] == labels).sum())
    network.train()
    return hits / len(data.faces["val"])


def main() -> None:
    """Take turns, print the table, and train to an accuracy where one is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--accuracy", type=float)
    arguments, overrides = parser.parse_known_args()
    quieten()
    config, data = prepared([*overrides, "trainer.accelerator=cpu"])
    root = find_fer2013(config.data.root) or Path("data/fer2013")
    if not (root / "train").is_dir():
        sys.exit(f"'{root}' holds no folder 'train': this benchmark needs the Kaggle folders (data.root=…)")
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(arguments.turns):
        ours.append(in_lightning(config, data, arguments.steps)[0])
        network = network_of(config)
        timed = steps(network, adam(network), loader(root, config))
        theirs.append(statistics.mean([next(timed) for _ in range(arguments.steps + 10)][10:]))
        timed.close()  # type: ignore[attr-defined]  # a generator: its workers end with it
    table = Table(title=f"{config.model.name}, {config.data.batch_size} faces a step, {hardware(torch.device('cpu'))}")
    table.add_column("")
    table.add_column("images/s", justify="right")
    speeds = [config.data.batch_size / statistics.median(times) for times in (theirs, ours)]
    for name, speed in zip(("ImageFolder, PIL, bare loop", "train.py"), speeds, strict=True):
        table.add_row(name, f"{speed:.0f}")
    table.caption = f"{speeds[1] / speeds[0]:.2f} times as fast"
    Console().print(table)
    if arguments.accuracy is not None:
        network, batches, start = network_of(config), loader(root, config), time.perf_counter()
        optimizer = adam(network)
        found, epoch = 0.0, 0
        while found < arguments.accuracy and epoch < 60:
            for _ in steps(network, optimizer, batches):
                pass
            epoch += 1
            found = accuracy(network, data, config)
            print(f"epoch {epoch}: {100 * found:.2f} % after {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
