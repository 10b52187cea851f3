"""The processes that make training batches: how many, what they send, and when they end."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import lightning as L
import pytest
import torch

from fer.data.batches import SMALL, Packed, sent
from fer.data.datamodule import FaceDataModule
from tests.conftest import ROOT, composed


@pytest.mark.skipif(sys.platform == "win32", reason="there a signal from another process ends the process")
@pytest.mark.parametrize("target", [torch.int64, torch.float32, torch.bool])
def test_a_small_batch_is_sent_by_value(target: torch.dtype) -> None:
    faces, labels = torch.randint(0, 256, (5, 1, 48, 48), dtype=torch.uint8), torch.arange(5)
    batch = (faces, labels, torch.rand(5, 7).mul(2).to(target))
    message = ForkingPickler.dumps(sent(batch))
    assert len(message) > faces.nbytes  # no handle of shared memory
    received = pickle.loads(message)
    assert type(received) is tuple
    assert all(torch.equal(part, own) for part, own in zip(received, batch, strict=True))
    received[0].fill_(0)  # not memory that may only be read
    large = (torch.zeros(SMALL // 224**2 + 1, 1, 224, 224, dtype=torch.uint8), labels)
    assert sent(large) is large
    assert isinstance(sent((large[0][:-1], labels)), Packed)


def test_a_terminals_ctrl_c_leaves_the_workers_to_the_training(tiny_folder: Path) -> None:
    options = ("data.num_workers=2", "data.batch_size=4", "data.oversample.enabled=false")
    data = FaceDataModule(composed("data=fer2013", f"data.root={tiny_folder}", *options).data, [], seed=0)
    data.setup()
    batches = iter(data.train_dataloader())
    for _ in range(2):  # one of each worker, which so are known to have begun
        next(batches)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    for worker in workers:
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGINT)
    assert len([*batches]) == len(data.train_dataloader()) - 2


def test_a_gpu_gets_as_many_workers_as_are_cheap(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def workers(device: str, start: str | None, cores: int, devices: int) -> int:
        monkeypatch.setattr("fer.data.datamodule.START", start)
        monkeypatch.setattr("fer.data.datamodule.cpu_cores", lambda: cores)
        data = FaceDataModule(composed("data=fer2013", f"data.root={tiny_folder}").data)
        strategy = SimpleNamespace(root_device=torch.device(device))
        data.trainer = cast(L.Trainer, SimpleNamespace(strategy=strategy, num_devices=devices))
        return data._workers()

    assert workers("cpu", "fork", 16, 1) == 0  # they would only take cores from the network
    assert [workers("cuda", "fork", cores, 1) for cores in (1, 4, 16)] == [1, 4, 8]
    assert [workers("cuda", "fork", 16, devices) for devices in (4, 32)] == [4, 1]
    assert [workers(device, None, 16, 1) for device in ("cuda", "mps")] == [2, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, forking is unsafe or impossible")
def test_workers_are_forked_whatever_the_version_of_python(tiny_folder: Path) -> None:
    data = FaceDataModule(composed("data=fer2013", f"data.root={tiny_folder}", "data.num_workers=1").data)
    data.setup()
    context = data.train_dataloader().multiprocessing_context
    assert context is not None
    assert context.get_start_method() == "fork"
    assert data.val_dataloader().multiprocessing_context is None  # read by the training itself


def alive(process: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_workers_of_a_killed_training_end_with_it() -> None:
    script = """
import multiprocessing, sys, time
from fer.data.datamodule import FaceDataModule
from tests.conftest import composed
config = composed("data=sample", "data.num_workers=2", "data.oversample.enabled=false")
data = FaceDataModule(config.data)
data.setup()
batches = iter(data.train_dataloader())
next(batches)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        workers = [int(number) for number in training.stdout.readline().split()]
        time.sleep(1)  # until they are sending batches that nobody fetches
        training.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))
