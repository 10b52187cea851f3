"""Whole commands that take a while: the README's first one, and a training in two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, command


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


WATCHFUL = """
import runpy, sys
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
_ChildProcessObserver.__init__.__defaults__ = (0.01,)  # instead of 5 s: it must not matter when Lightning looks
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals to groups of processes are POSIX's")
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_two_processes_stop_together(told: signal.Signals) -> None:
    small = ("model=cnn10", "model.network.width=0.25", "trainer.max_epochs=500", "trainer.progress_bar=false")
    two = ("trainer.accelerator=cpu", "trainer.devices=2")
    order = [sys.executable, "-c", WATCHFUL, str(ROOT / "train.py"), *small, *two]
    training = subprocess.Popen(order, start_new_session=True, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 300
        while not list(Path("logs/cnn10").glob("*/last.ckpt")):
            assert training.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1.3)  # into the middle of an epoch
        os.killpg(training.pid, told)  # as a terminal does, and a batch system
        said, _ = training.communicate(timeout=120)
        assert training.returncode == 130
    finally:
        if training.poll() is None:
            os.killpg(training.pid, signal.SIGKILL)
    (folder,) = Path("logs/cnn10").iterdir()
    assert said.count("go on with python train.py resume=") == 1
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] > 0
    assert (folder / "curves.png").is_file()
