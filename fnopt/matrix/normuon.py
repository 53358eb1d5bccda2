"""NorMuon."""

from __future__ import annotations

import dataclasses

from fnopt.core import Decay, DType, Inner, Mask, NonNegative, Rate, Static, Transform
from fnopt.core.ranges import NonNegativeInteger
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_normuon import scale_by_normuon
from fnopt.matrix.scale_by_shape import RootMeanSquare


class normuon(Iterated, MatrixOptimizer):
    r"""Muon whose steps are as large for every neuron, for the matrices of hidden layers.

    .. math:: \Delta\theta_t = -\eta_t\,(u_t + \lambda\,\theta_{t-1})

    with :math:`u_t` of :class:`scale_by_normuon`. Vectors, embeddings and heads get another
    optimizer, AdamW at the same rate if not said otherwise.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean squares of rows, :math:`\beta_2 \in [0, 1)`.
        eps: added to the roots, and to the norm before the iteration, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay of matrices, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        mu_dtype: dtype of the mean; the parameter's if None.
        nesterov: whether to use Nesterov's momentum, as the authors' program does.
        consistent_rms: root mean square of the direction, :math:`r \ge 0`; None for Muon's size,
            see :class:`scale_by_normuon`.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        other: the optimizer of all other leaves, with a rate of its own; AdamW if None.
        ns_dtype: dtype of the iteration; float32, or float64 for float64 leaves, if None.

    When:
        Where :class:`muon` is, for the price of a number for every neuron; the rate is AdamW's.

    Raises:
        ValueError: there are several rows of coefficients, but fewer than iterations.

    References:
        Li et al., *NorMuon: making Muon more efficient and scalable*, 2025, arXiv:2510.05491,
        Algorithm 1. The authors' program is that with ``nesterov=True, consistent_rms=None``.
    """

    learning_rate: Rate
    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    b1: Decay = 0.95
    b2: Decay = 0.95
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    mask: Mask = None
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    consistent_rms: RootMeanSquare = 0.2
    matrices: MatricesField = None
    other: Inner = None
    ns_dtype: DType = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        method = scale_by_normuon(
            self.ns_coeffs,
            self.ns_steps,
            self.b1,
            self.b2,
            self.eps,
            self.mu_dtype,
            nesterov=self.nesterov,
            consistent_rms=self.consistent_rms,
            matrices=self.matrices,
            ns_dtype=self.ns_dtype,
        )
        return (method,)
