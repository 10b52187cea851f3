"""Limit work that a training has to wait for to a share of its time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Allows work again once what it cost last time is within a share of the time that has passed since.

    Args:
        share: From 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self.share = share
        self._done = self._cost = 0.0

    def affordable(self) -> bool:
        """Return whether what it cost last time is within the share of the time since then; the first time it is."""
        return self.share * (time.perf_counter() - self._done) >= self._cost

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Measure what the work done inside costs."""
        started = time.perf_counter()
        yield
        self._done = time.perf_counter()
        self._cost = self._done - started
