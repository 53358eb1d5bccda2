"""The compiled programs of a run: steps over data in memory, one step over a streamed batch.

They stop before a step that is not finite, and the state is the last good one. Under dynamic loss
scaling such a step is skipped instead.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.types import Batch, Metrics
from fnopt.data.arrays import Arrays
from fnopt.train.convolutions import slow_in_loops
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState
from fnopt.train.step import attempt_step

_DEFAULT = StepOptions()


class EpochLog(NamedTuple):
    """The reports of the steps of an epoch.

    Attributes:
        rows: by the names of metrics of one dtype, an array with a row for each step; 0 for steps
            not reached. A step writes a row at once, not every metric by itself.
        taken: whether each step was taken.
        reached: number of the step at which the steps ended.
        continues: whether all steps were finite, so that more may follow.
    """

    rows: dict[tuple[str, ...], jax.Array]
    taken: jax.Array
    reached: jax.Array
    continues: jax.Array

    @property
    def metrics(self) -> Metrics:
        """An array for each metric, one value per step; 0 for steps not reached."""
        columns = {name: x[:, i] for names, x in self.rows.items() for i, name in enumerate(names)}
        return dict(sorted(columns.items()))


@per_objective(static_argnums=(6,), donate_argnums=(1,))
def run_steps(
    objective: Objective,
    state: TrainState,
    data: Arrays,
    order: jax.Array,
    start: int,
    stop: int,
    options: StepOptions = _DEFAULT,
) -> tuple[TrainState, EpochLog]:
    """Makes the steps ``start`` to ``stop`` of an epoch, ending before one that is not finite.

    A loop with bounds that are arguments, not a scan: one program for every number of steps.

    Args:
        objective: the objective to minimize.
        state: before the steps; its buffers are taken over.
        data: the examples.
        order: examples of each step of the epoch, of shape (steps, batch size).
        start: number of the first step in the epoch.
        stop: number of the step after the last.
        options: options of the step.
    """

    def step(state: TrainState, at: Any) -> tuple[TrainState, Metrics, jax.Array]:
        batch = data.batch(state.key, state.step, order[at])
        return attempt_step(objective, state, batch, options)

    def continues(carry: tuple[TrainState, EpochLog]) -> jax.Array:
        log = carry[1]
        return (log.reached < stop) & log.continues

    def body(carry: tuple[TrainState, EpochLog]) -> tuple[TrainState, EpochLog]:
        before, log = carry
        at = log.reached
        state, metrics, taken = step(before, at)
        more = _continues(state, taken)
        log = EpochLog(
            {names: x.at[at].set(_row(metrics, names)) for names, x in log.rows.items()},
            log.taken.at[at].set(taken),
            at + more.astype(at.dtype),
            more,
        )
        return without_last_skip(before, state, more), log

    log = _empty(jax.eval_shape(step, state, 0)[1], order.shape[0], start)
    return jax.lax.while_loop(continues, body, (state, log))


@per_objective(static_argnums=(6,), donate_argnums=(1, 2))
def run_single_step(
    objective: Objective,
    state: TrainState,
    log: EpochLog,
    data: Arrays,
    order: jax.Array,
    at: int,
    options: StepOptions = _DEFAULT,
) -> tuple[TrainState, EpochLog]:
    """Makes one of the steps of :func:`run_steps`, in a program without a loop.

    Args:
        objective: the objective to minimize.
        state: before the step; its buffers are taken over.
        log: the log of the steps before; the step is not attempted if one was not finite.
        data: the examples.
        order: examples of each step of the epoch, of shape (steps, batch size).
        at: number of the step in the epoch.
        options: options of the step.
    """
    batch = data.batch(state.key, state.step, order[at])
    before = state
    state, metrics, taken = attempt_step(objective, before, batch, options, log.continues)
    more = _continues(state, taken)
    rows = {
        names: x.at[at].set(jnp.where(log.continues, _row(metrics, names), x[at]))
        for names, x in log.rows.items()
    }
    goes_on = log.continues & more
    log = EpochLog(
        rows,
        log.taken.at[at].set(taken),
        log.reached + goes_on.astype(log.reached.dtype),
        goes_on,
    )
    return without_last_skip(before, state, more), log


@per_objective(static_argnums=(4,), donate_argnums=(1, 2))
def run_stream_step(
    objective: Objective,
    state: TrainState,
    continues: jax.Array,
    batch: Batch,
    options: StepOptions = _DEFAULT,
) -> tuple[TrainState, jax.Array, jax.Array, Metrics]:
    """One step over a streamed batch, unless a step before was not finite.

    So the next step can start before the metrics of this one are read.

    Args:
        objective: the objective to minimize.
        state: before the step; its buffers are taken over.
        continues: whether to attempt the step.
        batch: the examples.
        options: options of the step.

    Returns:
        The state, whether to continue, whether the step was taken, and its metrics.
    """
    before = state
    state, metrics, taken = attempt_step(objective, before, batch, options, continues)
    more = _continues(state, taken)
    return without_last_skip(before, state, more), continues & more, taken, metrics


def epoch_log(
    objective: Objective, state: TrainState, batch: Batch, options: StepOptions, steps: int
) -> EpochLog:
    """The shapes and dtypes of the log of an epoch.

    Args:
        objective: the objective to minimize.
        state: the train state.
        batch: a batch of the run.
        options: options of the step.
        steps: steps of an epoch.
    """
    step = functools.partial(attempt_step, objective, options=options)
    metrics = jax.eval_shape(step, state, batch)[1]
    return jax.eval_shape(lambda: _empty(metrics, steps, 0))


def fast_in_loops(
    objective: Objective, state: TrainState, batch: Batch, options: StepOptions
) -> bool:
    """Whether a compiled loop of steps is as fast as a program for each step.

    Args:
        objective: the objective to minimize.
        state: the train state.
        batch: a batch of the run.
        options: options of the step.
    """
    if jax.default_backend() != "cpu":
        return True
    known = _FAST_IN_LOOPS.setdefault(objective, {})
    if options not in known:  # tracing takes longer than many a run
        step = functools.partial(attempt_step, objective, options=options)
        known[options] = not slow_in_loops(jax.make_jaxpr(step)(state, batch))
    return known[options]


_FAST_IN_LOOPS: Any = weakref.WeakKeyDictionary()


def without_last_skip(before: TrainState, state: TrainState, more: jax.Array) -> TrainState:
    """The state in which a step that ends the run is not counted as skipped: it is repeated.

    Args:
        before: the state before the step.
        state: the state after it.
        more: whether the run continues after the step.
    """
    return state.replace(skipped=jnp.where(more, state.skipped, before.skipped))


def _continues(state: TrainState, taken: jax.Array) -> jax.Array:
    """Whether a run continues after a step: it was taken, or loss scaling will correct itself."""
    return jnp.bool_(True) if state.scaling is not None else taken


def _empty(metrics: Any, steps: int, start: Any) -> EpochLog:
    """The log before any step, for metrics of these dtypes."""
    alike: dict[Any, list[str]] = {}
    for name in sorted(metrics):
        alike.setdefault(metrics[name].dtype, []).append(name)
    return EpochLog(
        {tuple(names): jnp.zeros((steps, len(names)), dtype) for dtype, names in alike.items()},
        jnp.zeros(steps, jnp.bool_),
        jnp.asarray(start).astype(jnp.int32),
        jnp.bool_(True),
    )


def _row(metrics: Metrics, names: tuple[str, ...]) -> jax.Array:
    return jnp.stack([metrics[name] for name in names])
