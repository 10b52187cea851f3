"""The real FER2013 is read as it was counted; needs FER2013_TEST_ROOT with fer2013.tar.xz, index.csv and the votes."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.audit.duplicates import identical_groups
from fer.audit.ferplus import Agreement, agreement
from fer.audit.findings import LEAKS, Findings
from fer.audit.labels import Suspect
from fer.audit.pictures import BLANK, deviations
from fer.data.faces import SPLITS, Faces
from fer.data.ferplus import FILTERS, join_votes
from fer.data.leaks import identical_to_any
from fer.data.readers import read_faces
from tests.conftest import REAL

COUNTS = [
    [3995, 436, 4097, 7215, 4830, 3171, 4965],
    [467, 56, 496, 895, 653, 415, 607],
    [491, 55, 528, 879, 594, 416, 626],
]
CSV_ROWS = range(0, 35887, 8)  # every eighth keeps the test short, and meets every class and usage


def _counts(faces: Faces) -> list[list[int]]:
    return [faces.split(split).counts().tolist() for split in SPLITS]


def test_folders_give_the_official_counts_and_pixels(real_faces: Faces) -> None:
    scaled = real_faces.images.astype(np.float32) / 255

    assert real_faces.images.shape == (35887, 48, 48)
    assert _counts(real_faces) == COUNTS
    assert real_faces.notes == ()
    assert scaled.mean(dtype=np.float64) == pytest.approx(0.5074, abs=5e-5)
    assert scaled.std(dtype=np.float64) == pytest.approx(0.2552, abs=5e-5)


def test_the_archive_gives_the_very_same_faces(real_faces: Faces) -> None:
    packed = read_faces(REAL)

    assert list(packed.origins) == list(real_faces.origins)
    assert np.array_equal(packed.images, real_faces.images)
    assert packed.digest() == real_faces.digest()


def test_a_table_of_the_same_pictures_gives_the_same_faces(
    real_folders: Path, real_faces: Faces, tmp_path: Path
) -> None:
    with (REAL / "index.csv").open(newline="") as file:
        index = list(csv.DictReader(file))
    assert len(index) == len(real_faces)
    with (tmp_path / "fer2013.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("emotion", "pixels", "Usage"))
        for number in CSV_ROWS:
            entry = index[number]
            with Image.open(real_folders / entry["kaggle_file"]) as image:
                pixels = " ".join(map(str, image.tobytes()))
            writer.writerow((entry["emotion"], pixels, entry["usage"]))

    row_of = {origin: row for row, origin in enumerate(real_faces.origins)}
    rows = np.array([row_of[index[number]["kaggle_file"]] for number in CSV_ROWS])
    expected = real_faces.take(rows)
    table = read_faces(tmp_path)
    assert np.array_equal(table.labels, expected.labels)
    assert np.array_equal(table.splits, expected.splits)
    assert np.array_equal(table.images, expected.images)
    assert table.digest() == expected.digest()


@pytest.mark.parametrize(("contempt", "kept"), [(True, [25060, 3199, 3153]), (False, [24941, 3186, 3137])])
def test_kaggles_pictures_get_the_votes_of_their_rows(real_faces: Faces, contempt: bool, kept: list[int]) -> None:
    votes, index = REAL / "fer2013new.csv", REAL / "index.csv"
    faces = join_votes(real_faces, votes, index, contempt=contempt, target="majority", filters=FILTERS)
    assert [len(faces.split(split)) for split in SPLITS] == kept
    # the taggers see what Kaggle's folders say in most pictures, which no shifted row would give
    old = dict(zip(real_faces.origins, real_faces.labels.tolist(), strict=True))
    agreed = np.mean([old[origin] == label for origin, label in zip(faces.origins, faces.labels, strict=True)])
    assert agreed == pytest.approx(0.7, abs=0.1)


def test_the_audit_finds_the_known_repetitions(real_faces: Faces) -> None:
    groups = identical_groups(real_faces)
    conflicts = [group for group in groups if len(set(real_faces.labels[group].tolist())) > 1]
    assert (len(groups), sum(map(len, groups))) == (1516, 3369)
    assert (len(conflicts), sum(map(len, conflicts))) == (57, 160)
    assert len(real_faces) - sum(len(group) - 1 for group in groups) == 34034
    assert int((deviations(real_faces.images) < BLANK).sum()) == 13
    parts = {split: real_faces.split(split) for split in SPLITS}
    leaks = [int(identical_to_any(parts[one], parts[other]).sum()) for one, other in LEAKS]
    assert leaks == [280, 288, 44]


def test_ferplus_confirms_what_it_says_itself(real_faces: Faces) -> None:
    """Suspects taken from the votes are all doubted and confirmed; others are as often as the votes have it."""
    votes, index = REAL / "fer2013new.csv", REAL / "index.csv"
    voted = join_votes(real_faces, votes, index, contempt=True, target="majority", filters=())
    row_of = {origin: row for row, origin in enumerate(real_faces.origins)}
    rows = [row_of[origin] for origin in voted.origins]
    doubted = real_faces.labels[rows] != voted.labels
    empty = np.empty(0, np.intp)
    told = [Suspect(rows[at], int(real_faces.labels[rows[at]]), int(voted.labels[at]), 0.0) for at in range(len(rows))]

    def asked(suspects: list[Suspect]) -> Agreement:
        findings = Findings(real_faces, 4, [], [], empty, empty, empty, [], suspects)
        return agreement(findings, real_faces, voted)

    every = asked(told)
    assert every.doubted == every.suspects_doubted == pytest.approx(doubted.mean())
    assert 0.2 < every.doubted < 0.4
    sure = asked([suspect for suspect, wrong in zip(told, doubted, strict=True) if wrong])
    assert (sure.suspects_doubted, sure.first_doubted, sure.suspects_confirmed) == (1.0, 1.0, 1.0)
