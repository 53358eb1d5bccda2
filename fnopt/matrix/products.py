"""Products of matrices with themselves."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def adjoint(matrices: jax.Array) -> jax.Array:
    """The conjugate transposes of matrices."""
    return jnp.matrix_transpose(matrices).conj()


def gram(matrices: jax.Array) -> jax.Array:
    """The inner products of the rows of matrices, :math:`X X^*`."""
    return matrices @ adjoint(matrices)
