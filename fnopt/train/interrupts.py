"""Ctrl-C and SIGTERM: noted, for the loop to end by."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def interrupts() -> Iterator[list[signal.Signals]]:
    """The signals that came: the first is left to the loop, a second one ends the process at once.

    In a thread that is not the main one, where signals do not come, there are none.
    """
    came: list[signal.Signals] = []
    process = os.getpid()

    def note(number: int, frame: Any) -> None:
        if os.getpid() != process:  # one that a loader has forked: it ends as without us
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not came:
            came.append(signal.Signals(number))
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
