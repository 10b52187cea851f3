"""Suspected labels: who is suspected, by what, and what is said where nobody looked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fer.audit.duplicates import identical_groups, near_pairs
from fer.audit.labels import Suspect, _trained, features, folds, out_of_fold, suspects
from fer.data.faces import Faces
from fer.data.sample import draw_faces
from fer.errors import FerError
from tests.conftest import call


def test_swapped_labels_are_suspected() -> None:
    """The drawn faces are easy: the quick model knows better than forty labels that were swapped."""
    faces = draw_faces(train=1400, val=7, test=7)
    wrong = np.random.default_rng(0).choice(1400, 40, replace=False)
    labels = faces.labels.copy()
    labels[wrong] = (labels[wrong] + 3) % 7
    spoilt = Faces(faces.images, labels, faces.splits, faces.origins, "spoilt")
    found = suspects(spoilt, out_of_fold(spoilt))
    first = found[:40]
    hits = {suspect.row for suspect in first} & set(wrong.tolist())
    assert len(hits) >= 20  # by chance it would be one
    truth = [suspect for suspect in first if suspect.row in hits]
    assert sum(suspect.suggested == faces.labels[suspect.row] for suspect in truth) >= 0.9 * len(truth)
    assert all(isinstance(suspect, Suspect) and suspect.given != suspect.suggested for suspect in first)


def test_what_test_and_validation_say_does_not_decide_what_training_leaves_out() -> None:
    faces = draw_faces(train=350, val=70, test=70)
    held = faces.splits > 0
    labels = np.where(held, (faces.labels + 1) % 7, faces.labels)
    other = Faces(faces.images, labels, faces.splits, faces.origins, "other")
    first, second = (
        [suspect for suspect in suspects(each, out_of_fold(each)) if not held[suspect.row]] for each in (faces, other)
    )
    assert first == second
    assert len(suspects(other, out_of_fold(other))) > len(first)  # they are judged, nonetheless


def test_data_without_training_pictures_are_judged_by_themselves() -> None:
    faces = draw_faces(train=7, val=7, test=350).split("test")
    assert len(faces) == 350
    assert np.isfinite(out_of_fold(faces)).all()


def test_identical_pictures_share_a_fold() -> None:
    faces = draw_faces(train=70, val=7, test=7)
    twice = faces.take(np.tile(np.arange(len(faces)), 2))
    fold = folds(twice, 0)
    assert np.array_equal(fold[: len(faces)], fold[len(faces) :])
    assert set(fold.tolist()) == set(range(5))
    assert all(len(group) == 2 for group in identical_groups(twice))
    assert near_pairs(faces.take(np.arange(3)), 0) == []


def test_gradients_have_their_directions() -> None:
    ramp = np.tile(np.arange(48, dtype=np.uint8) * 5, (48, 1))
    across, down = features(np.stack([ramp, ramp.T]))
    assert len(across) == 900
    vertical, horizontal = (histogram.reshape(9, -1).sum(1).argmax() for histogram in (across.numpy(), down.numpy()))
    assert vertical == 0  # a ramp to the right, whose gradient has the angle 0
    assert horizontal in (4, 5)  # 90 of 180 degrees, in nine bins


def test_nothing_to_learn_labels_from_is_named(tiny_faces: Faces) -> None:
    with pytest.raises(FerError, match=r"too few different training pictures .* labels=false"):
        out_of_fold(tiny_faces.take(np.array([0, 0, 0])))


def test_suspects_that_are_not_looked_for_are_not_none(tiny_folder: Path) -> None:
    arguments = ("data=fer2013", f"data.root={tiny_folder}", "labels=false")
    Path("audit").mkdir()
    Path("audit/suspects.csv").write_text("mine\n")
    told = call("fer/audit/__main__.py", *arguments)
    assert told.status == 0, told.err
    assert "not looked for" in told.out and "suspects.csv" not in told.out
    assert json.loads(Path("audit/audit.json").read_text())["suspected_labels"] is None
    assert Path("audit/suspects.csv").read_text() == "mine\n"


def test_identical_pictures_share_a_fold_wherever_they_stand() -> None:
    faces = draw_faces(train=70, val=7, test=7)
    order = np.random.default_rng(0).permutation(2 * len(faces)) % len(faces)
    fold, picture = folds(faces.take(order), 0), order
    assert all(len(set(fold[picture == one].tolist())) == 1 for one in range(len(faces)))


def test_the_quick_model_judges_without_dropping_anything() -> None:
    x = torch.randn(70, 12, generator=torch.Generator().manual_seed(0))
    model = _trained(x, torch.arange(70) % 7, 7, "")
    assert torch.equal(model(x), model(x))


def test_a_suggestion_is_named_rightly_where_a_split_lacks_classes(tiny_faces: Faces) -> None:
    labels = np.array([3] * 20 + [6] * 20)
    probabilities = np.full((40, 7), 0.01)
    probabilities[np.arange(40), labels] = 0.9
    labels[0] = 6
    faces = replace(tiny_faces.take(np.arange(40)), labels=labels, splits=np.zeros(40, np.uint8))
    assert [(found.row, found.given, found.suggested) for found in suspects(faces, probabilities)] == [(0, 6, 3)]


def test_another_seed_draws_other_folds_and_other_weights(tiny_faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not np.array_equal(folds(tiny_faces, 0), folds(tiny_faces, 1))
    same = folds(tiny_faces, 0)
    monkeypatch.setattr("fer.audit.labels.folds", lambda *_: same)
    assert np.array_equal(out_of_fold(tiny_faces, 0), out_of_fold(tiny_faces, 0))
    assert not np.array_equal(out_of_fold(tiny_faces, 0), out_of_fold(tiny_faces, 1))


def test_no_label_is_judged_by_a_model_that_has_seen_it(tiny_faces: Faces) -> None:
    held = folds(tiny_faces, 0) == 0
    labels = np.where(held, (tiny_faces.labels + 1) % 7, tiny_faces.labels)
    first, other = out_of_fold(tiny_faces), out_of_fold(replace(tiny_faces, labels=labels))
    assert np.array_equal(first[held], other[held])
    assert not np.array_equal(first[~held], other[~held])


def test_the_most_suspected_come_first_whatever_their_split() -> None:
    clear = np.repeat(np.arange(3), 20)
    labels = np.array([*clear, 0, 0, *clear, 0, *5 * [2]])
    probabilities = 0.27 + 0.19 * np.eye(3)[labels]
    probabilities[[60, 61, 122]] = [[0.05, 0.5, 0.45], [0.2, 0.78, 0.02], [0.1, 0.6, 0.3]]  # rather the second class
    splits = np.repeat(np.array([0, 2, 1], np.uint8), [62, 61, 5])  # those of validation are all of one class
    faces = Faces(np.zeros((128, 1, 1), np.uint8), labels, splits, [""] * 128, "made up", classes=("a", "b", "c"))
    found = suspects(faces, probabilities)
    assert [suspect[:3] for suspect in found] == [(61, 0, 1), (122, 0, 1), (60, 0, 1)]
    assert [suspect.quality for suspect in found] == pytest.approx([0.2, 0.1, 0.05])


@pytest.mark.parametrize("size", [24, 96])
def test_pictures_of_other_sizes_are_described_alike(size: int) -> None:
    ramp = np.tile(np.linspace(0, 235, size).astype(np.uint8), (size, 1))
    (found,) = features(ramp[None]).numpy().reshape(-1, 9, 100)
    assert found[0].min() > found[1:].max()  # a ramp to the right everywhere
