"""AdaBound and AMSBound."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    Mask,
    NonNegative,
    Positive,
    Rate,
    Rule,
    Static,
    Transform,
    abs_sq,
    add_l2,
    divide,
    moment,
    rate_correction,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class Bounds(NamedTuple):
    """Adam's rate with both corrections, and the least and the largest rate of a weight."""

    rate: jax.Array
    low: jax.Array
    high: jax.Array


class scale_by_adabound(Rule):
    r"""Adam's step with the rate of every weight clipped between two bounds that meet.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, \qquad
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        u_t &= \operatorname{clip}\Bigl(
            \frac{\eta_t\sqrt{1 - \beta_2^t} / (1 - \beta_1^t)}{\sqrt{v_t} + \epsilon},\;
            \eta^* - \frac{\eta^*}{\gamma t + 1},\; \eta^* + \frac{\eta^*}{\gamma t}\Bigr)\,m_t

    AMSBound has :math:`\max_{i \le t} v_i` for :math:`v_t`. The two corrections of the rate and the
    absence of :math:`1/\sqrt t` are those of the authors' code. At :math:`\eta_t = 0` it stands
    still for any bounds.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`, an argument of the rule as the clip is
            after it.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        final_learning_rate: learning rate where the bounds meet, :math:`\eta^* \ge 0`.
        gamma: speed at which the bounds close, per update, :math:`\gamma > 0`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        amsbound: whether to divide by the largest mean square so far (AMSBound).
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    final_learning_rate: Rate = 0.1
    gamma: Positive = 1e-3
    eps: NonNegative = 1e-8
    amsbound: Static[bool] = False

    elementwise = keeps_zero = True

    @property
    def State(self) -> Any:
        return optax.ScaleByAmsgradState if self.amsbound else optax.ScaleByAdamState

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        nu = {name: real_zeros(param) for name in ("nu", "nu_max")[: 1 + self.amsbound]}
        return {"mu": zeros(param), **nu}

    def precompute(self, t: Numeric) -> Bounds:
        rate = self.learning_rate * rate_correction(self.b1, self.b2, t)
        # At a rate of 0 the bounds would still make steps.
        last = jnp.where(self.learning_rate == 0, 0.0, self.final_learning_rate)
        return Bounds(rate, last - last / (self.gamma * t + 1), last + last / (self.gamma * t))

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        rate, low, high = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        nu = square = moment(abs_sq(grad), slots.nu, self.b2)
        new = {"mu": mu, "nu": nu}
        if self.amsbound:
            new["nu_max"] = square = jnp.maximum(slots.nu_max, nu)
        return jnp.clip(divide(rate, root(square), eps=self.eps), low, high) * mu, new


class adabound(Composed):
    r"""AdaBound: Adam at first, gradient descent with momentum in the end.

    .. math:: \Delta\theta_t = -\operatorname{clip}\Bigl(
        \frac{\eta_t}{(1 - \beta_1^t) \sqrt{\hat v_t}},\;
        \eta^* - \tfrac{\eta^*}{\gamma t + 1},\; \eta^* + \tfrac{\eta^*}{\gamma t}\Bigr)\,m_t

    with :math:`\epsilon` where :class:`scale_by_adabound` has it. A schedule of the rate does not
    lower the bounds: give ``final_learning_rate`` one too (the authors' code scales both).

    Args:
        learning_rate: learning rate of Adam's phase, :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        final_learning_rate: learning rate of gradient descent, where the bounds meet,
            :math:`\eta^* \ge 0`.
        gamma: speed at which the bounds close, per update, :math:`\gamma > 0`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        amsbound: whether to divide by the largest mean square so far.
        weight_decay: strength of an L2 penalty in the gradient, :math:`\lambda \ge 0`.
        mask: the leaves to penalize; all if None.

    When:
        Convolutional networks for which :class:`sgd` ends best and :class:`adam` starts best;
        ``final_learning_rate`` wants the care of a rate of gradient descent.

    References:
        Luo, Xiong, Liu & Sun, *Adaptive gradient methods with dynamic bound of learning rate*,
        ICLR 2019, arXiv:1902.09843, Algorithms 2 and 3.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    final_learning_rate: Rate = 0.1
    gamma: Positive = 1e-3
    eps: NonNegative = 1e-8
    amsbound: Static[bool] = False
    weight_decay: Rate = 0.0
    mask: Mask = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        arguments = self.b1, self.b2, self.final_learning_rate, self.gamma, self.eps, self.amsbound
        return (
            add_l2(self.weight_decay, self.mask),
            scale_by_adabound(self.learning_rate, *arguments),
            scale_by_learning_rate(1.0),
        )
