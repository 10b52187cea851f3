"""The folder of oversampled faces: what is in it, and when it is written, reused and refused."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer.data import balance
from fer.data.balance import Oversampling, check_apart, load_oversampled, oversample
from fer.data.copies import redraw
from fer.data.faces import Faces
from fer.data.manifest import Change
from fer.data.sample import draw_faces
from fer.errors import FerError

CONFIG = Oversampling()


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_originals_come_first_and_bit_equal(faces: Faces, finished: Path) -> None:
    after = load_oversampled(finished, faces)
    np.testing.assert_array_equal(after.images[: len(faces)], faces.images)
    np.testing.assert_array_equal(after.labels[: len(faces)], faces.labels)
    assert after.images.dtype == np.uint8
    assert after.labels.dtype == np.int64
    assert not after.splits.any()
    assert all("_aug" in origin for origin in after.origins[len(faces) :])
    assert all((finished / origin).is_file() for origin in after.origins)
    assert after.origins[0] == "angry/0000.png"


def test_the_source_is_untouched_and_only_the_root_is_written(faces: Faces, tmp_path: Path) -> None:
    digest = faces.digest()
    frozen = replace(faces, images=faces.images.copy())
    frozen.images.setflags(write=False)  # as a memory map is
    folder = oversample(frozen, CONFIG, tmp_path / "new" / "root")
    assert faces.digest() == digest == frozen.digest()
    assert visible(tmp_path / "new" / "root") == [folder.name]


def test_the_same_configuration_reuses_and_another_stands_beside(faces: Faces, tmp_path: Path) -> None:
    folder = oversample(faces, CONFIG, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert oversample(faces, Oversampling(classes=("surprise", "anger", "sad")), tmp_path) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times
    others = [replace(CONFIG, seed=1), replace(CONFIG, rotation=10.0), replace(CONFIG, target=30)]
    folders = {oversample(faces, config, tmp_path) for config in others}
    folders.add(oversample(faces.take(np.arange(1, len(faces))), CONFIG, tmp_path))
    assert len(folders | {folder}) == 5
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times


def test_equal_configurations_write_equal_files(faces: Faces, finished: Path, tmp_path: Path) -> None:
    folder = oversample(faces, CONFIG, tmp_path)
    for path in folder.rglob("*.*"):
        assert path.read_bytes() == (finished / path.relative_to(folder)).read_bytes()


def test_an_interrupted_folder_is_never_taken_for_a_finished_one(
    faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def interrupted(original: Any, change: Change) -> Any:
        nonlocal calls
        calls += 1
        if calls > 10:
            raise KeyboardInterrupt
        return redraw(original, change)

    with monkeypatch.context() as patch:
        patch.setattr(balance, "redraw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            oversample(faces, CONFIG, tmp_path)
    assert visible(tmp_path) == []
    assert len(load_oversampled(oversample(faces, CONFIG, tmp_path), faces)) > len(faces)


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_not(faces: Faces, tmp_path: Path) -> None:
    dead, alive = tmp_path / ".sad-0123abcd.0123456789ab.tmp", tmp_path / ".sad-0123abcd.ba9876543210.tmp"
    for folder in (dead, alive):
        (folder / "sad").mkdir(parents=True)
        (folder / "sad" / "1.png").write_bytes(b"half")
    hours_ago = time.time() - 7200
    os.utime(dead / "sad", (hours_ago, hours_ago))
    for folder in (dead, alive):
        os.utime(folder, (hours_ago, hours_ago))
    oversample(faces, CONFIG, tmp_path)
    assert not dead.exists()
    assert alive.exists()
    os.utime(alive / "sad", (hours_ago, hours_ago))
    os.utime(alive, (hours_ago, hours_ago))
    oversample(faces, CONFIG, tmp_path)  # which finds a finished folder, and cleans up all the same
    assert not alive.exists()


def test_the_slower_of_two_writers_uses_the_folder_of_the_faster(
    faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = balance._fill
    winners: list[Path | None] = []

    def overtaken(*args: Any) -> None:
        fill(*args)
        if not winners:
            winners.append(None)
            winners[0] = oversample(faces, CONFIG, tmp_path)

    monkeypatch.setattr(balance, "_fill", overtaken)
    folder = oversample(faces, CONFIG, tmp_path)
    assert winners == [folder]
    assert visible(tmp_path) == [folder.name]


@pytest.mark.parametrize("harm", ["delete", "add", "row", "manifest", "summary"])
def test_a_changed_folder_is_noticed_at_reuse(faces: Faces, tmp_path: Path, harm: str) -> None:
    folder = oversample(faces, CONFIG, tmp_path)
    if harm == "delete":
        next((folder / "sad").glob("*_aug*.png")).unlink()
    elif harm == "add":
        (folder / "sad" / "mine.png").write_bytes(b"")
    elif harm == "row":
        lines = (folder / "manifest.csv").read_text().splitlines()
        (folder / "manifest.csv").write_text("\n".join(lines[:-1]))
    elif harm == "manifest":
        (folder / "manifest.csv").write_text("")
    else:
        (folder / "manifest.json").unlink()
    with pytest.raises(FerError, match=r"not as it was written.*delete the folder"):
        load_oversampled(oversample(faces, CONFIG, tmp_path), faces)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_changed_pictures_are_noticed_at_loading(faces: Faces, tmp_path: Path, content: bytes | None) -> None:
    folder = oversample(faces, CONFIG, tmp_path)
    other = (folder / "happy" / "0001.png").read_bytes()
    (folder / "happy" / "0000.png").write_bytes(other if content is None else content)
    with pytest.raises(FerError, match="not as it was written"):
        load_oversampled(folder, faces)


def test_other_faces_are_refused_at_loading(faces: Faces, finished: Path) -> None:
    with pytest.raises(FerError, match="other faces"):
        load_oversampled(finished, faces.take(np.arange(10)))


def test_other_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FerError, match="Only the training split"):
        oversample(draw_faces(train=7, val=7, test=7, size=8), CONFIG, tmp_path)
    assert visible(tmp_path) == []


def test_an_unwritable_place_is_named(faces: Faces, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FerError, match=r"cannot be written to .*file"):
        oversample(faces, CONFIG, tmp_path / "file")


def test_a_full_disk_leaves_nothing(faces: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(balance, "write_rows", full)
    with pytest.raises(FerError, match="No space left"):
        oversample(faces, CONFIG, tmp_path)
    assert visible(tmp_path) == []


def test_other_versions_of_what_draws_the_copies_get_a_folder_of_their_own(
    faces: Faces, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert oversample(faces, CONFIG, finished.parent) == finished
    monkeypatch.setattr(balance, "_versions", lambda: {"opencv": "0"})
    other = oversample(faces, CONFIG, finished.parent)
    assert other != finished
    assert json.loads((other / "manifest.json").read_text())["versions"] == {"opencv": "0"}


def test_copies_may_not_be_written_among_the_pictures_that_they_copy(tmp_path: Path) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    root = str(tmp_path / "data")
    check_apart(tmp_path / "fer_aug_dataset", root)
    check_apart(tmp_path / "data" / "fer_aug_dataset", root)  # beside train/, where no layout looks
    check_apart(tmp_path / "data", None)
    for inside in ("data", "data/train/fer_aug_dataset"):
        with pytest.raises(FerError, match=r"data\.oversample\.folder: .* within the data themselves"):
            check_apart(tmp_path / inside, root)
    (tmp_path / "data" / "train").rename(tmp_path / "data" / "sad")
    with pytest.raises(FerError, match="choose a folder elsewhere"):
        check_apart(tmp_path / "data" / "fer_aug_dataset", root)


def test_exchanged_pictures_get_a_folder_of_their_own(faces: Faces, tmp_path: Path) -> None:
    """The same pictures and names, but another picture under each of two names: each copy is of one name's picture."""
    one, other = np.flatnonzero(faces.labels == 4)[:2]
    images = faces.images.copy()
    images[[one, other]] = images[[other, one]]
    exchanged = replace(faces, images=images)
    assert exchanged.digest() == faces.digest()
    assert oversample(exchanged, Oversampling(), tmp_path) != oversample(faces, Oversampling(), tmp_path)


def test_many_long_names_of_classes_make_no_name_that_no_folder_can_have(faces: Faces, tmp_path: Path) -> None:
    names = tuple(f"{number:02} {'x' * 46}" for number in range(20))
    config = Oversampling(classes=names, known=(*faces.classes, *names))
    folder = oversample(replace(faces, classes=(*faces.classes, *names)), config, tmp_path)
    assert folder.is_dir() and len(folder.name) < 120


def test_the_same_faces_under_other_names_of_classes_get_a_folder_of_their_own(faces: Faces, tmp_path: Path) -> None:
    renamed = replace(faces, classes=(*faces.classes[:-1], "bored"))
    folder, other = oversample(faces, CONFIG, tmp_path), oversample(renamed, CONFIG, tmp_path)
    assert other != folder
    assert load_oversampled(other, renamed).labels.tolist() == load_oversampled(folder, faces).labels.tolist()
