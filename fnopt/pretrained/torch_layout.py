"""Layouts of torch's weights as Flax's: functions of an array."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def kernel(array: Any) -> np.ndarray:
    """A kernel in Flax's layout: torch's (out, in, …) becomes (…, in, out).

    The kernel of a dense layer goes from (out, in) to (in, out); that of a convolution in any
    number of dimensions, with groups too, from (out, in, height, width) to (height, width, in,
    out); and that of a transposed convolution from (in, out, …) to (…, out, in), the layout of
    Flax's with ``transpose_kernel=True``.

    >>> kernel(np.zeros((16, 3, 5, 7))).shape
    (5, 7, 3, 16)
    """
    return array if np.ndim(array) < 2 else np.moveaxis(array, (0, 1), (-1, -2))


def flax_layout(path: str, array: np.ndarray) -> np.ndarray:
    """A weight in Flax's layout: kernels with the output axis last, all others as they are.

    Args:
        path: the path of Flax's leaf; one that ends in ``kernel`` is a kernel.
        array: torch's weight, of shape (out, in) or (out, in, height, width, ...).
    """
    return kernel(array) if path.rpartition("/")[2] == "kernel" else array


def as_is(array: Any) -> np.ndarray:
    """The array in the layout of the file."""
    return array


def flattened(*shape: int) -> Callable[[Any], np.ndarray]:
    """A layout for the kernel of a dense layer that reads flattened pictures.

    torch flattens pictures of shape (channels, height, width), Flax of (height, width, channels):
    the inputs of the dense layer are in another order, which no shape tells.

    Args:
        *shape: the shape that is flattened in torch: channels, height, width.

    Returns:
        A function of torch's kernel that gives Flax's; it raises ValueError where the kernel has
        another number of inputs.

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
    """The kernel of a transposed convolution in Flax's layout without ``transpose_kernel``.

    torch's (in, out, height, width) becomes (height, width, in, out), reversed along height and
    width, since torch reverses kernels there and Flax does not.

    >>> transposed_convolution(np.zeros((16, 3, 5, 7))).shape
    (5, 7, 16, 3)
    """
    reversed_ = np.flip(array, tuple(range(2, np.ndim(array))))
    return np.moveaxis(reversed_, (0, 1), (-2, -1))
