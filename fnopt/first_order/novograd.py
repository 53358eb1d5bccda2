"""NovoGrad."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    DType,
    NonNegative,
    Rate,
    Rule,
    Transform,
    abs_sq,
    divide,
    moment,
    real_zeros,
    root,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Numeric, Slots


class scale_by_novograd(Rule):
    r"""Momentum of gradients divided by the mean norm that their leaf's gradient has had.

    .. math::
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,\lVert g_t\rVert^2, \qquad
        u_t = m_t = \beta_1\,m_{t-1} +
            \frac{g_t}{\sqrt{v_t + \bar\epsilon} + \epsilon} + \lambda\,\theta_{t-1}

    with :math:`v_1 = \lVert g_1\rVert^2` and :math:`m_0 = 0`: one number a leaf instead of a
    second moment.

    Args:
        b1: decay of the momentum, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the squared norm, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`; it goes through the
            momentum.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
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

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {
            "mu": zeros(param, self.mu_dtype),
            "nu": real_zeros(jnp.zeros((), param.dtype), dtype=self.nu_dtype),
        }

    def precompute(self, t: Numeric) -> Any:
        return jnp.where(t == 1, 0.0, self.b2)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        nu = moment(jnp.sum(abs_sq(grad)), slots.nu, ctx.precomputed)
        scaled = divide(grad, root(nu + self.eps_root), eps=self.eps)
        mu = self.b1 * slots.mu + scaled + self.weight_decay * param
        return mu, {"mu": mu, "nu": nu}


class novograd(Composed):
    r"""NovoGrad: momentum of gradients whose size is normalized layer by layer.

    .. math:: \Delta\theta_t = -\eta_t\,m_t

    with :math:`m_t` as in :class:`scale_by_novograd`; norms are those of a leaf.

    When:
        Speech and image models for which Adam's second slot is too much memory; large batches.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the momentum, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the squared norm, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.

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
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_novograd(self.b1, self.b2, self.eps, self.eps_root, self.weight_decay),
            scale_by_learning_rate(self.learning_rate),
        )
