"""StableAdamW."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Composed,
    Context,
    Decay,
    DType,
    Mask,
    NonNegative,
    Rate,
    Transform,
    divide,
    rms,
    root,
    scale_by_learning_rate,
)
from fnopt.core.ranges import Bound
from fnopt.core.types import LeafUpdate, Slots
from fnopt.first_order.adam import scale_by_adam
from fnopt.first_order.block import excess
from fnopt.first_order.decayed import decayed


class _clipped_adam(scale_by_adam):
    """Adam's direction and the decay, divided by how far the second moment lags behind."""

    weight_decay: Rate = 0.0
    threshold: Bound = 1.0
    mask: Mask = None

    needs_params = True
    elementwise = keeps_zero = False  # it decays weights, and a leaf's rate is clipped as one

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        direction, new = super().update_leaf(grad, slots, param, ctx)
        total = direction + self.weight_decay * param
        if self.threshold is None:
            return total, new
        # The square of the quotient: that of the gradient may be too large for its precision.
        size = jnp.maximum(root(new["nu"] / ctx.precomputed.nu), self.eps)
        lag = rms(divide(grad, size))
        return total / excess(lag, self.threshold), new


class stable_adamw(Composed):
    r"""AdamW whose rate falls, leaf by leaf, where the second moment lags behind the gradient.

    .. math::
        \text{rms}_t &= \sqrt{\operatorname{mean}(g_t^2 / \max(\hat v_t, \epsilon^2))}, \qquad
        \eta'_t = \eta_t / \max(1, \text{rms}_t / d) \\
        \Delta\theta_t &= -\eta'_t\,\bigl(\hat m_t / (\sqrt{\hat v_t} + \epsilon)
            + \lambda\,\theta_{t-1}\bigr)

    with Adam's :math:`\hat m_t` and :math:`\hat v_t`. The defaults of the decay and of
    :math:`\epsilon` are those of :class:`adamw`; optimi's, for torch, are 1e-2 and 1e-6.

    When:
        Instead of AdamW with clipped gradients, where the loss has spikes: large transformers,
        low precision, :math:`\beta_2` near 1.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        clipping_threshold: lag from which steps shrink, :math:`d > 0`, 1 in the paper; None or inf
            does not clip.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    References:
        Wortsman et al., *Stable and low-precision training for large-scale vision-language
        models*, NeurIPS 2023, arXiv:2304.13013, Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.99
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    weight_decay: Rate = 1e-4
    mask: Mask = None
    clipping_threshold: Bound = 1.0
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        rule = functools.partial(
            _clipped_adam,
            self.b1,
            self.b2,
            self.eps,
            mu_dtype=self.mu_dtype,
            nu_dtype=self.nu_dtype,
            threshold=self.clipping_threshold,
        )
        return (
            *decayed(rule, self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
