"""What share of a training step is not the network: loading, augmenting, logging, Lightning.

    python benchmarks/overhead.py experiment=cpu model=cnn10 data.root=path/to/fer2013

The same steps of the same network (mixup and teacher where there are any, forward, backward, clipping, optimiser) run
once on a batch that already lies on the device, in a bare loop, and once through `fer.experiment` as `train.py` runs
them; recorded and replayed, on an NVIDIA GPU, in both. The two take turns; a turn's figure is the mean over its steps,
so that what happens in some of them only counts, and of the turns the median, so that a busy moment of the machine does
not. A GPU is waited for only before and after a turn: in a training, Python prepares a step while the GPU is busy with
the one before. Takes what `train.py` takes; `--steps` (60) is the length of a turn, `--turns` (5) their number.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.table import Table
from torch import nn

from fer.build import build_transforms
from fer.commands import quieten
from fer.config import TrainConfig, checked
from fer.data.datamodule import FaceDataModule
from fer.device import hardware
from fer.experiment import Experiment

CONF = Path(__file__).resolve().parent.parent / "conf"


class TurnClock(Callback):
    """Measures how long a turn takes.

    Args:
        first: The first step that counts.
        last: The last step.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        self.start = self.end = 0.0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the time before the first step and after the last one, when the device has done all before."""
        if batch_idx == self.first - 1:
            wait(pl_module.device)
            self.start = time.perf_counter()
        elif batch_idx == self.last:
            wait(pl_module.device)
            self.end = time.perf_counter()


def warm_up(config: TrainConfig) -> int:
    """Return after how many steps they are all alike; a teacher is recorded when it is asked for the fourth time."""
    return 10 + 10 * len(config.distill.teachers)


def wait(device: torch.device) -> None:
    """Wait until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if device.type == "mps":
        torch.mps.synchronize()


def prepared(overrides: list[str]) -> tuple[TrainConfig, FaceDataModule]:
    """Return a configuration and its data, as `train.py` has them."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = checked(compose("train", overrides), TrainConfig)
    config.trainer.max_epochs, config.trainer.test = 1, False
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    data.setup()
    return config, data


def in_lightning(config: TrainConfig, data: FaceDataModule, steps: int) -> tuple[float, Experiment]:
    """Return the seconds that a step of a training takes as it is, and the experiment."""
    first, there = warm_up(config), len(data.train_dataloader())
    if there < first + steps:
        sys.exit(f"an epoch has {there} batches, but a turn takes {first + steps}: make --steps smaller")
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(config, data, Path(folder))
        clock = TurnClock(first, first + steps - 1)
        experiment.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        experiment.trainer.limit_train_batches = first + steps
        experiment.trainer.limit_val_batches = 0
        for checkpoint in list(experiment.trainer.checkpoint_callbacks):
            experiment.trainer.callbacks.remove(checkpoint)  # type: ignore[attr-defined]
        experiment.trainer.fit(experiment.classifier, datamodule=data)
        return (clock.end - clock.start) / steps, experiment


def in_a_bare_loop(experiment: Experiment, steps: int) -> float:
    """Return the seconds that a step takes on a batch that lies on the device."""
    config, module = experiment.config, experiment.classifier
    device = experiment.trainer.strategy.root_device
    module.to(device).train()
    module.on_fit_start()  # the teacher's place, and what is recorded
    low = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(str(experiment.trainer.precision))
    batch = tuple(tensor.to(device) for tensor in next(iter(experiment.data.train_dataloader())))
    optimizer = module.new_optimizer()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    start, first = 0.0, warm_up(config)
    for step in range(first + steps):
        if step == first:
            wait(device)
            start = time.perf_counter()
        with torch.autocast(device.type, low, enabled=low is not None):
            loss = module.training_step(batch)
        if module.replayed is None:
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        if config.trainer.gradient_clip:
            nn.utils.clip_grad_norm_(parameters, config.trainer.gradient_clip)
        optimizer.step()
    wait(device)
    return (time.perf_counter() - start) / steps


def main() -> None:
    """Take turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--turns", type=int, default=5)
    arguments, overrides = parser.parse_known_args()
    quieten()
    config, data = prepared(["trainer.progress_bar=true", *overrides])
    if config.model.network.get("remember"):
        sys.exit("a network that remembers what is frozen has no step of a fixed length: model.network.remember=0")
    whole: list[float] = []
    bare: list[float] = []
    for _ in range(arguments.turns):
        step, experiment = in_lightning(config, data, arguments.steps)
        whole.append(step)
        bare.append(in_a_bare_loop(experiment, arguments.steps))
    device = experiment.trainer.strategy.root_device
    table = Table(title=f"{config.model.name}, {config.data.batch_size} faces a step, {hardware(device)}")
    for name in ("", "a step", "images/s"):
        table.add_column(name, justify="left" if not name else "right")
    for name, times in (("the network alone", bare), ("train.py", whole)):
        step = statistics.median(times)
        table.add_row(name, f"{1e3 * step:.1f} ms", f"{config.data.batch_size / step:.0f}")
    share = statistics.median(1 - alone / step for alone, step in zip(bare, whole, strict=True))
    table.caption = f"not the network: {100 * share:.1f} % of a step"
    Console().print(table)


if __name__ == "__main__":
    main()
