"""Simplified AdEMAMix."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

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
    add_decayed_weights,
    bias_correction,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class SimplifiedAdemamixState(NamedTuple):
    """The state of :class:`scale_by_simplified_ademamix`: optax's, whose count is called ``t``."""

    count: jax.Array
    m: Any
    n: Any


class scale_by_simplified_ademamix(Rule):
    r"""Divides a sum of old gradients and the new one by the root of the mean square.

    .. math::
        m_t = \beta_1\,m_{t-1} + g_t, \qquad
        n_t = \beta_2\,n_{t-1} + (1 - \beta_2)\,g_t^2, \qquad
        u_t = \frac{m_t + \alpha\,g_t}{\sqrt{n_t / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}

    Args:
        b1: decay of the sum, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        alpha: weight of the new gradient, :math:`\alpha \ge 0`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
    """

    b1: Decay = 0.99
    b2: Decay = 0.95
    alpha: NonNegative = 0.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0

    State = SimplifiedAdemamixState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"m": zeros(param), "n": real_zeros(param)}

    def precompute(self, t: Numeric) -> Any:
        return bias_correction(self.b2, t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        m = self.b1 * slots.m + grad
        n = moment(abs_sq(grad), slots.n, self.b2)
        size = root(n / ctx.precomputed + self.eps_root)
        return divide(m + self.alpha * grad, size, eps=self.eps), {"m": m, "n": n}


class simplified_ademamix(Composed):
    r"""AdEMAMix with one momentum, and the new gradient instead of the fast mean.

    .. math:: \Delta\theta_t = -\eta_t\,\Bigl(\frac{m_t + \alpha\,g_t}
        {\sqrt{\hat n_t + \bar\epsilon} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    The momentum is a sum, not a mean: a rate is about :math:`1 - \beta_1` times that of Adam. With
    :math:`\alpha = 0` it is Adam without the correction of its mean.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the sum, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        alpha: weight of the new gradient, :math:`\alpha \ge 0`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    When:
        As :class:`ademamix` where its slot or its schedules are too much: small batches want a
        large ``alpha`` and ``b1`` near 1.

    References:
        Morwani, Vyas, Zhang & Kakade, *Connections between schedule-free optimizers, AdEMAMix,
        and accelerated SGD variants*, 2025, arXiv:2502.02431, Simplified AdEMAMix.
    """

    learning_rate: Rate
    b1: Decay = 0.99
    b2: Decay = 0.95
    alpha: NonNegative = 0.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    weight_decay: Rate = 0.0
    mask: Mask = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_simplified_ademamix(self.b1, self.b2, self.alpha, self.eps, self.eps_root),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
