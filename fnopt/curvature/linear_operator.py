"""A symmetric matrix that is known by its products with trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fnopt.core import computing_dtype
from fnopt.core.checks import brief, leaves_like, same_kind, same_shape
from fnopt.core.moments import cast
from fnopt.core.tracebacks import hides_frames
from fnopt.core.types import Numeric, PyTree
from fnopt.curvature.real_leaves import real_leaves, real_product

_AT_ONCE = 256
"""Most columns of a matrix that are computed at once."""


@dataclasses.dataclass(frozen=True, repr=False)
class LinearOperator:
    """A symmetric matrix, known by its products with trees like the parameters.

    ``operator @ tree`` is a product, a tree of the same structure. What a product needs of the
    parameters is computed once, when the operator is made, and used by all. Make an operator
    inside of the function that is compiled: it is no argument of one.

    A tree may have other dtypes than the parameters; products are computed in theirs, and come in
    the wider of the two. Complex parameters are pairs of real ones: the matrix is symmetric for the
    real part of the inner product.

    Args:
        product: ``product(tree)``, the matrix times a tree like ``like``.
        like: the parameters, or another tree with their shapes and dtypes.

    >>> import jax.numpy as jnp
    >>> from fnopt import curvature
    >>> matrix = curvature.hessian(lambda x: x[0] ** 2 * x[1], jnp.array([1.0, 2.0]))
    >>> matrix @ jnp.array([1.0, 0.0])
    Array([4., 2.], dtype=float32)
    >>> matrix.damped(10.0).dense()
    Array([[14.,  2.],
           [ 2., 10.]], dtype=float32)
    """

    product: Callable[[PyTree], PyTree]
    like: PyTree

    @hides_frames
    def __matmul__(self, tree: PyTree) -> Any:
        return self.product(tree_like("the tree", tree, self.like))

    @property
    def size(self) -> int:
        """The number of rows: that of all elements, where a complex one counts twice."""
        return sum(jnp.size(x) * (1 + jnp.iscomplexobj(x)) for x in jax.tree.leaves(self.like))

    def __repr__(self) -> str:
        return f"LinearOperator(size={self.size})"

    def damped(self, damping: Numeric) -> LinearOperator:
        r"""The matrix plus :math:`\lambda I`, with products in single precision at least.

        Args:
            damping: :math:`\lambda`, a number or a scalar array.
        """

        def add(x: Any, product: jax.Array) -> jax.Array:
            dtype = computing_dtype(wider(x, product))
            term = jnp.asarray(damping).astype(dtype) * jnp.asarray(x).astype(dtype)
            return cast(product, dtype) + term

        return LinearOperator(lambda tree: jax.tree.map(add, tree, self.product(tree)), self.like)

    def dense(self) -> jax.Array:
        """The matrix itself, in single precision at least.

        Rows and columns are the elements of the leaves, leaf after leaf; of a complex leaf first
        all real parts, then all imaginary parts. Its memory is that of ``size`` squared numbers.
        """
        vector, unravel = ravel_pytree([jnp.zeros_like(x) for x in real_leaves(self.like)])
        product = real_product(self.product, self.like)

        def column(unit: jax.Array) -> jax.Array:
            return ravel_pytree(product(unravel(unit)))[0]

        units = jnp.eye(vector.size, dtype=vector.dtype)
        if vector.size <= _AT_ONCE:
            return jax.vmap(column)(units).T
        return jax.lax.map(column, units, batch_size=_AT_ONCE).T


def as_operator(caller: str, operator: Any) -> LinearOperator:
    """The argument, if it is an operator with at least one row.

    Args:
        caller: the name of the function, for the error.
        operator: the argument.

    Raises:
        TypeError: it is something else.
        ValueError: it has no row.
    """
    if not isinstance(operator, LinearOperator):
        cure = "hessian(loss, params) makes one of a loss"
        if callable(operator):
            cure = (
                "LinearOperator(function, like) makes one of a linear function of trees, and"
                f" {cure}"
            )
        raise TypeError(
            f"{caller}: operator is {brief(operator)} ({type(operator).__name__}), not a"
            f" LinearOperator; {cure}"
        )
    if operator.size == 0:
        raise ValueError(f"{caller}: the operator has no rows, as its parameters have no elements")
    return operator


def tree_like(what: str, tree: PyTree, like: PyTree) -> Any:
    """A tree of arrays as inexact as those of another, and in dtypes at least as wide.

    Args:
        what: its name, for the error.
        tree: the tree.
        like: the other tree.

    Raises:
        TypeError: a leaf is complex, or an integer, where the other's is not; names its path.
        ValueError: structures or shapes differ; names the path.
    """
    with_paths, treedef = jax.tree_util.tree_flatten_with_path(like)
    leaves = leaves_like(treedef, what, tree, "the parameters")
    for (path, param), leaf in zip(with_paths, leaves, strict=True):
        name = what + jax.tree_util.keystr(path)
        same_shape(name, jnp.shape(leaf), jnp.shape(param), "parameter")
        same_kind(name, leaf, param, "parameter")
    return treedef.unflatten(
        jnp.asarray(leaf).astype(wider(leaf, param))
        for (_, param), leaf in zip(with_paths, leaves, strict=True)
    )


def wider(*arrays: Any) -> Any:
    """The dtype that holds what all of these arrays hold."""
    with jax.numpy_dtype_promotion("standard"):  # which strict mode refuses
        return jnp.result_type(*arrays)
