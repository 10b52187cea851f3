"""Features of a frozen backbone that are computed once for each face."""

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from fer.models.memo import CHUNK, Memo
from fer.models.mobilenet import MobileNet
from fer.models.preprocess import FaceModel, Preprocess
from tests.conftest import call

FACES = torch.randint(0, 256, (70, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def counting() -> tuple[list[int], Callable[[Tensor], Tensor]]:
    """Return a function of faces, and how many it was given, call by call."""
    given: list[int] = []

    def compute(faces: Tensor) -> Tensor:
        given.append(len(faces))
        return faces.float().flatten(1)

    return given, compute


def test_a_face_is_computed_once_wherever_it_stands() -> None:
    given, compute = counting()
    memo = Memo(100)
    assert torch.equal(memo(FACES[:40], compute), FACES[:40].float().flatten(1))
    assert given == [CHUNK, CHUNK]  # the second padded
    order = torch.randperm(70, generator=torch.Generator().manual_seed(1))
    assert torch.equal(memo(FACES[order], compute), FACES[order].float().flatten(1))
    assert given == [CHUNK] * 3
    assert torch.equal(memo(FACES, compute), FACES.float().flatten(1))
    assert given == [CHUNK] * 3
    memo(FACES.flip(-1), compute)  # another view is another face
    assert given == [CHUNK] * 6


def test_what_does_not_fit_is_computed_anew() -> None:
    given, compute = counting()
    memo = Memo(32)
    for _ in range(2):
        assert torch.equal(memo(FACES[:40], compute), FACES[:40].float().flatten(1))
    assert given == [CHUNK] * 3
    assert torch.equal(memo(FACES[[0, 0, 65, 65]], compute), FACES[[0, 0, 65, 65]].float().flatten(1))


def model() -> FaceModel:
    torch.manual_seed(0)
    network = MobileNet(7, weights=None, hidden=16, remember=100)
    return FaceModel(Preprocess(64, 3, [0.5] * 3, [0.25] * 3), network).eval()


def test_features_do_not_depend_on_what_is_computed_beside_them() -> None:
    alone, together = model(), model()
    for each in (alone, together):
        each.remember()
    with torch.no_grad():
        whole = together(FACES)
        single = torch.cat([alone(FACES[row : row + 1]) for row in range(0, 70, 23)])
    assert alone.memo is not None and alone.memo.kept is not None
    assert together.memo is not None and together.memo.kept is not None
    assert torch.equal(alone.memo.kept[:4], together.memo.kept[:70:23])
    assert torch.allclose(single, whole[::23], atol=1e-5)


def test_logits_stay_and_nothing_is_saved() -> None:
    plain, remembering = model(), model()
    remembering.remember()
    with torch.no_grad():
        expected, first, second = plain(FACES), remembering(FACES), remembering(FACES)
    assert torch.allclose(first, expected, atol=1e-2)  # features in half precision
    assert torch.equal(first, second)
    assert set(plain.state_dict()) == set(remembering.state_dict())


def test_a_face_is_remembered_for_each_precision() -> None:
    remembering = model()
    remembering.remember()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            remembering(FACES)
        after = remembering(FACES)
        anew = model()
        anew.remember()
        assert torch.equal(after, anew(FACES))


def test_only_a_frozen_backbone_is_remembered() -> None:
    with pytest.raises(ValueError, match="remember needs a frozen backbone"):
        MobileNet(7, weights=None, trainable_layers=30, remember=10)


def test_a_training_computes_each_view_once(tiny_folder: Path, no_dashboard: None) -> None:
    computed = []
    pooled = MobileNet.pooled

    def count(self: MobileNet, x: Tensor) -> Tensor:
        computed.append(len(x))
        return pooled(self, x)

    arguments = ["data=fer2013", f"data.root={tiny_folder}", "model=mnv2", "model.weights=null", "model.input.size=32"]
    arguments += ["data.oversample.enabled=false", "data.augment.classes=none", "trainer.progress_bar=false"]
    with patch.object(MobileNet, "pooled", count):
        arguments += ["model.network.remember=1000", "trainer.max_epochs=3", "data.batch_size=40", "optim.mixup=null"]
        told = call("train.py", *arguments)
    assert told.status == 0, told.err
    # 200 training faces in five batches, 48 for validation and 48 for the test, each rounded up to whole chunks; one
    # face to count multiply-adds
    assert sum(computed) == 5 * 2 * CHUNK + 2 * CHUNK + 2 * CHUNK + 1
