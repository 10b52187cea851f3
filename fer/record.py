"""What a run's result depends on, in its `environment.json`, and whether it is still the same when the run resumes."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fer.config import TrainConfig
from fer.errors import FerError
from fer.files import sha256
from fer.own_network import own_source, own_transforms
from fer.runs import EXCLUDED, environment, read_environment, write_config, write_json


def write_record(
    folder: Path,
    config: TrainConfig,
    data: Mapping[str, Any],
    device: torch.device,
    built_on: Mapping[str, Any],
    resume: bool,
) -> dict[str, Any]:
    """Write the configuration and whatever else a result depends on.

    Args:
        folder: The run's.
        config: Its configuration.
        data: What `FaceDataModule.record` says.
        device: What it trains on.
        built_on: Trained networks that it starts from or learns from, and weights that it loads.
        resume: Keep the record of the run's beginning, and add this one to it.

    Returns:
        The content of `environment.json`.

    Raises:
        FerError: If a resumed run would go on with a teacher or with code of the user's that has changed.
    """
    write_config(folder, config)
    if config.data.exclude is not None and not (folder / EXCLUDED).is_file():
        shutil.copyfile(config.data.exclude, folder / EXCLUDED)
    record = {**environment(config.seed, data, device), **built_on}
    if own := own_source(config.model.network):
        record["network"] = own
    if transforms := own_transforms(config.data.augment.transforms):
        record["transforms"] = transforms
    if resume and (first := read_environment(folder)):
        _check_unchanged(first, record)
        record = {**first, "resumed": [*first.get("resumed", []), record]}
    write_json(folder / "environment.json", record)
    return record


def _check_unchanged(first: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if first.get("teacher") != now.get("teacher"):
        raise FerError("distill.teacher: it is not the one any more that this run began with; put that back")
    if first.get("network", now.get("network")) != now.get("network"):
        raise FerError(f"model.network: {first['network']['file']} has changed since this run began; put it back")
    for name, own in first.get("transforms", {}).items():
        if now.get("transforms", {}).get(name) != own:
            raise FerError(
                f"data.augment.transforms.{name}: {own['file']} has changed since this run began; put it back"
            )


def weights_loaded(config: TrainConfig) -> dict[str, Any]:
    """Return which file of pretrained weights a run loads, if it is one of the user's."""
    weights = config.model.weights
    if weights is None or not Path(weights).is_file():
        return {}
    return {"weights": {"file": Path(weights).name, "sha256": sha256(Path(weights))}}
