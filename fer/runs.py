"""The folder of a run: its name, its record, and what it came to."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer.config import TrainConfig
from fer.device import hardware
from fer.errors import FerError

PACKAGES = (
    "fer-lightning",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "albumentations",
    "opencv-python-headless",
    "numpy",
    "hydra-core",
)
# where things lie and how they are shown changes no result
INERT = (("logs",), ("resume",), ("trainer", "progress_bar"), ("data", "root"), ("data", "cache_dir"))


def run_key(config: TrainConfig, digest: str) -> str:
    """Return 8 hexadecimal digits that name a training: same configuration and data, same key."""
    plain = asdict(config)
    for *path, last in INERT:
        section = plain
        for name in path:
            section = section[name]
        section.pop(last)
    text = json.dumps([plain, digest], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def single_folder(config: TrainConfig) -> Path:
    """Return a new folder for a single run, named by the time of its start."""
    stem = Path(config.logs) / config.model.name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = stem, 1
    while folder.exists():
        number += 1
        folder = stem.with_name(f"{stem.name}-{number}")
    return folder


def sweep_folder(logs: str, task_overrides: list[str]) -> Path:
    """Return a sweep's folder, named by what was swept: the same sweep started again finds its runs there."""
    text = ",".join(sorted(task_overrides))
    digest = hashlib.blake2b(text.encode(), digest_size=3).hexdigest()
    slug = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:48].strip("-")
    return Path(logs) / "sweeps" / f"{slug}-{digest}"


def make_folder(folder: Path) -> None:
    """Create a run's folder.

    Raises:
        FerError: If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FerError(
            f"logs: the folder '{folder}' cannot be written ({error.strerror}); choose another with logs=path"
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one step: readers see the old file or the new one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """Return a run's `metrics.json`, or None where there is none that can be read."""
    try:
        content = json.loads((folder / "metrics.json").read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_config(folder: Path, config: TrainConfig) -> None:
    """Write a run's full configuration."""
    (folder / "config.yaml").write_text(yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))


def read_config(folder: Path) -> DictConfig:
    """Read a run's configuration.

    Raises:
        FerError: If the folder holds no run, or its configuration cannot be read.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise FerError(f"'{folder}' is no run's folder: it holds no config.yaml")
    try:
        config = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise FerError(f"'{path}' cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(config, DictConfig):
        raise FerError(f"'{path}' holds no configuration")
    return config


def find_runs(folder: Path) -> list[Path]:
    """Return the folders of the runs in `folder`, or `folder` itself where it is one.

    Raises:
        FerError: If there is none.
    """
    if not folder.is_dir():
        raise FerError(f"run: there is no folder '{folder}'")
    if (folder / "config.yaml").is_file():
        return [folder]
    runs = sorted(path.parent for path in folder.glob("**/config.yaml"))
    if not runs:
        raise FerError(f"run: '{folder}' holds no run (a folder with config.yaml and best.ckpt)")
    return runs


def git_commit() -> str:
    """Return the commit of this code, with "+changes" where files differ from it; "unknown" outside of git."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(here, "status", "--porcelain", "--", ".", "../conf") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def environment(seed: int, digest: str, source: str, device: torch.device) -> dict[str, Any]:
    """Return what a result depends on besides the configuration."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # opencv has several distributions
            continue
    return {
        "seed": seed,
        "commit": git_commit(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "data": {"source": source, "digest": digest},
        "hardware": hardware(device),
        "versions": versions,
        "started": datetime.now().isoformat(timespec="seconds"),
    }
