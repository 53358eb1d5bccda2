r"""Weights with few connections to each unit."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnopt.initialize.gain import checked


def sparse(sparsity: float, stddev: float = 0.01, axis: int = -2) -> Initializer:
    r"""An initializer of normal weights of which a fixed share is 0.

    .. math:: w \sim N(0, \sigma^2), \qquad \lceil s\,n \rceil \text{ of every } n \text{ set to } 0

    The sum that enters a unit is then as large as with few inputs, however many there are, and
    units differ in the inputs that they read.

    Args:
        sparsity: :math:`s`, the share of zeros, in [0, 1].
        stddev: :math:`\sigma \ge 0`, the standard deviation of the other weights.
        axis: the axis along which the zeros are counted, of a kernel (in, out): ``-2`` counts the
            inputs of every unit, as in the paper; ``-1`` the outputs of every input, as torch's
            ``sparse_``.

    Returns:
        An initializer; it raises ValueError for a kernel that does not have two axes.

    Raises:
        TypeError, ValueError: an argument is out of its range.

    References:
        Martens, *Deep learning via Hessian-free optimization*, ICML 2010, Section 5.

    >>> import jax
    >>> from fnopt import initialize
    >>> kernel = initialize.sparse(0.75)(jax.random.key(0), (8, 5))
    >>> (kernel == 0).sum(0)
    Array([6, 6, 6, 6, 6], dtype=int32)
    """
    sparsity, stddev = checked("sparse: sparsity", sparsity), checked("sparse: stddev", stddev)
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse: sparsity must lie in [0, 1], got {sparsity!r}")
    if stddev < 0:
        raise ValueError(f"sparse: stddev must lie in [0, inf), got {stddev!r}")
    if axis not in (-2, -1):
        raise ValueError(f"sparse: axis must be -2 (of inputs) or -1 (of outputs), got {axis!r}")

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        if len(shape) != 2:
            raise ValueError(f"sparse: the kernel must have two axes, got shape {tuple(shape)}")
        dtype = jnp.result_type(float if dtype is None else dtype)
        value_key, rank_key = jax.random.split(key)
        weights = jnp.asarray(stddev, dtype) * jax.random.normal(value_key, shape, dtype)
        # The ranks of a random order: in every row or column each rank comes once.
        order = jnp.broadcast_to(jnp.expand_dims(jnp.arange(shape[axis]), -3 - axis), shape)
        ranks = jax.random.permutation(rank_key, order, axis, independent=True)
        zero = ranks < math.ceil(sparsity * shape[axis])
        array = jnp.where(zero, jnp.zeros((), dtype), weights)
        return array if out_sharding is None else jax.device_put(array, out_sharding)

    return init
