"""A sweep's results in one table: Markdown, CSV, a picture and the terminal."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from rich.markup import escape
from rich.table import Table

from fer.config import FERPLUS_KEYS
from fer.errors import FerError, first_line
from fer.figures import leaderboard, png_bytes
from fer.files import csv_text, sha256, write_whole
from fer.runs import EXCLUDED, INERT, read_config, read_environment, read_metrics

log = logging.getLogger(__name__)


class Reference(NamedTuple):
    """Accuracies of the Keras networks that these models are measured against, on FER2013."""

    train_acc: float
    val_acc: float


REFERENCE: dict[str, Reference] = {
    "cnn10": Reference(0.6897, 0.6398),
    "cnn12": Reference(0.68, 0.63),
    "cnn16": Reference(0.5161, 0.5335),
    "mnv2": Reference(0.6513, 0.6041),
    "mnv2_ft": Reference(0.7160, 0.6256),
}

FIGURES: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "train_acc": lambda run: run["train"]["acc"],
    "train_loss": lambda run: run["train"]["loss"],
    "val_acc": lambda run: run["val"]["acc"],
    "val_loss": lambda run: run["val"]["loss"],
    "val_f1": lambda run: run["val"]["f1"],
    "test_acc": lambda run: run["test"] and run["test"]["acc"],  # None with trainer.test=false
    "test_f1": lambda run: run["test"] and run["test"]["f1"],
    "best_epoch": lambda run: run["best_epoch"],
    "epochs": lambda run: run["epochs"],
    "seconds": lambda run: run["seconds"],
    "images_per_s": lambda run: run["images_per_s"],
}

# what "auto" and None in a run that never started would have become
RESOLVED = {"data.name", "data.digest", "trainer.max_epochs"}
# keys by which runs of one group may differ
APART = {"seed", *map(".".join, INERT)}

_FERPLUS_KEYS = {f"data.{key}" for key in FERPLUS_KEYS}


class Run(NamedTuple):
    """A run's folder with what stands in it."""

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]


