"""The weights that come with the program are worth what they say, on the real FER2013."""

from pathlib import Path

import pytest
import torch

from fer.data.faces import Faces
from fer.leaderboard import REFERENCE
from fer.weights import measured, open_run
from tests.conftest import ROOT

FILES = sorted((ROOT / "weights").glob("*.safetensors"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_weights_repeat_their_accuracy(file: Path, real_faces: Faces) -> None:
    run = open_run(file)
    assert run.record["data"]["digest"] == real_faces.digest()
    val = real_faces.split("val")
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(val), 256):
            logits = run.trained.model(torch.from_numpy(val.images[start : start + 256].copy())[:, None])
            hits += int((logits.argmax(1).numpy() == val.labels[start : start + 256]).sum())
    # another processor may round a picture or two the other way
    assert hits / len(val) == pytest.approx(measured(file)["accuracy"]["plain"], abs=3 / len(val))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_the_weights_beat_the_reference(file: Path) -> None:
    assert measured(file)["accuracy"]["plain"] > REFERENCE[file.stem].val_acc
    assert file.stat().st_size < 13e6
