"""Euclidean norms that are right for every array whose norm can be represented."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.moments import cast, computing_dtype, divide, quotient
from fnopt.core.types import Arrays, PyTree


def norm(x: jax.Array, axis: Any = None, keepdims: bool = False) -> jax.Array:
    """The Euclidean norm of one array, or of its parts, in single precision at least.

    Right for every array whose norm can be represented, also where the squares cannot be (float32:
    beyond 1e19, below 1e-19). Infinite where an element is infinite or the norm cannot be
    represented, NaN where an element is NaN. Its slope at 0 is taken to be 0.

    Args:
        x: the array, floating or complex.
        axis: the axes that are summed over, an integer or a tuple of them; all if None.
        keepdims: whether those axes stay, with length 1.
    """
    size = _norm(_real_parts([x]), axis)
    return size if axis is None or keepdims else jnp.squeeze(size, axis)


def global_norm(tree: PyTree) -> jax.Array:
    """The Euclidean norm of all leaves together, as :func:`norm` computes it."""
    return _norm(_real_parts(jax.tree.leaves(tree)), None)


def rms(x: jax.Array) -> jax.Array:
    """The root mean squared magnitude of one array, as :func:`norm`; 0 of an empty one."""
    return norm(x) / math.sqrt(max(x.size, 1))


def norm_by_row(xs: Arrays) -> jax.Array:
    """For every index of the first axis, the norm of all arrays there together."""
    return jnp.squeeze(_norm(tuple(x.reshape(len(x), -1) for x in _real_parts(xs)), 1), 1)


def scaled_norm(tree: PyTree) -> tuple[jax.Array, jax.Array]:
    """A number times the norm of all leaves, and that number, a power of 2 without a slope.

    The product can be represented, and divided by, even where the norm itself cannot.
    """
    size, scale = _scaled_norm(_real_parts(jax.tree.leaves(tree)))
    return size, jax.lax.stop_gradient(scale)


def _real_parts(leaves: list[Any]) -> tuple[jax.Array, ...]:
    leaves = [jnp.asarray(x) for x in leaves]
    real = jnp.finfo(computing_dtype(*(x.dtype for x in leaves))).dtype
    parts = [p for x in leaves for p in ((x.real, x.imag) if jnp.iscomplexobj(x) else (x,))]
    # Nothing is 0: a tree without leaves has a norm too.
    return tuple(cast(p, real) for p in parts) or (jnp.zeros((0, 0), real),)


def _squares(parts: Any, axis: Any) -> jax.Array:
    total = [jnp.sum(jax.lax.square(x), axis, keepdims=axis is not None) for x in parts]
    return functools.reduce(jnp.add, total)


# Jitted, so that leaves of one shape are traced once.
@functools.partial(jax.jit, static_argnums=1)
def _scaled(parts: tuple[jax.Array, ...], axis: Any) -> tuple[jax.Array, jax.Array]:
    """Norms times powers of 2, and these.

    The scale is 1 where the sum of squares is neither infinite nor so small that what became 0 or
    subnormal in it could show; elsewhere the squares are those of scaled numbers.
    """
    info = jnp.finfo(parts[0].dtype)
    exponents = (0, int(info.maxexp * 3 / 4), -int(info.maxexp * 5 / 8))
    one, up, down = (np.asarray(2.0**exponent, info.dtype) for exponent in exponents)
    low, high = 2.0 ** (info.minexp + info.nmant + 33), 2.0 ** (info.maxexp - 28)
    plain = _squares(parts, axis)
    known = (plain >= low) & (plain <= high)
    small = plain < 1
    scale = jnp.where(known, one, jnp.where(small, up, down))

    def squares_of_scaled() -> jax.Array:
        # Behind the barrier XLA cannot know that one number is for all arrays, which it would write
        # out as large as they are; nor that an array is constant, for it makes x² c² of (x c)².
        scaled = jax.lax.optimization_barrier((parts, (scale,) * len(parts)))
        return _squares([x * by for x, by in zip(*scaled, strict=True)], axis)

    def when_needed() -> jax.Array:
        if sum(x.size for x in parts) <= 2**14:
            return squares_of_scaled()
        return jax.lax.cond(jnp.all(known), lambda: plain, squares_of_scaled)

    def always() -> jax.Array:
        of_large, of_small = (_squares([x * by for x in parts], axis) for by in (down, up))
        return jnp.where(known, plain, jnp.where(small, of_small, of_large))

    # On a CPU a second pass over a large array costs time and a branch none, but to compile; on an
    # accelerator a branch waits for the host, and three sums over one array are one pass.
    squares = jax.lax.platform_dependent(cpu=when_needed, default=always)
    return jnp.sqrt(squares), scale


def _units(parts: Any, size: jax.Array, scale: jax.Array) -> list[jax.Array]:
    """Each number over the norm, which is its slope; 0 where the norm is."""
    size = jnp.where(size == 0, jnp.ones_like(size), size)
    return [quotient(x * scale, size) for x in parts]


def _along(units: Any, tangents: Any, axis: Any) -> jax.Array:
    products = [u * t for u, t in zip(units, tangents, strict=True)]
    return functools.reduce(
        jnp.add, [jnp.sum(p, axis, keepdims=axis is not None) for p in products]
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _norm(parts: tuple[jax.Array, ...], axis: Any) -> jax.Array:
    size, scale = _scaled(parts, axis)
    return size / scale


@_norm.defjvp
def _norm_jvp(axis: Any, primals: Any, tangents: Any) -> Any:
    (parts,), (changes,) = primals, tangents
    size, scale = _scaled_norm(parts, axis)
    units = _units(parts, size, jax.lax.stop_gradient(scale))
    return size / jax.lax.stop_gradient(scale), _along(units, changes, axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _scaled_norm(parts: tuple[jax.Array, ...], axis: Any = None) -> tuple[jax.Array, jax.Array]:
    return _scaled(parts, axis)


@_scaled_norm.defjvp
def _scaled_norm_jvp(axis: Any, primals: Any, tangents: Any) -> Any:
    (parts,), (changes,) = primals, tangents
    size, scale = _scaled_norm(parts, axis)
    scale = jax.lax.stop_gradient(scale)
    change = _along(_units(parts, size, scale), changes, axis) * scale
    return (size, scale), (change, jnp.zeros_like(scale))


@jax.custom_jvp
def relative_change(x: jax.Array) -> jax.Array:
    """1, whose slope is that of x over x: a divisor instead of x, where 1 / x² is too large."""
    return jnp.ones_like(x)


@relative_change.defjvp
def _relative_change_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (dx,) = primals, tangents
    return relative_change(x), divide(dx, x)


@jax.jit
def over_norm(x: jax.Array, size: jax.Array) -> jax.Array:
    """An array over its norm, or over something larger; 0 over 0 is 0.

    XLA multiplies by the reciprocal, which of a large norm is 0: hence first by a power of 2.
    """
    one, far = jnp.ones_like(size), 2.0 ** (int(jnp.finfo(size.dtype).maxexp) // 2)
    by = jnp.where(size > far, one / far, jnp.where(size < 1 / far, one * far, one))
    return divide(by * x, by * size)
