"""A factor for every matrix from its shape."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

import jax

from fnopt.core.checks import Interval
from fnopt.core.context import Context
from fnopt.core.ranges import OrNone
from fnopt.core.types import Arrays, Numeric, OptState, Params, Rows
from fnopt.matrix.choice import Matrices, MatricesField
from fnopt.matrix.rule import MatrixRule

RootMeanSquare = Annotated[Any, OrNone(Interval("[0, inf)"))]
"""The root mean square of an update, at least 0, or None for a size by another rule."""


class scale_by_shape(MatrixRule):
    r"""Multiplies the update of a matrix by a number that depends on its shape alone.

    .. math:: u = c\,g, \qquad c = \sqrt{\max(1, m / n)} \quad\text{or}\quad r\,\sqrt{\max(m, n)}

    for :math:`m` outputs and :math:`n` inputs. The first gives orthogonal directions the same size
    as maps between vectors of root mean square 1, the second the root mean square :math:`r`, as of
    an optimizer such as Adam.

    Args:
        weight_dimension_numbers: optax's dimension numbers, instead of ``matrices``.
        consistent_rms: the root mean square :math:`r \ge 0` of an update whose singular values are
            1; 0.2 is about Adam's. The first factor if None.
        matrices: which leaves are matrices, and how; see :class:`scale_by_muon`.

    References:
        Jordan et al., *Muon*, 2024, for the first factor; Liu et al., *Muon is scalable for LLM
        training*, 2025, arXiv:2502.16982, Section 2.2, for the second.
    """

    weight_dimension_numbers: MatricesField = None
    consistent_rms: RootMeanSquare = None
    _: dataclasses.KW_ONLY
    matrices: MatricesField = None
    family = "parts"

    keeps_zero = True

    @property
    def _rules(self) -> Matrices:
        return self.matrices or self.weight_dimension_numbers or Matrices()

    def init(self, params: Params) -> OptState:
        # The method before it has warned of guesses.
        return super(MatrixRule, self).init(params)

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        return [shape_factor(g, self.consistent_rms) * g for g in grads], [{} for _ in grads]


def shape_factor(matrices: jax.Array, consistent_rms: Numeric = None) -> Numeric:
    """The factor for matrices of shape (number, outputs, inputs); see :class:`scale_by_shape`."""
    _, m, n = matrices.shape
    if consistent_rms is None:
        return math.sqrt(max(1, m / n))
    return math.sqrt(max(m, n)) * consistent_rms
