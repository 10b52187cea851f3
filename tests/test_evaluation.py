"""evaluate.py: figures that agree with the training's, for the data that it meant, in a report that stands alone."""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rich.console import Console

from fer.checkpoint import read_checkpoint
from fer.config import TrainConfig, checked
from fer.data.faces import Faces
from fer.data.sources import read_source
from fer.errors import FerError
from fer.evaluation import Evaluator, Result
from fer.prediction import ten_views
from fer.result_table import results_table, seed_rows
from fer.runs import read_config, read_metrics
from fer.weights import open_run
from tests.conftest import Sweep, call, command, link, quick, refused, run_of
from tests.test_report import Page


@pytest.fixture(scope="module")
def evaluated(tiny_sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """The tiny sweep after `evaluate.py run=…`, which reads the data that its runs share once."""
    folder = tmp_path_factory.mktemp("evaluated") / "sweep"
    shutil.copytree(tiny_sweep.folder, folder)
    with patch("fer.data.datamodule.read_source", wraps=read_source) as reads:
        told = call("evaluate.py", f"run={folder}")
    assert reads.call_count == 1
    return Sweep(folder, (f"run={folder}",), told)


def figures(folder: Path, split: str = "test") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "evaluation" / split / "metrics.json").read_text())
    return content


def open_scores(sweep: Sweep, model: str) -> Result:
    return Evaluator("test", "cpu").score(open_run(run_of(sweep, model)))


def test_a_sweep_gives_one_table_and_a_report_for_each_run(evaluated: Sweep) -> None:
    assert evaluated.told.status == 0, evaluated.told.err
    assert evaluated.told.out.count("test split, with 95 % intervals") == 1
    table = (evaluated.folder / "evaluation-test.md").read_text()
    scored, compared = table.split("\nDifferences in accuracy")
    assert len(scored.splitlines()) == 4 + 2 * 6 + 2  # of each, three views of the split and of its leak-free part
    one, other = (open_scores(evaluated, model) for model in ("cnn10", "cnn12"))
    gap = 100 * (one.scores["plain"].accuracy - other.scores["plain"].accuracy)
    first, second = (run_of(evaluated, model).name for model in ("cnn10", "cnn12"))
    assert f"|  | {second} |" in compared
    assert re.search(rf"^\| {re.escape(first)} \| (\*\*)?{re.escape(f'{gap:+.2f}')} \[", compared, re.MULTILINE)
    assert str(evaluated.folder / "evaluation-test.md") in evaluated.told.out
    for model in ("cnn10", "cnn12"):
        report = run_of(evaluated, model) / "evaluation" / "test" / "report.html"
        assert report.is_file()
        assert f"{run_of(evaluated, model).name}: {report}" in evaluated.told.out
        scores = figures(run_of(evaluated, model))
        low, high = scores["intervals"]["accuracy"]
        shown = f"{100 * scores['accuracy']:.2f} [{100 * low:.2f}, {100 * high:.2f}]"
        assert shown in evaluated.told.out
        assert f"| {run_of(evaluated, model).name} | plain | 48 | {shown} |" in table


def test_seeds_of_one_configuration_stand_in_the_table_as_mean_and_deviation(evaluated: Sweep) -> None:
    one, other = (open_scores(evaluated, model) for model in ("cnn10", "cnn12"))
    row = seed_rows("cnn10", [one, other])[0]
    plain = [scores.scores["plain"] for scores in (one, other)]
    middle = 50 * (plain[0].accuracy + plain[1].accuracy)
    apart = 100 * abs(plain[0].accuracy - plain[1].accuracy) / 2**0.5  # of two numbers
    assert row[:4] == ("cnn10, 2 seeds", "plain", "48", f"{middle:.2f} ± {apart:.2f}")
    assert len(seed_rows("cnn10", [one, other])) == 6


