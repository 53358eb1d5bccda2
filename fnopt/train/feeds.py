"""Where the batches of a run come from: arrays in memory, or an iterable.

A feed begins an epoch at any step of it and makes some steps at a time. In memory they are made in
one compiled loop. Of an iterable each batch is a call of its own, and the figures are looked at
only now and then.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import positive_integer
from fnopt.data.arrays import check_batch_size, size, take
from fnopt.data.numbers import own
from fnopt.train.errors import DataError
from fnopt.train.loop import (
    batch_of,
    begin_run,
    epoch_order,
    figures_of,
    has_order,
    loops_well,
    run_one,
    run_step,
    run_steps,
)
from fnopt.train.objective import Objective
from fnopt.train.reading import END, Reader, Reading
from fnopt.train.state import TrainState
from fnopt.train.waiting import Interrupted


@dataclasses.dataclass
class Made:
    """Some steps that were made.

    Attributes:
        state: after them.
        figures: of each.
        over: whether the epoch is.
        bad: figures and batch of a step after them that was not finite, and not taken.
        error: what the data raised after them.
    """

    state: TrainState
    figures: dict[str, np.ndarray]
    over: bool
    bad: tuple[dict[str, Any], Any] | None = None
    error: DataError | None = None


class InMemory:
    """Steps over arrays in memory, or over an ``fnopt.data.Arrays``, in one compiled loop.

    On the CPU a model with convolutions is stepped by a program a step, see :func:`loops_well`.

    Args:
        objective: what is minimized.
        data: a tree of arrays, or an ``fnopt.data.Arrays``: what is a pytree with ``tree``,
            ``order(key, step, batch_size)`` and ``batch(key, step, indices)``.
        batch_size: examples a step, None for all.
        options: of the step.
    """

    most = None
    signals: list[Any] | None = None

    def __init__(
        self, objective: Objective, data: Any, batch_size: int | None, options: Any
    ) -> None:
        self.ordered = has_order(data)
        self.objective, self.options = objective, options
        # Copies, however long the run: the arrays stay the caller's, to write into.
        self.data = own(data, "data")
        self.examples = size(self.data.tree if self.ordered else self.data)
        self.batch_size = check_batch_size(batch_size, self.examples)
        self.steps: int | None = self.examples // self.batch_size

    def example(self) -> Any:
        """A batch from which a model's shapes follow."""
        return take(self.data.tree if self.ordered else self.data, jnp.arange(1))

    def compile(self, state: TrainState) -> TrainState:
        """Compiles the loop by making no steps with it."""
        order = jnp.zeros((self.steps or 0, self.batch_size), jnp.int32)
        batch = batch_of(state, self.data, order[0])
        self.looped = loops_well(self.objective, state, batch, self.options)
        if self.looped:
            return self._run(state, order, 0, 0)[0]
        self.shapes = figures_of(self.objective, state, batch, self.options)
        # By a step that is not tried.
        log, at, _ = begin_run(self.shapes, len(order), 0)
        not_tried = log, at, jnp.bool_(False)
        return run_one(self.objective, state, not_tried, self.data, order, 0, self.options)[0]

    def begin(self, state: TrainState, began: int, at: int) -> None:
        """Begins the epoch whose first step was number ``began``, at its step ``at``."""
        if self.ordered:
            self.order = self.data.order(state.key, began, self.batch_size)
        else:
            self.order = epoch_order(state.key, began, self.examples, self.batch_size)

    def make(self, state: TrainState, at: int, stop: int) -> Made:
        """The steps ``at`` to ``stop`` of the epoch; none at its end."""
        stop = min(stop, self.steps or 0)
        state, log, reached = self._run(state, self.order, at, stop)
        figures = {name: np.asarray(x) for name, x in log.items()}
        reached = int(reached)
        made = Made(
            state, {name: x[at:reached] for name, x in figures.items()}, over=reached == self.steps
        )
        if reached < stop:
            batch = batch_of(state, self.data, self.order[reached])
            made.bad = {name: x[reached] for name, x in figures.items()}, batch
        return made

    def close(self) -> None:
        """Nothing is open."""

    def _run(self, state: TrainState, order: Any, at: int, stop: int) -> Any:
        if self.looped:
            return run_steps(self.objective, state, self.data, order, at, stop, self.options)
        run = begin_run(self.shapes, len(order), at)
        for i in range(at, stop):
            state, run = run_one(self.objective, state, run, self.data, order, i, self.options)
        return state, *run[:2]


