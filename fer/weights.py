"""Trained networks to hand on: a small file of half-precision weights that describes itself, and opens like a run."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra.utils import get_object
from omegaconf import OmegaConf
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fer.build import plain_model, rebuild_model
from fer.callbacks.history import read_rows
from fer.checkpoint import Trained, load_trained
from fer.config import OversampleConfig, TrainConfig
from fer.errors import FerError, first_line
from fer.files import numbered, sha256, write_whole
from fer.own_network import own_source
from fer.runs import EXCLUDED, checked_config, read_environment, read_metrics, repeatable_config
from fer.temperature import CANDIDATES

log = logging.getLogger(__name__)

SUFFIX = ".safetensors"
KEY = "fer-lightning"
DIGEST = "SHA-256"
"""What evaluations call the digest of the file that they scored."""


class TrainedRun(NamedTuple):
    """A trained network with all that is known about its training.

    Attributes:
        config: The run's configuration.
        trained: The network.
        record: What was in `environment.json`: seed, commit, data, hardware, versions; may be empty.
        history: A row of figures for each epoch; empty for a file of weights.
        folder: Where its evaluations go.
        file: What was opened.
    """

    config: TrainConfig
    trained: Trained
    record: Mapping[str, Any]
    history: list[dict[str, float]]
    folder: Path
    file: Path


def open_run(path: Path) -> TrainedRun:
    """Open a run's folder, or a file that `save_weights` wrote.

    Raises:
        FerError: If anything is missing or damaged.
    """
    if path.suffix == SUFFIX and not path.is_dir():
        return _open_weights(path)
    config = checked_config(repeatable_config(path), path / "config.yaml")
    record = read_environment(path)
    _warn_of_changed_code(config, record, path)
    history = path / "metrics.csv"
    return TrainedRun(
        config,
        load_trained(path / "best.ckpt", config.model),
        record,
        _read_history(history),
        path,
        path / "best.ckpt",
    )


def _warn_of_changed_code(config: TrainConfig, record: Mapping[str, Any], path: Path) -> None:
    """Warn if the file of a user's own network has changed: it may compute something else with the same weights."""
    first, now = record.get("network"), own_source(config.model.network)
    if isinstance(first, dict) and now and first.get("sha256") != now["sha256"]:
        log.warning(
            "%s: %s has changed since this was trained; if what its network computes has, figures are of another one.",
            path,
            now["file"],
        )


def _read_history(path: Path) -> list[dict[str, float]]:
    try:
        return read_rows(path) if path.is_file() else []
    except (OSError, ValueError) as error:
        raise FerError(f"run: '{path}' is damaged and cannot be read ({first_line(error)})") from error


def open_as(key: str, path: str) -> TrainedRun:
    """Open what a configuration key names, as `open_run` does; its errors begin with the key."""
    try:
        return open_run(Path(path).expanduser())
    except FerError as error:
        raise FerError(f"{key}: {str(error).removeprefix('run: ')}") from error


def origin(run: TrainedRun) -> dict[str, Any]:
    """Return what another run notes of this one when it builds on it: name, file and SHA-256."""
    return {"name": run.trained.name, "file": run.file.name, "sha256": sha256(run.file)}


def temperature(run: TrainedRun) -> dict[str, float]:
    """Return what a report says of a calibrated network, nothing of another."""
    model = run.trained.model
    found = {"temperature": model.temperature}
    found |= {f"temperature, {view}": further for view, further in model.view_temperatures.items()}
    return {name: round(value, 4) for name, value in found.items() if value != 1.0}


def warn_of_other_data(key: str, run: TrainedRun, data: Mapping[str, Any]) -> None:
    """Warn if a trained network learned from other data than these, which `FaceDataModule.record` describes."""
    learned = run.record.get("data")
    learned = learned if isinstance(learned, dict) else {}
    if learned.get("digest") != data["digest"]:
        log.warning(
            "%s: %s learned from other data (%s) than these (%s); had it seen pictures that validate or test here, the "
            "scores would be worth nothing.",
            key,
            run.file,
            learned.get("digest") or "unknown",
            data["digest"],
        )
    elif data["exclude"] is not None and _excluded(run) != data["exclude"]:
        log.warning(
            "%s: %s did not leave out what data.exclude names; what it learned from those pictures reaches this run.",
            key,
            run.file,
        )


def _excluded(run: TrainedRun) -> str | None:
    """Return the SHA-256 of a run's list of excluded pictures: from its record or, if that is older, of the list."""
    own = run.folder / EXCLUDED
    recorded: str | None = run.record["data"].get("exclude")
    return recorded or (sha256(own) if own.is_file() else None)


def halved(run: TrainedRun) -> TrainedRun:
    """Return a run as a file of weights holds it: in half precision, and without paths of one machine.

    Raises:
        FerError: If half precision cannot hold the weights, or the file could not be opened.
    """
    if fault := _fault(run.config.model.network):
        raise FerError(
            f"run: {fault}, and no file of weights can hold that; hand on the run's folder, or train a class that "
            "makes it by itself"
        )
    for name, value in run.trained.model.state_dict().items():
        if value.is_floating_point() and not torch.equal(torch.isfinite(value.half()), torch.isfinite(value)):
            raise FerError(f"run: half precision cannot hold '{name}' of {run.file}; hand on the checkpoint instead")
    model = run.trained.model.half().float()
    return run._replace(config=_portable(run.config), trained=run.trained._replace(model=model))


