"""Lion."""

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
    DType,
    Mask,
    Positive,
    Rate,
    Rule,
    Transform,
    add_decayed_weights,
    moment,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.fields import Field
from fnopt.core.types import LeafUpdate, Slots

Mode = Annotated[Any, Field(static=True, choices=("hard", "smooth", "refined"))]


class scale_by_lion(Rule):
    r"""The sign of a mean of the gradient and of recent gradients.

    .. math::
        c_t = \beta_1\,m_{t-1} + (1 - \beta_1)\,g_t, \qquad u_t = \operatorname{sign}(c_t), \qquad
        m_t = \beta_2\,m_{t-1} + (1 - \beta_2)\,g_t

    With ``mode="smooth"`` :math:`u_t = \tanh(\kappa\,c_t)`; with ``"refined"`` :math:`u_t = c_t`
    where :math:`\lvert c_t\rvert < 1`.

    Args:
        b1: share of the momentum in the direction, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the momentum, :math:`\beta_2 \in [0, 1)`.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        mode: ``"hard"`` (the paper's), ``"smooth"`` or ``"refined"``.
        smooth_beta: steepness :math:`\kappa > 0`, for ``"smooth"`` alone.
    """

    b1: Decay = 0.9
    b2: Decay = 0.99
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    mode: Mode = "hard"
    smooth_beta: Positive = 1.0

    State = optax.ScaleByLionState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        mean = moment(grad, slots.mu, self.b1)
        if self.mode == "smooth":
            direction = jnp.tanh(self.smooth_beta * mean)
        else:
            direction = jnp.sign(mean)
        if self.mode == "refined":
            direction = jnp.where(jnp.abs(mean) < 1, mean, direction)
        return direction, {"mu": moment(grad, slots.mu, self.b2)}


class lion(Composed):
    r"""Lion: every weight moves by the learning rate, by the sign of its momentum.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(
        \operatorname{sign}(\beta_1\,m_{t-1} + (1 - \beta_1)\,g_t) + \lambda\,\theta_{t-1}\bigr)

    When:
        Instead of AdamW where memory counts (one slot), with large batches; its rate is 3 to
        10 times smaller than AdamW's, its decay as much larger. With small batches it is no better.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: share of the momentum in the direction, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the momentum, :math:`\beta_2 \in [0, 1)`.
        mu_dtype: dtype of the momentum; the parameter's if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    References:
        Chen et al., *Symbolic discovery of optimization algorithms*, NeurIPS 2023,
        arXiv:2302.06675, Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.99
    mu_dtype: DType = None
    weight_decay: Rate = 1e-3
    mask: Mask = None
    family = "sign"
    usual_rate = 3e-4

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_lion(self.b1, self.b2, self.mu_dtype),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
