import hashlib

import numpy as np
import pytest

from fer.data.faces import SPLITS, Faces
from fer.data.sample import FER2013_TRAINING, draw_faces
from fer.labels import EMOTIONS


@pytest.fixture(scope="module")
def faces() -> Faces:
    return draw_faces(train=350, val=70, test=70)


def test_sizes_splits_and_types(faces: Faces) -> None:
    assert faces.images.shape == (490, 48, 48)
    assert faces.images.dtype == np.uint8
    assert faces.labels.dtype == np.int64
    assert faces.splits.dtype == np.uint8
    assert [len(faces.split(split)) for split in SPLITS] == [350, 70, 70]
    assert faces.source == "embedded sample of drawn faces"


def test_classes_are_as_imbalanced_as_fer2013_with_a_few_of_each(faces: Faces) -> None:
    counts = faces.split("train").counts()
    wanted = np.array(FER2013_TRAINING) / sum(FER2013_TRAINING) * 350
    assert np.all(np.abs(counts - wanted) <= 2)
    for split in SPLITS:
        assert faces.split(split).counts().min() >= 3


def test_origins_name_split_and_class_and_are_unique(faces: Faces) -> None:
    assert len(set(faces.origins)) == len(faces)
    assert faces.origins[0] == "drawn:train/angry/0000"
    for origin, label, split in zip(faces.origins, faces.labels, faces.splits, strict=True):
        assert origin.startswith(f"drawn:{SPLITS[split]}/{EMOTIONS[label]}/")


def test_same_seed_same_faces_and_a_larger_sample_begins_with_the_smaller(faces: Faces) -> None:
    again = draw_faces(train=70, val=14, test=14)
    row_of = {origin: row for row, origin in enumerate(faces.origins)}
    for origin, image in zip(again.origins, again.images, strict=True):
        np.testing.assert_array_equal(image, faces.images[row_of[origin]])
    assert draw_faces(seed=1, train=7, val=7, test=7).digest() != draw_faces(train=7, val=7, test=7).digest()


def test_every_face_is_another_and_none_is_blank(faces: Faces) -> None:
    assert len({hashlib.sha1(image.tobytes()).digest() for image in faces.images}) == len(faces)
    assert faces.images.reshape(len(faces), -1).std(axis=1).min() > 5


def test_brightness_does_not_give_the_emotion_away(faces: Faces) -> None:
    brightness = faces.images.mean(axis=(1, 2))
    means = [brightness[faces.labels == label].mean() for label in range(len(EMOTIONS))]
    assert np.ptp(means) < brightness.std()


def test_other_sizes() -> None:
    assert draw_faces(train=7, val=7, test=7, size=32).images.shape == (21, 32, 32)
