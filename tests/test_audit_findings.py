"""What the audit counts, what it calls by which name, and what FER+ says to it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fer.audit.duplicates import Pair
from fer.audit.ferplus import agreement
from fer.audit.findings import Findings, find_faults
from fer.audit.labels import Suspect
from fer.data.faces import Faces
from fer.labels import EMOTIONS, EMOTIONS_WITH_CONTEMPT

TRAIN, VAL, TEST = range(3)


def made_up(splits: Sequence[int], labels: Sequence[int] | None = None) -> Faces:
    """Faces of noise in these splits, named by their rows."""
    images = np.random.default_rng(0).integers(0, 256, (len(splits), 48, 48), np.uint8)
    given = np.array(labels or [0] * len(splits))
    return Faces(images, given, np.array(splits, np.uint8), [f"{row}.png" for row in range(len(splits))], "noise")


def findings(
    faces: Faces,
    identical: Sequence[Sequence[int]] = (),
    near: Sequence[Pair] = (),
    nearly_blank: Sequence[int] = (),
    suspects: Sequence[Suspect] | None = None,
) -> Findings:
    empty = np.empty(0, np.intp)
    groups = [np.array(group, np.intp) for group in identical]
    return Findings(faces, 4, groups, near, empty, np.array(nearly_blank, np.intp), empty, [], suspects)


def test_of_a_picture_in_two_splits_those_of_the_first_named_are_counted() -> None:
    faces = made_up([TRAIN, TRAIN, TEST, TRAIN, VAL, VAL, VAL, TEST, TEST])
    leaks = findings(faces, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]).leaks()
    assert {name: rows.tolist() for name, rows in leaks.items()} == {
        "val in train": [4, 5],
        "test in train": [2],
        "test in val": [7, 8],
    }


def test_a_picture_leaks_that_nearly_equals_one_of_which_test_has_a_copy() -> None:
    faces = made_up([TRAIN, TRAIN, TEST, TRAIN, TRAIN, TRAIN])
    found = findings(faces, [[0, 2], [1, 5]], [Pair(0, 3, 2), Pair(1, 4, 2)])  # of equal ones, the first is compared
    assert found.leaked_training(near=False).tolist() == [0]
    assert found.leaked_training(near=True).tolist() == [0, 3]


def test_plain_values_call_everything_by_its_name() -> None:
    faces = made_up([TRAIN, TRAIN, VAL, TEST], [3, 4, 4, 6])
    plain = findings(faces, near=[Pair(0, 3, 2)], nearly_blank=[1], suspects=[Suspect(2, 4, 0, 0.03125)]).to_dict()
    assert plain["suspected_labels"] == [["2.png", "sad", "angry", 0.0312]]
    assert plain["near"] == {"threshold": 4, "pairs": [["0.png", "3.png", 2]]}
    assert (plain["blank"], plain["nearly_blank"], plain["partly_decoded"]) == ([], ["1.png"], [])
    assert plain["digest"] == faces.digest()
    assert {split: [name for name in EMOTIONS if counts[name]] for split, counts in plain["counts"].items()} == {
        "train": ["happy", "sad"],
        "val": ["sad"],
        "test": ["neutral"],
    }


def test_blank_and_nearly_blank_pictures_are_told_apart_and_blank_ones_not_compared() -> None:
    faces = made_up([TRAIN] * 7)
    faces.images[:6] = 100
    faces.images[1] = 200
    faces.images[2, 0, 0] = 120  # what JPEG leaves of nothing
    for row, step in ((3, 2), (4, 20), (5, 24)):  # deviations of 1, 10 and 12
        faces.images[row, :, 24:] += np.uint8(step)
    found = find_faults(faces, 4, labels=False)
    assert found.blank.tolist() == [0, 1, 2]
    assert found.nearly_blank.tolist() == [3, 4]
    assert not {0, 1, 2} & {row for pair in found.near for row in pair[:2]}  # they would all look alike
    assert found.suspects is None


def test_ferplus_is_asked_about_the_pictures_that_have_votes() -> None:
    faces = made_up([TRAIN] * 6, [3] * 6)
    order = np.array([2, 4, 1, 0, 3])  # without the last, on which nobody voted for an emotion
    voted = replace(faces, labels=np.array([3, 4, 4, 6, 3, 0]), classes=EMOTIONS_WITH_CONTEMPT).take(order)
    suspects = [Suspect(row, 3, 4, 0.1) for row in (5, 1, 3, 0)]
    told = agreement(findings(faces, suspects=suspects), faces, voted)
    assert told == pytest.approx((3 / 5, 2 / 3, 2 / 3, 1 / 3))  # all, the suspects, the first hundred, confirmed
    assert agreement(findings(faces, suspects=suspects[:1]), faces, voted)[1:] == (0, 0, 0)


def test_the_hundred_most_suspected_are_counted_by_themselves() -> None:
    faces = made_up([TRAIN] * 160, [3] * 160)
    voted = replace(faces, labels=np.repeat([4, 3], [100, 60]))
    told = agreement(findings(faces, suspects=[Suspect(row, 3, 4, 0.1) for row in range(125)]), faces, voted)
    assert told.first_doubted == 1
    assert told.suspects_doubted == pytest.approx(100 / 125)
