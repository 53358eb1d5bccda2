"""MARS."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Joint,
    Mask,
    NonNegative,
    Rate,
    Transform,
    add_decayed_weights,
    global_norm,
    scale_by_learning_rate,
)
from fnopt.core.ranges import Bound
from fnopt.core.types import Arrays, LeavesUpdate
from fnopt.first_order.adam import scale_by_adam
from fnopt.first_order.block import excess
from fnopt.first_order.optimistic_gradient_descent import scale_by_optimistic_gradient


class correct_by_mars(Joint):
    r"""The corrected and clipped gradient of :class:`mars`.

    .. math:: c_t = g_t + \gamma\,\frac{\beta_1}{1 - \beta_1}\,(g_t - g_{t-1}), \qquad
        u_t = c_t \cdot c\,/\max(\lVert c_t \rVert, c), \qquad g_0 = g_1

    Args:
        b1: decay of the mean that the next transform takes, :math:`\beta_1 \in [0, 1)`.
        gamma: weight of the correction, :math:`\gamma \ge 0`.
        max_norm: largest norm of all leaves together, :math:`c > 0`; None or inf does not clip.
    """

    b1: Decay = 0.95
    gamma: NonNegative = 0.025
    max_norm: Bound = 1.0

    State = scale_by_optimistic_gradient.State
    shared = scale_by_optimistic_gradient.shared
    elementwise = keeps_zero = True

    def init_shared(self, params: Arrays) -> dict[str, Any]:
        return scale_by_optimistic_gradient().init_shared(params)

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return scale_by_optimistic_gradient().init_leaf(param)

    def update_leaves(self, grads: Arrays, *args: Any, **extra_args: Any) -> LeavesUpdate:
        optimism = self.gamma * self.b1 / (1 - self.b1)
        change = scale_by_optimistic_gradient(1.0, optimism)
        corrected, rows, shared = change.update_leaves(grads, *args, **extra_args)
        if self.max_norm is None:
            return corrected, rows, shared
        too_long = excess(global_norm(corrected), self.max_norm)
        return [c / too_long for c in corrected], rows, shared


class mars(Composed):
    r"""AdamW on gradients whose variance is reduced by means of the gradients before.

    .. math::
        c_t &= g_t + \gamma\,\frac{\beta_1}{1 - \beta_1}\,(g_t - g_{t-1}), \qquad
        \tilde c_t = c_t\,/\max(1, \lVert c_t \rVert) \\
        m_t &= \beta_1\,m_{t-1} + (1 - \beta_1)\,\tilde c_t, \qquad
        v_t = \beta_2\,v_{t-1} + (1 - \beta_2)\,\tilde c_t^2 \\
        \Delta\theta_t &= -\eta_t\,
        \bigl(\hat m_t / (\sqrt{\hat v_t} + \epsilon) + \lambda\,\theta_{t-1}\bigr)

    This is MARS-AdamW in its approximate form: :math:`g_{t-1}` is the last update's gradient, where
    the exact one takes the present batch's at the parameters before. The norm is that of all
    parameters together, as in the paper; the authors' code clips every array by itself, starts
    with :math:`g_0 = 0` where here :math:`g_0 = g_1`, and runs AdamW with other numbers on
    what is no matrix (here that is for groups of parameters to say).

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        gamma: weight of the correction, :math:`\gamma \ge 0`; 0 is AdamW on clipped gradients.
        max_norm: largest norm of the gradient, above 0, 1 in the paper; None or inf does not clip.
        mask: the leaves to decay; all if None.
        mu_dtype: dtype of the mean; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Pretraining of language models in place of AdamW, at somewhat higher rates.

    References:
        Yuan, Liu, Wu, Zhou & Gu, *MARS: unleashing the power of variance reduction for training
        large models*, 2024, arXiv:2411.10438, Algorithms 1 and 2.
    """

    learning_rate: Rate
    b1: Decay = 0.95
    b2: Decay = 0.99
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    gamma: NonNegative = 0.025
    max_norm: Bound = 1.0
    mask: Mask = None
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            correct_by_mars(self.b1, self.gamma, self.max_norm),
            scale_by_adam(
                self.b1, self.b2, self.eps, mu_dtype=self.mu_dtype, nu_dtype=self.nu_dtype
            ),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
