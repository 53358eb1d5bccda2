"""How torch's layouts become Flax's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def kernel(array: Any) -> np.ndarray:
    """A weight of torch as Flax has it: (out, in, …) becomes (…, in, out).

    Of a dense layer (out, in) to (in, out); of a convolution in any number of dimensions (out, in,
    height, width) to (height, width, in, out), with groups too; and of a transposed convolution
    (in, out, …) to (…, out, in), which Flax's has with ``transpose_kernel=True``.

    >>> kernel(np.zeros((16, 3, 5, 7))).shape
    (5, 7, 3, 16)
    """
    return array if np.ndim(array) < 2 else np.moveaxis(array, (0, 1), (-1, -2))


def flax_layout(path: str, array: np.ndarray) -> np.ndarray:
    """A weight of torch as Flax has it: kernels with the output axis last, all else as it is.

    Args:
        path: of our leaf; one that ends in ``kernel`` is a kernel.
        array: torch's, of shape (out, in) or (out, in, height, width, ...).
    """
    return kernel(array) if path.rpartition("/")[2] == "kernel" else array


def as_is(array: Any) -> np.ndarray:
    """The layout of the file."""
    return array


def flattened(*shape: int) -> Callable[[Any], np.ndarray]:
    """The kernel of a dense layer behind the flattening of pictures, from torch's order to Flax's.

    torch holds pictures as (channels, height, width) and flattens them so, Flax as (height, width,
    channels): the inputs of the dense layer behind are in another order, which no shape tells.

    Args:
        *shape: what was flattened, as torch has it: channels, height, width.

    Raises:
        ValueError: of the layout, the weight has not so many inputs.

    >>> flattened(32, 4, 4)(np.zeros((10, 512))).shape
    (512, 10)
    """

    def layout(array: Any) -> np.ndarray:
        if np.ndim(array) != 2 or array.shape[1] != math.prod(shape):
            raise ValueError(
                f"flattened{shape} is for a weight of shape (out, {math.prod(shape)}), got"
                f" {np.shape(array)}"
            )
        last = np.moveaxis(array.reshape(len(array), *shape), (0, 1), (-1, -2))
        return last.reshape(-1, len(array))

    return layout


def transposed_convolution(array: Any) -> np.ndarray:
    """The kernel of a transposed convolution as Flax has it without ``transpose_kernel``.

    torch's (in, out, height, width), which it turns around, becomes (height, width, in, out), which
    Flax does not.

    >>> transposed_convolution(np.zeros((16, 3, 5, 7))).shape
    (5, 7, 16, 3)
    """
    turned = np.flip(array, tuple(range(2, np.ndim(array))))
    return np.moveaxis(turned, (0, 1), (-2, -1))
