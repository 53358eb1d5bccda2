"""SOAP's direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from fnopt.core import Decay, DType, NonNegative, Static, moment
from fnopt.core.bias import rate_correction
from fnopt.core.context import Context
from fnopt.core.moments import abs_sq, divide, root
from fnopt.core.ranges import PositiveInteger
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.by_shape import by_shape
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.eigenbasis import from_bases, outer_moment, rms, to_bases
from fnopt.matrix.eigenbasis_rule import EigenbasisRule
from fnopt.matrix.products import adjoint


class scale_by_soap(EigenbasisRule):
    r"""Adam in the eigenbases of Shampoo's two statistics of a matrix.

    For a gradient :math:`G_t` of shape outputs × inputs and the orthogonal :math:`Q_L, Q_R`,

    .. math::
        M_t &= \beta_1 M_{t-1} + (1 - \beta_1)\,G_t, &
        V_t &= \beta_2 V_{t-1} + (1 - \beta_2)\,(Q_L^\top G_t\,Q_R)^2 \\
        U_t &= \frac{\sqrt{1 - \beta_2^{t-1}}}{1 - \beta_1^{t-1}}\;Q_L\,\frac{Q_L^\top M_t\,Q_R}
        {\sqrt{V_t} + \epsilon}\,Q_R^\top \\
        L_t &= \beta L_{t-1} + (1 - \beta)\,G_t G_t^\top, &
        R_t &= \beta R_{t-1} + (1 - \beta)\,G_t^\top G_t

    After that, every :math:`f` updates, one step of power iteration brings the bases nearer to the
    eigenvectors: :math:`Q_L \leftarrow \operatorname{qr}(L_t Q_L)`, the columns in the order of
    their estimated eigenvalues, and :math:`Q_R` likewise.

    The first update only finds the bases, by an eigendecomposition, and its direction is 0: in the
    basis of the gradient itself all but the diagonal of the rotated gradient is rounding, which
    Adam would scale up to the size of the rest.

    Args:
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        shampoo_beta: decay of the statistics, :math:`\beta \in [0, 1)`; ``b2`` if None.
        eps: added to the root, :math:`\epsilon \ge 0`.
        precondition_frequency: number of updates from one step of a basis to its next,
            :math:`f \ge 1`.
        max_precond_dim: the longest side that has a basis, at least 1; a longer one has no
            statistic either, and its :math:`Q` is the identity.
        mu_dtype: dtype of :math:`M`; the parameter's if None.
        matrices: which leaves are matrices; by name and shape if None.
        normalize_grads: whether the rotated direction of each matrix is divided by the root of its
            mean square before the corrections; the authors advise it for
            :math:`f \approx 100`, not for 10.
        staggered: whether the bases take turns, so that no update takes :math:`f` times as long;
            otherwise all are refreshed at the same update, as in the authors' program.
        nu_dtype: dtype of :math:`V`; the parameter's, float32 at least, if None.

    Raises:
        TypeError: an integer is none.
        ValueError: it is below 1.

    References:
        Vyas et al., *SOAP: improving and stabilizing Shampoo using Adam*, ICLR 2025,
        arXiv:2409.11321, Algorithms 3 and 4. As in the authors' program, soap.py of
        github.com/nikhilvyas/SOAP, columns are sorted, :math:`\epsilon` is added to the root before
        the corrections, and the first update is left out; the paper's algorithms have neither order
        nor corrections, and :math:`\epsilon` under the root. The program keeps :math:`M` rotated
        and rotates it again with each basis, which is the same, and permutes :math:`V` with the
        columns; here columns stay at their places, which gives the same directions. Of a stacked
        leaf, or of attention heads seen as separate matrices, each matrix has bases of its own.
    """

    b1: Decay = 0.95
    b2: Decay = 0.95
    shampoo_beta: Decay = None
    eps: NonNegative = 1e-8
    precondition_frequency: PositiveInteger = 10
    max_precond_dim: PositiveInteger = 10000
    mu_dtype: DType = None
    matrices: MatricesField = None
    _: dataclasses.KW_ONLY
    normalize_grads: Static[bool] = False
    staggered: Static[bool] = True
    nu_dtype: DType = None
    family = "parts"

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        t = ctx.t
        beta = self.b2 if self.shampoo_beta is None else self.shampoo_beta
        factor = rate_correction(self.b1, self.b2, jnp.maximum(t - 1, 1))

        def step(grad: Any, mu: Any, nu: Any, left: Any, right: Any, *bases: Any) -> Any:
            entering = jnp.where(t == 1, jnp.zeros_like(grad), grad)
            mu = moment(entering, mu, self.b1)
            nu = moment(abs_sq(to_bases(entering, *bases)), nu, self.b2)
            rotated = divide(to_bases(mu, *bases), root(nu), eps=self.eps)
            if self.normalize_grads:
                rotated = divide(rotated, rms(rotated), eps=1e-30)
            left = outer_moment(grad, left, beta)
            right = outer_moment(adjoint(grad), right, beta)
            row = {"mu": mu, "nu": nu, "left": left, "right": right}
            return factor * from_bases(rotated, *bases), row

        directions, rows = zip(*by_shape(step, grads, *self.columns(slots)), strict=True)
        return list(directions), self.refreshed(rows, slots, t)
