r"""Convolutions that return their input at first."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import Initializer

from fnopt.core.checks import positive_integer


def dirac(groups: int = 1) -> Initializer:
    r"""An initializer for convolutions that return their input: a one in the middle of a channel.

    .. math:: W_{s, i, o} = [s = \lfloor (k - 1) / 2 \rfloor]\,[i = o \bmod c], \quad
        i < \min(n_{\text{in}}, c)

    where :math:`c` is the number of output channels in a group. With padding ``"SAME"`` the output
    is the input, as far as there are channels. The middle is that of jax, also of
    ``delta_orthogonal``; torch's is :math:`\lfloor k / 2 \rfloor`, another one if a side of the
    kernel is even.

    Args:
        groups: the number of groups of channels (``feature_group_count``), each of which returns
            its own input; at least 1, and a divisor of the number of output channels.

    Returns:
        An initializer; it raises ValueError for a kernel that does not have three to five axes, or
        whose output channels are no multiple of ``groups``.

    Raises:
        TypeError, ValueError: ``groups`` is no integer, or below 1.

    References:
        Zagoruyko & Komodakis, *DiracNets: training very deep neural networks without
        skip-connections*, 2017, arXiv:1706.00388, eq. 2; ``torch.nn.init.dirac_``.

    >>> import jax
    >>> from fnopt import initialize
    >>> initialize.dirac()(jax.random.key(0), (3, 1, 1)).ravel()
    Array([0., 1., 0.], dtype=float32)
    """
    groups = positive_integer("dirac: groups", groups)

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        if len(shape) not in (3, 4, 5):
            raise ValueError(
                f"dirac: the kernel must have three to five axes, got shape {tuple(shape)};"
                " for a dense layer use identity"
            )
        *sides, inputs, outputs = shape
        if outputs % groups:
            raise ValueError(f"dirac: groups={groups} must divide the {outputs} output channels")
        if not math.prod(shape):
            return jnp.zeros(shape, float if dtype is None else dtype)
        kernel = np.zeros(shape)
        middle = kernel[tuple((side - 1) // 2 for side in sides)]  # a view: inputs, outputs
        in_group = outputs // groups
        for channel in range(min(inputs, in_group)):
            middle[channel, channel::in_group] = 1
        array = jnp.asarray(kernel, float if dtype is None else dtype)
        return array if out_sharding is None else jax.device_put(array, out_sharding)

    return init
