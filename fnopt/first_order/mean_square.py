"""The slot of a mean square."""

from __future__ import annotations

from typing import Any

import jax

from fnopt.core import real_zeros, zeros


def mean_square(param: jax.Array, dtype: Any) -> jax.Array:
    """A slot for squares: of a dtype, or of single precision at least if None.

    In half precision an average with a decay near 1 stands still (see ``real_zeros``); of such a
    slot ``b2`` should be small.
    """
    return real_zeros(param) if dtype is None else zeros(param, dtype)
