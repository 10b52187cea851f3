"""A training that was stopped, whenever and however, goes on as if it had not been."""

import csv
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer.callbacks.checkpoint import RunCheckpoint
from fer.experiment import InterruptedRunError
from tests.conftest import Sweep, call, composed, refused, run_of
from tests.test_experiment import FROZEN, SMALL, assert_same, experiment, weights


class StopAt(Callback):
    """Presses Ctrl-C while a given step runs, as `CleanStop` sees it."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("step", "options"),
    [
        (3, ()),
        (8, ()),
        (8, ("optim.ema=0.9",)),
        (3, ("optim.optimizer=muon", "optim.lr=0.03")),
        (3, ("optim.mixup=0.2",)),
        (8, ("data.num_workers=2",)),
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(tiny_folder: Path, step: int, options: tuple[str, ...]) -> None:
    experiment(composed(*SMALL, *options), tiny_folder, "whole").run()
    stopped = experiment(composed(*SMALL, *options), tiny_folder, "stopped")
    stopped.trainer.callbacks.insert(0, StopAt(step))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError, match="Everything so far lies in stopped"):
        stopped.run()
    assert torch.load("stopped/last.ckpt", weights_only=True)["global_step"] == step
    assert not Path("stopped/metrics.json").exists()
    Path("stopped").rename("moved")  # to another machine, say
    metrics = experiment(composed(*SMALL, *options), tiny_folder, "moved", resume=True).run()
    assert_same(weights("whole"), weights("moved"))
    assert_same(weights("whole", "best.ckpt"), weights("moved", "best.ckpt"))
    whole = json.loads(Path("whole/metrics.json").read_text())
    assert [metrics[key] for key in ("epochs", "best_epoch", "train", "val", "test")] == [
        whole[key] for key in ("epochs", "best_epoch", "train", "val", "test")
    ]
    assert not Path("stopped").exists()
    assert validated("moved") == validated("whole")


def validated(run: str) -> list[tuple[int, float]]:
    """Return the steps at which TensorBoard shows a run's validation accuracy, and the values there."""
    events = EventAccumulator(run)
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("val/acc")]


def test_a_moved_run_keeps_its_best_checkpoint(tiny_folder: Path) -> None:
    """The best score must be known after the move: a rate of nothing lets no later epoch be better."""
    options = (*SMALL, "trainer.max_epochs=3", "optim.lr=0", "optim.warmup_epochs=0", "model.network.batch_norm=false")
    stopped = experiment(composed(*options), tiny_folder, "here")
    per_epoch = len(stopped.data.train_dataloader())
    stopped.trainer.callbacks.insert(0, StopAt(2 * per_epoch + 1))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        stopped.run()
    best = stopped.best.best_model_score
    Path("here").rename("there")
    resumed = experiment(composed(*options), tiny_folder, "there", resume=True)
    metrics = resumed.run()
    assert resumed.best.best_model_score is not None and best is not None
    assert float(resumed.best.best_model_score) >= float(best)
    assert Path(resumed.best.best_model_path).parent == Path("there").resolve()
    assert (metrics["epochs"], metrics["best_epoch"]) == (3, 1)


