"""The copies that oversampling makes: how many of which pictures, and what is done to them."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer.data.balance import load_oversampled, oversample
from fer.data.copies import Oversampling, draw_change, plan, redraw
from fer.data.faces import Faces
from fer.data.manifest import Change, read_rows
from fer.errors import FerError
from fer.labels import EMOTIONS

CONFIG = Oversampling()
ANGRY, DISGUST, HAPPY, SAD = (EMOTIONS.index(name) for name in ("angry", "disgust", "happy", "sad"))


def test_chosen_classes_reach_the_largest_and_the_others_stay(faces: Faces, finished: Path) -> None:
    before, after = faces.counts(), load_oversampled(finished, faces).counts()
    for label, name in enumerate(EMOTIONS):
        assert after[label] == (before[HAPPY] if name in CONFIG.classes else before[label])
    summary = json.loads((finished / "manifest.json").read_text())
    assert summary["after"] == dict(zip(EMOTIONS, after.tolist(), strict=True))
    assert summary["config"]["classes"] == ["angry", "sad", "surprise"]
    assert summary["source_digest"] == faces.digest()


@pytest.mark.parametrize(("target", "sad"), [(40, 40), (1.5, None), (3, None), (0.5, None)])
def test_targets(faces: Faces, tmp_path: Path, target: float, sad: int | None) -> None:
    config = Oversampling(classes=("sad",), target=target)
    after = load_oversampled(oversample(faces, config, tmp_path), faces).counts()
    own = int(faces.counts()[SAD])
    assert after[SAD] == (sad or (round(1.5 * own) if target == 1.5 else own))
    assert after.sum() - after[SAD] == len(faces) - own


def test_auto_fills_every_class_below_the_mean(faces: Faces, tmp_path: Path) -> None:
    before = faces.counts()
    after = load_oversampled(oversample(faces, Oversampling(classes="auto"), tmp_path), faces).counts()
    below = before < before.mean()
    assert below[DISGUST]
    assert np.all(after[below] == before.max())
    assert np.all(after[~below] == before[~below])


def test_auto_takes_the_mean_of_the_classes_that_are_there(faces: Faces, tmp_path: Path) -> None:
    """Three classes of 4, 7 and 12 pictures: their mean is between 7 and 8, that of all seven below 4."""
    rows = [np.flatnonzero(faces.labels == label)[:count] for label, count in ((0, 4), (3, 7), (4, 12))]
    some = faces.take(np.concatenate(rows))
    after = load_oversampled(oversample(some, Oversampling(classes="auto"), tmp_path), some).counts()
    assert after.tolist() == [12, 0, 0, 12, 12, 0, 0]


def test_a_class_without_pictures_is_left_out(faces: Faces, tmp_path: Path) -> None:
    some = faces.take(np.flatnonzero(faces.labels != SAD))
    assert load_oversampled(oversample(some, CONFIG, tmp_path), some).counts()[SAD] == 0


def test_each_original_is_used_equally_often(faces: Faces, finished: Path) -> None:
    rows = read_rows(finished)
    for emotion in CONFIG.classes:
        uses = Counter({row.origin: 0 for row in rows if row.emotion == emotion})
        uses.update(row.origin for row in rows if row.emotion == emotion and row.change)
        assert max(uses.values()) - min(uses.values()) <= 1


def test_copies_are_redrawn_bit_equal_from_their_rows(faces: Faces, finished: Path) -> None:
    images = load_oversampled(finished, faces).images
    original = dict(zip(faces.origins, faces.images, strict=True))
    copies = [(row, image) for row, image in zip(read_rows(finished), images, strict=True) if row.change]
    assert len(copies) == len(images) - len(faces)
    for row, image in copies:
        assert row.change
        np.testing.assert_array_equal(redraw(original[row.origin], row.change), image)
        assert draw_change(row.change.seed, CONFIG, 24, 24) == row.change


def test_changes_stay_in_their_ranges_and_use_them(finished: Path) -> None:
    changes = [draw_change(seed, CONFIG, 48, 48) for seed in range(500)]
    angles = [change.angle for change in changes]
    assert -20 <= min(angles) < -18
    assert 18 < max(angles) <= 20
    assert {change.shift_x for change in changes} == set(range(-4, 5)) == {change.shift_y for change in changes}
    assert 0.9 <= min(change.scale for change in changes) < 0.91
    assert 1.09 < max(change.scale for change in changes) <= 1.1
    assert 200 < sum(change.flip for change in changes) < 300
    assert not any(draw_change(seed, replace(CONFIG, flip=False), 48, 48).flip for seed in range(50))
    assert {row.change.flip for row in read_rows(finished) if row.change} == {True, False}


def test_redraw_moves_as_it_says_and_fills_with_the_nearest_pixels(faces: Faces) -> None:
    grey = np.full((24, 24), 90, np.uint8)
    assert np.all(redraw(grey, Change(0, 20.0, 4, -4, 0.9, True)) == 90)
    image = faces.images[0]
    moved = redraw(image, Change(0, 0.0, 3, 0, 1.0, False))
    np.testing.assert_array_equal(moved[:, 3:], image[:, :-3])
    np.testing.assert_array_equal(moved[:, :3], np.repeat(image[:, :1], 3, axis=1))
    np.testing.assert_array_equal(redraw(image, Change(0, 0.0, 0, 0, 1.0, True)), image[:, ::-1])


def test_names_are_unique_whatever_the_origins_are(faces: Faces, tmp_path: Path) -> None:
    few = faces.take(np.flatnonzero(faces.labels == ANGRY)[:6])
    origins = ["a/x.jpg", "b/X.png", "x_aug0001.jpg", "fer2013.csv:row 1", "fer2013.csv:row 2", "../.jpg"]
    few = replace(few, origins=origins)
    after = load_oversampled(oversample(few, Oversampling(target=18), tmp_path), few)
    assert after.origins[:6] == [
        f"angry/{name}.png" for name in ("x", "X_1", "x_aug0001", "fer2013.csv_row_1", "fer2013.csv_row_2", "face")
    ]
    assert len({name.lower() for name in after.origins}) == 18


@pytest.mark.parametrize(
    "values",
    [
        {"classes": ("grumpy",)},
        {"classes": "sad"},
        {"target": "minority"},
        {"target": 0},
        {"target": True},
        {"target": float("nan")},
        {"shift": 1.0},
        {"zoom": -0.1},
        {"rotation": 200.0},
    ],
)
def test_senseless_values_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(FerError, match=f"data.oversample.{next(iter(values))}"):
        Oversampling(**values)


@pytest.mark.parametrize(("angle", "scale"), [(20.0, 1.0), (-15.0, 0.9), (0.0, 1.1)])
def test_redraw_turns_and_enlarges_about_the_centre_as_opencv_does(angle: float, scale: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    face = np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), dtype=np.uint8)
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), angle, scale)  # counter-clockwise, as the manifest says
    expected = cv2.warpAffine(face, matrix, (48, 48), borderMode=cv2.BORDER_REPLICATE)
    redrawn = redraw(face, Change(0, angle, 0, 0, scale, False))
    assert np.abs(redrawn.astype(int) - expected).max() <= 1


def test_redraw_moves_downwards_too(faces: Faces) -> None:
    image = faces.images[0]
    moved = redraw(image, Change(0, 0.0, 0, 3, 1.0, False))
    np.testing.assert_array_equal(moved[3:], image[:-3])
    np.testing.assert_array_equal(moved[:3], np.repeat(image[:1], 3, axis=0))


def test_another_seed_copies_other_pictures_in_other_ways(faces: Faces) -> None:
    (rows, sources), (others, other_sources) = (plan(faces, replace(CONFIG, seed=seed)) for seed in (0, 1))
    changes = {row.file: row.change for row in rows if row.change}
    drawn_anew = [(changes[row.file], row.change) for row in others if row.change and row.file in changes]
    assert drawn_anew
    assert all((first.angle, first.scale) != (second.angle, second.scale) for first, second in drawn_anew)
    assert sources != other_sources
