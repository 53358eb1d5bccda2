"""RAdam."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Decay,
    NonNegative,
    Rate,
    Rule,
    Static,
    Transform,
    abs_sq,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.checks import Interval
from fnopt.core.schedule import Scheduled
from fnopt.first_order.adam import corrected_mean, mean_correction

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

    with :math:`\hat m_t` and :math:`\hat v_t` those of :class:`scale_by_adam`. In single precision
    :math:`\rho_t` cancels: at :math:`\beta_2 = 0.999` optax's first :math:`r_t` are a few per cent
    off, these are not.

    Args:
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        eps: :math:`\epsilon \ge 0`.
        eps_root: :math:`\bar\epsilon \ge 0`.
        threshold: :math:`\rho_{\min} \ge 4`; the paper has 4, its authors' code 5.
        nesterov: as Dozat 2016.
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

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param), "nu": real_zeros(param)}

    def once(self, t: Any) -> Any:
        # In one precision throughout: 1 - b2 of a Python float is not that of its single.
        b2 = jnp.asarray(self.b2, t.dtype)
        nu_correction = -jnp.expm1(t * jnp.log(b2))
        limit = (1 + b2) / (1 - b2)
        length = limit - 2 * t * b2**t / nu_correction
        square = divide((length - 4) * (length - 2) * limit, (limit - 4) * (limit - 2) * length)
        certain = length >= self.threshold
        rate = root(jnp.where(certain, square, 0.0))
        return mean_correction(self.b1, t, self.nesterov), nu_correction, certain, rate

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        mu_correction, nu_correction, certain, rate = t
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(abs_sq(grad), slots.nu, self.b2)
        mean = corrected_mean(mu, grad, self.b1, mu_correction)
        if self.eps_before_correction:
            size = (root(nu + self.eps_root) + self.eps) / root(nu_correction)
        else:
            size = root(nu / nu_correction + self.eps_root) + self.eps
        return jnp.where(certain, divide(rate * mean, size), mean), {"mu": mu, "nu": nu}


class radam(Composed):
    r"""RAdam: :class:`adam` with the warm-up that the variance of its denominator calls for.

    .. math:: \Delta\theta_t = -\eta_t\,r_t\,\hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon)

    and :math:`-\eta_t\,\hat m_t` in the first updates, see :class:`scale_by_radam`.

    Args:
        learning_rate: :math:`\eta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the mean.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        eps: :math:`\epsilon \ge 0`, beside the root.
        eps_root: :math:`\bar\epsilon \ge 0`, under the root.
        threshold: :math:`\rho_{\min} \ge 4`, how many gradients the mean square must rest on.
        nesterov: Nesterov's momentum.

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
        given = self.b1, self.b2, self.eps, self.eps_root, self.threshold
        return (
            scale_by_radam(*given, nesterov=self.nesterov),
            scale_by_learning_rate(self.learning_rate),
        )
