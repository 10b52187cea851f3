"""The fast transforms do to a face what their names say, and nothing more."""

import albumentations as A
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fer.data.augment import Augmenter
from fer.data.warp import Amounts, Erase, Warp


def ramp() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:48, :48]
    return np.asarray(2 * rows + 3 * columns, dtype=np.uint8)[:, :, None]


def amounts(angle: float = 0.0, scale: float = 1.0, across: float = 0.0) -> Amounts:
    return Amounts(np.array([angle]), np.full((1, 2), scale), np.array([[across, 0.0]]))


def test_nothing_drawn_changes_nothing() -> None:
    face = ramp()
    same = Warp(rotation=0, shift=0, zoom=0).apply(face, amounts())
    assert np.array_equal(same, face)
    assert same.shape == face.shape


def test_a_shift_moves_by_its_share_and_repeats_the_edge() -> None:
    face = ramp()
    moved = Warp().apply(face, amounts(across=0.25))
    assert np.array_equal(moved[:, 12:], face[:, :-12])
    assert np.array_equal(moved[:, :12], np.repeat(face[:, :1], 12, axis=1))


def test_a_mirror_image_is_exact() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (50, 48, 48), dtype=np.uint8)
    still = {"rotation": 0, "shift": 0, "zoom": 0}
    mirrored = Warp(**still, flip=1.0).each(faces, np.random.default_rng(0))
    assert np.array_equal(mirrored, faces[:, :, ::-1])
    some = (Warp(**still, flip=0.5).each(faces, np.random.default_rng(0)) == faces).all((1, 2))
    assert 0.3 < some.mean() < 0.7


def test_rotation_and_zoom_agree_with_opencv_about_the_centre() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    face = np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), dtype=np.uint8)[..., None]
    matrix = cv2.getRotationMatrix2D((23.5, 23.5), -20, 1.25)  # OpenCV turns the other way
    expected = cv2.warpAffine(face, matrix, (48, 48), borderMode=cv2.BORDER_REPLICATE)
    warped = Warp().apply(face, amounts(np.radians(20), 1.25))[:, :, 0]
    assert np.abs(warped.astype(int) - expected).max() <= 1


def test_amounts_stay_within_their_limits() -> None:
    warp = Warp(rotation=10, shift=0.1, zoom=0.2, stretch=0.1)
    drawn = warp.drawn(np.random.default_rng(0), 500)
    assert 9 < np.degrees(np.abs(drawn.angle).max()) <= 10
    assert 0.09 < np.abs(drawn.offset).max() <= 0.1
    zooms, ratios = np.sqrt(drawn.scale.prod(1)), drawn.scale[:, 0] / drawn.scale[:, 1]
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


@pytest.mark.parametrize("transform", [Warp(p=0.5), Erase(p=0.5)])
def test_a_batch_is_transformed_as_its_faces_would_be(transform: Warp | Erase) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (400, 48, 48), dtype=np.uint8)
    before = faces.copy()
    batch = transform.each(faces, np.random.default_rng(1))
    assert np.array_equal(faces, before)
    changed = (batch != faces).any((1, 2))
    assert 0.4 < changed.mean() < 0.6  # p
    draw = np.random.default_rng(1)  # drawn again, and applied to one face after another
    if isinstance(transform, Warp):
        drawn = transform.drawn(draw, 400)
        singly = [transform.apply(face[..., None], Amounts(*(x[[n]] for x in drawn))) for n, face in enumerate(faces)]
    else:
        boxes = transform.drawn(draw, 400, 48, 48).tolist()
        singly = [transform.apply(face[..., None], box) for face, box in zip(faces, boxes, strict=True)]
    assert np.array_equal(batch[changed], np.stack(singly)[changed, :, :, 0])


def test_both_work_in_a_pipeline_of_albumentations() -> None:
    pipeline = A.Compose([A.OneOf([Warp(p=1), Erase(p=1)], p=1)], seed=0)
    face = ramp()
    results = [pipeline(image=face)["image"] for _ in range(20)]
    assert all(result.shape == face.shape and result.dtype == np.uint8 for result in results)
    assert len({result.tobytes() for result in results}) == 20


