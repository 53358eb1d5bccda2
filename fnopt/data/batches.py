"""Data that come in batches from a loader, moved to the device ahead of their use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.data.ahead import Ahead
from fnopt.data.arrays import Arrays
from fnopt.data.numbers import own


class Batches:
    """Batches of any Python iterable: a list, a generator function, a loader of grain or torch.

    While a batch is in use a thread takes the next ones from the loader, copies them and moves them
    to the device. An epoch is one iteration; leaving it early ends the thread, at the latest when
    the loader gives its next batch. torch's tensors become arrays. All batches must have the
    structure, shapes and dtypes of the first, since every other would be compiled for anew.

    Args:
        iterable: what an epoch is taken from: iterated anew each time, or a function without
            arguments, called anew each time, that returns something to iterate.
        prefetch: batches to have ready, at least 0; with 0 there is no thread.
        drop_last: whether to leave out a last batch of fewer examples; otherwise it is refused.

    Raises:
        TypeError: the iterable is none, or prefetch is no integer; while iterating, a batch has
            something that is no array of numbers.
        ValueError: prefetch is below 0; while iterating, a batch differs from the first, or an
            iterator that can be used but once is used a second time.

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
        self._first: Any = None
        self._used_up = False

    def __iter__(self) -> Iterator[Any]:
        return self.epoch()

    def epoch(self, start: int = 0, *, shorter: bool = False) -> Iterator[Any]:
        """The batches of an epoch, on the device, from number ``start`` on.

        Those before are taken from the loader and passed over. A loop that may be left by an
        exception should close the iterator, with :func:`contextlib.closing`.

        Args:
            start: the number of the first batch, 0 for the whole epoch.
            shorter: whether batches of fewer examples than the first come as they are, for an
                evaluation; ``drop_last`` leaves out such a last one all the same.
        """
        batches = self._checked(self._on_device(start), start, shorter and not self.drop_last)
        return Ahead(batches, self.prefetch) if self.prefetch else batches

    def _begin(self) -> Iterator[Any]:
        # What can be both iterated and called is a loader, not a function that makes one.
        again = hasattr(self.iterable, "__iter__")
        made: Any = self.iterable if again else self.iterable()  # pyright: ignore
        iterator = iter(made)
        if again and iterator is self.iterable:
            if self._used_up:
                raise ValueError(
                    "Batches: an iterator can be used for one epoch alone; give the function that"
                    " makes it instead, or what it iterates over"
                )
            self._used_up = True
        return iterator

    def _on_device(self, start: int) -> Iterator[Any]:
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

    def _checked(self, batches: Iterator[Any], start: int, shorter: bool) -> Iterator[Any]:
        with contextlib.closing(batches):  # pyright: ignore[reportArgumentType]
            for number, batch in enumerate(batches, start):
                told = _told(batch)
                if self._first is None:
                    self._first = told
                if told == self._first or (shorter and _is_shorter(told, self._first)):
                    yield batch
                    continue
                if self.drop_last and _is_shorter(told, self._first):
                    if next(batches, None) is None:
                        return
                    raise ValueError(
                        f"Batches: batch {number} has fewer examples than the first and is not the"
                        f" last: {_shown(told)}, not {_shown(self._first)}"
                    )
                cure = "; drop_last=True leaves a shorter last batch out" * (
                    not self.drop_last and _is_shorter(told, self._first)
                )
                raise ValueError(
                    f"Batches: batch {number} is {_shown(told)}, but the first was"
                    f" {_shown(self._first)}{cure}"
                )


def as_data(data: Any) -> Arrays | Batches:
    """Data as a run takes them: Arrays and Batches as they are, a tree of arrays as Arrays.

    A function and whatever else can be iterated, but is no tree of arrays, becomes Batches. A list
    is a tree; a list of batches must say so, ``Batches(batches)``.

    Raises:
        ValueError: the arrays of a tree differ in their number of examples.
    """
    if isinstance(data, (Arrays, Batches)):
        return data
    is_tree = hasattr(data, "shape") or not jax.tree_util.all_leaves([data])
    if not is_tree and (callable(data) or hasattr(data, "__iter__")):
        return Batches(data)  # pyright: ignore[reportArgumentType]
    return Arrays(data)


def _prefetch(given: Any) -> int:
    """How many batches to have ready."""
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool) and given <= 0:
        if given < 0:
            raise ValueError(f"Batches: prefetch must be at least 0, got {given}")
        return 0
    return positive_integer("Batches: prefetch", given)


def _told(batch: Any) -> tuple[Any, tuple[Any, ...]]:
    leaves, structure = jax.tree.flatten(batch)
    return structure, tuple((str(x.dtype), x.shape) for x in leaves)


def _shown(told: Any) -> str:
    structure, leaves = told
    return str(structure.unflatten([f"{d}{list(s)}" for d, s in leaves])).replace("'", "")


def _is_shorter(told: Any, first: Any) -> bool:
    """Whether two batches differ in this alone, that one has fewer examples."""
    (structure, leaves), (other, of_first) = told, first
    pairs = list(zip(leaves, of_first, strict=False))
    return structure == other and all(
        mine[0] == its[0] and mine[1][:1] < its[1][:1] and mine[1][1:] == its[1][1:]
        for mine, its in pairs
    )
