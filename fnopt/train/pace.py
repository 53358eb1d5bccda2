"""How many steps to make between two looks at a run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Pace:
    """As many steps a call as take about a quarter of a second, or a number given.

    Args:
        steps: the number; None finds one.
        most: no more than these; None for no bound.
    """

    def __init__(self, steps: int | None, most: int | None = None) -> None:
        self.steps, self.fixed, self.most = steps or 1, steps is not None, most
        self.done, self.seconds = 0, 0.0

    @property
    def speed(self) -> float:
        """Steps a second, so far."""
        return self.done / self.seconds if self.seconds else 0.0

    @contextlib.contextmanager
    def call(self, steps: int) -> Iterator[None]:
        """Times a call of these steps."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.done, self.seconds = self.done + steps, self.seconds + seconds
        if not self.fixed and steps == self.steps and seconds < 0.125:
            self.steps = min(self.steps * 2, self.most or self.steps * 2)
        elif not self.fixed and seconds > 0.5:
            self.steps = max(1, self.steps // 2)
