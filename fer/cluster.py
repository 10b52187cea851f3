"""Which processes train together: SLURM's tasks may share one training or each run their own."""

import os
import re
from typing import Any

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from fer.errors import FerError


def one_device(devices: Any) -> bool:
    """Return whether `trainer.devices` means a single device."""
    return devices in (1, "1") or (isinstance(devices, list) and len(devices) == 1)


def launcher(devices: Any) -> list[ClusterEnvironment] | None:
    """Return where Lightning is to learn of a training's processes from; None to let it find out by itself.

    In a SLURM job, Lightning by itself would take all tasks for one training, even with devices=1; and with one task
    for several devices, it would leave all devices but the first idle.

    Args:
        devices: `trainer.devices`.

    Raises:
        FerError: If the number of tasks is neither one nor the number of devices.
    """
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return None
    if not _tasks_train_together(devices):
        return [LightningEnvironment()]
    tasks = int(os.environ["SLURM_NTASKS"])
    count = _count(devices)
    if count not in (None, tasks):
        raise FerError(
            f"trainer.devices: {devices} devices, but SLURM has {tasks} tasks here; start it with "
            f"srun --ntasks-per-node={count}, or as one task, which starts the other processes by itself"
        )
    try:
        # a job that SLURM requeues would begin in a new folder with the old one's state
        return [SLURMEnvironment(auto_requeue=False)]
    except RuntimeError as error:  # --ntasks, which may spread the tasks over nodes
        raise FerError(
            f"trainer.devices: SLURM was given --ntasks={tasks}; give --ntasks-per-node={tasks} instead"
        ) from error


def settle_rank(devices: Any = 1) -> int:
    """Return this process's rank among those that train together, and set it in Lightning, which reads SLURM's."""
    if not {"RANK", "LOCAL_RANK", "JSM_NAMESPACE_RANK"} & os.environ.keys():  # from launchers that Lightning knows
        together = SLURMEnvironment.detect() and _tasks_train_together(devices)
        rank = int(os.environ.get("SLURM_PROCID", 0)) if together else 0
        rank_zero_only.rank = rank  # type: ignore[attr-defined]  # which Lightning sets too
    return getattr(rank_zero_only, "rank", 0)


def _count(devices: Any) -> int | None:
    """Return how many devices `trainer.devices` means; None if the machine decides or Lightning has to parse it."""
    if isinstance(devices, list):
        return len(devices)
    return int(devices) if re.fullmatch(r"\d+", str(devices)) else None


def _tasks_train_together(devices: Any) -> bool:
    return not one_device(devices) and int(os.environ["SLURM_NTASKS"]) > 1
