"""The download asks Kaggle once, and tells the way by hand where that fails."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from fer.data.download import download_fer2013
from fer.errors import FerError


def _fake(monkeypatch: pytest.MonkeyPatch, answer: str | Exception) -> list[str]:
    asked: list[str] = []

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        if isinstance(answer, Exception):
            raise answer
        return answer

    module = ModuleType("kagglehub")
    module.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def test_the_folder_that_kagglehub_gives_is_returned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = _fake(monkeypatch, str(tmp_path))

    assert download_fer2013() == tmp_path
    assert asked == ["msambare/fer2013"]


def test_without_kagglehub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(FerError, match=r"pip install 'fer-lightning\[download\]'"):
        download_fer2013()


@pytest.mark.parametrize(("answer", "said"), [(OSError("no\nroute"), "no route"), (KeyError(), "KeyError")])
def test_a_failed_download_says_why_and_what_to_do(
    answer: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fake(monkeypatch, answer)
    with pytest.raises(FerError) as caught:
        download_fer2013()
    assert f"could not be downloaded ({said})" in str(caught.value)
    assert "msambare/fer2013" in str(caught.value)
    assert "data/fer2013" in str(caught.value)
    assert "\n" not in str(caught.value)
