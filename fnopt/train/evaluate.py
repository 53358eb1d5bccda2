"""Evaluation: the mean of every figure over all examples, without dropout."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.data.arrays import check_batch_size, padded_batches, size
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision, forward
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState


def evaluate(
    objective: Objective,
    state: TrainState,
    data: Any,
    batch_size: int | None = None,
    *,
    precision: Any = None,
) -> dict[str, jax.Array]:
    """The means of loss and metrics over all examples, by their weights; changes nothing.

    No example is dropped: the last batch is filled up with examples of weight 0, so that there is
    one program for all batches.

    Args:
        objective: what is minimized.
        state: of the run; its parameters and model state are used.
        data: a tree of arrays with examples along the first axis.
        batch_size: examples at a time; all of them if None.
        precision: that of the run, if it has one.

    Raises:
        ValueError: the loss gives one number for a whole batch where there are several.
    """
    batches, weights = batches_of(data, batch_size)
    given = state.params, state.model_state, batches, weights
    return evaluate_batches(objective, *given, Precision.named(precision))


@functools.partial(jax.jit, donate_argnums=0)
def observed(state: TrainState, figure: Any) -> TrainState:
    """:func:`observe`, compiled; it takes over the buffers of the state."""
    return observe(state, figure)


def observe(state: TrainState, figure: Any) -> TrainState:
    """The state once an evaluation's figure is known to it.

    The optimizer is told of it at its next update, early stopping decides at once. Pure: it goes
    inside ``jit``, and under ``vmap`` with a stack of runs.

    Args:
        state: of the run.
        figure: what is watched, a number.
    """
    evaluations = state.evaluations + 1
    stopping_state = state.stopping_state
    if state.stopping is not None:
        stopping_state = state.stopping.update(
            stopping_state, figure, evaluations, (state.params, state.model_state)
        )
    return state.replace(
        metric=jnp.asarray(figure).astype(state.metric.dtype),
        evaluations=evaluations,
        stopping_state=stopping_state,
    )


def batches_of(data: Any, batch_size: int | None) -> tuple[Any, jax.Array]:
    """The batches and weights of an evaluation; no more examples at a time than there are."""
    examples = size(data)
    return padded_batches(
        data, check_batch_size(batch_size and min(batch_size, examples), examples)
    )


@per_objective(static_argnums=(5,))
def evaluate_batches(
    objective: Objective,
    params: Any,
    model_state: Any,
    batches: Any,
    weights: jax.Array,
    precision: Precision | None = None,
) -> dict[str, jax.Array]:
    def figures(batch: Any) -> dict[str, jax.Array]:
        outputs, _ = forward(
            objective, precision, params, model_state, batch, key=None, train=False
        )
        return {"loss": objective.losses(outputs, batch), **objective.metrics(outputs, batch)}

    def add(carry: Any, batch_and_weights: Any) -> tuple[Any, None]:
        total, of_all = carry
        batch, weight = batch_and_weights
        own = objective.example_weights(batch)
        if own is not None:  # what fills up has none, whatever it is a copy of
            weight = jnp.where(weight > 0, own.astype(weight.dtype), 0)
        of_batch = {k: _weighted_sum(k, v, weight) for k, v in figures(batch).items()}
        return (jax.tree.map(jnp.add, total, of_batch), of_all + jnp.sum(weight)), None

    first = jax.tree.map(lambda x: x[0], batches)
    zeros = {name: jnp.zeros((), x.dtype) for name, x in jax.eval_shape(figures, first).items()}
    begin = zeros, jnp.zeros((), weights.dtype)
    (total, of_all), _ = jax.lax.scan(add, begin, (batches, weights))
    return {name: x / of_all.astype(x.dtype) for name, x in total.items()}


def _weighted_sum(name: str, figure: jax.Array, weight: jax.Array) -> jax.Array:
    if figure.shape != weight.shape:
        raise ValueError(
            f"evaluation weighs examples, so {name!r} must be one number for each of a batch of"
            f" {weight.size}; it has shape {figure.shape}. Return the losses without their mean."
        )
    # A filled-up example's figure may be anything, not a number even.
    weighed = weight.astype(figure.dtype) * figure
    return jnp.sum(jnp.where(weight > 0, weighed, jnp.zeros_like(figure)))
