"""Adan."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

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


class AdanState(NamedTuple):
    """The state of :class:`scale_by_adan`: optax's, except that its count is named ``t``."""

    count: jax.Array
    m: Any
    v: Any
    n: Any
    g: Any


class Start(NamedTuple):
    """Whether this is the first update, and the divisors of the three averages."""

    first: jax.Array
    m_correction: jax.Array
    v_correction: jax.Array
    n_correction: jax.Array


class scale_by_adan(Rule):
    r"""Predicts the gradient by its differences, and divides by its magnitude.

    .. math::
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t \\
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,(g_t - g_{t-1}) \\
        n_t &= \beta_3\,n_{t-1} + (1 - \beta_3)\,\bigl(g_t + \beta_2\,(g_t - g_{t-1})\bigr)^2 \\
        u_t &= (\hat m_t + \beta_2\,\hat v_t) / (\sqrt{\hat n_t + \bar\epsilon} + \epsilon)

    with :math:`g_0 = g_1` and each average divided by its :math:`1 - \beta^t`, as in the authors'
    code. The paper writes :math:`1 - \beta` for our :math:`\beta`. optax multiplies the differences
    by :math:`1 - \beta_2` (0.08) where paper and authors' code have what is here :math:`\beta_2`
    (0.92): its pull request 1715.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean difference, :math:`\beta_2 \in [0, 1)`.
        b3: decay of the mean square, :math:`\beta_3 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
    """

    b1: Decay = 0.98
    b2: Decay = 0.92
    b3: Decay = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0

    State = AdanState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"m": zeros(param), "v": zeros(param), "n": real_zeros(param), "g": zeros(param)}

    def precompute(self, t: Numeric) -> Start:
        return Start(t == 1, *(bias_correction(b, t) for b in (self.b1, self.b2, self.b3)))

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        first, m_correction, v_correction, n_correction = ctx.precomputed
        difference = jnp.where(first, jnp.zeros_like(grad), grad - slots.g)
        m = moment(grad, slots.m, self.b1)
        v = moment(difference, slots.v, self.b2)
        n = moment(abs_sq(grad + self.b2 * difference), slots.n, self.b3)
        size = root(n / n_correction + self.eps_root)
        direction = m / m_correction + self.b2 * v / v_correction
        return divide(direction, size, eps=self.eps), {"m": m, "v": v, "n": n, "g": grad}


class adan(Composed):
    r"""Adan: Adam with Nesterov's momentum, taken without a gradient at another point.

    .. math:: \Delta\theta_t = -\eta_t\,\Bigl(\frac{\hat m_t + \beta_2\,\hat v_t}
        {\sqrt{\hat n_t + \bar\epsilon} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    The paper's decay divides by :math:`1 + \lambda\eta`; this one, optax's and that of the authors'
    code with ``no_prox``, is the same to first order in :math:`\lambda\eta`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean difference, :math:`\beta_2 \in [0, 1)`.
        b3: decay of the mean square, :math:`\beta_3 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    When:
        Vision and language models at large rates and batches, where it takes 5 to 10 times the
        rate of :class:`adamw`; it keeps four slots where that keeps two.

    References:
        Xie, Zhou, Li, Lin & Yan, *Adan: adaptive Nesterov momentum algorithm for faster optimizing
        deep models*, 2022, arXiv:2208.06677, Algorithm 1.
    """

    learning_rate: Rate
    b1: Decay = 0.98
    b2: Decay = 0.92
    b3: Decay = 0.99
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    mask: Mask = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adan(self.b1, self.b2, self.b3, self.eps, self.eps_root),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
