"""Data of an evaluation: arrays in memory, or batches of an iterable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.core.types import Batch, PyTree
from fnopt.data.arrays import padded_batches, size
from fnopt.data.batches import as_data, brings_order, is_stream
from fnopt.train.errors import DataError
from fnopt.train.kinds import description
from fnopt.train.reading import END, Reader, Reading

Part = tuple[PyTree, jax.Array]
"""Batches, stacked along a new first axis, and the weight of each of their examples."""


class EvaluationArrays:
    """Arrays in memory: all in one part, the last batch filled up with examples of weight 0.

    Args:
        data: a tree of arrays with examples along the first axis.
        batch_size: examples at a time; None for all of them.
    """

    signals: list[Any] | None = None

    def __init__(self, data: PyTree, batch_size: int | None) -> None:
        self.part = padded_batches(data, batch_size)

    def example(self) -> Part:
        """A part with the shapes of all others."""
        return self.part

    def parts(self) -> Iterator[Part]:
        """All parts."""
        yield self.part

    def close(self) -> None:
        """Nothing is open."""


class EvaluationStream(Reading):
    """Batches of an iterable, iterated again in each evaluation; one or more parts a batch.

    A batch with fewer examples than the first is filled up with examples of weight 0, one with more
    is split: all are evaluated by one program.

    Args:
        data: an iterable of batches, or a function that returns one.
        name: name of the data in messages.
    """

    def __init__(self, data: Any, name: str) -> None:
        self.reader = Reader(data, name, any_size=True)
        self.first: Any = None  # the batch read for the example, used in the first evaluation
        self.batch_size = 0

    def example(self) -> Part:
        """A part with the shapes of all others."""
        if self.first is None:
            self.reader.open()
            self.first = self._read()
        return next(self._split(self.first))

    def parts(self) -> Iterator[Part]:
        """All parts, from the first batch on."""
        if self.first is None:
            self.reader.open()
        batch, self.first = self.first or self._read(), None
        while batch is not END:
            yield from self._split(batch)
            batch = self._read()
        self.reader.close()

    def _read(self) -> Any:
        """The next batch and its number of examples, or the end."""
        batch, number = self.reader.read(), self.reader.number
        if batch is END:
            if not number:
                raise DataError(
                    f"{self.reader.name} gave no batch; an iterator can be read once, pass"
                    " a function that returns one",
                    0,
                )
            return END
        try:
            self.batch_size = self.batch_size or size(batch)
            return batch, size(batch)
        except ValueError as error:
            raise DataError(f"batch {number} of {self.reader.name}: {error}", number) from error

    def _split(self, batch_and_size: tuple[Batch, int]) -> Iterator[Part]:
        batch, examples = batch_and_size
        for start in range(0, examples, self.batch_size):
            count = min(self.batch_size, examples - start)
            weights = (np.arange(self.batch_size) < count).astype(np.float32)
            if examples == self.batch_size:
                part = jax.tree.map(lambda x: x[None], batch)
            else:
                rows = start + np.minimum(np.arange(self.batch_size), count - 1)
                part = jax.tree.map(lambda x, rows=rows: np.asarray(x)[rows][None], batch)
            yield jax.device_put(part), jnp.asarray(weights[None])


EvaluationData = EvaluationArrays | EvaluationStream


def evaluation_data(
    data: Any, batch_size: int | None, caller: str = "evaluate", name: str = "the data"
) -> EvaluationData:
    """Data prepared for evaluation, of any kind that a run can be trained on.

    Args:
        data: a tree of arrays, an ``fnopt.data.Arrays``, or batches.
        batch_size: examples at a time, for arrays; None for all of them.
        caller: function named in messages; ``"fit"`` goes through the data more than once.
        name: name of the data in messages.

    Raises:
        TypeError: ``batch_size`` is no integer, or something is no array of numbers.
        ValueError: ``batch_size`` is below 1, or ``fit`` received an iterator.
    """
    in_fit = caller == "fit"
    argument = "eval_batch_size" if in_fit else "batch_size"
    if getattr(batch_size, "shape", ()):
        raise TypeError(
            f"{caller}: {argument} is {description(batch_size)}; data are one argument,"
            " (inputs, targets)"
        )
    if batch_size is not None:
        batch_size = positive_integer(f"{caller}: {argument}", batch_size)
    if not is_stream(data):
        return EvaluationArrays(data.tree if brings_order(data) else data, batch_size)
    if in_fit and as_data(data).is_iterator:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(
            f"fit: {name} is an iterator, which can be read once only, but every evaluation"
            " iterates over the data; pass a function that returns it, or what it iterates over"
        )
    return EvaluationStream(data, name)
