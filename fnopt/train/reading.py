"""Batches that come from an iterable: read one at a time, copied, compared with the first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.data.batches import Batches
from fnopt.data.numbers import NotNumbersError, host, own
from fnopt.train.errors import DataError
from fnopt.train.waiting import Interrupted, interruptible

logger = logging.getLogger("fnopt")

Shapes = dict[str, tuple[Any, ...]]
END: Any = object()
"""What is read behind the last batch."""


class Reader:
    """The batches of an iterable, which is gone through again each time it is opened.

    A loader may fill the same memory again and again: a batch is copied before the next is asked
    for.

    Args:
        data: an iterable of batches, or a function that returns one.
        name: of the data, for messages.
        shorter: whether batches may have fewer examples than the first, or more; otherwise a last
            batch of fewer is left out.

    Attributes:
        number: of the batch read last, 0 for the first.
        signals: that came; one ends the waiting for a batch. None where signals are not ours.
    """

    def __init__(self, data: Any, name: str = "the data", *, shorter: bool = False) -> None:
        self.data, self.name, self.shorter = data, name, shorter
        self._of = "" if name == "the data" else f" of {name}"
        self.number = -1
        self.signals: list[Any] | None = None
        self._iterator: Iterator[Any] | None = None
        self._first: Shapes = {}
        self._warned = False

    def open(self) -> None:
        """Begins with the first batch.

        Raises:
            DataError: the iterable raised.
            Interrupted: a signal came.
        """
        self.close()
        self.number = -1
        self._iterator = self._waiting(self._begin, 0)

    def read(self) -> Any:
        """The next batch, or :data:`END`.

        Raises:
            DataError: the iterable raised, a batch is no tree of arrays of numbers, or not like
                the first.
            Interrupted: a signal came.
        """
        self.number += 1
        batch = self._take(self.number)
        if batch is END:
            return END
        try:
            if not isinstance(self.data, Batches):  # they are copied already
                batch = (host if self.shorter else own)(batch)
        except NotNumbersError as error:
            raise self._refused(error, self.number) from error
        if self._is_remainder(batch):
            return END
        self._compare(batch)
        return batch

    def close(self) -> None:
        """Ends the iteration, and with it whatever reads ahead."""
        iterator, self._iterator = self._iterator, None
        getattr(iterator, "close", lambda: None)()

    def _begin(self) -> Iterator[Any]:
        if isinstance(self.data, Batches):
            return self.data.epoch(shorter=self.shorter)
        # What can be both iterated and called is a loader, not a function that makes one.
        return iter(self.data if isinstance(self.data, Iterable) else self.data())

    def _take(self, number: int) -> Any:
        iterator: Any = self._iterator
        batch = self._waiting(lambda: next(iterator, END), number)
        if batch is END and self.signals:
            raise Interrupted  # what is interrupted may end as if it were complete
        return batch

    def _waiting(self, call: Callable[[], Any], number: int) -> Any:
        try:
            with interruptible(self.signals):
                return call()
        except Exception as error:
            if self.signals:  # Ctrl-C goes to a loader's processes too, and they end
                raise Interrupted from error
            if isinstance(error, NotNumbersError):
                raise self._refused(error, number) from error
            told = f"{self.name} raised {error!r} at batch {number}"
            raise DataError(told, number) from error

    def _refused(self, error: NotNumbersError, number: int) -> DataError:
        return DataError(f"batch {number}{self._of} is refused: {error}", number)

    def _is_remainder(self, batch: Any) -> bool:
        """Whether this is the last batch and has fewer examples than the first: it is left out."""
        if self.shorter or isinstance(self.data, Batches):
            return False
        first, now = self._first, _shapes(batch)
        changed = [path for path in first if first[path] != now.get(path)]
        fewer = (
            bool(changed)
            and _differ_in_size(first, now, changed)
            and all(now[path][0][0] < first[path][0][0] for path in changed)
        )
        if not fewer or self._take(self.number + 1) is not END:
            return False
        if not self._warned:
            logger.warning(
                "fit: the last batch of %s has fewer examples than the others and is left out, as"
                " the remainder of arrays in memory is",
                self.name,
            )
        self._warned = True
        return True

    def _compare(self, batch: Any) -> None:
        """Refuses a batch unlike the first."""
        now = _shapes(batch)
        first = self._first = self._first or now
        changed = [path for path in {**first, **now} if first.get(path) != now.get(path)]
        sizes = _differ_in_size(first, now, changed)
        if not changed or (self.shorter and sizes):
            return
        told = ", ".join(
            f"batch{path}: {_shown(first.get(path))} before, {_shown(now.get(path))} now"
            for path in changed
        )
        cure = "All must have the same arrays, shapes and dtypes"
        if sizes:
            cure = "Drop or fill up what is left over (drop_last=True, drop_remainder=True)"
        raise DataError(
            f"batch {self.number}{self._of} has another shape than those before: {told}. {cure}",
            self.number,
        )


class Reading:
    """What goes through the batches of a reader, until a signal comes."""

    reader: Reader

    @property
    def signals(self) -> list[Any] | None:
        """Those that came, of which one ends the waiting; None while they are not ours."""
        return self.reader.signals

    @signals.setter
    def signals(self, signals: list[Any]) -> None:
        self.reader.signals = signals

    def close(self) -> None:
        """Ends the iteration, and with it whatever reads ahead."""
        self.reader.close()


def _differ_in_size(first: Shapes, now: Shapes, changed: list[str]) -> bool:
    """Whether two batches differ at these paths in nothing but their number of examples."""
    return all(
        len(mine := first.get(path, ())) == len(its := now.get(path, ())) == 2
        and mine[0][1:] == its[0][1:]
        and len(mine[0]) == len(its[0]) > 0
        and mine[1] == its[1]
        for path in changed
    )


def _shapes(batch: Any) -> Shapes:
    """The shape and dtype at each path; an empty tuple for None."""
    found = jax.tree_util.tree_flatten_with_path(batch, is_leaf=lambda x: x is None)[0]
    return {
        jax.tree_util.keystr(path): () if x is None else (np.shape(x), jnp.result_type(x))
        for path, x in found
    }


def _shown(shape: tuple[Any, ...] | None) -> str:
    if shape is None:
        return "missing"
    return f"{shape[0]} {shape[1]}" if shape else "None"
