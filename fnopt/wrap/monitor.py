"""Looking at the updates with a memory."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Decay, DType, Static, Transform, bias_correction, computing_dtype, moment
from fnopt.core.checks import refuse_state
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.transform import as_transform, at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.wrap.snapshot import Measure, as_arrays, like_first, matched


class _of_updates(Transform):
    """A function of the updates as a measure without memory."""

    measure: Measure

    def init(self, params: Params) -> OptState:
        return optax.EmptyState()

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        return as_arrays(self.measure(updates)), state

    def __repr__(self) -> str:
        return getattr(self.measure, "__qualname__", repr(self.measure))


class measure_with_ema(Transform):
    r"""A measure for :class:`monitor`: the moving average of a function of the updates.

    .. math:: m_t = \beta\,m_{t-1} + (1 - \beta)\,f(u_t), \qquad
        \hat m_t = m_t / (1 - \beta^t)

    What it returns is the average and no longer the updates.

    Args:
        measure: :math:`f`, a function of the updates that returns an array or a tree of them.
        decay: :math:`\beta \in [0, 1)`.
        debias: return :math:`\hat m_t`, not :math:`m_t`.
        accumulator_dtype: dtype of the average; single precision at least if None.
    """

    measure: Measure
    decay: Decay
    debias: Static[bool] = True
    accumulator_dtype: DType = None

    def init(self, params: Params) -> optax.EmaState:
        def zero(x: Any) -> jax.Array:
            x = jnp.asarray(x)
            return jnp.zeros_like(x, self.accumulator_dtype or computing_dtype(x.dtype))

        return optax.EmaState(jnp.zeros((), jnp.int32), jax.tree.map(zero, self.measure(params)))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if getattr(state, "_fields", None) != optax.EmaState._fields:
            refuse_state(self, state)
        count: Any = optax.safe_increment(state.count)
        measured, averages, structure = matched(self.measure(updates), state.ema)
        averages_now, shown = [], []
        for x, average in zip(measured, averages, strict=True):
            wide = computing_dtype(x.dtype, average.dtype)
            real = jnp.finfo(wide).dtype
            decay = at_count(self, state.count, real).decay
            mean = cast(moment(cast(x, wide), cast(average, wide), decay), wide)
            averages_now.append(cast(mean, average.dtype))
            if self.debias:
                mean = mean / cast(bias_correction(decay, cast(count, real)), wide)
            shown.append(cast(mean, x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else wide))
        return structure.unflatten(shown), optax.EmaState(count, structure.unflatten(averages_now))

    def count(self, state: OptState) -> jax.Array:
        return state.count


def _as_measures(named: Any) -> dict[str, Transform]:
    if not isinstance(named, dict) or not all(isinstance(name, str) for name in named):
        raise TypeError(f"must be a dict of names and measures, got {named!r}")
    return {name: _of_updates(x) if callable(x) else as_transform(x) for name, x in named.items()}


class monitor(Transform):
    """Keeps in its state measurements of the updates that pass, which stay as they are.

    ``optax.tree.get(state, name)`` finds one; before the first update they are what the parameters
    give, so that the state's structure never changes (optax's has none before).

    When:
        As :class:`snapshot`, for several measurements or for their averages.

    Args:
        measures: a dict of names; of functions of the updates, or of transforms that return a
            measurement (:class:`measure_with_ema`).

    >>> import fnopt, jax.numpy as jnp, optax
    >>> tx = fnopt.monitor({"size": optax.tree.norm,
    ...     "mean size": fnopt.measure_with_ema(optax.tree.norm, 0.9)})
    >>> updates, state = tx.update(jnp.array([3.0, 4.0]), tx.init(jnp.zeros(2)))
    >>> [round(float(optax.tree.get(state, name)), 3) for name in ("size", "mean size")]
    [5.0, 5.0]
    """

    measures: Annotated[Any, Field(convert=_as_measures, shown="Mapping[str, Callable]")]

    keeps_zero = True

    def init(self, params: Params) -> optax.MonitorState:
        states = tuple(measure.init(params) for _, measure in self._sorted())
        measured, _ = self._measure(params, states, params, {})
        return optax.MonitorState(measured, states)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if set(getattr(state, "measurements", ())) != set(self.measures):
            refuse_state(self, state)
        measured, states = self._measure(updates, state.measure_states, params, extra_args)
        return updates, optax.MonitorState(like_first(measured, state.measurements), states)

    def _measure(
        self, updates: Updates, states: Any, params: Params, extra_args: dict[str, Any]
    ) -> Any:
        rows = [
            (name, *measure.update(updates, state, params, **extra_args))
            for (name, measure), state in zip(self._sorted(), states, strict=True)
        ]
        return {name: measured for name, measured, _ in rows}, tuple(state for *_, state in rows)

    def _sorted(self) -> list[tuple[str, Transform]]:
        # A dict comes out of a jit with its keys in this order.
        return sorted(self.measures.items())

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        return {}
