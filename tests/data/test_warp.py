"""The fast transforms do to a face what their names say, and nothing more."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer.data.augment import Augmenter
from fer.data.warp import Erase, Warp


def ramp() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:48, :48]
    return np.asarray(2 * rows + 3 * columns, dtype=np.uint8)[:, :, None]


def test_nothing_drawn_changes_nothing() -> None:
    face = ramp()
    same = Warp(rotation=0, shift=0, zoom=0).apply(face, 0.0, (1.0, 1.0), (0.0, 0.0))
    assert np.array_equal(same, face)
    assert same.shape == face.shape


def test_a_shift_moves_by_its_share_and_repeats_the_edge() -> None:
    face = ramp()
    moved = Warp().apply(face, 0.0, (1.0, 1.0), (0.25, 0.0))
    assert np.array_equal(moved[:, 12:], face[:, :-12])
    assert np.array_equal(moved[:, :12], np.repeat(face[:, :1], 12, axis=1))


def test_rotation_and_zoom_agree_with_opencv_about_the_centre() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    face = np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), dtype=np.uint8)[..., None]
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), -20, 1.25)  # OpenCV turns the other way
    expected = cv2.warpAffine(face, matrix, (48, 48), borderMode=cv2.BORDER_REPLICATE)
    warped = Warp().apply(face, np.radians(20), (1.25, 1.25), (0.0, 0.0))[:, :, 0]
    assert np.abs(warped.astype(int) - expected).max() <= 1


def test_amounts_stay_within_their_limits() -> None:
    warp = Warp(rotation=10, shift=0.1, zoom=0.2, stretch=0.1)
    warp.set_random_seed(0)
    drawn = [warp.get_params() for _ in range(500)]
    assert 9 < np.degrees(max(abs(params["angle"]) for params in drawn)) <= 10
    assert 0.09 < max(np.abs(params["offset"]).max() for params in drawn) <= 0.1
    zooms = [np.sqrt(params["scale"][0] * params["scale"][1]) for params in drawn]
    ratios = [params["scale"][0] / params["scale"][1] for params in drawn]
    assert 0.8 <= min(zooms) < 0.82 and 1.18 < max(zooms) <= 1.2
    assert 0.9 <= min(ratios) < 0.92 and 1.08 < max(ratios) <= 1.1


def test_erasing_fills_one_rectangle_of_the_size_asked_for() -> None:
    erase = Erase(area=(0.1, 0.2), ratio=2, p=1)
    erase.set_random_seed(0)
    for _ in range(100):
        face = ramp()
        result = erase(image=face)["image"]
        changed = (result != face)[:, :, 0]
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = result[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert len(np.unique(box)) == 1
        assert 0.08 < box.size / face.size < 0.22
        assert np.array_equal(face, ramp())


def test_the_same_seed_draws_the_same_faces() -> None:
    faces, labels = np.repeat(ramp()[None, :, :, 0], 8, axis=0), np.zeros(8, dtype=np.int64)
    augmenter = Augmenter([Warp(), Erase()], [0])
    first, again, other = (augmenter(faces, labels, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({face.tobytes() for face in first}) == 8


@pytest.mark.parametrize("options", [{"zoom": 1.0}, {"stretch": -0.1}])
def test_impossible_warps_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="zoom and stretch"):
        Warp(**options)


def test_impossible_rectangles_are_refused() -> None:
    with pytest.raises(ValueError, match="area"):
        Erase(area=(0.3, 0.2))
