"""NovoGrad."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Decay,
    DType,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    divide,
    moment,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.first_order.mean_square import mean_square


class scale_by_novograd(Rule):
    r"""Momentum of gradients divided by the mean norm that their leaf's gradient has had.

    .. math::
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,\lVert g_t\rVert^2, \qquad
        u_t = m_t = \beta_1\,m_{t-1} +
            \frac{g_t}{\sqrt{v_t + \bar\epsilon} + \epsilon} + \lambda\,\theta_{t-1}

    with :math:`v_1 = \lVert g_1\rVert^2` and :math:`m_0 = 0`: one number a leaf in the place of a
    second moment.

    Args:
        b1: :math:`\beta_1 \in [0, 1)`.
        b2: :math:`\beta_2 \in [0, 1)`.
        eps: :math:`\epsilon \ge 0`.
        eps_root: :math:`\bar\epsilon \ge 0`.
        weight_decay: :math:`\lambda \ge 0`; the decay has the momentum too.
        mu_dtype: of :math:`m`.
        nu_dtype: of the mean square; None for single precision at least.
    """

    b1: Decay = 0.9
    b2: Decay = 0.25
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    weight_decay: Rate = 0.0
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None

    State = optax.ScaleByNovogradState
    needs_params = True

    def slots(self, param: jax.Array) -> dict[str, jax.Array]:
        return {
            "mu": zeros(param, self.mu_dtype),
            "nu": mean_square(jnp.zeros((), param.dtype), self.nu_dtype),
        }

    def once(self, t: Any) -> Any:
        return jnp.where(t == 1, 0.0, self.b2)

    def direct(self, grad: jax.Array, slots: Any, param: Any, t: Any) -> Any:
        nu = moment(jnp.sum(abs_sq(grad)), slots.nu, t)
        scaled = divide(grad, root(nu + self.eps_root) + self.eps)
        mu = self.b1 * slots.mu + scaled + self.weight_decay * param
        return mu, {"mu": mu, "nu": nu}


class novograd(Composed):
    r"""NovoGrad: momentum of gradients whose size is normalized layer by layer.

    .. math:: \Delta\theta_t = -\eta_t\,m_t

    with :math:`m_t` as in :class:`scale_by_novograd`; norms are those of a leaf.

    When:
        Speech and image models for which Adam's second slot is too much memory; large batches.

    Args:
        learning_rate: :math:`\eta \ge 0`.
        b1: :math:`\beta_1 \in [0, 1)`, of the momentum.
        b2: :math:`\beta_2 \in [0, 1)`, of the squared norm.
        eps: :math:`\epsilon \ge 0`, beside the root.
        eps_root: :math:`\bar\epsilon \ge 0`, under the root.
        weight_decay: :math:`\lambda \ge 0`.

    References:
        Ginsburg et al., *Stochastic gradient methods with layer-wise adaptive moments for training
        of deep networks*, 2019, arXiv:1905.11286, Algorithm 1.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.25
    eps: NonNegative = 1e-6
    eps_root: NonNegative = 0.0
    weight_decay: Rate = 0.0

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_novograd(self.b1, self.b2, self.eps, self.eps_root, self.weight_decay),
            scale_by_learning_rate(self.learning_rate),
        )
