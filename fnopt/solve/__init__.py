"""Whole deterministic solves as one compiled loop: ``minimize`` and ``least_squares``."""

from fnopt.core.exports import public as _public
from fnopt.solve.least_squares import LeastSquaresResult as LeastSquaresResult
from fnopt.solve.least_squares import least_squares as least_squares
from fnopt.solve.minimize import minimize as minimize
from fnopt.solve.result import OptimizeResult as OptimizeResult

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
