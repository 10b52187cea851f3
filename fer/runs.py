"""The folder of a run: its configuration, its record, and its results."""

import json
import os
import platform
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
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer.config import TrainConfig, checked
from fer.data.faces import Faces
from fer.device import hardware
from fer.errors import FerError, first_line
from fer.files import write_whole

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

EXCLUDED = "exclude.csv"
"""A run's own copy of the list of pictures that it left out."""


def make_folder(folder: Path, way_out: str = "choose another with logs=path") -> None:
    """Create a folder to write to.

    Args:
        folder: The folder of a run, or of a command's output.
        way_out: What the user can do if it cannot be written.

    Raises:
        FerError: If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FerError(f"the folder '{folder}' cannot be written ({error.strerror}); {way_out}") from error


def remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder if nothing was written to it, and those above it up to `top` that are then empty too."""
    for path in (folder, *folder.parents):
        if not path.is_relative_to(top):
            return
        try:
            path.rmdir()
        except OSError:  # something is in it, or it cannot be removed: either is a reason to stop
            return


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one step: readers see the old file or the new one."""
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """Return a run's `metrics.json`, or None where there is none that can be read."""
    return _read_json(folder / "metrics.json")


def read_environment(folder: Path) -> dict[str, Any]:
    """Return a run's `environment.json`, without sections that are malformed; empty where there is none."""
    record = _read_json(folder / "environment.json") or {}
    sections = ("data", "versions")  # other code takes it for granted that these map names to values
    return {key: value for key, value in record.items() if key not in sections or isinstance(value, dict)}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_config(folder: Path, config: TrainConfig) -> None:
    """Write a run's full configuration."""
    write_whole(folder / "config.yaml", yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))


def read_config(folder: Path) -> DictConfig:
    """Read a run's configuration as it was written.

    Raises:
        FerError: If the folder holds no run, or its configuration cannot be read.
    """
    path = folder / "config.yaml"
    if folder.is_file():
        raise FerError(f"'{folder}' is neither a run's folder nor a file of weights (.safetensors)")
    if not folder.exists():
        raise FerError(f"'{folder}' does not exist; give a run's folder, or a file of weights (.safetensors)")
    if not path.is_file():
        raise FerError(f"'{folder}' is no run's folder: it holds no config.yaml")
    try:
        config = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise FerError(f"'{path}' cannot be read ({first_line(error)})") from error
    if not isinstance(config, DictConfig):
        raise FerError(f"'{path}' holds no configuration")
    return config


def repeatable_config(folder: Path) -> DictConfig:
    """Read a run's configuration for repeating the run, with its own copy of the list of what it left out.

    Raises:
        FerError: As `read_config` does.
    """
    config = read_config(folder)
    if (folder / EXCLUDED).is_file():
        OmegaConf.update(config, "data.exclude", str(folder / EXCLUDED))
    return config


def checked_config(plain: DictConfig, file: Path) -> TrainConfig:
    """Return a stored configuration as its schema has it.

    Raises:
        FerError: If it does not fit; the message names the file.
    """
    try:
        return checked(plain, TrainConfig)
    except FerError as error:
        raise FerError(f"run: '{file}' holds a configuration that this version cannot read ({error})") from error


def check_data(run: Path, record: Mapping[str, Any], digest: str, faces: Faces) -> None:
    """Compare the data that were read with those that a run was trained on, where its record names them.

    Args:
        run: The run's folder or file, for the message.
        record: Its `environment.json`.
        digest: The digest of what was read.
        faces: What was read.

    Raises:
        FerError: If they differ.
    """
    trained_on, learned = record.get("data", {}).get("digest"), record.get("data", {}).get("learned") or ()
    if trained_on == digest and (gone := [name for name in learned if name not in faces.classes]):
        raise FerError(
            f"'{run}' was trained when {faces.source} had a class {gone[0]}; its classes are now "
            f"{', '.join(faces.classes)}; give it its name back, or train another run"
        )
    if trained_on not in (None, digest):
        raise FerError(
            f"'{run}' was trained on other data (digest {trained_on}) than what is read now (digest {digest}, "
            f"{faces.source}); put the run's data set back, or for an evaluation name where it lies with "
            "data_root=path; data=folder data.root=path scores the run on other data. If nothing "
            "has changed, an older version drew other splits: train anew, or use the commit in its environment.json"
        )


def git_commit() -> str:
    """Return the commit of this code, with "+changes" where files differ from it; "unknown" outside of git."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        code = (".", "../conf", ":(glob)../*.py")  # the last are train.py, evaluate.py and users' own networks
        return commit + ("+changes" if _git(here, "status", "--porcelain", "--", *code) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace").stdout.strip()


def overrides() -> list[str]:
    """Return what the command line set for this training; in a sweep, for this job of it."""
    if not HydraConfig.initialized():
        return []
    # as they were written: what they refer to may be missing, which is reported where it is needed
    told: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    return list(map(str, told))


def environment(seed: int, data: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
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
        "overrides": overrides(),
        "data": dict(data),
        "hardware": hardware(device),
        "versions": versions,
        "started": datetime.now().isoformat(timespec="seconds"),
    }
