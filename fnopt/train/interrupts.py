"""Ctrl-C and SIGTERM: noted, so that the loop can end by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def interrupts() -> Iterator[list[signal.Signals]]:
    """The signals received: the first is left to the loop, a second one ends the process at once.

    In a thread other than the main one, which gets no signals, the list stays empty.
    """
    received: list[signal.Signals] = []
    process = os.getpid()

    def note(number: int, frame: Any) -> None:
        if os.getpid() != process:  # a process that a loader has forked: it ends as usual
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not received:
            received.append(signal.Signals(number))
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
