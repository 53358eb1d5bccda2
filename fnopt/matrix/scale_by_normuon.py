"""NorMuon's direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Decay,
    DType,
    NonNegative,
    Static,
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
from fnopt.matrix.scale_by_shape import RootMeanSquare, shape_factor


class scale_by_normuon(Iterated, MatrixRule):
    r"""Muon's direction with rows, one for each neuron, divided by their recent size.

    .. math::
        M_t &= \beta_1\,M_{t-1} + (1 - \beta_1)\,G_t, & O_t &= \operatorname{NS}(M_t) \\
        v_t &= \beta_2\,v_{t-1} + (1 - \beta_2)\,\tfrac{1}{n} \textstyle\sum_j |O_{t,ij}|^2, &
        \hat O_{t,ij} &= O_{t,ij} / (\sqrt{v_{t,i}} + \epsilon) \\
        u_t &= r\,\sqrt{m n}\;\hat O_t / \lVert \hat O_t \rVert_F

    for a matrix of :math:`m` outputs and :math:`n` inputs, with the Newton-Schulz iteration of
    :class:`scale_by_muon`. With Nesterov's momentum it is applied to
    :math:`\beta_1\,M_t + (1 - \beta_1)\,G_t`.

    Args:
        ns_coeffs: coefficients of the iteration; see :class:`scale_by_muon`.
        ns_steps: number of iterations, an integer at least 0.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean squares of rows, :math:`\beta_2 \in [0, 1)`.
        eps: added to the roots, and to the norm before the iteration, :math:`\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        nesterov: whether to use Nesterov's momentum, as the authors' program does.
        consistent_rms: root mean square of the direction, :math:`r \ge 0`. If None, its norm is
            that of :math:`O_t` times :math:`\sqrt{\max(1, m / n)}`, as in the authors' program.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes; by name and shape if None.
        ns_dtype: dtype of the iteration; float32, or float64 for float64 leaves, if None.

    Raises:
        ValueError: there are several rows of coefficients, but fewer than iterations.

    References:
        Li et al., *NorMuon: making Muon more efficient and scalable*, 2025, arXiv:2510.05491,
        Algorithm 1.
    """

    ns_coeffs: Coefficients = "jordan"
    ns_steps: NonNegativeInteger = 5
    b1: Decay = 0.95
    b2: Decay = 0.95
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    consistent_rms: RootMeanSquare = 0.2
    matrices: MatricesField = None
    ns_dtype: DType = None
    family = "parts"

    keeps_zero = True
    like_params = ("mu",)

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype), "nu": real_zeros(param[..., 0])}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        means = [moment(g, s.mu, self.b1) for g, s in zip(grads, slots, strict=True)]
        ahead = means
        if self.nesterov:
            ahead = [moment(g, mean, self.b1) for g, mean in zip(grads, means, strict=True)]
        factors = self.orthogonalized(ahead)
        squares = [
            moment(jnp.mean(abs_sq(x), axis=-1), s.nu, self.b2)
            for x, s in zip(factors, slots, strict=True)
        ]
        directions = [self._direction(*pair) for pair in zip(factors, squares, strict=True)]
        return directions, [
            {"mu": mean, "nu": square} for mean, square in zip(means, squares, strict=True)
        ]

    def _direction(self, factor: jax.Array, squares: jax.Array) -> jax.Array:
        x = divide(factor, root(squares)[..., None], eps=self.eps)
        if self.consistent_rms is None:
            size = norm(factor, (-2, -1), keepdims=True) * shape_factor(factor)
        else:
            size = self.consistent_rms * (x.shape[-2] * x.shape[-1]) ** 0.5
        return size * divide(x, norm(x, (-2, -1), keepdims=True))
