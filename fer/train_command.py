"""What `train.py` does around an experiment: folders, resuming, sweeps."""

import hashlib
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape
from rich.table import Table

from fer.checkpoint import check_kept, read_checkpoint
from fer.checks import validate
from fer.claim import ClaimedError, claimed
from fer.cluster import one_device, settle_rank
from fer.commands import SWEEP, report, speak_as
from fer.config import TrainConfig, checked
from fer.data.datamodule import FaceDataModule
from fer.data.sources import still_found
from fer.errors import FerError
from fer.experiment import Experiment, InterruptedRunError
from fer.leaderboard import terminal_table, write_leaderboard
from fer.naming import INERT, run_name, single_folder, sweep_folder, swept_keys
from fer.reading import open_data
from fer.runs import (
    check_data,
    checked_config,
    make_folder,
    overrides,
    read_environment,
    read_metrics,
    remove_empty,
    repeatable_config,
    write_json,
)
from fer.terminal import console, counted, say

SWEPT = "FER_SWEPT"
MOVABLE = INERT - {"logs", "resume", "data.download"}  # what may differ in a resumed run

log = logging.getLogger(__name__)


class NoSweepError(FerError):
    """A setting that no sweep takes; one value of several fails like any other job."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.whole = key not in os.environ[SWEPT].split()


class SweepCallback(Callback):
    """Records a sweep's folder where all its jobs, whatever process they run in, can see it."""

    jobs = 0

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep the folder and the keys in the environment; a job's own configuration knows nothing of the sweep."""
        # unresolved: what a setting refers to may be known only within a job
        told: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        os.environ[SWEEP] = str(sweep_folder(config.logs, told))
        os.environ[SWEPT] = " ".join(swept_keys(told))

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count the jobs of this process."""
        self.jobs += 1

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Say so if there was nothing to do: a pattern that nothing fits looks like a sweep that is done."""
        if not self.jobs and config.hydra.launcher._target_.endswith("BasicLauncher"):  # others have their processes
            report(FerError("-m: nothing fits these settings, so nothing was trained; look at glob(…) and range(…)"))


def train(plain: DictConfig) -> None:
    """Train one configuration, or one job of a sweep."""
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        if sweeping:
            _train_job(plain, Path(os.environ[SWEEP]))
        else:
            _train_single(plain)
    except InterruptedRunError as error:
        resume = f"python train.py resume={error.folder}" if error.kept else "a new start"
        say(f"\n{error}; go on with {'the same sweep, started again' if sweeping else resume}")
        raise KeyboardInterrupt from error
    except Exception as error:  # `report` shows a defect's traceback, and only the message of anything else
        report(error)


def _train_single(plain: DictConfig) -> None:
    config = checked(plain, TrainConfig)
    validate(config)
    if config.resume is not None:
        _resume(plain, Path(config.resume))
        return
    speak_as(settle_rank(config.trainer.devices))
    data = open_data(config)
    folder = single_folder(config)
    make_folder(folder)
    try:
        with claimed(folder):
            _train(config, data, folder)
    finally:
        remove_empty(folder, Path(config.logs))


def _train_job(plain: DictConfig, sweep: Path) -> None:
    """Train one job of a sweep, unless that was done before; a failure is noted, and the sweep goes on."""
    folder = unstarted = sweep / _unstarted_name(plain)
    shutil.rmtree(unstarted, ignore_errors=True)  # left behind by an earlier failure of this job
    try:
        config = checked(plain, TrainConfig)
        validate(config)
        if config.resume is not None:
            raise NoSweepError("resume", "goes on with one run; leave out -m")
        if not one_device(config.trainer.devices):
            # with several devices, each process would walk through the whole sweep
            reason = "a sweep trains on one device, 1 or [number]; leave out -m for several"
            raise NoSweepError("trainer.devices", reason)
        data = open_data(config)
        folder = sweep / run_name(config, data.all_faces)
        if _skipped(folder):
            return
        make_folder(folder)
        with claimed(folder):
            if not _skipped(folder):  # another process may have finished it just before
                _train(config, data, folder, resume=(folder / "last.ckpt").is_file())
    except ClaimedError:  # the same sweep, started twice: they share the work
        say(f"{folder} is being trained by another process: skipped.")
    except InterruptedRunError:
        raise
    except Exception as error:
        if not (isinstance(error, NoSweepError) and error.whole):
            with suppress(OSError, FerError):  # on a full disk
                _note_failure(folder, plain, error)
        raise
    finally:
        remove_empty(folder, sweep)
        _update_leaderboard(sweep)


def _skipped(folder: Path) -> bool:
    if finished := (read_metrics(folder) or {}).get("status") == "finished":
        say(f"{folder} is finished: skipped.")
    return finished


def _unstarted_name(plain: DictConfig) -> str:
    """Return a name for a job that fails before its data are read; a run's own name depends on them."""
    # must not depend on where the data are: a job that failed because they were missing is replaced once they are found
    unnamed = INERT - set(os.environ[SWEPT].split())
    told = sorted(text for text in overrides() if text.lstrip("+").partition("=")[0] not in unnamed)
    digest = hashlib.blake2b(",".join(told).encode(), digest_size=4).hexdigest()
    return f"{_selected(plain, 'model.name') or 'unnamed'}-unstarted-{digest}".replace("/", "-")


