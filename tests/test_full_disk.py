"""What a training says and leaves where nothing more can be written."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from fer.callbacks.checkpoint import WholeCheckpoints
from fer.errors import FerError
from tests.conftest import call, quick, refused


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)

    def full(checkpoint: dict[str, Any], place: Path) -> None:
        place.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr("fer.callbacks.checkpoint.torch.save", full)
    with pytest.raises(FerError, match=r"last\.ckpt' cannot be written \(No space left.*train\.py resume="):
        WholeCheckpoints().save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("error", [OSError("No space left on device"), RuntimeError("[enforce fail at file.cc:603]")])
def test_a_first_checkpoint_that_cannot_be_written_is_told_of_too(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise error  # the second is what PyTorch makes of it

    monkeypatch.setattr("fer.callbacks.checkpoint.torch.save", full)
    with pytest.raises(FerError, match=r"best\.ckpt' cannot be written \(.*full\? Make room, and start again"):
        WholeCheckpoints().save_checkpoint({"epoch": 1}, tmp_path / "best.ckpt")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_in_one_sentence(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "run/metrics.csv")

    monkeypatch.setattr("fer.callbacks.history.History.on_train_epoch_end", full)
    refused(call("train.py", *quick(tiny_folder)), "'run/metrics.csv' cannot be written (No space left on device)")
