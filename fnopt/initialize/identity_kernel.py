r"""Kernels that pass their input on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnopt.initialize.gain import checked


def identity(gain: float = 1.0) -> Initializer:
    r"""The identity: a unit of the output is that of the input with its number.

    .. math:: W_{ij} = \gamma\,[i = j]

    Of a kernel that is not square what is missing is cut off, or 0.

    Args:
        gain: :math:`\gamma`, finite.

    Raises:
        TypeError, ValueError: ``gain`` is no finite number; of the initializer, a kernel does not
            have two axes (of a convolution: :func:`dirac`).

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
                f"identity: the kernel must have two axes, got shape {tuple(shape)}; of a"
                " convolution's use dirac"
            )
        dtype = jnp.result_type(float if dtype is None else dtype)
        eye = jnp.asarray(gain, dtype) * jnp.eye(*shape, dtype=dtype)
        return eye if out_sharding is None else jax.device_put(eye, out_sharding)

    return init
