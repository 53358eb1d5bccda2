"""AdaBound and AMSBound."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
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
    bias_correction,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)


class scale_by_adabound(Rule):
    r"""Adam's step with the rate of every weight kept between two bounds that meet.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, \qquad
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        u_t &= \operatorname{clip}\Bigl(
            \frac{\eta_t\sqrt{1 - \beta_2^t} / (1 - \beta_1^t)}{\sqrt{v_t} + \epsilon},\;
            \eta^* - \frac{\eta^*}{\gamma t + 1},\; \eta^* + \frac{\eta^*}{\gamma t}\Bigr)\,m_t

    AMSBound has :math:`\max_{i \le t} v_i` for :math:`v_t`. The two corrections of the rate and the
    absence of :math:`1/\sqrt t` are those of the authors' code. At :math:`\eta_t = 0` it stands
    still, whatever the bounds are.

    Args:
        learning_rate: :math:`\eta \ge 0`; it acts before the clip, and so stands here.
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        final_learning_rate: :math:`\eta^* \ge 0`.
        gamma: :math:`\gamma > 0`.
        eps: :math:`\epsilon \ge 0`.
        amsbound: AMSBound.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    final_learning_rate: Rate = 0.1
    gamma: Positive = 1e-3
    eps: NonNegative = 1e-8
    amsbound: Static[bool] = False

    @property
    def State(self) -> Any:
        return optax.ScaleByAmsgradState if self.amsbound else optax.ScaleByAdamState

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        nu = {name: real_zeros(param) for name in ("nu", "nu_max")[: 1 + self.amsbound]}
        return {"mu": zeros(param), **nu}

    def once(self, t: Any) -> Any:
        rate = self.learning_rate * root(bias_correction(self.b2, t)) / bias_correction(self.b1, t)
        # At a rate of 0 the bounds would be a rate of their own.
        last = jnp.where(self.learning_rate == 0, 0.0, self.final_learning_rate)
        return rate, last - last / (self.gamma * t + 1), last + last / (self.gamma * t)

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        rate, low, high = t
        mu = moment(grad, slots.mu, self.b1)
        nu = square = moment(abs_sq(grad), slots.nu, self.b2)
        new = {"mu": mu, "nu": nu}
        if self.amsbound:
            new["nu_max"] = square = jnp.maximum(slots.nu_max, nu)
        return jnp.clip(divide(rate, root(square) + self.eps), low, high) * mu, new


class adabound(Composed):
    r"""AdaBound: Adam at first, gradient descent with momentum in the end.

    .. math:: \Delta\theta_t = -\operatorname{clip}\Bigl(
        \frac{\eta_t}{(1 - \beta_1^t) \sqrt{\hat v_t}},\;
        \eta^* - \tfrac{\eta^*}{\gamma t + 1},\; \eta^* + \tfrac{\eta^*}{\gamma t}\Bigr)\,m_t

    with :math:`\epsilon` where :class:`scale_by_adabound` has it. A schedule of the rate does not
    lower the bounds: give ``final_learning_rate`` one too (the authors' code scales it alike).

    Args:
        learning_rate: :math:`\eta \ge 0`, Adam's.
        b1: :math:`\beta_1 \in [0, 1)`, of the mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        final_learning_rate: :math:`\eta^* \ge 0`, that of gradient descent.
        gamma: :math:`\gamma > 0`, how fast the bounds close, per update.
        eps: :math:`\epsilon \ge 0`, beside the root.
        amsbound: divide by the largest mean square so far.
        weight_decay: :math:`\lambda \ge 0` of an L2 penalty in the gradient.
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
        given = self.b1, self.b2, self.final_learning_rate, self.gamma, self.eps, self.amsbound
        return (
            add_l2(self.weight_decay, self.mask),
            scale_by_adabound(self.learning_rate, *given),
            scale_by_learning_rate(1.0),
        )
