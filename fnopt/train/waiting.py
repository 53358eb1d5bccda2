"""Waiting for data, which a signal ends."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A signal came while waiting for data. A loader sees it as it sees Ctrl-C."""


@contextlib.contextmanager
def interruptible(signals: list[Any] | None) -> Iterator[None]:
    """Raises :class:`Interrupted` inside, at once, if a signal comes or has come.

    Python runs a signal's handler in the main thread, between two instructions, and in the middle
    of a call that waits: for a lock, a queue, a socket, a sleep. Usually such a call then
    continues; here the handler raises, which ends it.

    Args:
        signals: the list that :func:`~fnopt.train.interrupts.interrupts` fills; None where signals
            are not handled here, and nothing is done. Nothing is done either in a thread other than
            the main one, which gets no signals.
    """
    if signals is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    process = os.getpid()

    def leave(number: int, frame: Any) -> None:
        if os.getpid() != process:  # a process of the loader, which ends like any other
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        handler = before[number]
        if callable(handler):
            handler(number, frame)  # notes the first one, ends the process at a second
        if signals:
            raise Interrupted

    before: dict[int, Any] = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        for number in before:
            signal.signal(number, leave)
        if signals:
            raise Interrupted
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
