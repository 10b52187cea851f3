"""A run's folder of which something is damaged, missing or another's."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fer.runs import read_metrics, write_json
from tests.conftest import Sweep, call, quick, refused, run_of

Spoil = Callable[[Path], object]


@pytest.fixture
def cnn10(tiny_sweep: Sweep) -> Path:
    """A copy of a run that a test may spoil, as if it had been stopped before its end."""
    folder = Path("run")
    shutil.copytree(run_of(tiny_sweep, "cnn10"), folder)
    write_json(folder / "metrics.json", {"status": "failed"})
    return folder


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


CHECKPOINTS: dict[str, tuple[Spoil, str]] = {
    "truncated": (truncate, "is damaged"),
    "garbage": (lambda path: path.write_text("garbage"), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "of another program": (lambda path: torch.save({"weights": torch.zeros(3)}, path), "no checkpoint of this program"),
    "a tensor": (lambda path: torch.save(torch.zeros(3), path), "no checkpoint of this program"),
    "missing": (lambda path: path.unlink(), "holds no"),
}


@pytest.mark.parametrize(("spoil", "reason"), CHECKPOINTS.values(), ids=CHECKPOINTS)
@pytest.mark.parametrize(
    ("name", "script", "key"), [("best.ckpt", "evaluate.py", "run"), ("last.ckpt", "train.py", "resume")]
)
def test_spoilt_checkpoint(cnn10: Path, spoil: Spoil, reason: str, name: str, script: str, key: str) -> None:
    before = (cnn10 / "environment.json").read_bytes()
    spoil(cnn10 / name)
    refused(call(script, f"{key}=run"), name, reason)
    assert not (cnn10 / "evaluation").exists()
    assert (cnn10 / "environment.json").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "script", "key"), [("best.ckpt", "evaluate.py", "run"), ("last.ckpt", "train.py", "resume")]
)
def test_checkpoint_of_another_model(cnn10: Path, tiny_sweep: Sweep, name: str, script: str, key: str) -> None:
    shutil.copy(run_of(tiny_sweep, "cnn12") / name, cnn10 / name)
    refused(call(script, f"{key}=run"), name, "another model (cnn12)", "(cnn10)", "put the run's own")


def test_checkpoint_of_a_narrower_network_of_the_same_name(cnn10: Path) -> None:
    config = (cnn10 / "config.yaml").read_text()
    (cnn10 / "config.yaml").write_text(config.replace("width: 0.25", "width: 0.5"))
    refused(call("evaluate.py", "run=run"), "best.ckpt", "another model")


def test_resume_with_other_choices(cnn10: Path) -> None:
    refused(call("train.py", f"resume={cnn10}", "seed=3"), "leave out seed=3")


def test_resume_of_a_folder_without_a_run() -> None:
    Path("empty").mkdir()
    refused(call("train.py", "resume=empty"), "'empty'", "config.yaml")


def test_resume_of_several_runs(cnn10: Path) -> None:
    refused(call("train.py", "-m", f"resume={cnn10}"), "leave out -m")
    refused(
        call("train.py", f"resume={cnn10.parent}"),
        "holds runs and is none",
        f"resume={cnn10}",
        "start its sweep again",
    )


def test_run_whose_configuration_is_damaged(cnn10: Path) -> None:
    (cnn10 / "config.yaml").write_text("model: [")
    refused(call("evaluate.py", f"run={cnn10}"), "config.yaml", "cannot be read")


def test_evaluation_that_cannot_be_written(cnn10: Path) -> None:
    (cnn10 / "evaluation").write_text("in the way")
    refused(call("evaluate.py", f"run={cnn10}"), "run/evaluation/test", "cannot be written")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_evaluation_on_a_missing_gpu(cnn10: Path) -> None:
    refused(call("evaluate.py", f"run={cnn10}", "accelerator=gpu"), "'gpu'", "choose auto or cpu")


def test_one_spoilt_run_does_not_keep_the_others(tiny_sweep: Sweep) -> None:
    shutil.copytree(tiny_sweep.folder, "sweep")
    sweep = Sweep(Path("sweep"), (), tiny_sweep.told)
    (run_of(sweep, "cnn10") / "best.ckpt").write_text("garbage")
    told = call("evaluate.py", "run=sweep")
    assert told.status == 1
    assert told.err.count("Error:") == 1
    assert "Traceback" not in told.err
    assert (run_of(sweep, "cnn12") / "evaluation/test/report.html").is_file()
    told = call("evaluate.py", "run=sweep", "ensemble=true")
    assert "ensemble: not all the runs could be scored" in told.err
    assert "Traceback" not in told.err


def test_a_run_that_has_no_network_yet_is_passed_over(tiny_sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "sweep/cnn10")
    Path("sweep/begun").mkdir()
    shutil.copy("sweep/cnn10/config.yaml", "sweep/begun")
    told = call("evaluate.py", "run=sweep")
    assert told.status == 0
    assert "sweep/begun holds no trained network yet and is passed over" in caplog.text
    assert Path("sweep/cnn10/evaluation/test/report.html").is_file()
    shutil.rmtree("sweep/cnn10")
    refused(call("evaluate.py", "run=sweep"), "'sweep' holds no run")


@pytest.mark.parametrize("figures", ["loss\n1\n", "epoch,val/acc\n1,0.5,7\n", "epoch\nx\n"])
def test_a_spoilt_history_is_named(tiny_sweep: Sweep, figures: str) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    Path("run/metrics.csv").write_text(figures)
    refused(call("evaluate.py", "run=run"), "metrics.csv", "damaged")


def test_a_record_that_is_none_does_no_harm(tiny_sweep: Sweep) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    write_json(Path("run/environment.json"), {"seed": 0, "data": None, "versions": ["torch"]})
    assert call("evaluate.py", "run=run").status == 0
    scores = read_metrics(Path("run/evaluation/test")) or {}
    assert scores["data"].startswith("unknown")


def test_results_without_a_model_cost_no_table(tiny_sweep: Sweep) -> None:
    for name in ("one", "other"):
        shutil.copytree(run_of(tiny_sweep, "cnn10"), f"runs/{name}")
    Path("runs/other/metrics.json").write_text('{"status": "finished"}')
    told = call("evaluate.py", "run=runs", "faces=false")
    assert told.status == 0, told.err
    assert Path("runs/evaluation-test.md").read_text().count("| plain |") == 2


def test_a_configuration_of_something_else_is_named(cnn10: Path, tiny_folder: Path) -> None:
    (cnn10 / "config.yaml").write_text((cnn10 / "config.yaml").read_text() + "newkey: 1\n")
    start = (f"model.start={cnn10}", *quick(tiny_folder))
    for told in (call("evaluate.py", f"run={cnn10}"), call("train.py", *start), call("train.py", f"resume={cnn10}")):
        refused(told, f"{cnn10}/config.yaml' holds a configuration that this version cannot read", "newkey")


def test_other_classes_without_a_record_are_refused(cnn10: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (cnn10 / "environment.json").unlink()
    root = tmp_path / "more"
    shutil.copytree(tiny_folder, root)
    for split in ("train", "test"):
        shutil.copytree(root / split / "sad", root / split / "pride")
    config = cnn10 / "config.yaml"
    config.write_text(config.read_text().replace("extra_classes: error", "extra_classes: keep"))
    refused(call("evaluate.py", f"run={cnn10}", f"data_root={root}"), "tells angry, disgust", "pride", "data=folder")
