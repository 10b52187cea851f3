"""What the commands say and return around a training."""

import argparse
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from torchvision.models import MobileNet_V2_Weights

from fer.arguments import readable, without_comment
from fer.callbacks.history import read_rows
from fer.data.faces import Faces
from fer.errors import FerError
from fer.runs import read_metrics, remove_empty
from tests.conftest import Sweep, call, command, link, quick, refused, run_of


def test_help_shows_the_configuration() -> None:
    told = call("train.py", "--help")
    assert told.status == 0
    assert "max_epochs: auto" in told.out


def test_an_argparse_that_checks_help_lets_hydra_run(monkeypatch: pytest.MonkeyPatch) -> None:
    container: Any = argparse._ActionsContainer
    add_argument = container.add_argument

    def checked(self: Any, *arguments: Any, **options: Any) -> argparse.Action:  # as in Python 3.14
        action: argparse.Action = add_argument(self, *arguments, **options)
        self._check_help(action)
        return action

    def check(self: Any, action: argparse.Action) -> None:
        if not isinstance(action.help, str):
            raise ValueError("badly formed help string")

    monkeypatch.setattr(container, "add_argument", checked)
    monkeypatch.setattr(container, "_check_help", check, raising=False)
    told = call("train.py", "--cfg", "job", "seed=41")
    assert told.status == 0
    assert "seed: 41" in told.out
    assert container._check_help is check


def test_a_run_says_what_it_did_and_where_it_lies(tiny_folder: Path) -> None:
    told = command("train.py", *quick(tiny_folder))
    assert told.returncode == 0, told.stderr
    assert told.stderr.startswith("Data: ")
    (folder,) = Path("logs/cnn10").iterdir()
    assert re.search(r"Training faces.+angry\s+│\s+\d+\s+│\s+\d+\s+│", told.stdout, re.DOTALL)
    assert re.search(r"all\s+│\s+200\s+│\s+2\d\d\s+│", told.stdout)
    for line in (f"everything: {folder}", f"python evaluate.py run={folder}", "tensorboard --logdir logs"):
        assert line in told.stdout
    metrics = read_metrics(folder)
    assert metrics is not None
    assert f"{100 * metrics['test']['acc']:.2f} %" in told.stdout
    assert {path.name for path in Path().iterdir()} == {"logs", "fer_aug_dataset", "cache"}


def test_a_finished_run_is_not_resumed(tiny_sweep: Sweep) -> None:
    folder = run_of(tiny_sweep, "cnn10")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    told = call("train.py", f"resume={folder}")
    assert told.status == 0
    assert f"{folder} is finished: 1 epoch. For more" in told.out
    assert f"model.start={folder}" in told.out
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_run_goes_on_where_its_data_have_moved(tiny_sweep: Sweep, tiny_folder: Path, no_dashboard: None) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    Path("run/metrics.json").unlink()  # as if it had been stopped
    config = Path("run/config.yaml")
    config.write_text(config.read_text().replace(str(tiny_folder), "/gone"))
    refused(call("train.py", "resume=run"), "/gone does not exist")
    refused(call("train.py", "resume=run", "optim.lr=1"), "leave out optim.lr=1")
    told = call("train.py", "resume=run", f"data.root={tiny_folder}")
    assert told.status == 0, told.err
    assert yaml.safe_load(config.read_text())["data"]["root"] == str(tiny_folder)


def test_the_home_folder_is_found_behind_a_key(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, no_dashboard: None
) -> None:
    home = Path("home of (me)").resolve()
    home.mkdir()
    link(home / "faces", tiny_folder)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    arguments = [text for text in quick(tiny_folder) if not text.startswith("data.root")]
    told = call("train.py", *arguments, "data.root=~/faces", "trainer.test=false")
    assert told.status == 0, told.err


