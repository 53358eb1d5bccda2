r"""The initializations of torch.nn, as initializers for Flax: so that a port starts like it.

With :math:`n_{\text{in}}` the inputs of one output (for a convolution the input features of a group
times the size of the kernel), torch draws, by default,

.. math::
    W, b \sim U\Bigl(-\tfrac{1}{\sqrt{n_{\text{in}}}},\; \tfrac{1}{\sqrt{n_{\text{in}}}}\Bigr)
    \text{ in Linear and Conv}, \qquad W \sim N(0, 1) \text{ in Embedding}

while Flax draws kernels from a truncated normal of variance :math:`1 / n_{\text{in}}`, three times
as large, and starts biases at 0. An initializer is ``init(key, shape, dtype)``, as jax's are. ::

    nnx.Linear(64, 10, **init.linear(64), rngs=rngs)
    nnx.Conv(16, 32, (3, 3), **init.conv(16, (3, 3)), rngs=rngs)
    nnx.Embed(1000, 64, embedding_init=init.embedding, rngs=rngs)

torch's transposed convolutions draw by the other side, :math:`n` = output features of a group times
the size of the kernel, since their weights are (in, out / groups, …); flax's have no groups, and of
a ``ConvTranspose`` that holds its kernel as (…, in, out), its default, these are
``kaiming_uniform(a=5**0.5, mode="fan_out")`` and ``bias(out_features * kernel_size)``. (With
``transpose_kernel=True`` the kernel is (…, out, in), and ``kernel`` is torch's.) Batch and layer
normalization start at scale 1 and bias 0 in both. torch's ``padding_idx`` makes a row of an
embedding 0 and keeps it there; here that is the caller's to do.

References:
    He, Zhang, Ren & Sun, *Delving deep into rectifiers*, ICCV 2015, arXiv:1502.01852, Section 2.2;
    torch.nn.init, torch.nn.Linear.reset_parameters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
from jax.nn.initializers import Initializer, normal

from fnopt.core.checks import positive_integer
from fnopt.initialize import GAINS as GAINS
from fnopt.initialize import kaiming_uniform_ as kaiming_uniform

kernel: Initializer = kaiming_uniform(a=math.sqrt(5))
"""The kernels of torch's Linear and Conv: its :math:`a = \\sqrt 5` makes the bound one over the
root of the inputs."""

embedding: Initializer = normal(1.0)
"""The weights of torch's Embedding, :math:`N(0, 1)`; Flax has a variance of one over the width."""


def bias(fan_in: int) -> Initializer:
    r"""The biases of torch's Linear and Conv, :math:`U(\pm 1 / \sqrt{n_{\text{in}}})`.

    Args:
        fan_in: :math:`n_{\text{in}} \ge 1`, which the shape of a bias does not show: of a Linear
            ``in_features``, of a Conv ``in_features // groups`` times the size of the kernel.

    Raises:
        TypeError, ValueError: ``fan_in`` is no integer, or below 1.

    >>> import jax
    >>> from fnopt.compat.torch import init
    >>> bool(abs(init.bias(16)(jax.random.key(0), (1000,))).max() <= 0.25)
    True
    """
    bound = 1 / math.sqrt(positive_integer("bias: fan_in", fan_in))

    def init(key: Any, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
        dtype = float if dtype is None else dtype
        return jax.random.uniform(key, shape, dtype, -bound, bound, out_sharding=out_sharding)

    return init


def linear(in_features: int) -> dict[str, Initializer]:
    """The initializers of torch's Linear, for ``nnx.Linear`` and ``linen.Dense``.

    Args:
        in_features: number of inputs, at least 1.

    Raises:
        TypeError, ValueError: ``in_features`` is no integer, or below 1.

    >>> from fnopt.compat.torch import init
    >>> sorted(init.linear(64))
    ['bias_init', 'kernel_init']
    """
    return {
        "kernel_init": kernel,
        "bias_init": bias(positive_integer("linear: in_features", in_features)),
    }


def conv(
    in_features: int, kernel_size: int | Sequence[int], groups: int = 1
) -> dict[str, Initializer]:
    """The initializers of torch's Conv, for ``nnx.Conv`` and ``linen.Conv``.

    Args:
        in_features: number of inputs of the whole layer, at least 1.
        kernel_size: sides of the kernel, as Flax takes them: a number is a kernel of one dimension,
            where torch's Conv2d would make it a square.
        groups: ``feature_group_count``, which divides ``in_features``. Flax's kernel has
            ``in_features // groups`` inputs, and so has the bound.

    Raises:
        TypeError, ValueError: an argument is no integer, below 1, or ``groups`` does not divide
            ``in_features``.

    >>> from fnopt.compat.torch import init
    >>> sorted(init.conv(16, (3, 3), groups=4))
    ['bias_init', 'kernel_init']
    """
    in_features = positive_integer("conv: in_features", in_features)
    groups = positive_integer("conv: groups", groups)
    if in_features % groups:
        raise ValueError(
            f"conv: groups must divide in_features, got groups={groups} of {in_features}"
        )
    sizes = kernel_size if isinstance(kernel_size, Sequence) else (kernel_size,)
    sides = [positive_integer("conv: kernel_size", side) for side in sizes]
    return {"kernel_init": kernel, "bias_init": bias(in_features // groups * math.prod(sides))}
