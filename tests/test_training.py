"""What a training does with its settings: rates, seeds, limits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from fer.build import build_model
from fer.classifier import EmotionClassifier
from fer.labels import EMOTIONS
from fer.optimizers import lr_factor
from tests.conftest import composed
from tests.test_experiment import FROZEN, SMALL, experiment


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_every_step_is_taken_at_the_rate_of_the_schedule(schedule: str, tiny_folder: Path, no_dashboard: None) -> None:
    run = experiment(composed(*SMALL, f"optim.schedule={schedule}", "optim.lr=0.2"), tiny_folder, "run")
    rates: list[float] = []

    class Rates(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            rates.append(optimizer.param_groups[0]["lr"])

    run.trainer.callbacks.append(Rates())  # type: ignore[attr-defined]
    run.run()
    total = len(rates)
    expected = [0.2 * lr_factor(schedule, step, total, total // 2) for step in range(total)]  # one epoch of two
    assert rates == pytest.approx(expected)


def test_another_seed_starts_from_other_weights_and_draws_otherwise(tiny_folder: Path, no_dashboard: None) -> None:
    runs = [experiment(composed(*SMALL, f"seed={seed}"), tiny_folder, f"run{seed}") for seed in (0, 1)]
    first, other = (run.classifier.state_dict()["network.network.head.weight"] for run in runs)
    assert not torch.equal(first, other)
    assert [run.classifier.seed_base for run in runs] == [run.data.seed for run in runs] == [0, 1]


def test_gradients_and_patience_are_handled_as_configured(tiny_folder: Path, no_dashboard: None) -> None:
    options = ("trainer.gradient_clip=0.25", "trainer.patience=2", "trainer.monitor=val/loss")
    trainer = experiment(composed(*SMALL, *options), tiny_folder, "run").trainer
    assert trainer.gradient_clip_val == 0.25
    assert [(callback.monitor, callback.mode) for callback in trainer.early_stopping_callbacks] == [("val/loss", "min")]


def test_the_backbone_of_a_model_gets_its_share_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("model.network.trainable_layers=30", "model.network.backbone_lr=0.25", "optim.lr=0.004")
    config = composed(*FROZEN, *options)
    module = EmotionClassifier(build_model(config.model, 7), config.optim, EMOTIONS)
    monkeypatch.setattr(EmotionClassifier, "trainer", SimpleNamespace(precision="32-true"))
    monkeypatch.setattr(EmotionClassifier, "replays", False)
    assert {group["lr"] for group in module.new_optimizer().param_groups} == {0.001, 0.004}
