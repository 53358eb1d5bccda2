"""AdEMAMix."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from fnopt.core import (
    Composed,
    Context,
    Corrections,
    Decay,
    DType,
    Mask,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    add_decayed_weights,
    bias_corrections,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class AdemamixState(NamedTuple):
    """The state of :class:`scale_by_ademamix`: optax's without ``count_m2``, which is ``count``."""

    count: jax.Array
    m1: Any
    m2: Any
    nu: Any


class scale_by_ademamix(Rule):
    r"""Adam's direction with a second mean that remembers long.

    .. math::
        m^1_t &= \beta_1\,m^1_{t-1} + (1 - \beta_1)\,g_t, &
        m^2_t &= \beta_3\,m^2_{t-1} + (1 - \beta_3)\,g_t \\
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,g_t^2, &
        u_t &= \frac{m^1_t / (1 - \beta_1^t) + \alpha\,m^2_t}
            {\sqrt{v_t / (1 - \beta_2^t) + \bar\epsilon} + \epsilon}

    The slow mean has no divisor, so that it fills slowly.

    Args:
        b1: decay of the fast mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        b3: decay of the slow mean, :math:`\beta_3 \in [0, 1)`.
        alpha: weight of the slow mean, :math:`\alpha \ge 0`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of both means; the parameter's if None. (optax keeps :math:`v` in it too.)
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    alpha: NonNegative = 6.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None

    State = AdemamixState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        means = {name: zeros(param, self.mu_dtype) for name in ("m1", "m2")}
        return {**means, "nu": real_zeros(param, dtype=self.nu_dtype)}

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        m1 = moment(grad, slots.m1, self.b1)
        m2 = moment(grad, slots.m2, self.b3)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        size = root(nu / corrections.nu + self.eps_root)
        direction = divide(m1 / corrections.mu + self.alpha * m2, size, eps=self.eps)
        return direction, {"m1": m1, "m2": m2, "nu": nu}


class ademamix(Composed):
    r"""AdEMAMix: AdamW with a second, slow momentum.

    .. math:: \Delta\theta_t = -\eta_t\,\Bigl(\frac{\hat m^1_t + \alpha_t\,m^2_t}
        {\sqrt{\hat v_t + \bar\epsilon} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the fast mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        b3: decay of the slow mean, :math:`\beta_3 \in [0, 1)`; in the paper an
            :class:`ademamix_b3_schedule` from ``b1``.
        alpha: weight of the slow mean, :math:`\alpha \ge 0`; in the paper an
            :class:`ademamix_alpha_schedule`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of both means; the parameter's if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Long runs, of ten thousands of updates, at one distribution, with both schedules; for short
        ones lower ``b3`` to 0.999 or take :class:`adamw`.

    References:
        Pagliardini, Ablin & Grangier, *The AdEMAMix optimizer: better, faster, older*, 2024,
        arXiv:2409.03137, Algorithm 1.

    >>> import fnopt
    >>> b3 = fnopt.ademamix_b3_schedule(0.9, 0.9999, 20_000)
    >>> tx = fnopt.ademamix(1e-3, b3=b3, alpha=fnopt.ademamix_alpha_schedule(5.0, 20_000))
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    alpha: NonNegative = 5.0
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    weight_decay: Rate = 0.0
    mask: Mask = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        arguments = self.b1, self.b2, self.b3, self.alpha, self.eps, self.eps_root, self.mu_dtype
        return (
            scale_by_ademamix(*arguments, nu_dtype=self.nu_dtype),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
