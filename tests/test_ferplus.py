"""FER+ from the command to the report: each target trains, and eight classes reach everything that is written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fer.build import build_transforms
from fer.data.datamodule import FaceDataModule
from fer.experiment import Experiment, InterruptedRunError
from fer.labels import EMOTIONS, EMOTIONS_WITH_CONTEMPT
from fer.naming import run_key
from fer.runs import read_metrics
from fer.weights import open_run
from tests.conftest import ROOT, call, composed, refused
from tests.data.layouts import write_table, write_votes
from tests.test_experiment import assert_same, weights
from tests.test_resume import StopAt

SMALL = ("model.network.width=0.25", "data.batch_size=8", "trainer.progress_bar=false", "trainer.accelerator=cpu")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_table(tmp_path / "data" / "fer2013.csv")
    torn = {number: [0, 4, 0, 0, 6, 0, 0, 0, 0, 0] for number in range(3)}  # angry, and nearly happy
    torn |= {number: [0, 0, 0, 6, 4, 0, 0, 0, 0, 0] for number in range(16, 19)}  # sad, and nearly angry
    write_votes(tmp_path / "data" / "fer2013new.csv", torn)
    return tmp_path / "data"


def experiment(root: Path, target: str, folder: str, *options: str, resume: bool = False) -> Experiment:
    arguments = ("data=ferplus", f"data.root={root}", f"data.target={target}", "trainer.max_epochs=1")
    config = composed(*arguments, *SMALL, *options)
    data = FaceDataModule(config.data, build_transforms(config.data.augment), config.seed)
    return Experiment(config, data, Path(folder), resume)


def trained(root: Path, target: str, folder: str, *options: str) -> tuple[Experiment, dict[str, Tensor]]:
    run = experiment(root, target, folder, *options)
    assert run.run()["status"] == "finished"
    return run, weights(folder)


@pytest.mark.usefixtures("no_dashboard")
def test_each_target_trains_to_weights_of_its_own_and_repeats(root: Path) -> None:
    targets = ("majority", "probabilistic", "cross_entropy", "multi_target")
    states = {}
    for target in targets:
        run, states[target] = trained(root, target, target, "optim.ema=null")  # whose mean is of the first steps here
        assert run.classifier.classes == EMOTIONS_WITH_CONTEMPT
        assert run.data.counts["after"].shape == (8,)
    heads = [states[target]["network.network.head.weight"] for target in targets]
    assert all(head.shape[0] == 8 for head in heads)
    assert not [(a, b) for a in range(4) for b in range(a) if torch.equal(heads[a], heads[b])]
    _, again = trained(root, "probabilistic", "again", "optim.ema=null")
    assert_same(again, states["probabilistic"])


@pytest.mark.usefixtures("no_dashboard")
def test_a_stopped_run_goes_on_with_the_labels_that_it_would_have_drawn(root: Path) -> None:
    trained(root, "probabilistic", "whole", "trainer.max_epochs=2")
    stopped = experiment(root, "probabilistic", "stopped", "trainer.max_epochs=2")
    per_epoch = len(stopped.data.train_dataloader())
    stopped.trainer.callbacks.insert(0, StopAt(per_epoch + 1))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        stopped.run()
    experiment(root, "probabilistic", "stopped", "trainer.max_epochs=2", resume=True).run()
    assert_same(weights("whole"), weights("stopped"))


@pytest.mark.usefixtures("no_dashboard")
def test_seven_classes_smoothing_and_weights_train_too(root: Path) -> None:
    options = ("data.contempt=false", "optim.class_weights=balanced", "optim.label_smoothing=0.1")
    run, state = trained(root, "cross_entropy", "run", *options)
    assert run.classifier.classes == EMOTIONS
    assert state["network.network.head.weight"].shape[0] == 7
    record = json.loads(Path("run/metrics.json").read_text())
    assert len(record["data"]["train_counts"]["before"]) == 7


def test_a_sweep_and_its_reports_know_the_eight_classes(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    arguments = ("data=ferplus", f"data.root={root}", "trainer.max_epochs=1", *SMALL)
    told = call("train.py", "-m", "data.target=majority,multi_target", *arguments)
    assert told.status == 0, told.err
    assert "contempt" in told.out
    assert "FER+ (blank, outliers, unknown, leading, majority) keeps 28 train, 14 val, 14 test" in caplog.text
    (sweep,) = Path("logs/sweeps").iterdir()
    board = (sweep / "leaderboard.md").read_text()
    assert "target=majority" in board and "target=multi_target" in board
    runs = [path.parent for path in sweep.glob("*/metrics.json")]
    assert len(runs) == 2
    assert open_run(runs[0]).trained.classes == EMOTIONS_WITH_CONTEMPT

    told = call("evaluate.py", f"run={runs[0]}")
    assert told.status == 0, told.err
    report = (runs[0] / "evaluation" / "test" / "report.html").read_text()
    assert ">contempt<" in report
    moved = root.rename(root.with_name("moved"))
    told = call("evaluate.py", f"run={runs[0]}", f"data_root={moved}", "split=train")
    assert told.status == 0, told.err


def test_an_export_finds_the_votes_where_the_run_did(root: Path) -> None:
    votes = (root / "fer2013new.csv").rename(root.parent / "votes.csv")
    told = call("train.py", "data=ferplus", f"data.root={root}", f"data.votes={votes}", "trainer.max_epochs=1", *SMALL)
    assert told.status == 0, told.err
    (run,) = Path("logs/cnn10").iterdir()
    command = [sys.executable, "-m", "fer.export", f"run={run.resolve()}", f"file={root.parent / 'a.safetensors'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    handed = open_run(root.parent / "a.safetensors")
    assert handed.trained.classes == EMOTIONS_WITH_CONTEMPT
    assert handed.config.data.votes is None  # a place of this machine
    moved = root.rename(root.with_name("moved"))
    told = call("evaluate.py", f"run={run}", f"data_root={moved}", "split=val")
    assert told.status == 0, told.err  # the votes have stayed


def test_missing_votes_end_with_one_sentence_and_leave_nothing(root: Path) -> None:
    (root / "fer2013new.csv").unlink()
    told = call("train.py", "data=ferplus", f"data.root={root}", *SMALL)
    refused(told, "data.votes", str(root / "fer2013new.csv"), "github.com/microsoft/FERPlus")
    assert not Path("logs").exists()
    assert not Path("fer_aug_dataset").exists()


def test_keys_of_ferplus_change_no_other_run() -> None:
    plain, other = composed("data=fer2013"), composed("data=fer2013")
    other.data.target = "multi_target"
    assert run_key(plain, "x") == run_key(other, "x")
    majority, multi = composed("data=ferplus"), composed("data=ferplus", "data.target=multi_target")
    assert run_key(majority, "x") != run_key(multi, "x")
    elsewhere = composed("data=ferplus", "data.votes=elsewhere.csv")
    assert run_key(majority, "x") == run_key(elsewhere, "x")


@pytest.mark.usefixtures("no_dashboard")
def test_a_stopped_run_goes_on_where_its_votes_have_moved(root: Path) -> None:
    stopped = experiment(root, "majority", "stopped", "trainer.max_epochs=2")
    stopped.trainer.callbacks.insert(0, StopAt(len(stopped.data.train_dataloader()) + 1))  # type: ignore[attr-defined]
    with pytest.raises(InterruptedRunError):
        stopped.run()
    (root / "fer2013new.csv").rename("votes.csv")
    refused(call("train.py", "resume=stopped"), "or name it with data.votes")
    refused(call("train.py", "resume=stopped", "data=folder"), "leave out data=folder")
    told = call("train.py", "resume=stopped", "data=ferplus", "data.votes=votes.csv")
    assert told.status == 0, told.err
    assert (read_metrics(Path("stopped")) or {})["epochs"] == 2
