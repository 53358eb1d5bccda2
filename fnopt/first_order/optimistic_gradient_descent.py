"""Optimistic gradient descent."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import (
    Composed,
    Context,
    Joint,
    NonNegative,
    Rate,
    Transform,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import Arrays, LeavesUpdate, Rows


class ScaleByOptimisticGradientState(NamedTuple):
    """The state of :class:`scale_by_optimistic_gradient`; the fields are optax's.

    Attributes:
        is_initial_step: whether there was no update yet.
        previous_gradient: the last update's.
    """

    is_initial_step: jax.Array
    previous_gradient: Any


class scale_by_optimistic_gradient(Joint):
    r"""Extrapolates the change of the gradient.

    .. math:: u_t = (\alpha + \beta)\,g_t - \beta\,g_{t-1}, \qquad g_0 = g_1

    Args:
        alpha: weight of the gradient, :math:`\alpha \ge 0`.
        beta: weight of its change, :math:`\beta \ge 0`.
    """

    alpha: NonNegative = 1.0
    beta: NonNegative = 1.0

    State = ScaleByOptimisticGradientState
    shared = ("is_initial_step",)
    leafwise = elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return {"is_initial_step": jnp.array(True)}

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"previous_gradient": zeros(param)}

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        first = shared["is_initial_step"]
        directions = [
            (self.alpha + self.beta) * g - self.beta * jnp.where(first, g, s.previous_gradient)
            for g, s in zip(grads, slots, strict=True)
        ]
        rows = [{"previous_gradient": g} for g in grads]
        return directions, rows, {"is_initial_step": jnp.array(False)}


class optimistic_gradient_descent(Composed):
    r"""Gradient descent against an opponent: it predicts that the gradient goes on changing.

    .. math:: \Delta\theta_t = -\eta_t\,
        \bigl((\alpha + \beta)\,g_t - \beta\,g_{t-1}\bigr), \qquad g_0 = g_1

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        alpha: weight of the gradient, :math:`\alpha \ge 0`.
        beta: weight of its change, :math:`\beta \ge 0`; the usual method has
            :math:`\beta = \alpha`.

    When:
        Games of two players (min-max), where gradient descent circles the solution or leaves it.
        On a plain minimization it has no advantage over momentum.

    References:
        Mokhtari, Ozdaglar & Pattathil, *A unified analysis of extra-gradient and optimistic
        gradient methods for saddle point problems: proximal point approach*, AISTATS 2020,
        arXiv:1901.08511, eq. 23 (generalized OGDA).

    >>> import fnopt, jax, optax
    >>> tx = fnopt.optimistic_gradient_descent(0.3)
    >>> game = lambda p: p[0] * p[1]  # the first minimizes, the second maximizes
    >>> p = (1.0, 1.0)
    >>> state = tx.init(p)
    >>> for _ in range(200):
    ...     dx, dy = jax.grad(game)(p)
    ...     updates, state = tx.update((dx, -dy), state, p)
    ...     p = optax.apply_updates(p, updates)
    >>> bool(abs(p[0]) < 1e-3) and bool(abs(p[1]) < 1e-3)
    True
    """

    learning_rate: Rate
    alpha: NonNegative = 1.0
    beta: NonNegative = 1.0
    family = "gradient_descent"
    usual_rate = 0.1

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_optimistic_gradient(self.alpha, self.beta),
            scale_by_learning_rate(self.learning_rate),
        )