def test_a_sweep_over_seeds_is_told_as_one(tiny_sweep: Sweep) -> None:
    for seed in (0, 1):
        folder = Path(f"sweep/seed{seed}")
        shutil.copytree(run_of(tiny_sweep, "cnn10"), folder)
        config = read_config(folder)
        config.seed = seed
        OmegaConf.save(config, folder / "config.yaml")
    shutil.copytree(run_of(tiny_sweep, "cnn12"), "sweep/other")
    told = call("evaluate.py", "run=sweep", "split=val")
    assert told.status == 0, told.err
    rows = [
        line for line in Path("sweep/evaluation-val.md").read_text(encoding="utf-8").splitlines() if "2 seeds" in line
    ]
    assert [row.split(" | ")[1] for row in rows][:3] == ["plain", "flip", "ten"]
    assert all(row.startswith("| cnn10, 2 seeds |") and " ± 0.00 | " in row for row in rows)
    assert "±: sample standard deviation over seeds" in Path("sweep/evaluation-val.md").read_text(encoding="utf-8")
    assert "cnn10, 2 seeds" in " ".join(told.out.split())


def test_names_with_brackets_are_shown_as_they_are(evaluated: Sweep) -> None:
    result = open_scores(evaluated, "cnn10")
    console = Console(record=True, width=200)
    console.print(results_table("test", [result], {"cnn10 (teacher=[/a,/b])": [result, result]}))
    assert "cnn10 (teacher=[/a,/b]), 2 seeds" in console.export_text()


def test_the_sample_lies_nowhere(tiny_sweep: Sweep, tiny_folder: Path) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    config = read_config(Path("run"))
    config.data.name, config.data.root = "sample", None
    OmegaConf.save(config, Path("run/config.yaml"))
    refused(
        call("evaluate.py", "run=run", f"data_root={tiny_folder}"), "data_root: the run learned from the drawn sample"
    )


def test_runs_that_hold_out_other_pictures_are_not_averaged(tiny_sweep: Sweep) -> None:
    evaluator = Evaluator("val", "cpu")
    result = evaluator.score(open_run(run_of(tiny_sweep, "cnn10")))
    with pytest.raises(FerError, match=r"ensemble: .*data\.split_seed"):
        evaluator.average([result, result._replace(faces=result.faces.take(np.arange(1, 48)))], Path("mean"))
    assert not Path("mean").exists()


def test_a_mean_has_seen_what_one_of_its_runs_has(tiny_sweep: Sweep) -> None:
    evaluator = Evaluator("val", "cpu")
    one = evaluator.score(open_run(run_of(tiny_sweep, "cnn10")))
    seen, other = np.zeros((2, 48), bool)
    seen[:5], other[3:7] = True, True
    mean = evaluator.average([one._replace(seen=seen), one._replace(seen=other)], Path("mean"))
    assert mean.leak_free["plain"].count == 48 - 7


def test_one_run_has_no_mean(tiny_sweep: Sweep) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    refused(call("evaluate.py", "run=run", "ensemble=true"), "ensemble", "two runs")
    assert figures(Path("run"))["model"] == "cnn10"


def test_a_report_without_faces_can_be_published(tiny_sweep: Sweep, tiny_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_of(tiny_sweep, "cnn10"), run)
    titles = {}
    for faces in (True, False):
        assert call("evaluate.py", f"run={run}", f"faces={faces}", f"others=[{tiny_folder}]").status == 0
        assert call("evaluate.py", f"run={run}", f"faces={faces}").status == 0
        pages = sorted(run.glob("evaluation/*/report.html"))
        assert len(pages) == 2
        titles[faces] = [page.read_text() for page in pages]
    for text in titles[False]:
        assert "Calibration" in text
        assert "mistakes" not in text
        assert "Grad-CAM" not in text
    assert all("Surest mistakes" in text for text in titles[True])


