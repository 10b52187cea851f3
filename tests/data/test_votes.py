"""The votes of FER+ become labels and targets by the authors' rules."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fer.data.faces import SPLITS
from fer.data.ferplus import FILTERS, TARGETS, judge
from fer.data.votes import Votes, read_votes
from fer.labels import EMOTIONS_WITH_CONTEMPT
from tests.data.layouts import row, unanimous

REAL = Path(os.environ.get("FER2013_TEST_ROOT", "unset")) / "fer2013new.csv"
TRAIN, VAL, TEST = range(len(SPLITS))


def votes_of(*counts: Sequence[int], split: int = TRAIN) -> Votes:
    return Votes(np.array(counts), np.zeros(len(counts), np.bool_), np.full(len(counts), split, np.uint8))


# ten votes in FER+'s order (neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF): is
# the face kept for the majority, which shares are learned, which classes are right; None where it is left out
CASES: dict[str, tuple[list[int], bool, list[float] | None, list[float] | None]] = {
    "outliers do not count": ([6, 0, 1, 1, 0, 0, 0, 0, 2, 0], True, row(neutral=1), row(neutral=1)),
    "half is no majority": (
        [5, 0, 0, 3, 2, 0, 0, 0, 0, 0],
        False,
        row(neutral=5 / 8, sad=3 / 8),  # with the 5 and the 3, three quarters of the votes are reached
        row(neutral=1, sad=1),
    ),
    "equal classes lead together": (
        [4, 0, 0, 4, 2, 0, 0, 0, 0, 0],
        False,
        row(neutral=0.5, sad=0.5),
        row(neutral=1, sad=1),
    ),
    "as many votes as unknown lead, fewer do not": (
        [0, 0, 3, 0, 0, 0, 3, 2, 2, 0],
        False,
        row(surprise=3 / 8, fear=3 / 8, contempt=2 / 8),
        row(surprise=1, fear=1),
    ),
    "three lead at most": (
        [9, 8, 7, 6, 5, 4, 0, 0, 0, 0],
        False,
        row(neutral=9 / 24, happy=8 / 24, surprise=7 / 24),
        None,
    ),
    "too many lead": ([2, 2, 2, 2, 0, 0, 0, 0, 2, 0], False, None, None),
    "unknown wins": ([3, 0, 0, 0, 0, 0, 0, 0, 7, 0], False, None, None),
    "no face wins": ([4, 0, 0, 0, 0, 0, 0, 0, 0, 6], False, None, None),
    "unknown draws": ([4, 0, 0, 2, 0, 0, 0, 0, 4, 0], False, None, row(neutral=1)),
    "nobody agrees": ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], False, None, None),
    "contempt is the last class": (
        [0, 0, 0, 0, 3, 0, 0, 7, 0, 0],
        True,
        row(angry=0.3, contempt=0.7),
        row(angry=1, contempt=1),
    ),
}


@pytest.mark.parametrize(("counts", "majority", "shares", "right"), CASES.values(), ids=CASES)
def test_votes_become_targets(
    counts: list[int], majority: bool, shares: list[float] | None, right: list[float] | None
) -> None:
    votes = votes_of(counts)
    verdict = judge(votes, "majority", FILTERS)
    assert bool(verdict.kept[0]) is majority
    assert verdict.targets is None
    expected = {"probabilistic": shares, "cross_entropy": shares, "multi_target": right}
    for target, wanted in expected.items():
        verdict = judge(votes, target, FILTERS)
        assert bool(verdict.kept[0]) is (wanted is not None)
        if wanted is not None:
            assert verdict.targets is not None
            assert verdict.targets[0].astype(float) == pytest.approx(wanted)


def test_of_equal_classes_the_first_column_is_the_label() -> None:
    labels = judge(votes_of([0, 0, 5, 0, 5, 0, 0, 0, 0, 0]), "majority", ()).labels
    assert [EMOTIONS_WITH_CONTEMPT[label] for label in labels] == ["surprise"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("split", [VAL, TEST])
def test_validation_and_test_are_kept_by_the_majority_whatever_is_learned(target: str, split: int) -> None:
    votes = votes_of(*(counts for counts, *_ in CASES.values()), split=split)
    assert judge(votes, target, FILTERS).kept.tolist() == [majority for _, majority, *_ in CASES.values()]


def test_each_filter_can_be_left_out() -> None:
    def kept(counts: list[int], *left_out: str, blank: bool = False, target: str = "majority") -> bool:
        votes = Votes(np.array([counts]), np.array([blank]), np.array([TRAIN], np.uint8))
        return bool(judge(votes, target, [name for name in FILTERS if name not in left_out]).kept[0])

    assert kept(unanimous("fear"))
    assert not kept(unanimous("fear"), blank=True)
    assert kept(unanimous("fear"), "blank", blank=True)
    unknown = [0, 4, 0, 0, 0, 0, 0, 0, 6, 0]
    assert not kept(unknown, "majority")
    assert kept(unknown, "majority", "unknown")
    lone = [5, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert kept(lone)
    assert not kept(lone, "outliers")
    assert kept(lone, "outliers", "majority")
    assert not kept([0] * 8 + [5, 5], *FILTERS)  # nobody names an emotion
    shares = judge(votes_of([5, 0, 0, 3, 2, 0, 0, 0, 0, 0]), "cross_entropy", ["outliers", "majority"]).targets
    assert shares is not None
    assert shares[0] == pytest.approx(row(neutral=0.5, sad=0.3, angry=0.2))


@pytest.mark.parametrize("target", TARGETS[1:])
def test_without_filters_every_face_with_a_vote_can_be_learned(target: str) -> None:
    for filters in ([], ["leading"], ["outliers", "leading"]):
        verdict = judge(votes_of(*(counts for counts, *_ in CASES.values())), target, filters)
        assert verdict.targets is not None
        chosen = verdict.targets[np.arange(len(verdict.labels)), verdict.labels]
        assert (chosen[verdict.kept] > 0).all()


COUNTS = {
    ("majority", FILTERS): [25060, 3199, 3153],
    ("majority", ("blank", "unknown")): [28389, 3553, 3546],
    ("probabilistic", FILTERS): [27956, 3199, 3153],
    ("cross_entropy", FILTERS): [27956, 3199, 3153],
    ("multi_target", FILTERS): [27671, 3199, 3153],
}


@pytest.mark.skipif(not REAL.is_file(), reason="FER2013_TEST_ROOT names no folder with fer2013new.csv")
def test_the_real_votes_keep_as_many_faces_as_the_authors_rules() -> None:
    votes = read_votes(REAL)

    def counted(mask: NDArray[np.bool_]) -> list[int]:
        return [int((mask & (votes.splits == split)).sum()) for split in range(len(SPLITS))]

    assert len(votes.counts) == 35887
    assert int(votes.blank.sum()) == 173
    assert {key: counted(judge(votes, *key).kept) for key in COUNTS} == COUNTS
    verdict = judge(votes, "majority", FILTERS)
    per_class = [
        np.bincount(verdict.labels[verdict.kept & (votes.splits == split)], minlength=8).tolist()
        for split in range(len(SPLITS))
    ]
    assert per_class == [
        [2100, 119, 532, 7287, 3014, 3149, 8740, 119],
        [287, 24, 62, 865, 351, 415, 1182, 13],
        [273, 18, 83, 893, 384, 396, 1090, 16],
    ]


def test_what_comes_after_exactly_three_quarters_of_the_votes_does_not_lead() -> None:
    targets = judge(votes_of([6, 2, 0, 0, 0, 0, 0, 0, 0, 0]), "cross_entropy", ["leading"]).targets
    assert targets is not None
    assert targets[0].tolist() == row(neutral=1)
