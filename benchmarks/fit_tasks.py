"""The tasks of ``fit.py``: training data, and a network in Flax and in torch."""

from __future__ import annotations

import argparse

import jax
import numpy as np
from flax import nnx

from fnopt.data import digits
from fnopt.train.models import MLP, max_pool

DROPOUT = 0.2


class Digits:
    """Pictures as vectors, a network of dense layers."""

    batch, epochs = 64, 20

    def __init__(self, options: argparse.Namespace):
        self.train, _ = digits()
        self.steps = len(self.train[1]) // self.batch

    def network(self) -> nnx.Module:
        return MLP(64, (128, 128), 10, DROPOUT, rngs=nnx.Rngs(0))

    def torch_network(self, nn):
        hidden = [
            layer
            for before, width in ((64, 128), (128, 128))
            for layer in (
                nn.Linear(before, width),
                nn.BatchNorm1d(width),
                nn.ReLU(),
                nn.Dropout(DROPOUT),
            )
        ]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(128, 10))


class FashionMnist:
    """2c2d: two convolutions 5x5 with pooling, two dense layers."""

    batch, epochs = 128, 1

    def __init__(self, options: argparse.Namespace):
        self.steps = options.steps
        count = self.steps * self.batch
        if options.noise:
            draw = np.random.default_rng(0)
            images = draw.integers(256, size=(count, 28, 28, 1), dtype=np.uint8)
            labels = draw.integers(10, size=count).astype(np.int32)
        else:
            from fnopt.data import fashion_mnist

            (images, labels), _ = fashion_mnist()
        self.pool = flax_pool if options.flax_pool else max_pool
        self.train = images[:count].astype(np.float32) / 255, labels[:count]

    def network(self) -> nnx.Module:
        return TwoConvTwoDense(nnx.Rngs(0), self.pool)

    def torch_network(self, nn):
        return nn.Sequential(
            nn.Conv2d(1, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(7 * 7 * 64, 1024),
            nn.ReLU(),
            nn.Linear(1024, 10),
        )


def flax_pool(x: jax.Array) -> jax.Array:
    return nnx.max_pool(x, (2, 2), strides=(2, 2))


class TwoConvTwoDense(nnx.Module):
    def __init__(self, rngs: nnx.Rngs, pool):
        self.pool = pool
        self.conv1 = nnx.Conv(1, 32, (5, 5), rngs=rngs)
        self.conv2 = nnx.Conv(32, 64, (5, 5), rngs=rngs)
        self.dense1 = nnx.Linear(7 * 7 * 64, 1024, rngs=rngs)
        self.dense2 = nnx.Linear(1024, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for conv in (self.conv1, self.conv2):
            x = self.pool(nnx.relu(conv(x)))
        return self.dense2(nnx.relu(self.dense1(x.reshape(len(x), -1))))


TASKS = {"digits": Digits, "fashion_mnist": FashionMnist}
