"""The learning rate range test: one short run with a rate that grows at every step."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core import Transform
from fnopt.core.checks import Interval, brief, integer
from fnopt.core.entry import entry
from fnopt.core.fields import as_number
from fnopt.core.transform import foreign
from fnopt.data.arrays import Arrays, check_batch_size, size, take
from fnopt.lab.race_rates import has_one_rate, replace_rate
from fnopt.sweeps.range_test_result import RangeTest, range_test_result
from fnopt.train.arguments import check_key, check_objective, check_optimizer
from fnopt.train.data_argument import in_memory
from fnopt.train.objective import Objective
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState
from fnopt.train.step import attempt_step

_USAGE = "learning_rate_range_test(objective, optimizer, data)"
_NAME = "learning_rate_range_test"
_KEPT = 0.8
"""The share of the old in the average that tells whether the loss has risen: of five losses."""


@entry(_USAGE)
def learning_rate_range_test(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    data: Any,
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int | None = 32,
    key: Any = 0,
    stop: float = 4.0,
    smoothing: float = 2.0,
) -> RangeTest:
    r"""Tries all learning rates of a range in one short run, a larger one at every step.

    Step :math:`t` of :math:`0, \dots, T - 1` has the rate

    .. math:: \eta_t = \eta_\text{low}
              \left(\frac{\eta_\text{high}}{\eta_\text{low}}\right)^{t / (T - 1)}

    and ``losses[t]`` is the loss of the next batch, the first after the update with this rate. The
    growth ends at a loss that is not finite, and where a running average of the losses is above
    ``stop`` times its smallest value. The run is one compiled program; neither the
    objective nor the optimizer is changed.

    Smith lets the rate grow linearly between bounds that are known roughly and looks where the
    accuracy rises and where it becomes ragged; with growth by a factor, as in the ``lr_find`` of
    fastai, one run covers all orders of magnitude. There the losses are smoothed by a running
    average of some fifty of them, which shows everything at higher rates than where it
    happened. Here ``smoothed`` is a centred average, which does not.

    Args:
        objective: the objective to minimize.
        optimizer: an optimizer of fnopt with one learning rate. Its own is replaced, be it a number
            or a schedule; wrappers and all other numbers stay.
        data: the training data, a tree of arrays with examples along the first axis, or an
            :class:`fnopt.data.Arrays`.
        low: the first rate, above 0.
        high: the last rate, above ``low``.
        steps: the number of rates, :math:`T`, at least 8.
        batch_size: the number of examples of a batch; None for all.
        key: a PRNG key, or an integer to make one: of initialization, order and dropout.
        stop: how many times the smallest average loss ends the growth, above 1; inf for a loss that
            is not finite alone. Of a smallest loss :math:`m` below 0 it is
            :math:`m + (\text{stop} - 1)\lvert m \rvert`.
        smoothing: standard deviation, in steps, of the Gaussian weights of ``smoothed``, at least
            0; 0 for the losses themselves.

    Returns:
        Rates, losses and the suggested rate, a :class:`RangeTest`.

    Raises:
        TypeError: an argument is something else; the data are a stream of batches.
        ValueError: the optimizer has no learning rate or several, or an argument is outside of its
            range.

    References:
        Smith, *Cyclical learning rates for training neural networks*, WACV 2017, arXiv:1506.01186,
        section 3.3; Howard & Gugger, *fastai: a layered API for deep learning*, 2020,
        arXiv:2002.04688 (growth by a factor, and the end at four times the smallest loss).

    >>> import numpy as np
    >>> import fnopt
    >>> from fnopt.train import objective
    >>> task = objective(lambda w, x: x @ w, "squared_error", params=np.zeros(4, "f4"))
    >>> x = np.random.default_rng(0).normal(size=(256, 4)).astype("f4")
    >>> test = learning_rate_range_test(task, fnopt.sgd(0.1), (x, x.sum(1)), low=1e-4)
    >>> 0.01 < test.suggestion < 0.3
    True
    """
    check_objective(_USAGE, objective)
    check_optimizer(_USAGE, optimizer)
    low = _number("low", low, "(0, inf)")
    high = _number("high", high, "(0, inf)")
    if high <= low:
        raise ValueError(f"{_NAME}: high must be above low={low:g}, got {high:g}")
    steps = integer(f"{_NAME}: steps", steps, least=8)
    stop = _number("stop", stop, "(1, inf]")
    smoothing = _number("smoothing", smoothing, "[0, inf)")
    arrays, order = _order(data, batch_size, steps + 1, key)
    # One rate more than is reported: the last step measures the loss after the one before it.
    rates = np.geomspace(low, high, steps)
    tx = _with_rate(optimizer, low)
    state = TrainState.create(objective, tx, key, take(arrays.tree, jnp.arange(1)))
    following = jnp.asarray(np.append(rates, rates[-1]), jnp.result_type(float))
    losses = np.asarray(_losses(objective, state, arrays, order, following, stop), float)
    return range_test_result(rates, losses[1:], smoothing)


@per_objective()
def _losses(
    objective: Objective,
    state: TrainState,
    arrays: Arrays,
    order: jax.Array,
    rates: jax.Array,
    stop: Any,
) -> jax.Array:
    """The loss of each step before its update; NaN after the growth has ended.

    Args:
        objective: the objective to minimize.
        state: the state before the first step.
        arrays: the examples.
        order: the examples of each step, shape (steps, batch size).
        rates: the rate of each step, shape (steps,).
        stop: how many times the smallest average loss ends the growth.
    """
    dtype = rates.dtype
    stop = jnp.asarray(stop, dtype)

    def go(carry: Any, step: Any) -> tuple[Any, jax.Array]:
        state, average, best, _ = carry
        count, rate, indices = step
        tx = replace_rate(state.tx, rate)
        # Its slots are those that it was initialized with: a rate has none.
        state = state.replace(tx=tx, opt_state=state.opt_state)
        batch = arrays.batch(state.key, state.step, indices)
        state, metrics, taken = attempt_step(objective, state, batch)
        loss = metrics["loss"].astype(dtype)
        average = _KEPT * average + (1 - _KEPT) * loss
        mean = average / (1 - _KEPT ** (count + 1))
        best = jnp.minimum(best, mean)
        over = mean > best + (stop - 1) * jnp.abs(best)
        return (state, average, best, over | ~taken | ~jnp.isfinite(mean)), loss

    def leave(carry: Any, step: Any) -> tuple[Any, jax.Array]:
        return carry, jnp.full_like(carry[1], jnp.nan)

    def body(carry: Any, step: Any) -> tuple[Any, jax.Array]:
        return jax.lax.cond(carry[3], leave, go, carry, step)

    zero = jnp.zeros((), dtype)
    start = state, zero, jnp.full_like(zero, jnp.inf), jnp.bool_(False)
    counts = jnp.arange(len(rates), dtype=dtype)
    return jax.lax.scan(body, start, (counts, rates, order))[1]


def _order(data: Any, batch_size: int | None, steps: int, key: Any) -> tuple[Arrays, jax.Array]:
    """The data, and the examples of each step: as many epochs as it takes."""
    arrays = in_memory(_USAGE, data)
    batch_size = check_batch_size(batch_size, size(arrays.tree))
    run_key = check_key(_NAME, key)
    epochs: list[jax.Array] = []
    made = 0
    while made < steps:
        epochs.append(arrays.order(run_key, made, batch_size))
        made += len(epochs[-1])
    return arrays, jnp.concatenate(epochs)[:steps]


def _with_rate(optimizer: Any, rate: float) -> Transform:
    """The optimizer with a constant rate; refuses one that has no rate of its own, or several."""
    if not isinstance(optimizer, Transform) or isinstance(optimizer, foreign):
        raise ValueError(
            f"{_NAME}: {brief(optimizer, 60)} is an optimizer of optax, whose learning rate is"
            " inside of its functions; use fnopt's of the same name, or fnopt.from_optax"
        )
    if not has_one_rate(optimizer):
        raise ValueError(
            f"{_NAME}: the optimizer must have one learning rate, a number or a schedule, for all"
            f" parameters; {brief(optimizer, 120)} has none or several"
        )
    return replace_rate(optimizer, rate)


def _number(argument: str, value: Any, allowed: str) -> float:
    number = as_number(value)
    if not isinstance(number, float):
        raise TypeError(f"{_NAME}: {argument} must be a number, got {brief(value, 40)}")
    if number not in Interval(allowed) or math.isnan(number):
        raise ValueError(f"{_NAME}: {argument} must lie in {allowed}, got {number:g}")
    return number
