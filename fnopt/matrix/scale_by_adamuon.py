"""AdaMuon's direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Decay,
    DType,
    NonNegative,
    abs_sq,
    divide,
    moment,
    norm,
    real_zeros,
    root,
    zeros,
)
from fnopt.core.context import Context
from fnopt.core.ranges import NonNegativeInteger
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import Coefficients
from fnopt.matrix.iterated import Iterated
from fnopt.matrix.rule import MatrixRule


class scale_by_adamuon(Iterated, MatrixRule):
    r"""The orthogonal factor of the signs of momentum, each number divided by its recent size.

    .. math::
        M_t &= \beta\,M_{t-1} + G_t, & O_t &= \operatorname{NS}(\operatorname{sign} M_t) \\
        V_t &= \beta\,V_{t-1} + (1 - \beta)\,|O_t|^2, &
        \hat O_t &= O_t / (\sqrt{V_t} + \epsilon) \\
        u_t &= r\,\sqrt{m n}\;\hat O_t / \lVert \hat O_t \rVert_F

    for an :math:`m \times n` matrix, with the Newton-Schulz iteration of :class:`scale_by_muon`.

    Args:
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        beta: decay of the sum and of the mean square, :math:`\beta \in [0, 1)`.
        eps: added to the roots, and to the norm before the iteration, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of the sum; the parameter's if None.
        consistent_rms: root mean square of the direction, :math:`r \ge 0`.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes; by name and shape if None.
        ns_dtype: dtype of the iteration; float32, or float64 for float64 leaves, if None.

    Raises:
        ValueError: there are several rows of coefficients, but fewer than iterations.

    References:
        Si, Zhang & Shen, *AdaMuon: adaptive Muon optimizer*, 2025, arXiv:2507.11005v3, Algorithm 1.
        The program in the authors' repository is that of the first version: it takes no signs, but
        Nesterov's momentum, and a decay of the mean square of its own, whose bias it corrects.
    """

    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    consistent_rms: NonNegative = 0.2
    matrices: MatricesField = None
    ns_dtype: DType = None
    family = "parts"

    keeps_zero = True
    either_way = True
    like_params = ("mu", "nu")

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": real_zeros(param)}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        sums = [g + self.beta * s.mu for g, s in zip(grads, slots, strict=True)]
        factors = self.orthogonalized(list(map(jnp.sign, sums)))
        squares = [moment(abs_sq(x), s.nu, self.beta) for x, s in zip(factors, slots, strict=True)]
        directions = [self._direction(*pair) for pair in zip(factors, squares, strict=True)]
        return directions, [{"mu": mu, "nu": nu} for mu, nu in zip(sums, squares, strict=True)]

    def _direction(self, factor: jax.Array, squares: jax.Array) -> jax.Array:
        x = divide(factor, root(squares), eps=self.eps)
        size = self.consistent_rms * (x.shape[-2] * x.shape[-1]) ** 0.5
        return size * divide(x, norm(x, (-2, -1), keepdims=True))
