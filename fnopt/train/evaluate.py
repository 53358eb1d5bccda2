"""Evaluation: the mean of every figure over all examples, without dropout."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.train.evaluation_data import EvaluationArrays, EvaluationData, evaluation_data
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

    No example is dropped: a last batch that is shorter is filled up with examples of weight 0, so
    that there is one program for all batches.

    Args:
        objective: what is minimized.
        state: of the run; its parameters and model state are used.
        data: a tree of arrays with examples along the first axis; an ``fnopt.data.Arrays``; or
            batches, as :func:`~fnopt.train.fit` takes them: a loader or another iterable, an
            ``fnopt.data.Batches``, or a function that returns one.
        batch_size: examples at a time; all of them if None. Of no meaning for batches.
        precision: that of the run, if it has one.

    Raises:
        TypeError: there is something in the data that is no array of numbers, or the batch size is
            no integer.
        ValueError: the loss gives one number for a whole batch where there are several.
        DataError: batches raised, are none, or are not like the first.
    """
    batches = evaluation_data(data, batch_size)
    with contextlib.closing(batches):
        given = state.eval_params, state.model_state
        return means_over(objective, *given, batches, Precision.named(precision))


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
            stopping_state, figure, evaluations, (state.eval_params, state.model_state)
        )
    return state.replace(
        metric=jnp.asarray(figure).astype(state.metric.dtype),
        evaluations=evaluations,
        stopping_state=stopping_state,
    )


def means_over(
    objective: Objective,
    params: Any,
    model_state: Any,
    data: EvaluationData,
    precision: Precision | None = None,
) -> dict[str, jax.Array]:
    """The means over all parts of what is evaluated."""
    given = objective, params, model_state
    if isinstance(data, EvaluationArrays):
        return evaluate_batches(*given, *data.part, precision)
    means, shares = [], []
    for batches, weights in data.parts():
        means.append(evaluate_batches(*given, batches, weights, precision))
        shares.append(_weight(objective, batches, weights))
        if len(means) % _AT_ONCE == 0:
            jax.block_until_ready(means[-1])
    shares = np.asarray(shares, np.float64)

    def mean(*parts: jax.Array) -> jax.Array:
        figures = np.where(shares > 0, np.asarray(parts, np.float64), 0)  # else they have no mean
        with np.errstate(invalid="ignore"):
            return jnp.asarray(np.sum(figures * shares) / np.sum(shares), parts[0].dtype)

    return jax.tree.map(mean, *means)


_AT_ONCE = 16
"""Batches of an iterable that are in use at a time, at most."""


def _weight(objective: Objective, batches: Any, weights: jax.Array) -> jax.Array:
    """The sum of the weights of the examples of a part, which is one batch."""
    own = objective.example_weights(jax.tree.map(lambda x: x[0], batches))
    if own is None:
        return jnp.sum(weights)
    return jnp.sum(jnp.where(weights[0] > 0, own.astype(weights.dtype), 0))


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
