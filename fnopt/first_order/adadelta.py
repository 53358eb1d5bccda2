"""AdaDelta."""

from __future__ import annotations

from typing import Any

import jax
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    Mask,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    add_l2,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
)
from fnopt.core.types import LeafUpdate, OptState, Slots


class scale_by_adadelta(Rule):
    r"""Gives the direction the units of the parameter, by the sizes of the steps before.

    .. math::
        E[g^2]_t &= \rho\,E[g^2]_{t-1} + (1 - \rho)\,g_t^2 \\
        u_t &= \frac{\sqrt{E[\Delta^2]_{t-1} + \epsilon}}{\sqrt{E[g^2]_t + \epsilon}}\,g_t \\
        E[\Delta^2]_t &= \rho\,E[\Delta^2]_{t-1} + (1 - \rho)\,u_t^2

    Args:
        rho: decay of both averages, :math:`\rho \in [0, 1)`.
        eps: added under both roots, :math:`\epsilon \ge 0`; above 0, or nothing ever moves.
    """

    rho: Decay = 0.9
    eps: NonNegative = 1e-6

    State = optax.ScaleByAdaDeltaState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"e_g": real_zeros(param), "e_x": real_zeros(param)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        e_g = moment(abs_sq(grad), slots.e_g, self.rho)
        direction = grad * divide(root(slots.e_x + self.eps), root(e_g + self.eps), least=self.eps)
        e_x = moment(abs_sq(direction), slots.e_x, self.rho)
        return direction, {"e_g": e_g, "e_x": e_x}


class adadelta(Composed):
    r"""AdaDelta: Adagrad with a window, and without a rate to choose.

    .. math:: \Delta\theta_t = -\eta_t\,
        \frac{\sqrt{E[\Delta^2]_{t-1} + \epsilon}}{\sqrt{E[g^2]_t + \epsilon}}\,g_t

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; 1, the paper's, if None. (optax's None
            leaves the sign out too, and climbs.)
        rho: decay of both averages, :math:`\rho \in [0, 1)`.
        eps: added under both roots, :math:`\epsilon \ge 0`.
        weight_decay: strength of an L2 penalty in the gradient, :math:`\lambda \ge 0`.
        weight_decay_mask: the leaves to penalize; all if None.

    When:
        No rate is to be chosen and slowness does no harm; with a rate to choose, :class:`adam`
        usually wins.

    References:
        Zeiler, *ADADELTA: an adaptive learning rate method*, 2012, arXiv:1212.5701, Algorithm 1.
    """

    learning_rate: Rate = None
    rho: Decay = 0.9
    eps: NonNegative = 1e-6
    weight_decay: Rate = 0.0
    weight_decay_mask: Mask = None
    family = "adaptive"
    usual_rate = 1.0

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        return {"learning_rate": 1.0, **super().hyperparameters(state, **extra_args)}

    def parts(self) -> tuple[Transform, ...]:
        return (
            add_l2(self.weight_decay, self.weight_decay_mask),
            scale_by_adadelta(self.rho, self.eps),
            scale_by_learning_rate(1.0 if self.learning_rate is None else self.learning_rate),
        )
