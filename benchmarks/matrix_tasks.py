"""What matrix_training.py trains."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from fit_tasks import TwoConvTwoDense
from flax import nnx
from machine import HERE

from fnopt.data import austen, digits, fashion_mnist
from fnopt.train import objective
from fnopt.train.models import MLP, max_pool

sys.path.insert(0, str(HERE.parent / "examples" / "char_lm"))
CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"


class Task(NamedTuple):
    """What is trained.

    Attributes:
        title: what it is, in words.
        objective: a function of the seed.
        train, validation: the data.
        batch_size: examples of a step.
        epochs: passes through the data.
        every: steps between evaluations.
    """

    title: str
    objective: Callable[[int], Any]
    train: Any
    validation: Any
    batch_size: int
    epochs: int
    every: int

    @property
    def steps(self) -> int:
        return self.epochs * (len(jax.tree.leaves(self.train)[0]) // self.batch_size)


def dense(options: argparse.Namespace) -> Task:
    train, validation = digits()

    def make(seed: int) -> Any:
        network = MLP(64, (128, 128), 10, dropout=0.2, rngs=nnx.Rngs(seed))
        return objective(network, CROSS_ENTROPY)

    return Task("digits, dense, batch norm, dropout", make, train, validation, 64, 15, 11)


def two_conv_two_dense(options: argparse.Namespace) -> Task:
    (x, y), (test_x, test_y) = fashion_mnist(options.root)
    count = 128 * 30  # a step of SOAP takes seconds: its largest matrix is 3136 by 1024

    def make(seed: int) -> Any:
        return objective(TwoConvTwoDense(nnx.Rngs(seed), max_pool), CROSS_ENTROPY)

    train = x[:count].astype("float32") / 255, y[:count]
    validation = test_x[:512].astype("float32") / 255, test_y[:512]
    return Task("Fashion-MNIST, 2c2d", make, train, validation, 128, 1, 5)


def letters(options: argparse.Namespace) -> Task:
    from train import Transformer

    length, batch = 64, 16
    text = austen(options.root)
    pieces = text.windows(length + 1)

    def make(seed: int) -> Any:
        return objective(
            Transformer(len(text.vocabulary), length, 64, 2, 4, nnx.Rngs(seed)),
            CROSS_ENTROPY,
            inputs=lambda pieces: pieces[:, :-1].astype(jnp.int32),
            targets=lambda pieces: pieces[:, 1:].astype(jnp.int32),
        )

    return Task(
        "letters, transformer of 2 blocks, width 64", make,
        pieces[: batch * 300], pieces[-256:], batch, 1, 20,
    )  # fmt: skip


TASKS = {"digits": dense, "2c2d": two_conv_two_dense, "letters": letters}
