"""Evaluation: the mean of the loss and of each metric over all examples, without dropout."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.entry import entry
from fnopt.core.types import Batch, Metrics, ModelState, Numeric, Params, PyTree
from fnopt.train.arguments import check_objective, check_state
from fnopt.train.data_argument import check_data
from fnopt.train.evaluation_data import EvaluationArrays, EvaluationData, evaluation_data
from fnopt.train.labels import check_labels
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision, forward
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState

_USAGE = "evaluate(objective, state, data)"


@entry(f"{_USAGE}, where data are one argument, (inputs, targets)")
def evaluate(
    objective: Objective,
    state: TrainState,
    data: Any,
    batch_size: int | None = None,
    *,
    precision: Any = None,
) -> Metrics:
    """The means of loss and metrics over all examples, by their weights; changes nothing.

    No example is dropped: a last batch that is shorter is filled up with examples of weight 0, so
    that there is one program for all batches.

    Args:
        objective: the objective to minimize.
        state: a train state; its model state and the parameters that its method asks for are
            evaluated, see :attr:`TrainState.eval_params`.
        data: a tree of arrays with examples along the first axis; an ``fnopt.data.Arrays``; or
            batches, as :func:`~fnopt.train.fit` takes them: a loader or another iterable, an
            ``fnopt.data.Batches``, or a function that returns one.
        batch_size: examples at a time; all of them if None. Ignored for batches.
        precision: the precision of the run, if it has one; None leaves dtypes alone.

    Returns:
        The mean loss under ``"loss"``, and that of each metric under its name.

    Raises:
        TypeError: there is something in the data that is no array of numbers, or the batch size is
            no integer.
        ValueError: the loss gives one number for a whole batch where there are several.
        DataError: batches raised, are none, or are not like the first.
    """
    check_objective(_USAGE, objective)
    check_state(_USAGE, state)
    check_data(_USAGE, data)
    batches = evaluation_data(data, batch_size)
    with contextlib.closing(batches):
        check_evaluation_labels(objective, state, batches, Precision.named(precision))
        evaluated = state.stored_eval_params, state.stored.model_state
        return means_over(objective, *evaluated, batches, Precision.named(precision))


def check_evaluation_labels(
    objective: Objective,
    state: TrainState,
    data: EvaluationData,
    precision: Precision | None = None,
    name: str = "the data",
) -> None:
    """Refuses labels that no output belongs to, of all arrays in memory or of a first batch.

    Args:
        objective: the objective to minimize.
        state: a train state.
        data: the examples to evaluate.
        precision: precision of the forward pass.
        name: name of the data in messages.

    Raises:
        ValueError: there are such labels.
    """
    batches, weights = data.example()
    check_labels(
        objective, state, batches, name=name, train=False, precision=precision,
        batch_size=weights.shape[1], weights=weights,
    )  # fmt: skip


@functools.partial(jax.jit, donate_argnums=0)
def observed(state: TrainState, metric: Numeric) -> TrainState:
    """:func:`observe`, compiled; it takes over the buffers of the state."""
    return observe(state, metric)


def observe(state: TrainState, metric: Numeric) -> TrainState:
    """The state after an evaluation, whose watched metric becomes part of it.

    The optimizer receives it at its next update, early stopping decides at once. Pure: it goes
    inside ``jit``, and under ``vmap`` with a stack of runs.

    Args:
        state: the state that was evaluated.
        metric: the watched metric, a number.
    """
    evaluations = state.evaluations + 1
    stored = state.stored
    stopping_state = stored.stopping_state
    if state.stopping is not None:
        model = state.stored_eval_params, stored.model_state
        stopping_state = state.stopping.update(stopping_state, metric, evaluations, model)
    return state.replace(
        metric=jnp.asarray(metric).astype(state.metric.dtype),
        evaluations=evaluations,
        stopping_state=stopping_state,
    )


def means_over(
    objective: Objective,
    params: Params,
    model_state: ModelState,
    data: EvaluationData,
    precision: Precision | None = None,
) -> Metrics:
    """The means of loss and metrics over all parts of the data.

    Args:
        objective: the objective to minimize.
        params: the parameters.
        model_state: what the forward pass reads besides them (batch statistics).
        data: the examples to evaluate.
        precision: precision of the forward pass; None leaves dtypes alone.
    """
    model = objective, params, model_state
    if isinstance(data, EvaluationArrays):
        return evaluate_batches(*model, *data.part, precision)
    means, shares = [], []
    for batches, weights in data.parts():
        means.append(evaluate_batches(*model, batches, weights, precision))
        shares.append(_weight(objective, batches, weights))
        if len(means) % _AT_ONCE == 0:
            jax.block_until_ready(means[-1])
    shares = np.asarray(shares, np.float64)

    def mean(*parts: jax.Array) -> jax.Array:
        values = np.where(shares > 0, np.asarray(parts, np.float64), 0)  # else they have no mean
        with np.errstate(invalid="ignore"):
            return jnp.asarray(np.sum(values * shares) / np.sum(shares), parts[0].dtype)

    return jax.tree.map(mean, *means)


_AT_ONCE = 16
"""Most batches of an iterable that are in memory at a time."""


def _weight(objective: Objective, batches: PyTree, weights: jax.Array) -> jax.Array:
    """The sum of the weights of the examples of a part, which is one batch."""
    own = objective.example_weights(jax.tree.map(lambda x: x[0], batches))
    if own is None:
        return jnp.sum(weights)
    return jnp.sum(jnp.where(weights[0] > 0, own.astype(weights.dtype), 0))


@per_objective(static_argnums=(5,))
def evaluate_batches(
    objective: Objective,
    params: Params,
    model_state: ModelState,
    batches: PyTree,
    weights: jax.Array,
    precision: Precision | None = None,
) -> Metrics:
    """The means of loss and metrics over stacked batches, by the weights of their examples."""

    def values(batch: Batch) -> Metrics:
        outputs, _ = forward(
            objective, precision, params, model_state, batch, key=None, train=False
        )
        return {"loss": objective.losses(outputs, batch), **objective.metrics(outputs, batch)}

    def add(carry: Any, batch_and_weights: Any) -> tuple[Any, None]:
        total, of_all = carry
        batch, weight = batch_and_weights
        own = objective.example_weights(batch)
        if own is not None:  # the copies that fill up a batch have none
            weight = jnp.where(weight > 0, own.astype(weight.dtype), 0)
        of_batch = {k: _weighted_sum(k, v, weight) for k, v in values(batch).items()}
        return (jax.tree.map(jnp.add, total, of_batch), of_all + jnp.sum(weight)), None

    first = jax.tree.map(lambda x: x[0], batches)
    zeros = {name: jnp.zeros((), x.dtype) for name, x in jax.eval_shape(values, first).items()}
    begin = zeros, jnp.zeros((), weights.dtype)
    (total, of_all), _ = jax.lax.scan(add, begin, (batches, weights))
    return {name: x / of_all.astype(x.dtype) for name, x in total.items()}


def _weighted_sum(name: str, values: jax.Array, weight: jax.Array) -> jax.Array:
    if values.shape != weight.shape:
        raise ValueError(
            f"evaluation weighs examples, so {name!r} must be one number for each of a batch of"
            f" {weight.size}; it has shape {values.shape}. Return the losses without their mean."
        )
    # The value of an example of weight 0 may be anything, even NaN.
    weighed = weight.astype(values.dtype) * values
    return jnp.sum(jnp.where(weight > 0, weighed, jnp.zeros_like(values)))
