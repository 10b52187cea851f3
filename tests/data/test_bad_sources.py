"""What cannot be read is named in one sentence."""

import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from fer.data.cache import load_faces
from fer.data.options import ReadOptions
from fer.data.readers import read_faces
from fer.errors import FerError
from tests.conftest import link
from tests.data.layouts import refusal, write_folders


def _claim_size(picture: Path, side: int) -> None:
    """Make a PNG's header tell a size that is not its own."""
    content = picture.read_bytes()
    header = content[12:16] + struct.pack(">II", side, side) + content[24:29]
    picture.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])


def _spoil(name: str, root: Path) -> None:
    sad = root / "train" / "sad"
    picture = next(sad.iterdir())
    if name == "no train":
        shutil.rmtree(root / "train")
    elif name == "no test":
        shutil.rmtree(root / "test")
    elif name == "unknown class":
        sad.rename(root / "train" / "contempt")
    elif name == "missing class":
        shutil.rmtree(sad)
    elif name == "empty class":
        shutil.rmtree(sad)
        sad.mkdir()
    elif name == "two names for train":
        shutil.copytree(root / "train", root / "training")
    elif name == "folder in class":
        (sad / "more").mkdir()
    elif name == "text":
        (sad / "readme.txt").write_text("not a picture")
    elif name == "nothing in it":
        picture.write_bytes(b"")
    elif name == "truncated":
        picture.write_bytes(picture.read_bytes()[:900])
    elif name == "bomb":
        _claim_size(picture, 60_000)
    elif name == "big":
        _claim_size(picture, 8_000)
    elif name == "huge":
        with picture.open("wb") as file:
            file.truncate(2**40)
    elif name == "pipe":
        if not hasattr(os, "mkfifo"):
            pytest.skip("no pipes in folders here")
        os.mkfifo(sad / "pipe.png")
    else:
        link(sad / "link.png", "nowhere.png")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no train", "no folder 'train'"),
        ("no test", "no folder 'test'"),
        ("unknown class", "contempt is named after no known class; known are angry, disgust"),
        ("missing class", "no training picture of sad, though another split has"),
        ("empty class", "train/sad is empty"),
        ("two names for train", "two folders for one split"),
        ("folder in class", "train/sad/more is a folder inside a class"),
        ("text", "train/sad/readme.txt is no picture"),
        ("nothing in it", "is no picture"),
        ("truncated", "is damaged"),
        ("bomb", "more than 40,000,000 pixels"),
        ("big", "more than 40,000,000 pixels"),
        ("huge", "too many for a picture"),
        ("pipe", "pipe.png is neither a file nor a folder"),
        ("link", "link.png is a link to something that does not exist; remove it; data.on_error=skip leaves out such"),
    ],
)
def test_bad_folders_are_named_in_one_sentence(name: str, said: str, tmp_path: Path) -> None:
    write_folders(tmp_path)
    _spoil(name, tmp_path)

    told = refusal(tmp_path)
    assert said in told
    assert str(tmp_path) in told


def test_a_broken_link_is_left_out_like_what_is_damaged(tmp_path: Path) -> None:
    write_folders(tmp_path)
    _spoil("link", tmp_path)
    (note,) = read_faces(tmp_path, ReadOptions(on_error="skip")).notes
    assert "1 of 57 pictures were left out" in note
    assert "link.png" in note


@pytest.mark.parametrize("name", ["fer2013.csv", "data.zip"])
def test_a_broken_link_to_all_of_the_data_is_told_of(name: str, tmp_path: Path) -> None:
    link(tmp_path / name, "nowhere")
    with pytest.raises(FerError, match=f"{name} is a link to something that does not exist; remove it"):
        load_faces(tmp_path, tmp_path / "cache")


def test_missing_and_useless_roots_say_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    for name, said in (("gone", "does not exist"), ("empty", "holds nothing to read")):
        with pytest.raises(FerError, match=said) as caught:
            read_faces(tmp_path / name)
        for wanted in ("train/<class>/", "fer2013.csv", "icml_face_data.csv", ".tar.xz", "msambare/fer2013"):
            assert wanted in str(caught.value)
    with pytest.raises(FerError, match=r"notes\.txt is neither a table"):
        read_faces(tmp_path / "notes.txt")


def test_several_archives_must_be_chosen_from(tmp_path: Path) -> None:
    for name in ("a.zip", "b.tar.xz"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FerError, match=r"several archives \(a\.zip, b\.tar\.xz\); .* unpack those that belong"):
        read_faces(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"size": 0}, r"data\.size: 0"),
        ({"size": 10**6}, r"data\.size: 1000000"),
        ({"val_fraction": 1.0}, r"data\.val_fraction: 1\.0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(FerError, match=said):
        read_faces(write_folders(tmp_path), ReadOptions(**arguments))
