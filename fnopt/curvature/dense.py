"""Parameters as one real vector, and the Hessian as a matrix of its elements."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation, computing_dtype
from fnopt.core.in_turn import after
from fnopt.core.moments import cast
from fnopt.core.types import Arrays, Params, PyTree
from fnopt.curvature.linear_operator import LinearOperator
from fnopt.curvature.operators import hessian
from fnopt.curvature.vectors import ravel, refuse_many, unravel


@dataclasses.dataclass(frozen=True)
class RealVector:
    """Trees as real vectors: leaf after leaf, of a complex one the real parts and the imaginary.

    Attributes:
        treedef: the structure of the trees.
        like: the leaves of one of them, for shapes and dtypes.
    """

    treedef: Any
    like: Arrays

    @classmethod
    def of(cls, tree: PyTree) -> RealVector:
        """The vectors of trees like this one."""
        leaves, treedef = jax.tree.flatten(tree)
        return cls(treedef, [jnp.asarray(leaf) for leaf in leaves])

    @property
    def dtype(self) -> Any:
        """The dtype of the vectors, single precision at least."""
        return jnp.finfo(computing_dtype(*(leaf.dtype for leaf in self.like))).dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return sum(leaf.size * (1 + jnp.iscomplexobj(leaf)) for leaf in self.like)

    def pack(self, tree: PyTree) -> jax.Array:
        """The vector of a tree."""
        return ravel([jnp.asarray(leaf) for leaf in self.treedef.flatten_up_to(tree)])

    def unpack(self, vector: jax.Array) -> PyTree:
        """The tree of a vector, its leaves in their own dtypes."""
        return self.treedef.unflatten(unravel(vector, self.like))

    def matrix(self, operator: LinearOperator) -> jax.Array:
        """A symmetric operator on such trees as a matrix, by one product for each column."""
        refuse_many(self.size)
        matrix = cast(operator.dense(), self.dtype)
        return (matrix + matrix.T) / 2


def dense_hessian(evaluation: Evaluation, params: Params, vectors: RealVector) -> jax.Array:
    """The Hessian of the loss as a matrix; the identity where an element is not finite."""
    matrix = vectors.matrix(hessian(evaluation, params))
    unit = jnp.eye(vectors.size, dtype=vectors.dtype)
    return jnp.where(jnp.all(jnp.isfinite(matrix)), matrix, unit)


def solve_positive(matrix: jax.Array, b: jax.Array, damping: jax.Array) -> jax.Array:
    r"""The solution of :math:`(|H| + \lambda I)\,x = b`; see :class:`scale_by_newton`.

    Args:
        matrix: the symmetric :math:`H`, finite.
        b: a vector of its size.
        damping: :math:`\lambda \ge 0`.
    """
    if not b.size:
        return b
    eps = jnp.finfo(b.dtype).eps

    def scaled(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The factor of the matrix with a diagonal of 1, NaN if it has none, and the scale."""
        diagonal = jnp.diagonal(matrix)
        scale = jax.lax.rsqrt(jnp.where(diagonal > 0, diagonal, 1))
        matrix = jnp.where(jnp.all(diagonal > 0), scale[:, None] * matrix * scale[None], jnp.nan)
        return jnp.linalg.cholesky(matrix), scale

    pivots = jnp.diagonal(scaled(jax.lax.stop_gradient(matrix))[0])
    definite = jnp.all(pivots * pivots > b.size * eps)  # False of NaN

    def by_factor() -> jax.Array:
        damped = after(pivots, matrix) + damping * jnp.eye(b.size, dtype=b.dtype)
        factor, scale = scaled(damped)

        def solve(b: jax.Array) -> jax.Array:
            return scale * jax.scipy.linalg.cho_solve((factor, True), scale * b)

        x = solve(b)
        return x + solve(b - jnp.matmul(damped, x, precision="highest"))

    def by_eigenvalues() -> jax.Array:
        values, vectors = jnp.linalg.eigh(after(solution, matrix))
        values = jnp.abs(values)
        largest = jnp.max(values)
        values = jnp.maximum(values, jnp.sqrt(eps) * largest) + damping
        values = jnp.where(values > 0, values, 1)  # of a loss that is linear
        along = jnp.matmul(vectors.T, b, precision="highest")
        return jnp.matmul(vectors, along / values, precision="highest")

    # Under vmap both branches are computed.
    solution = jax.lax.cond(definite, by_factor, lambda: b)
    return jax.lax.cond(definite, lambda: solution, by_eigenvalues)
