"""The layouts of other data sets, as they are published."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from PIL import Image

from fer.data.classes import map_hint
from fer.data.options import ReadOptions
from fer.data.readers import read_faces
from fer.data.sources import read_source
from fer.labels import EMOTIONS
from tests.conftest import call, composed, quick
from tests.data.layouts import (
    DROP,
    KEEP,
    counts,
    draw_rows,
    pack_tar,
    pack_zip,
    refusal,
    write_affectnet,
    write_ck48,
    write_classes,
    write_folders,
    write_raf_db,
    write_table,
    write_trio,
)


def test_the_other_kaggle_release(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", prefixes=False)
    (tmp_path / "images" / "test").rename(tmp_path / "images" / "validation")
    shutil.copytree(tmp_path / "images", tmp_path / "images" / "images")  # it brings everything twice
    faces = read_faces(tmp_path)

    assert counts(faces) == [[3] * 7, [1] * 7, [4] * 7]
    assert faces.source == f"Split folders in {tmp_path}"
    assert all(origin.startswith("images/validation/") for origin in faces.split("test").origins)
    twice, *of_splits = faces.notes
    assert twice == "Folders that name no split (train, val, test) were not read: images."
    assert "the folder 'validation' is it" in of_splits[0]
    assert "held out for validation" in of_splits[1]


def test_names_that_gainsay_their_folders_decide_and_are_told_of(tmp_path: Path) -> None:
    write_folders(tmp_path)
    assert not any("another split" in note for note in read_faces(tmp_path).notes)
    for path in sorted((tmp_path / "train" / "sad").iterdir())[:2]:
        path.rename(path.with_name(f"PrivateTest_{path.name}"))
    (note,) = (note for note in read_faces(tmp_path).notes if "another split" in note)
    assert note.startswith("Pictures named after another split than their folder: 2.")

    (tmp_path / "train").rename(tmp_path / "Training")
    (tmp_path / "test").rename(tmp_path / "Testing")
    assert note in read_faces(tmp_path).notes


def test_a_suggested_class_map_can_be_typed(tmp_path: Path) -> None:
    typable = map_hint(["look 0", "b|c*?"])
    (override,) = OverridesParser.create().parse_overrides([typable.strip("'")])
    assert override.value() == {"look 0": "disgust", "b|c*?": "disgust"}
    for name in ("wütend", "生气", "a&b", "it's"):
        with pytest.raises(HydraException):
            OverridesParser.create().parse_overrides([f"data.class_map={{{name}: disgust}}"])
        assert "in a file of your own" in map_hint([name])
    write_classes(tmp_path, EMOTIONS)
    for name in EMOTIONS:
        (tmp_path / name / "0.txt").touch()
        (tmp_path / name).rename(tmp_path / f"{name}ish")
    assert "holds nothing to read" in refusal(tmp_path)  # folders of something else


def test_class_folders_of_unknown_names(tmp_path: Path) -> None:
    write_classes(tmp_path / "faces", EMOTIONS)
    for name in EMOTIONS:
        (tmp_path / "faces" / name).rename(tmp_path / "faces" / f"look {EMOTIONS.index(name)}")
    message = refusal(tmp_path)
    hint = "'data.class_map={look 0: disgust, look 1: disgust, …}'"
    for word in ("faces holds no two folders", "look 0, look 1", hint, "extra_classes=keep"):
        assert word in message
    faces = read_faces(tmp_path, KEEP)
    assert faces.classes == (*EMOTIONS, *(f"look {number}" for number in range(7)))
    assert set(faces.labels) == set(range(7, 14))


def test_class_folders_without_splits_are_divided(tmp_path: Path) -> None:
    write_classes(tmp_path, EMOTIONS)
    shutil.copy(tmp_path / "sad" / "0.png", tmp_path / "sad" / "twin of 0.png")
    faces = read_faces(tmp_path)

    expected = [[1] * 7, [1] * 7]
    if twins := faces.splits[list(faces.origins).index("sad/0.png")]:  # drawn, and then both
        expected[twins - 1][EMOTIONS.index("sad")] = 2
    assert counts(faces)[1:] == expected
    assert sum(counts(faces)[0]) == 71 - sum(map(sum, expected))
    assert faces.notes == (
        "The source names no splits, so 10% of each class were drawn for validation and as many for the test "
        "(data.split_seed=0).",
    )
    again, other = read_faces(tmp_path), read_faces(tmp_path, ReadOptions(split_seed=1))
    assert again.digest() == faces.digest() != other.digest()
    for same in (faces, other):
        (one, two) = (same.splits[list(same.origins).index(f"sad/{name}.png")] for name in ("0", "twin of 0"))
        assert one == two


def test_a_division_does_not_depend_on_names(tmp_path: Path) -> None:
    write_classes(tmp_path / "a", EMOTIONS)
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "nested")
    for path in sorted((tmp_path / "b").rglob("*.png")):
        path.rename(path.with_name(f"x{9 - int(path.stem)}.png"))

    assert read_faces(tmp_path / "a").digest() == read_faces(tmp_path / "b").digest()


def test_a_few_pictures_are_shared_by_all_splits(tmp_path: Path) -> None:
    write_classes(tmp_path, EMOTIONS, count=4)
    assert counts(read_faces(tmp_path, ReadOptions(val_fraction=0.4))) == [[2] * 7, [1] * 7, [1] * 7]


def test_half_for_validation_leaves_nothing_to_learn(tmp_path: Path) -> None:
    write_classes(tmp_path, EMOTIONS)
    assert "data.val_fraction: 0.5" in refusal(tmp_path, ReadOptions(val_fraction=0.5))


def test_the_trio_of_tables(tmp_path: Path) -> None:
    write_trio(tmp_path / "fer2013")
    write_table(tmp_path / "one" / "fer2013.csv")
    faces = read_faces(tmp_path / "fer2013")

    assert faces.digest() == read_faces(tmp_path / "one").digest()
    assert faces.source == f"train.csv, val.csv, test.csv in {tmp_path / 'fer2013'}"
    assert faces.origins[30] == "val.csv:row 2"
    assert faces.notes == ()
    (tmp_path / "fer2013" / "val.csv").unlink()
    assert counts(read_faces(tmp_path / "fer2013")) == [[3] * 7, [1] * 7, [2] * 7]


def test_extra_classes_are_refused_dropped_kept_or_mapped(tmp_path: Path) -> None:
    write_classes(tmp_path, [*EMOTIONS, "Contempt", "bored"])
    said = refusal(tmp_path)
    for word in ("is named after no known class", "extra_classes=drop", "keep", "class_map={"):
        assert word in said
    dropped, kept = read_faces(tmp_path, DROP), read_faces(tmp_path, KEEP)
    both = {"contempt": "disgust", "bored": "neutral"}
    mapped = read_faces(tmp_path, ReadOptions(class_map=both))

    assert dropped.counts().tolist() == [10] * 7
    assert kept.classes == (*EMOTIONS, "bored", "contempt")
    assert kept.counts().tolist() == [10] * 9
    assert mapped.counts().tolist() == [10, 20, 10, 10, 10, 10, 20]
    assert "Classes: Contempt→disgust, bored→neutral." in mapped.notes
    assert "Classes kept beside the seven (data.extra_classes=keep): bored, contempt." in kept.notes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (ReadOptions(class_map={"contemt": "disgust"}), "data.class_map: 'contemt' is no class of this data"),
        (ReadOptions(class_map={"contempt": "disgusst"}), "did you mean 'disgust'?"),
        (ReadOptions(class_map={"contempt": "../up"}, extra_classes="keep"), "the class '../up' cannot be kept"),
    ],
)
def test_bad_class_maps_are_refused(options: ReadOptions, said: str, tmp_path: Path) -> None:
    write_classes(tmp_path, [*EMOTIONS, "contempt"])
    assert said in refusal(tmp_path, options)


def test_a_class_map_makes_folders_in_another_language_classes(tmp_path: Path) -> None:
    names = ("wut", "ekel", "angst", "freude", "trauer", "staunen", "ruhe")
    write_classes(tmp_path, names)
    assert "'data.class_map={angst: disgust, ekel: disgust, …}'" in refusal(tmp_path)
    faces = read_faces(tmp_path, ReadOptions(class_map=dict(zip(names, EMOTIONS, strict=True))))
    assert faces.counts().tolist() == [10] * 7


def test_a_class_that_only_training_has_is_named(tmp_path: Path) -> None:
    shutil.rmtree(write_folders(tmp_path) / "test" / "sad")
    faces = read_faces(tmp_path)
    assert faces.notes == ("The val split has no picture of sad.", "The test split has no picture of sad.")


def test_broken_pictures_are_left_out_and_listed(tmp_path: Path) -> None:
    write_folders(tmp_path)
    pictures = sorted((tmp_path / "train").rglob("*.png"))
    broken = pictures[1::4] + pictures[2::4]
    for number, path in enumerate(broken):
        path.write_bytes([b"", b"text", path.read_bytes()[:300]][number % 3])
    with broken[0].open("wb") as file:
        file.truncate(2**40)  # too large for a picture
    faces = read_faces(tmp_path, ReadOptions(on_error="skip"))

    assert counts(faces) == [[2] * 7, [2] * 7, [2] * 7]
    names = sorted(path.relative_to(tmp_path).as_posix() for path in broken)
    assert faces.notes == (
        f"14 of 56 pictures were left out (data.on_error=skip): {', '.join(names[:10])} and 4 more.",
    )
    assert not set(names) & set(faces.origins)
    whole = read_faces(write_folders(tmp_path / "whole"))
    image_of = dict(zip(whole.origins, whole.images, strict=True))
    for origin, image in zip(faces.origins, faces.images, strict=True):
        assert np.array_equal(image, image_of[origin])


def test_only_broken_pictures_are_an_error_even_where_they_are_skipped(tmp_path: Path) -> None:
    for path in (write_folders(tmp_path) / "test").rglob("*.png"):
        path.write_bytes(b"")
    assert "has no test picture" in refusal(tmp_path, ReadOptions(on_error="skip"))


def test_mixed_sizes_and_colours_become_grey_and_square(tmp_path: Path) -> None:
    modes = ("L", "RGB", "RGBA", "P", "CMYK", "1", "LA")
    for number, (usage, label, _) in enumerate(draw_rows()):
        folder = tmp_path / ("train" if usage == "Training" else "test") / EMOTIONS[label]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.new("L", (20 + 3 * number, 200 - 2 * number), 255).convert(modes[number % len(modes)])
        picture.save(folder / f"{usage}_{number}.{'tif' if picture.mode == 'CMYK' else 'png'}")
    faces = read_faces(tmp_path, ReadOptions(size=64))

    assert faces.images.shape == (56, 64, 64)
    assert faces.images.min() >= 253
    assert faces.notes == ("56 of 56 pictures were not 64x64 and were resized to that.",)


@pytest.mark.usefixtures("no_dashboard")
def test_a_run_learns_from_the_classes_that_are_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ck48(tmp_path / "ck")
    told = call("train.py", *quick(tmp_path / "ck"), "data.class_map={contempt: disgust}")
    assert told.status == 0, told.err
    for said in ("anger→angry, contempt→disgust, sadness→sad", "30 people", "There is no picture of neutral."):
        assert said in caplog.text


@pytest.mark.parametrize("write", [write_raf_db, write_affectnet, write_ck48, write_trio])
def test_archives_of_a_layout_give_the_same_faces(write: Callable[[Path], Path], tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    expected = read_faces(source, KEEP)
    for packed in (pack_zip(source, tmp_path / "a.zip"), pack_tar(source, tmp_path / "a.tar.gz")):
        faces = read_faces(packed, KEEP)
        assert faces.digest() == expected.digest()
        assert faces.notes == expected.notes
        assert f"packed in {packed.name}" in faces.source


def test_too_few_pictures_to_draw_splits_from_are_told_how_many_it_takes(tmp_path: Path) -> None:
    write_classes(tmp_path, EMOTIONS, count=2)

    assert "has no val picture; put some there, or, where splits are drawn, at least three" in refusal(tmp_path)


def test_names_of_fer2013_give_class_folders_their_splits(tmp_path: Path) -> None:
    write_folders(tmp_path / "kaggle")
    for path in sorted((tmp_path / "kaggle").rglob("*.png")):
        flat = tmp_path / "flat" / path.parent.name / path.name
        flat.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, flat)
    faces = read_faces(tmp_path / "flat")
    assert faces.digest() == read_faces(tmp_path / "kaggle").digest()
    assert faces.notes == ()
    stray = next((tmp_path / "flat" / "sad").iterdir())
    stray.rename(stray.with_name("of my own.png"))  # one name that tells nothing, and splits are drawn
    assert "The source names no splits" in read_faces(tmp_path / "flat").notes[0]


def test_two_tables_for_one_split_are_refused(tmp_path: Path) -> None:
    write_trio(tmp_path)
    shutil.copy(tmp_path / "val.csv", tmp_path / "publictest.csv")
    assert "holds two tables for one split, 'publictest.csv' and 'val.csv'" in refusal(tmp_path)
    write_folders(tmp_path)  # which are read, and no table
    assert "ignored: train.csv, publictest.csv, val.csv, test.csv" in read_faces(tmp_path).notes[0]


def test_options_for_splits_that_are_not_drawn_are_told_of(tmp_path: Path) -> None:
    write_folders(tmp_path)
    assert read_faces(tmp_path).notes == ()
    (note,) = read_faces(tmp_path, ReadOptions(val_fraction=0.3, split_seed=5)).notes
    assert note == ("The source names its validation pictures, so without effect: data.val_fraction, data.split_seed.")


def test_all_of_fer2013_in_other_splits_is_not_fer2013(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_folders(tmp_path / "data" / "images", prefixes=False)
    (tmp_path / "data" / "images" / "test").rename(tmp_path / "data" / "images" / "validation")
    config = composed("data=fer2013", f"data.root={tmp_path / 'data'}").data
    sizes = tuple(np.bincount(read_faces(tmp_path / "data").splits).tolist())
    for official, name in ((sizes, "fer2013"), ((sum(sizes) - 2, 1, 1), "folder")):
        monkeypatch.setattr("fer.data.sources.SIZES", official)
        assert read_source(config)[1] == name
    assert "these have 21 + 7 + 28 pictures instead of 54 + 1 + 1" in caplog.text
