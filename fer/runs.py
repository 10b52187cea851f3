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
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer.config import FERPLUS_KEYS, TrainConfig
from fer.device import hardware
from fer.errors import FerError, first_line
from fer.files import sha256, write_whole

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
SHARED_FOLDER = "FER_RUN_FOLDER"
# where things lie and how they are shown changes no result
INERT = (
    ("logs",),
    ("resume",),
    ("trainer", "progress_bar"),
    ("data", "root"),
    ("data", "cache_dir"),
    ("data", "votes"),
    ("data", "index"),
)


EXCLUDED = "exclude.csv"
"""A run's own copy of the list of pictures that it left out."""


def run_key(config: TrainConfig, digest: str) -> str:
    """Return 8 hexadecimal digits that name a training: same configuration and data, same key."""
    plain = asdict(config)
    for *path, last in INERT:
        section = plain
        for name in path:
            section = section[name]
        section.pop(last)
    if config.data.name != "ferplus":
        for name in FERPLUS_KEYS:  # so that runs from before there was FER+ keep their keys
            plain["data"].pop(name, None)
    teachers = [_content(path) for path in config.distill.teachers]
    if not teachers:
        plain.pop("distill")
    else:
        plain["distill"]["teacher"] = teachers if len(teachers) > 1 else teachers[0]
    plain["data"].update(num_workers="auto", download=False)  # which change no result either
    if config.model.weights is not None:
        plain["model"]["weights"] = _content(config.model.weights)
        if "weights" in plain["model"]["network"]:
            plain["model"]["network"]["weights"] = plain["model"]["weights"]
    if config.data.exclude is not None:
        plain["data"]["exclude"] = _content(config.data.exclude)
    if config.optim.mixup is None:
        plain["optim"].pop("mixup")
    if config.model.start is None:
        plain["model"].pop("start")
    else:
        plain["model"]["start"] = _content(config.model.start)
    if not plain["model"]["network"].get("remember"):  # likewise
        plain["model"]["network"].pop("remember", None)
    text = json.dumps([plain, digest], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _content(path: str) -> str:
    """Return what tells a trained network or a list from others, wherever it lies; the path where there is none."""
    file = Path(path)
    try:
        return sha256(file / "best.ckpt" if file.is_dir() else file)
    except OSError:  # which is said when it is opened
        return path


def single_folder(config: TrainConfig) -> Path:
    """Return a new folder for a single run, named by the time of its start.

    The other processes of a distributed training, which Lightning starts with this one's environment, share it.
    """
    if "LOCAL_RANK" in os.environ and SHARED_FOLDER in os.environ:
        return Path(os.environ[SHARED_FOLDER])
    stem = Path(config.logs) / config.model.name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    folder, number = stem, 1
    while True:  # made, not only looked for: runs that start in the same second must not share it
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            if not folder.is_dir():
                break  # make_folder says what is in the way
            number += 1
            folder = stem.with_name(f"{stem.name}-{number}")
        except OSError:
            break  # likewise
    os.environ[SHARED_FOLDER] = str(folder)
    return folder


def sweep_folder(logs: str, task_overrides: list[str]) -> Path:
    """Return a sweep's folder, named by the values that it sweeps over: started again, it finds its runs there.

    Where data lie and what is shown has no part in the name, nor has the order of the values.
    """
    parsed = OverridesParser.create().parse_overrides(task_overrides)
    inert = {".".join(path) for path in INERT}
    told = {_in_order(override): override for override in parsed if override.key_or_group not in inert}
    digest = hashlib.blake2b(",".join(sorted(told)).encode(), digest_size=3).hexdigest()
    swept = "-".join(text.partition("=")[2] for text, override in told.items() if override.is_sweep_override())
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", swept)[:48].strip("-.")
    return Path(logs) / "sweeps" / f"{slug or 'sweep'}-{digest}"


def _in_order(override: Override) -> str:
    """Return an override as it was written, but `key=b,a` as `key=a,b`."""
    text = str(override.input_line)
    key, equals, choices = text.partition("=")
    if not override.is_choice_sweep() or set(choices) & set("([{'\""):
        return text
    return key + equals + ",".join(sorted(choices.split(",")))


def make_folder(folder: Path, way_out: str = "choose another with logs=path") -> None:
    """Create a run's folder.

    Args:
        folder: The folder.
        way_out: What to do where it cannot be written.

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
    """Remove a folder in which nothing was written, and those above it up to `top` that are then empty too."""
    for path in (folder, *folder.parents):
        if not path.is_relative_to(top):
            return
        try:
            path.rmdir()
        except OSError:  # something lies there, which is as good a reason to stop as any other
            return


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one step: readers see the old file or the new one."""
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """Return a run's `metrics.json`, or None where there is none that can be read."""
    return _read_json(folder / "metrics.json")


def read_environment(folder: Path) -> dict[str, Any]:
    """Return a run's `environment.json`, without what in it is no record; empty where there is none."""
    record = _read_json(folder / "environment.json") or {}
    sections = ("data", "versions")  # of which others take for granted that they hold names with values
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
    """Read a run's configuration for doing again what it did: what it left out, its own copy of the list tells.

    Raises:
        FerError: As `read_config` does.
    """
    config = read_config(folder)
    if (folder / EXCLUDED).is_file():
        OmegaConf.update(config, "data.exclude", str(folder / EXCLUDED))
    return config


def check_data(run: Path, record: Mapping[str, Any], digest: str, source: str) -> None:
    """Compare the data that were read with those that a run was trained on, where its record names them.

    Args:
        run: The run's folder or file, for the message.
        record: Its `environment.json`.
        digest: The digest of what was read.
        source: What was read, in words.

    Raises:
        FerError: If they differ.
    """
    trained_on = record.get("data", {}).get("digest")
    if trained_on not in (None, digest):
        raise FerError(
            f"'{run}' was trained on other data (digest {trained_on}) than what is read now (digest {digest}, "
            f"{source}); put the run's data set back, or for an evaluation name where it lies with data_root=path"
        )


def find_runs(folder: Path) -> list[Path]:
    """Return the folders of the runs in `folder`, or `folder` itself where it is one or a file of weights.

    A folder that holds no runs but files of weights gives these.

    Raises:
        FerError: If there is none.
    """
    if folder.suffix == ".safetensors" and folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FerError(f"run: there is no folder '{folder}'")
    if (folder / "config.yaml").is_file():
        return [folder]
    runs = sorted(path.parent for path in folder.glob("**/config.yaml")) or sorted(folder.glob("*.safetensors"))
    if not runs:
        raise FerError(f"run: '{folder}' holds no run (a folder with config.yaml and best.ckpt) and no weights")
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


def overrides() -> list[str]:
    """Return what the command line set for this training: of a sweep's, its own share."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


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
        "overrides": overrides(),
        "data": {"source": source, "digest": digest},
        "hardware": hardware(device),
        "versions": versions,
        "started": datetime.now().isoformat(timespec="seconds"),
    }
