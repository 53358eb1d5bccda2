"""Whole deterministic solves as one compiled loop: ``minimize`` and ``least_squares``."""

from fnopt.solve.minimize import minimize as minimize
from fnopt.solve.result import OptimizeResult as OptimizeResult
