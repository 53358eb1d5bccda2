"""Rounding at random, so that what is below half a unit in the last place is not lost."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

# Bits of a significand without the leading one, and the biased exponent that the smallest normal
# number has in single precision.
_FORMATS = {"bfloat16": (7, 1), "float16": (10, 113)}


def stochastic_round(x: jax.Array, dtype: Any, key: jax.Array) -> jax.Array:
    r"""Rounds to one of the two neighbours, to the nearer one with the higher probability.

    .. math:: P(\text{up}) = \frac{x - \lfloor x \rfloor}{\lceil x \rceil - \lfloor x \rfloor},
        \qquad E[\text{round}(x)] = x

    where the brackets are the neighbours of ``dtype``, subnormal ones among them. A number that
    has a representation, an infinity and NaN stay what they are; above the largest number the
    neighbours are that one and, as far away as a next number would be, infinity. The computation
    is on the bits: those to be dropped are added to as many random ones, and the carry decides.

    Args:
        x: an array in single or half precision.
        dtype: the dtype to round to, ``"bfloat16"`` or ``"float16"``.
        key: a PRNG key; one number is drawn for each element.

    Raises:
        TypeError: the array is wider than single precision or not floating.
        ValueError: the dtype is another.

    References:
        Gupta, Agrawal, Gopalakrishnan & Narayanan, *Deep learning with limited numerical
        precision*, ICML 2015, arXiv:1502.02551, Section 3.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.full(10_000, 1 + 2**-10)  # the neighbours in bfloat16 are 1 and 1 + 2**-7
    >>> rounded = stochastic_round(x, "bfloat16", jax.random.key(0)).astype(jnp.float32)
    >>> sorted(set(rounded.tolist())), abs(float(rounded.mean()) - (1 + 2**-10)) < 1e-4
    ([1.0, 1.0078125], True)
    """
    name = str(jnp.dtype(dtype))
    if name not in _FORMATS:
        raise ValueError(
            f"stochastic_round: dtype must be one of {tuple(_FORMATS)}, got {name!r}; wider ones"
            " are rounded to nearest by astype"
        )
    if not jnp.issubdtype(x.dtype, jnp.floating) or jnp.finfo(x.dtype).bits > 32:
        raise TypeError(
            f"stochastic_round: x must be floating and of at most 32 bits, got {x.dtype}; astype"
            " to float32 first"
        )
    digits, least = _FORMATS[name]
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    exponent = (bits >> 23) & 0xFF
    leading = jnp.where(exponent > 0, jnp.uint32(1 << 23), jnp.uint32(0))
    significand = (bits & 0x7FFFFF) | leading
    exponent = jnp.maximum(exponent, 1)
    # How many bits go: below the smallest normal number the spacing stays, so more and more do.
    # Beyond 31 the lowest are cut off, which is 2**-31 of the spacing at most.
    drop = 23 - digits + jnp.maximum(exponent, least) - exponent
    cut = jnp.maximum(drop, 31) - 31
    significand, drop = significand >> jnp.minimum(cut, 31), jnp.minimum(drop, 31)
    noise = jax.random.bits(key, x.shape, jnp.uint32) & ((jnp.uint32(1) << drop) - 1)
    magnitude = ((jnp.maximum(exponent, least) - least) << digits) + ((significand + noise) >> drop)
    infinity = ((1 << (15 - digits)) - 1) << digits
    rounded = jnp.minimum(magnitude, infinity) | ((bits >> 16) & 0x8000)
    rounded = jax.lax.bitcast_convert_type(rounded.astype(jnp.uint16), jnp.dtype(name))
    return jnp.where(jnp.isfinite(x), rounded, x.astype(name))
