"""The density of a matrix's eigenvalues, by stochastic Lanczos quadrature."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.checks import positive_integer
from fnopt.core.entry import entry
from fnopt.core.prng import typed_key
from fnopt.core.types import Numeric
from fnopt.curvature.lanczos import Tridiagonal, run, steps_of
from fnopt.curvature.linear_operator import LinearOperator, as_operator
from fnopt.curvature.real_leaves import normal_leaves, real_leaves, real_product

_RELATIVE_WIDTH = 0.01


class SpectralDensity(NamedTuple):
    """An estimate of the density of the eigenvalues of a matrix.

    Attributes:
        nodes: the eigenvalues seen from each sample, ascending, shape (samples, steps).
        weights: the share of all eigenvalues that each stands for, shape (samples, steps); the sum
            over the steps is 1.
    """

    nodes: jax.Array
    weights: jax.Array

    def at(self, points: jax.Array, width: Numeric = None) -> jax.Array:
        r"""The density at some points, as if each eigenvalue were a narrow normal distribution.

        Args:
            points: the points, an array of any shape.
            width: standard deviation of that distribution; a hundredth of the range of the
                eigenvalues if None. What is nearer together is not told apart.
        """
        points = jnp.asarray(points).astype(self.nodes.dtype)
        width = jnp.asarray(self._width() if width is None else width).astype(self.nodes.dtype)

        def at_point(point: jax.Array) -> jax.Array:
            heights = jnp.exp(-0.5 * jnp.square((point - self.nodes) / width))
            return jnp.sum(self.weights * heights) / len(self.nodes)

        heights = jax.lax.map(at_point, points.ravel(), batch_size=256).reshape(points.shape)
        return heights / (width * math.sqrt(2 * math.pi))

    def curve(self, number: int = 1000, width: Numeric = None) -> tuple[jax.Array, jax.Array]:
        """Points that cover the spectrum evenly, and the density there; see :meth:`at`.

        Args:
            number: the number of points.
            width: standard deviation of the distribution for each eigenvalue.
        """
        width = self._width() if width is None else width
        low, high = jnp.min(self.nodes) - 4 * width, jnp.max(self.nodes) + 4 * width
        points = jnp.linspace(low, high, positive_integer("curve: number", number))
        return points, self.at(points, width)

    def _width(self) -> jax.Array:
        low, high = jnp.min(self.nodes), jnp.max(self.nodes)
        size = jnp.maximum(jnp.abs(low), jnp.abs(high))
        size = jnp.where(size == 0, jnp.ones_like(size), size)
        spread = jnp.where(high - low > 1e-3 * size, high - low, size)  # where all are equal
        return _RELATIVE_WIDTH * spread


@entry("curvature.spectral_density(operator, key, steps=…, samples=…)")
def spectral_density(
    operator: LinearOperator, key: Any, steps: int = 64, samples: int = 8
) -> SpectralDensity:
    r"""The density of the eigenvalues of a symmetric matrix, by stochastic Lanczos quadrature.

    .. math:: \phi(t) = \frac1n \sum_i \delta(t - \lambda_i) \approx
        \frac1s \sum_{v} \sum_j \omega_{vj}\,\delta(t - \theta_{vj})

    For each of :math:`s` random vectors :math:`v`, :func:`lanczos` of :math:`k` steps gives a
    tridiagonal matrix with eigenvalues :math:`\theta_j`, whose weights :math:`\omega_j` are the
    squares of the first elements of its eigenvectors. That is Gauss' quadrature: exact for
    polynomials up to degree :math:`2k - 1` of the density that the vector sees. An eigenvalue far
    from the rest is exact, but its weight, about :math:`1/n`, is rough.

    It costs ``steps * samples`` products, and the memory of ``steps`` vectors.

    Args:
        operator: the matrix, such as :func:`hessian` makes.
        key: a PRNG key, or an integer to make one, for the random vectors, which are normal.
        steps: the number of steps :math:`k` for each sample, above 0; no more are made than the
            matrix has rows.
        samples: the number of random vectors :math:`s`, above 0.

    Raises:
        TypeError: the operator is none, or a number no integer.
        ValueError: a number is below 1, or the operator has no rows.

    References:
        Ghorbani, Krishnan & Xiao, *An investigation into neural net optimization via Hessian
        eigenvalue density*, ICML 2019, arXiv:1901.10159, Algorithm 1; Golub & Welsch, *Calculation
        of Gauss quadrature rules*, Mathematics of Computation 23, 1969.
    """
    operator = as_operator("spectral_density", operator)
    steps = steps_of("spectral_density", operator, steps)
    product, like = real_product(operator.product, operator.like), real_leaves(operator.like)

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        diagonal, betas, _ = run(product, normal_leaves(key, like), key, steps)
        values, vectors = Tridiagonal(diagonal, betas[:-1], betas[-1], None).eigh()
        return values, jnp.square(vectors[0])

    keys = jax.random.split(typed_key(key), positive_integer("spectral_density: samples", samples))
    return SpectralDensity(*jax.lax.map(sample, keys))
