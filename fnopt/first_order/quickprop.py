"""Quickprop."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Context, Positive, Rate, Rule, divide, zeros
from fnopt.core.types import LeafUpdate, Slots


class QuickpropState(NamedTuple):
    """The last step, and the slope that it was computed from."""

    step: Any
    slope: Any


class quickprop(Rule):
    r"""Quickprop: for each weight a jump to the bottom of the parabola through two slopes.

    With the slope :math:`s_t = g_t + \lambda\,\theta_{t-1}` a weight's step is the sum of

    .. math::
        \frac{s_t}{s_{t-1} - s_t}\,\Delta\theta_{t-1}, \qquad
        \text{or } \mu\,\Delta\theta_{t-1} \text{ where that is longer or points backwards,}

    and of :math:`-\eta_t\,s_t` unless the slope has changed its sign since the last step. The
    first step, and one after a step of 0, is :math:`-\eta_t\,s_t`.

    When:
        Full-batch training of small networks, as a baseline from before adaptive gradients. Not
        with noisy gradients: a secant of two draws means nothing.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        mu: how many times as long as the last a step may be, :math:`\mu > 0`.
        weight_decay: strength of the decay in the slope, :math:`\lambda \ge 0`; it bounds the
            weights.

    Raises:
        TypeError: a parameter is complex: slopes there have no sign.

    References:
        Fahlman, *An empirical study of learning speed in back-propagation networks*, CMU-CS-88-162,
        1988; and his program quickprop1, for the limit :math:`\mu / (1 + \mu)` of
        :math:`s_t / s_{t-1}` from which on the step is :math:`\mu\,\Delta\theta_{t-1}`.

    >>> import fnopt, jax.numpy as jnp
    >>> tx, x = fnopt.quickprop(0.05, weight_decay=0.0), jnp.array(1.0)
    >>> state = tx.init(x)
    >>> for _ in range(3):  # on the parabola 5 x^2
    ...     update, state = tx.update(10 * x, state, x)
    ...     x = x + update
    ...     print(x.round(2))
    0.5
    -0.25
    0.0
    """

    learning_rate: Rate
    mu: Positive = 1.75
    weight_decay: Rate = 1e-4
    family = "sign"

    State = QuickpropState
    needs_params = True
    elementwise = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        if jnp.iscomplexobj(param):
            raise TypeError(
                "quickprop needs slopes with a sign, but a parameter is complex; optimize its real"
                " and imaginary parts"
            )
        return {"step": zeros(param), "slope": zeros(param)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        slope = grad + self.weight_decay * param
        # How steeply the loss falls along the last step, now and before it.
        way = jnp.sign(slots.step)
        now, before = -slope * way, -slots.slope * way
        secant = jnp.where(
            now > self.mu / (1 + self.mu) * before,
            self.mu * slots.step,
            divide(now, before - now) * slots.step,
        )
        onward = (now > 0) | (slots.step == 0)
        step = secant + jnp.where(onward, -self.learning_rate * slope, 0)
        return step, {"step": step, "slope": slope}
