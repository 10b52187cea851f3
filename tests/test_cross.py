"""A run on other data: the shared classes by their names, in whatever order they come."""

import json
import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fer.cross import shared_classes
from fer.data.faces import Faces
from fer.errors import FerError
from fer.labels import EMOTIONS
from fer.weights import halved, open_run, save_weights
from tests.conftest import Sweep, call, quick, refused, run_of


@pytest.fixture
def other(tiny_folder: Path) -> Path:
    """Four of the seven classes, one of them under another name, in one training and one test folder."""
    names = {"angry": "anger", "happy": "happy", "sad": "sad", "neutral": "neutral"}
    root = Path("other").resolve()
    for split in ("train", "test"):
        for name, written in names.items():
            target = root / split / written
            target.mkdir(parents=True)
            for picture in (tiny_folder / split / name).iterdir():
                shutil.copy(picture, target / picture.name.replace("Test", "").replace("Training", "T"))
    return root


def test_a_run_is_scored_over_the_shared_classes(other: Path, tiny_sweep: Sweep, tiny_faces: Faces) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    told = call("evaluate.py", "run=run", "data=folder", f"data.root={other}")
    assert told.status == 0, told.err
    assert "over angry, happy, sad, neutral" in told.out
    found = json.loads(Path("run/evaluation/other-test/metrics.json").read_text())
    rows = np.isin(tiny_faces.labels, (0, 3, 4, 6)) & (tiny_faces.splits > 0)
    images = torch.from_numpy(tiny_faces.images[rows][:, None].copy())
    run = open_run(Path("run"))
    with torch.no_grad():
        logits = run.trained.model(images)[:, [0, 3, 4, 6]]
    expected = np.array([0, 3, 4, 6])[logits.argmax(1).numpy()] == tiny_faces.labels[rows]
    assert found["plain"]["count"] == rows.sum()
    assert found["plain"]["accuracy"] == pytest.approx(expected.mean())
    assert "Where each face speaks" in Path("run/evaluation/other-test/report.html").read_text()
    assert not Path("run/evaluation/test").exists()


def test_several_sets_and_runs_give_one_table(other: Path, tiny_sweep: Sweep, tiny_folder: Path) -> None:
    shutil.copytree(tiny_sweep.folder, "sweep")
    told = call("evaluate.py", "run=sweep", f"others=[{other},{tiny_folder}]", "split=all")
    assert told.status == 0, told.err
    assert told.out.count("Other data, all pictures") == 1
    reports = sorted(str(path.parent.name) for path in Path("sweep").glob("*/evaluation/*-all/report.html"))
    assert reports == sorted(2 * ["other-all", f"{tiny_folder.name}-all"])


