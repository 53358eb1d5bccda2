"""The number of steps between two looks at a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class CallLength:
    """The number of steps per call: one that takes about a quarter of a second, or a fixed one.

    Args:
        steps: fixed number of steps; None finds one by timing.
        most: upper bound of the number; None for no bound.

    Attributes:
        steps: number of steps for the next call.
    """

    def __init__(self, steps: int | None, most: int | None = None) -> None:
        self.steps, self.fixed, self.most = steps or 1, steps is not None, most
        self._done, self._seconds = 0, 0.0

    @property
    def speed(self) -> float:
        """Steps per second so far."""
        return self._done / self._seconds if self._seconds else 0.0

    @contextlib.contextmanager
    def call(self, steps: int) -> Iterator[None]:
        """Times a call of this many steps."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self._done, self._seconds = self._done + steps, self._seconds + seconds
        if not self.fixed and steps == self.steps and seconds < 0.125:
            self.steps = min(self.steps * 2, self.most or self.steps * 2)
        elif not self.fixed and seconds > 0.5:
            self.steps = max(1, self.steps // 2)