def test_the_same_seed_draws_the_same_faces() -> None:
    faces, labels = np.repeat(ramp()[None, :, :, 0], 8, axis=0), np.zeros(8, dtype=np.int64)
    augmenter = Augmenter([A.HorizontalFlip(), Warp(), Erase(), A.RandomBrightnessContrast()], [0])
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


@pytest.mark.parametrize(("area", "ratio"), [((0.5, 0.5), 3.0), ((0.3, 0.4), 6.0), ((0.9, 1.0), 3.0)])
def test_large_rectangles_are_as_large_as_asked_for(area: tuple[float, float], ratio: float) -> None:
    boxes = Erase(area=area, ratio=ratio, p=1).drawn(np.random.default_rng(0), 500, 100, 100)
    shares = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / 100**2
    assert area[0] - 0.02 < shares.min() <= shares.max() < area[1] + 0.02


@pytest.mark.parametrize("several", [A.Compose, A.Sequential])
def test_transforms_within_another_draw_each_for_itself(several: type[A.BaseCompose]) -> None:
    faces = np.zeros((400, 4, 4), np.uint8)
    faces[:, 0, 0] = 255
    augmenter = Augmenter([several([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)], p=1)], [0])
    found = augmenter(faces, np.zeros(400, np.int64), seed=0)
    corners = np.stack([found[:, 0, 0], found[:, 0, -1], found[:, -1, 0], found[:, -1, -1]]) == 255
    assert corners.sum(axis=1).min() > 60
    np.testing.assert_array_equal(augmenter(faces, np.zeros(400, np.int64), seed=0), found)


def test_a_shift_down_is_a_share_of_the_height() -> None:
    face = ramp()
    down = Amounts(np.zeros(1), np.ones((1, 2)), np.array([[0.0, 0.25]]))
    moved = Warp().apply(face, down)
    assert np.array_equal(moved[12:], face[:-12])
    assert np.array_equal(moved[:12], np.repeat(face[:1], 12, axis=0))


def test_faces_are_turned_and_shifted_in_both_directions() -> None:
    drawn = Warp(rotation=10, shift=0.1).drawn(np.random.default_rng(0), 500)
    assert np.degrees(drawn.angle.min()) < -9 and np.degrees(drawn.angle.max()) > 9
    assert (drawn.offset.min(axis=0) < -0.09).all() and (drawn.offset.max(axis=0) > 0.09).all()


def test_rectangles_lie_anywhere_and_have_any_shape_and_grey() -> None:
    boxes = Erase(area=(0.04, 0.04), ratio=3.0).drawn(np.random.default_rng(0), 2000, 100, 100)
    top, bottom, left, right, grey = boxes.T
    assert len(set(grey.tolist())) > 200
    assert top.min() == left.min() == 0 and bottom.max() == right.max() == 100
    assert abs(np.corrcoef(top, left)[0, 1]) < 0.2
    ratios = (bottom - top) / (right - left)
    assert ratios.min() < 0.4 and ratios.max() > 2.5


def test_transforms_that_follow_each_other_draw_each_for_itself() -> None:
    faces = np.zeros((400, 4, 4), np.uint8)
    faces[:, 0, 0] = 255
    augmenter = Augmenter([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)], [0])
    found = augmenter(faces, np.zeros(400, np.int64), seed=0)
    corners = np.stack([found[:, 0, 0], found[:, 0, -1], found[:, -1, 0], found[:, -1, -1]]) == 255
    assert corners.sum(axis=1).min() > 60


def test_a_face_is_stretched_before_it_is_turned() -> None:
    face = ramp()
    both = Amounts(np.array([np.radians(90)]), np.array([[2.0, 1.0]]), np.zeros((1, 2)))
    turned = Amounts(np.array([np.radians(90)]), np.ones((1, 2)), np.zeros((1, 2)))
    stretched = Amounts(np.zeros(1), np.array([[2.0, 1.0]]), np.zeros((1, 2)))
    one_by_one = Warp().apply(Warp().apply(face, stretched), turned)
    assert np.abs(Warp().apply(face, both).astype(int) - one_by_one).max() <= 2
