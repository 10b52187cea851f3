"""A run's data set that has changed, moved, or is suddenly there."""

import shutil
from pathlib import Path

import cv2
import pytest

from fer.data.faces import Faces
from fer.data.sources import still_found
from fer.runs import read_metrics, write_json
from tests.conftest import Sweep, call, composed, link, quick, refused, run_of


@pytest.fixture
def changed(tiny_folder: Path) -> Path:
    """The data set with one pixel of one picture changed."""
    root = Path("changed").resolve()
    shutil.copytree(tiny_folder, root)
    path = str(sorted((root / "train" / "sad").iterdir())[0])
    image = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    assert image is not None
    image[0, 0] ^= 1
    assert cv2.imwrite(path, image)
    return root


@pytest.mark.usefixtures("no_dashboard")
def test_a_run_on_the_sample_stays_one_when_fer2013_appears(
    changed: Path, tiny_faces: Faces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fer.data.sources.draw_faces", lambda size: tiny_faces)
    _, _, *others = quick(changed)
    assert call("train.py", *others).status == 0
    Path("data").mkdir()
    link(Path("data/fer2013"), changed)
    (run,) = Path("logs/cnn10").iterdir()
    told = call("evaluate.py", f"run={run}")
    assert told.status == 0, told.err


def test_changed_data_are_refused(tiny_sweep: Sweep, changed: Path) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    refused(call("evaluate.py", "run=run", f"data_root={changed}"), "other data", str(changed), "data_root=path")
    assert not Path("run/evaluation").exists()


def test_moved_data_are_named(tiny_sweep: Sweep, tiny_folder: Path) -> None:
    shutil.copytree(tiny_folder, "moved")
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    config = Path("run/config.yaml")
    config.write_text(config.read_text().replace(str(tiny_folder), "/gone"))
    refused(call("evaluate.py", "run=run"), "/gone does not exist", "data_root=")
    assert call("evaluate.py", "run=run", "data_root=moved").status == 0


def test_resume_refuses_changed_data(tiny_sweep: Sweep, tiny_folder: Path, changed: Path) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    write_json(Path("run/metrics.json"), {"status": "failed"})
    config, environment = Path("run/config.yaml"), Path("run/environment.json").read_bytes()
    config.write_text(config.read_text().replace(str(tiny_folder), str(changed)))
    refused(call("train.py", "resume=run"), "other data")
    assert Path("run/environment.json").read_bytes() == environment


def test_fer2013_that_has_moved_is_found_where_the_variable_says(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_folder, tmp_path / "before")
    told = call("train.py", *quick(tmp_path / "before"))
    assert told.status == 0, told.err
    (run,) = Path("logs/cnn10").iterdir()
    (tmp_path / "before").rename(tmp_path / "after")
    refused(call("evaluate.py", f"run={run}"), "data_root=")
    monkeypatch.setenv("FER2013_ROOT", str(tmp_path / "after"))
    assert call("evaluate.py", f"run={run}").status == 0
    (run / "metrics.json").unlink()  # as if it had been stopped
    told = call("train.py", f"resume={run}")
    assert told.status == 0, told.err
    assert (read_metrics(run) or {})["status"] == "finished"


def test_votes_that_moved_along_are_looked_for_beside_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = tmp_path / "now"
    now.mkdir()
    kept = tmp_path / "kept.csv"
    kept.touch()
    config = composed("data=ferplus", "data.root=/gone", "data.votes=/gone/votes.csv", f"data.index={kept}").data
    assert still_found(config) == config
    monkeypatch.setenv("FER2013_ROOT", str(now))
    found = still_found(config)
    assert (found.root, found.votes, found.index) == (str(now), None, str(kept))
    (now / "index.csv").touch()
    assert still_found(config).index is None  # the one beside the pictures
    others = composed("data=folder", "data.root=/gone").data
    assert still_found(others) == others
