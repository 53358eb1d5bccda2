"""Averages of the parameters over the steps of a run."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Decay, Static, computing_dtype, divide, moment, zeros
from fnopt.core.checks import Interval
from fnopt.core.entry import entry
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import Params
from fnopt.core.value import Value
from fnopt.train.arguments import check_objective, check_state
from fnopt.train.objective import Objective
from fnopt.train.state import TrainState
from fnopt.train.statistics import recomputed

_Start = Annotated[Any, Field(Interval("[0, inf)"))]
_Every = Annotated[Any, Field(Interval("[1, inf)"))]


class AverageState(NamedTuple):
    """The state of an average.

    Attributes:
        average: the average, a tree like the parameters, in single precision at least.
        weight: the sum of the weights of the snapshots in it.
        count: number of snapshots of the parameters in it.
    """

    average: Params
    weight: jax.Array
    count: jax.Array


class ema_of_params(Value):
    r"""The exponential moving average of the parameters after each update.

    .. math:: a \leftarrow \beta\,a + (1 - \beta)\,\theta, \qquad
        w \leftarrow \beta\,w + (1 - \beta), \qquad \bar\theta = a / w

    from :math:`a = w = 0`. Without ``debias`` it is :math:`\bar\theta = a`, which is
    :math:`\theta` up to the update ``start``.

    Args:
        decay: :math:`\beta \in [0, 1)`; a schedule of the number of snapshots in it.
        debias: whether to correct for the start at 0.
        every: number of updates, at least 1, between two snapshots; the first is taken after
            ``start`` (for a start at 0, after the ``every``-th).
        start: number of the update, at least 0, from which on parameters enter.

    Raises:
        ValueError: an argument is out of its range.

    References:
        Polyak & Juditsky, *Acceleration of stochastic approximation by averaging*, SIAM Journal on
        Control and Optimization 30, 1992, for averages; Kingma & Ba, *Adam: a method for
        stochastic optimization*, ICLR 2015, arXiv:1412.6980, Section 3, for the correction.

    >>> import jax.numpy as jnp
    >>> average = ema_of_params(0.5)
    >>> state = average.init(jnp.zeros(()))
    >>> for step, param in enumerate((1.0, 4.0), start=1):
    ...     state = average.update(state, jnp.asarray(param), step)
    >>> float(average.params(state, jnp.asarray(4.0)))  # (0.25 * 1 + 0.5 * 4) / 0.75
    3.0
    """

    decay: Decay
    _: dataclasses.KW_ONLY
    debias: Static[bool] = True
    every: _Every = 1.0
    start: _Start = 0.0

    def init(self, params: Params) -> AverageState:
        """The state before the first update."""
        return _begin(params, empty=self.debias)

    def update(self, state: AverageState, params: Params, step: Any) -> AverageState:
        """The state with the parameters after update number ``step``, 1 for the first."""
        decay = at_count(self, state.count).decay
        weight = moment(jnp.ones_like(state.weight), state.weight, _like(decay, state.weight))
        average = jax.tree.map(
            lambda a, p: moment(cast(p, a.dtype), a, _like(decay, a)), state.average, params
        )
        due = _due(step, self.start, self.every)
        taken = optax.tree.where(due, AverageState(average, weight, state.count + 1), state)
        if self.debias:
            return taken
        early = jnp.asarray(step) <= _integer(self.start)
        return optax.tree.where(early, _begin(params, empty=False), taken)

    def params(self, state: AverageState, params: Params) -> Params:
        """The average, in the dtypes of the parameters; these themselves before the first."""
        if not self.debias:
            return _as(state.average, params)
        average = jax.tree.map(lambda a: divide(a, _like(state.weight, a)), state.average)
        return optax.tree.where(state.count > 0, _as(average, params), params)


class swa(Value):
    r"""The plain mean of parameters along a run: stochastic weight averaging.

    .. math:: n \leftarrow n + 1, \qquad a \leftarrow a + (\theta - a) / n

    Args:
        start: number of the update, at least 0, after which the first parameters enter the mean.
        every: number of updates, at least 1, between two that enter, usually those of an epoch or
            of a cycle of the rate.

    Raises:
        ValueError: an argument is out of its range.

    References:
        Izmailov, Podoprikhin, Garipov, Vetrov & Wilson, *Averaging weights leads to wider optima
        and better generalization*, UAI 2018, arXiv:1803.05407, Algorithm 1.

    >>> import jax.numpy as jnp
    >>> average = swa(start=2, every=2)
    >>> state = average.init(jnp.zeros(()))
    >>> for step in (1, 2, 3, 4, 5):
    ...     state = average.update(state, jnp.asarray(float(step)), step)
    >>> float(average.params(state, jnp.asarray(5.0)))  # of those after 2 and 4
    3.0
    """

    start: _Start
    every: _Every

    def init(self, params: Params) -> AverageState:
        """The state before the first update."""
        return _begin(params, empty=True)

    def update(self, state: AverageState, params: Params, step: Any) -> AverageState:
        """The state with the parameters after update number ``step``, 1 for the first."""
        weight = state.weight + 1
        average = jax.tree.map(
            lambda a, p: a + (cast(p, a.dtype) - a) / _like(weight, a), state.average, params
        )
        more = AverageState(average, weight, state.count + 1)
        return optax.tree.where(_due(step, self.start, self.every), more, state)

    def params(self, state: AverageState, params: Params) -> Params:
        """The average, in the dtypes of the parameters; these themselves before the first."""
        return optax.tree.where(state.count > 0, _as(state.average, params), params)


_USAGE = "averaged(objective, state, data)"


@entry(_USAGE)
def averaged(
    objective: Objective,
    state: TrainState,
    data: Any = None,
    *,
    batch_size: int = 256,
    precision: Any = None,
) -> TrainState:
    """A state with the averaged parameters, to evaluate or to use; the run continues without it.

    The averaged network has never been run, so the batch statistics in the state are not its own:
    batch normalization needs them computed again, over data. Then every statistic is
    the mean of its values in the batches, by their sizes, without dropout.

    Args:
        objective: the objective to minimize.
        state: a state with an average; it shares arrays with the state that is returned.
        data: a tree of arrays with examples along the first axis; None leaves the statistics.
        batch_size: examples at a time, at least 1.
        precision: the precision of the steps, as :class:`StepOptions` takes it.

    Raises:
        ValueError: the state has no average.
    """
    check_objective(_USAGE, objective)
    check_state(_USAGE, state)
    if state.average is None:
        raise ValueError(
            "averaged: the state has no average; make it with TrainState.create(…,"
            " average=ema_of_params(0.999))"
        )
    params = state.average.params(state.average_state, state.eval_params)
    model_state = state.model_state
    if data is not None:
        model_state = recomputed(objective, params, model_state, data, batch_size, precision)
    return state.moved_to(params, model_state)


def _begin(params: Params, *, empty: bool) -> AverageState:
    def first(p: jax.Array) -> jax.Array:
        wide = computing_dtype(p.dtype)
        return zeros(p, wide) if empty else p.astype(wide)

    zero = jnp.zeros((), jnp.float32)
    return AverageState(jax.tree.map(first, params), zero, jnp.zeros((), jnp.int32))


def _due(step: Any, start: Any, every: Any) -> jax.Array:
    since = jnp.asarray(step) - _integer(start)
    return (since >= 0) & (since % _integer(every) == 0)


def _integer(number: Any) -> jax.Array:
    return jnp.asarray(number).astype(jnp.int32)


def _like(number: Any, x: jax.Array) -> jax.Array:
    return jnp.asarray(number, jnp.finfo(x.dtype).dtype)


def _as(average: Params, params: Params) -> Params:
    return jax.tree.map(lambda a, p: a.astype(p.dtype), average, params)
