"""Makes the steps of a run over its data: arrays in memory, or batches of an iterable.

A feed begins an epoch at any of its steps and makes several steps at a time. Over arrays in memory
they run in one compiled loop. Over an iterable each batch is a separate call, and the metrics are
read only every few steps.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.core.types import Batch
from fnopt.data.arrays import check_batch_size, size, take
from fnopt.data.batches import as_data, is_stream
from fnopt.train.errors import DataError
from fnopt.train.loop import (
    EpochLog,
    epoch_log,
    fast_in_loops,
    run_single_step,
    run_steps,
    run_stream_step,
)
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.reading import END, Reader, Reading
from fnopt.train.state import TrainState
from fnopt.train.waiting import Interrupted


@dataclasses.dataclass
class StepsResult:
    """The result of some steps.

    Attributes:
        state: the state after them.
        metrics: an array for each metric, one value per step.
        taken: whether each step was taken; False for one skipped under loss scaling.
        epoch_over: whether they end the epoch.
        nonfinite: metrics and batch of the step after them, which was not finite and is not
            counted; None if there was none.
        error: error that the data raised after them; None if there is none.
    """

    state: TrainState
    metrics: dict[str, np.ndarray]
    taken: np.ndarray
    epoch_over: bool
    nonfinite: tuple[dict[str, Any], Batch] | None = None
    error: DataError | None = None

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.taken)


class ArrayFeed:
    """Steps over data in memory, in one compiled loop.

    On a CPU a model with convolutions is stepped by a program for each step, see
    :func:`~fnopt.train.loop.fast_in_loops`.

    Args:
        objective: the objective to minimize.
        data: a tree of arrays with examples along the first axis, or an ``fnopt.data.Arrays``.
        batch_size: number of examples per step; None for all.
        options: options of the step.

    Attributes:
        most: upper bound of steps a call; None for no bound.
        steps: steps of an epoch.
    """

    most = None
    signals: list[Any] | None = None

    def __init__(
        self, objective: Objective, data: Any, batch_size: int | None, options: StepOptions
    ) -> None:
        self.objective, self.options = objective, options
        # Copies, however long the run: the arrays stay the caller's, to write into.
        arrays: Any = as_data(data, copy=True)
        self.data, self.examples = arrays, size(arrays.tree)
        self.batch_size = check_batch_size(batch_size, self.examples)
        self.steps: int | None = self.examples // self.batch_size

    def example(self) -> Batch:
        """A batch from which a model's shapes follow."""
        return take(self.data.tree, jnp.arange(1))

    def compile(self, state: TrainState) -> TrainState:
        """Compiles the loop by making no steps with it."""
        order = jnp.zeros((self.steps or 0, self.batch_size), jnp.int32)
        batch = self.data.batch(state.key, state.step, order[0])
        self.in_loop = fast_in_loops(self.objective, state, batch, self.options)
        if self.in_loop:
            return self._run(state, order, 0, 0)[0]
        self.log = epoch_log(self.objective, state, batch, self.options, len(order))
        # By a step that is not attempted.
        log = self._empty_log(0)._replace(continues=jnp.bool_(False))
        return run_single_step(self.objective, state, log, self.data, order, 0, self.options)[0]

    def begin(self, state: TrainState, epoch_start: int, epoch_step: int) -> None:
        """Begins an epoch.

        Args:
            state: the train state, which has the run's key.
            epoch_start: number of the epoch's first step.
            epoch_step: steps of the epoch done before.
        """
        self.order = self.data.order(state.key, epoch_start, self.batch_size)

    def make(self, state: TrainState, at: int, stop: int) -> StepsResult:
        """Makes the steps ``at`` to ``stop`` of the epoch; none at its end."""
        stop = min(stop, self.steps or 0)
        state, log = self._run(state, self.order, at, stop)
        log = jax.device_get(log)  # all at once: each copy by itself would wait for the one before
        metrics, taken, reached = log.metrics, log.taken, int(log.reached)
        result = StepsResult(
            state,
            {name: x[at:reached] for name, x in metrics.items()},
            taken[at:reached],
            epoch_over=reached == self.steps,
        )
        if reached < stop:
            batch = self.data.batch(state.key, state.step, self.order[reached])
            result.nonfinite = {name: x[reached] for name, x in metrics.items()}, batch
        return result

    def close(self) -> None:
        """Nothing is open."""

    def _empty_log(self, at: int) -> EpochLog:
        log = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.log)
        return log._replace(reached=jnp.asarray(at, jnp.int32), continues=jnp.bool_(True))

    def _run(
        self, state: TrainState, order: jax.Array, at: int, stop: int
    ) -> tuple[TrainState, EpochLog]:
        if self.in_loop:
            return run_steps(self.objective, state, self.data, order, at, stop, self.options)
        log = self._empty_log(at)
        for i in range(at, stop):
            state, log = run_single_step(
                self.objective, state, log, self.data, order, i, self.options
            )
        return state, log


