"""RAF-DB, AffectNet and CK+48 as they are published."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fer.data.faces import SPLITS
from fer.data.folders import list_class_folders
from fer.data.options import ReadOptions
from fer.data.readers import read_faces
from fer.data.trees import FolderTree
from fer.labels import AFFECTNET, EMOTIONS, RAF_DB
from tests.conftest import composed
from tests.data.layouts import (
    DROP,
    KEEP,
    check_grey,
    counts,
    png,
    refusal,
    write_affectnet,
    write_ck48,
    write_digits,
    write_raf_db,
)

RAF_NOTE = "Classes: 1→surprise, 2→fear, 3→disgust, 4→happy, 5→sad, 6→angry, 7→neutral."


@pytest.mark.parametrize(
    ("pictures", "labels"),
    [
        ("basic/Image/aligned", "basic/EmoLabel"),
        ("RAF-DB/basic/Image/aligned", "RAF-DB/basic/EmoLabel"),
        ("Image/aligned", "EmoLabel"),
        ("aligned", "."),
    ],
)
def test_raf_db_as_published(pictures: str, labels: str, tmp_path: Path) -> None:
    write_raf_db(tmp_path / "a", pictures, labels)
    if labels.startswith("basic"):
        (tmp_path / "a" / "compound").mkdir()
    faces = read_faces(tmp_path / "a")

    assert counts(faces) == [[3] * 7, [1] * 7, [2] * 7]
    check_grey(faces, RAF_DB)
    assert faces.source == f"RAF-DB in {tmp_path / 'a'}"
    assert faces.notes[0] == RAF_NOTE


def test_raf_db_of_kaggle(tmp_path: Path) -> None:
    write_digits(tmp_path / "DATASET", range(1, 8), ("train", "test"))
    (tmp_path / "train_labels.csv").write_text("image,label\n")
    faces = read_faces(tmp_path)

    assert counts(faces) == [[2] * 7, [1] * 7, [3] * 7]
    check_grey(faces, RAF_DB)
    assert faces.source == f"RAF-DB folders in {tmp_path}"
    assert faces.notes[0] == RAF_NOTE


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train_00001.jpg", "line 3: 'train_00001.jpg' is not a picture and a label from 1 to 7"),
        ("train_00001.jpg 8", "line 3: 'train_00001.jpg 8' is not"),
        ("../train_00001.jpg 1", "line 3: '../train_00001.jpg 1' is not"),
        ("train_00001.jpg 1", "line 3: train_00001.jpg stands there twice"),
        ("train_99999.jpg 1", "line 3: train_99999_aligned.jpg is not in"),
    ],
)
def test_bad_lines_of_raf_db_are_named(line: str, said: str, tmp_path: Path) -> None:
    path = write_raf_db(tmp_path) / "basic" / "EmoLabel" / "list_patition_label.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]))
    assert said in refusal(tmp_path)


def test_raf_db_without_its_pictures(tmp_path: Path) -> None:
    shutil.rmtree(write_raf_db(tmp_path) / "basic" / "Image")
    assert "unpack aligned.zip" in refusal(tmp_path)


def test_lines_and_pictures_of_raf_db_that_do_not_match(tmp_path: Path) -> None:
    folder = write_raf_db(tmp_path) / "basic" / "Image" / "aligned"
    (folder / "train_00003_aligned.jpg").rename(folder / "train_00103_aligned.jpg")
    faces = read_faces(tmp_path, ReadOptions(on_error="skip"))

    assert len(faces) == 41
    assert "1 of 42 lines, those without a picture, were left out (data.on_error=skip): train_00003." in faces.notes
    assert any("1 pictures in basic/Image/aligned are not in" in note for note in faces.notes)


def test_affectnet_as_published(tmp_path: Path) -> None:
    write_affectnet(tmp_path)
    assert "contempt" in refusal(tmp_path)
    faces, kept = read_faces(tmp_path, DROP), read_faces(tmp_path, KEEP)

    assert counts(faces) == [[3] * 7, [1] * 7, [2] * 7]
    assert counts(kept) == [[3] * 8, [1] * 8, [2] * 8]
    assert kept.classes == (*EMOTIONS, "contempt")
    for some in (faces, kept):
        check_grey(some, AFFECTNET)
    assert faces.source == f"AffectNet in {tmp_path}"
    assert "0→neutral, 1→happy, 2→sad, 3→surprise, 4→fear, 5→disgust, 6→angry." in faces.notes[0]
    assert "Classes left out (data.extra_classes=drop): contempt." in faces.notes
    assert all(origin.startswith("val_set/") for origin in faces.split("test").origins)


def test_affectnet_class_folders(tmp_path: Path) -> None:
    write_digits(tmp_path / "eight", range(8), ("train", "val"))
    write_digits(tmp_path / "seven", range(7), ("train", "val"))
    for faces in (read_faces(tmp_path / "eight", DROP), read_faces(tmp_path / "seven")):
        assert counts(faces) == [[2] * 7, [1] * 7, [3] * 7]
        check_grey(faces, AFFECTNET)
        assert faces.source.startswith("AffectNet folders")


def test_other_digits_are_told_by_the_class_map(tmp_path: Path) -> None:
    write_digits(tmp_path, range(7), ("train", "val"))
    fer2013 = {str(digit): name for digit, name in enumerate(EMOTIONS)}
    check_grey(read_faces(tmp_path, ReadOptions(class_map=fer2013)), fer2013)
    written = ", ".join(f"{digit}: {name}" for digit, name in fer2013.items())
    assert ReadOptions.of(composed(f"data.class_map={{{written}}}").data).class_map == fer2013


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array("12"), "'12' is no label from 0 to 10"),
        (np.array(["1", "2"]), "holds an array (2,)"),
        (np.array("1" * 100), "holds an array () of <U100"),
        (np.array({"a": 1}, dtype=object), "holds an array () of object"),
    ],
)
def test_bad_labels_of_affectnet_are_named(value: object, said: str, tmp_path: Path) -> None:
    path = write_affectnet(tmp_path) / "train_set" / "annotations" / "3_exp.npy"
    np.save(path, np.asarray(value), allow_pickle=True)
    assert said in refusal(tmp_path, DROP)
    assert "train_set/annotations/3_exp.npy" in refusal(tmp_path, DROP)


def test_pictures_of_affectnet_without_a_label(tmp_path: Path) -> None:
    annotations = write_affectnet(tmp_path) / "train_set" / "annotations"
    (annotations / "3_exp.npy").unlink()
    (annotations / "5_exp.npy").write_bytes(b"")
    assert "train_set/images/3.jpg has no label" in refusal(tmp_path, DROP)
    faces = read_faces(tmp_path, ReadOptions(extra_classes="drop", on_error="skip"))
    assert any("2 of 48 pictures, those without a label, were left out" in note for note in faces.notes)
    assert len(faces) == 40


def test_nobody_of_ck48_stands_in_two_splits(tmp_path: Path) -> None:
    write_ck48(tmp_path / "CK+48")
    assert "contempt is named after no known class" in refusal(tmp_path)
    people: list[set[str]] = []
    faces = read_faces(tmp_path, KEEP)
    for split in SPLITS:
        people.append({origin.rpartition("/")[2][:4] for origin in faces.split(split).origins})

    assert len(set.union(*people)) == sum(map(len, people)) == 30
    assert all(np.delete(faces.split(split).counts(), EMOTIONS.index("neutral")).all() for split in SPLITS)
    numbers = " + ".join(str(len(some)) for some in people)
    assert faces.source == f"CK+ folders in {tmp_path}"
    assert any(f"its 30 people were divided into {numbers} for training" in note for note in faces.notes)
    assert "There is no picture of neutral." in faces.notes
    assert "Classes: anger→angry, sadness→sad." in faces.notes
    other = read_faces(tmp_path, ReadOptions(extra_classes="keep", split_seed=1))
    assert other.splits.tolist() != faces.splits.tolist()


def test_nobody_of_ck48_validates_what_he_taught(tmp_path: Path) -> None:
    write_ck48(tmp_path / "all")
    for path in (tmp_path / "all").glob("*/*.png"):
        part = "test" if path.name < "S016" else "train"
        (tmp_path / "parts" / part / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "parts" / part / path.parent.name / path.name)
    faces = read_faces(tmp_path / "parts", DROP)
    train, val = ({origin.rpartition("/")[2][:4] for origin in faces.split(split).origins} for split in SPLITS[:2])
    assert train and val
    assert not train & val
    taken = faces.split("train").counts() + faces.split("val").counts()
    assert 0.05 < len(faces.split("val")) / taken.sum() < 0.25
    assert any("nobody stands in both" in note for note in faces.notes)


def test_too_few_people_are_divided_by_their_pictures(tmp_path: Path) -> None:
    write_ck48(tmp_path / "train", subjects=1)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    faces = read_faces(tmp_path, DROP)
    assert len(faces.split("val"))
    assert set(faces.split("val").labels) <= set(faces.split("train").labels)
    assert not any("nobody" in note for note in faces.notes)


def test_every_label_of_affectnet_has_one_picture(tmp_path: Path) -> None:
    write_affectnet(tmp_path)
    annotations, images = tmp_path / "train_set" / "annotations", tmp_path / "train_set" / "images"
    np.save(annotations / "99_exp.npy", np.array("1"))
    faces = read_faces(tmp_path, ReadOptions(extra_classes="drop"))
    assert "Labels without a picture, which were not read: 1." in faces.notes
    first = min(images.iterdir())
    shutil.copy(first, first.with_suffix(".bmp"))
    message = refusal(tmp_path)
    assert f"{first.stem}_exp.npy labels" in message and f"{first.stem}.bmp" in message


@pytest.mark.parametrize(
    ("owner", "name"),
    [("CK+", "S{:03}_001_00000015_crop.png"), ("JAFFE", "K{}.AN1.39.png"), ("KDEF", "{}F01ANS.png")],
)
def test_names_of_other_sets_tell_people_apart_too(owner: str, name: str, tmp_path: Path) -> None:
    subjects = {"CK+": range(10, 40), "JAFFE": "ABCDEFGHIJ", "KDEF": "AB"}[owner]
    for number, subject in enumerate(subjects):
        for kind in ("angry", "happy"):
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / name.format(subject)).write_bytes(png(np.full((48, 48), 5 * number, np.uint8)))
    found = list_class_folders(FolderTree(tmp_path), "", ReadOptions())
    assert found.title == f"{owner} folders"
    assert len({entry.person for entry in found.entries}) == (1 if owner == "KDEF" else len(subjects))  # two sessions
    assert all(entry.person for entry in found.entries)
    for number in range(len(found.entries) + 1):
        (tmp_path / "happy" / f"{number}.png").write_bytes(png(np.full((48, 48), number, np.uint8)))
    assert list_class_folders(FolderTree(tmp_path), "", ReadOptions()).title == "Class folders"


def test_too_few_people_are_torn_apart_rather_than_a_split_left_empty(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for session in "AB":
        for person in ("F01", "M02"):
            for number, angle in enumerate(("S", "HL", "HR", "FL", "FR")):
                for kind, name in (("AN", "angry"), ("HA", "happy")):
                    (tmp_path / name).mkdir(exist_ok=True)
                    picture = png(rng.integers(0, 256, (48, 48), np.uint8))
                    (tmp_path / name / f"{session}{person}{kind}{angle}.{number}.png").write_bytes(picture)
    faces = read_faces(tmp_path)
    assert [len(faces.split(split)) for split in SPLITS] == [32, 4, 4]
    assert any("too few to stand in one split each" in note for note in faces.notes)


def test_a_part_of_the_digits_says_not_whose_they_are(tmp_path: Path) -> None:
    write_digits(tmp_path, range(1, 7), ("train", "test"))
    assert "'data.class_map={1:" in refusal(tmp_path)


def test_pictures_with_labels_for_yolo_are_told_of(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for kind in ("images", "labels"):
            (tmp_path / split / kind).mkdir(parents=True)
            (tmp_path / split / kind / "one.txt").write_text("0 0.5 0.5 1 1")
    assert "as YOLO wants them" in refusal(tmp_path)
