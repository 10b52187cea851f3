"""The trained networks that a command is given: a run, a file of weights, all of a folder, or a list of these."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

from fer.data.trees import is_litter
from fer.errors import FerError
from fer.runs import read_metrics

log = logging.getLogger(__name__)

LONGEST = 60
"""How many characters of its networks' names a folder's name holds."""


class Chosen(NamedTuple):
    """Some trained networks.

    Attributes:
        paths: Their folders, or files of weights; each of them once.
        names: What tells each from the others: its path from what they have in common. If there is but one, None: it
            needs no name besides its model's.
        together: Where results go that concern all of them.
    """

    paths: list[Path]
    names: list[str | None]
    together: Path


def chosen(run: Any) -> Chosen:
    """Return what `run=path` or `run=[path,another]` stands for.

    Raises:
        FerError: If it is neither a path nor a list of paths, or if there are no networks at one of them.
    """
    given = run if isinstance(run, list) else [run]
    if not given or not all(isinstance(path, str) for path in given):
        raise FerError(f"run: '{run}' is no path and no list of paths; write run=path or run=[one,another]")
    places = [Path(path).expanduser() for path in given]
    paths = list({path.resolve(): path for place in places for path in find_runs(place)}.values())
    if len(paths) == 1:
        return Chosen(paths, [None], paths[0])
    if len(places) == 1:
        files = paths[0].is_file()
        together = _of_weights(places[0]) if files else places[0]
        return Chosen(paths, [_name(path, places[0]) for path in paths], together)
    whole = [path.resolve() for path in paths]
    names = [_name(path, _common(whole) or Path(path.anchor)) for path in whole]
    return Chosen(paths, list(names), Path("logs/together", _joined(names, whole)))


def find_runs(folder: Path) -> list[Path]:
    """Return the folders of the runs in `folder`, or `folder` itself where it is one or a file of weights.

    For a folder that holds files of weights but no runs, return those files. Runs that have no network yet, because
    they have only just begun or were stopped before their first epoch was done, are passed over.

    Raises:
        FerError: If there are none.
    """
    if folder.suffix == ".safetensors" and folder.is_file():
        return [folder]
    if not folder.is_dir():
        if folder.exists():
            raise FerError(f"run: '{folder}' is neither a run's folder nor a file of weights (.safetensors)")
        raise FerError(f"run: there is no '{folder}'; give a run's folder, or a file of weights (.safetensors)")
    if (folder / "config.yaml").is_file():
        return [folder]
    begun = sorted(path.parent for path in folder.glob("**/config.yaml"))
    runs = [run for run in begun if (run / "best.ckpt").is_file() or read_metrics(run)]  # or failed, which is told
    for run in begun:
        if run not in runs:
            log.warning("%s holds no trained network yet and is passed over.", run)
    runs = runs or sorted(path for path in folder.glob("*.safetensors") if not is_litter(path.name))
    if not runs:
        raise FerError(f"run: '{folder}' holds no run (a folder with config.yaml and best.ckpt) and no weights")
    return runs


def _name(path: Path, top: Path) -> str:
    # the runs of a sweep may differ only in their seed, which the names of their folders show
    return (path.with_suffix("") if path.is_file() else path).relative_to(top).as_posix()


def _common(paths: list[Path]) -> Path | None:
    """Return the lowest folder from which their paths tell runs apart, if they are on one drive.

    A run's folder is called after the time of the training, and the one above it after the model.
    """
    try:
        return Path(os.path.commonpath([path.parent if path.is_file() else path.parent.parent for path in paths]))
    except ValueError:
        return None


def _of_weights(folder: Path) -> Path:
    """Return where the results over a folder's files of weights go, named after the folder, since not among them."""
    name = folder.resolve().name
    return Path("logs/weights") if name in ("weights", "") else Path("logs/weights", name)


def _joined(names: list[str], paths: list[Path]) -> str:
    """Return a name for some networks, with six digits that tell them from others of the same names."""
    digits = hashlib.blake2b("\n".join(map(str, paths)).encode(), digest_size=3).hexdigest()
    return f"{'+'.join(name.replace('/', '-') for name in names)[:LONGEST]}-{digits}"
