"""AdEMAMix."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax

from fnopt.core import (
    Composed,
    Decay,
    DType,
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
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.first_order.mean_square import mean_square


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

    The slow mean has no divisor: it is to fill slowly.

    Args:
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        b3: :math:`\beta_3 \in [0, 1)`.
        alpha: :math:`\alpha \ge 0`.
        eps: :math:`\epsilon \ge 0`.
        eps_root: :math:`\bar\epsilon \ge 0`.
        mu_dtype: of both means. (optax keeps :math:`v` in it too.)
        nu_dtype: of the mean square; None for single precision at least.
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

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        means = {name: zeros(param, self.mu_dtype) for name in ("m1", "m2")}
        return {**means, "nu": mean_square(param, self.nu_dtype)}

    def once(self, t: Any) -> Any:
        return bias_correction(self.b1, t), bias_correction(self.b2, t)

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        mu_correction, nu_correction = t
        m1 = moment(grad, slots.m1, self.b1)
        m2 = moment(grad, slots.m2, self.b3)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        size = root(nu / nu_correction + self.eps_root)
        direction = divide(m1 / mu_correction + self.alpha * m2, size, eps=self.eps)
        return direction, {"m1": m1, "m2": m2, "nu": nu}


class ademamix(Composed):
    r"""AdEMAMix: AdamW with a second, slow momentum.

    .. math:: \Delta\theta_t = -\eta_t\,\Bigl(\frac{\hat m^1_t + \alpha_t\,m^2_t}
        {\sqrt{\hat v_t + \bar\epsilon} + \epsilon} + \lambda\,\theta_{t-1}\Bigr)

    Args:
        learning_rate: :math:`\eta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the fast mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        b3: :math:`\beta_3 \in [0, 1)`, of the slow mean; in the paper an
            :class:`ademamix_b3_schedule` from ``b1``.
        alpha: :math:`\alpha \ge 0`, the weight of the slow mean; in the paper an
            :class:`ademamix_alpha_schedule`.
        eps: :math:`\epsilon \ge 0`, beside the root.
        eps_root: :math:`\bar\epsilon \ge 0`, under the root.
        mu_dtype: of both means.
        weight_decay: :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nu_dtype: of the mean square; None for single precision at least.

    When:
        Long runs, of ten thousands of updates, at one distribution, with both schedules; for short
        ones lower ``b3`` to 0.999 or take :class:`adamw`.

    References:
        Pagliardini, Ablin & Grangier, *The AdEMAMix optimizer: better, faster, older*, 2024,
        arXiv:2409.03137, Algorithm 1.

    >>> import fnopt
    >>> steps = 20_000
    >>> tx = fnopt.ademamix(
    ...     1e-3,
    ...     b3=fnopt.ademamix_b3_schedule(0.9, 0.9999, steps),
    ...     alpha=fnopt.ademamix_alpha_schedule(5.0, steps),
    ... )
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
        given = self.b1, self.b2, self.b3, self.alpha, self.eps, self.eps_root, self.mu_dtype
        return (
            scale_by_ademamix(*given, nu_dtype=self.nu_dtype),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
