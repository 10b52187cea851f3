"""Which pictures an evaluation scores, and which of them it takes for unseen."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fer.data.faces import Faces
from fer.errors import FerError
from fer.evaluation import Evaluator
from fer.result_table import write_results
from fer.runs import read_config, read_metrics, write_json
from fer.weights import halved, open_run, save_weights
from tests.conftest import Sweep, run_of

BUILT_ON = {"name": "cnn12", "file": "a.safetensors", "sha256": "0123456789abcdef"}


@pytest.fixture
def leaky(tiny_folder: Path) -> Path:
    """The tiny data set with a training picture in its test split too."""
    root = Path("leaky").resolve()
    shutil.copytree(tiny_folder, root)
    shutil.copy(sorted((root / "train/happy").iterdir())[0], root / "test/happy/PrivateTest_99999.png")
    return root


def run_on(root: Path, sweep: Sweep, folder: str, listed: bool, record: Mapping[str, Any]) -> Path:
    """Make a run that was trained on these data, with or without the picture that is in the test split too."""
    shutil.copytree(run_of(sweep, "cnn10"), folder)
    config = read_config(Path(folder))
    config.data.root = str(root)
    OmegaConf.save(config, Path(folder, "config.yaml"))
    write_json(Path(folder, "environment.json"), record)
    if listed:
        picture = sorted((root / "train/happy").iterdir())[0].relative_to(root).as_posix()
        Path(folder, "exclude.csv").write_text(f"picture,reason\n{picture},also in test\n")
    return Path(folder)


def unseen(evaluator: Evaluator, run: Path) -> int:
    result = evaluator.score(open_run(run), views=["plain"])
    assert result.scores["plain"].count == 49
    return result.leak_free["plain"].count


def test_what_a_run_left_out_is_unseen_unless_what_it_builds_on_may_have_seen_it(
    leaky: Path, tiny_sweep: Sweep
) -> None:
    cases: list[tuple[bool, dict[str, Any], int]] = [
        (True, {}, 49),
        (False, {}, 48),  # on the same pictures, but for the list
        (True, {"start": BUILT_ON}, 48),
        (True, {"teacher": BUILT_ON}, 48),
        (True, {"teacher": [BUILT_ON, BUILT_ON]}, 48),
        (True, {"teacher": None, "start": None}, 49),
    ]
    evaluator = Evaluator("test", "cpu")
    for number, (listed, record, count) in enumerate(cases):
        assert unseen(evaluator, run_on(leaky, tiny_sweep, f"run{number}", listed, record)) == count


def test_the_training_split_is_scored_without_its_copies(tiny_sweep: Sweep, tiny_faces: Faces) -> None:
    run = open_run(run_of(tiny_sweep, "cnn10"))
    assert run.config.data.oversample.enabled
    result = Evaluator("train", "cpu").score(run, views=["plain"])
    assert result.scores["plain"].count == len(tiny_faces.split("train"))
    assert not list(Path.cwd().glob("fer_aug_dataset*"))


@pytest.mark.parametrize(
    "change",
    [lambda faces: {"labels": (faces.labels + 1) % 7}, lambda faces: {"classes": faces.classes[::-1]}],
    ids=["labels", "classes"],
)
def test_runs_on_other_labels_of_the_same_pictures_are_not_averaged(change: Any, tiny_sweep: Sweep) -> None:
    evaluator = Evaluator("val", "cpu")
    result = evaluator.score(open_run(run_of(tiny_sweep, "cnn10")), views=["plain"])
    other = result._replace(faces=replace(result.faces, **change(result.faces)))
    with pytest.raises(FerError, match="ensemble: the runs differ in their classes"):
        evaluator.average([result, other], Path("mean"))


def test_a_run_that_failed_is_scored_if_it_has_a_network_and_says_why_if_not(tiny_sweep: Sweep) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    write_json(Path("run/metrics.json"), {"status": "failed", "error": "the loss is not finite"})
    record = json.loads(Path("run/environment.json").read_text())
    write_json(Path("run/environment.json"), {**record, "start": BUILT_ON})
    evaluator = Evaluator("val", "cpu", faces=False)
    evaluator.evaluate(Path("run"))
    scores = read_metrics(Path("run/evaluation/val")) or {}
    assert scores["count"] == 48
    assert scores["started from"] == "cnn12 (a.safetensors, SHA-256 01234567…)"
    assert "taught by" not in scores
    Path("run/best.ckpt").unlink()
    with pytest.raises(FerError, match="'run' failed in training: the loss is not finite"):
        evaluator.evaluate(Path("run"))


def test_a_file_of_weights_asks_where_its_data_lie(tiny_sweep: Sweep) -> None:
    run = halved(open_run(run_of(tiny_sweep, "cnn10")))
    config = replace(run.config, data=replace(run.config.data, name="folder"))
    save_weights(run._replace(config=config), Path("handed.safetensors"), {})
    with pytest.raises(FerError, match=r"data set of the run was not found \(the run does not say where it lies\)"):
        Evaluator("test", "cpu").score(open_run(Path("handed.safetensors")))


def test_runs_that_scored_other_pictures_are_not_compared(tiny_sweep: Sweep) -> None:
    one, other = (Evaluator("test", "cpu").score(open_run(run_of(tiny_sweep, model))) for model in ("cnn10", "cnn12"))
    apart = other._replace(faces=replace(other.faces, origins=other.faces.origins[::-1]))
    table = write_results(Path(), "test", [one, other, apart], {}).read_text()
    compared = table.partition("Differences")[2]
    (row,) = (line.split("|") for line in compared.splitlines() if line.startswith(f"| {one.name} |"))
    assert "[" in row[2]
    assert row[3].strip() == ""
    assert "Differences" not in write_results(Path(), "test", [one, apart], {}).read_text()
