"""KL-SOAP."""

from __future__ import annotations

import dataclasses

from fnopt.core import Decay, DType, Inner, Mask, NonNegative, Rate, Static, Transform
from fnopt.core.ranges import Positive, PositiveInteger
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_kl_soap import scale_by_kl_soap


class kl_soap(MatrixOptimizer):
    r"""KL-SOAP: Adam in eigenbases of two statistics that whiten each other.

    .. math:: \Delta\theta_t = -\eta_t\,(U_t + \lambda\,\theta_{t-1})

    with :math:`U_t` of :class:`scale_by_kl_soap`. Vectors, embeddings and heads get ``other``.
    Its state is :class:`soap`'s and :math:`m + n` eigenvalues for a matrix.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; 1e-4 in the authors' program.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        shampoo_beta: decay of statistics and eigenvalues, in [0, 1); ``b2`` if None.
        eps: added to the root, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`; 0.01 in the authors'
            program, which decays the new weights, as :class:`soap`'s.
        precondition_frequency: number of updates from one step of a basis to its next, at least 1.
        max_precond_dim: the longest side of a matrix that has a basis, at least 1.
        init_factor: the eigenvalues after the first update, above 0.
        mask: the leaves to decay; all if None.
        matrices: which leaves are matrices, and how; by name and shape if None.
        other: the optimizer of all other leaves; :class:`adamw` at the same rate if None.
        mu_dtype: dtype of the mean; the parameter's if None.
        staggered: whether the bases take turns; otherwise all are refreshed at the same update, as
            in the authors' program.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Instead of :class:`soap`, whose two statistics each ignore the other; the state and the
        cost of an update are about the same. Without bias correction its first updates are short:
        of length 0.1 to 0.7 instead of 1, for the default decays.

    Raises:
        TypeError: an integer is none.
        ValueError: it is below 1, or a rule of ``matrices`` does not fit the leaves.

    References:
        Lin et al., *Understanding and improving Shampoo and SOAP via Kullback-Leibler
        minimization*, ICLR 2026, arXiv:2509.03378.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.98
    shampoo_beta: Decay = None
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.01
    precondition_frequency: PositiveInteger = 10
    max_precond_dim: PositiveInteger = 10000
    init_factor: Positive = 0.1
    mask: Mask = None
    matrices: MatricesField = None
    other: Inner = None
    _: dataclasses.KW_ONLY
    mu_dtype: DType = None
    staggered: Static[bool] = True
    nu_dtype: DType = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        own = scale_by_kl_soap(
            self.b1,
            self.b2,
            self.shampoo_beta,
            self.eps,
            self.precondition_frequency,
            self.max_precond_dim,
            self.init_factor,
            self.mu_dtype,
            self.matrices,
            staggered=self.staggered,
            nu_dtype=self.nu_dtype,
        )
        return (own,)
