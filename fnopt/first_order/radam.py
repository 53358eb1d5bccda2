"""RAdam."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    abs_sq,
    bias_corrections,
    corrected_mean,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.checks import Interval
from fnopt.core.ranges import Scheduled
from fnopt.core.types import LeafUpdate, Numeric, Slots
from fnopt.first_order.rectification import Rectification, rectification

Threshold = Annotated[Any, Scheduled(Interval("[4, inf)"), "below 4 there is no variance")]


class scale_by_radam(Rule):
    r"""Adam's direction, shortened while its denominator is uncertain, and without it before.

    .. math::
        \rho_\infty &= \frac{2}{1 - \beta_2} - 1, &
        \rho_t &= \rho_\infty - \frac{2\,t\,\beta_2^t}{1 - \beta_2^t} \\
        r_t &= \sqrt{\frac{(\rho_t - 4)(\rho_t - 2)\,\rho_\infty}
            {(\rho_\infty - 4)(\rho_\infty - 2)\,\rho_t}}, &
        u_t &= \begin{cases}
            r_t\,\hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon) & \rho_t \ge \rho_{\min} \\
            \hat m_t & \text{else}\end{cases}

    with :math:`\hat m_t` and :math:`\hat v_t` those of :class:`scale_by_adam`. As it is written
    :math:`\rho_t` cancels in single precision: at :math:`\beta_2 = 0.999` optax's first :math:`r_t`
    are a few per cent off, these are not.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        threshold: smallest length to divide at, :math:`\rho_{\min} \ge 4`; the paper has 4, its
            authors' code 5.
        nesterov: whether to use Nesterov's momentum, as in Dozat 2016.
        eps_before_correction: divide by :math:`(\sqrt{v_t} + \epsilon) / \sqrt{1 - \beta_2^t}`, as
            the authors' code and torch do.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    threshold: Threshold = 5.0
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    eps_before_correction: Static[bool] = False

    State = optax.ScaleByAdamState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param)}

    def precompute(self, t: Numeric) -> Rectification:
        corrections = bias_corrections(self.b1, self.b2, t, self.nesterov)
        return rectification(corrections, self.b2, t, self.threshold)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections, certain, rate = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        mean = corrected_mean(mu, grad, self.b1, corrections)
        if self.eps_before_correction:
            size = (root(nu + self.eps_root) + self.eps) / root(corrections.nu)
        else:
            size = root(nu / corrections.nu + self.eps_root) + self.eps
        return jnp.where(certain, divide(rate * mean, size), mean), {"mu": mu, "nu": nu}


class radam(Composed):
    r"""RAdam: :class:`adam` with the warm-up that the variance of its denominator calls for.

    .. math:: \Delta\theta_t = -\eta_t\,r_t\,\hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)

    and :math:`-\eta_t\,\hat m_t` in the first updates, see :class:`scale_by_radam`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        threshold: number of gradients that the mean square must rest on, :math:`\rho_{\min} \ge 4`.
        nesterov: whether to use Nesterov's momentum.

    When:
        Adam wants a warm-up and one would rather not choose its length. The first updates are
        plain gradient descent: large gradients at the start make large steps.

    References:
        Liu et al., *On the variance of the adaptive learning rate and beyond*, ICLR 2020,
        arXiv:1908.03265, Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    threshold: Threshold = 5.0
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        arguments = self.b1, self.b2, self.eps, self.eps_root, self.threshold
        return (
            scale_by_radam(*arguments, nesterov=self.nesterov),
            scale_by_learning_rate(self.learning_rate),
        )