@pytest.mark.parametrize(("model", "split"), [("cnn10", "val"), ("cnn10", "test"), ("cnn12", "test")])
def test_figures_equal_those_of_the_training(evaluated: Sweep, model: str, split: str) -> None:
    folder = run_of(evaluated, model)
    if split != "test":
        assert call("evaluate.py", f"run={folder}", f"split={split}").status == 0
    found, reported = figures(folder, split), read_metrics(folder)
    assert reported is not None
    assert np.float32(found["accuracy"]) == np.float32(reported[split]["acc"])
    assert found["loss"] == pytest.approx(reported[split]["loss"], abs=1e-6)
    assert found["macro_f1"] == pytest.approx(reported[split]["f1"], abs=1e-6)
    assert found["epoch"] == reported["best_epoch"]


def test_figures_are_the_models(evaluated: Sweep, tiny_faces: Faces) -> None:
    """Scored once more, by hand."""
    folder = run_of(evaluated, "cnn10")
    run = open_run(folder)
    trained = run.trained
    faces = tiny_faces.split("test")
    images, labels = torch.from_numpy(faces.images[:, None].copy()), torch.from_numpy(faces.labels)
    with torch.no_grad():
        logits = [trained.model(pictures).float() for pictures in (images, images.flip(-1))]
    plain, mirrored = (some.softmax(1) for some in logits)
    scores = figures(folder)
    assert scores["count"] == len(labels)
    for found, probabilities in ((scores, plain), (scores["flip"], (plain + mirrored) / 2)):
        top = probabilities.argsort(dim=1, descending=True, stable=True)[:, :2]  # topk takes any of equal ones
        assert found["accuracy"] == pytest.approx(float((top[:, 0] == labels).double().mean()))
        assert found["top2"] == pytest.approx(float((top == labels[:, None]).any(1).double().mean()))
        loss = -probabilities[torch.arange(len(labels)), labels].log().mean()
        assert found["loss"] == pytest.approx(float(loss), abs=1e-3)
        lowest, highest = found["intervals"]["accuracy"]
        assert lowest < found["accuracy"] < highest


def test_ten_views_shift_a_face_to_the_corners_and_mirror_it() -> None:
    face = torch.arange(48 * 48).remainder(251).to(torch.uint8).view(1, 1, 48, 48)
    views = ten_views(face)
    assert len({view.numpy().tobytes() for view in views}) == len(views) == 10
    assert torch.equal(views[0], face)
    assert torch.equal(views[1][..., 3:, 3:], face[..., :-3, :-3])  # down and to the right by a sixteenth
    assert torch.equal(views[1][..., :3, 3:], face[..., :1, :-3].expand(1, 1, 3, 45))  # the gap repeats the edge
    assert torch.equal(views[4][..., :-3, :-3], face[..., 3:, 3:])
    assert all(torch.equal(mirrored, view.flip(-1)) for view, mirrored in zip(views[:5], views[5:], strict=True))


def test_pictures_seen_in_training_are_left_out_of_the_leak_free_part(tiny_folder: Path, tiny_sweep: Sweep) -> None:
    """A training picture is put into the test split, under another class: only the whole split counts it."""
    root = Path("leaky").resolve()
    shutil.copytree(tiny_folder, root)
    shutil.copy(sorted((root / "train/happy").iterdir())[0], root / "test/sad/PrivateTest_99999.png")
    _, _, *others = quick(root)
    assert call("train.py", "data=fer2013", f"data.root={root}", "trainer.test=false", *others).status == 0
    (run,) = Path("logs/cnn10").iterdir()
    assert json.loads((run / "metrics.json").read_text())["test"] is None
    assert call("evaluate.py", f"run={run}").status == 0
    scores = figures(run)
    assert [scores["count"], scores["leak_free"]["plain"]["count"]] == [49, 48]
    whole, unseen = np.array(scores["confusion"]), np.array(scores["leak_free"]["plain"]["confusion"])
    assert (whole - unseen).sum(axis=1).tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert call("evaluate.py", f"run={run}", "split=train").status == 0
    assert figures(run, "train")["leak_free"] == {}


