"""Sophia."""

from __future__ import annotations

import dataclasses

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Inner,
    Mask,
    NonNegative,
    Rate,
    Transform,
    add_decayed_weights,
    scale_by_learning_rate,
)
from fnopt.core.ranges import AtLeastOne, Bound
from fnopt.first_order.hutchinson import hutchinson_estimator_diag_hessian
from fnopt.first_order.scale_by_sophia import scale_by_sophia


class sophia(Composed):
    r"""Sophia: the mean gradient over a light estimate of the curvature, clipped.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl(\operatorname{clip}(m_t / \max(\gamma\,h_t,
        \epsilon),\, \rho) + \lambda\,\theta_{t-1}\bigr)

    with the means of :class:`scale_by_sophia`, which says how optax's differ. ``update`` receives
    ``value_fn``, the loss on this batch as a function of the parameters (``obj_fn`` in optax).

    When:
        Pre-training of language models, for which it was designed and tuned; with its rate a little
        below AdamW's, 3 to 5 times Lion's, and with Hessian-vector products.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean gradient, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean diagonal, :math:`\beta_2 \in [0, 1)`.
        eps: smallest curvature that is divided by, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        weight_decay_mask: the leaves to decay; all if None.
        gamma: factor of the curvature, :math:`\gamma \ge 0`.
        clip_threshold: largest magnitude of an element, :math:`\rho > 0`; None or inf does not
            clip.
        update_interval: number of updates from one estimate of the curvature to the next, rounded.
        hessian_diagonal_fn: a transform that gives the estimate.
        mu_dtype: dtype of the mean gradient; the parameter's if None.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    References:
        Liu, Li, Hall, Liang & Ma, *Sophia: a scalable stochastic second-order optimizer for
        language model pre-training*, ICLR 2024, arXiv:2305.14342, Algorithm 3 with the estimator
        of Algorithm 1 (Sophia-H), its vectors of signs instead of normal ones.
    """

    learning_rate: Rate
    b1: Decay = 0.965
    b2: Decay = 0.99
    eps: NonNegative = 1e-8
    weight_decay: Rate = 1e-4
    weight_decay_mask: Mask = None
    gamma: NonNegative = 0.01
    clip_threshold: Bound = 1.0
    update_interval: AtLeastOne = 10.0
    hessian_diagonal_fn: Inner = hutchinson_estimator_diag_hessian()
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_sophia(
                self.b1,
                self.b2,
                self.eps,
                self.gamma,
                self.clip_threshold,
                self.update_interval,
                self.hessian_diagonal_fn,
                self.mu_dtype,
                nu_dtype=self.nu_dtype,
            ),
            add_decayed_weights(self.weight_decay, self.weight_decay_mask),
            scale_by_learning_rate(self.learning_rate),
        )
