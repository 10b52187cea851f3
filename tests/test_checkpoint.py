"""What is kept of a training, and how often."""

import math
from pathlib import Path

import pytest
import torch

from fer.callbacks import checkpoint
from tests.conftest import composed
from tests.test_experiment import SMALL, experiment


@pytest.mark.parametrize(("share", "epochs"), [(math.inf, [1, 2, 3, 4]), (0.0, [1, 4])])
def test_the_last_state_is_written_as_often_as_is_cheap_and_at_the_end(
    share: float, epochs: list[int], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, no_dashboard: None
) -> None:
    monkeypatch.setattr(checkpoint, "SHARE", share)
    training = experiment(composed(*SMALL, "trainer.max_epochs=4"), tiny_folder, "run")
    save, written = training.trainer.save_checkpoint, []

    def noted(path: str, weights_only: bool | None = None) -> None:
        if Path(path).name == "last.ckpt":
            written.append(training.trainer.current_epoch + 1)
        save(path, weights_only)

    monkeypatch.setattr(training.trainer, "save_checkpoint", noted)
    training.run()
    assert written == epochs
    assert torch.load("run/last.ckpt", weights_only=True)["epoch"] == 3


def test_the_best_network_is_kept_without_what_only_its_training_needs(tiny_folder: Path, no_dashboard: None) -> None:
    experiment(composed(*SMALL, "optim.ema=0.9", "trainer.max_epochs=1"), tiny_folder, "run").run()
    best, last = (torch.load(f"run/{name}.ckpt", weights_only=True) for name in ("best", "last"))
    extra = {"optimizer_states", "current_model_state"}
    assert extra <= set(last)
    assert not extra & set(best)
    assert all(torch.equal(best["state_dict"][name], value) for name, value in last["state_dict"].items())  # the mean
    raw = last["current_model_state"]
    assert any(not torch.equal(value, raw[name]) for name, value in best["state_dict"].items())


def test_a_training_that_ends_early_is_saved_at_its_end(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, no_dashboard: None
) -> None:
    monkeypatch.setattr(checkpoint, "SHARE", 0.0)
    options = ("trainer.max_epochs=9", "trainer.patience=1", "optim.lr=0", "model.network.batch_norm=false")
    metrics = experiment(composed(*SMALL, *options), tiny_folder, "run").run()
    assert 1 < metrics["epochs"] < 9
    assert torch.load("run/last.ckpt", weights_only=True)["epoch"] == metrics["epochs"] - 1


def test_a_run_that_goes_on_behind_its_best_epoch_keeps_the_network_of_that(
    tiny_folder: Path, no_dashboard: None
) -> None:
    options = ("optim.lr=0", "optim.warmup_epochs=0", "model.network.batch_norm=false")  # no later epoch is better
    experiment(composed(*SMALL, *options, "trainer.max_epochs=1"), tiny_folder, "run").run()
    metrics = experiment(composed(*SMALL, *options), tiny_folder, "run", resume=True).run()
    assert (metrics["epochs"], metrics["best_epoch"]) == (2, 1)