def test_an_ensemble_is_the_mean_of_the_probabilities(evaluated: Sweep, tiny_faces: Faces) -> None:
    told = call("evaluate.py", f"run={evaluated.folder}", "ensemble=true")
    assert told.status == 0, told.err
    assert "mean of 2" in told.out
    faces = tiny_faces.split("test")
    images, labels = torch.from_numpy(faces.images[:, None].copy()), torch.from_numpy(faces.labels)
    runs = [open_run(run_of(evaluated, name)) for name in ("cnn10", "cnn12")]
    with torch.no_grad():
        mean = sum(run.trained.model(images).float().softmax(1) for run in runs) / 2
    found = figures(evaluated.folder)
    assert found["accuracy"] == pytest.approx(float((mean.argmax(1) == labels).double().mean()))
    assert found["loss"] == pytest.approx(float(-mean[range(48), labels].log().mean()), abs=1e-3)
    assert (evaluated.folder / "evaluation/test/report.html").is_file()


def test_the_record_says_where_the_figures_come_from(evaluated: Sweep) -> None:
    folder = run_of(evaluated, "cnn10")
    environment = json.loads((folder / "environment.json").read_text())
    scores = figures(folder)
    assert (scores["model"], scores["split"], scores["seed"]) == ("cnn10", "test", 0)
    assert (scores["data"], scores["commit"]) == (environment["data"]["digest"], environment["commit"])
    assert {"balanced_accuracy", "ece", "per_class", "confusion"} <= set(scores)


def test_the_report_stands_alone_and_holds_all(evaluated: Sweep) -> None:
    text = (run_of(evaluated, "cnn10") / "evaluation" / "test" / "report.html").read_text()
    page = Page(text)
    assert not page.open
    pictures = [source for source in page.sources if source.startswith("data:image/png;base64,")]
    assert [source[:60] for source in page.sources if source not in pictures] == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "url(" not in text
    assert "@import" not in text
    titles = {"Confusion", "Training", "Calibration", "Precision and recall", "Surest mistakes", "Grad-CAM"}
    assert titles <= set(page.words)
    assert len(pictures) == len(titles)
    low, high = figures(run_of(evaluated, "cnn10"))["intervals"]["accuracy"]
    assert f"{100 * low:.1f} % to {100 * high:.1f} %" in page.words


def test_as_a_user_runs_it_from_elsewhere(tiny_sweep: Sweep, tmp_path: Path) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), tmp_path / "moved")
    told = command("evaluate.py", "run=moved")
    assert told.returncode == 0, told.stderr
    assert "Traceback" not in told.stderr
    assert (tmp_path / "moved/evaluation/test/report.html").is_file()


@pytest.mark.usefixtures("no_dashboard")
def test_a_relative_folder_is_found_from_elsewhere(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("here/data").mkdir(parents=True)
    link(Path("here/data/fer2013"), tiny_folder)
    monkeypatch.chdir("here")
    _, _, *others = quick(tiny_folder)
    assert call("train.py", "data=auto", *others).status == 0
    monkeypatch.chdir("..")
    (run,) = Path("here/logs/cnn10").iterdir()
    told = call("evaluate.py", f"run={run}")
    assert told.status == 0, told.err
    assert figures(run)["count"] == 48


def test_checkpoints_hold_plain_values_and_no_pretrained_weights_are_needed(tiny_sweep: Sweep) -> None:
    folder = run_of(tiny_sweep, "cnn10")
    config = checked(read_config(folder), TrainConfig)
    for name in ("best.ckpt", "last.ckpt"):
        assert read_checkpoint(folder / name, config.model)["hyper_parameters"]["classes"][0] == "angry"
    config.model.weights = "/gone/weights.safetensors"  # where they came from changes nothing
    assert read_checkpoint(folder / "best.ckpt", config.model)
