import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer.data import balance
from fer.data.balance import Oversampling, load_oversampled, oversample
from fer.data.copies import draw_change, redraw
from fer.data.faces import Faces
from fer.data.manifest import Change, read_rows
from fer.data.sample import draw_faces
from fer.errors import FerError
from fer.labels import EMOTIONS

CONFIG = Oversampling()
ANGRY, DISGUST, HAPPY, SAD = (EMOTIONS.index(name) for name in ("angry", "disgust", "happy", "sad"))


@pytest.fixture(scope="module")
def faces() -> Faces:
    return draw_faces(train=140, val=7, test=7, size=24).split("train")


@pytest.fixture(scope="module")
def finished(faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oversample(faces, CONFIG, tmp_path_factory.mktemp("finished"))


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


def test_chosen_classes_reach_the_largest_and_the_others_stay(faces: Faces, finished: Path) -> None:
    before, after = faces.counts(), load_oversampled(finished, faces).counts()
    for label, name in enumerate(EMOTIONS):
        assert after[label] == (before[HAPPY] if name in CONFIG.classes else before[label])
    summary = json.loads((finished / "manifest.json").read_text())
    assert summary["after"] == dict(zip(EMOTIONS, after.tolist(), strict=True))
    assert summary["config"]["classes"] == ["angry", "sad", "surprise"]
    assert summary["source_digest"] == faces.digest()


@pytest.mark.parametrize(("target", "sad"), [(40, 40), (1.5, None), (3, None), (0.5, None)])
def test_targets(faces: Faces, tmp_path: Path, target: float, sad: int | None) -> None:
    config = Oversampling(classes=("sad",), target=target)
    after = load_oversampled(oversample(faces, config, tmp_path), faces).counts()
    own = int(faces.counts()[SAD])
    assert after[SAD] == (sad or (round(1.5 * own) if target == 1.5 else own))
    assert after.sum() - after[SAD] == len(faces) - own


def test_auto_fills_every_class_below_the_mean(faces: Faces, tmp_path: Path) -> None:
    before = faces.counts()
    after = load_oversampled(oversample(faces, Oversampling(classes="auto"), tmp_path), faces).counts()
    below = before < before.mean()
    assert below[DISGUST]
    assert np.all(after[below] == before.max())
    assert np.all(after[~below] == before[~below])


def test_auto_takes_the_mean_of_the_classes_that_are_there(faces: Faces, tmp_path: Path) -> None:
    """Three classes of 4, 7 and 12 pictures: their mean is between 7 and 8, that of all seven below 4."""
    rows = [np.flatnonzero(faces.labels == label)[:count] for label, count in ((0, 4), (3, 7), (4, 12))]
    some = faces.take(np.concatenate(rows))
    after = load_oversampled(oversample(some, Oversampling(classes="auto"), tmp_path), some).counts()
    assert after.tolist() == [12, 0, 0, 12, 12, 0, 0]


def test_a_class_without_pictures_is_left_out(faces: Faces, tmp_path: Path) -> None:
    some = faces.take(np.flatnonzero(faces.labels != SAD))
    assert load_oversampled(oversample(some, CONFIG, tmp_path), some).counts()[SAD] == 0


def test_each_original_is_used_equally_often(faces: Faces, finished: Path) -> None:
    rows = read_rows(finished)
    for emotion in CONFIG.classes:
        uses = Counter({row.origin: 0 for row in rows if row.emotion == emotion})
        uses.update(row.origin for row in rows if row.emotion == emotion and row.change)
        assert max(uses.values()) - min(uses.values()) <= 1


def test_copies_are_redrawn_bit_equal_from_their_rows(faces: Faces, finished: Path) -> None:
    images = load_oversampled(finished, faces).images
    original = dict(zip(faces.origins, faces.images, strict=True))
    copies = [(row, image) for row, image in zip(read_rows(finished), images, strict=True) if row.change]
    assert len(copies) == len(images) - len(faces)
    for row, image in copies:
        assert row.change
        np.testing.assert_array_equal(redraw(original[row.origin], row.change), image)
        assert draw_change(row.change.seed, CONFIG, 24, 24) == row.change


def test_changes_stay_in_their_ranges_and_use_them(finished: Path) -> None:
    changes = [draw_change(seed, CONFIG, 48, 48) for seed in range(500)]
    angles = [change.angle for change in changes]
    assert -20 <= min(angles) < -18
    assert 18 < max(angles) <= 20
    assert {change.shift_x for change in changes} == set(range(-4, 5)) == {change.shift_y for change in changes}
    assert 0.9 <= min(change.scale for change in changes) < 0.91
    assert 1.09 < max(change.scale for change in changes) <= 1.1
    assert 200 < sum(change.flip for change in changes) < 300
    assert not any(draw_change(seed, replace(CONFIG, flip=False), 48, 48).flip for seed in range(50))
    assert {row.change.flip for row in read_rows(finished) if row.change} == {True, False}


def test_redraw_moves_as_it_says_and_fills_with_the_nearest_pixels(faces: Faces) -> None:
    grey = np.full((24, 24), 90, np.uint8)
    assert np.all(redraw(grey, Change(0, 20.0, 4, -4, 0.9, True)) == 90)
    image = faces.images[0]
    moved = redraw(image, Change(0, 0.0, 3, 0, 1.0, False))
    np.testing.assert_array_equal(moved[:, 3:], image[:, :-3])
    np.testing.assert_array_equal(moved[:, :3], np.repeat(image[:, :1], 3, axis=1))
    np.testing.assert_array_equal(redraw(image, Change(0, 0.0, 0, 0, 1.0, True)), image[:, ::-1])


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
        oversample(faces, CONFIG, tmp_path)


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


def test_names_are_unique_whatever_the_origins_are(faces: Faces, tmp_path: Path) -> None:
    few = faces.take(np.flatnonzero(faces.labels == ANGRY)[:6])
    origins = ["a/x.jpg", "b/X.png", "x_aug0001.jpg", "fer2013.csv:row 1", "fer2013.csv:row 2", "../.jpg"]
    few = replace(few, origins=origins)
    after = load_oversampled(oversample(few, Oversampling(target=18), tmp_path), few)
    assert after.origins[:6] == [
        f"angry/{name}.png" for name in ("x", "X_1", "x_aug0001", "fer2013.csv_row_1", "fer2013.csv_row_2", "face")
    ]
    assert len({name.lower() for name in after.origins}) == 18


@pytest.mark.parametrize(
    "values",
    [
        {"classes": ("grumpy",)},
        {"classes": "sad"},
        {"target": "minority"},
        {"target": 0},
        {"target": True},
        {"target": float("nan")},
        {"shift": 1.0},
        {"zoom": -0.1},
        {"rotation": 200.0},
    ],
)
def test_senseless_values_are_named(values: dict[str, Any]) -> None:
    with pytest.raises(FerError, match=f"data.oversample.{next(iter(values))}"):
        Oversampling(**values)


def test_other_versions_of_what_draws_the_copies_get_a_folder_of_their_own(
    faces: Faces, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert oversample(faces, CONFIG, finished.parent) == finished
    monkeypatch.setattr(balance, "_versions", lambda: {"opencv": "0"})
    other = oversample(faces, CONFIG, finished.parent)
    assert other != finished
    assert json.loads((other / "manifest.json").read_text())["versions"] == {"opencv": "0"}