@pytest.mark.parametrize(
    ("argument", "read"),
    [
        ("data.root=C:\\Users\\José\\fer2013", r"C:\Users\José\fer2013"),
        ("data.root=archive (1).zip", "archive (1).zip"),
        (r"data.root=\\nas\faces", r"\\nas\faces"),
        ("data.root=Gesichter für\\", "Gesichter für\\"),
        ("data.root=a=b", "a=b"),
        ("data.root=plain/path", "plain/path"),
        ("data.root=2026_01_31", "2026_01_31"),
        ("pictures=1e5", "1e5"),
        ("model.start=2026_01_31", "2026_01_31"),
        ("pictures=Anna's", "Anna's"),
        ("run=a 'b' & c\\", "a 'b' & c\\"),
        ("run=#1! <new>", "#1! <new>"),
        ("optim.lr=1e-3", 0.001),
        ("others=[/home/jürgen/a,/b]", ["/home/jürgen/a", "/b"]),
        ("others=[/faces (1), /b]", ["/faces (1)", "/b"]),
        ("others=[]", []),
        ("distill.teacher=[C:\\a\\,2026_01_31]", ["C:\\a\\", "2026_01_31"]),
        ("distill.teacher=['é', b]", ["é", "b"]),
    ],
)
def test_paths_are_read_as_they_are_written(argument: str, read: object) -> None:
    (override,) = OverridesParser.create().parse_overrides([readable(argument)])
    assert override.value() == read


def test_the_home_folder_is_found_in_lists_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(Path.cwd() / "Jörg"))
    (override,) = OverridesParser.create().parse_overrides([readable("others=[~/a,b]")])
    assert override.value() == [str(Path.cwd() / "Jörg" / "a"), "b"]


def test_a_comment_behind_a_command_is_not_read() -> None:
    assert without_comment(["run=#1", "#", "a", "run's", "folder"]) == ["run=#1"]
    assert without_comment(["model=cnn10"]) == ["model=cnn10"]
    told = call("train.py", "model=cnn10", "--cfg", "job", "#", "it's shown (not trained)")
    assert told.status == 0, told.err


@pytest.mark.parametrize(
    "argument",
    [
        "model=cnn10,cnn12",
        "seed=range(3)",
        "x=[é,b]",
        "x={é: b}",
        "x='é'",
        "--cfg",
        "--config-dir=é",
        r"x=a\ \(1\)",
        "x=${y}(é)",
    ],
)
def test_what_means_something_to_hydra_is_left_as_it_is(argument: str) -> None:
    assert readable(argument) == argument


def test_a_sweep_without_its_option_is_told_of_it() -> None:
    refused(call("train.py", "model=cnn10,cnn12"), "model=cnn10,cnn12", "write -m before the settings")


def test_a_sweep_cannot_show_its_configuration() -> None:
    refused(call("train.py", "-m", "model=cnn10,cnn12", "--cfg", "job"), "-m", "--cfg", "leave one of them out")