def _selected(plain: DictConfig, key: str) -> Any:
    """Return a value; None where it refers to something that is not there, which may be why a job fails."""
    return OmegaConf.select(plain, key, throw_on_resolution_failure=False)


def _note_failure(folder: Path, plain: DictConfig, error: Exception) -> None:
    """Leave a failed job's reason and configuration for the leaderboard."""
    make_folder(folder)
    if not (folder / "config.yaml").is_file():
        OmegaConf.save(plain, folder / "config.yaml")
    model, seed = (_selected(plain, key) for key in ("model.name", "seed"))
    failure = {
        "status": "failed",
        "model": model or "unnamed",
        "seed": seed,
        "overrides": overrides(),
        "error": str(error),
    }
    write_json(folder / "metrics.json", failure)


def _resume(plain: DictConfig, folder: Path) -> None:
    if not folder.is_dir():
        raise FerError(f"resume: there is no folder '{folder}'")
    inner = next(folder.glob("*/config.yaml"), None)
    if inner and not (folder / "config.yaml").is_file():
        raise FerError(
            f"resume: '{folder}' holds runs and is none; name one, as resume={inner.parent}, or start its sweep again"
        )
    known = repeatable_config(folder)
    given = {text.partition("=")[0]: text for text in overrides()}
    refused = [text for key, text in given.items() if key not in ("resume", *MOVABLE)]
    if "data=ferplus" in refused and OmegaConf.select(known, "data.name") == "ferplus":
        refused.remove("data=ferplus")  # without it, Hydra knows no data.votes
    if refused:
        raise FerError(
            f"resume goes on with the run's own configuration: leave out {', '.join(refused)}, or start a new run"
        )
    for key in set(given) & set(MOVABLE):
        OmegaConf.update(known, key, OmegaConf.select(plain, key))
    config = checked_config(known, folder / "config.yaml")
    if "data.root" not in given:
        config.data = still_found(config.data)
    speak_as(settle_rank(config.trainer.devices))
    if (metrics := read_metrics(folder) or {}).get("status") == "finished":
        epochs = counted(metrics["epochs"], "epoch")
        say(f"{folder} is finished: {epochs}. For more, start another run from its weights: model.start={folder}")
        return
    if not (folder / "last.ckpt").is_file():
        raise FerError(f"resume: '{folder}' holds no last.ckpt; start the run anew")
    make_folder(folder, "resume a copy of the run in a folder that can")
    with claimed(folder):
        _train(config, open_data(config), folder, resume=True)


def _train(config: TrainConfig, data: FaceDataModule, folder: Path, resume: bool = False) -> None:
    if resume:
        check_data(folder, read_environment(folder), data.digest, data.all_faces)
        check_kept(folder, read_checkpoint(folder / "last.ckpt", config.model))
    experiment = Experiment(config, data, folder, resume)
    console.print(_counts_table(data))
    epochs = counted(config.trainer.max_epochs, "epoch")
    say(
        f"{'Resuming' if resume else 'Training'} {config.model.name} for {epochs} "
        f"on {experiment.trainer.strategy.root_device} ({experiment.trainer.precision}), in {folder}"
    )
    metrics = experiment.run()
    if not metrics:  # not the process that writes
        return
    console.print(_summary(metrics))
    for label, text in (
        ("everything", str(folder)),
        ("report", f"python evaluate.py run={folder}" + ("" if config.trainer.test else " split=val")),
        ("dashboard", f"tensorboard --logdir {config.logs}"),
    ):
        say(f"{label:>10}: {text}")


def _update_leaderboard(folder: Path) -> None:
    try:
        table = write_leaderboard(folder)
    except OSError as error:  # open in Excel, say: no reason to lose what was trained
        log.warning("%s: the leaderboard cannot be written (%s); it is next time.", folder, error.strerror)
        return
    if table:
        console.print(terminal_table(table))
        say(str(folder / "leaderboard.md"))


def _counts_table(data: FaceDataModule) -> Table:
    """Return the training faces of each class, before and after oversampling."""
    table = Table(title="Training faces")
    for name in ("class", "as read", "after oversampling"):
        table.add_column(name, justify="left" if name == "class" else "right")
    before, after = data.counts["before"], data.counts["after"]
    for name, *counts in zip(data.all_faces.classes, before, after, strict=True):
        table.add_row(escape(name), *(f"{count:,}" for count in counts))
    table.add_section()
    table.add_row("all", f"{np.sum(before):,}", f"{np.sum(after):,}")
    return table


def _summary(metrics: dict[str, Any]) -> Table:
    """Return the results of a training."""
    table = Table(title=f"{metrics['model']}, epoch {metrics['best_epoch']} of {metrics['epochs']}")
    for name in ("split", "accuracy", "loss", "macro F1"):
        table.add_column(name, justify="left" if name == "split" else "right")
    for split in ("train", "val", "test"):
        figures = metrics[split]
        if figures is None:  # trainer.test=false
            continue
        f1 = f"{100 * figures['f1']:.2f} %" if "f1" in figures else ""
        table.add_row(split, f"{100 * figures['acc']:.2f} %", f"{figures['loss']:.4f}", f1)
    table.caption = (
        f"{metrics['parameters'] / 1e6:.2f} M parameters, {metrics['multiply_adds'] / 1e6:.0f} M multiply-adds, "
        f"{metrics['seconds'] / 60:.1f} min, {metrics['images_per_s']:.0f} images/s"
    )
    return table
