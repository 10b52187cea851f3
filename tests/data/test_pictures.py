"""The bar shows up where a read is long and someone watches, and never takes an item away."""

import pytest

from fer.data.pictures import with_progress


@pytest.mark.parametrize(("total", "terminal", "shown"), [(9000, True, True), (9000, False, False), (9, True, False)])
def test_the_bar_is_for_long_reads_on_a_terminal(
    total: int,
    terminal: bool,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")

    assert list(with_progress(iter(range(total)), total, "Reading pictures")) == list(range(total))
    printed = capsys.readouterr()
    assert ("Reading pictures" in printed.err) is shown
    assert printed.out == ""
