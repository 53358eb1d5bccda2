"""Muown's direction: rows as lengths and directions, each with an optimizer of its own."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fnopt.core import (
    Corrections,
    Decay,
    DType,
    NonNegative,
    Rate,
    Static,
    bias_corrections,
    divide,
    moment,
    norm,
    root,
    zeros,
)
from fnopt.core.context import Context
from fnopt.core.ranges import NonNegativeInteger
from fnopt.core.types import Arrays, Numeric, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.row_norms import recomposed, split
from fnopt.matrix.rule import MatrixRule

SCALE = 0.2
"""The root mean square of the step of a direction, about that of Adam's."""


class scale_by_muown(Iterated, MatrixRule):
    r"""A step of Adam for the lengths of rows and one of Muon for their directions, together.

    The rows of a matrix, one for each output, are :math:`w = g\,v / \lVert v \rVert`, with a
    length :math:`g = \lVert w \rVert` and a vector :math:`v` that is not normalized. With
    :math:`G` the gradient of the row and :math:`\hat v = w / g`,

    .. math::
        \nabla_g &= \langle \hat v, G \rangle, & g' &= g - \eta_t\,\mathrm{Adam}(\nabla_g) \\
        \nabla_v &= \frac{g}{\lVert v \rVert}\,(G - \nabla_g\,\hat v), &
        v' &= v - 0.2\,\eta_t \sqrt{\max(m, n)}\,\mathrm{Muon}(\nabla_v)

    and :math:`u_t = (w - g'\,v' / \lVert v' \rVert) / \eta_t`, computed without the quotient.
    Muon's momentum is :class:`trace`'s sum and its matrix that of all rows. For each row the state
    has :math:`\lVert v \rVert`, which begins at :math:`\lVert w \rVert` and grows, so that the
    angles of steps shrink, and two moments of :math:`\nabla_g`.

    Args:
        step_size: the learning rate :math:`\eta \ge 0` of the step that follows, by which
            :math:`v` moves.
        beta: decay of Muon's momentum, in [0, 1).
        b1: decay of the mean of :math:`\nabla_g`, in [0, 1).
        b2: decay of its mean square, in [0, 1).
        eps: added to Adam's root, and to the norm that a matrix is divided by, at least 0.
        nesterov: whether to use Nesterov's momentum for :math:`v`.
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        mu_dtype: dtype of Muon's momentum; the parameter's if None.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")``; by name and shape if None.
        ns_dtype: dtype of the iteration, such as bfloat16; float32, or float64 for float64 leaves,
            if None.

    References:
        Lion et al., *Muown: row-norm control for Muon optimization*, 2026, arXiv:2605.10797.
        The authors' program stores :math:`g`, which Adam may take below 0; here it is the length of
        the row. It splits a matrix with three times as many rows as columns into query, key and
        value; here a leaf of several matrices says so by ``matrices``. Rows of zeros, which become
        NaN there, stay 0.
    """

    step_size: Rate
    beta: Decay = 0.95
    b1: Decay = 0.9
    b2: Decay = 0.95
    eps: NonNegative = 1e-8
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    mu_dtype: DType = None
    matrices: MatricesField = None
    ns_dtype: DType = None
    family = "parts"
    example: ClassVar[dict[str, Any]] = {"step_size": 1e-3}

    counts = needs_params = keeps_zero = True
    like_params = ("mu",)

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        lengths = norm(param, axis=-1)
        nothing = jnp.zeros_like(lengths)
        return {
            "mu": zeros(param, self.mu_dtype),
            "norms": lengths,
            "length_mu": nothing,
            "length_nu": nothing,
        }

    def precompute(self, t: Numeric) -> Corrections:
        return bias_corrections(self.b1, self.b2, t)

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        seen = [split(*row) for row in zip(grads, slots, params, strict=True)]
        momenta = [s.mu * self.beta + x.grad for x, s in zip(seen, slots, strict=True)]
        ahead = momenta
        if self.nesterov:
            ahead = [x.grad + self.beta * mu for x, mu in zip(seen, momenta, strict=True)]
        factors = self.orthogonalized(ahead)
        directions, next_slots = [], []
        for x, mu, factor, s in zip(seen, momenta, factors, slots, strict=True):
            move = SCALE * math.sqrt(max(factor.shape[1:])) * factor
            length_mu = moment(x.length_grad, s.length_mu, self.b1)
            length_nu = moment(x.length_grad**2, s.length_nu, self.b2)
            size = root(length_nu / ctx.precomputed.nu)
            length_move = divide(length_mu / ctx.precomputed.mu, size, eps=self.eps)
            direction, norms = recomposed(x, s.norms, move, length_move, self.step_size)
            directions.append(direction)
            next_slots.append(
                {"mu": mu, "norms": norms, "length_mu": length_mu, "length_nu": length_nu}
            )
        return directions, next_slots