class Streamed(Reading):
    """Steps over the batches of an iterable, which is gone through again in each epoch.

    One batch is asked for ahead, so that the end of an epoch is known when its last step is made.
    To begin in the middle of an epoch, the batches before are taken from it and dropped. A signal
    ends the waiting for a batch: no more steps are made then.

    Args:
        objective: what is minimized.
        data: an iterable of batches, or a function that gives one.
        options: of the step.
    """

    most = 16  # the batches since the last look are kept, to say in which one a NaN began

    def __init__(self, objective: Objective, data: Any, options: Any) -> None:
        self.objective, self.options = objective, options
        self.steps: int | None = _length(data)
        self.reader = Reader(data)
        self.ahead: Any = None  # the next batch, the end, or the error in its place

    def example(self) -> Any:
        """The first batch; it is kept for the first epoch."""
        if self.ahead is None:
            self._open()
        if self.ahead is END:
            raise DataError("the data has no batch", 0)
        return self._next()

    def compile(self, state: TrainState) -> TrainState:
        """Compiles the step by not making it."""
        not_going_on = jnp.bool_(False)
        try:
            batch = self.example()
        except Interrupted:
            return state
        return run_step(self.objective, state, not_going_on, batch, self.options)[0]

    def begin(self, state: TrainState, began: int, at: int) -> None:
        """Begins an epoch at its step ``at``."""
        try:
            if self.ahead is None or self.reader.number:
                self._open()
            while (number := self.reader.number) < at:
                if self.ahead is END:
                    told = f"the data ended at batch {number}; there were {at} of it before"
                    raise DataError(told, number)
                self._next()
                self._look_ahead()
        except Interrupted:
            return

    def make(self, state: TrainState, at: int, stop: int) -> Made:
        """The steps ``at`` to ``stop`` of the epoch, or as many as there are."""
        going_on, kept, logs, flags, error = jnp.bool_(True), [], [], [], None
        try:
            while self.reader.number < stop and self.ahead is not END:
                batch = self._next()
                state, going_on, figures, taken = run_step(
                    self.objective, state, going_on, batch, self.options
                )
                kept.append(batch)
                logs.append(figures)
                flags.append(taken)
                self._look_ahead()
        except DataError as raised:
            error = raised
        except Interrupted:
            pass
        names = logs[0] if logs else {}
        figures = {name: np.stack([np.asarray(log[name]) for log in logs]) for name in names}
        made = Made(state, figures, over=self.ahead is END, error=error)
        if not bool(going_on):
            reached = int(np.argmin(np.stack([np.asarray(flag) for flag in flags])))
            made.bad = {name: x[reached] for name, x in figures.items()}, kept[reached]
            made.figures = {name: x[:reached] for name, x in figures.items()}
        return made

    def _open(self) -> None:
        self.ahead = None
        try:
            self.reader.open()
        except DataError as error:
            self.reader.number, self.ahead = 0, error
        else:
            self._look_ahead()

    def _look_ahead(self) -> None:
        self.ahead = None
        try:
            self.ahead = self.reader.read()
        except DataError as error:
            self.ahead = error

    def _next(self) -> Any:
        """The batch that was looked at; raises the error in its place."""
        if isinstance(self.ahead, DataError):
            raise self.ahead
        return self.ahead


def _length(data: Any) -> int | None:
    """The number of batches; None where it is not known."""
    try:
        return operator.index(len(data))
    except Exception:  # a loader of a stream may have a length that raises
        return None


def feed_of(
    objective: Objective, data: Any, batch_size: int | None, options: Any
) -> InMemory | Streamed:
    """The feed that data needs: arrays in memory are a tree of arrays, all else is iterated."""
    if has_order(data) or not is_stream(data):
        return InMemory(objective, data, batch_size, options)
    if batch_size is not None:
        positive_integer("batch_size", batch_size)
    return Streamed(objective, data, options)


def is_stream(data: Any) -> bool:
    """Whether data come in batches: what is no array, nor a tree of them, and can be iterated."""
    opaque = jax.tree_util.all_leaves([data]) and not hasattr(data, "shape")
    return opaque and (callable(data) or isinstance(data, Iterable))


Feed = InMemory | Streamed


def data_of(feed: Feed) -> dict[str, int] | None:
    """Number of examples and batch size of data in memory, None of a stream."""
    if isinstance(feed, Streamed):
        return None
    return {"examples": feed.examples, "batch_size": feed.batch_size}