def test_a_log_file_has_a_line_for_each_epoch(
    tiny_folder: Path, no_dashboard: None, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = [text for text in quick(tiny_folder) if not text.startswith("trainer.")]
    with caplog.at_level(logging.INFO):
        assert call("train.py", *arguments, "trainer.max_epochs=2", "trainer.test=false").status == 0
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Epoch ")]
    (run,) = Path("logs/cnn10").iterdir()
    rows = read_rows(run / "metrics.csv")
    pattern = "Epoch {0:.0f}/2: train {1:.2f} %, val {2:.2f} %, {3:.0f} images/s, "
    figures = [(row["epoch"], 100 * row["train/acc"], 100 * row["val/acc"], row["images_per_s"]) for row in rows]
    for line, of_epoch in zip(lines, figures, strict=True):
        assert line.startswith(pattern.format(*of_epoch))
    assert lines[1].endswith(" 0:00 left")


def test_failures_of_one_command_are_not_the_next_ones() -> None:
    assert call("train.py", "seed=x").status == 1
    assert call("train.py", "--help").status == 0


def test_a_defect_shows_its_traceback(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("by mistake")

    monkeypatch.setattr("fer.train_command.single_folder", broken)
    told = call("train.py", *quick(tiny_folder))
    assert told.status == 1
    assert "Traceback" in told.err
    assert "by mistake" in told.err


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, **options: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(MobileNet_V2_Weights, "get_state_dict", unreachable)


@pytest.mark.usefixtures("no_network", "no_dashboard")
def test_the_sample_goes_on_without_pretrained_weights(
    tiny_faces: Faces, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fer.data.sources.draw_faces", lambda size: tiny_faces)
    arguments = ("model=mnv2", "model.input.size=48", "trainer.max_epochs=1", "trainer.progress_bar=false")
    with caplog.at_level(logging.INFO):
        told = call("train.py", *arguments)
    assert told.status == 0, told.err
    loud = [record.message for record in caplog.records if "NO PRETRAINED WEIGHTS" in record.message]
    assert len(loud) == 1
    assert "RANDOM" in loud[0]
    (sample,) = [record.message for record in caplog.records if "FER2013 was not found" in record.message]
    assert "data/fer2013" in sample
    (run,) = Path("logs/mnv2").iterdir()
    assert call("evaluate.py", f"run={run}").status == 0


def test_only_empty_folders_are_removed(tmp_path: Path) -> None:
    (tmp_path / "logs/cnn10/a/b").mkdir(parents=True)
    (tmp_path / "logs/kept").touch()
    remove_empty(tmp_path / "logs/cnn10/a/b", tmp_path / "logs")
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["kept"]
    remove_empty(tmp_path / "logs", tmp_path)
    assert (tmp_path / "logs/kept").exists()


def test_bytes_that_are_no_letters_in_this_locale_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, way in (("utf-8", "rename it in UTF-8"), ("ascii", "set PYTHONUTF8=1")):
        monkeypatch.setattr(sys, "getfilesystemencoding", lambda encoding=encoding: encoding)
        with pytest.raises(FerError, match=rf"data\.root: .*; {way}"):
            readable("data.root=/home/J\udcc3\udcb6rg")
    monkeypatch.undo()
    assert readable("data.root=/home/Jörg") == "data.root='/home/Jörg'"


@pytest.mark.skipif(os.name == "nt", reason="Windows knows home folders otherwise")
def test_a_tilde_without_a_home_folder_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # whom nobody has entered
    with pytest.raises(FerError, match=r"data\.root: there is no home folder"):
        readable("data.root=~/faces")


def test_processes_that_lightning_starts_have_a_folder_of_hydras(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FerError, match=r"hydra\.run\.dir: results do not go"):
        readable("hydra.run.dir=mine")
    assert readable("hydra.job.chdir=false") == "hydra.job.chdir=false"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert readable("hydra.run.dir=mine") == "hydra.run.dir=mine"


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        ("evaluate.py", ("-m", "run=a,b"), "-m: only train.py goes through several settings"),
        ("evaluate.py", ("--multi", "run=a,b"), "-m: only train.py goes through several settings"),
        ("evaluate.py", ("hydra.mode=MULTIRUN", "run=a,b"), "-m: only train.py goes through several settings"),
        ("train.py", ("resume=nowhere", "optim.lr=1"), "resume: there is no folder 'nowhere'"),
        ("train.py", (f"distill.teacher=[{','.join(f'w{n}.safetensors' for n in range(30))}]",), "w0.safetensors"),
        ("fer/predict.py", ("--multirun", "run=a", "pictures=b,c"), "start this command once for each"),
        ("train.py", ("--config-dir=nowhere",), "nowhere"),
        ("train.py", ("--resolve",), "--resolve: only --cfg job takes it"),
        ("train.py", ("-m", "optim.lr=interval(0.01,0.1)"), "INTERVAL_SWEEP"),
        ("train.py", ("trainer.precision=16-mixed", "trainer.accelerator=cpu"), "16-mixed needs a GPU"),
    ],
)
def test_what_hydra_or_lightning_cannot_do_is_one_sentence(script: str, arguments: tuple[str, ...], said: str) -> None:
    refused(call(script, *arguments), said)
    assert not [path for path in Path().iterdir() if path.name not in ("cache", "fer_aug_dataset")]
