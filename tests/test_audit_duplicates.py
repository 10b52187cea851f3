"""Which pictures the audit takes for the same one, and which for nearly the same."""

import numpy as np
import pytest

from fer.audit.duplicates import hashes, identical_groups, near_pairs
from fer.data.faces import Faces


def noise(count: int) -> Faces:
    """Faces of noise, no two of them alike."""
    images = np.random.default_rng(0).integers(0, 256, (count, 48, 48), np.uint8)
    zeros = np.zeros(count, np.int64)
    return Faces(images, zeros, zeros.astype(np.uint8), [f"{row}.png" for row in range(count)], "noise")


@pytest.mark.parametrize("at_once", [2**24, 30])  # of FER2013, far from all pairs are compared at a time
def test_pairs_up_to_the_threshold_are_found_the_closest_first(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = noise(12)
    codes = [int(code) for code in hashes(faces.images, np.arange(12))]
    apart = [((codes[one] ^ codes[two]).bit_count(), one, two) for two in range(12) for one in range(two)]
    threshold = sorted(apart)[len(apart) // 2][0]
    monkeypatch.setattr("fer.audit.duplicates._AT_ONCE", at_once)
    expected = [(one, two, bits) for bits, one, two in sorted(apart) if bits <= threshold]
    assert near_pairs(faces, threshold) == expected
    assert near_pairs(faces, threshold, skipped=[5]) == [pair for pair in expected if 5 not in pair[:2]]


def test_the_very_same_picture_is_no_near_duplicate() -> None:
    assert near_pairs(noise(5).take(np.array([0, 1, 0, 2, 2, 0])), 0) == []


def test_groups_of_identical_pictures_come_in_the_order_of_the_data_set() -> None:
    rows = np.array([3, 0, 1, 3, 2, 4, 5, 5, 4, 2, 1, 3])  # the second stands alone
    assert [group.tolist() for group in identical_groups(noise(6).take(rows))] == [
        [0, 3, 11],
        [2, 10],
        [4, 9],
        [5, 8],
        [6, 7],
    ]
