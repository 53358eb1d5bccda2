"""Data that come in batches from a loader, moved to the device ahead of their use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.core.types import Batch
from fnopt.data.ahead import Ahead
from fnopt.data.arrays import Arrays
from fnopt.data.numbers import own
from fnopt.data.shapes import BatchShapes, ShapeError


class Batches:
    """Batches of any Python iterable: a list, a generator function, a loader of grain or torch.

    While a batch is in use a thread takes the next ones from the loader, copies them and moves them
    to the device. An epoch is one iteration; leaving it early ends the thread, at the latest when
    the loader gives its next batch. torch's tensors become arrays. All batches must have the
    structure, shapes and dtypes of the first, since every other would be compiled for again.

    Args:
        iterable: the source of an epoch: iterated again each time, or a function without
            arguments, called again each time, that returns something to iterate.
        prefetch: batches to have ready, at least 0; with 0 there is no thread.
        drop_last: whether to leave out a last batch of fewer examples; otherwise it is refused.

    Raises:
        TypeError: the iterable is none, or prefetch is no integer; while iterating, a batch has
            something that is no array of numbers.
        ValueError: prefetch is below 0; while iterating, a batch differs from the first, or an
            iterator that can be used but once is used a second time.

    Attributes:
        has_dropped: whether a smaller last batch has been left out so far.

    An exception of the loader is raised where its batch would have come, with the batch's number.

    Examples:
        >>> def batches():
        ...     for i in range(3):
        ...         yield np.full((2, 1), i, np.float32), np.full(2, i)
        >>> [int(labels[0]) for images, labels in Batches(batches)]
        [0, 1, 2]
    """

    def __init__(
        self,
        iterable: Iterable[Any] | Callable[[], Iterable[Any]],
        *,
        prefetch: int = 2,
        drop_last: bool = False,
    ) -> None:
        if not (callable(iterable) or hasattr(iterable, "__iter__")):
            raise TypeError(
                "Batches: give an iterable of batches or a function that returns one, got"
                f" {type(iterable).__name__}"
            )
        prefetch = _prefetch(prefetch)
        self.iterable, self.prefetch, self.drop_last = iterable, prefetch, drop_last
        self.has_dropped = False
        self._first: BatchShapes | None = None
        self._is_used_up = False

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch()

    def __repr__(self) -> str:
        # Not what it iterates over: that may be a list of arrays.
        source = getattr(self.iterable, "__name__", type(self.iterable).__name__)
        return f"Batches({source}, prefetch={self.prefetch}, drop_last={self.drop_last})"

    def epoch(self, start: int = 0, *, shorter: bool = False) -> Iterator[Batch]:
        """The batches of an epoch, on the device, from number ``start`` on.

        Those before are read from the loader and dropped. A loop that may be left by an
        exception should close the iterator, with :func:`contextlib.closing`.

        Args:
            start: the number of the first batch, 0 for the whole epoch.
            shorter: whether batches with another number of examples than the first come as they
                are, for an evaluation; ``drop_last`` leaves out a smaller last one even then.
        """
        batches = self._checked(self._on_device(start), start, shorter and not self.drop_last)
        return Ahead(batches, self.prefetch) if self.prefetch else batches

    @property
    def is_iterator(self) -> bool:
        """Whether the iterable is an iterator, which can be read once only."""
        return hasattr(self.iterable, "__next__")

    def _begin(self) -> Iterator[Any]:
        # What can be both iterated and called is a loader, not a function that makes one.
        source: Any = self.iterable
        iterator = iter(source if hasattr(source, "__iter__") else source())
        if iterator is source:
            if self._is_used_up:
                raise ValueError(
                    "Batches: an iterator can be used for one epoch alone; give the function that"
                    " makes it instead, or what it iterates over"
                )
            self._is_used_up = True
        return iterator

    def _on_device(self, start: int) -> Iterator[Batch]:
        iterator, number = self._begin(), 0
        try:
            while True:
                try:
                    batch = next(iterator)
                    if number >= start:
                        batch = own(batch)
                except StopIteration:
                    return
                except Exception as error:
                    error.add_note(f"This was batch {number} of the data, counted from 0.")
                    raise
                if number >= start:
                    yield batch
                number += 1
        finally:
            if hasattr(iterator, "close"):
                iterator.close()  # pyright: ignore[reportAttributeAccessIssue]

    def _checked(self, batches: Iterator[Batch], start: int, any_size: bool) -> Iterator[Batch]:
        with contextlib.closing(batches):  # pyright: ignore[reportArgumentType]
            for number, batch in enumerate(batches, start):
                now = BatchShapes.of(batch)
                first = self._first = self._first or now
                if now == first or (any_size and now.differs_in_size(first)):
                    yield batch
                    continue
                smaller = now.is_smaller(first)
                if smaller and self.drop_last and next(batches, None) is None:
                    self.has_dropped = True
                    return
                if smaller and self.drop_last:
                    raise ShapeError(
                        f"Batches: batch {number} has fewer examples than the first and is not the"
                        f" last: {now}, not {first}",
                        now,
                        first,
                    )
                cure = "; drop_last=True leaves a shorter last batch out" * smaller
                message = f"Batches: batch {number} is {now}, but the first was {first}{cure}"
                raise ShapeError(message, now, first)


def is_stream(data: Any) -> bool:
    """Whether data come in batches: they can be iterated or called, and are no tree of arrays."""
    is_tree = hasattr(data, "shape") or not jax.tree_util.all_leaves([data])
    return not is_tree and (callable(data) or hasattr(data, "__iter__"))


def as_data(
    data: Any, *, copy: bool = False, prefetch: int = 2, drop_last: bool = False
) -> Arrays | Batches:
    """Data as a run takes them: Arrays and Batches as they are, a tree of arrays as Arrays.

    A pytree of your own that has ``tree``, ``order(key, step, batch_size)`` and ``batch(key, step,
    indices)``, as ``Arrays`` has, is returned as it is.

    A function, or another iterable that is no tree of arrays, becomes Batches. A list
    is a tree; a list of batches must say so, ``Batches(batches)``.

    Args:
        data: any of these.
        copy: whether arrays in memory are copied, so that the caller may write into them again.
        prefetch: batches to have ready, of what becomes Batches.
        drop_last: whether to leave out a smaller last batch, of what becomes Batches.

    Raises:
        ValueError: the arrays of a tree differ in their number of examples.
        TypeError: ``copy`` is set and something in a tree is no array of numbers.
    """
    if isinstance(data, Batches):
        return data
    if is_stream(data):
        return Batches(data, prefetch=prefetch, drop_last=drop_last)
    if copy:
        data = own(data, "data")
    return data if brings_order(data) else Arrays(data)


def brings_order(data: Any) -> bool:
    """Whether these are arrays that bring their own order and augmentation, as ``Arrays`` does."""
    return all(hasattr(data, name) for name in ("tree", "order", "batch"))


def _prefetch(number: Any) -> int:
    """How many batches to have ready."""
    if isinstance(number, (int, np.integer)) and not isinstance(number, bool) and number <= 0:
        if number < 0:
            raise ValueError(f"Batches: prefetch must be at least 0, got {number}")
        return 0
    return positive_integer("Batches: prefetch", number)
