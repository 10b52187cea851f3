"""Names of the folders of runs and sweeps: a sweep that is started again finds its runs by their names."""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from fer.config import TrainConfig
from fer.data.faces import Faces
from fer.files import numbered, sha256
from fer.labels import EMOTIONS, EMOTIONS_WITH_CONTEMPT
from fer.misconfigured import FERPLUS_KEYS
from fer.own_network import own_source, own_transforms

SHARED_FOLDER = "FER_RUN_FOLDER"
INERT = frozenset(
    {
        "logs",
        "resume",
        "trainer.progress_bar",
        "trainer.cuda_graphs",
        "data.root",
        "data.cache_dir",
        "data.votes",
        "data.index",
        "data.num_workers",
        "data.download",
    }
)
"""Keys that change no result: paths, display, number of workers, CUDA graphs."""

FORMAT = "2"
"""Version of `run_key`'s names. Raise it when equal configurations get other names: sweeps then start a new folder and
leave the old runs alone."""

_FILES = ("data.exclude", "model.start", "model.weights", "model.network.weights")


def run_name(config: TrainConfig, faces: Faces) -> str:
    """Return the name of a sweep's run: its model, seed and key."""
    return f"{config.model.name}-seed{config.seed}-{run_key(config, faces.digest(), faces.classes)}"


def run_key(config: TrainConfig, digest: str, classes: Sequence[str] = EMOTIONS) -> str:
    """Return 8 hexadecimal digits that name a training: same configuration, data and classes, same key."""
    told = {key: value for key, value in meaningful(flat(asdict(config))).items() if key not in INERT}
    told.update({key: _content(told[key]) for key in _FILES if isinstance(told.get(key), str)})
    told["distill.teacher"] = [_content(path) for path in config.distill.teachers]
    if own := own_source(config.model.network):  # no other name changes for it, so FORMAT stays
        told["model.network"] = own
    if own_ones := own_transforms(config.data.augment.transforms):
        told["data.augment.transforms"] = own_ones
    others = [name for name in classes if name not in EMOTIONS_WITH_CONTEMPT]  # the digest knows only their labels
    text = json.dumps([told, digest, *others], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a configuration's values under their full keys: {"a": {"b": 1}} as {"a.b": 1}."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found.update(flat(value, f"{prefix}.{key}" if prefix else str(key)))
    return found


def meaningful(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat configuration without keys that have no effect: FER+'s on other data, share without a teacher."""
    nothing = set() if config.get("data.name") == "ferplus" else {f"data.{key}" for key in FERPLUS_KEYS}
    if not config.get("distill.teacher"):
        nothing |= {"distill.teacher", "distill.share"}
    return {key: value for key, value in config.items() if key not in nothing}


def _content(path: str) -> str:
    """Return a digest of a trained network or a list, which is the same wherever it lies; its path if it is missing."""
    file = Path(path)
    try:
        return sha256(file / "best.ckpt" if file.is_dir() else file)
    except OSError:  # reported when it is opened
        return path


def single_folder(config: TrainConfig) -> Path:
    """Return a new folder for a single run, named by the time of its start.

    The other processes of a distributed training, which Lightning starts with this one's environment, share it.
    """
    if "LOCAL_RANK" in os.environ and SHARED_FOLDER in os.environ:
        return Path(os.environ[SHARED_FOLDER])
    stem = Path(config.logs) / config.model.name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    # create it, not only look for it: runs that start in the same second must not share it
    for folder in numbered(stem):
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            if not folder.is_dir():
                break  # make_folder says what is in the way
        except OSError:
            break  # likewise
    os.environ[SHARED_FOLDER] = str(folder)
    return folder


def sweep_folder(logs: str, task_overrides: list[str]) -> Path:
    """Return a sweep's folder, named by the values that it sweeps over: started again, it finds its runs there.

    Neither where the data lie nor what is displayed affects the name, nor does the order of keys and values.
    """
    parsed = OverridesParser.create().parse_overrides(task_overrides)
    told = {_in_order(override): override for override in parsed if override.key_or_group not in INERT}
    digest = hashlib.blake2b(",".join([FORMAT, *sorted(told)]).encode(), digest_size=3).hexdigest()
    swept = "-".join(text.partition("=")[2] for text in sorted(told) if told[text].is_sweep_override())
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", swept)[:48].strip("-.")
    return Path(logs) / "sweeps" / f"{slug or 'sweep'}-{digest}"


def swept_keys(task_overrides: list[str]) -> list[str]:
    """Return the keys that a sweep gives several values."""
    parsed = OverridesParser.create().parse_overrides(task_overrides)
    return [override.key_or_group for override in parsed if override.is_sweep_override()]


def _in_order(override: Override) -> str:
    """Return an override as it was written, but `key=b,a` as `key=a,b`."""
    text = str(override.input_line)
    key, equals, choices = text.partition("=")
    if not override.is_choice_sweep() or set(choices) & set("([{'\""):
        return text
    return key + equals + ",".join(sorted(choices.split(",")))
