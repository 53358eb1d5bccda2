"""What a sweep shows while it works: how many runs are done, on a terminal or in a notebook."""

from __future__ import annotations

import sys
import time
from typing import Any

from fnopt.train.progress import Display, Lines, display_on
from fnopt.train.progress_line import BAR_WIDTH, Part, duration, number


class SweepProgress:
    """Shows how far a sweep is. Where there is no terminal and no notebook it shows nothing.

    Args:
        show: whether to show anything.
        runs: number of runs.
        epochs: epochs of each.
        monitor: name of the metric by which runs are judged.
    """

    def __init__(self, show: bool, runs: int, epochs: int, monitor: str) -> None:
        display = display_on(sys.stderr) if show else None
        self._display: Display | None = None if isinstance(display, Lines) else display
        self._runs, self._epochs, self._monitor = runs, epochs, monitor
        self._done, self._epoch, self._at_once = 0, 0, 0
        self._best, self._doing, self._begun = float("nan"), "", time.monotonic()
        self._before, self._words = 0, ""

    def __enter__(self) -> SweepProgress:
        if self._display is not None:
            self._display.start(self._line)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._display is not None:
            self._display.stop()

    def restored(self, runs: int) -> None:
        """Notes runs that were finished before this sweep was resumed."""
        self._done, self._before = self._done + runs, self._before + runs
        self._update()

    def rung(self, words: str, runs: int, epochs: int) -> None:
        """Begins a rung, with a bar of its own.

        Args:
            words: what it is, such as ``"rung 2 of 4"``.
            runs: number of runs in it.
            epochs: epochs of each in it.
        """
        self._words, self._runs, self._epochs = words, runs, epochs
        self._done, self._before, self._epoch, self._begun = 0, 0, 0, time.monotonic()
        self._update()

    def doing(self, words: str) -> None:
        """Says what is done besides training, such as ``"compiling"``; "" for nothing."""
        self._doing = words
        self._update()

    def say(self, words: str) -> None:
        """Leaves a line for good."""
        if self._display is not None:
            self._display.leave([Part("words", words, 0)])

    def epoch(self, number: int, runs: int, best: float) -> None:
        """Notes that an epoch is over.

        Args:
            number: its number, 1 for the first.
            runs: how many runs go at once.
            best: the best value of the metric in the sweep so far; NaN for none.
        """
        self._epoch, self._at_once, self._best, self._doing = number, runs, best, ""
        self._update()

    def chunk(self, runs: int) -> None:
        """Notes that so many runs are over."""
        self._done, self._epoch = self._done + runs, 0
        self._update()

    def _update(self) -> None:
        if self._display is not None:
            self._display.update()

    def _line(self, bar: bool) -> list[Part]:
        within = self._at_once * self._epoch / self._epochs
        share = min(1.0, (self._done + within) / self._runs)
        filled = int(BAR_WIDTH * share)
        parts = [Part("runs", f"{self._done}/{self._runs} runs", 0)]
        if self._words:
            parts.insert(0, Part("rung", self._words, 1))
        if bar:
            parts.append(Part("bar", "━" * filled + "─" * (BAR_WIDTH - filled), 3))
        if self._doing:
            parts.append(Part("phase", self._doing, 1))
        elif self._epoch:
            at = f"epoch {self._epoch}/{self._epochs} of {self._at_once} at once"
            parts.append(Part("epoch", at, 4))
        here = self._done - self._before + within
        if here and self._doing == "":
            left = (self._runs - self._done - within) * (time.monotonic() - self._begun) / here
            parts.append(Part("left", f"{duration(left)} left", 5))
        if self._best == self._best:
            parts.append(Part("best", f"best {self._monitor} {number(self._best)}", 2))
        return parts
