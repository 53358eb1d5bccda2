"""A schedule with memory: the rate falls when a metric no longer improves."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Transform
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.parts import scale as scale_by
from fnopt.core.schedule import map_leaves, to_dtype
from fnopt.core.types import OptState, Params, Updates


class PlateauState(NamedTuple):
    """What :class:`reduce_on_plateau` remembers; the fields are optax's, and ``evaluations``.

    Attributes:
        scale: factor of the updates.
        best_value: the best metric so far.
        plateau_count: metrics since that were no better.
        cooldown_count: metrics that the cooldown still lets pass.
        count: metrics in the average under way.
        avg_value: average of these metrics.
        evaluations: the number of the last evaluation taken in.
    """

    scale: jax.Array
    best_value: jax.Array
    plateau_count: jax.Array
    cooldown_count: jax.Array
    count: jax.Array
    avg_value: jax.Array
    evaluations: jax.Array


class Watcher(Transform):
    """Multiplies updates by a scale that depends on a metric; decides when it reads a metric.

    A subclass has ``monitor``, and defines its scale and its state after a metric.
    """

    family = ""
    leafwise = elementwise = keeps_zero = alike = True

    def scale(self, state: OptState) -> jax.Array:
        """What updates are multiplied by in this state."""
        raise NotImplementedError

    def take_in(self, state: OptState, metric: Any) -> Any:
        """The state after one more metric; its numbers come in the dtype of the scale."""
        raise NotImplementedError

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        state = self._observe(state, **extra_args)
        scaled, _ = scale_by(self.scale(state)).update(updates, optax.EmptyState())
        return scaled, state

    @property
    def evaluates(self) -> bool | None:
        return False

    def hyperparameters(self: Any, state: OptState, **extra_args: Any) -> dict[str, Any]:
        # Rates multiply in a chain; with the metric, this is the scale that update applies.
        watched = extra_args.get(self.monitor) is not None
        return {
            "learning_rate": self.scale(self._observe(state, **extra_args) if watched else state)
        }

    def _observe(
        self: Any,
        state: OptState,
        *,
        value: Any = None,
        metric: Any = None,
        evaluations: Any = None,
        **extra_args: Any,
    ) -> Any:
        numbers = map_leaves(self, lambda x: to_dtype(x, self.scale(state).dtype))
        if self.monitor == "value":
            if value is None:
                raise ValueError(
                    f"{type(self).__name__} watches the loss: call update(…, value=loss), or watch"
                    ' a metric with monitor="metric"'
                )
            return numbers.take_in(state, value)
        if metric is None or evaluations is None:
            return state
        evaluations = jnp.asarray(evaluations).astype(state.evaluations.dtype)
        updated = numbers.take_in(state, metric)._replace(evaluations=evaluations)
        return _where(evaluations > state.evaluations, updated, state)


def count_bad(
    better: jax.Array, bad: jax.Array, cooling: jax.Array, patience: Any, cooldown: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """torch's counting: whether to reduce now, and the two counts after this metric."""
    zero = jnp.zeros_like(bad)
    bad = jnp.where(better | (cooling > 0), zero, bad + 1)
    reduce = bad.astype(jnp.result_type(patience)) > patience
    cooldown = jnp.asarray(cooldown).astype(cooling.dtype)
    cooling = jnp.where(reduce, cooldown, jnp.maximum(cooling - 1, 0))
    return reduce, jnp.where(reduce, zero, bad), cooling


