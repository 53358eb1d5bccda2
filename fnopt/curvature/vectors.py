"""Lists of arrays as one real vector, for methods with a dense matrix, and what they receive."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.moments import cast


def ravel(leaves: list[jax.Array]) -> jax.Array:
    """All elements, leaf after leaf, of a complex leaf all real parts and then the imaginary ones.

    Args:
        leaves: arrays of any floating dtypes; the vector has single precision at least.
    """
    real = jnp.finfo(computing_dtype(*(x.dtype for x in leaves))).dtype
    parts = [p for x in leaves for p in ((x.real, x.imag) if jnp.iscomplexobj(x) else (x,))]
    return jnp.concatenate([jnp.zeros(0, real), *(cast(p, real).ravel() for p in parts)])


def unravel(vector: jax.Array, like: list[jax.Array]) -> list[jax.Array]:
    """The arrays that a vector stands for, in the shapes and dtypes of others."""
    leaves, start = [], 0
    for x in like:
        parts = []
        for _ in range(1 + jnp.iscomplexobj(x)):
            parts.append(vector[start : start + x.size].reshape(x.shape))
            start += x.size
        leaves.append(cast(jax.lax.complex(*parts) if len(parts) == 2 else parts[0], x.dtype))
    return leaves


MOST_ROWS = 2**14
"""Rows of the largest matrix of curvature: 1 GiB in single precision."""


def refuse_many(size: int) -> None:
    """Refuses a matrix of curvature of so many parameters that no step would end.

    Raises:
        ValueError: there are more than :data:`MOST_ROWS`; the message has the methods without one.
    """
    if size > MOST_ROWS:
        raise ValueError(
            f"this method stores a matrix of curvature, of {size} parameters"
            f" {4 * size**2 / 1e9:.3g} GB, and a step takes its square or cube in operations; take"
            " newton_cg, lbfgs, or solver='cg' of a Gauss-Newton method, which store none"
        )
