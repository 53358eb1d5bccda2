"""Shampoo."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from fnopt.core import Decay, Inner, Mask, NonNegative, Rate, Static, Transform, ema, identity
from fnopt.core.fields import Field
from fnopt.core.ranges import AtLeastOne, Fraction, PositiveInteger, PositiveIntegerOrNone
from fnopt.first_order.adagrad import scale_by_rss
from fnopt.first_order.rms import scale_by_rms
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.grafting import grafted
from fnopt.matrix.inverse_root import RootMethod
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_shampoo import scale_by_shampoo

GRAFTS = ("adam", "rmsprop", "adagrad", "sgd", "none")
Graft = Annotated[
    Literal["adam", "rmsprop", "adagrad", "sgd", "none"], Field(static=True, choices=GRAFTS)
]
"""Whose length Shampoo's direction gets."""


class shampoo(MatrixOptimizer):
    r"""Shampoo: gradients of matrices, preconditioned at both sides, with the length of Adam's.

    .. math:: m_t = \beta_1\,m_{t-1} + (1 - \beta_1)\,\frac{\lVert A_t \rVert}{\lVert U_t \rVert}
        \,U_t, \qquad
        \Delta\theta_t = -\eta_t\,\Bigl(\frac{m_t}{1 - \beta_1^t} + \lambda\,\theta_{t-1}\Bigr)

    with :math:`U_t` of :class:`scale_by_shampoo` and :math:`A_t` the gradient over the root of its
    mean square, or what ``graft_type`` says. Vectors, embeddings and heads get ``other``.

    As in Anil et al. momentum follows the preconditioner (Shi et al. average gradients before it),
    here as a corrected average, so that the learning rate is that of the grafted method; their
    program has a sum with Nesterov's look ahead by default, which is a chain of parts::

        chain(
            grafted(scale_by_shampoo(), identity()),
            trace(0.9, nesterov=True),
            scale_by_learning_rate(0.1),
        )

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`; that of the grafted method suits.
        b1: decay of the mean of directions, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the statistics and of Adam's mean square, in [0, 1]; 1 for sums of statistics,
            which ``"adam"`` and ``"rmsprop"`` do not take.
        matrix_eps: ridge relative to the largest eigenvalue of a statistic, at least 0.
        diagonal_eps: what ``graft_type`` adds to its root, at least 0.
        precondition_frequency: number of updates between two computations of a root, at least 1;
            Anil et al. have 1 by default, and hundreds for large models.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        matrices: which leaves are matrices, and how; by name and shape if None.
        other: the optimizer of all other leaves; :class:`adamw` at the same rate if None.
        graft_type: whose length the direction gets: ``"adam"`` (without its mean of gradients),
            ``"rmsprop"`` (that without the correction for its start), ``"adagrad"``, ``"sgd"`` (the
            gradient's) or ``"none"``. :class:`grafted` takes any transform's.
        start: the update from which on the direction is Shampoo's; until then it is that of the
            method grafted, which is none if ``"none"``. At least 1, rounded.
        block_size: longest side of a block; see :class:`scale_by_shampoo`, as for the following.
        max_dim: longest side that is preconditioned.
        one_sided: whether only the shorter side is.
        exponent_override: another exponent of the roots.
        method: how roots are computed, ``"eigh"`` or ``"newton"``.
        staggered: whether the roots are computed in turns.

    When:
        Training is limited by the number of steps, and matrices are large enough for batches of
        products: a step costs two products more for each side, its state about five times the
        parameters of a square matrix.

    References:
        Gupta, Koren & Singer, *Shampoo: preconditioned stochastic tensor optimization*, ICML 2018,
        arXiv:1802.09568; Anil et al., *Scalable second order optimization for deep learning*, 2020,
        arXiv:2002.09018; Shi et al., *A distributed data-parallel PyTorch implementation of the
        distributed Shampoo optimizer*, 2023, arXiv:2309.06497.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Fraction = 0.999
    matrix_eps: NonNegative = 1e-6
    diagonal_eps: NonNegative = 1e-10
    precondition_frequency: PositiveInteger = 10
    weight_decay: Rate = 0.0
    mask: Mask = None
    matrices: MatricesField = None
    other: Inner = None
    _: dataclasses.KW_ONLY
    graft_type: Graft = "adam"
    start: AtLeastOne = 1
    block_size: PositiveIntegerOrNone = 1024
    max_dim: PositiveIntegerOrNone = 8192
    one_sided: Static[bool] = False
    exponent_override: PositiveIntegerOrNone = None
    method: RootMethod = "eigh"
    staggered: Static[bool] = True
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        own = scale_by_shampoo(
            self.b2,
            self.matrix_eps,
            self.precondition_frequency,
            self.block_size,
            self.max_dim,
            self.matrices,
            one_sided=self.one_sided,
            exponent_override=self.exponent_override,
            method=self.method,
            staggered=self.staggered,
        )
        length = self._length()
        if length is not None:
            own = grafted(own, length, self.matrices, self.start)
        return own, ema(self.b1)

    def _length(self) -> Any:
        """The transform whose length the direction gets."""
        if self.graft_type == "none":
            return None
        if self.graft_type == "sgd":
            return identity()
        if self.graft_type == "adagrad":
            return scale_by_rss(0.0, self.diagonal_eps, eps_in_sqrt=False)
        corrected = self.graft_type == "adam"
        return scale_by_rms(
            self.b2, self.diagonal_eps, eps_in_sqrt=False, bias_correction=corrected
        )
