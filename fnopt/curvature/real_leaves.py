"""Trees as lists of real arrays of one dtype, in which all inner products are those of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype
from fnopt.core.moments import cast
from fnopt.core.types import PyTree


def real_leaves(tree: PyTree) -> list[jax.Array]:
    """The leaves as real arrays of one dtype, single precision at least.

    A complex array becomes two in one, its real and its imaginary part along a new first axis.
    """
    leaves = [jnp.asarray(x) for x in jax.tree.leaves(tree)]
    dtype = jnp.finfo(computing_dtype(*(x.dtype for x in leaves))).dtype
    parts = [jnp.stack([x.real, x.imag]) if jnp.iscomplexobj(x) else x for x in leaves]
    return [cast(x, dtype) for x in parts]


def from_real_leaves(leaves: list[jax.Array], like: PyTree) -> Any:
    """The tree of which :func:`real_leaves` are these; its precision is theirs.

    Args:
        leaves: the real arrays.
        like: a tree of the same structure, which says what is complex.
    """
    complex_leaves = [jnp.iscomplexobj(x) for x in jax.tree.leaves(like)]
    joined = [
        jax.lax.complex(x[0], x[1]) if is_complex else x
        for x, is_complex in zip(leaves, complex_leaves, strict=True)
    ]
    return jax.tree.structure(like).unflatten(joined)


def real_product(
    product: Callable[[PyTree], PyTree], like: PyTree
) -> Callable[[list[jax.Array]], list[jax.Array]]:
    """A linear function of trees as a function of their real arrays.

    Args:
        product: the function.
        like: a tree like its argument and its result.
    """
    return lambda leaves: real_leaves(product(from_real_leaves(leaves, like)))


def normal_leaves(key: jax.Array, like: list[jax.Array]) -> list[jax.Array]:
    """Independent normal numbers in the shapes and dtypes of these arrays."""
    keys = jax.random.split(key, max(len(like), 1))
    return [jax.random.normal(one, x.shape, x.dtype) for one, x in zip(keys, like, strict=False)]


def without_span(vector: list[jax.Array], basis: list[jax.Array]) -> list[jax.Array]:
    """A vector minus its projection onto orthonormal vectors, computed twice.

    Once leaves what cancellation makes of it; after the second time the rest is orthogonal to
    rounding (Kahan's "twice is enough").

    Args:
        vector: a list of arrays.
        basis: arrays with one more axis, the first, along which the vectors are; those that are
            0 count for nothing.
    """
    for _ in range(2):
        shares = sum(
            jnp.tensordot(b, x, x.ndim, precision="highest")
            for b, x in zip(basis, vector, strict=True)
        )
        vector = [
            x - jnp.tensordot(shares, b, 1, precision="highest")
            for b, x in zip(basis, vector, strict=True)
        ]
    return vector
