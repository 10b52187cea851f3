"""Compare runs: which belong together, and what tells the others apart."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from fer.errors import FerError
from fer.files import sha256
from fer.labels import EMOTIONS_WITH_CONTEMPT
from fer.naming import INERT, flat, meaningful
from fer.runs import EXCLUDED, read_config, read_environment, read_metrics

# keys that are resolved when a run starts; one that failed before that still holds "auto" or None
RESOLVED = {"data.name", "data.digest", "trainer.max_epochs"}
# keys in which runs of one group may differ
APART = {"seed", *INERT}


class Run(NamedTuple):
    """A run's folder and its content.

    Attributes:
        folder: The folder.
        metrics: Its `metrics.json`.
        config: Its configuration, flat; files that it names count by their content, not by their place.
    """

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]


def read_run(folder: Path, metrics: dict[str, Any]) -> Run:
    """Return a run whose `metrics.json` was read before.

    Raises:
        FerError: If its configuration cannot be read.
    """
    return Run(folder, metrics, _config(folder, metrics))


def group(runs: Sequence[Run]) -> list[list[Run]]:
    """Group the runs that differ in nothing but their seed."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        told = {name: str(value) for name, value in run.config.items() if name not in APART and value is not None}
        groups.setdefault((*sorted(told.items()), ("status", run.metrics["status"])), []).append(run)
    return list(groups.values())


def one_a_seed(runs: Sequence[Run]) -> list[Run]:
    """Return the last run of each seed: repeating a run is not another random draw."""
    return list({str(run.config.get("seed")): run for run in runs}.values())


def over_seeds(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the groups of finished runs that differ only in their seed, each under a name that tells it apart."""
    finished = []
    for folder in folders:
        known = read_metrics(folder) or {}
        with suppress(FerError, TypeError, AttributeError):  # a damaged record: its run is scored, but not compared
            if known.get("status") == "finished" and "model" in known:
                finished.append(read_run(folder, known))
    groups = [one_a_seed(members) for members in group(finished)]
    names = names_apart([first for first, *_ in groups])
    return {
        name: [run.folder for run in members] for name, members in zip(names, groups, strict=True) if len(members) > 1
    }


def names_apart(runs: Sequence[Run]) -> list[str]:
    """Return each run's model, with what tells the run from the others of the same model."""
    names = [""] * len(runs)
    for model in {run.metrics["model"] for run in runs}:
        places = [place for place, run in enumerate(runs) if run.metrics["model"] == model]
        alike = [runs[place] for place in places]
        for place, detail in zip(places, _overrides_apart(alike) or _keys_apart(alike), strict=True):
            names[place] = f"{model} ({detail})" if detail else model
    return names


def _config(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration, flat, without keys that have no effect in it."""
    config = meaningful(flat(OmegaConf.to_container(read_config(folder))))
    if (folder / EXCLUDED).is_file():  # what it lists matters, not where it is
        config["data.exclude"] = f"{EXCLUDED}@{sha256(folder / EXCLUDED)[:7]}"
    record = read_environment(folder)
    for key in ("distill.teacher", "model.start"):  # likewise
        config[key] = _built_on(config.get(key), record.get(key.split(".")[1]))
    if isinstance(weights := record.get("weights"), dict):
        config["model.weights"] = _file(weights)
        config.pop("model.network.weights", None)  # the same once more
    if isinstance(own := record.get("network"), dict):  # a network's file can change without its name
        config["model.network"] = _file(own)
    if isinstance(transforms := record.get("transforms"), dict):
        config |= {f"data.augment.transforms.{name}": _file(own) for name, own in transforms.items()}
    learned = record.get("data", {}).get("learned") or ()
    if others := [name for name in learned if name not in EMOTIONS_WITH_CONTEMPT]:  # the digest knows only their labels
        config["data.classes"] = ", ".join(others)
    # runs on other data are not further seeds of the same
    return {**config, "data.digest": metrics.get("data", {}).get("digest")}


def _file(own: Mapping[str, Any]) -> str:
    return f"{own.get('file')}@{str(own.get('sha256'))[:7]}"


def _built_on(paths: Any, origins: Any) -> str | None:
    """Return the names of the trained networks that a run built on, with the beginnings of their SHA-256."""
    if not paths:
        return None
    if isinstance(paths, list):
        known = origins if isinstance(origins, list) else []
        return " + ".join(filter(None, (_built_on(*pair) for pair in zip_longest(paths, known))))
    digest = str(origins.get("sha256", ""))[:7] if isinstance(origins, dict) else ""
    return Path(str(paths)).name + (f"@{digest}" if digest else "")


def _overrides_apart(runs: Sequence[Run]) -> list[str] | None:
    """Return what each run's command line set differently from the others'; None if that does not tell them apart."""
    given = []
    for run in runs:
        known = run.metrics.get("overrides")
        if not isinstance(known, list):  # written by an older version
            return None
        pairs = (str(text).lstrip("+").partition("=")[::2] for text in known)
        given.append({key: value for key, value in pairs if key not in {*APART, "model"}})
    keys = [key for key in dict.fromkeys(key for pairs in given for key in pairs) if _differs(key, given)]
    told = [_detail({key: pairs[key] for key in keys if key in pairs}, keys) for pairs in given]
    return told if len(set(told)) == len(told) else None


def _keys_apart(runs: Sequence[Run]) -> list[str]:
    """Return some keys of each run's configuration with their values: three, or more if three are not enough."""
    configs = [run.config for run in runs]
    keys = [key for key in dict.fromkeys(key for config in configs for key in config) if _differs(key, configs)]
    keys = [key for key in keys if key not in APART]
    # keys that some runs lack, because another version of this program wrote them, say least
    keys.sort(key=lambda key: not all(key in config for config in configs))
    for count in range(3, max(4, len(keys) + 1)):
        chosen = keys[:count]
        told = [_detail({key: config[key] for key in chosen if key in config}, chosen) for config in configs]
        if len(set(told)) == len(told):
            break
    return told


def _detail(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return keys with their values, each key shortened to its last part, or to two parts where one is ambiguous."""
    ends = [key.split(".")[-1] for key in keys]
    short = {
        key: end if ends.count(end) == 1 else ".".join(key.split(".")[-2:]) for key, end in zip(keys, ends, strict=True)
    }
    return ", ".join(f"{short[key]}={value}" for key, value in values.items())


def _differs(key: str, configs: Sequence[Mapping[str, Any]]) -> bool:
    values = {_comparable(config.get(key)) for config in configs}
    return len(values - {"auto", "None"} if key in RESOLVED else values) > 1


def _comparable(value: object) -> str:
    # 20 and 20.0 are one number, written down before and after the configuration's types were checked
    return str(float(value)) if isinstance(value, int) and not isinstance(value, bool) else str(value)
