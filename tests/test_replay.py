"""Steps that are recorded and replayed: the same training, on a GPU if there is one and on a stand-in for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fer.replay
from fer.classifier import EmotionClassifier
from fer.experiment import Experiment
from fer.replay import WARM, Replayed, replayable
from tests.conftest import ROOT, composed
from tests.test_experiment import FROZEN, SMALL, assert_same, experiment, weights

MUON = ("optim.optimizer=muon", "optim.lr=0.03", "optim.weight_decay=0.1")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no NVIDIA GPU")


class StandIn:
    """Records on a CPU: what a GPU does at a recording, which changes nothing, and behind it at every replay."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.replays = 0

    def _state(self) -> list[Tensor]:
        trainer, module = self.experiment.trainer, self.experiment.classifier
        kept = [value for state in trainer.optimizers[0].state.values() for value in state.values()]
        return [module.sums, *module.buffers(), *(tensor for tensor in kept if isinstance(tensor, Tensor))]

    def recorded(self, function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        before, drawn = [tensor.clone() for tensor in self._state()], torch.get_rng_state()
        outputs = function()
        for tensor, value in zip(self._state(), before, strict=True):
            tensor.copy_(value)
        torch.set_rng_state(drawn)
        parameters = list(self.experiment.classifier.parameters())

        def replay() -> None:
            self.replays += 1
            held = [parameter.grad for parameter in parameters]
            for place, value in zip(_tensors(outputs), _tensors(function()), strict=True):
                place.copy_(value)
            for parameter, gradient in zip(parameters, held, strict=True):
                parameter.grad = gradient  # a replay fills memory, and sets nothing in Python

        return outputs, replay


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    return [tensor for part in outputs or () for tensor in _tensors(part)]


def teachers(root: Path) -> str:
    for name in ("one", "another"):
        experiment(composed(*SMALL, "trainer.max_epochs=1", "trainer.test=false", "seed=3"), root, name).run()
    return "distill.teacher=[one,another]"


@pytest.mark.parametrize("options", [(), MUON, ("optim.mixup=null", "optim.class_weights=balanced")])
def test_a_replayed_training_is_the_same(
    options: tuple[str, ...], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = (*SMALL, teachers(tiny_folder), *options)
    plain = experiment(composed(*overrides), tiny_folder, "plain")
    plain.run()
    replayed = experiment(composed(*overrides), tiny_folder, "replayed")
    stand_in = StandIn(replayed)
    monkeypatch.setattr(EmotionClassifier, "replays", True)
    monkeypatch.setattr(fer.replay, "recorded", stand_in.recorded)
    replayed.run()
    steps = replayed.trainer.global_step
    assert stand_in.replays >= steps - WARM  # besides those of the teachers, each of which warms up by itself
    assert_same(weights("plain"), weights("replayed"))
    figures = [
        [row[name] for row in run.history.rows for name in ("train/loss", "train/acc")] for run in (plain, replayed)
    ]
    assert figures[0] == figures[1]
    assert replayed.classifier.replayed is None  # and all that it held


@gpu
@pytest.mark.parametrize("options", [(), MUON, ("optim.mixup=null", "optim.class_weights=balanced")])
def test_a_gpu_replays_what_it_would_compute(options: tuple[str, ...], tiny_folder: Path) -> None:
    fixed = ("trainer.accelerator=gpu", "trainer.precision=32-true", "model.network.dropout=0", "optim.lr=0.003")
    taught = [] if "optim.mixup=null" in options else [teachers(tiny_folder)]  # otherwise labels are learned as such
    overrides = (*SMALL, *taught, *options, *fixed)
    rows = []
    for recorded in (True, False):
        run = experiment(composed(*overrides, f"trainer.cuda_graphs={recorded}"), tiny_folder, f"recorded{recorded}")
        run.run()
        rows.append([row["train/objective"] for row in run.history.rows])
    assert rows[0] == pytest.approx(rows[1], rel=2e-3)
    first, second = weights("recordedTrue"), weights("recordedFalse")
    for name, value in first.items():
        assert torch.allclose(value.float(), second[name].float(), atol=0.02), name


@gpu
def test_a_gpu_draws_anew_at_every_replay() -> None:
    dropped = Replayed(lambda x: nn.functional.dropout(x, 0.5))
    ones = torch.ones(1000, device="cuda")
    said = []
    for step in (*range(WARM + 3), WARM):
        torch.cuda.manual_seed(step)
        said.append(dropped(ones).clone())
    assert len({tuple(values.tolist()) for values in said}) == WARM + 3
    assert torch.equal(said[-1], said[WARM])


FAILING = """
import torch
from fer.errors import FerError
from fer.replay import WARM, Replayed
waits, ones = Replayed(lambda x: torch.nn.functional.dropout(x * float(x.sum()))), torch.ones(3, device="cuda")
for _ in range(WARM):
    waits(ones)
stream = torch.cuda.current_stream()
try:
    waits(ones)
except FerError as error:
    print(error)
assert torch.cuda.current_stream() == stream
torch.nn.functional.dropout(ones)  # of the next run of a sweep
again = Replayed(lambda x: 2 * x)
for _ in range(WARM + 2):
    assert float(again(ones).sum()) == 6
"""


@gpu
def test_what_cannot_be_recorded_says_so_and_spoils_nothing() -> None:
    outcome = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, cwd=ROOT, check=False)
    assert outcome.stdout.startswith("trainer.cuda_graphs: the step cannot be recorded"), outcome.stderr
    assert outcome.returncode == 0, outcome.stderr


def test_other_shapes_are_recorded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def recorded(function: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], object]]:
        outputs = function()
        made.append(outputs.shape)
        return outputs, lambda: outputs.copy_(function())

    monkeypatch.setattr(fer.replay, "recorded", recorded)
    doubled = Replayed(lambda x: 2 * x)
    for length in (3, 3, 3, 3, 3, 2, 2, 3):
        values = torch.rand(length)
        assert torch.equal(doubled(values), 2 * values)
    assert made == [(3,), (2,), (3,)]


def test_only_networks_that_say_so_are_replayed(tiny_folder: Path) -> None:
    for overrides, expected in (
        (SMALL, True),
        (FROZEN, True),
        ((*FROZEN, "model.network.remember=8"), False),
    ):
        run = experiment(composed(*overrides, "optim.mixup=null"), tiny_folder, "run")
        assert replayable(run.classifier.network) == expected
    assert not replayable(nn.Linear(2, 2))
