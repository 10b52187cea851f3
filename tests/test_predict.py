"""What a trained network sees in pictures that nobody has labelled, and the tables of its opinions."""

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fer.data.faces import Faces
from fer.errors import FerError
from fer.prediction import average, most_at_once, predict
from fer.prediction_table import write_predictions
from fer.weights import open_run
from tests.conftest import ROOT, Sweep, call, link, refused, run_of

SCRIPT = "fer/predict.py"


@pytest.fixture
def pictures(tiny_faces: Faces) -> Path:
    """Twelve faces in two folders, and a file that is none."""
    root = Path("pictures")
    for number in range(12):
        folder = root / ("one" if number % 2 else "two/deeper")
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{number:02}.png"), tiny_faces.images[number])
    (root / "notes.txt").write_text("no picture")
    return root


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_picture_gets_the_mean_opinion_of_ten_views(pictures: Path, tiny_faces: Faces, tiny_sweep: Sweep) -> None:
    run = run_of(tiny_sweep, "cnn10")
    command = [sys.executable, "-m", "fer.predict", f"run={run}", f"pictures={pictures}", "file=new/table.csv"]
    command.append("accelerator=cpu")
    told = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300
    )
    assert told.returncode == 1  # because of the one file
    assert told.stderr.count("Error:") == 1
    assert "pictures/notes.txt is no picture" in told.stderr
    rows = read(Path("new/table.csv"))
    numbers = [int(Path(row["picture"]).stem) for row in rows]
    assert [row["picture"] for row in rows] == sorted(row["picture"] for row in rows)
    assert sorted(numbers) == list(range(12))
    faces = torch.from_numpy(tiny_faces.images[numbers].copy())[:, None]
    model = open_run(run).trained.model
    expected = predict(model, [faces], torch.device("cpu"))["ten"].softmax(1).numpy()
    found = np.array([[float(row[name]) for name in tiny_faces.classes] for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert [row["predicted"] for row in rows] == [tiny_faces.classes[guess] for guess in found.argmax(1)]
    assert "new/table.csv: 12 pictures, by cnn10" in told.stdout


def test_a_broken_link_does_not_keep_the_others(pictures: Path, tiny_sweep: Sweep) -> None:
    (pictures / "notes.txt").unlink()
    link(pictures / "one" / "gone.png", "nowhere.png")
    told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", f"pictures={pictures}")
    assert told.status == 1
    assert "one/gone.png is a link to something that does not exist" in told.err
    assert len(read(Path("predictions.csv"))) == 12


def test_the_views_are_the_users_choice(pictures: Path, tiny_faces: Faces, tiny_sweep: Sweep) -> None:
    (pictures / "notes.txt").unlink()
    run = run_of(tiny_sweep, "cnn10")
    model = open_run(run).trained.model
    for views in ("plain", "flip"):
        told = call(SCRIPT, f"run={run}", f"pictures={pictures}", f"views={views}", "accelerator=cpu")
        assert told.status == 0, told.err
        rows = read(Path("predictions.csv"))
        numbers = [int(Path(row["picture"]).stem) for row in rows]
        faces = torch.from_numpy(tiny_faces.images[numbers].copy())[:, None]
        expected = predict(model, [faces], torch.device("cpu"))[views].softmax(1).numpy()
        found = np.array([[float(row[name]) for name in tiny_faces.classes] for row in rows])
        np.testing.assert_allclose(found, expected, atol=1e-3)
    refused(call(SCRIPT, f"run={run}", f"pictures={pictures}", "views=five"), "views", "five", "plain, flip, ten")


class Corner(nn.Module):
    """Is sure of what the upper left corner of a picture shows: dark, grey or light."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = 8.0 * F.one_hot((faces[:, 0, 0, 0] // 86).long(), 3)
        return logits


def test_views_are_averaged_as_probabilities() -> None:
    face = torch.zeros(
        1, 1, 48, 48, dtype=torch.uint8
    )  # dark but for its edges, grey on the left and light on the right
    face[..., :2], face[..., -2:] = 128, 255
    logits = predict(Corner(), [face], torch.device("cpu"))
    dark, grey, light = sure = (8.0 * torch.eye(3)).softmax(1)
    assert torch.allclose(logits["plain"].softmax(1), grey, atol=1e-6)
    assert torch.allclose(logits["flip"].softmax(1), (grey + light) / 2, atol=1e-6)
    # at two of five places, shifted by 3 pixels to that side, the edge has left the picture
    assert torch.allclose(logits["ten"].softmax(1), (3 * grey + 3 * light + 4 * dark) / 10, atol=1e-6)
    assert torch.allclose(average([sure[:1].log(), sure[1:2].log()]).exp(), (dark + grey) / 2, atol=1e-6)


@pytest.mark.parametrize(
    "faces",
    [torch.rand(1, 1, 48, 48), torch.zeros(1, 3, 48, 48, dtype=torch.uint8), torch.zeros(1, 48, 48, dtype=torch.uint8)],
)
def test_what_are_no_grey_faces_from_0_to_255_are_refused(faces: torch.Tensor) -> None:
    with pytest.raises(FerError, match=r"takes grey faces from 0 to 255, uint8 \(n, 1, H, W\), not (float32|uint8) \("):
        predict(Corner(), [faces], torch.device("cpu"))


def test_an_archive_and_a_single_picture_are_read_too(pictures: Path, tiny_sweep: Sweep) -> None:
    (pictures / "notes.txt").unlink()
    with zipfile.ZipFile("pictures.zip", "w") as archive:
        for path in sorted(pictures.rglob("*.png"), reverse=True):
            archive.write(path, path.relative_to(pictures))
    run = f"run={run_of(tiny_sweep, 'cnn10')}"
    for name in ("pictures", "pictures.zip"):
        told = call(SCRIPT, run, f"pictures={name}", f"file={name}.csv")
        assert told.status == 0, told.err
    assert Path("pictures.csv").read_text() == Path("pictures.zip.csv").read_text()
    told = call(SCRIPT, run, "pictures=pictures/one/01.png")
    assert told.status == 0, told.err
    (row,) = read(Path("predictions.csv"))
    (before,) = (other for other in read(Path("pictures.csv")) if other["picture"] == "one/01.png")
    assert {**before, "picture": "01.png"} == row
    assert f"01.png: {row['predicted']} (" in told.out


def test_what_holds_no_picture_is_refused(pictures: Path, tiny_sweep: Sweep) -> None:
    run = f"run={run_of(tiny_sweep, 'cnn10')}"
    refused(call(SCRIPT, run, "pictures=gone"), "'gone' does not exist")
    refused(call(SCRIPT, run, "pictures=pictures/notes.txt"), "notes.txt is no picture")
    shutil.rmtree(pictures / "one")
    shutil.rmtree(pictures / "two")
    (pictures / "more.txt").write_text("neither")
    refused(call(SCRIPT, run, f"pictures={pictures}"), "none of the 2 files in 'pictures' can be used")
    Path("empty").mkdir()
    refused(call(SCRIPT, run, "pictures=empty"), "there is no picture in 'empty'")
    refused(call(SCRIPT, "run=gone", f"pictures={pictures}"), "gone")
    assert not Path("predictions.csv").exists()


def test_an_evaluation_leaves_a_table_that_gives_its_scores(
    tiny_sweep: Sweep, tiny_folder: Path, tiny_faces: Faces
) -> None:
    shutil.copytree(run_of(tiny_sweep, "cnn10"), "run")
    assert call("evaluate.py", "run=run").status == 0
    assert call("evaluate.py", "run=run", f"others=[{tiny_folder}]").status == 0
    of_file = dict(
        zip((f"PrivateTest_{number:05}.png" for number in range(len(tiny_faces))), tiny_faces.labels, strict=True)
    )
    for place in ("test", f"{tiny_folder.name}-test"):
        folder = Path("run/evaluation") / place
        rows, metrics = read(folder / "predictions.csv"), json.loads((folder / "metrics.json").read_text())
        assert len(rows) == 3 * 48
        for row in rows:
            assert row["label"] == tiny_faces.classes[of_file[Path(row["picture"]).name]]
        scores = {"plain": metrics, **metrics}
        for views in ("plain", "flip", "ten"):
            right = [row["label"] == row["predicted"] for row in rows if row["views"] == views]
            assert np.mean(right) == pytest.approx(scores[views]["accuracy"])


@pytest.mark.skipif(sys.platform != "linux", reason="only there can a file have such a name")
@pytest.mark.parametrize("packed", [False, True])
def test_a_name_in_an_old_encoding_is_said_before_anything_is_computed(
    packed: bool, pictures: Path, tiny_sweep: Sweep
) -> None:
    (pictures / "one/01.png").rename(pictures / "one" / os.fsdecode(b"caf\xe9.png"))
    if packed:
        shutil.make_archive("packed", "tar", pictures)
    told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", f"pictures={'packed.tar' if packed else pictures}")
    refused(told, r"caf\udce9.png", "no UTF-8; rename it")
    assert not Path("predictions.csv").exists()


def test_the_table_is_no_picture_of_the_next_time(pictures: Path, tiny_sweep: Sweep) -> None:
    (pictures / "notes.txt").unlink()
    for _ in range(2):
        told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", f"pictures={pictures}", f"file={pictures}/table.csv")
        assert told.status == 0, told.err
    assert len(read(pictures / "table.csv")) == 12


def test_only_a_table_of_predictions_is_replaced(pictures: Path, tiny_sweep: Sweep) -> None:
    run, picture = run_of(tiny_sweep, "cnn10"), pictures / "one" / "01.png"
    before = picture.read_bytes()
    for target in (picture, pictures / "notes.txt"):
        refused(call(SCRIPT, f"run={run}", f"pictures={picture}", f"file={target}"), "no table of predictions")
    assert picture.read_bytes() == before
    for _ in range(2):
        assert call(SCRIPT, f"run={run}", f"pictures={picture}", "file=table.csv").status == 0


class Normalising(nn.Module):
    """A network that divides by a picture's own deviation, which is 0 for a flat one."""

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        x = faces.float().flatten(1)
        return ((x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True))[:, :7]


def test_what_a_network_gives_no_numbers_for_is_left_out(
    pictures: Path, tiny_sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = pictures / "flat.png"
    cv2.imwrite(str(flat), np.full((48, 48), 9, np.uint8))
    run = open_run(run_of(tiny_sweep, "cnn10"))
    own = run._replace(trained=run.trained._replace(model=Normalising()))  # type: ignore[arg-type]
    monkeypatch.setattr("fer.predict_command.open_run", lambda path: own)
    told = call(SCRIPT, f"run={run.folder}", f"pictures={pictures}", "file=table.csv", "views=plain")
    assert told.status == 1
    assert "flat.png: the network gives no numbers for it" in told.err
    assert sorted(Path(row["picture"]).name for row in read(Path("table.csv"))) == [f"{at:02}.png" for at in range(12)]
    told = call(SCRIPT, f"run={run.folder}", f"pictures={flat}", "file=other.csv", "views=plain")
    refused(told, "gives no numbers, for any picture")


def test_any_name_of_a_picture_comes_back() -> None:
    names = ["plain.png", "a,b.png", 'a "b".png', "two\nlines.png", "carriage\rreturn.png"]
    write_predictions(Path("table.csv"), names, ("sad", "happy"), {"plain": torch.zeros(len(names), 2)})
    assert [row["picture"] for row in read(Path("table.csv"))] == names


def test_links_that_lead_nowhere_or_round_in_circles_end_no_prediction(pictures: Path, tiny_sweep: Sweep) -> None:
    (pictures / "notes.txt").unlink()
    link(pictures / "one" / "me.png", "me.png")
    link(pictures / "two" / "up", "..")
    link(pictures / "two" / "deeper" / "other", "../../one")
    link(pictures / "one" / "other", "../two/deeper")
    told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", f"pictures={pictures}", "views=plain")
    assert "me.png is a link to something that does not exist" in told.err
    assert len(read(Path("predictions.csv"))) == 24  # each folder, and once through the other's link


def test_a_folder_of_another_format_says_why_it_is_no_use(tiny_sweep: Sweep) -> None:
    for name in ("a.heic", "b.heic"):
        Path("phone").mkdir(exist_ok=True)
        Path("phone", name).write_bytes(b"no picture that is known here")
    told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", "pictures=phone")
    refused(told, "none of the 2 files in 'phone' can be used", "a.heic is no picture that can be read (JPEG")


@pytest.mark.parametrize("header", ["picture,label", "picture,reason", "picture,given,suggested,quality"])
def test_lists_of_pictures_are_no_predictions(header: str, pictures: Path, tiny_sweep: Sweep) -> None:
    Path("list.csv").write_text(f"{header}\n")
    told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", f"pictures={pictures}", "file=list.csv")
    refused(told, "list.csv")
    assert Path("list.csv").read_text() == f"{header}\n"


def test_a_comma_in_a_name_is_no_list(pictures: Path, tiny_sweep: Sweep) -> None:
    (pictures / "notes.txt").unlink()
    pictures.rename("Smith, John")
    told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", "pictures=Smith, John", "views=plain")
    assert told.status == 0, told.err
    assert len(read(Path("predictions.csv"))) == 12
    told = call(SCRIPT, f"run={run_of(tiny_sweep, 'cnn10')}", "pictures=one,two")
    refused(told, "give one value", "\"key='a,b'\"")


def test_logits_are_averaged_as_probabilities_whatever_their_level() -> None:
    one, other = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[2.0, 1.0, 0.0]])
    mean = (one.softmax(1) + other.softmax(1)) / 2
    assert torch.allclose(average([one + 20, other]).exp(), mean, atol=1e-6)


def test_small_batches_in_training_mean_small_ones_in_evaluation() -> None:
    for device, most in (("cpu", 64), ("cuda", 256)):
        assert [most_at_once(torch.device(device), size) for size in (4, most // 2, 1000)] == [8, most, most]
