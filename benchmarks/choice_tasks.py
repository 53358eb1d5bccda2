"""The tasks on which ``choice.py`` compares optimizers: small, and of different nature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import fnopt
from fnopt.data import breast_cancer, diabetes, digits
from fnopt.train import Objective, accuracy, objective
from fnopt.train.models import MLP, max_pool

SEEDS = 3
CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"


class Task(NamedTuple):
    """What is trained, and how it is judged.

    Attributes:
        title: what it is, in words.
        objectives: one for each seed, with its parameters at the start.
        train: the examples to train on.
        judged_on: the examples that the score is computed on.
        batch_size: examples of a step; None for all, in order.
        every: steps between evaluations.
        evaluations: number of evaluations in the budget.
        score: ``"accuracy"`` or ``"loss"``.
        target: the score to be reached.
    """

    title: str
    objectives: list[Objective]
    train: Any
    judged_on: Any
    batch_size: int | None
    every: int
    evaluations: int
    score: str
    target: float

    @property
    def steps(self) -> int:
        """The budget."""
        return self.every * self.evaluations

    def orders(self) -> np.ndarray:
        """Examples of each step, shape (evaluations, every, seeds, batch size)."""
        number = len(self.train[1])
        if self.batch_size is None:
            return np.tile(np.arange(number), (self.evaluations, self.every, SEEDS, 1))
        shape = self.evaluations, self.every, self.batch_size
        draws = [np.random.default_rng(seed) for seed in range(SEEDS)]
        rows = [
            np.stack(
                [draw.permutation(number)[: shape[1] * shape[2]] for _ in range(self.evaluations)]
            )
            for draw in draws
        ]
        return np.stack([x.reshape(shape) for x in rows], axis=2)


def mlp() -> Task:
    """Two hidden layers with batch normalization and dropout, on the digits."""
    train, validation = digits()
    objectives = [
        objective(
            MLP(64, (64, 64), 10, dropout=0.2, rngs=nnx.Rngs(seed)),
            CROSS_ENTROPY, metrics={"accuracy": accuracy},
        )
        for seed in range(SEEDS)
    ]  # fmt: skip
    return Task(
        "MLP, batch norm, dropout", objectives, train, validation, 64, 22, 15, "accuracy", 0.975
    )


def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Of 3 by 3, as a matrix product of patches: batches of kernels are slow as convolutions."""
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(patches, axis=-1) @ kernel


def network(params: Any, x: jax.Array) -> jax.Array:
    for layer in params["convolutions"]:
        x = max_pool(jax.nn.relu(convolution(x, layer["kernel"]) + layer["bias"]))
    return x.reshape(len(x), -1) @ params["head"]["kernel"] + params["head"]["bias"]


def convolutional() -> Task:
    """Two convolutions with pooling and a dense layer, without normalization, on the digits."""
    train, validation = digits()
    normal = jax.nn.initializers.he_normal()

    def start(seed: int) -> Any:
        keys = jax.random.split(jax.random.key(seed), 3)
        shapes = (9, 8), (72, 16), (64, 10)
        layers = [
            {"kernel": normal(key, shape), "bias": jnp.zeros(shape[1])}
            for key, shape in zip(keys, shapes, strict=True)
        ]
        return {"convolutions": layers[:2], "head": layers[2]}

    objectives = [
        objective(network, CROSS_ENTROPY, metrics={"accuracy": accuracy}, params=start(seed))
        for seed in range(SEEDS)
    ]
    return Task(
        "convolutional network", objectives, train, validation, 64, 22, 10, "accuracy", 0.95
    )


def whole_batch(title: str, data: Any, loss: Callable, decay: float, share: float) -> Task:
    """A linear model on all examples at once, to a value near its minimum.

    Args:
        title: what it is.
        data: features and targets.
        loss: ``loss(outputs, targets)`` of each example.
        decay: coefficient of half the squared weights.
        share: the target, as a share of the way down from weights of 0 that is left.
    """
    x, y = np.asarray(data[0], np.float32), np.asarray(data[1]).reshape(-1)

    def losses(params: Any, batch: Any) -> jax.Array:
        penalty = decay / 2 * jnp.sum(params["w"] ** 2)
        return loss(batch[0] @ params["w"] + params["b"], batch[1]) + penalty

    def start(seed: int) -> Any:
        w = jax.random.normal(jax.random.key(seed), x.shape[1:])
        return {"w": w, "b": jnp.zeros(())}

    zero = {"w": jnp.zeros(x.shape[1]), "b": jnp.zeros(())}
    value = lambda params: jnp.mean(losses(params, (x, y)))  # noqa: E731
    least, first = float(fnopt.minimize(value, zero, method="trust_newton").fun), float(value(zero))
    objectives = [objective(losses, params=start(seed)) for seed in range(SEEDS)]
    target = least + share * (first - least)
    return Task(title, objectives, (x, y), (x, y), None, 1, 500, "loss", target)


def logistic() -> Task:
    (x, y), _ = breast_cancer()
    loss = optax.sigmoid_binary_cross_entropy
    return whole_batch("logistic regression", (x, y.astype(np.float32)), loss, 1e-3, 1e-3)


def ill_conditioned() -> Task:
    data, _ = diabetes()
    return whole_batch("ill-conditioned least squares", data, optax.l2_loss, 0.0, 1e-3)


TASKS: dict[str, Callable[[], Task]] = {
    "mlp": mlp,
    "convolutional": convolutional,
    "logistic": logistic,
    "least_squares": ill_conditioned,
}