def test_what_was_read_and_how_is_said(other: Path, tiny_sweep: Sweep, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    broken = other / "test" / "sad" / "broken.png"
    broken.write_bytes(b"no picture")
    with caplog.at_level(logging.INFO):
        told = call("evaluate.py", "run=run", "data=folder", f"data.root={other}", "data.on_error=skip")
    assert told.status == 0, told.err
    assert "test/sad/broken.png" in caplog.text
    assert f"Data: Split folders in {other}" in caplog.text
    found = json.loads(Path("run/evaluation/other-test/metrics.json").read_text())
    assert "test/sad/broken.png" in found["how it was read"]


def test_the_data_of_its_training_are_no_other_data(
    tiny_sweep: Sweep, tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    for split, said in (("test", 0), ("all", 1)):
        caplog.clear()
        assert call("evaluate.py", "run=run", f"others=[{tiny_folder}]", f"split={split}").status == 0
        assert caplog.text.count("this is no score on other data") == said


def test_other_pictures_that_are_called_fer2013_are_other_data(
    other: Path, tiny_sweep: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    told = call("evaluate.py", "run=run", "data=fer2013", f"data.root={other}", "split=all", "faces=false")
    assert told.status == 0, told.err
    assert "data=fer2013 stands for FER2013" in caplog.text
    assert "are what it was trained on" not in caplog.text


def test_another_division_of_its_data_is_no_other_data(tiny_faces: Faces, caplog: pytest.LogCaptureFixture) -> None:
    """Drawn splits, of which those of the evaluation are others, by another seed and with a class more."""
    root = Path("faces").resolve()
    for number, (image, label) in enumerate(zip(tiny_faces.images, tiny_faces.labels, strict=True)):
        folder = root / tiny_faces.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    shutil.copytree(root / "sad", root / "contempt")
    _, _, *others = quick(root)
    arguments = ("data=folder", f"data.root={root}", "data.extra_classes=drop", "data.split_seed=1", *others)
    assert call("train.py", *arguments, "trainer.test=false").status == 0
    (run,) = Path("logs/cnn10").iterdir()
    caplog.clear()
    assert call("evaluate.py", f"run={run}", f"others=[{root}]").status == 0
    assert "pictures to be scored, it was trained on" in caplog.text
    assert call("evaluate.py", f"run={run}", f"others=[{root}]", "split=all", "faces=false").status == 0
    assert "this is no score on other data" in caplog.text


def test_folders_of_the_same_name_are_told_apart(other: Path, tiny_sweep: Sweep) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    shutil.copytree(other, "elsewhere/other")
    shutil.copytree(other / "test", "elsewhere/third")
    told = call("evaluate.py", "run=run", f"others=[{other},elsewhere/other,elsewhere/third]", "split=all")
    assert told.status == 0, told.err
    reports = {path.parent.name for path in Path("run").glob("evaluation/*/report.html")}
    assert reports == {"other-1-all", "other-2-all", "third-all"}


@pytest.mark.parametrize("option", ["ensemble=true", "data_root=x"])
def test_what_means_the_runs_own_data_is_refused_with_others(option: str, other: Path, tiny_sweep: Sweep) -> None:
    told = call("evaluate.py", f"run={run_of(tiny_sweep, 'cnn10')}", f"others=[{other}]", option)
    refused(told, "ensemble and data_root", "leave them out")


def test_reports_on_folders_of_one_name_stay_apart(other: Path, tiny_sweep: Sweep) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    shutil.copytree(other, "elsewhere/other")
    for root in (other, Path("elsewhere/other").resolve(), other):
        assert call("evaluate.py", "run=run", "data=folder", f"data.root={root}").status == 0
    found = {path.name: json.loads((path / "metrics.json").read_text()) for path in Path("run/evaluation").iterdir()}
    assert {name: figures["scored on"] for name, figures in found.items()} == {
        "other-test": f"Split folders in {other}",
        "other-test-2": f"Split folders in {Path('elsewhere/other').resolve()}",
    }


def test_what_could_teach_nobody_can_still_be_scored(tiny_sweep: Sweep, tiny_folder: Path) -> None:
    """One picture a class, and another class whose name no folder of copies could have."""
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    for name in (*EMOTIONS, "anger & disgust"):
        Path("mine", name).mkdir(parents=True)
        known = name if name in EMOTIONS else "angry"
        shutil.copy(next((tiny_folder / "train" / known).iterdir()), Path("mine", name, "1.png"))
    told = call("evaluate.py", "run=run", "others=[mine]", "split=all")
    assert told.status == 0, told.err
    found = json.loads(Path("run/evaluation/mine-all/metrics.json").read_text())
    assert found["plain"]["count"] == 7
    assert found["pictures of other classes, left out"] == 1
    report = Path("run/evaluation/mine-all/report.html").read_text()
    assert "Accuracy without leaks" not in report  # which are of the run's own data alone


def test_a_list_of_pictures_to_leave_out_is_for_training(other: Path, tiny_sweep: Sweep) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    told = call("evaluate.py", "run=run", "data=folder", f"data.root={other}", "data.exclude=list.csv")
    refused(told, "data.exclude: leaves pictures out of training alone")


def test_sets_without_common_classes_are_refused(tiny_faces: Faces) -> None:
    only = tiny_faces.take(np.flatnonzero(tiny_faces.labels == 3))
    with pytest.raises(FerError, match="share 1"):
        shared_classes(tiny_faces.classes, only)


def test_bad_choices_are_refused(tiny_sweep: Sweep) -> None:
    folder = run_of(tiny_sweep, "cnn10")
    refused(call("evaluate.py", f"run={folder}", "others=path"), "no list of paths")
    refused(call("evaluate.py", f"run={folder}", "others=[gone]"), "gone")
    refused(call("evaluate.py", f"run={folder}", "split=all"), "split: 'all' is unknown")


def test_classes_that_a_run_never_saw_are_not_held_against_it(
    other: Path, tiny_folder: Path, tiny_faces: Faces, no_dashboard: None
) -> None:
    _, _, *others = quick(other)
    told = call("train.py", "data=folder", f"data.root={other}", *others, "data.oversample.classes=[sad]", "logs=four")
    assert told.status == 0, told.err
    (run,) = Path("four/cnn10").iterdir()
    file = Path("four.safetensors")
    save_weights(halved(open_run(run)), file, {})
    count = sum(EMOTIONS[label] in ("angry", "happy", "sad", "neutral") for label in tiny_faces.labels)
    for path, folder in ((run, run), (file, Path("logs/weights/four"))):
        told = call("evaluate.py", f"run={path}", "data=folder", f"data.root={tiny_folder}", "split=all", "faces=false")
        assert told.status == 0, told.err
        assert "over angry, happy, sad, neutral" in told.out
        (scored,) = folder.glob("evaluation/*-all/metrics.json")
        assert json.loads(scored.read_text())["plain"]["count"] == count


def resplit(tiny_folder: Path) -> Path:
    """FER2013's pictures under their names, in splits of somebody's own: all its test pictures are in training."""
    root = Path("own").resolve()
    for path in sorted(tiny_folder.rglob("*.png")):
        split = "train" if path.name.startswith("PrivateTest") else "val" if path.name.startswith("Public") else "test"
        target = root / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return root


def test_fer2013_in_other_splits_is_not_fer2013_and_what_was_trained_on_is_counted(
    tiny_folder: Path, tiny_faces: Faces, caplog: pytest.LogCaptureFixture
) -> None:
    root = resplit(tiny_folder)
    _, _, *others = quick(root)
    assert call("train.py", "data=fer2013", f"data.root={root}", *others, "trainer.test=false").status == 0
    assert "no score on them is one on FER2013" in caplog.text
    (run,) = Path("logs/cnn10").iterdir()
    assert "name: folder" in (run / "config.yaml").read_text()
    caplog.clear()
    told = call("evaluate.py", f"run={run}", "data=fer2013", f"data.root={tiny_folder}", "faces=false")
    assert told.status == 0, told.err
    count = int((tiny_faces.splits == 2).sum())
    warning = f"of the {count} pictures to be scored, it was trained on {count}"
    assert warning in caplog.text
    (report,) = run.glob("evaluation/*/metrics.json")
    assert json.loads(report.read_text())["warning"] == f"{warning}."
    listed = [path.relative_to(root) for path in sorted((root / "train" / "sad").iterdir())]
    (run / "exclude.csv").write_text("picture,reason\n" + "".join(f"{path},mine\n" for path in listed))
    caplog.clear()
    assert call("evaluate.py", f"run={run}", f"others=[{tiny_folder}]", "faces=false").status == 0
    assert f"of the {count} pictures to be scored, it was trained on {count - len(listed)}" in caplog.text


@pytest.mark.parametrize("option", ["data.size=96", "data.oversample.enabled=true", "data.augment.classes=all"])
def test_what_concerns_training_alone_is_refused(option: str, other: Path, tiny_sweep: Sweep) -> None:
    told = call("evaluate.py", f"run={run_of(tiny_sweep, 'cnn10')}", "data=folder", f"data.root={other}", option)
    refused(told, option.partition("=")[0], "leave it out")


def test_fer2013_in_another_form_is_fer2013(
    tiny_sweep: Sweep,
    tiny_folder: Path,
    tiny_faces: Faces,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As its table is beside its folders, whose pictures went through JPEG."""
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    shutil.copytree(tiny_folder, "faces")
    for path in Path("faces").rglob("*.png"):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        cv2.imwrite(str(path), grey.astype(np.uint8) ^ np.uint8(1))
    monkeypatch.setattr("fer.data.sources.SIZES", tuple(np.bincount(tiny_faces.splits).tolist()))
    for split, said in (("test", 0), ("all", 1)):
        caplog.clear()
        assert call("evaluate.py", "run=run", "others=[faces]", f"split={split}", "faces=false").status == 0
        assert caplog.text.count("this is no score on other data") == said
    _, _, *others = quick(tiny_folder)
    assert call("train.py", "data=folder", f"data.root={tiny_folder}", *others, "trainer.test=false").status == 0
    (run,) = Path("logs/cnn10").iterdir()
    for split, said in (("test", 0), ("all", 1)):
        caplog.clear()
        assert call("evaluate.py", f"run={run}", "others=[faces]", f"split={split}", "faces=false").status == 0
        assert caplog.text.count(f"it was trained on {(tiny_faces.splits == 0).sum()}.") == said


def test_training_data_that_have_changed_may_be_among_what_is_scored(
    tiny_faces: Faces, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path("faces").resolve()
    for number, (image, label) in enumerate(zip(tiny_faces.images, tiny_faces.labels, strict=True)):
        folder = root / tiny_faces.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    _, _, *others = quick(root)
    assert call("train.py", "data=folder", f"data.root={root}", *others, "trainer.test=false").status == 0
    (run,) = Path("logs/cnn10").iterdir()
    cv2.imwrite(str(root / "happy" / "more.png"), tiny_faces.images[0] ^ np.uint8(1))
    caplog.clear()
    assert call("evaluate.py", f"run={run}", "data=folder", f"data.root={root}", "faces=false").status == 0
    assert "have changed since it was trained on some of them, perhaps on some of these" in caplog.text
