"""Whole commands that take a while: the README's first one, and a training in two processes."""

import json
from pathlib import Path

import pytest

from tests.conftest import command


@pytest.mark.slow
def test_the_first_command_learns_emotions() -> None:
    # on two idle cores it takes a minute; a busy machine fails no test
    result = command("train.py", "model=cnn10", timeout=900)
    assert result.returncode == 0, result.stderr
    assert "FER2013 was not found" in result.stderr
    (metrics,) = Path("logs/cnn10").glob("*/metrics.json")
    content = json.loads(metrics.read_text())
    assert content["test"]["acc"] > 0.9
    assert content["data"]["source"] == "embedded sample of drawn faces"


@pytest.mark.slow
def test_two_processes_train_together_and_write_once() -> None:
    two = ("trainer.accelerator=cpu", "trainer.devices=2", "trainer.progress_bar=true")
    result = command("train.py", "model=cnn10", "model.network.width=0.25", "trainer.max_epochs=1", *two, timeout=200)
    assert result.returncode == 0, result.stderr
    (folder,) = Path("logs/cnn10").iterdir()
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 1
    assert len((folder / "metrics.csv").read_text().splitlines()) == 2
    assert result.stdout.count("macro F1") == 1
