"""How Ctrl-C and SIGTERM reach a training, of one process or of several."""

import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fer.callbacks.stop import CleanStop

MODULE: Any = None  # which no stop looks at


class Both:
    """Two processes, of which the other one was asked to stop or was not."""

    def __init__(self, other: bool) -> None:
        self.other = other

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        return (decision and self.other) if all else (decision or self.other)


def alone() -> Any:
    return SimpleNamespace(world_size=1, strategy=None)


def together(other: bool = False) -> Any:
    return SimpleNamespace(world_size=2, strategy=Both(other))


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_ctrl_c_waits_for_the_batch_and_the_second_does_not() -> None:
    stop = CleanStop()
    stop.on_train_start(alone(), MODULE)
    stop.on_train_batch_start(alone(), MODULE, None, 0)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        stop.on_train_batch_start(alone(), MODULE, None, 1)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_several_processes_take_sigterm_over_too_and_give_it_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    for trainer, taken in ((alone(), False), (together(), True)):
        stop = CleanStop()
        stop.on_train_start(trainer, MODULE)
        assert (signal.getsignal(signal.SIGTERM) != before) is taken
        stop.restore()
        assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_that_reaches_one_process_stops_all() -> None:
    stop = CleanStop()
    stop.on_train_batch_start(together(other=False), MODULE, None, 0)
    with pytest.raises(KeyboardInterrupt):
        stop.on_train_batch_start(together(other=True), MODULE, None, 1)
    stop.requested = True
    assert stop.wanted(together(other=False))
