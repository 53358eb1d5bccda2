"""Methods that need the loss as a function: products with matrices of curvature, line searches."""

from fnopt.core.exports import public as _public
from fnopt.curvature.bounds import projected_gradient as projected_gradient
from fnopt.curvature.conjugate_gradient import Solution as Solution
from fnopt.curvature.conjugate_gradient import conjugate_gradient as conjugate_gradient
from fnopt.curvature.hutchinson import Estimate as Estimate
from fnopt.curvature.hutchinson import hutchinson_diagonal as hutchinson_diagonal
from fnopt.curvature.hutchinson import hutchinson_trace as hutchinson_trace
from fnopt.curvature.lanczos import Eigenpairs as Eigenpairs
from fnopt.curvature.lanczos import Tridiagonal as Tridiagonal
from fnopt.curvature.lanczos import extreme_eigenpairs as extreme_eigenpairs
from fnopt.curvature.lanczos import lanczos as lanczos
from fnopt.curvature.linear_operator import LinearOperator as LinearOperator
from fnopt.curvature.operators import empirical_fisher as empirical_fisher
from fnopt.curvature.operators import generalized_gauss_newton as generalized_gauss_newton
from fnopt.curvature.operators import hessian as hessian
from fnopt.curvature.spectral_density import SpectralDensity as SpectralDensity
from fnopt.curvature.spectral_density import spectral_density as spectral_density
from fnopt.curvature.spectrum_recorder import SpectrumRecord as SpectrumRecord
from fnopt.curvature.spectrum_recorder import SpectrumRecorder as SpectrumRecorder

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