@pytest.mark.parametrize("hook", ["on_validation_start", "on_validation_batch_end", "on_validation_end"])
def test_a_validation_that_is_stopped_is_done_again_as_a_whole(tiny_folder: Path, hook: str) -> None:
    class StopInValidation(Callback):
        def stop(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
            if trainer.current_epoch == 1:
                raise KeyboardInterrupt

    options = (*SMALL, "optim.ema=0.9", "data.batch_size=16")
    finished = experiment(composed(*options), tiny_folder, "whole").run()
    stopped = experiment(composed(*options), tiny_folder, "stopped")
    callback = StopInValidation()
    setattr(callback, hook, callback.stop)
    stopped.trainer.callbacks.insert(0, callback)  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        stopped.run()
    metrics = experiment(composed(*options), tiny_folder, "stopped", resume=True).run()
    whole, resumed = (torch.load(Path(name) / "last.ckpt", weights_only=True) for name in ("whole", "stopped"))
    assert_same(whole["state_dict"], resumed["state_dict"])
    assert_same(whole["current_model_state"], resumed["current_model_state"])
    assert [metrics[key] for key in ("best_epoch", "train", "val", "test")] == [
        finished[key] for key in ("best_epoch", "train", "val", "test")
    ]
    tables = []
    for name in ("whole", "stopped"):
        with (Path(name) / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert all(row["images_per_s"] != "0.0" for row in rows)  # of an epoch that was only validated
        tables.append([{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in rows])
    assert tables[0] == tables[1]


def test_a_stop_is_saved_however_often_ctrl_c_is_pressed(tiny_folder: Path) -> None:
    class Impatient(Callback):
        def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
            signal.raise_signal(signal.SIGINT)

    stopped = experiment(composed(*SMALL), tiny_folder, "stopped")
    stopped.trainer.callbacks[:0] = [StopAt(2), Impatient()]  # type: ignore[attr-defined]
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedRunError, match="Everything so far lies in stopped"):
        stopped.run()
    assert torch.load("stopped/last.ckpt", weights_only=True)["global_step"] == 2
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize("hook", ["on_before_optimizer_step", "on_train_batch_end"])
def test_a_step_that_is_stopped_by_force_is_done_again_as_a_whole(tiny_folder: Path, hook: str) -> None:
    class StopWithinStep(Callback):
        def stop(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
            if trainer.current_epoch == 1 and trainer.fit_loop.batch_idx == 1:
                raise RuntimeError("out of memory")

    experiment(composed(*SMALL), tiny_folder, "whole").run()
    stopped = experiment(composed(*SMALL), tiny_folder, "stopped")
    callback = StopWithinStep()
    setattr(callback, hook, callback.stop)
    stopped.trainer.callbacks.append(callback)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError):
        stopped.run()
    experiment(composed(*SMALL), tiny_folder, "stopped", resume=True).run()
    assert_same(weights("whole"), weights("stopped"))
    assert_same(weights("whole", "best.ckpt"), weights("stopped", "best.ckpt"))


@pytest.mark.parametrize("epoch", [0, 1])
def test_an_end_of_an_epoch_that_is_stopped_by_force_is_done_again(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    options = (*SMALL, "optim.lr=0.02", "trainer.monitor=val/loss")  # better in either epoch
    finished = experiment(composed(*options), tiny_folder, "whole").run()
    write = RunCheckpoint._save_checkpoint

    def stop(self: RunCheckpoint, trainer: L.Trainer, filepath: str) -> None:
        if self.monitor and trainer.current_epoch == epoch:
            raise KeyboardInterrupt
        write(self, trainer, filepath)

    stopped = experiment(composed(*options), tiny_folder, "stopped")
    with monkeypatch.context() as patched, pytest.raises(InterruptedRunError) as caught:
        patched.setattr(RunCheckpoint, "_save_checkpoint", stop)
        stopped.run()
    assert caught.value.kept == (epoch == 1)
    metrics = experiment(composed(*options), tiny_folder, "stopped", resume=caught.value.kept).run()
    assert metrics["best_epoch"] == finished["best_epoch"] == 2
    assert_same(weights("whole"), weights("stopped"))
    assert_same(weights("whole", "best.ckpt"), weights("stopped", "best.ckpt"))


@pytest.mark.skipif(sys.platform == "win32", reason="Lightning knows no such end of a job there")
def test_a_job_that_is_ended_between_two_epochs_goes_on_with_the_next(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndOfJob(Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 0:
                signal.raise_signal(signal.SIGTERM)

    options = (*SMALL, "data.num_workers=2", "trainer.max_epochs=3")
    experiment(composed(*options), tiny_folder, "whole").run()
    stopped = experiment(composed(*options), tiny_folder, "stopped")
    stopped.trainer.callbacks.insert(0, EndOfJob())  # type: ignore[attr-defined]
    with monkeypatch.context() as patched, pytest.raises(InterruptedRunError):
        patched.setattr(RunCheckpoint, "_due", lambda *_: False)  # as where an epoch takes a second
        stopped.run()
    experiment(composed(*options), tiny_folder, "stopped", resume=True).run()
    assert_same(weights("whole"), weights("stopped"))


def test_a_stop_behind_the_last_batch_spares_the_test(tiny_folder: Path) -> None:
    whole = experiment(composed(*SMALL), tiny_folder, "whole")
    finished = whole.run()
    stopped = experiment(composed(*SMALL), tiny_folder, "stopped")
    stopped.trainer.callbacks.insert(0, StopAt(whole.trainer.global_step))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError, match="Everything so far lies in stopped"):
        stopped.run()
    assert not Path("stopped/metrics.json").exists()
    metrics = experiment(composed(*SMALL), tiny_folder, "stopped", resume=True).run()
    assert [metrics[key] for key in ("epochs", "train", "val", "test")] == [
        finished[key] for key in ("epochs", "train", "val", "test")
    ]
    assert_same(weights("whole"), weights("stopped"))


def test_a_stop_between_the_last_epoch_and_the_test_says_how_to_go_on(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = experiment(composed(*SMALL), tiny_folder, "stopped")

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(InterruptedRunError, match="Everything so far lies in"):
        patched.setattr("fer.experiment.read_checkpoint", press)
        stopped.run()
    assert experiment(composed(*SMALL), tiny_folder, "stopped", resume=True).run()["status"] == "finished"


def test_a_run_that_lost_its_best_checkpoint_is_not_resumed(tiny_sweep: Sweep) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    for name in ("metrics.json", "best.ckpt"):
        Path("run", name).unlink()
    refused(call("train.py", "resume=run"), "no best.ckpt")


def test_a_run_goes_on_without_the_weights_that_it_began_with(tiny_folder: Path) -> None:
    stopped = experiment(composed(*FROZEN), tiny_folder, "stopped")
    stopped.trainer.callbacks.insert(0, StopAt(2))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        stopped.run()
    config = composed(*FROZEN, "model.weights=gone.safetensors")
    assert experiment(config, tiny_folder, "stopped", resume=True).run()["epochs"] == 2


@pytest.mark.parametrize("damaged", [False, True])
def test_a_best_network_from_behind_the_point_of_the_resume_is_forgotten(tiny_folder: Path, damaged: bool) -> None:
    stopped = experiment(composed(*SMALL), tiny_folder, "run")
    stopped.trainer.callbacks.insert(0, StopAt(8))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        stopped.run()
    for name, change in (("best.ckpt", {"global_step": 1000}), ("last.ckpt", {})):
        # as if a kill had come behind an epoch whose last checkpoint was left out, and which was the best
        checkpoint = torch.load(f"run/{name}", weights_only=True)
        for state in checkpoint["callbacks"].values():
            if isinstance(state, dict) and state.get("monitor"):
                state.update(best_model_score=torch.tensor(1.0), best_k_models={"run/best.ckpt": torch.tensor(1.0)})
        torch.save(checkpoint | change, f"run/{name}")
    if damaged:
        Path("run/best.ckpt").write_bytes(Path("run/best.ckpt").read_bytes()[:1000])
    metrics = experiment(composed(*SMALL), tiny_folder, "run", resume=True).run()
    kept = torch.load("run/best.ckpt", weights_only=True)
    assert kept["global_step"] < 1000
    assert metrics["best_epoch"] == kept["epoch"] + 1


class TerminateAt(Callback):
    """Ends the training as a batch system does, where Lightning itself takes no notice."""

    def __init__(self, hook: str) -> None:
        setattr(self, hook, lambda *_: signal.raise_signal(signal.SIGTERM))


@pytest.mark.skipif(sys.platform == "win32", reason="Lightning knows no such end of a job there")
@pytest.mark.parametrize("hook", ["on_train_end", "on_validation_end", "on_test_end"])
def test_a_job_that_is_ended_before_its_figures_are_written_does_not_go_on(tiny_folder: Path, hook: str) -> None:
    run = experiment(composed(*SMALL), tiny_folder, "run")
    run.trainer.callbacks.append(TerminateAt(hook))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        run.run()
    assert not Path("run/metrics.json").exists()
    assert experiment(composed(*SMALL), tiny_folder, "run", resume=True).run()["status"] == "finished"


def test_damaged_small_files_do_not_keep_a_run_from_going_on(tiny_folder: Path) -> None:
    stopped = experiment(composed(*SMALL), tiny_folder, "run")
    stopped.trainer.callbacks.insert(0, StopAt(3))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        stopped.run()
    Path("run/environment.json").write_text("{")
    Path("run/metrics.json").write_text("{}")
    told = call("train.py", "resume=run")
    assert told.status == 0, told.err
    assert json.loads(Path("run/metrics.json").read_text())["status"] == "finished"
