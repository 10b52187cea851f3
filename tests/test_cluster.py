"""Tasks of a SLURM job that train together, and those that each train for themselves."""

import shutil
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

from fer.cluster import launcher, settle_rank
from fer.errors import FerError
from tests.conftest import Sweep, call, refused, run_of
from tests.test_claim import another_process_in


@pytest.fixture(autouse=True)
def the_only_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 0)


def in_slurm(monkeypatch: pytest.MonkeyPatch, tasks: int, rank: int = 0) -> None:
    names = {"NTASKS": tasks, "NTASKS_PER_NODE": tasks, "PROCID": rank, "LOCALID": rank, "NODEID": 0, "JOB_ID": 7}
    for name, value in {**names, "JOB_NAME": "faces"}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


@pytest.mark.parametrize("devices", ["auto", -1, "0,1"])
def test_what_is_no_number_lightning_takes_apart(monkeypatch: pytest.MonkeyPatch, devices: object) -> None:
    in_slurm(monkeypatch, tasks=2)
    (plugin,) = launcher(devices) or []
    assert isinstance(plugin, SLURMEnvironment)


def test_tasks_of_an_interactive_job_train_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    in_slurm(monkeypatch, tasks=2, rank=1)
    monkeypatch.setenv("SLURM_JOB_NAME", "interactive")
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as Lightning has it
    assert settle_rank(1) == 0


@pytest.mark.parametrize("devices", [1, "1", [3]])
def test_tasks_with_a_device_each_train_for_themselves(monkeypatch: pytest.MonkeyPatch, devices: object) -> None:
    in_slurm(monkeypatch, tasks=4, rank=2)
    (plugin,) = launcher(devices) or []
    assert isinstance(plugin, LightningEnvironment)
    assert settle_rank(devices) == rank_zero_only.rank == 0  # type: ignore[attr-defined]


def test_as_many_tasks_as_devices_train_together(monkeypatch: pytest.MonkeyPatch) -> None:
    in_slurm(monkeypatch, tasks=2, rank=1)
    (plugin,) = launcher(2) or []
    assert isinstance(plugin, SLURMEnvironment)
    assert plugin.auto_requeue is False  # a job that SLURM starts again would begin in a new folder
    assert settle_rank(2) == rank_zero_only.rank == 1  # type: ignore[attr-defined]


def test_one_task_for_several_devices_starts_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    in_slurm(monkeypatch, tasks=1)
    (plugin,) = launcher(2) or []
    assert isinstance(plugin, LightningEnvironment)
    assert not plugin.creates_processes_externally


def test_other_numbers_of_tasks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    in_slurm(monkeypatch, tasks=4)
    with pytest.raises(FerError, match=r"trainer\.devices: 2 devices, but SLURM has 4 tasks .*--ntasks-per-node=2"):
        launcher(2)


def test_outside_of_slurm_lightning_finds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    assert launcher(2) is None


def test_two_tasks_do_not_train_one_run(tiny_sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    Path("run/metrics.json").unlink()  # as if it had been stopped
    with another_process_in(Path("run")):
        in_slurm(monkeypatch, tasks=2, rank=1)
        refused(call("train.py", "resume=run"), "another process is training in 'run'")
