"""Muown."""

from __future__ import annotations

import dataclasses

from fnopt.core import Decay, DType, Inner, Mask, NonNegative, Rate, Static, Transform
from fnopt.core.ranges import NonNegativeInteger
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_muown import scale_by_muown


class muown(Iterated, MatrixOptimizer):
    r"""Muon for the directions of the rows of a matrix and Adam for their lengths.

    .. math:: \Delta\theta_t = -\eta_t\,(u_t + \lambda\,\theta_{t-1})

    with :math:`u_t` of :class:`scale_by_muown` for the matrices of hidden layers. Vectors,
    embeddings and heads get another optimizer.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`, about that of Adam.
        beta: decay of Muon's momentum, in [0, 1).
        b1: decay of the mean of the gradients of lengths, in [0, 1).
        b2: decay of their mean square, in [0, 1).
        eps: added to Adam's root, and to the norm that a matrix is divided by, at least 0.
        weight_decay: strength of the weight decay of matrices, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nesterov: whether to use Nesterov's momentum for directions.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        mu_dtype: dtype of Muon's momentum; the parameter's if None.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        other: the optimizer of all other leaves; AdamW at the same rate if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    When:
        Transformers without weight decay, whose matrices grow under Muon, or where the best decay
        is not known. No row may begin as zeros: it would stay there.

    References:
        Lion et al., *Muown: row-norm control for Muon optimization*, 2026, arXiv:2605.10797.
        modded-nanogpt's record with it adds a schedule for the norms of directions, which is not
        here.
    """

    learning_rate: Rate
    beta: Decay = 0.95
    b1: Decay = 0.9
    b2: Decay = 0.95
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    mask: Mask = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    mu_dtype: DType = None
    matrices: MatricesField = None
    other: Inner = None
    ns_dtype: DType = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        return (
            scale_by_muown(
                self.learning_rate,
                self.beta,
                self.b1,
                self.b2,
                self.eps,
                nesterov=self.nesterov,
                ns_coeffs=self.ns_coeffs,
                ns_steps=self.ns_steps,
                mu_dtype=self.mu_dtype,
                matrices=self.matrices,
                ns_dtype=self.ns_dtype,
            ),
        )
