"""Reads the batches of an iterable one at a time; says which batch failed, ends at a signal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fnopt.core.types import Batch
from fnopt.data.batches import Batches, as_data
from fnopt.data.numbers import NotNumbersError
from fnopt.data.shapes import ShapeError
from fnopt.train.errors import DataError
from fnopt.train.waiting import Interrupted, interruptible

logger = logging.getLogger("fnopt")

END: Any = object()
"""The item after the last batch."""


class Reader:
    """Reads batches one at a time; each :meth:`open` begins a new pass over them.

    Args:
        data: an iterable of batches, or a function that returns one.
        name: name of the data in messages.
        any_size: whether batches may have another number of examples than the first; otherwise a
            smaller last batch is left out, and any other one is refused.

    Attributes:
        number: number of the batch read last, 0 for the first.
        signals: signals received so far; one ends the waiting for a batch. None if signals are not
            handled here.
    """

    def __init__(self, data: Any, name: str = "the data", *, any_size: bool = False) -> None:
        self.name, self.any_size = name, any_size
        self._warns = not isinstance(data, Batches) and not any_size
        self._batches = data if isinstance(data, Batches) else _batches_of(data, not any_size)
        self.number = -1
        self.signals: list[Any] | None = None
        self._iterator: Iterator[Batch] | None = None

    def open(self) -> None:
        """Begins a pass with the first batch."""
        self.close()
        self.number = -1
        self._iterator = self._batches.epoch(shorter=self.any_size)

    def read(self) -> Batch:
        """The next batch, or :data:`END`.

        Raises:
            DataError: the iterable raised, a batch is no tree of arrays of numbers, or its shapes
                are not those of the first.
            Interrupted: a signal came.
        """
        self.number += 1
        iterator: Any = self._iterator
        batch = self._waiting(lambda: next(iterator, END))
        if batch is END and self.signals:
            raise Interrupted  # an interrupted iterable may end as if it were complete
        if batch is END and self._warns and self._batches.has_dropped:
            logger.warning(
                "fit: the last batch of %s has fewer examples than the others and is left out, as"
                " the remainder of arrays in memory is",
                self.name,
            )
            self._warns = False
        return batch

    def close(self) -> None:
        """Ends the pass, and with it a thread that reads ahead."""
        iterator, self._iterator = self._iterator, None
        getattr(iterator, "close", lambda: None)()

    def _waiting(self, call: Callable[[], Batch]) -> Batch:
        try:
            with interruptible(self.signals):
                return call()
        except Exception as error:
            if self.signals:  # Ctrl-C goes to a loader's processes too, and they end
                raise Interrupted from error
            raise DataError(self._message(error), self.number) from error

    def _message(self, error: Exception) -> str:
        batch = f"batch {self.number}{'' if self.name == 'the data' else f' of {self.name}'}"
        if isinstance(error, NotNumbersError):
            return f"{batch} is refused: {error}"
        if not isinstance(error, ShapeError):
            return f"{self.name} raised {error!r} at batch {self.number}"
        cure = "All must have the same arrays, shapes and dtypes"
        if error.now.differs_in_size(error.first):
            cure = "Drop or fill up what is left over (drop_last=True, drop_remainder=True)"
        differences = ", ".join(error.now.differences(error.first))
        return f"{batch} has another shape than those before: {differences}. {cure}"


class Reading:
    """Base class of streams that read batches with a :class:`Reader` until a signal comes."""

    reader: Reader

    @property
    def signals(self) -> list[Any] | None:
        """Signals received so far, one of which ends the waiting; None if not handled here."""
        return self.reader.signals

    @signals.setter
    def signals(self, signals: list[Any]) -> None:
        self.reader.signals = signals

    def close(self) -> None:
        """Ends the pass, and with it a thread that reads ahead."""
        self.reader.close()


def _batches_of(data: Any, drop_last: bool) -> Batches:
    """Batches of an iterable or a function, read without a thread."""
    # A new iterator for each pass, from the iterable: one that is an iterator itself may begin
    # again, and if it does not, the pass has no batch.
    source = (lambda: iter(data)) if isinstance(data, Iterable) else data
    batches = as_data(source, prefetch=0, drop_last=drop_last)
    assert isinstance(batches, Batches)
    return batches
