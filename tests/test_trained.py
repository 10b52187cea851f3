"""The weights that come with the program are worth what they say, on the real FER2013."""

from pathlib import Path

import pytest
import torch

from fer.data.faces import Faces
from fer.data.ferplus import join_votes
from fer.leaderboard import REFERENCE
from fer.weights import measured, open_run
from tests.conftest import REAL, ROOT

FILES = sorted((ROOT / "weights").rglob("*.safetensors"))


# the validation accuracy of the Keras networks on FER2013; the best that the authors of FER+ report, on its test
BARS = {
    **{name: reference.val_acc for name, reference in REFERENCE.items()},
    "cnn10_cpu": REFERENCE["cnn10"].val_acc,
    "mnv2_80": REFERENCE["mnv2_ft"].val_acc,
    "mnv2_110": REFERENCE["mnv2_ft"].val_acc,
    "cnn10_ferplus": 0.8499,
}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_weights_repeat_their_accuracy(file: Path, real_faces: Faces) -> None:
    run = open_run(file)
    faces, data = real_faces, run.config.data
    if data.name == "ferplus":
        votes, index = REAL / "fer2013new.csv", REAL / "index.csv"
        faces = join_votes(faces, votes, index, contempt=data.contempt, target=data.target, filters=data.filters)
    assert run.record["data"]["digest"] == faces.digest()
    val = faces.split("val")
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(val), 64):
            logits = run.trained.model(torch.from_numpy(val.images[start : start + 64].copy())[:, None])
            hits += int((logits.argmax(1).numpy() == val.labels[start : start + 64]).sum())
    # another processor may round a picture or two the other way
    assert hits / len(val) == pytest.approx(measured(file)["accuracy"]["plain"], abs=3 / len(val))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_weights_beat_the_reference(file: Path) -> None:
    assert measured(file)["accuracy"]["plain"] > BARS[file.stem]
    assert file.stat().st_size < 13e6
