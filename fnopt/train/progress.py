"""What a run shows while it works: a bar on a terminal or in a notebook, lines elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

from fnopt.train.progress_line import Part, Status, epoch_line, joined, running_line
from fnopt.train.record import Position

EVERY_EPOCH = 100
"""Epochs of a run up to which each leaves a line; of more epochs, about one a second does."""

Running = Callable[[bool], list[Part]]
"""The line about the run in progress, with a bar or without one."""


class Display(Protocol):
    """Where progress is shown."""

    def start(self, running: Running) -> None:
        """Begins to show the line that ``running`` returns at any time."""

    def update(self) -> None:
        """Notes that this line has changed."""

    def leave(self, parts: list[Part]) -> None:
        """Leaves a line for good."""

    def stop(self) -> None:
        """Shows nothing further; what was left stays."""


class Progress:
    """Shows how far a run is, and leaves a line for each epoch.

    Args:
        show: False shows nothing; True leaves a line for every epoch; None does so in runs of up to
            100 epochs, and in longer ones leaves about one a second.
        epochs: number of epochs of the run.
        position: where the run begins.

    Attributes:
        display: where it is shown; None for nowhere.
    """

    def __init__(self, show: bool | None, epochs: int, position: Position) -> None:
        self.display: Display | None = None if show is False else display_on(sys.stderr)
        self._epochs, self._every_epoch = epochs, bool(show) or epochs <= EVERY_EPOCH
        steps = position.steps_per_epoch
        total = steps and steps * epochs
        before = position.epoch - position.epochs_done - 1
        self._status = Status(
            min(position.epoch, before + epochs), before + epochs, position.steps_done, total
        )
        self._phase_began, self._left_at = 0.0, -math.inf
        self._begun: tuple[float, int] | None = None  # time and step
        self._waiting: list[Part] | None = None

    def __enter__(self) -> Progress:
        if self.display is not None:
            self.display.start(self._running)
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.display is not None:
            if self._waiting is not None:
                self.display.leave(self._waiting)
            self.display.stop()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Says that there is other work than steps inside.

        Args:
            name: the work, such as ``"compiling"``.
        """
        self._phase_began = time.monotonic()
        self._update(phase=name)
        try:
            yield
        finally:
            self._update(phase="")

    def show_steps(
        self,
        position: Position,
        speed: float,
        metrics: dict[str, float],
        evaluation: dict[str, float],
    ) -> None:
        """Shows how far the run is after some steps.

        Args:
            position: step and epoch of the run.
            speed: steps per second.
            metrics: metrics of the last step, by name.
            evaluation: metrics of the last evaluation, by name.
        """
        now, left = time.monotonic(), None
        began, first = self._begun = self._begun or (now, position.steps_done)
        if self._status.steps and position.steps_done > first:
            ahead = max(0, self._status.steps - position.steps_done)
            left = ahead * (now - began) / (position.steps_done - first)
        self._update(
            epoch=position.epoch,
            step=position.steps_done,
            speed=speed,
            seconds_left=left,
            metrics=metrics,
            evaluation=evaluation,
        )

    def show_epoch(
        self,
        position: Position,
        seconds: float,
        metrics: dict[str, float],
        evaluation: dict[str, float],
    ) -> None:
        """Shows an epoch that is over, and leaves a line for it.

        Args:
            position: step and epoch of the run, after the epoch.
            seconds: seconds that its steps took.
            metrics: metrics of its steps, by name.
            evaluation: metrics of the last evaluation, by name.
        """
        if self.display is None:
            return
        if position.steps_per_epoch is None:  # then this is known now, but for what may change
            steps = position.steps_done * self._epochs // position.epochs_done
            self._status = dataclasses.replace(self._status, steps=steps)
        self._update(metrics=metrics, evaluation=evaluation)
        epoch, now = position.epoch - 1, time.monotonic()
        self._waiting = epoch_line(epoch, self._status.epochs, metrics, evaluation, seconds)
        if self._every_epoch or now >= self._left_at + 1:
            self.display.leave(self._waiting)
            self._waiting, self._left_at = None, now

    def _update(self, **changes: Any) -> None:
        self._status = dataclasses.replace(self._status, **changes)  # a thread may read it
        if self.display is not None:
            self.display.update()

    def _running(self, bar: bool) -> list[Part]:
        status = self._status
        if status.phase:
            waited = time.monotonic() - self._phase_began
            status = dataclasses.replace(status, phase_seconds=waited)
        return running_line(status, bar)


class Lines:
    """Plain lines in a file or a pipe: no colours, no cursor.

    Args:
        stream: where the lines go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._written = stream, 0.0

    def start(self, running: Running) -> None:
        self._running, self._written = running, time.monotonic()

    def update(self) -> None:
        # An epoch may take hours: a sign of life each minute.
        if time.monotonic() > self._written + 60:
            self.leave(self._running(False))

    def leave(self, parts: list[Part]) -> None:
        self._written = time.monotonic()
        # A full disk or a closed pipe must not end the run.
        with contextlib.suppress(OSError, ValueError):
            print(joined(parts), file=self._stream, flush=True)

    def stop(self) -> None:
        """Nothing is left open."""


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream, such as ``sys.stdout``, is open and a terminal."""
    # What programs put in its place may have no more than write and flush.
    isatty = getattr(stream, "isatty", None)
    return isatty is not None and not getattr(stream, "closed", False) and bool(isatty())


def display_on(stream: TextIO | None) -> Display | None:
    """Where to show progress: in the notebook, or on a stream, which may be a terminal.

    The stream is that of errors, so that a program's own output can be piped on.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if getattr(shell, "kernel", None) is not None:
        from fnopt.train.progress_notebook import NotebookBar

        return NotebookBar()
    if stream is None:  # a program without a console
        return None
    # rich would take a file for a terminal where FORCE_COLOR is set, as in many a CI.
    if _is_terminal(stream) and os.environ.get("TERM") not in ("dumb", "unknown"):
        with contextlib.suppress(ImportError):  # rich is of the extra `train`
            from fnopt.train.progress_bar import TerminalBar

            return TerminalBar(stream, with_stdout=_is_terminal(sys.stdout))
    return Lines(stream)
