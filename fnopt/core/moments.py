"""The formulas that methods share: precision, empty slots, moving averages, quotients."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.types import Arrays, Numeric, PyTree


def computing_dtype(*dtypes: Any) -> Any:
    """The precision of computations on arrays of these dtypes: at least single."""
    with jax.numpy_dtype_promotion("standard"):  # which strict mode refuses
        return functools.reduce(jnp.promote_types, dtypes, jnp.dtype("float32"))


def cast(x: jax.Array, dtype: Any) -> jax.Array:
    """An array in a dtype, strongly typed; tracing an ``astype`` costs even where it is idle."""
    return x if x.dtype == dtype and not getattr(x, "weak_type", False) else x.astype(dtype)


def zeros(param: jax.Array, dtype: Any = None, fill: Numeric = 0) -> jax.Array:
    """A slot like a parameter, filled with a number; sharded as the parameter is.

    Args:
        param: the parameter.
        dtype: dtype of the slot; the parameter's if None.
        fill: the number that the slot is filled with.
    """
    dtype = jax.dtypes.canonicalize_dtype(dtype) if dtype is not None else param.dtype
    return jnp.full_like(param, fill, dtype=dtype)


def real_zeros(param: jax.Array, fill: Numeric = 0, dtype: Any = None) -> jax.Array:
    """A real slot like a parameter, for squares and magnitudes.

    Args:
        param: the parameter; the slot has its shape and sharding.
        fill: the number that the slot is filled with.
        dtype: dtype of the slot; the parameter's real dtype, single precision at least, if None.
            In half precision an average with a decay of 0.999 stands still once an increment is
            below half a unit in the last place, and small squares are 0: ``b2`` should be small.
    """
    dtype = jnp.finfo(computing_dtype(param.dtype)).dtype if dtype is None else dtype
    return zeros(param, dtype, fill)


def real_number(number: Numeric, params: Arrays) -> jax.Array:
    """A number that all parameters share, in the precision of computations on them."""
    return jnp.asarray(number, jnp.finfo(computing_dtype(*(p.dtype for p in params))).dtype)


def abs_sq(x: jax.Array) -> jax.Array:
    """The squared magnitude, elementwise."""
    return x.real * x.real + x.imag * x.imag if jnp.iscomplexobj(x) else x * x


def moment(new: jax.Array, old: jax.Array, decay: Numeric) -> jax.Array:
    r"""The exponential moving average :math:`\beta\,m + (1 - \beta)\,x`.

    Args:
        new: :math:`x`, what is taken in.
        old: :math:`m`, the average before.
        decay: :math:`\beta`, the share of the old in the new average, in [0, 1].
    """
    return decay * old + (1 - decay) * new


# Jitted, so that leaves of one shape are traced once.
@jax.jit
def root(x: jax.Array) -> jax.Array:
    """The square root; its slope at 0, where there is none, is taken to be 0.

    For hypergradients: a weight without a gradient must not make them NaN.
    """
    return _root(x)


@jax.custom_jvp
def _root(x: jax.Array) -> jax.Array:
    return jnp.sqrt(x)


@_root.defjvp
def _root_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    y = _root(x)
    slope = jnp.where(y > 0, 0.5 / jnp.where(y > 0, y, jnp.ones_like(y)), jnp.zeros_like(y))
    return y, dx * slope


def sum_abs(tree: PyTree) -> Any:
    """The sum of all magnitudes of a tree, 0 of an empty one."""
    return sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree))


def vdot(xs: PyTree, ys: PyTree) -> jax.Array:
    """The inner product of two trees as real vectors, in single precision at least."""
    xs, ys = jax.tree.leaves(xs), jax.tree.leaves(ys)
    wide = computing_dtype(*(x.dtype for x in (*xs, *ys)))
    parts = [
        jnp.vdot(cast(x, wide), cast(y, wide), precision="highest").real
        for x, y in zip(xs, ys, strict=True)
    ]
    return sum(parts, start=jnp.zeros((), jnp.finfo(wide).dtype))


def known_positive(number: Numeric, dtype: Any) -> bool:
    """Whether a number is known, while a program is traced, to be above 0 in a dtype."""
    return isinstance(number, float) and bool(number >= jnp.finfo(dtype).tiny)


def divide(
    x: Any, y: Any, otherwise: Numeric = 0.0, *, eps: Numeric = None, least: Numeric = None
) -> jax.Array:
    """The quotient, and another number where the divisor is 0; with a slope at 0 too.

    Args:
        x: the dividend, an array or a number.
        y: the divisor, an array; at least 0 if there is an ``eps``.
        otherwise: the result where the divisor is 0.
        eps: a number added to the divisor; none if None. Where it is known to be above 0 there is
            nothing to guard, and less to compile.
        least: a number that no divisor is below, if one is known; with the same effect.
    """
    least = eps if least is None else least
    y = y if eps is None else y + eps
    guarded = least is None or not known_positive(least, y.dtype)
    return _divide(x, y, otherwise) if guarded else x / y


# Jitted, so that leaves of one shape are traced once.
@jax.jit
def _divide(x: Any, y: Any, otherwise: Any) -> jax.Array:
    at_zero = y == 0
    if jnp.issubdtype(jnp.result_type(x), jnp.integer):
        x = jnp.asarray(x, y.dtype)  # an integer has no tangent
    return jnp.where(at_zero, otherwise, quotient(x, jnp.where(at_zero, jnp.ones_like(y), y)))


@jax.custom_jvp
def quotient(x: Any, y: Any) -> jax.Array:
    """x / y, whose slope does not need the square of y to be representable."""
    return x / y


@quotient.defjvp
def _quotient_jvp(primals: Any, tangents: Any) -> Any:
    # jax's slope has the square of the divisor, which need not be representable where this is.
    (x, y), (dx, dy) = primals, tangents
    ratio = quotient(x, y)
    return ratio, (dx - ratio * dy) / y
