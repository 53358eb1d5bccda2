"""Muon's direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from fnopt.core import (
    Decay,
    DType,
    NonNegative,
    Static,
    bias_correction,
    moment,
    zeros,
)
from fnopt.core.context import Context
from fnopt.core.types import Arrays, Rows
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import JORDAN, Coefficients, rows_for
from fnopt.matrix.newton_schulz import orthogonalize
from fnopt.matrix.rule import MatrixRule


class scale_by_muon(MatrixRule):
    r"""Momentum of matrices, orthogonalized: its singular values are driven towards 1."""

    ns_coeffs: Coefficients = JORDAN
    ns_steps: Static[int] = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    mu_dtype: DType = None
    matrices: MatricesField = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = True
    ns_dtype: DType = None
    family = "parts"

    counts = True
    keeps_zero = True
    like_params = ("mu",)

    def init_matrices(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"mu": zeros(param, self.mu_dtype)}

    def update_matrices(
        self, grads: Arrays, slots: Rows, params: Any, ctx: Context, **extra_args: Any
    ) -> tuple[Arrays, list[dict[str, Any]]]:
        means = [moment(g, s.mu, self.beta) for g, s in zip(grads, slots, strict=True)]
        now = bias_correction(self.beta, ctx.t)
        if self.nesterov:
            after = bias_correction(self.beta, ctx.t + 1)
            ahead = [
                moment(g / now, m / after, self.beta) for g, m in zip(grads, means, strict=True)
            ]
        else:
            ahead = [mean / now for mean in means]
        rows = rows_for(self.ns_coeffs, self.ns_steps)
        directions = orthogonalize(ahead, rows, self.eps, self.ns_dtype)
        return directions, [{"mu": mean} for mean in means]
