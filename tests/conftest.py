"""Shared by all tests: small drawn data sets, configurations as the commands compose them, and the commands."""

import os
import runpy
import subprocess
import sys
import tarfile
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import cv2
import pytest
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback

from fer.config import TrainConfig, checked
from fer.data.cache import load_faces
from fer.data.faces import SPLITS, Faces
from fer.data.sample import draw_faces

ROOT = Path(__file__).parent.parent
REAL = Path(os.environ.get("FER2013_TEST_ROOT", "unset"))  # fer2013.tar.xz, index.csv and the votes of FER+
PREFIXES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}


@pytest.fixture(autouse=True)
def away_from_real_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run every test in an empty folder, with its own cache and without FER2013."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FER2013_ROOT", raising=False)
    monkeypatch.setenv("FER_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tiny_faces() -> Faces:
    """A few drawn faces of every class in every split."""
    return draw_faces(train=200, val=48, test=48)


@pytest.fixture(scope="session")
def tiny_folder(tiny_faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same faces as FER2013's Kaggle folders."""
    root = tmp_path_factory.mktemp("tiny")
    write_kaggle(tiny_faces, root)
    return root


@pytest.fixture(scope="session")
def real_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real FER2013 as Kaggle's folders; skips the test where it is not there."""
    if not (REAL / "fer2013.tar.xz").is_file():
        pytest.skip("FER2013_TEST_ROOT names no folder with fer2013.tar.xz")
    folder = tmp_path_factory.mktemp("fer2013")
    with tarfile.open(REAL / "fer2013.tar.xz") as archive:
        # Python 3.11 has filters from 3.11.4 on; before, the attribute is ignored
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def real_faces(real_folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Faces:
    """The faces of the real FER2013."""
    return load_faces(real_folders, tmp_path_factory.mktemp("cache"))


def write_kaggle(faces: Faces, root: Path) -> None:
    """Write faces as Kaggle lays FER2013 out: train/<class>/Training_*, test/<class>/PublicTest_* and PrivateTest_*."""
    for number, (image, label, split) in enumerate(zip(faces.images, faces.labels, faces.splits, strict=True)):
        name = SPLITS[split]
        folder = root / ("train" if name == "train" else "test") / faces.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{PREFIXES[name]}_{number:05}.png"), image)


def composed(*overrides: str) -> TrainConfig:
    """Return the configuration that `train.py` composes from these overrides."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", list(overrides))
    return checked(config, TrainConfig)


def command(script: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `train.py` or `evaluate.py` in the current folder as a user runs it."""
    return subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


class Outcome(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


def call(script: str, *arguments: str) -> Outcome:
    """Run a script in the current folder and in this process, which spares it the seconds of importing torch."""
    out, err = StringIO(), StringIO()
    with (
        patch.object(sys, "argv", [script, *arguments]),
        patch.dict(os.environ, COLUMNS="200"),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert isinstance(stop.value.code, int)
    return Outcome(stop.value.code, out.getvalue(), err.getvalue())


def link(path: Path, target: Path | str) -> None:
    """Make a symbolic link, or skip the test where one may not, as Windows' users usually may not."""
    try:
        path.symlink_to(target)
    except OSError as error:
        pytest.skip(f"no symbolic links here ({error.strerror})")


def refused(outcome: Outcome, *words: str) -> str:
    """Check that a command ended with one sentence that holds these words, and return it."""
    assert outcome.status == 1
    assert "Traceback" not in outcome.out + outcome.err
    *_, last = outcome.err.strip().splitlines()
    assert outcome.err.count("Error:") == 1
    assert last.startswith("Error: ")
    for word in words:
        assert word in last
    return last


def quick(root: Path) -> tuple[str, ...]:
    """Return the arguments of a training that takes a second or two."""
    return (
        "data=fer2013",  # laid out as FER2013 is, and so compared with the reference
        f"data.root={root}",
        "data.batch_size=32",
        "model.network.width=0.25",
        "trainer.max_epochs=1",
        "trainer.progress_bar=false",
    )


@pytest.fixture
def no_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without TensorBoard's pictures: most of a tiny run's time, and tested elsewhere."""
    monkeypatch.setattr("fer.experiment.Dashboard", lambda *_: Callback())


class Sweep(NamedTuple):
    """A finished sweep."""

    folder: Path
    arguments: tuple[str, ...]
    told: Outcome


@pytest.fixture(scope="session")
def tiny_sweep(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """cnn10 and cnn12, trained for an epoch and not to be changed by any test."""
    place = tmp_path_factory.mktemp("swept")
    arguments = ("-m", "model=cnn10,cnn12", *quick(tiny_folder))
    with chdir(place), patch.dict(os.environ, FER_CACHE_DIR=str(place / "cache")):
        told = call("train.py", *arguments)
    (folder,) = (place / "logs" / "sweeps").iterdir()
    return Sweep(folder, arguments, told)


def run_of(sweep: Sweep, model: str) -> Path:
    """Return the folder of a sweep's only run of a model."""
    (folder,) = sweep.folder.glob(f"{model}-*")
    return folder
