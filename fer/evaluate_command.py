"""What `evaluate.py` does around an evaluation: folders, errors, tables."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig

from fer.chosen import Chosen, chosen
from fer.commands import reporting
from fer.compared import over_seeds
from fer.config import DataConfig, EvaluateConfig, checked, choose
from fer.cross import CrossEvaluator, CrossResult
from fer.data.faces import SPLITS, Split
from fer.errors import FerError
from fer.evaluation import Evaluator, Result
from fer.result_table import cross_table, results_table, write_results
from fer.runs import overrides
from fer.terminal import console, say
from fer.weights import open_run

FOR_TRAINING = ("data.oversample", "data.augment", "data.batch_size", "data.num_workers")

Scored = TypeVar("Scored", Result, CrossResult)


@reporting()
def evaluate(plain: DictConfig) -> None:
    """Evaluate one run or several; a run that fails is reported, and the others go on."""
    config = checked(plain, EvaluateConfig)
    if config.data is not None or config.others:
        _evaluate_elsewhere(config)
        return
    split = cast(Split, choose(config.split, SPLITS, "split"))
    runs = chosen(config.run)
    evaluator = Evaluator(split, config.accelerator, config.data_root, config.faces)
    results = _each(runs, evaluator.evaluate)
    if config.ensemble:
        with reporting():
            if len(results) < len(runs.paths):
                raise FerError("ensemble: not all the runs could be scored, so there is no mean of them")
            results.append(evaluator.average(results, runs.together))
    seeds = _over_seeds(runs, results)
    if results:
        console.print(results_table(split, results, seeds))
    for result in results:
        say(f"{result.name}: {result.report}")
    if len(runs.paths) > 1 and results:
        say(f"all of them: {write_results(runs.together, split, results, seeds)}")


def _evaluate_elsewhere(config: EvaluateConfig) -> None:
    """Evaluate runs on other data sets than their own, all in one table."""
    if not isinstance(config.others, list):
        raise FerError(f"others: '{config.others}' is no list of paths; write others=[one,another]")
    if config.ensemble or config.data_root is not None:
        raise FerError("ensemble and data_root: mean the run's own data; leave them out with data=… and others=…")
    if config.data is not None and config.data.exclude is not None:
        raise FerError("data.exclude: leaves pictures out of training alone; an evaluation scores them all")
    for key in (text.lstrip("+").partition("=")[0] for text in overrides()):
        if key == "data.size" or key.startswith(FOR_TRAINING):
            raise FerError(f"{key}: an evaluation reads pictures as the run's own network expects them; leave it out")
    split: Any = choose(config.split, (*SPLITS, "all"), "split")
    runs = chosen(config.run)
    sets = [] if config.data is None else [config.data]
    # classes that the run does not know are left out and counted when it is scored
    lenient = replace(DataConfig(), name="folder", extra_classes="keep", on_error="skip")
    sets += [replace(lenient, root=str(path)) for path in config.others]
    sets = [replace(data, root=_resolved(data.root)) for data in sets]  # reports say which set they are of
    results: list[CrossResult] = []
    for name, data in zip(_names(sets), sets, strict=True):
        evaluator = CrossEvaluator(name, data, split, config.accelerator, config.faces)
        results += _each(runs, partial(_score_elsewhere, evaluator))
    if results:
        console.print(cross_table(split, results))
    for result in results:
        say(f"{result.name} on {result.data}, over {', '.join(result.shared)}: {result.report}")


def _resolved(root: str | None) -> str | None:
    """Return the absolute path of a folder or file; other names, such as Hugging Face's, as they are."""
    return str(Path(root).expanduser().resolve()) if root and Path(root).expanduser().exists() else root


def _score_elsewhere(evaluator: CrossEvaluator, path: Path, name: str | None) -> CrossResult:
    run = open_run(path)
    return evaluator.evaluate(run, name or run.trained.name)


def _over_seeds(runs: Chosen, results: list[Result]) -> dict[str, list[Result]]:
    """Return the results of runs that differ in their seed alone, where two or more could be scored."""
    scored = {result.name: result for result in results}
    known = {path: scored[name] for path, name in zip(runs.paths, runs.names, strict=True) if name in scored}
    return {name: [known[path] for path in paths] for name, paths in over_seeds(list(known)).items()}


def _each(runs: Chosen, score: Callable[[Path, str | None], Scored]) -> list[Scored]:
    """Score runs; one that fails is reported, and the others go on."""
    scored = []
    for path, name in zip(runs.paths, runs.names, strict=True):
        with reporting():
            scored.append(score(path, name))
    return scored


def _names(sets: list[DataConfig]) -> list[str]:
    """Return what to call the data sets: the names of their folders, numbered where several are equal."""
    plain = [Path(data.root).expanduser().resolve().name if data.root else data.name for data in sets]
    return [f"{name}-{plain[:at].count(name) + 1}" if plain.count(name) > 1 else name for at, name in enumerate(plain)]