class StreamFeed(Reading):
    """Steps over the batches of an iterable, which is iterated again in each epoch.

    One batch is read ahead, so that the end of an epoch is known at its last step. To
    begin in the middle of an epoch, the batches before are read and dropped. A signal ends the
    waiting for a batch: no further steps run then.

    Args:
        objective: the objective to minimize.
        data: an iterable of batches, or a function that returns one.
        options: options of the step.

    Attributes:
        most: upper bound of steps a call.
        steps: steps of an epoch; None if the iterable does not say.
    """

    most = 16  # the batches since the last look are held, to say in which one a NaN began

    def __init__(self, objective: Objective, data: Any, options: StepOptions) -> None:
        self.objective, self.options = objective, options
        self.steps: int | None = _length(data)
        self.reader = Reader(data)
        self.ahead: Any = None  # the next batch, the end, or the error raised instead of a batch

    def example(self) -> Batch:
        """The first batch; it is used again in the first epoch."""
        if self.ahead is None:
            self._open()
        if self.ahead is END:
            raise DataError("the data has no batch", 0)
        return self._next()

    def compile(self, state: TrainState) -> TrainState:
        """Compiles the step by not making it."""
        try:
            batch = self.example()
        except Interrupted:
            return state
        return run_stream_step(self.objective, state, jnp.bool_(False), batch, self.options)[0]

    def begin(self, state: TrainState, epoch_start: int, epoch_step: int) -> None:
        """Begins an epoch.

        Args:
            state: not needed here.
            epoch_start: not needed here.
            epoch_step: steps of the epoch done before.
        """
        try:
            # The batch that was read to compile belongs to the first epoch.
            if self.ahead is None or self.reader.number:
                self._open()
            while (number := self.reader.number) < epoch_step:
                if self.ahead is END:
                    message = f"the data ended at batch {number}; it had {epoch_step} before"
                    raise DataError(message, number)
                self._next()
                self._look_ahead()
        except Interrupted:
            return

    def make(self, state: TrainState, at: int, stop: int) -> StepsResult:
        """Makes the steps ``at`` to ``stop`` of the epoch, or as many as there are."""
        continues, batches, logs, error = jnp.bool_(True), [], [], None
        try:
            while self.reader.number < stop and self.ahead is not END:
                batch = self._next()
                state, continues, taken, metrics = run_stream_step(
                    self.objective, state, continues, batch, self.options
                )
                batches.append(batch)
                logs.append((taken, metrics))
                self._look_ahead()
        except DataError as raised:
            error = raised
        except Interrupted:
            pass
        names = logs[0][1] if logs else {}
        metrics = {name: np.stack([np.asarray(log[name]) for _, log in logs]) for name in names}
        taken = np.array([taken for taken, _ in logs], np.bool_)
        result = StepsResult(state, metrics, taken, epoch_over=self.ahead is END, error=error)
        if not bool(continues):
            reached = int(np.argmin(taken))
            result.nonfinite = {name: x[reached] for name, x in metrics.items()}, batches[reached]
            result.metrics = {name: x[:reached] for name, x in metrics.items()}
            result.taken = taken[:reached]
        return result

    def _open(self) -> None:
        self.ahead = None
        self.reader.open()
        self._look_ahead()

    def _look_ahead(self) -> None:
        self.ahead = None
        try:
            self.ahead = self.reader.read()
        except DataError as error:
            self.ahead = error

    def _next(self) -> Batch:
        """The batch read ahead; raises the error that came instead of it."""
        if isinstance(self.ahead, DataError):
            raise self.ahead
        return self.ahead


Feed = ArrayFeed | StreamFeed


def feed_of(objective: Objective, data: Any, batch_size: int | None, options: StepOptions) -> Feed:
    """The feed for some data: arrays in memory are a tree of arrays, all else is iterated.

    Args:
        objective: the objective to minimize.
        data: the training data, as of :func:`~fnopt.train.fit`.
        batch_size: number of examples per step, for arrays in memory; None for all.
        options: options of the step.
    """
    if not is_stream(data):
        return ArrayFeed(objective, data, batch_size, options)
    if batch_size is not None:
        positive_integer("batch_size", batch_size)
    return StreamFeed(objective, data, options)


def size_of(feed: Feed) -> dict[str, int] | None:
    """Number of examples and batch size of data in memory, by name; None for a stream."""
    if isinstance(feed, StreamFeed):
        return None
    return {"examples": feed.examples, "batch_size": feed.batch_size}


def _length(data: Any) -> int | None:
    """The number of batches; None where it is not known."""
    try:
        return operator.index(len(data))
    except Exception:  # a loader of a stream may have a length that raises
        return None
