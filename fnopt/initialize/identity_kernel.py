r"""Kernels of dense layers that return their input at first."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnopt.initialize.gain import checked


def identity(gain: float = 1.0) -> Initializer:
    r"""An initializer for dense layers that return their input, unit by unit.

    .. math:: W_{ij} = \gamma\,[i = j]

    Where a kernel is not square, the other rows or columns are 0. (The transform
    ``fnopt.identity`` is another thing.)

    Args:
        gain: :math:`\gamma`, finite.

    Returns:
        An initializer; it raises ValueError for a kernel that does not have two axes (for
        convolutions there is :func:`dirac`).

    Raises:
        TypeError, ValueError: ``gain`` is no finite number.

    References:
        Le, Jaitly & Hinton, *A simple way to initialize recurrent networks of rectified linear
        units*, 2015, arXiv:1504.00941, Section 2.

    >>> import jax
    >>> from fnopt import initialize
    >>> initialize.identity()(jax.random.key(0), (2, 3))
    Array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """
    gain = checked("identity: gain", gain)

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        if len(shape) != 2:
            raise ValueError(
                f"identity: the kernel must have two axes, got shape {tuple(shape)}; for"
                " a convolution use dirac"
            )
        dtype = jnp.result_type(float if dtype is None else dtype)
        eye = jnp.asarray(gain, dtype) * jnp.eye(*shape, dtype=dtype)
        return eye if out_sharding is None else jax.device_put(eye, out_sharding)

    return init
