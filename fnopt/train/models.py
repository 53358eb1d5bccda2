"""Networks to begin with: of dense layers, and of convolutions before them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
from flax import nnx


class MLP(nnx.Module):
    """Dense layers, each normalized over the batch, rectified and thinned out; then a dense layer.

    Args:
        inputs: features of an example; what it has more axes than one is flattened.
        hidden: widths of the layers.
        outputs: width of the last layer.
        dropout: share of units dropped in training, in [0, 1).
        rngs: random streams ``params`` and ``dropout``, or one for both.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, dropout: float, *, rngs: nnx.Rngs
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
    """Convolutions of 3 by 3, each normalized, rectified and halved in size; two dense layers.

    Args:
        image: height, width and channels of an example.
        channels: of the convolutions.
        hidden: width of the dense layer between.
        outputs: width of the last layer.
        dropout: share of units dropped in training, in [0, 1).
        rngs: random streams ``params`` and ``dropout``, or one for both.
    """

    def __init__(
        self,
        image: tuple[int, int, int],
        channels: Sequence[int],
        hidden: int,
        outputs: int,
        dropout: float,
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
            x = nnx.max_pool(convolution(x), (2, 2), strides=(2, 2))
        return self.dense(x)
