"""The compiled programs of a run: many steps over data in memory, one over a batch that comes in.

Both end at a step that is not finite, without it: the state is then the last good one.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.data.arrays import epoch_order as order_of
from fnopt.data.arrays import take
from fnopt.train.objective import Objective
from fnopt.train.state import TrainState
from fnopt.train.step import train_step

Figures = dict[str, jax.Array]


@functools.partial(jax.jit, static_argnums=(0, 6), donate_argnums=1)
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

    def step(state: TrainState, at: Any) -> tuple[TrainState, Figures]:
        return one_step(objective, state, batch_of(state, data, order[at]), options)

    def going_on(carry: Any) -> jax.Array:
        _, _, at, finite = carry
        return (at < stop) & finite

    def body(carry: Any) -> Any:
        before, log, at, _ = carry
        state, figures = step(before, at)
        finite = going(state, figures)
        state = uncounted(before, state, finite)
        log = {name: x.at[at].set(figures[name]) for name, x in log.items()}
        return state, log, at + finite.astype(at.dtype), finite

    shapes = jax.eval_shape(step, state, 0)[1]
    log = {name: jnp.zeros(order.shape[:1], x.dtype) for name, x in shapes.items()}
    at = jnp.asarray(start).astype(jnp.int32)
    state, log, at, _ = jax.lax.while_loop(going_on, body, (state, log, at, jnp.bool_(True)))
    return state, log, at


@functools.partial(jax.jit, static_argnums=(0, 4), donate_argnums=(1, 2))
def run_step(
    objective: Objective, state: TrainState, going_on: jax.Array, batch: Any, options: Any = None
) -> tuple[TrainState, jax.Array, Figures]:
    """A step over a batch that has come in, not taken after one that was not finite.

    So that nobody need look at every step's figures before the next one is begun.

    Returns:
        The state, whether to go on, and the figures: NaN where the step was not tried.
    """
    shapes = jax.eval_shape(functools.partial(one_step, objective, options=options), state, batch)
    idle = {name: jnp.full(x.shape, jnp.nan, x.dtype) for name, x in shapes[1].items()}

    def tried(carry: Any) -> jax.Array:
        return carry[2] & going_on

    def body(carry: Any) -> Any:
        before = carry[0]
        state, figures = one_step(objective, before, batch, options)
        finite = going(state, figures)
        return uncounted(before, state, finite), figures, jnp.bool_(False), finite

    # A loop of one round rather than a branch: it works in place, on the buffers of the state.
    begin = (state, idle, jnp.bool_(True), going_on)
    state, figures, _, going_on = jax.lax.while_loop(tried, body, begin)
    return state, going_on, figures


def one_step(
    objective: Objective, state: TrainState, batch: Any, options: Any
) -> tuple[TrainState, Figures]:
    """The step of a run, with its options if it has any."""
    return train_step(objective, state, batch, *(() if options is None else (options,)))


def going(state: TrainState, figures: Figures) -> jax.Array:
    """Whether a run goes on after a step: it was finite, or there is loss scaling to mend it."""
    if getattr(state, "scaling", None) is not None:
        return jnp.bool_(True)
    return jnp.isfinite(figures["update_norm"])


def uncounted(before: Any, state: Any, finite: jax.Array) -> Any:
    """The state, in which a step that ends the run is not counted: it will be made again."""
    if not hasattr(state, "skipped"):
        return state
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
