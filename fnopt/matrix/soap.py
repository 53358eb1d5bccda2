"""SOAP."""

from __future__ import annotations

import dataclasses

from fnopt.core import Decay, DType, Inner, Mask, NonNegative, Rate, Static, Transform
from fnopt.core.ranges import PositiveInteger
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_soap import scale_by_soap


class soap(MatrixOptimizer):
    r"""SOAP: Adam in the eigenbases of Shampoo, for the matrices of hidden layers.

    .. math:: \Delta\theta_t = -\eta_t\,(U_t + \lambda\,\theta_{t-1})

    with :math:`U_t` of :class:`scale_by_soap`. Vectors, embeddings and heads get ``other``.

    For a matrix of shape :math:`m \times n` the state has :math:`2mn + 2m^2 + 2n^2` numbers, where
    Adam's has :math:`2mn`; of a side longer than ``max_precond_dim`` none.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; 3e-3 in the authors' program.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        shampoo_beta: decay of the statistics, in [0, 1); ``b2`` if None.
        eps: added to the root, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`; 0.01 in the authors'
            program, which decays the new weights, :math:`\theta_t = (1 - \eta_t\,\lambda)
            (\theta_{t-1} - \eta_t\,U_t)`, and not at the first update.
        precondition_frequency: number of updates from one step of a basis to its next, at least 1.
        max_precond_dim: the longest side of a matrix that has a basis, at least 1.
        mask: the leaves to decay; all if None.
        matrices: which leaves are matrices, and how; by name and shape if None.
        other: the optimizer of all other leaves; :class:`adamw` at the same rate if None.
        mu_dtype: dtype of the mean; the parameter's if None.
        normalize_grads: whether each matrix's direction is divided by the root of its mean square.
        staggered: whether the bases take turns; otherwise all are refreshed at the same update, as
            in the authors' program.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        Few steps count more than cheap ones, as in language models at large batches: near Shampoo
        at its best, and less sensitive to how seldom the bases are refreshed. The bases of wide
        layers cost memory and time; the first update only finds them.

    Raises:
        TypeError: an integer is none.
        ValueError: it is below 1, or a rule of ``matrices`` does not fit the leaves.

    References:
        Vyas et al., *SOAP: improving and stabilizing Shampoo using Adam*, ICLR 2025,
        arXiv:2409.11321, Algorithm 3.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}
    >>> print(fnopt.soap(3e-3).table(params).splitlines()[2])
    kernel  4 × 3 → 1 matrix of 3 × 4  hidden  bias   soap
    """

    learning_rate: Rate
    b1: Decay = 0.95
    b2: Decay = 0.95
    shampoo_beta: Decay = None
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.01
    precondition_frequency: PositiveInteger = 10
    max_precond_dim: PositiveInteger = 10000
    mask: Mask = None
    matrices: MatricesField = None
    other: Inner = None
    _: dataclasses.KW_ONLY
    mu_dtype: DType = None
    normalize_grads: Static[bool] = False
    staggered: Static[bool] = True
    nu_dtype: DType = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        own = scale_by_soap(
            self.b1,
            self.b2,
            self.shampoo_beta,
            self.eps,
            self.precondition_frequency,
            self.max_precond_dim,
            self.mu_dtype,
            self.matrices,
            normalize_grads=self.normalize_grads,
            staggered=self.staggered,
            nu_dtype=self.nu_dtype,
        )
        return (own,)
