"""Small networks with batch normalization and dropout, in Flax NNX and in Linen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from fnopt.train import Objective, accuracy, objective

FEATURES, CLASSES = 8, 3
CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"


class NNXNet(nnx.Module):
    """Dense, batch normalization, dropout, dense."""

    def __init__(self, rngs: nnx.Rngs, dropout: float = 0.5):
        self.dense = nnx.Linear(FEATURES, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(dropout, rngs=rngs)
        self.head = nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.dropout(nnx.relu(self.norm(self.dense(x)))))


class BiaslessNet(nnx.Module):
    """Smaller, without the bias before the normalization.

    Such a bias has a gradient of 0, of which Adam makes steps out of roundings.
    """

    def __init__(self, rngs: nnx.Rngs):
        self.dense = nnx.Linear(FEATURES, 6, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(6, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.head = nnx.Linear(6, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.dropout(nnx.relu(self.norm(self.dense(x)))))


class LinenNet(linen.Module):
    """The same in Linen."""

    dropout: float = 0.5

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = linen.Dense(16)(x)
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = linen.Dropout(self.dropout, deterministic=not train)(linen.relu(x))
        return linen.Dense(CLASSES)(x)


def nnx_task(dropout: float = 0.5) -> Objective:
    """Classification by the NNX network."""
    net = NNXNet(nnx.Rngs(0), dropout)
    return objective(net, CROSS_ENTROPY, metrics={"accuracy": accuracy})


def linen_task(dropout: float = 0.5) -> Objective:
    """Classification by the Linen network."""
    return objective(LinenNet(dropout), CROSS_ENTROPY, metrics={"accuracy": accuracy})


def function_task() -> Objective:
    """Classification by a linear function."""
    params = {"w": jnp.zeros((FEATURES, CLASSES)), "b": jnp.zeros(CLASSES)}
    return objective(
        lambda params, x: x @ params["w"] + jnp.broadcast_to(params["b"], (x.shape[0], CLASSES)),
        CROSS_ENTROPY,
        metrics={"accuracy": accuracy},
        params=params,
    )


def blobs(examples: int = 50, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points around three centres, and which."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(CLASSES, size=examples)
    centres = np.random.RandomState(0).normal(size=(CLASSES, FEATURES))
    points = centres[labels] + 0.5 * rng.normal(size=(examples, FEATURES))
    return points.astype(np.float32), labels.astype(np.int32)