def save_weights(run: TrainedRun, path: Path, measured: Mapping[str, Any]) -> None:
    """Write a run's network with its configuration and record.

    Args:
        run: The run, from `halved`.
        path: The file, `….safetensors`.
        measured: Figures to keep with it.

    Raises:
        FerError: If the file cannot be written.
    """
    state = {
        # a copy, since modules may share a tensor
        name: value.to(torch.float16 if value.is_floating_point() else value.dtype, copy=True).contiguous()
        for name, value in run.trained.model.state_dict().items()
    }
    content = {
        "config": asdict(run.config),
        "classes": list(run.trained.classes),
        "epoch": run.trained.epoch,
        "temperature": run.trained.model.temperature,
        "view_temperatures": run.trained.model.view_temperatures,
        "record": _without_paths(run),
        "measured": dict(measured),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # safetensors' own writing to a file would let no other user read it
        write_whole(path, save(state, {KEY: json.dumps(content)}))
    except (OSError, SafetensorError) as error:
        raise FerError(f"file: '{path}' cannot be written ({first_line(error)})") from error


def measured(path: Path) -> dict[str, Any]:
    """Return the figures that were kept with a file of weights."""
    return dict(_content(path)["measured"])


def _portable(config: TrainConfig) -> TrainConfig:
    """Return the configuration without paths of one machine, and with a precision that every machine has."""
    network = {key: None if key == "weights" else value for key, value in config.model.network.items()}
    return replace(
        config,
        data=replace(
            config.data,
            root=None,
            cache_dir=None,
            exclude=None,
            votes=None,
            index=None,
            oversample=replace(config.data.oversample, folder=OversampleConfig().folder),
        ),
        trainer=replace(config.trainer, precision="32-true", accelerator="auto", devices=1),
        model=replace(config.model, weights=None, start=None, network=network),
        distill=replace(config.distill, teacher=None),
        logs="logs",
        resume=None,
    )


def _without_paths(run: TrainedRun) -> dict[str, Any]:
    kept = ("seed", "commit", "hardware", "versions", "teacher", "start", "weights", "network")
    record = {key: run.record[key] for key in kept if key in run.record}
    data = run.record.get("data", {})
    told = {key: data[key] for key in ("digest", "learned", "exclude") if key in data}
    return {**record, "data": {"source": run.config.data.name, **told}}


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FerError(f"run: there is no file '{path}'")
    try:
        with safe_open(path, "pt") as file:
            return dict(json.loads((file.metadata() or {})[KEY]))
    except KeyError as error:
        raise FerError(f"run: '{path}' holds weights, but not of this program; give what fer.export wrote") from error
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise FerError(f"run: '{path}' is damaged and cannot be read ({first_line(error)})") from error


def _check_network(network: Mapping[str, Any], path: Path) -> None:
    """Refuse a file that would build anything but a network, or one that is not here."""
    try:
        fault = _fault(network)
    except Exception as error:  # importing a module can raise anything
        raise FerError(f"run: '{path}' names a network that is not here ({first_line(error)})") from error
    if fault:
        raise FerError(f"run: '{path}' is not opened: {fault}")


def _fault(network: Mapping[str, Any]) -> str | None:
    """Return why a file of weights must not build a network, if so: they go from hand to hand."""
    target = get_object(str(network["_target_"]))
    if not (isinstance(target, type) and issubclass(target, torch.nn.Module)):
        return f"{network['_target_']} is no class of networks"
    arguments = {key: value for key, value in network.items() if key != "_target_"}
    # an interpolation would be resolved once more, into who knows what, when the network is built
    if any(sign in json.dumps(arguments) for sign in ("_target_", "${")):
        return f"an argument of {network['_target_']} is itself something to be built"
    return None


def _open_weights(path: Path) -> TrainedRun:
    content = _content(path)
    try:
        config = checked_config(OmegaConf.create(content["config"]), path)
        classes = tuple(content["classes"])
        _check_network(config.model.network, path)
        model = rebuild_model(plain_model(config.model, len(classes), config.trainer.channels_last))
        with safe_open(path, "pt") as file:
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  # no dict
        model.temperature = _temperature(content.get("temperature", 1.0))  # older files have none
        further = dict(content.get("view_temperatures", {}))
        model.view_temperatures = {str(view): _temperature(found) for view, found in further.items()}
        trained = Trained(model.eval(), config.model.name, classes, int(content["epoch"]))
        record = dict(content["record"])
        _warn_of_changed_code(config, record, path)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise FerError(f"run: '{path}' does not fit the network it names ({first_line(error)})") from error
    return TrainedRun(config, trained, record, [], _reports(path), path)


def _temperature(plain: Any) -> float:
    found = float(plain)
    if not CANDIDATES[0] <= found <= CANDIDATES[-1]:
        raise ValueError(f"its temperature is {found}")
    return found


def _reports(path: Path) -> Path:
    """Return the folder for a file's evaluations: one of another file with the same name keeps its own."""
    digest = sha256(path)
    for folder in numbered(Path("logs/weights", path.stem)):
        scored = [read_metrics(file.parent) or {} for file in folder.glob("evaluation/*/metrics.json")]
        if all(one.get(DIGEST) == digest for one in scored):
            break
    return folder
