"""Optimistic Adam."""

from __future__ import annotations

import dataclasses

from fnopt.core import (
    Composed,
    Decay,
    DType,
    NonNegative,
    Rate,
    Static,
    Transform,
    scale_by_learning_rate,
)
from fnopt.core.warn import warn_deprecated
from fnopt.first_order.adam import scale_by_adam
from fnopt.first_order.optimistic_gradient_descent import scale_by_optimistic_gradient


class optimistic_adam_v2(Composed):
    r"""Adam against an opponent: it predicts that the direction goes on changing.

    .. math::
        r_t &= \hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon) \\
        \Delta\theta_t &= -\eta_t\,\bigl((\alpha + \beta)\,r_t - \beta\,r_{t-1}\bigr),
        \qquad r_0 = r_1

    with the moments of :class:`scale_by_adam`. Daskalakis et al. have :math:`r_0 = 0`, hence a
    first step of double length, and no Nesterov's momentum; both are optax's.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        alpha: weight of the direction, :math:`\alpha \ge 0`.
        beta: weight of its change, :math:`\beta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        nesterov: whether to use Nesterov's momentum; False for the paper's method.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Adversarial training (GANs) whose players go round in circles under Adam.

    References:
        Daskalakis, Ilyas, Syrgkanis & Zeng, *Training GANs with optimism*, ICLR 2018,
        arXiv:1711.00141, Algorithm 1.
    """

    learning_rate: Rate
    _: dataclasses.KW_ONLY
    alpha: NonNegative = 1.0
    beta: NonNegative = 1.0
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    nesterov: Static[bool] = True
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adam(
                self.b1,
                self.b2,
                self.eps,
                self.eps_root,
                self.mu_dtype,
                nesterov=self.nesterov,
                nu_dtype=self.nu_dtype,
            ),
            scale_by_optimistic_gradient(self.alpha, self.beta),
            scale_by_learning_rate(self.learning_rate),
        )


class optimistic_adam(Composed):
    r"""Optimistic Adam with the arguments it had first; deprecated.

    It is :class:`optimistic_adam_v2` with a rate of 1, ``alpha`` the learning rate and ``beta``
    the optimism. Unlike optax's it takes a schedule of the learning rate.

    Args:
        learning_rate: learning rate :math:`\alpha \ge 0`.
        optimism: :math:`\beta \ge 0`; that of the learning rate if None, as in the paper.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        nesterov: whether to use Nesterov's momentum; False for the paper's method.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    Warns:
        DeprecationWarning: always.

    When:
        In programs written for it; new ones use :class:`optimistic_adam_v2`.

    References:
        Daskalakis, Ilyas, Syrgkanis & Zeng, *Training GANs with optimism*, ICLR 2018,
        arXiv:1711.00141, Algorithm 1.
    """

    learning_rate: Rate
    optimism: NonNegative = None
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
    nu_dtype: DType = None
    family = "adaptive"

    def __post_init__(self) -> None:
        warn_deprecated("`optimistic_adam` is deprecated, please use `optimistic_adam_v2` instead.")
        super().__post_init__()

    def parts(self) -> tuple[Transform, ...]:
        return optimistic_adam_v2(
            1.0,
            alpha=self.learning_rate,
            beta=self.learning_rate if self.optimism is None else self.optimism,
            b1=self.b1,
            b2=self.b2,
            eps=self.eps,
            eps_root=self.eps_root,
            mu_dtype=self.mu_dtype,
            nesterov=self.nesterov,
            nu_dtype=self.nu_dtype,
        ).parts()
