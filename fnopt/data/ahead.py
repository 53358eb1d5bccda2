"""Items of an iterator, some of them read ahead by a thread."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any

import jax

_PATIENCE = 1.0
"""Seconds that closing waits for the thread, which may be inside a loader that waits itself."""


_LOOK = 0.5
"""Seconds between two looks at whether a signal has come, while an item is waited for."""


class Ahead:
    """The same items, some of them read ahead by a thread that ends with the iteration.

    The thread closes the iterator. If it waits inside the iterator, for a disk or a network, it is
    left behind, and ends when the wait does; it does not keep the process from ending.

    Args:
        items: a generator.
        count: number of items to have ready.
    """

    def __init__(self, items: Iterator[Any], count: int) -> None:
        self._items: Iterator[Any] | None = items
        self._thread: threading.Thread | None = None
        self._ready: queue.SimpleQueue = queue.SimpleQueue()
        self._room = threading.Semaphore(count)
        self._left = threading.Event()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._items is not None:
            self._begin()
        if self._left.is_set():
            raise StopIteration
        item = self._wait()
        if not isinstance(item, _End):
            self._room.release()
            return item
        self.close()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def _wait(self) -> Any:
        # Not without end: a signal that comes just before the wait begins would not end it.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._ready.get(timeout=_LOOK)

    def close(self) -> None:
        """Ends the iteration and, unless it waits for an item, the thread."""
        self._items = None
        self._left.set()
        self._room.release()
        # Garbage may be collected by any thread, the one to be waited for among them.
        if self._thread not in (None, threading.current_thread()):
            self._thread.join(_PATIENCE)

    def __del__(self) -> None:
        self.close()

    def _begin(self) -> None:
        # These belong to a thread; the new one must get them. It must not refer to this object,
        # which would never be released then.
        config: Any = jax.config
        settings = config.jax_default_device, config.jax_enable_x64
        arguments = self._items, self._ready, self._room, self._left, *settings
        self._items = None
        self._thread = threading.Thread(
            target=_work, args=arguments, name="fnopt.data.Batches", daemon=True
        )
        self._thread.start()


def _work(items: Any, ready: Any, room: Any, left: Any, device: Any, wide: Any) -> None:
    end = _End()
    try:
        with jax.default_device(device), jax.enable_x64(wide), contextlib.closing(items):
            while room.acquire() and not left.is_set():
                ready.put(next(items))
    except StopIteration:
        pass
    except BaseException as error:
        end = _End(error)
    ready.put(end)


class _End:
    """Follows the last item; has the error that the iterator raised, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
