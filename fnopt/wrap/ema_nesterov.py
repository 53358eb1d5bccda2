"""EMA-Nesterov: gradients ahead of the parameters, along an average of their steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Decay,
    DType,
    Inner,
    NonNegative,
    Wrapper,
    computing_dtype,
    moment,
    real_number,
    zeros,
)
from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates


class EmaNesterovState(NamedTuple):
    """The state of :class:`ema_nesterov`.

    Attributes:
        count: the number of updates.
        inner_state: the optimizer's.
        lookahead: how far the parameters are ahead, in multiples of ``ema``.
        ema: the average of the steps.
    """

    count: jax.Array
    inner_state: Any
    lookahead: jax.Array
    ema: Any


class ema_nesterov(Wrapper):
    r"""Nesterov's look ahead for any optimizer, along a moving average of its steps.

    .. math::
        y_t &= x_t + \beta_t\,m_t, \qquad x_{t+1} = y_t + u_t(y_t) \\
        m_{t+1} &= \gamma\,m_t + (1 - \gamma)(x_{t+1} - x_t)
            = \gamma\,m_t + (1 - \gamma)(\beta_t\,m_t + u_t)

    with the steps :math:`u` of the optimizer. The parameters are :math:`y`, where gradients are
    taken; :math:`x` is to be evaluated, and is what ``eval_params`` gives. Where :math:`\beta` is 0
    they are one. The authors' program moves the weights to :math:`y` before each gradient.

    The paper lets :math:`\beta` follow the learning rate, and be 0 at the start and at the end of
    the training; a schedule says so::

        rate = cosine_decay_schedule(0.02, 3000)
        ahead = 0.5 * rate / 0.02 * join_schedules([0.0, 1.0, 0.0], [500, 2400])
        tx = ema_nesterov(muon(rate), ahead)

    Args:
        inner: the optimizer.
        lookahead: how far to look ahead, :math:`\beta \ge 0`.
        decay: share of the old in the average, :math:`\gamma \in [0, 1)`.
        accumulator_dtype: dtype of the average; the parameter's if None.

    When:
        Long trainings whose steps are noisy. It has one more slot, and needs no further gradient.

    References:
        Yau, Li, Glentis, Boreiko, Wai & Hong, *EMA-Nesterov: stabilizing Nesterov's lookahead for
        accelerated deep learning optimization*, 2026, arXiv:2605.25395; the rule as in their
        program, github.com/OptimAI-Lab/ema-nesterov-module.
    """

    inner: Inner
    lookahead: NonNegative = 0.5
    decay: Decay = 0.99
    accumulator_dtype: DType = None

    State = EmaNesterovState

    def init(self, params: Params) -> EmaNesterovState:
        _, leaves, treedef = float_leaves("params", params)
        return EmaNesterovState(
            count=jnp.zeros((), jnp.int32),
            inner_state=self.inner.init(params),
            lookahead=real_number(0.0, leaves),
            ema=treedef.unflatten([zeros(leaf, self.accumulator_dtype) for leaf in leaves]),
        )

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, EmaNesterovState]:
        inner_state = self.check(state)
        paths, grads, treedef = float_leaves("updates", updates)
        means = leaves_like(treedef, "state.ema", state.ema, "updates")
        for path, grad, mean in zip(paths, grads, means, strict=True):
            same_shape(path, grad.shape, jnp.shape(mean), "parameter")
        steps, inner_state = self.inner.update(updates, inner_state, params, **extra_args)
        steps = leaves_like(treedef, "the inner updates", steps, "updates")
        count = jnp.asarray(optax.safe_increment(state.count))
        real = state.lookahead.dtype
        decay = at_count(self, state.count, real).decay
        # The next gradient is taken at y of the next count.
        lookahead = at_count(self, count, real).lookahead
        ahead = []
        with jax.numpy_dtype_promotion("standard"):
            for i, (step, mean) in enumerate(zip(steps, means, strict=True)):
                wide = computing_dtype(step.dtype, mean.dtype)
                u, m = cast(step, wide), cast(jnp.asarray(mean), wide)
                m = moment(state.lookahead * m + u, m, decay)
                means[i] = cast(m, mean.dtype)
                ahead.append(cast(u + lookahead * m, grads[i].dtype))
        return treedef.unflatten(ahead), EmaNesterovState(
            count, inner_state, cast(jnp.asarray(lookahead), real), treedef.unflatten(means)
        )

    def eval_params(self, state: OptState, params: Params) -> Params:
        """The points :math:`x`, from which the parameters look ahead."""
        params = super().eval_params(state, params)

        def behind(y: Any, m: jax.Array) -> jax.Array:
            y = jnp.asarray(y)
            wide = computing_dtype(y.dtype, m.dtype, state.lookahead.dtype)
            with jax.numpy_dtype_promotion("standard"):
                return cast(cast(y, wide) - state.lookahead * cast(m, wide), y.dtype)

        return jax.tree.map(behind, params, state.ema)
