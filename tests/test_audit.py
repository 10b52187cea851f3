"""The audit finds what was put into a data set, and its list is what training leaves out."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer.audit.command import KINDS, exclusions
from fer.audit.duplicates import Pair
from fer.audit.findings import Findings
from fer.audit.labels import Suspect
from fer.audit.page import _telling
from fer.audit.pictures import partly_decoded
from fer.data.faces import Faces
from fer.data.sample import draw_faces
from fer.runs import read_metrics
from tests.conftest import ROOT, call, quick, refused
from tests.data.layouts import write_folders, write_votes
from tests.test_report import Page


def audited(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the audit in the current folder as a user runs it, from a checkout."""
    command = [sys.executable, "-m", "fer.audit", *arguments]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def spoilt(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set with one of each thing that an audit looks for."""
    root = tmp_path_factory.mktemp("spoilt") / "fer"
    shutil.copytree(tiny_folder, root)
    happy = sorted((root / "train/happy").iterdir())
    shutil.copy(happy[0], root / "test/happy/PrivateTest_90000.png")  # in test too
    shutil.copy(happy[1], root / "test/sad/PublicTest_90001.png")  # in validation too, and as another class
    shutil.copy(happy[2], root / "train/fear/Training_90002.png")  # under two labels
    picture = cv2.imread(str(happy[3]), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    cv2.imwrite(str(root / "train/happy/Training_90003.png"), cv2.convertScaleAbs(picture, alpha=0.9, beta=10))
    cv2.imwrite(str(root / "train/neutral/Training_90004.png"), np.zeros((48, 48), np.uint8))
    picture[30:] = 128
    cv2.imwrite(str(root / "train/happy/Training_90005.png"), picture)
    return root


def test_a_list_that_another_program_holds_is_named(spoilt: Path) -> None:
    Path("audit/exclude.csv").mkdir(parents=True)  # as little to be replaced as a table open in Excel
    told = call("fer/audit/__main__.py", "data=fer2013", f"data.root={spoilt}", "labels=false")
    refused(told, "exclude.csv", "cannot be written", "close it where it is open")


def test_what_the_votes_lack_is_told_of_before_the_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folders(tmp_path / "data")
    votes = write_votes(tmp_path / "fer2013new.csv")
    monkeypatch.setattr("fer.audit.command.find_faults", lambda *_: pytest.fail("it takes a minute on FER2013"))
    told = call("fer/audit/__main__.py", "data=fer2013", f"data.root={root}", f"votes={votes}")
    refused(told, " index: ", "index.csv does not exist", "data.root=path/to/fer2013.csv")
    assert not Path("audit/audit.json").exists()


@pytest.fixture(scope="module")
def findings(spoilt: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("audited") / "audit"
    told = audited("data=fer2013", f"data.root={spoilt}", f"folder={folder}")
    assert told.returncode == 0, told.stderr
    assert "Audit of" in told.stdout
    return folder, json.loads((folder / "audit.json").read_text())


def names(paths: list[str]) -> set[str]:
    return {Path(path).name for path in paths}


def test_identical_pictures_are_found_within_and_across_splits(
    findings: tuple[Path, dict[str, Any]], tiny_faces: Faces
) -> None:
    found = findings[1]["identical"]
    assert (found["groups"], found["pictures"]) == (3, 6)
    assert (found["conflicting_groups"], found["conflicting_pictures"]) == (2, 4)
    assert found["across_splits"] == {"val in train": 1, "test in train": 1, "test in val": 0}
    assert findings[1]["distinct"] == len(tiny_faces) + 6 - 3
    copies = set.union(*(names(group) for group in found["rows"]))
    assert {"PrivateTest_90000.png", "PublicTest_90001.png", "Training_90002.png"} < copies


def test_near_duplicates_blank_and_cut_pictures_are_found(findings: tuple[Path, dict[str, Any]]) -> None:
    found = findings[1]
    assert any("Training_90003.png" in names(pair[:2]) for pair in found["near"]["pairs"])
    assert all(distance <= found["near"]["threshold"] == 4 for *_, distance in found["near"]["pairs"])
    assert names(found["blank"]) == {"Training_90004.png"}
    assert names(found["partly_decoded"]) == {"Training_90005.png"}


def test_levels_are_those_of_the_pictures(findings: tuple[Path, dict[str, Any]], tiny_faces: Faces) -> None:
    (level,) = (row for row in findings[1]["levels"] if (row["split"], row["emotion"]) == ("val", "angry"))
    images = tiny_faces.split("val").images[tiny_faces.split("val").labels == 0].astype(float)
    assert level["pictures"] == len(images)
    assert level["brightness"] == pytest.approx(images.mean(), abs=0.01)
    assert level["contrast"] == pytest.approx(images.std(axis=(1, 2)).mean(), abs=0.01)


def test_the_page_stands_alone_and_shows_the_pictures(findings: tuple[Path, dict[str, Any]]) -> None:
    text = (findings[0] / "audit.html").read_text()
    page = Page(text)
    assert page.open == []
    assert "script" not in page.tags
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert {"One picture, several labels", "One picture, several splits", "Near-duplicates"} <= set(page.words)
    assert any("PrivateTest_90000.png" in word for word in page.words)


def test_training_leaves_out_what_the_list_names(
    findings: tuple[Path, dict[str, Any]], spoilt: Path, tiny_faces: Faces
) -> None:
    with (findings[0] / "exclude.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3  # two training pictures that stand in validation and test, and a blank one
    assert {row["reason"] for row in rows} == {"also in validation or test", "blank"}
    _, _, *others = quick(spoilt)
    arguments = ("data=fer2013", f"data.root={spoilt}", f"data.exclude={findings[0] / 'exclude.csv'}")
    told = call("train.py", *arguments, *others, "data.oversample.enabled=false")
    assert told.status == 0, told.err
    (run,) = Path("logs/cnn10").iterdir()
    metrics = read_metrics(run)
    assert metrics is not None
    assert metrics["data"]["excluded"] == 3
    assert sum(metrics["data"]["train_counts"]["before"]) == len(tiny_faces.split("train")) + 4 - 3
    assert call("evaluate.py", f"run={run}").status == 0
    scores = json.loads((run / "evaluation/test/metrics.json").read_text())
    assert scores["count"] == scores["leak_free"]["plain"]["count"] == 49  # nothing of the test was seen

    # the run remembers what it left out, whatever becomes of the list
    Path("list.csv").write_bytes((findings[0] / "exclude.csv").read_bytes())
    told = call("train.py", *arguments[:2], "data.exclude=list.csv", *others, "data.oversample.enabled=false", "logs=b")
    assert told.status == 0, told.err
    (run,) = Path("b/cnn10").iterdir()
    Path("list.csv").unlink()
    assert call("evaluate.py", f"run={run}").status == 0
    (run / "metrics.json").unlink()  # as if it had been stopped
    told = call("train.py", f"resume={run}")
    assert told.status == 0, told.err
    metrics = read_metrics(run)
    assert metrics is not None
    assert metrics["data"]["excluded"] == 3


def test_what_a_start_has_seen_is_not_unseen(
    findings: tuple[Path, dict[str, Any]], spoilt: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, _, *others = quick(spoilt)
    arguments = ("data=fer2013", f"data.root={spoilt}", *others, "data.oversample.enabled=false")
    assert call("train.py", *arguments, "logs=first").status == 0
    (first,) = Path("first/cnn10").iterdir()
    list_ = f"data.exclude={findings[0] / 'exclude.csv'}"
    told = call("train.py", *arguments, list_, f"model.start={first}", "logs=second")
    assert told.status == 0, told.err
    assert "did not leave out what data.exclude names" in caplog.text
    (second,) = Path("second/cnn10").iterdir()
    assert call("evaluate.py", f"run={second}").status == 0
    scores = json.loads((second / "evaluation/test/metrics.json").read_text())
    assert (scores["count"], scores["leak_free"]["plain"]["count"]) == (49, 48)
    caplog.clear()
    assert call("train.py", *arguments, list_, f"model.start={second}", "logs=third").status == 0
    assert "did not leave out" not in caplog.text


def test_a_list_leaves_something_to_learn(tiny_folder: Path) -> None:
    names = sorted(path.relative_to(tiny_folder).as_posix() for path in (tiny_folder / "train/disgust").iterdir())
    Path("list.csv").write_text("\n".join(["picture", *(name for name in names if "Training" in name)]))
    _, _, *others = quick(tiny_folder)
    told = call("train.py", "data=fer2013", f"data.root={tiny_folder}", "data.exclude=list.csv", *others)
    refused(told, "data.exclude: without what 'list.csv' names", "no training picture of disgust")


def test_what_was_left_out_is_found_no_more(findings: tuple[Path, dict[str, Any]], spoilt: Path) -> None:
    arguments = ("data=fer2013", f"data.root={spoilt}", "labels=false", "folder=after")
    told = call("fer/audit/__main__.py", *arguments, f"data.exclude={findings[0] / 'exclude.csv'}")
    assert told.status == 0, told.err
    found = json.loads(Path("after/audit.json").read_text())
    assert found["pictures"] == findings[1]["pictures"] - 3
    assert found["blank"] == []
    assert found["identical"]["across_splits"]["test in train"] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("file,why\nx,y\n", ("no column 'picture'",)),
        ("picture,reason\ntrain/happy/gone.png,\n", ("gone.png", "does not hold")),
        ("picture,reason\n{test},\n", ("test split", "only training pictures")),
        (None, ("cannot be read",)),
    ],
)
def test_bad_lists_are_refused(tiny_folder: Path, content: str | None, words: tuple[str, ...]) -> None:
    test = next((tiny_folder / "test/happy").glob("PrivateTest_*")).relative_to(tiny_folder)
    if content is not None:
        Path("list.csv").write_text(content.replace("{test}", str(test)))
    _, _, *others = quick(tiny_folder)
    refused(call("train.py", "data=fer2013", f"data.root={tiny_folder}", "data.exclude=list.csv", *others), *words)
    assert not Path("logs").exists()


def test_each_kind_of_finding_can_be_left_out_of_training(tiny_faces: Faces) -> None:
    train, test = (np.flatnonzero(tiny_faces.splits == split) for split in (0, 2))
    one, third, fourth, other = (*train[:3], train[-1])
    assert tiny_faces.labels[one] != tiny_faces.labels[other]
    empty = np.empty(0, np.intp)
    findings = Findings(
        tiny_faces,
        4,
        identical=[np.array([one, other])],
        near=[Pair(third, test[0], 2)],
        blank=np.array([fourth, test[1]]),
        nearly_blank=empty,
        partly_decoded=empty,
        levels=[],
        suspects=[Suspect(int(fourth), 0, 1, 0.0)],
    )
    names = {kind: set(exclusions(findings, [kind])) for kind in KINDS}
    origin = tiny_faces.origins
    assert names["leaks"] == set()
    assert names["near_leaks"] == {origin[third]}
    assert names["blank"] == names["suspects"] == {origin[fourth]}  # of training alone
    assert names["conflicts"] == {origin[one], origin[other]}
    assert exclusions(findings, ["blank", "suspects"]) == {origin[fourth]: "blank; suspected label"}


def test_a_whole_picture_is_not_cut() -> None:
    whole = draw_faces(train=7, val=7, test=7).images
    assert not len(partly_decoded(np.asarray(whole)))


def test_what_makes_equal_pictures_remarkable_is_shown(tiny_faces: Faces) -> None:
    labels, splits = np.array([3] * 10 + [4, 4]), np.array([0] * 11 + [2])
    faces = replace(tiny_faces.take(np.arange(12)), labels=labels, splits=splits.astype(np.uint8))
    group = _telling(faces, np.arange(12))
    assert [row for row, _ in group] == [0, 10, 11, 1, 2, 3, 4, 5]
    assert [note for _, note in group] == 7 * [""] + ["and 4 more"]
    assert _telling(faces, np.array([2, 10])) == [(2, ""), (10, "")]
