r"""Few connections to each unit."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnopt.initialize.gain import checked


def sparse(sparsity: float, stddev: float = 0.01, axis: int = -2) -> Initializer:
    r"""Normal weights of which a fixed share is 0.

    .. math:: w \sim N(0, \sigma^2), \qquad \lceil s\,n \rceil \text{ of every } n \text{ set to } 0

    The inputs of a unit, of which few count, are then as large as those of a unit with few inputs,
    however many there are, and units differ by what they look at.

    Args:
        sparsity: :math:`s \in [0, 1]`.
        stddev: :math:`\sigma \ge 0`, of the weights that are not 0.
        axis: the axis along which the zeros are counted, of a kernel (…, in, out): ``-2`` counts
            the inputs of every unit, as the paper does; ``-1`` the outputs that every input goes
            to, as torch's ``sparse_`` does.

    Raises:
        TypeError, ValueError: an argument is out of its range; of the initializer, a kernel does
            not have two axes.

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
        of_value, of_place = jax.random.split(key)
        weights = jnp.asarray(stddev, dtype) * jax.random.normal(of_value, shape, dtype)
        # The places of a random order: in every row or column each place comes once.
        order = jnp.broadcast_to(jnp.expand_dims(jnp.arange(shape[axis]), -3 - axis), shape)
        places = jax.random.permutation(of_place, order, axis, independent=True)
        made = jnp.where(places < math.ceil(sparsity * shape[axis]), jnp.zeros((), dtype), weights)
        return made if out_sharding is None else jax.device_put(made, out_sharding)

    return init
