"""AdaMuon."""

from __future__ import annotations

import dataclasses

from fnopt.core import Decay, DType, Inner, Mask, NonNegative, Rate, Transform
from fnopt.core.ranges import NonNegativeInteger
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_adamuon import scale_by_adamuon


class adamuon(Iterated, MatrixOptimizer):
    r"""Muon of signs with a separate rate for every weight, for the matrices of hidden layers.

    .. math:: \Delta\theta_t = -\eta_t\,(u_t + \lambda\,\theta_{t-1})

    with :math:`u_t` of :class:`scale_by_adamuon`. Vectors, embeddings and heads get another
    optimizer, AdamW at the same rate if not said otherwise.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        beta: decay of the sum and of the mean square, :math:`\beta \in [0, 1)`.
        eps: added to the roots, and to the norm before the iteration, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay of matrices, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        mu_dtype: dtype of the sum; the parameter's if None.
        consistent_rms: root mean square of the direction, :math:`r \ge 0`.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        other: the optimizer of all other leaves, with a rate of its own; AdamW if None.
        ns_dtype: dtype of the iteration; float32, or float64 for float64 leaves, if None.

    When:
        Where :class:`muon` is, for the price of Adam's second slot; the rate is AdamW's.

    Raises:
        ValueError: there are several rows of coefficients, but fewer than iterations.

    References:
        Si, Zhang & Shen, *AdaMuon: adaptive Muon optimizer*, 2025, arXiv:2507.11005v3, Algorithm 1.
    """

    learning_rate: Rate
    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    mask: Mask = None
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    consistent_rms: NonNegative = 0.2
    matrices: MatricesField = None
    other: Inner = None
    ns_dtype: DType = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        method = scale_by_adamuon(
            self.ns_coeffs,
            self.ns_steps,
            self.beta,
            self.eps,
            self.mu_dtype,
            consistent_rms=self.consistent_rms,
            matrices=self.matrices,
            ns_dtype=self.ns_dtype,
        )
        return (method,)
