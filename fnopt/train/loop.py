"""The compiled programs of a run: steps over data in memory, one over a batch that comes in.

All end at a step that is not finite, without it: the state is then the last good one.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.data.arrays import epoch_order as order_of
from fnopt.data.arrays import take
from fnopt.train.convolutions import slow_in_loops
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState
from fnopt.train.step import attempt_step

Figures = dict[str, jax.Array]


@per_objective(static_argnums=(6,), donate_argnums=(1,))
def run_steps(
    objective: Objective,
    state: TrainState,
    data: Any,
    order: jax.Array,
    start: int,
    stop: int,
    options: Any = None,
) -> tuple[TrainState, Figures, jax.Array]:
    """Steps ``start`` to ``stop`` of an epoch, ending before one that is not finite.

    A loop with bounds that are arguments, not a scan: one program for every number of steps.

    Returns:
        The state, the figures of every step of the epoch (zero for those not taken here), and
        the step at which the loop ended.
    """

    def step(state: TrainState, at: Any) -> tuple[TrainState, Figures, jax.Array]:
        return one_step(objective, state, batch_of(state, data, order[at]), options)

    def going_on(carry: Any) -> jax.Array:
        _, _, at, finite = carry
        return (at < stop) & finite

    def body(carry: Any) -> Any:
        before, log, at, _ = carry
        state, figures, taken = step(before, at)
        finite = going(state, taken)
        state = uncounted(before, state, finite)
        log = {name: x.at[at].set(figures[name]) for name, x in log.items()}
        return state, log, at + finite.astype(at.dtype), finite

    shapes = jax.eval_shape(step, state, 0)[1]
    log = {name: jnp.zeros(order.shape[:1], x.dtype) for name, x in shapes.items()}
    at = jnp.asarray(start).astype(jnp.int32)
    state, log, at, _ = jax.lax.while_loop(going_on, body, (state, log, at, jnp.bool_(True)))
    return state, log, at


@per_objective(static_argnums=(6,), donate_argnums=(1, 2))
def run_one(
    objective: Objective,
    state: TrainState,
    run: tuple[Figures, jax.Array, jax.Array],
    data: Any,
    order: jax.Array,
    at: int,
    options: Any = None,
) -> tuple[TrainState, tuple[Figures, jax.Array, jax.Array]]:
    """One of the steps of :func:`run_steps`, in a program without a loop.

    Args:
        run: the figures of every step of the epoch, where the steps have got to, and whether all
            were finite: from :func:`begin_run`.
    """
    log, reached, going_on = run
    batch = batch_of(state, data, order[at])
    before = state
    state, figures, taken = one_step(objective, before, batch, options, going_on)
    finite = going(state, taken)
    state = uncounted(before, state, finite)
    log = {name: x.at[at].set(jnp.where(going_on, figures[name], x[at])) for name, x in log.items()}
    going_on = going_on & finite
    return state, (log, reached + going_on.astype(reached.dtype), going_on)


def figures_of(objective: Objective, state: TrainState, batch: Any, options: Any) -> Any:
    """The shapes and dtypes of a step's figures."""
    step = functools.partial(one_step, objective, options=options)
    return jax.eval_shape(step, state, batch)[1]


def begin_run(shapes: Any, steps: int, at: int) -> tuple[Figures, jax.Array, jax.Array]:
    """What :func:`run_one` goes on with at a step of an epoch of so many."""
    log = {name: jnp.zeros(steps, x.dtype) for name, x in shapes.items()}
    return log, jnp.asarray(at, jnp.int32), jnp.bool_(True)


@per_objective(static_argnums=(4,), donate_argnums=(1, 2))
def run_step(
    objective: Objective, state: TrainState, going_on: jax.Array, batch: Any, options: Any = None
) -> tuple[TrainState, jax.Array, Figures, jax.Array]:
    """A step over a batch that has come in, not taken after one that was not finite.

    So that nobody need look at every step's figures before the next one is begun.

    Returns:
        The state, whether to go on, the figures, and whether the step was taken.
    """
    before = state
    state, figures, taken = one_step(objective, before, batch, options, going_on)
    finite = going(state, taken)
    return uncounted(before, state, finite), going_on & finite, figures, taken


def loops_well(objective: Objective, state: TrainState, batch: Any, options: Any) -> bool:
    """Whether a compiled loop of steps is as fast as a program a step."""
    if jax.default_backend() != "cpu":
        return True
    known = _LOOP_WELL.setdefault(objective, {})
    if options not in known:  # tracing takes longer than many a run
        step = functools.partial(one_step, objective, options=options)
        known[options] = not slow_in_loops(jax.make_jaxpr(step)(state, batch))
    return known[options]


_LOOP_WELL: Any = weakref.WeakKeyDictionary()


def one_step(
    objective: Objective, state: TrainState, batch: Any, options: Any, attempt: Any = True
) -> tuple[TrainState, Figures, jax.Array]:
    """The step of a run, with its options if it has any, and whether it was taken."""
    return attempt_step(objective, state, batch, options or StepOptions(), attempt)


def going(state: TrainState, taken: jax.Array) -> jax.Array:
    """Whether a run goes on after a step: it was finite, or there is loss scaling to mend it."""
    if state.scaling is not None:
        return jnp.bool_(True)
    return taken


def uncounted(before: Any, state: Any, finite: jax.Array) -> Any:
    """The state, in which a step that ends the run is not counted: it will be made again."""
    return state.replace(skipped=jnp.where(finite, state.skipped, before.skipped))


def batch_of(state: TrainState, data: Any, indices: jax.Array) -> Any:
    """The examples of these indices; ``fnopt.data.Arrays`` augment them by key and step."""
    if has_order(data):
        return data.batch(state.key, state.step, indices)
    return take(data, indices)


def has_order(data: Any) -> bool:
    """Whether these are data in memory with an order of their own, as ``fnopt.data.Arrays``."""
    return all(hasattr(data, name) for name in ("tree", "order", "batch"))


@functools.partial(jax.jit, static_argnums=(2, 3))
def epoch_order(key: jax.Array, step: Any, examples: int, batch_size: int) -> jax.Array:
    """The order of the epoch that begins at a step, as indices of shape (steps, batch_size)."""
    # By the step at which the epoch begins, so that a run in two parts has the order of one.
    # The stream is its own: a step's key is folded from the same key by the step alone.
    stream = jax.random.fold_in(jax.random.fold_in(key, _ORDER), step)
    return order_of(stream, examples, batch_size)


_ORDER = 2**32 - 1
