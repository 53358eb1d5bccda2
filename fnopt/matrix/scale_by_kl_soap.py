"""KL-SOAP's direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Decay, DType, NonNegative, Static, moment
from fnopt.core.context import Context
from fnopt.core.moments import abs_sq, divide, root
from fnopt.core.ranges import Positive, PositiveInteger
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.by_shape import by_shape
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.eigenbasis import (
    from_bases,
    outer_moment,
    to_bases,
)
from fnopt.matrix.eigenbasis_rule import EigenbasisRule
from fnopt.matrix.products import adjoint


class scale_by_kl_soap(EigenbasisRule):
    r"""Adam in the eigenbases of two statistics, each whitened by the other side's.

    For a gradient :math:`G_t` of shape :math:`m \times n`, the orthogonal :math:`Q_L, Q_R`, and
    :math:`G'_t = Q_L^\top G_t\,Q_R`,

    .. math::
        M_t &= \beta_1 M_{t-1} + (1 - \beta_1)\,G_t, &
        V_t &= \beta_2 V_{t-1} + (1 - \beta_2)\,G_t'^2 \\
        U_t &= Q_L\,\frac{Q_L^\top M_t\,Q_R}{\sqrt{V_t} + \epsilon}\,Q_R^\top \\
        L_t &= \beta L_{t-1} + \tfrac{1 - \beta}{n}\,
            G_t\,Q_R \operatorname{diag}(r_{t-1})^{-1} Q_R^\top\,G_t^\top, &
        l_t &= \beta\,l_{t-1} + \tfrac{1 - \beta}{n}\,G_t'^2\;r_{t-1}^{-1}

    and of the right side the same with :math:`m` and :math:`l` for :math:`n` and :math:`r`: the
    eigenvalues are estimated at every update. Then, every :math:`f` updates,
    :math:`Q_L \leftarrow \operatorname{qr}(L_t Q_L)` and :math:`Q_R` likewise. No eigenvalue falls
    below :math:`c^{-2}`, for :math:`c` the length of the side, but at least 10 and at most 4000.

    The first update only finds the bases, by an eigendecomposition of :math:`G_1 G_1^\top / n` and
    :math:`G_1^\top G_1 / m`, and its direction is 0; see :class:`scale_by_soap`.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        shampoo_beta: decay of statistics and eigenvalues, :math:`\beta \in [0, 1)`; ``b2`` if None.
        eps: added to the root, :math:`\epsilon \ge 0`.
        precondition_frequency: number of updates from one step of a basis to its next,
            :math:`f \ge 1`.
        max_precond_dim: the longest side that has a basis, at least 1; a longer one has no
            statistic either, its :math:`Q` is the identity, and all its eigenvalues are 1.
        init_factor: the eigenvalues after the first update, :math:`l_1 = r_1 > 0`.
        mu_dtype: dtype of :math:`M`; the parameter's if None.
        matrices: which leaves are matrices; by name and shape if None.
        staggered: whether the bases take turns, so that no update takes :math:`f` times as long;
            otherwise all are refreshed at the same update, as in the authors' program.
        nu_dtype: dtype of :math:`V`; the parameter's, float32 at least, if None.

    Raises:
        TypeError: an integer is none.
        ValueError: it is below 1.

    References:
        Lin et al., *Understanding and improving Shampoo and SOAP via Kullback-Leibler
        minimization*, ICLR 2026, arXiv:2509.03378; after the authors' program,
        github.com/yorkerlin/KL-Methods, ``kl_opt.py``, which corrects no bias, does not sort the
        columns, and computes in bfloat16 by default where this does in float32. It has a basis for
        every side.
    """

    b1: Decay = 0.9
    b2: Decay = 0.98
    shampoo_beta: Decay = None
    eps: NonNegative = 1e-8
    precondition_frequency: PositiveInteger = 10
    max_precond_dim: PositiveInteger = 10000
    init_factor: Positive = 0.1
    mu_dtype: DType = None
    matrices: MatricesField = None
    _: dataclasses.KW_ONLY
    staggered: Static[bool] = True
    nu_dtype: DType = None
    family = "parts"

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        slots = super().init_matrices(param)
        for side in ("left", "right"):
            shape = slots[side].shape[:2]
            slots[f"{side}_eigenvalues"] = jnp.ones(shape, slots[side].real.dtype)
        return slots

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        first = ctx.t == 1
        beta = self.b2 if self.shampoo_beta is None else self.shampoo_beta

        def values_after(old: jax.Array, new: jax.Array) -> jax.Array:
            if not old.size:
                return old
            least = max(10, min(old.shape[-1], 4000)) ** -2
            next_values = jnp.maximum(moment(new, old, beta), least)
            return jnp.where(first, self.init_factor * jnp.ones_like(old), next_values)

        def step(
            grad: Any, mu: Any, nu: Any, left: Any, right: Any, *sides: Any
        ) -> tuple[jax.Array, dict[str, jax.Array]]:
            *bases, left_values, right_values = sides
            entering = jnp.where(first, jnp.zeros_like(grad), grad)
            mu = moment(entering, mu, self.b1)
            squares = abs_sq(to_bases(entering, *bases))
            nu = moment(squares, nu, self.b2)
            rotated = divide(to_bases(mu, *bases), root(nu), eps=self.eps)
            rows, columns = grad.shape[1:]
            of_left = whitened(grad, bases[1], right_values)
            of_right = whitened(adjoint(grad), bases[0], left_values)
            by_row = jnp.mean(squares * inverse(right_values)[:, None, :], axis=2)
            by_column = jnp.mean(squares * inverse(left_values)[:, :, None], axis=1)
            return from_bases(rotated, *bases), {
                "mu": mu,
                "nu": nu,
                "left": outer_moment(of_left, left, beta, 1 / columns),
                "right": outer_moment(of_right, right, beta, 1 / rows),
                "left_eigenvalues": values_after(left_values, by_row),
                "right_eigenvalues": values_after(right_values, by_column),
            }

        directions, rows = zip(*by_shape(step, grads, *self.columns(slots)), strict=True)
        return list(directions), self.refreshed(rows, slots, ctx.t, ordered=False)


def inverse(eigenvalues: jax.Array) -> jax.Array:
    """The inverses of eigenvalues; 1 for a side that has none."""
    if eigenvalues.size:
        return 1 / eigenvalues
    return jnp.ones((len(eigenvalues), 1), eigenvalues.dtype)


def whitened(x: jax.Array, basis: jax.Array, eigenvalues: jax.Array) -> jax.Array:
    """Matrices whose rows are in the basis of their side and divided by its eigenvalues' roots."""
    if not basis.size:
        return x
    return (x @ basis) * root(inverse(eigenvalues))[:, None, :]
