"""Pictures beyond the memory: the same faces, read from disk when they are asked for."""

import errno
import pickle
from pathlib import Path

import numpy as np
import pytest

from fer.data.batches import BatchRequest, FaceDataset
from fer.data.faces import Faces
from fer.data.readers import read_faces
from fer.data.rows import Rows, blank, take
from fer.errors import FerError


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer.data.rows.LARGE", 1000)


@pytest.mark.usefixtures("small_memory")
def test_rows_of_rows_are_those_of_the_array() -> None:
    base = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    once = take(base, np.arange(19, 0, -1))
    twice = take(once, np.arange(0, 19)[::-1][:18])
    assert isinstance(once, Rows) and isinstance(twice, Rows)
    expected = base[np.arange(19, 0, -1)][np.arange(0, 19)[::-1][:18]]
    assert twice.shape == expected.shape
    assert np.array_equal(twice[:], expected)
    assert np.array_equal(twice[3], expected[3])
    assert np.array_equal(twice[np.array([5, 2])], expected[[5, 2]])
    assert all(np.array_equal(one, other) for one, other in zip(twice, expected, strict=True))
    assert not isinstance(take(base, np.arange(3)), Rows)


@pytest.mark.usefixtures("small_memory")
def test_faces_on_disk_are_the_faces_in_memory(tiny_folder: Path, tiny_faces: Faces) -> None:
    faces = read_faces(tiny_folder)
    assert isinstance(faces.images, np.memmap)
    assert faces.digest() == tiny_faces.digest()
    train, expected = faces.split("train"), tiny_faces.split("train")
    assert isinstance(train.images, Rows)
    order = {image.tobytes() for image in expected.images}
    images, labels = FaceDataset(train).__getitems__(BatchRequest(np.array([7, 3, 100]), 0))[:2]
    assert {image.numpy().tobytes() for image in images[:, 0]} <= order
    assert labels.tolist() == train.labels[[7, 3, 100]].tolist()


@pytest.mark.usefixtures("small_memory")
def test_a_worker_is_told_where_pictures_lie_and_not_what_they_show(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pictures)
    rows = take(np.load(tmp_path / "images.npy", mmap_mode="r"), np.arange(19, 0, -1))
    handed = pickle.dumps(rows)
    assert len(handed) < pictures.nbytes / 2
    again = pickle.loads(handed)
    assert isinstance(again.base, np.memmap)
    assert np.array_equal(again[:], pictures[:0:-1])
    in_memory = pickle.loads(pickle.dumps(take(pictures, np.arange(19, 0, -1))))
    assert np.array_equal(in_memory[:], pictures[:0:-1])


@pytest.mark.usefixtures("small_memory")
def test_where_nothing_can_be_written_the_system_has_room(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert isinstance(blank((20, 8, 8), tmp_path / "file" / "new"), np.memmap)


@pytest.mark.usefixtures("small_memory")
def test_room_on_disk_goes_with_the_array(tmp_path: Path) -> None:
    room = blank((20, 8, 8), tmp_path / "new")
    room[:] = 7
    assert isinstance(room, np.memmap)
    assert int(room.sum()) == 7 * room.size
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.usefixtures("small_memory")
def test_a_full_disk_is_named_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(FerError, match=r"no room for 0.0 GB of pictures in .*No space left.*data.cache_dir=path"):
        blank((40, 8, 8), tmp_path)
