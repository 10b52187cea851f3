"""Files that others hold open while they are to be moved."""

from pathlib import Path

import pytest

import fer.files
from fer.files import drafted_folder, write_whole


class Busy:
    """`Path.replace` and `Path.rename` where somebody has the file open, for some tries."""

    def __init__(self, tries: int, move: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tries = tries
        really = getattr(Path, move)

        def refused(path: Path, target: Path) -> Path:
            if self.tries:
                self.tries -= 1
                raise PermissionError(13, "Access is denied", str(path))
            moved: Path = really(path, target)
            return moved

        monkeypatch.setattr(Path, move, refused)
        monkeypatch.setattr(fer.files, "_WAITS", (0.0, 0.0))  # as on Windows, without the waiting


@pytest.mark.parametrize("tries", [1, 2])
def test_a_file_that_is_busy_for_a_moment_is_replaced_all_the_same(tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("known.json").write_text("old")
    Busy(tries, "replace", monkeypatch)
    write_whole(Path("known.json"), "new")
    assert [path.name for path in Path().iterdir()] == ["known.json"]
    assert Path("known.json").read_text() == "new"


def test_a_file_that_stays_busy_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("known.json").write_text("old")
    Busy(3, "replace", monkeypatch)
    with pytest.raises(PermissionError):
        write_whole(Path("known.json"), "new")
    assert [path.name for path in Path().iterdir()] == ["known.json"]


def test_a_folder_that_is_busy_for_a_moment_is_moved_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    Busy(1, "rename", monkeypatch)
    with drafted_folder(Path("pictures")) as draft:
        (draft / "one").write_text("1")
    assert [path.name for path in Path().iterdir()] == ["pictures"]


def test_a_folder_that_another_process_has_finished_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Busy(2, "rename", monkeypatch)
    with drafted_folder(Path("pictures")) as draft:
        (draft / "one").write_text("1")
        Path("pictures").mkdir()
    assert busy.tries == 1  # there is nothing to wait for
    assert not list(Path("pictures").iterdir())
