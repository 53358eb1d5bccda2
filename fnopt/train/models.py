"""Two small networks: an MLP and a convolutional one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
from flax import nnx


class MLP(nnx.Module):
    """Dense layers, each with batch normalization, ReLU and dropout; then a dense layer.

    Args:
        inputs: number of features of an example; several axes are flattened.
        hidden: numbers of units of the hidden layers.
        outputs: number of outputs.
        dropout: share of units dropped in training, in [0, 1); 0 drops none.
        rngs: random streams ``params`` and ``dropout``, or one for both.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        dropout: float = 0.0,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        widths = [inputs, *hidden]
        self.layers = nnx.List(
            nnx.Sequential(
                nnx.Linear(before, width, rngs=rngs),
                nnx.BatchNorm(width, momentum=0.9, rngs=rngs),
                nnx.relu,
                nnx.Dropout(dropout, rngs=rngs),
            )
            for before, width in itertools.pairwise(widths)
        )
        self.head = nnx.Linear(widths[-1], outputs, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class ConvNet(nnx.Module):
    """Convolutions of 3 by 3 with batch normalization, ReLU and max-pooling; two dense layers.

    Args:
        image: height, width and channels of an example.
        channels: numbers of channels of the convolutions.
        hidden: number of units of the hidden dense layer.
        outputs: number of outputs.
        dropout: share of units dropped in training, in [0, 1); 0 drops none.
        rngs: random streams ``params`` and ``dropout``, or one for both.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        channels: Sequence[int],
        hidden: int,
        outputs: int,
        dropout: float = 0.0,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        height, width, colours = image
        self.convolutions = nnx.List(
            nnx.Sequential(
                nnx.Conv(before, after, (3, 3), rngs=rngs),
                nnx.BatchNorm(after, momentum=0.9, rngs=rngs),
                nnx.relu,
            )
            for before, after in itertools.pairwise([colours, *channels])
        )
        halved = 2 ** len(channels)
        features = (height // halved) * (width // halved) * channels[-1]
        self.dense = MLP(features, (hidden,), outputs, dropout, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for convolution in self.convolutions:
            x = max_pool(convolution(x))
        return self.dense(x)


def max_pool(x: jax.Array, side: int = 2) -> jax.Array:
    """Max-pooling over squares of pictures.

    As ``nnx.max_pool(x, (side, side), strides=(side, side))``, whose gradient XLA computes ten
    times slower on a CPU: it searches the largest again. Where several are the largest they share
    the gradient, where Flax gives it to the first. (After a ReLU both are the same: those are
    zeros.)

    Args:
        x: pictures, of shape (…, height, width, channels); remaining rows or columns are left out.
        side: side of a square in pixels, at least 1 and at most that of the picture.

    Returns:
        Pictures of shape (…, height // side, width // side, channels).

    Raises:
        ValueError: ``side`` is out of its range.

    >>> import jax.numpy as jnp
    >>> from fnopt.train.models import max_pool
    >>> max_pool(jnp.arange(12.0).reshape(1, 2, 6, 1))[0, 0, :, 0]
    Array([ 7.,  9., 11.], dtype=float32)
    """
    *examples, height, width, channels = x.shape
    if not 1 <= side <= min(height, width):
        raise ValueError(
            f"max_pool: side must lie in [1, {min(height, width)}] for pictures of"
            f" {height} by {width}, got {side}"
        )
    rows, columns = height // side, width // side
    squares = x[..., : rows * side, : columns * side, :].reshape(
        *examples, rows, side, columns, side, channels
    )
    return squares.max(axis=(-4, -2))
