"""Muon."""

from __future__ import annotations

from fnopt.core import Decay, Inner, Mask, NonNegative, Rate, Static, Transform
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.coefficients import JORDAN, Coefficients
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_muon import scale_by_muon


class muon(MatrixOptimizer):
    r"""Momentum whose singular values are all about 1, for the matrices of hidden layers."""

    learning_rate: Rate
    ns_coeffs: Coefficients = JORDAN
    ns_steps: Static[int] = 5
    beta: Decay = 0.95
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    mask: Mask = None
    matrices: MatricesField = None
    other: Inner = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        own = scale_by_muon(self.ns_coeffs, self.ns_steps, self.beta, self.eps, None, self.matrices)
        return (own,)
