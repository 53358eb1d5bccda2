"""Dion2."""

from __future__ import annotations

import dataclasses

from fnopt.core import Decay, DType, Inner, Mask, NonNegative, Rate, Transform
from fnopt.core.ranges import NonNegativeInteger
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_dion2 import Adjustment, Share, scale_by_dion2


class dion2(Iterated, MatrixOptimizer):
    r"""Muon on a share of the rows or columns of every matrix, those with the largest momentum.

    .. math:: \Delta\theta_t = -\eta_t\,(u_t + \lambda\,\theta_{t-1})

    with :math:`u_t` of :class:`scale_by_dion2` for the matrices of hidden layers, which is 0 in
    the other rows. Vectors, embeddings and heads get another optimizer.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        fraction: share of the rows that move at an update, in (0, 1], of the shorter side.
        ef_decay: share of their momentum that remains, in [0, 1).
        weight_decay: strength of the weight decay of matrices, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        adjust_lr: the factor by shape: ``"spectral_norm"``, ``"rms_norm"`` or None for 1; see
            :class:`scale_by_dion2`.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        eps: added to the norm that a matrix is divided by, at least 0.
        mu_dtype: dtype of the momentum; the parameter's if None.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        other: the optimizer of all other leaves; AdamW at the same rate if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    When:
        Muon's products cost too much of a step: large matrices beside a small batch. Those of a
        share :math:`\alpha` of the rows are about :math:`\alpha^2` of those of all, while each row
        moves less often.

    References:
        Ahn, Amsel & Langford, *Dion2: a simple method to shrink matrix in Muon*, 2025,
        arXiv:2512.16928.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"kernel": jnp.ones((8, 8))}
    >>> tx = fnopt.dion2(0.01, fraction=0.25)
    >>> grads = {"kernel": jnp.arange(64.0).reshape(8, 8)}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> int((abs(updates["kernel"]).max(axis=0) > 1e-3).sum())
    2
    """

    learning_rate: Rate
    fraction: Share = 0.25
    ef_decay: Decay = 0.95
    weight_decay: Rate = 0.01
    mask: Mask = None
    _: dataclasses.KW_ONLY
    adjust_lr: Adjustment = "spectral_norm"
    ns_coeffs: Coefficients = "dion"
    ns_steps: NonNegativeInteger = 5
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    matrices: MatricesField = None
    other: Inner = None
    ns_dtype: DType = None
    family = "matrix"
    usual_rate = 0.01

    def direction(self) -> tuple[Transform, ...]:
        return (
            scale_by_dion2(
                self.fraction,
                self.ef_decay,
                adjust_lr=self.adjust_lr,
                ns_coeffs=self.ns_coeffs,
                ns_steps=self.ns_steps,
                eps=self.eps,
                mu_dtype=self.mu_dtype,
                matrices=self.matrices,
                ns_dtype=self.ns_dtype,
            ),
        )
