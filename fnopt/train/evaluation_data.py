"""What is evaluated: arrays in memory, or batches that come from an iterable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.data.arrays import padded_batches, size
from fnopt.data.batches import Batches
from fnopt.train.errors import DataError
from fnopt.train.feeds import is_stream
from fnopt.train.reading import END, Reader, Reading

Part = tuple[Any, jax.Array]
"""Batches, one after the other along the first axis, and the weight of each of their examples."""


class EvaluationArrays:
    """Arrays in memory: all in one part, the last batch filled up with examples of weight 0.

    Args:
        data: a tree of arrays with examples along the first axis.
        batch_size: examples at a time, all of them if None.
    """

    signals: list[Any] | None = None

    def __init__(self, data: Any, batch_size: int | None) -> None:
        self.part = padded_batches(data, batch_size)

    def example(self) -> Part:
        """A part from which shapes follow."""
        return self.part

    def parts(self) -> Iterator[Part]:
        """All parts."""
        yield self.part

    def close(self) -> None:
        """Nothing is open."""


class EvaluationStream(Reading):
    """Batches of an iterable, gone through again in each evaluation; a part each.

    A batch of fewer examples than the first, as the last one may be, is filled up with examples of
    weight 0, one of more is split: there is one program for all.

    Args:
        data: an iterable of batches, or a function that returns one.
        name: of the data, for messages.
    """

    def __init__(self, data: Any, name: str) -> None:
        self.reader = Reader(data, name, shorter=True)
        self.first: Any = None  # the batch that the example was made of, kept for the first pass
        self.batch_size = 0

    def example(self) -> Part:
        """A part from which shapes follow."""
        if self.first is None:
            self.reader.open()
            self.first = self._read()
        return next(self._split(self.first))

    def parts(self) -> Iterator[Part]:
        """All parts, of an iterator of their own."""
        if self.first is None:
            self.reader.open()
        batch, self.first = self.first or self._read(), None
        while batch is not END:
            yield from self._split(batch)
            batch = self._read()
        self.reader.close()

    def _read(self) -> Any:
        """The next batch or the end, and the number of examples in the batch."""
        batch, number = self.reader.read(), self.reader.number
        if batch is END:
            if not number:
                raise DataError(
                    f"{self.reader.name} gave no batch; an iterator can be gone through once, give"
                    " a function that makes one",
                    0,
                )
            return END
        try:
            self.batch_size = self.batch_size or size(batch)
            return batch, size(batch)
        except ValueError as error:
            raise DataError(f"batch {number} of {self.reader.name}: {error}", number) from error

    def _split(self, batch_and_size: Any) -> Iterator[Part]:
        batch, examples = batch_and_size
        for start in range(0, examples, self.batch_size):
            count = min(self.batch_size, examples - start)
            weights = (np.arange(self.batch_size) < count).astype(np.float32)
            if examples == self.batch_size:
                part = jax.tree.map(lambda x: x[None], batch)
            else:
                places = start + np.minimum(np.arange(self.batch_size), count - 1)
                part = jax.tree.map(lambda x, at=places: np.asarray(x)[at][None], batch)
            yield jax.device_put(part), jnp.asarray(weights[None])


EvaluationData = EvaluationArrays | EvaluationStream


def evaluation_data(data: Any, batch_size: int | None, caller: str = "evaluate") -> EvaluationData:
    """What is evaluated, of any kind of data that can be trained on.

    Args:
        data: a tree of arrays, an ``fnopt.data.Arrays``, or batches.
        batch_size: examples at a time, of arrays.
        caller: ``"fit"`` goes through the data again and again.

    Raises:
        TypeError: ``batch_size`` is no integer, or something is no array of numbers.
        ValueError: ``batch_size`` is below 1, or an iterator is to be gone through again and again.
    """
    again = caller == "fit"
    name, argument = ("test_data", "eval_batch_size") if again else ("the data", "batch_size")
    if batch_size is not None:
        batch_size = positive_integer(f"{caller}: {argument}", batch_size)
    data = data.tree if hasattr(data, "tree") else data
    if not is_stream(data):
        return EvaluationArrays(data, batch_size)
    source = data.iterable if isinstance(data, Batches) else data
    if again and hasattr(source, "__next__"):
        raise ValueError(
            "fit: test_data is an iterator, which can be gone through once, but every evaluation"
            " goes through it again; give a function that makes it, or what it iterates over"
        )
    return EvaluationStream(data, name)
