"""All layouts give the same faces, and what is found where."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from fer.data.faces import SPLITS, Faces
from fer.data.options import ReadOptions
from fer.data.readers import read_faces
from fer.labels import EMOTIONS
from tests.data.layouts import draw_rows, pack_tar, pack_zip, write_classes, write_folders, write_table


def _folders(root: Path) -> Path:
    return write_folders(root)


def _nested(root: Path) -> Path:
    write_folders(root / "fer2013")
    return root


def _aliases(root: Path) -> Path:
    write_folders(root)
    for split in ("train", "test"):
        (root / split / "happy").rename(root / split / "Happiness")
        (root / split / "angry").rename(root / split / "anger")
    (root / "train").rename(root / "Train")
    return root


def _table(root: Path) -> Path:
    write_table(root / "fer2013.csv")
    return root


def _table_itself(root: Path) -> Path:
    return write_table(root / "mine.csv")


def _icml(root: Path) -> Path:
    write_table(root / "icml_face_data.csv", ("emotion", " Usage", " pixels"))
    return root


def _packed(name: str) -> Callable[[Path], Path]:
    def pack(root: Path) -> Path:
        source = write_folders(root / "source")
        return (pack_zip if name.endswith("zip") else pack_tar)(source, root / "data" / name).parent

    return pack


def _packed_table(root: Path) -> Path:
    write_table(root / "source" / "fer2013" / "fer2013.csv")
    return pack_tar(root / "source", root / "fer2013.tar.gz")


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "folders": _folders,
    "nested": _nested,
    "aliases": _aliases,
    "table": _table,
    "table itself": _table_itself,
    "icml": _icml,
    "zip": _packed("archive.zip"),
    "tar": _packed("a.tar"),
    "tar.gz": _packed("a.tar.gz"),
    "tgz": _packed("a.tgz"),
    "tar.xz": _packed("a.tar.xz"),
    "tar.bz2": _packed("a.tar.bz2"),
    "packed table": _packed_table,
}


def _expected_digest() -> str:
    rows = draw_rows()
    split_of = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
    splits = [SPLITS.index(split_of[usage]) for usage, _, _ in rows]
    return Faces(
        images=np.stack([image for _, _, image in rows]),
        labels=np.array([label for _, label, _ in rows]),
        splits=np.array(splits, np.uint8),
        origins=[""] * len(rows),
        source="",
    ).digest()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_faces(layout: str, tmp_path: Path) -> None:
    faces = read_faces(LAYOUTS[layout](tmp_path))

    assert faces.digest() == _expected_digest()
    assert faces.classes == EMOTIONS
    assert [array.dtype.name for array in (faces.images, faces.labels, faces.splits)] == [
        "uint8",
        "int64",
        "uint8",
    ]
    assert [faces.split(split).counts().tolist() for split in SPLITS] == [[4] * 7, [2] * 7, [2] * 7]
    assert len(set(faces.origins)) == len(faces)
    assert faces.notes == (("Classes: Happiness→happy, anger→angry.",) if layout == "aliases" else ())


def test_origins_name_the_file_or_row(tmp_path: Path) -> None:
    folders, table = read_faces(_nested(tmp_path / "a")), read_faces(_table(tmp_path / "b"))

    assert list(folders.origins) == sorted(folders.origins)
    assert np.array_equal(folders.images[0], np.asarray(Image.open(tmp_path / "a" / folders.origins[0])))
    assert folders.source == f"Kaggle folders in {tmp_path / 'a'}"
    assert table.origins[17] == "fer2013.csv:row 17"
    assert np.array_equal(table.images[17], draw_rows()[17][2])


def test_validation_is_held_out_where_nothing_names_it(tmp_path: Path) -> None:
    write_folders(tmp_path / "a", prefixes=False)
    faces = read_faces(tmp_path / "a", ReadOptions(val_fraction=0.25))

    assert [faces.split(split).counts().tolist() for split in SPLITS] == [[3] * 7, [1] * 7, [4] * 7]
    assert len(faces.notes) == 1
    assert "7 training pictures (25% of each class) were held out" in faces.notes[0]


def test_held_out_pictures_depend_on_content_only(tmp_path: Path) -> None:
    rows = draw_rows()
    write_folders(tmp_path / "a", rows, prefixes=False)
    write_folders(tmp_path / "b", rows[::-1], prefixes=False)
    one, other = read_faces(tmp_path / "a"), read_faces(tmp_path / "b")

    assert one.digest() == other.digest()
    smaller = read_faces(tmp_path / "a", ReadOptions(size=24))
    assert np.array_equal(smaller.splits, one.splits)


def test_twins_are_held_out_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (48, 48), np.uint8) for _ in range(10)]
    rows = [("Training", label, pictures[i % 10]) for label in range(7) for i in range(20)]
    write_folders(tmp_path, rows + draw_rows()[-14:], prefixes=False)
    faces = read_faces(tmp_path, ReadOptions(val_fraction=0.2))

    held = {image.tobytes() for image in faces.split("val").images}
    assert faces.split("val").counts().tolist() == [4] * 7
    assert not held & {image.tobytes() for image in faces.split("train").images}


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_validation_folder_outranks_file_names(name: str, tmp_path: Path) -> None:
    write_folders(tmp_path)
    shutil.copytree(tmp_path / "train", tmp_path / name)  # its files begin with Training_
    faces = read_faces(tmp_path)

    assert [faces.split(split).counts().tolist() for split in SPLITS] == [[4] * 7] * 3
    assert all(origin.startswith(f"{name}/") for origin in faces.split("val").origins)


def test_pictures_of_other_sizes_and_modes_are_fitted(tmp_path: Path) -> None:
    write_folders(tmp_path)
    folder = tmp_path / "train" / "sad"
    Image.new("RGB", (96, 60), (200, 200, 200)).save(folder / "Training_big.jpg")
    Image.fromarray(np.full((48, 48), 200 << 8, np.uint16)).save(folder / "Training_deep.png")
    Image.new("L", (20, 20), 200).save(folder / "Training_small.bmp")
    faces = read_faces(tmp_path)

    assert faces.notes == ("2 of 59 pictures were not 48x48 and were resized to that.",)
    for name in ("big.jpg", "deep.png", "small.bmp"):
        image = faces.images[list(faces.origins).index(f"train/sad/Training_{name}")]
        assert image.shape == (48, 48)
        assert np.abs(image.astype(int) - 200).max() <= 1


def test_shrinking_averages_instead_of_skipping_pixels(tmp_path: Path) -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (96, 48))
    rows = [(usage, label, stripes) for usage, label, _ in draw_rows()]
    faces = read_faces(write_folders(tmp_path, rows))

    assert 100 < faces.images[:, 5:-5, 5:-5].min() <= faces.images[:, 5:-5, 5:-5].max() < 155


def test_tables_are_resized_too(tmp_path: Path) -> None:
    faces = read_faces(_table(tmp_path), ReadOptions(size=24))

    assert faces.images.shape == (56, 24, 24)
    assert faces.notes == ("56 of 56 pictures were not 24x24 and were resized to that.",)


def test_folders_come_first_and_the_rest_is_named(tmp_path: Path) -> None:
    write_folders(tmp_path)
    write_table(tmp_path / "fer2013.csv")
    (tmp_path / "old.zip").write_bytes(b"never opened")
    faces = read_faces(tmp_path)

    assert faces.source.startswith("Kaggle folders")
    assert faces.notes == ("Of what lies there, only train and test folders were read; ignored: fer2013.csv, old.zip.",)


def test_fer2013_csv_comes_before_icml(tmp_path: Path) -> None:
    (tmp_path / "icml_face_data.csv").write_text("never read")
    faces = read_faces(_table(tmp_path))

    assert faces.source.startswith("fer2013.csv in")
    assert "icml_face_data.csv" in faces.notes[0]


def test_litter_is_ignored_silently(tmp_path: Path) -> None:
    write_folders(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / "sad" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "train" / "sad" / "._Training_1.png").write_bytes(b"x")
    if os.name != "nt":  # which has no such names
        (tmp_path / "train" / "happy" / "Icon\r").write_bytes(b"x")
    (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
    for name in ("$RECYCLE.BIN", "System Volume Information"):
        (tmp_path / name).mkdir()
        (tmp_path / "train" / name).mkdir()

    assert read_faces(tmp_path).digest() == _expected_digest()


@pytest.mark.parametrize(("on_disk", "written"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_the_same_composed_or_not(tmp_path: Path, on_disk: Literal["NFD"], written: Literal["NFC"]) -> None:
    write_classes(tmp_path, [normalize(on_disk, name) for name in ("fröhlich", "wütend", "화남")])
    meant = {"fröhlich": "happy", "wütend": "angry", "화남": "fear"}
    faces = read_faces(
        tmp_path, ReadOptions(class_map={normalize(written, key): value for key, value in meant.items()})
    )
    assert [name for name, count in zip(faces.classes, faces.counts(), strict=True) if count] == [
        "angry",
        "fear",
        "happy",
    ]


def test_what_lies_beside_the_classes_is_told_of(tmp_path: Path) -> None:
    write_folders(tmp_path)
    digest = read_faces(tmp_path).digest()
    (tmp_path / "dev" / "sad").mkdir(parents=True)
    shutil.copy(next((tmp_path / "train" / "sad").iterdir()), tmp_path / "train" / "loose.png")
    (tmp_path / "train" / "readme.txt").write_text("no picture")
    faces = read_faces(tmp_path)

    assert faces.digest() == digest
    of_folders, of_pictures = faces.notes
    assert "name no split (train, val, test) were not read: dev." in of_folders
    assert f"not read: 1 in {tmp_path / 'train'}, such as loose.png." in of_pictures


def test_loose_pictures_beside_class_folders_are_told_of(tmp_path: Path) -> None:
    write_classes(tmp_path, EMOTIONS)
    shutil.copy(next((tmp_path / "sad").iterdir()), tmp_path / "0001.png")

    assert f"not read: 1 in {tmp_path}, such as 0001.png." in read_faces(tmp_path).notes[0]
