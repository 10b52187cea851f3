"""What `evaluate.py` and `python -m fer.export` do around an evaluation: folders, errors, tables."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig

from fer.commands import report
from fer.compared import over_seeds
from fer.config import DataConfig, EvaluateConfig, ExportConfig, checked, choose
from fer.cross import CrossEvaluator, CrossResult
from fer.data.faces import SPLITS, Split
from fer.errors import FerError
from fer.evaluation import Evaluator, Result
from fer.result_table import write_results
from fer.runs import find_runs
from fer.terminal import console, cross_table, results_table, say
from fer.weights import halved, open_run, save_weights

Scored = TypeVar("Scored", Result, CrossResult)


def evaluate(plain: DictConfig) -> None:
    """Evaluate one run or all runs below a folder; a run that cannot be is reported, and the others go on."""
    try:
        config = checked(plain, EvaluateConfig)
        if config.data is not None or config.others:
            _evaluate_elsewhere(config)
            return
        split = cast(Split, choose(config.split, SPLITS, "split"))
        folders = find_runs(Path(config.run))
        evaluator = Evaluator(split, config.accelerator, config.data_root, config.faces)
    except Exception as error:  # reported like any other, by its sentence or with its traceback
        report(error)
        return
    # runs of a sweep may differ in their seed alone, which their folders' names tell
    several = len(folders) > 1
    results = _each(folders, lambda run: evaluator.evaluate(run, _name(run, Path(config.run)) if several else None))
    # what is made of files of weights does not lie among them
    shared = Path("logs/weights") if folders[0].is_file() else Path(config.run)
    if config.ensemble:
        try:
            if len(results) < len(folders):
                raise FerError("ensemble: not all the runs could be scored, so there is no mean of them")
            results.append(evaluator.average(results, shared))
        except Exception as error:
            report(error)
    seeds = _over_seeds(folders, Path(config.run), results) if several and not folders[0].is_file() else {}
    if results:
        console.print(results_table(split, results, seeds))
    for result in results:
        say(f"{result.name}: {result.report}")
    if several and results:
        try:
            say(f"all of them: {write_results(shared, split, results, seeds)}")
        except FerError as error:
            report(error)


def _evaluate_elsewhere(config: EvaluateConfig) -> None:
    """Evaluate runs on other data sets than their own, all in one table."""
    if not isinstance(config.others, list):
        raise FerError(f"others: '{config.others}' is no list of paths; write others=[one,another]")
    if config.ensemble or config.data_root is not None:
        raise FerError("ensemble and data_root: mean the run's own data; leave them out with data=… and others=…")
    if config.data is not None and config.data.exclude is not None:
        raise FerError("data.exclude: leaves pictures out of training alone; an evaluation scores them all")
    split: Any = choose(config.split, (*SPLITS, "all"), "split")
    folders = find_runs(Path(config.run))
    sets = [] if config.data is None else [config.data]
    # classes that the run does not know are left out when it is scored, and counted then
    lenient = replace(DataConfig(), name="folder", extra_classes="keep", on_error="skip")
    sets += [replace(lenient, root=str(path)) for path in config.others]
    sets = [replace(data, root=_resolved(data.root)) for data in sets]  # reports say which set they are of
    results: list[CrossResult] = []
    for name, data in zip(_names(sets), sets, strict=True):
        evaluator = CrossEvaluator(name, data, split, config.accelerator, config.faces)
        results += _each(folders, partial(_score_elsewhere, evaluator, Path(config.run) if len(folders) > 1 else None))
    if results:
        console.print(cross_table(split, results))
    for result in results:
        say(f"{result.name} on {result.data}, over {', '.join(result.shared)}: {result.report}")


def _resolved(root: str | None) -> str | None:
    """Return the whole path of a folder or file; other names, of Hugging Face's sets say, as they are."""
    return str(Path(root).expanduser().resolve()) if root and Path(root).expanduser().exists() else root


def _score_elsewhere(evaluator: CrossEvaluator, top: Path | None, folder: Path) -> CrossResult:
    run = open_run(folder)
    return evaluator.evaluate(run, run.trained.name if top is None else _name(folder, top))


def _name(run: Path, top: Path) -> str:
    """Return what tells a run from the others below a folder: its path from there."""
    return run.stem if run.is_file() else run.relative_to(top).as_posix()


def _over_seeds(folders: list[Path], top: Path, results: list[Result]) -> dict[str, list[Result]]:
    """Return the results of runs that differ in their seed alone, where two or more could be scored."""
    scored = {result.name: result for result in results}
    known = [folder for folder in folders if _name(folder, top) in scored]
    return {name: [scored[_name(run, top)] for run in runs] for name, runs in over_seeds(known).items()}


def _each(folders: list[Path], score: Callable[[Path], Scored]) -> list[Scored]:
    """Score runs; one that cannot be is reported, and the others go on."""
    scored = []
    for folder in folders:
        try:
            scored.append(score(folder))
        except Exception as error:
            report(error)
    return scored


def _names(sets: list[DataConfig]) -> list[str]:
    """Return what to call the data sets: the names of their folders, and where these are equal with a number."""
    plain = [Path(data.root).expanduser().resolve().name if data.root else data.name for data in sets]
    return [f"{name}-{plain[:at].count(name) + 1}" if plain.count(name) > 1 else name for at, name in enumerate(plain)]


def export(plain: DictConfig) -> None:
    """Write a run's best network into a file, measured on the validation split as it stands there."""
    try:
        config = checked(plain, ExportConfig)
        file = Path(config.file)
        if file.suffix != ".safetensors":
            raise FerError(f"file: '{file}' must end in .safetensors")
        original = open_run(Path(config.run))
        run = halved(original)
        # the copy to hand on does not know any more where this machine has the data
        here = run._replace(config=replace(run.config, data=original.config.data))
        result = Evaluator("val", config.accelerator, config.data_root).score(here)
        accuracies = {view: scores.accuracy for view, scores in result.scores.items()}
        run.trained.model.cpu()
        save_weights(run, file, {"split": "val", "pictures": result.scores["plain"].count, "accuracy": accuracies})
    except Exception as error:
        report(error)
        return
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {100 * accuracies['plain']:.2f} % on the validation split")
