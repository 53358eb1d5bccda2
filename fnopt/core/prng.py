"""PRNG keys, in whichever form a user gives them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.fields import as_key


def typed_key(key: Any) -> jax.Array:
    """A typed PRNG key.

    Args:
        key: a typed key, the words of one, or an integer to make one.
    """
    if jnp.issubdtype(getattr(key, "dtype", jnp.dtype("int32")), jax.dtypes.prng_key):
        return key
    return jax.random.wrap_key_data(as_key(key))
