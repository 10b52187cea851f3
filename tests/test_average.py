"""The running mean of the weights, which is what a training validates and leaves."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from fer.callbacks.average import ExponentialAverage
from tests.conftest import call, quick


class Masked(L.LightningModule):
    """A weight, and a buffer as attention masks are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.norm = nn.BatchNorm1d(1)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
        self.places = nn.Parameter(torch.arange(3), requires_grad=False)


def averaged(weights: list[float], epoch: int, decay: float) -> list[float]:
    """Return the mean at the end of each epoch of so many steps, after each of which the weight is another."""
    module, average = Masked(), ExponentialAverage(decay)
    trainer: Any = SimpleNamespace(global_step=0, is_last_batch=False)
    average.setup(trainer, module, "fit")
    kept: Any = average._average_model
    means = []
    for step, weight in enumerate(weights, 1):
        with torch.no_grad():
            module.weight.fill_(weight)
            module.norm.running_mean.fill_(weight)  # type: ignore[union-attr]
        trainer.global_step, trainer.is_last_batch = step, step % epoch == 0
        average.on_train_batch_end(trainer, module, None, None, 0)
        if trainer.is_last_batch:
            means.append(float(kept.module.weight.detach()))
            assert means[-1] == pytest.approx(float(kept.module.norm.running_mean), abs=1e-6)
    assert kept.module.mask.tolist() == [0.0, -torch.inf]
    return means


def test_the_last_steps_of_an_epoch_belong_to_its_mean() -> None:
    for more in (0, 1, 2, 3, 5):  # the weight of step 401 stands for those of the three before
        found = averaged([0.0] * 400 + [1.0] * (1 + more), 401 + more, 0.5)
        assert found == [pytest.approx(1 - 0.5 ** (4 + more))]


def test_the_mean_of_a_young_training_spans_the_last_ninth_of_its_steps() -> None:
    ramp = [step / 900 for step in range(1, 901)]
    for epoch in (1, 3, 4, 900):
        assert averaged(ramp, epoch, 0.99999)[-1] == pytest.approx(0.9, abs=0.01)


@pytest.mark.usefixtures("no_dashboard")
def test_epochs_of_one_step_validate_different_weights(tiny_folder: Path) -> None:
    told = call("train.py", *quick(tiny_folder), "data.batch_size=512", "trainer.max_epochs=4", "trainer.test=false")
    assert told.status == 0, told.err
    (table,) = Path("logs/cnn10").glob("*/metrics.csv")
    with table.open() as file:
        losses = [row["val/loss"] for row in csv.DictReader(file)]
    assert len(set(losses)) == len(losses) == 4
