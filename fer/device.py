"""What this machine computes on, and in which precision."""

import os
import platform
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from fer.cluster import launcher
from fer.errors import FerError, first_line


def root_device(accelerator: str, devices: Any = 1) -> torch.device:
    """Return the device that Lightning would choose.

    Raises:
        FerError: If there is no such device.
    """
    try:
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=devices,
            logger=False,
            enable_checkpointing=False,
            plugins=launcher(devices),  # type: ignore[arg-type]  # a list is invariant
        )
    except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
        raise FerError(
            f"accelerator '{accelerator}' with devices '{devices}' cannot be had here "
            f"({first_line(error)}); choose auto or cpu"
        ) from error
    return trainer.strategy.root_device


def missed_gpu(device: torch.device) -> bool:
    """Return whether there is an NVIDIA GPU that this PyTorch cannot use: PyPI's build for Windows is for CPUs only."""
    return device.type == "cpu" and torch.version.cuda is None and shutil.which("nvidia-smi") is not None


def cpu_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def auto_precision(device: torch.device) -> Literal["bf16-mixed", "32-true"]:
    """Return bf16 mixed precision where the device multiplies bf16 natively, which about doubles the speed."""
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    elif device.type == "cpu" and platform.machine() in ("x86_64", "AMD64"):
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    else:
        native = False
    return "bf16-mixed" if native else "32-true"


def computed_on(device: torch.device) -> str:
    """Return in words what an evaluation computes on and in which type of numbers: its last digits depend on both."""
    numbers = "float32"
    if device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        numbers += " (convolutions in TF32 where the GPU has it)"
    return f"{hardware(device)}, {numbers}"


def hardware(device: torch.device) -> str:
    """Return what a run computes on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({_cpu_name()})"
    return f"{cpu_cores()} CPU cores ({_cpu_name()})"


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1) if match else platform.machine()
