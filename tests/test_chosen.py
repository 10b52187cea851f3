"""Several trained networks for one command: all of a folder, or a list of runs and files of weights."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fer.chosen import chosen
from fer.data.faces import Faces
from fer.errors import FerError
from fer.prediction import average, predict
from fer.weights import open_run
from tests.conftest import Sweep, call, link, quick, refused, run_of


@pytest.fixture
def apart(tiny_sweep: Sweep) -> tuple[Path, Path]:
    """Two runs in folders of their own."""
    places = Path("logs/cnn10/first"), Path("logs/cnn12/second")
    for place in places:
        shutil.copytree(run_of(tiny_sweep, place.parent.name), place)
    return places


def test_runs_of_different_folders_are_compared(apart: tuple[Path, Path], tiny_faces: Faces) -> None:
    told = call("evaluate.py", f"run=[{','.join(map(str, apart))}]", "ensemble=true", "faces=false")
    assert told.status == 0, told.err
    (together,) = Path("logs/together").iterdir()
    assert together.name.startswith("cnn10-first+cnn12-second-")
    scored, compared = (together / "evaluation-test.md").read_text().split("\nDifferences in accuracy")
    assert all(f"| {name} | ten | 48 |" in scored for name in ("cnn10/first", "cnn12/second", "mean of 2"))
    assert "| cnn10/first |" in compared
    assert all((run / "evaluation/test/report.html").is_file() for run in apart)
    faces = torch.from_numpy(tiny_faces.split("test").images[:, None].copy())
    labels = torch.from_numpy(tiny_faces.split("test").labels)
    each = [predict(open_run(run).trained.model, [faces], torch.device("cpu"))["plain"] for run in apart]
    found = json.loads((together / "evaluation/test/metrics.json").read_text())
    assert found["accuracy"] == pytest.approx((average(each).argmax(1) == labels).double().mean().item())


def test_a_folder_of_runs_beside_one_of_them_counts_each_once(tiny_sweep: Sweep, apart: tuple[Path, Path]) -> None:
    shutil.copytree(tiny_sweep.folder, "logs/sweeps/mine")
    link(Path("again"), apart[0].resolve())
    runs = chosen([str(apart[0]), "logs", "again"])
    swept = [f"sweeps/mine/{run_of(tiny_sweep, model).name}" for model in ("cnn10", "cnn12")]
    assert runs.names == ["cnn10/first", "cnn12/second", *swept]
    alone = chosen([str(apart[0]), "again"])
    assert (alone.paths, alone.names) == ([Path("again")], [None])


def test_lists_of_equal_names_have_places_of_their_own(apart: tuple[Path, Path]) -> None:
    shutil.copytree("logs", "elsewhere/logs")
    one = chosen([str(run) for run in apart])
    other = chosen([str("elsewhere" / run) for run in apart])
    assert one.names == other.names
    assert one.together != other.together
    assert one == chosen([f"{run}/" for run in apart])


def test_seeds_of_different_folders_are_told_with_their_mean(tiny_folder: Path) -> None:
    for seed in (1, 2):
        told = call("train.py", "model=cnn10", *quick(tiny_folder), f"seed={seed}", "trainer.test=false")
        assert told.status == 0, told.err
    runs = sorted(Path("logs/cnn10").iterdir())
    told = call("evaluate.py", f"run=[{','.join(map(str, runs))}]", "faces=false")
    assert told.status == 0, told.err
    (table,) = Path("logs/together").glob("*/evaluation-test.md")
    assert "±" in table.read_text()
    assert f"| cnn10/{runs[0].name} | plain | 48 |" in table.read_text()


def test_several_networks_are_scored_on_other_data(apart: tuple[Path, Path], tiny_folder: Path) -> None:
    told = call("evaluate.py", f"run=[{','.join(map(str, apart))}]", f"others=[{tiny_folder}]", "split=all")
    assert told.status == 0, told.err
    assert told.out.count("Other data, all pictures") == 1
    assert all(list(run.glob("evaluation/*-all/report.html")) for run in apart)


@pytest.mark.parametrize("form", ["folder", "list"])
def test_several_networks_look_at_pictures_together(form: str, tiny_sweep: Sweep, tiny_faces: Faces) -> None:
    Path("pictures").mkdir()
    for number in range(4):
        assert cv2.imwrite(f"pictures/{number}.png", tiny_faces.images[number])
    runs = [run_of(tiny_sweep, model) for model in ("cnn10", "cnn12")]
    given = tiny_sweep.folder if form == "folder" else f"[{','.join(map(str, runs))}]"
    told = call("fer/predict.py", f"run={given}", "pictures=pictures", "accelerator=cpu")
    assert told.status == 0, told.err
    assert "4 pictures, by the mean of 2 networks" in told.out
    with Path("predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    faces = torch.from_numpy(tiny_faces.images[:4].copy())[:, None]
    each = [predict(open_run(run).trained.model, [faces], torch.device("cpu"))["ten"].softmax(1) for run in runs]
    found = np.array([[float(row[name]) for name in tiny_faces.classes] for row in rows])
    np.testing.assert_allclose(found, (each[0] + each[1]).numpy() / 2, atol=1e-3)
    guesses = Counter(row["predicted"] for row in rows)
    assert guesses == Counter(tiny_faces.classes[guess] for guess in found.argmax(1))


def test_networks_of_other_classes_have_no_mean(tiny_sweep: Sweep, tiny_folder: Path, tiny_faces: Faces) -> None:
    for split in ("train", "test"):
        shutil.copytree(tiny_folder / split / "happy", Path("eight") / split / "contempt")
        shutil.copytree(tiny_folder / split / "sad", Path("eight") / split / "sad")
    told = call(
        "train.py",
        "model=cnn10",
        *quick(Path("eight"))[2:],
        "data=folder",
        "data.root=eight",
        "data.extra_classes=keep",
    )
    assert told.status == 0, told.err
    (run,) = Path("logs/cnn10").iterdir()
    assert cv2.imwrite("face.png", tiny_faces.images[0])
    told = call("fer/predict.py", f"run=[{run_of(tiny_sweep, 'cnn10')},{run}]", "pictures=face.png")
    refused(told, "run", "sad, surprise, neutral apart", "neutral, contempt apart", "same classes")
    assert not Path("predictions.csv").exists()


@pytest.mark.parametrize("given", [[], ["logs", 5], {"logs": None}, None])
def test_what_is_no_path_and_no_list_of_paths_is_refused(given: object) -> None:
    with pytest.raises(FerError, match=r"run: .* no path and no list of paths"):
        chosen(given)


@pytest.mark.parametrize("script", ["evaluate.py", "fer/predict.py"])
@pytest.mark.parametrize(("name", "told"), [("gone.safetensors", "there is no"), ("notes.txt", "neither")])
def test_what_is_no_network_is_named(script: str, name: str, told: str, apart: tuple[Path, Path]) -> None:
    Path("notes.txt").write_text("none")
    further = ["pictures=."] if "predict" in script else []
    refused(call(script, f"run=[{apart[0]},{name}]", *further), "run", name, told, ".safetensors")
