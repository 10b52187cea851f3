"""Two processes and one run's folder."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fer.claim import ClaimedError, claimed
from fer.errors import FerError
from fer.runs import read_metrics
from tests.conftest import ROOT, Sweep, call, refused, run_of

pytestmark = pytest.mark.usefixtures("no_dashboard")

HOLD = """
import sys
from pathlib import Path
from fer.claim import claimed
with claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_in(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(folder.resolve())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "claimed\n"
        yield process
        process.kill()


def test_a_process_that_is_killed_gives_up_its_claim() -> None:
    folder = Path("run")
    folder.mkdir()
    with another_process_in(folder) as process:
        with pytest.raises(ClaimedError, match=r"'run'; wait"), claimed(folder):
            pass
        process.kill()
        process.wait()
        with claimed(folder):
            assert list(folder.iterdir())
    assert not list(folder.iterdir())


def test_a_place_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fer.claim.FileLock.acquire", no_locks)
    with (
        pytest.raises(FerError, match=r"files cannot be locked \(.*No locks available\); .*logs=path"),
        claimed(tmp_path),
    ):
        pass


@pytest.fixture
def copied(tiny_sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a copy of the sweep, seen from where its commands are given."""
    shutil.copytree(tiny_sweep.folder.parents[2], tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return Path("logs/sweeps") / tiny_sweep.folder.name


def test_a_sweep_leaves_to_another_process_what_that_is_training(tiny_sweep: Sweep, copied: Path) -> None:
    cnn10, cnn12 = (copied / run_of(tiny_sweep, model).name for model in ("cnn10", "cnn12"))
    for folder in (cnn10, cnn12):  # as if both had been stopped
        (folder / "metrics.json").unlink()
    with another_process_in(cnn10):
        told = call("train.py", *tiny_sweep.arguments)
        refused(call("train.py", f"resume={cnn10}"), "another process is training", str(cnn10))
    assert told.status == 0, told.err
    assert f"{cnn10} is being trained by another process: skipped." in told.out
    assert read_metrics(cnn10) is None
    assert (read_metrics(cnn12) or {})["status"] == "finished"
    assert not (cnn12 / ".lock").exists()


@pytest.mark.usefixtures("copied")
def test_a_finished_run_stays_so_where_files_cannot_be_locked(
    tiny_sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fer.claim.FileLock.acquire", no_locks)
    told = call("train.py", *tiny_sweep.arguments)
    assert told.status == 0, told.err
    assert told.out.count("is finished: skipped") == 2


def test_a_run_that_another_process_finished_just_now_is_not_trained_again(
    tiny_sweep: Sweep, copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cnn10 = copied / run_of(tiny_sweep, "cnn10").name
    finished = (cnn10 / "metrics.json").rename(tmp_path / "finished.json").read_bytes()

    @contextmanager
    def finishing(folder: Path) -> Iterator[None]:
        with claimed(folder):
            (folder / "metrics.json").write_bytes(finished)
            yield

    monkeypatch.setattr("fer.train_command.claimed", finishing)
    told = call("train.py", *tiny_sweep.arguments)
    assert told.status == 0, told.err
    assert told.out.count("is finished: skipped") == 2
    assert (cnn10 / "metrics.json").read_bytes() == finished