class reduce_on_plateau(Watcher):
    r"""Multiplies updates by a scale that falls by a factor when a metric stops improving.

    A metric :math:`x` is better than the best :math:`b` so far if (``mode="min"``)

    .. math:: x < b - r\,|b| - a

    and, for ``mode="max"``, if :math:`x > b + r\,|b| + a`: right for negative metrics too. After
    more than ``patience`` metrics in a row that are not better the scale is multiplied by
    ``factor``; then ``cooldown`` metrics pass before any is counted again. NaN is no better.

    It stands last in a chain, ``chain(adamw(1e-3), reduce_on_plateau())``, and acts on the current
    update: before Adam, whose steps do not depend on the scale of the gradients, its factor would
    soon have no effect. With ``monitor="value"`` every update brings a metric, the loss; with
    ``monitor="metric"`` there is one when ``evaluations`` has advanced since the last. What watches
    a metric and receives none lets updates pass.

    Args:
        factor: factor of each reduction, in (0, 1).
        patience: number of metrics without improvement that are tolerated; counted as in torch.
        rtol: relative improvement that counts as one, :math:`r \in [0, 1]`.
        atol: absolute improvement that counts as one, :math:`a \ge 0`.
        cooldown: number of metrics after a reduction that are not counted.
        accumulation_size: number of metrics that are averaged to one.
        min_scale: lowest scale.
        monitor: the extra argument that is watched, ``"value"`` or ``"metric"``.
        mode: whether lower or higher metrics are better, ``"min"`` or ``"max"``.

    Raises:
        ValueError: an argument is out of its range, or, in ``update``, the loss is missing.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.chain(fnopt.sgd(1.0), fnopt.reduce_on_plateau(factor=0.5, patience=0))
    >>> state = tx.init(jnp.zeros(()))
    >>> for loss in (-1.0, -1.0):
    ...     update, state = tx.update(jnp.ones(()), state, value=loss)
    >>> float(update)
    -0.5
    """

    factor: Annotated[Any, Field(Interval("(0, 1)"))] = 0.1
    patience: Annotated[Any, Field(Interval("[0, inf)"))] = 10.0
    rtol: Annotated[Any, Field(Interval("[0, 1]"))] = 1e-4
    atol: Annotated[Any, Field(Interval("[0, inf)"))] = 0.0
    cooldown: Annotated[Any, Field(Interval("[0, inf)"))] = 0.0
    accumulation_size: Annotated[Any, Field(Interval("[1, inf)"))] = 1.0
    min_scale: Annotated[Any, Field(Interval("[0, 1]"))] = 0.0
    _: dataclasses.KW_ONLY
    monitor: Annotated[Any, Field(static=True, choices=("value", "metric"))] = "value"
    mode: Annotated[Any, Field(static=True, choices=("min", "max"))] = "min"
    family = "parts"

    def init(self, params: Params) -> PlateauState:
        number, zero = jnp.zeros((), jnp.result_type(float)), jnp.zeros((), jnp.int32)
        worst = jnp.full_like(number, jnp.inf if self.mode == "min" else -jnp.inf)
        return PlateauState(
            scale=jnp.ones_like(number),
            best_value=worst,
            plateau_count=zero,
            cooldown_count=jnp.zeros_like(zero),
            count=jnp.zeros_like(zero),
            avg_value=number,
            evaluations=jnp.zeros_like(zero),
        )

    def scale(self, state: PlateauState) -> jax.Array:
        return state.scale

    def take_in(self, state: PlateauState, metric: Any) -> PlateauState:
        dtype = state.avg_value.dtype
        count = state.count + 1
        metric = jnp.asarray(metric).astype(dtype)
        average = state.avg_value + (metric - state.avg_value) / count.astype(dtype)
        more = state._replace(count=count, avg_value=average)
        return _where(count.astype(dtype) >= self.accumulation_size, self._decide(more), more)

    def _decide(self, state: PlateauState) -> PlateauState:
        best = state.best_value
        # An infinite best has no margin: inf - inf is no number.
        margin = jnp.where(jnp.isinf(best), 0.0, self.rtol * jnp.abs(best)) + self.atol
        if self.mode == "min":
            better = state.avg_value < best - margin
        else:
            better = state.avg_value > best + margin
        reduce, bad, cooling = count_bad(
            better, state.plateau_count, state.cooldown_count, self.patience, self.cooldown
        )
        lower = jnp.maximum(state.scale * self.factor, self.min_scale)
        return state._replace(
            scale=jnp.where(reduce, lower, state.scale),
            best_value=jnp.where(better, state.avg_value, best),
            plateau_count=bad,
            cooldown_count=cooling,
            count=jnp.zeros_like(state.count),
            avg_value=jnp.zeros_like(state.avg_value),
        )


def _where(condition: jax.Array, a: Any, b: Any) -> Any:
    return optax.tree.where(condition, a, b)
