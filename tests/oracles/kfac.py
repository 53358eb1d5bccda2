"""K-FAC by full matrices, in float64: its blocks, its damping, and a run on the mixed problem."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from oracles import first_order
from problems import MIXED_INPUTS

Leaves = list[np.ndarray]


def mean_moment(rows: np.ndarray) -> np.ndarray:
    """Martens & Grosse 2015, Section 3: the mean of the rows' outer products."""
    return moment(rows, np.full(len(rows), 1 / len(rows)))


def moment(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The sum of the rows' outer products, each with its weight."""
    outer = [w * np.outer(row, row) for row, w in zip(rows, weights, strict=True)]
    return np.sum(outer, axis=0)


def split(a: np.ndarray, g: np.ndarray, damping: float) -> tuple[float, float]:
    """Section 6.3: the dampings of both factors, by the quotient of their mean eigenvalues."""
    pi = np.sqrt((np.trace(a) / len(a)) / (np.trace(g) / len(g)))
    return pi * np.sqrt(damping), np.sqrt(damping) / pi


def factored_direction(a: np.ndarray, g: np.ndarray, m: np.ndarray, damping: float) -> np.ndarray:
    """Section 6.3: the inverse of the product of both damped factors, written out, times vec(M)."""
    of_a, of_g = split(a, g, damping)
    whole = np.kron(a + of_a * np.eye(len(a)), g + of_g * np.eye(len(g)))
    return np.linalg.solve(whole, m.ravel(order="F")).reshape(m.shape, order="F")


def exact_direction(a: np.ndarray, g: np.ndarray, m: np.ndarray, damping: float) -> np.ndarray:
    """The inverse of the damped product of both factors, written out, times vec(M)."""
    whole = np.kron(a, g) + damping * np.eye(m.size)
    return np.linalg.solve(whole, m.ravel(order="F")).reshape(m.shape, order="F")


def fisher_block(jacobians: np.ndarray, hessians: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Martens & Grosse 2015, Section 2.2: the Fisher matrix, example by example.

    Args:
        jacobians: the derivative of each example's outputs by the block, (examples, outputs, size).
        hessians: the Hessian of each example's loss in its outputs.
        weights: the weight of each example's loss.
    """
    terms = [w * j.T @ h @ j for j, h, w in zip(jacobians, hessians, weights, strict=True)]
    return np.sum(terms, axis=0)


def kfac(
    gradient: Any,
    theta: Leaves,
    *,
    learning_rate: float,
    damping: float = 1e-3,
    momentum: float | None = 0.9,
    decay: float = 0.95,
    solver: str = "cholesky",
    factor_interval: int = 1,
    inverse_interval: int = 20,
    max_kl: float | None = None,
    weight_decay: float = 0.0,
    plain: bool = False,
    **_: Any,
) -> Iterator[Leaves]:
    """Martens & Grosse 2015, Algorithm 2 without its adaptive parts, on the mixed problem.

    Its leaves are the scale of the output, the weights of the units, of which a row is that of a
    unit, and their biases, which no name pairs with the weights. All but the weights get AdamW,
    or gradient descent if ``plain``.
    """
    scale, weights, biases = (np.array(leaf) for leaf in theta)
    grads: Leaves = []
    others = first_order.sgd if plain else first_order.adamw
    rest = others(
        lambda vector: np.concatenate([np.ravel(grads[0]), grads[2]]),
        np.concatenate([np.ravel(scale), biases]),
        learning_rate=learning_rate,
    )
    a, g = np.zeros((2, 2)), np.zeros((3, 3))
    kept: dict[str, Any] = {}
    velocity = np.zeros_like(weights)
    for t in itertools.count(1):
        grads[:] = gradient([scale, weights, biases])
        if (t - 1) % factor_interval == 0:
            share = min(1 - 1 / ((t - 1) // factor_interval + 1), decay)  # Section 5
            units = np.tanh(MIXED_INPUTS @ weights.T + biases)
            slopes = scale * (1 - units**2)
            count = len(slopes)
            a = share * a + (1 - share) * mean_moment(MIXED_INPUTS)
            g = share * g + (1 - share) * moment(slopes, np.full(count, 2 / count))
        # The factors take turns, each once in so many updates; that of the outputs is first.
        if t == 1 or (t - 1) % inverse_interval == 0:
            kept["g"], kept["of_g"] = g, split(a, g, damping)[1]
        if t == 1 or (t - 1 - (inverse_interval > 1)) % inverse_interval == 0:
            kept["a"], kept["of_a"] = a, split(a, g, damping)[0]
        if solver == "cholesky":
            left = np.linalg.inv(kept["g"] + kept["of_g"] * np.eye(3))
            right = np.linalg.inv(kept["a"] + kept["of_a"] * np.eye(2))
            direction = left @ grads[1] @ right
        else:
            direction = exact_direction(kept["a"], kept["g"], grads[1], damping)
        if max_kl is not None:
            square = np.sum(direction * grads[1])
            direction = min(1.0, np.sqrt(2 * max_kl / square)) * direction
        velocity = direction + (0.0 if momentum is None else momentum) * velocity
        moved = weights - learning_rate * (velocity + weight_decay * weights)
        vector = next(rest)
        scale, weights, biases = vector[0].reshape(np.shape(scale)), moved, vector[1:]
        yield [scale, weights, biases]


def scale_by_kfac(gradient: Any, theta: Leaves, rate: float, **given: Any) -> Iterator[Leaves]:
    """The same direction without momentum, and gradient descent for all other leaves."""
    return kfac(gradient, theta, learning_rate=rate, momentum=None, plain=True, **given)
