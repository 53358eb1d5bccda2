"""Adam-mini."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

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
    Static,
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


class scale_by_adam_mini(Rule):
    r"""Adam's mean of gradients, divided by one number for each block of weights.

    .. math:: v_t = \beta_2\,v_{t-1} + (1 - \beta_2) \operatorname{mean}_b(g_t^2), \qquad
        u_t = \hat m_t / (\sqrt{\hat v_t} + \epsilon)

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of :math:`m`; the parameter's if None.
        block_axis: the axis along which every index is a separate block :math:`b`, in leaves
            that have two; None for a block a leaf.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    block_axis: Static[int | None] = None
    nu_dtype: DType = None

    State = optax.ScaleByAdamState
    keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {
            "mu": zeros(param, self.mu_dtype),
            "nu": self._mean(real_zeros(param, dtype=self.nu_dtype)),
        }

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t)

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        corrections = ctx.precomputed
        mu = moment(grad, slots.mu, self.b1)
        nu = moment(self._mean(abs_sq(grad)), slots.nu, self.b2)
        size = root(nu / corrections.nu)
        return divide(mu / corrections.mu, size, eps=self.eps), {"mu": mu, "nu": nu}

    def _mean(self, square: jax.Array) -> jax.Array:
        """One number for each block."""
        if self.block_axis is None or square.ndim < 2:
            return jnp.sum(square) / max(square.size, 1)
        block = self.block_axis % square.ndim
        others = tuple(i for i in range(square.ndim) if i != block)
        total = jnp.sum(square, others, keepdims=True)
        return total / max(square.size // max(square.shape[block], 1), 1)


class adam_mini(Composed):
    r"""Adam-mini: AdamW with one second moment for each block of weights, half its memory.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(\hat m_t / (\sqrt{\hat v_t} + \epsilon)
        + \lambda\,\theta_{t-1}\bigr)

    with :math:`v_t` the average of a block's mean square, as in :class:`scale_by_adam_mini`. The
    decay by default is that of :class:`adamw`; the authors' program has none.

    When:
        Transformers for which AdamW's second slot is too much memory. The paper's blocks are
        output neurons (``block_axis=-1`` for flax's kernels), tokens of embeddings (0) and
        attention heads; to choose them leaf by leaf, use it on groups of parameters.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        block_axis: the axis along which every index is a block (0: rows), in leaves that have two;
            None for a block a leaf.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    References:
        Zhang et al., *Adam-mini: use fewer learning rates to gain more*, ICLR 2025,
        arXiv:2406.16793, Algorithm 1.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    weight_decay: Rate = 1e-4
    mask: Mask = None
    _: dataclasses.KW_ONLY
    block_axis: Static[int | None] = None
    nu_dtype: DType = None
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adam_mini(
                self.b1,
                self.b2,
                self.eps,
                self.mu_dtype,
                block_axis=self.block_axis,
                nu_dtype=self.nu_dtype,
            ),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
