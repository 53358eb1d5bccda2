"""Methods that need the loss as a function: products with matrices of curvature, line searches."""

from fnopt.core.exports import public as _public
from fnopt.curvature.bounds import projected_gradient as projected_gradient
from fnopt.curvature.conjugate_gradient import Solution as Solution
from fnopt.curvature.conjugate_gradient import conjugate_gradient as conjugate_gradient
from fnopt.curvature.operators import LinearOperator as LinearOperator
from fnopt.curvature.operators import empirical_fisher as empirical_fisher
from fnopt.curvature.operators import generalized_gauss_newton as generalized_gauss_newton
from fnopt.curvature.operators import hessian as hessian

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
