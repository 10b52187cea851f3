"""The cache serves what was read, and nothing else."""

import json
import os
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer.data.cache import default_cache_dir, load_faces
from fer.data.faces import Faces
from fer.data.finding import Found
from fer.data.options import ReadOptions
from fer.data.readers import read_faces, read_found
from fer.data.trees import FolderTree
from fer.errors import FerError
from fer.labels import EMOTIONS
from tests.data.layouts import (
    draw_rows,
    pack_tar,
    png,
    write_affectnet,
    write_classes,
    write_folders,
    write_raf_db,
    write_table,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "data")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "made" / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The roots that were read for real, not from the cache."""
    seen: list[Path] = []

    def counted(tree: FolderTree, found: Found, options: ReadOptions, scratch: Path) -> Faces:
        seen.append(tree.root)
        return read_found(tree, found, options, scratch)

    monkeypatch.setattr("fer.data.cache.read_found", counted)
    return seen


def _same(one: Faces, other: Faces) -> bool:
    arrays = all(np.array_equal(getattr(one, n), getattr(other, n)) for n in ("images", "labels", "splits"))
    texts = (list(one.origins), one.source, one.notes) == (list(other.origins), other.source, other.notes)
    return arrays and texts


def _only(kept: Path) -> Path:
    (place,) = kept.iterdir()
    return place


def test_the_second_start_reads_no_picture_and_gives_the_same(root: Path, kept: Path, reads: list[Path]) -> None:
    (root / "icml_face_data.csv").write_text("ignored")
    direct = read_faces(root)
    first, second = load_faces(root, kept), load_faces(root, kept)

    assert reads == [root]
    assert _same(first, direct)
    assert _same(second, direct)
    assert len(direct.notes) == 1
    assert second.digest() == direct.digest()


def test_cached_images_are_a_read_only_map(root: Path, kept: Path) -> None:
    for faces in (load_faces(root, kept), load_faces(root, kept)):
        assert isinstance(faces.images, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            faces.images[0] = 0


@pytest.mark.parametrize("layout", ["table", "archive"])
def test_tables_and_archives_are_cached_too(
    layout: str, root: Path, kept: Path, reads: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "fer2013.csv"
    path = write_table(path) if layout == "table" else pack_tar(root, tmp_path / "a.tar.xz")
    first, second = load_faces(path, kept), load_faces(path, kept)

    assert len(reads) == 1
    assert _same(first, second)
    assert _same(first, read_faces(path))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_what_is_kept(root: Path, kept: Path) -> None:
    load_faces(root, kept)
    assert _only(kept).stat().st_mode == kept.stat().st_mode


def test_moved_data_is_served_under_its_new_place(root: Path, kept: Path, reads: list[Path]) -> None:
    load_faces(root, kept)
    moved = root.rename(root.with_name("moved"))

    assert load_faces(moved, kept).source == f"Kaggle folders in {moved}"
    assert reads == [root]


def test_any_change_of_the_data_is_noticed(root: Path, kept: Path, reads: list[Path]) -> None:
    before = load_faces(root, kept)
    picture = next((root / "train" / "sad").iterdir())
    times = picture.stat()
    picture.write_bytes(png(255 - draw_rows()[0][2]))
    os.utime(picture, (times.st_atime, times.st_mtime))  # not even the time tells
    changed = load_faces(root, kept)
    picture.rename(root / "train" / "happy" / "Training_moved.png")
    relabelled = load_faces(root, kept)

    assert len(reads) == 3
    assert len({before.digest(), changed.digest(), relabelled.digest()}) == 3


def test_size_and_fraction_have_caches_of_their_own(root: Path, kept: Path, reads: list[Path]) -> None:
    assert load_faces(root, kept, ReadOptions(size=24)).images.shape == (56, 24, 24)
    assert load_faces(root, kept, ReadOptions(size=48)).images.shape == (56, 48, 48)
    load_faces(root, kept, ReadOptions(val_fraction=0.2))

    assert len(reads) == len(list(kept.iterdir())) == 3


@pytest.mark.parametrize(
    "options",
    [
        ReadOptions(split_seed=1),
        ReadOptions(extra_classes="keep"),
        ReadOptions(class_map={"disgust": "angry"}),
        ReadOptions(on_error="skip"),
    ],
)
def test_every_option_has_a_cache_of_its_own(options: ReadOptions, root: Path, kept: Path, reads: list[Path]) -> None:
    load_faces(root, kept)
    first, second = load_faces(root, kept, options), load_faces(root, kept, options)

    assert len(reads) == len(list(kept.iterdir())) == 2
    assert _same(first, second)
    assert _same(first, read_faces(root, options))


def test_kept_classes_come_back(tmp_path: Path, kept: Path) -> None:
    write_classes(tmp_path / "own", ["angry", "happy", "bored"])
    first, second = (load_faces(tmp_path / "own", kept, ReadOptions(extra_classes="keep")) for _ in range(2))
    assert first.classes == second.classes == (*EMOTIONS, "bored")


@pytest.mark.parametrize("name", ["list_patition_label.txt", "0_exp.npy"])
def test_a_changed_label_is_noticed(name: str, tmp_path: Path, kept: Path) -> None:
    root = write_raf_db(tmp_path / "own") if name.endswith("txt") else write_affectnet(tmp_path / "own", range(3))
    before = load_faces(root, kept)
    path = next(root.rglob(name))
    if name.endswith("txt"):
        path.write_text(path.read_text().replace("train_00001.jpg 1", "train_00001.jpg 2"))
    else:
        np.save(path, np.array("1"))
    assert load_faces(root, kept).digest() != before.digest()


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "splits.npy", "meta.json"])
@pytest.mark.parametrize("damage", [_truncate, _flip, Path.unlink])
def test_a_damaged_cache_is_rebuilt(name: str, damage: object, root: Path, kept: Path, reads: list[Path]) -> None:
    before = load_faces(root, kept)
    assert callable(damage)
    damage(_only(kept) / name)
    after = load_faces(root, kept)
    load_faces(root, kept)

    assert len(reads) == 2
    assert _same(after, replace(before, images=after.images))
    assert after.digest() == read_faces(root).digest()


@pytest.mark.parametrize("meta", [[], {}, {"origins": [], "source": "", "notes": 3}, None])
def test_a_cache_with_strange_records_is_rebuilt(meta: object, root: Path, kept: Path, reads: list[Path]) -> None:
    load_faces(root, kept)
    (_only(kept) / "meta.json").write_text(json.dumps(meta))

    assert load_faces(root, kept).digest() == read_faces(root).digest()
    assert len(reads) == 2


def test_two_at_once_both_get_their_faces(root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meet = threading.Barrier(2)

    def together(tree: FolderTree, found: Found, options: ReadOptions, scratch: Path) -> Faces:
        faces = read_found(tree, found, options, scratch)
        meet.wait(timeout=10)
        return faces

    monkeypatch.setattr("fer.data.cache.read_found", together)
    results: list[Faces] = []
    threads = [threading.Thread(target=lambda: results.append(load_faces(root, kept))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert len(results) == 2
    assert _same(results[0], results[1])
    assert results[0].notes == ()
    assert len(list(kept.iterdir())) == 1


def test_a_write_that_is_cut_off_leaves_nothing(
    root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, reads: list[Path]
) -> None:
    def full(path: Path, array: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        faces = load_faces(root, kept)
    assert faces.notes == (
        f"The cache in {kept} cannot be written (No space left on device), so every start reads anew.",
    )
    assert list(kept.iterdir()) == []
    assert load_faces(root, kept).notes == ()


def test_without_a_place_to_write_faces_are_read_all_the_same(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    faces = load_faces(root, tmp_path / "file" / "cache")

    assert faces.digest() == read_faces(root).digest()
    assert "cannot be written (Not a directory)" in faces.notes[0]


def test_drafts_of_dead_processes_are_swept(root: Path, kept: Path) -> None:
    # somebody's own folder may lie beside them: a cache is kept where its user wants
    old, new = (f".{'0' * 32}.0123456789a{last}.tmp" for last in "bc")
    for name, age in ((old, 7200), (new, 0), ("tmp-notes", 7200)):
        (kept / name).mkdir(parents=True)
        os.utime(kept / name, (time.time() - age,) * 2)
    load_faces(root, kept)

    assert not (kept / old).exists()
    assert (kept / new).exists()
    assert (kept / "tmp-notes").exists()


def test_errors_pass_through_and_leave_no_cache(root: Path, kept: Path) -> None:
    shutil.rmtree(root / "test")
    with pytest.raises(FerError, match="no folder 'test'"):
        load_faces(root, kept)
    with pytest.raises(FerError, match="does not exist"):
        load_faces(root / "gone", kept)
    assert not kept.exists()


def test_the_default_place_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FER_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert default_cache_dir() == tmp_path / ".cache" / "fer-lightning"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache_dir() == Path("/xdg/fer-lightning")
    monkeypatch.setenv("FER_CACHE_DIR", "~/own")
    assert default_cache_dir() == tmp_path / "own"


@pytest.mark.skipif(os.name == "nt", reason="Windows knows home folders otherwise")
def test_who_has_no_home_folder_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "FER_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # whom nobody has entered
    with pytest.raises(FerError, match=r"no home folder .* set FER_CACHE_DIR"):
        default_cache_dir()


def test_changed_words_and_headers_beyond_parsing_are_noticed(root: Path, kept: Path) -> None:
    before = load_faces(root, kept)
    meta, labels = _only(kept) / "meta.json", _only(kept) / "labels.npy"
    meta.write_text(meta.read_text().replace("angry/", "angrx/", 1))
    assert list(load_faces(root, kept).origins) == list(before.origins)
    labels.write_bytes(labels.read_bytes().replace(b"), }", b", } ", 1))
    assert load_faces(root, kept).digest() == before.digest()