def collect(folder: Path) -> list[Run]:
    """Return the runs in a sweep's folder, those that failed included; what cannot be read is left out and said."""
    runs = []
    for path in sorted(folder.glob("*/metrics.json")):
        metrics = read_metrics(path.parent)
        if metrics is None or not (path.parent / "config.yaml").is_file():
            continue
        try:
            runs.append(_run(path.parent, metrics))
        except (FerError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s is left out of the leaderboard: it cannot be read (%s)", path.parent, first_line(error))
    return runs


def _run(folder: Path, metrics: dict[str, Any]) -> Run:
    if metrics["status"] == "finished":
        for get in FIGURES.values():  # all are there
            get(metrics)
    return Run(folder, metrics, _config(folder, metrics))


def _config(folder: Path, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration, flat, in the form in which runs of all versions of this program compare."""
    config = _flat(read_config(folder))
    if config.get("data.name") != "ferplus":  # they mean nothing, and older runs have none of them
        config = {key: value for key, value in config.items() if key not in _FERPLUS_KEYS}
    if not config.get("distill.teacher"):
        config = {key: value for key, value in config.items() if not key.startswith("distill.")}
    if not config.get("model.network.remember"):
        config.pop("model.network.remember", None)
    config.setdefault("optim.mixup", None)
    if (folder / EXCLUDED).is_file():  # it matters what, not where
        config["data.exclude"] = f"{EXCLUDED}@{sha256(folder / EXCLUDED)[:7]}"
    record = read_environment(folder)
    for key in ("distill.teacher", "model.start"):  # likewise, and older runs have none
        config[key] = _built_on(config.get(key), record.get(key.split(".")[1]))
    # runs on other data are no other seeds of the same
    return {**config, "data.digest": metrics.get("data", {}).get("digest")}


def _built_on(paths: Any, origins: Any) -> str | None:
    """Return the names of the trained networks that a run built on, with the beginnings of their SHA-256."""
    if not paths:
        return None
    if isinstance(paths, list):
        known = origins if isinstance(origins, list) else []
        return " + ".join(filter(None, (_built_on(*pair) for pair in zip_longest(paths, known))))
    digest = str(origins.get("sha256", ""))[:7] if isinstance(origins, dict) else ""
    return Path(str(paths)).name + (f"@{digest}" if digest else "")


def _flat(config: DictConfig) -> dict[str, Any]:
    def walk(prefix: str, node: Any) -> dict[str, Any]:
        if not isinstance(node, dict):
            return {prefix: node}
        flat: dict[str, Any] = {}
        for key, value in node.items():
            flat.update(walk(f"{prefix}.{key}" if prefix else str(key), value))
        return flat

    return walk("", OmegaConf.to_container(config))


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Group runs that differ in nothing but their seed, and return a row for each group, best first.

    A row has "name", "model", "status", "seeds", each of `FIGURES` and its deviation over seeds ("…_std", None for
    one seed), "parameters", "trainable_parameters", "multiply_adds", the reference's accuracies, "folders" and, for
    a group of failed runs, "error".
    """
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        key = tuple(sorted((name, str(value)) for name, value in run.config.items() if name not in APART))
        groups.setdefault((*key, ("status", run.metrics["status"])), []).append(run)
    names = _names([group[0] for group in groups.values()])
    table = [_row(name, group) for name, group in zip(names, groups.values(), strict=True)]
    return sorted(table, key=lambda row: -(row["val_acc"] or 0.0))


def _names(firsts: Sequence[Run]) -> list[str]:
    """Return each group's model, with what tells it from others of the same model."""
    names = []
    for run in firsts:
        others = [other for other in firsts if other.metrics["model"] == run.metrics["model"]]
        told = _overrides_apart(others) or _keys_apart(others)
        detail = told[next(place for place, other in enumerate(others) if other is run)]
        names.append(f"{run.metrics['model']} ({detail})" if detail else run.metrics["model"])
    return names


def _overrides_apart(runs: Sequence[Run]) -> list[str] | None:
    """Return for each run what its command line set otherwise than the others'; None if that is not all there is."""
    given = []
    for run in runs:
        known = run.metrics.get("overrides")
        if not isinstance(known, list):  # an older version's
            return None
        pairs = (str(text).lstrip("+").partition("=")[::2] for text in known)
        given.append({key: value for key, value in pairs if key not in {*APART, "model"}})
    keys = [key for key in dict.fromkeys(key for pairs in given for key in pairs) if _differs(key, given)]
    told = [_detail({key: pairs[key] for key in keys if key in pairs}, keys) for pairs in given]
    return told if len(set(told)) == len(told) else None


def _keys_apart(runs: Sequence[Run]) -> list[str]:
    """Return for each run some keys of its configuration with their values: three, or more where these are alike."""
    configs = [run.config for run in runs]
    keys = [key for key in dict.fromkeys(key for config in configs for key in config) if _differs(key, configs)]
    keys = [key for key in keys if key not in APART]
    # what some of them lack, as runs of other versions of this program do, says least
    keys.sort(key=lambda key: not all(key in config for config in configs))
    for count in range(3, max(4, len(keys) + 1)):
        chosen = keys[:count]
        told = [_detail({key: config[key] for key in chosen if key in config}, chosen) for config in configs]
        if len(set(told)) == len(told):
            break
    return told


def _detail(values: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return keys with their values; of a key its last part, and more of it where that stands for two of them."""
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


def _row(name: str, group: Sequence[Run]) -> dict[str, Any]:
    first = group[0].metrics
    finished = first["status"] == "finished"
    row: dict[str, Any] = {
        "name": name,
        "model": first["model"],
        "status": first["status"],
        "seeds": len(group),
        "error": first.get("error", ""),
        "folders": " ".join(run.folder.name for run in group),
    }
    for figure, get in FIGURES.items():
        measured = [get(run.metrics) for run in group] if finished else []
        values = [value for value in measured if value is not None]
        row[figure] = mean(values) if values else None
        row[f"{figure}_std"] = stdev(values) if len(values) > 1 else None
    for count in ("parameters", "trainable_parameters", "multiply_adds"):
        row[count] = first.get(count)
    # the reference was measured on FER2013: beside figures on other faces it would say nothing
    reference = REFERENCE.get(first["model"]) if group[0].config.get("data.name") == "fer2013" else None
    row["reference_train_acc"] = reference.train_acc if reference else None
    row["reference_val_acc"] = reference.val_acc if reference else None
    return row


def write_leaderboard(folder: Path) -> list[dict[str, Any]]:
    """Write `leaderboard.md`, `.csv` and `.png` into a sweep's folder and return the rows."""
    table = rows(collect(folder))
    if not table:
        return table
    write_whole(folder / "leaderboard.csv", csv_text(table, list(table[0])))
    write_whole(folder / "leaderboard.md", markdown(table))
    finished = [row for row in table if row["status"] == "finished"]
    if finished:
        write_whole(folder / "leaderboard.png", png_bytes(leaderboard(finished)))
    return table


COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "model": lambda row: row["name"],
    "train acc": lambda row: _percent(row, "train_acc"),
    "val acc": lambda row: _percent(row, "val_acc"),
    "reference train / val": lambda row: _reference(row),
    "test acc": lambda row: _percent(row, "test_acc"),
    "test macro F1": lambda row: _percent(row, "test_f1"),
    "train loss": lambda row: _number(row, "train_loss", 3),
    "val loss": lambda row: _number(row, "val_loss", 3),
    "parameters": lambda row: _millions(row["parameters"]),
    "multiply-adds": lambda row: _millions(row["multiply_adds"]),
    "time": lambda row: "" if row["seconds"] is None else f"{row['seconds'] / 60:.1f} min",
    "images/s": lambda row: _number(row, "images_per_s", 0),
}
IN_A_TERMINAL = ("model", "train acc", "val acc", "reference train / val", "test acc", "time")  # fit 80 characters


def markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as a Markdown table; a failed run says why."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * (len(COLUMNS) - 1)]
    for row in table:
        if row["status"] == "finished":
            lines.append("| " + " | ".join(cell(row) for cell in COLUMNS.values()) + " |")
        else:
            error = str(row["error"]).replace("|", "\\|").replace("\n", " ")
            lines.append(f"| {row['name']} | **{row['status']}**: {error} |" + " |" * (len(COLUMNS) - 2))
    return "\n".join(lines) + "\n"


def terminal_table(table: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as a table for the terminal, with what fits there."""
    shown = Table(title="Leaderboard")
    for name in IN_A_TERMINAL:
        shown.add_column(name, justify="left" if name == "model" else "right")
    for row in table:
        if row["status"] == "finished":
            shown.add_row(*(escape(COLUMNS[name](row)) for name in IN_A_TERMINAL))
        else:
            shown.add_row(escape(row["name"]), f"[red]{row['status']}")
    return shown


def _percent(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return ""
    deviation = row[f"{name}_std"]
    return f"{100 * row[name]:.2f}" + (f" ± {100 * deviation:.2f}" if deviation is not None else "")


def _number(row: Mapping[str, Any], name: str, digits: int) -> str:
    return "" if row[name] is None else f"{row[name]:.{digits}f}"


def _millions(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:.2f} M"


def _reference(row: Mapping[str, Any]) -> str:
    if row["reference_val_acc"] is None:
        return ""
    return f"{100 * row['reference_train_acc']:.2f} / {100 * row['reference_val_acc']:.2f}"
