"""Shampoo and grafting by hand: one matrix, one block, one side at a time, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Gradient = Callable[[Any], list[np.ndarray]]


def inverse_root(matrix: np.ndarray, p: int, eps: float) -> np.ndarray:
    """(A + eps lambda_max I)^(-1/p) by the eigendecomposition; the identity of 0."""
    largest = np.linalg.eigvalsh(matrix)[-1]
    if largest <= 0:
        return np.eye(len(matrix))
    values, vectors = np.linalg.eigh(matrix + eps * largest * np.eye(len(matrix)))
    return (vectors * values ** (-1 / p)) @ vectors.conj().T


class _Block:
    """One block of one matrix, with the statistics of its sides."""

    def __init__(self, rows: slice, columns: slice, sides: tuple[bool, bool]) -> None:
        self.rows, self.columns, self.sides = rows, columns, sides
        lengths = (rows.stop - rows.start, columns.stop - columns.start)
        self.statistics = [np.zeros((n, n)) for n in lengths]
        self.roots = [np.eye(n) for n in lengths]

    def take_in(self, g: np.ndarray, b2: float) -> None:
        g = g[self.rows, self.columns]
        for old, new in zip(self.statistics, (g @ g.T, g.T @ g), strict=True):
            old[:] = b2 * old + (1 if b2 == 1 else 1 - b2) * new


def _cuts(length: int, most: int | None) -> list[slice]:
    """A side in as few equal parts as there may be; the last may be shorter."""
    size = -(-length // -(-length // most)) if most else length
    return [slice(i, min(i + size, length)) for i in range(0, length, size)]


class Matrix:
    """One matrix, outputs by inputs, and its direction at each update."""

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        b2: float = 0.999,
        matrix_eps: float = 1e-6,
        precondition_frequency: int = 10,
        block_size: int | None = 1024,
        max_dim: int | None = 8192,
        one_sided: bool = False,
        exponent_override: int | None = None,
        staggered: bool = True,
    ) -> None:
        sides = [max_dim is None or n <= max_dim for n in shape]
        if one_sided:
            shorter = 0 if shape[0] <= shape[1] else 1
            sides = [own and i == shorter for i, own in enumerate(sides)]
        cuts = [_cuts(n, block_size if own else None) for n, own in zip(shape, sides, strict=True)]
        self.blocks = [_Block(r, c, (sides[0], sides[1])) for r in cuts[0] for c in cuts[1]]
        self.padded = [cut[0].stop for cut in cuts]
        self.b2, self.eps = b2, matrix_eps
        self.every, self.staggered = precondition_frequency, staggered
        self.p = exponent_override or 2 * max(sum(sides), 1)
        self.t = 0

    def _due(self) -> list[tuple[_Block, int]]:
        """The roots of this update: in order of sides and blocks, those of one size by turns."""
        roots = [(b, side) for side in (0, 1) for b in self.blocks if b.sides[side]]
        if self.t == 1 or self.every == 1:
            return roots
        if not self.staggered:
            return roots if (self.t - 1) % self.every == 0 else []
        due, turn = [], 0
        for size in dict.fromkeys(self.padded[side] for _, side in roots):
            batch = [root for root in roots if self.padded[root[1]] == size]
            share = -(-len(batch) // self.every)
            for i in range(0, len(batch), share):
                if (self.t - 1 - turn) % self.every == 0:
                    due += batch[i : i + share]
                turn += 1
        return due

    def direction(self, g: np.ndarray) -> np.ndarray:
        self.t += 1
        for block in self.blocks:
            block.take_in(g, self.b2)
        divisor = 1 if self.b2 == 1 else 1 - self.b2**self.t
        for block, side in self._due():
            statistic = block.statistics[side] / divisor
            block.roots[side] = inverse_root(statistic, self.p, self.eps)
        new = np.zeros_like(g)
        for block in self.blocks:
            u = g[block.rows, block.columns]
            u = block.roots[0] @ u if block.sides[0] else u
            u = u @ block.roots[1] if block.sides[1] else u
            new[block.rows, block.columns] = u
        return new


def scale_by_shampoo(
    gradient: Gradient, theta: list[np.ndarray], rate: float, method: str = "eigh", **given: Any
) -> Iterator[list[np.ndarray]]:
    """Gupta et al. 2018, Algorithm 1, as changed by Anil et al. 2020 and Shi et al. 2023."""
    own = {i: Matrix(w.T.shape, **given) for i, w in enumerate(theta) if w.ndim == 2}
    while True:
        grads = gradient(theta)
        steps = [own[i].direction(g.T).T if i in own else g for i, g in enumerate(grads)]
        theta = [w - rate * u for w, u in zip(theta, steps, strict=True)]
        yield theta


def shampoo(
    gradient: Gradient,
    theta: list[np.ndarray],
    *,
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    diagonal_eps: float = 1e-10,
    weight_decay: float = 0.0,
    graft_type: str = "adam",
    start: float = 1.0,
    method: str = "eigh",
    **given: Any,
) -> Iterator[list[np.ndarray]]:
    """The optimizer; vectors get AdamW with optax's constants."""
    own = {i: Matrix(w.T.shape, b2=b2, **given) for i, w in enumerate(theta) if w.ndim == 2}
    means, squares = ([np.zeros_like(w) for w in theta] for _ in range(2))
    for t in itertools.count(1):
        rate: Any = learning_rate(t - 1) if callable(learning_rate) else learning_rate
        moved = []
        for i, (w, g) in enumerate(zip(theta, gradient(theta), strict=True)):
            if i not in own:
                means[i] = 0.9 * means[i] + 0.1 * g
                squares[i] = 0.999 * squares[i] + 0.001 * g**2
                root = np.sqrt(squares[i] / (1 - 0.999**t)) + 1e-8
                moved.append(w - rate * (means[i] / (1 - 0.9**t) / root + 1e-4 * w))
                continue
            u = own[i].direction(g.T).T
            summed = graft_type == "adagrad"
            squares[i] = squares[i] + g**2 if summed else b2 * squares[i] + (1 - b2) * g**2
            square = squares[i] / (1 - b2**t) if graft_type == "adam" else squares[i]
            if graft_type == "sgd":
                length = g
            else:
                length = g / (np.sqrt(square) + diagonal_eps)
            if graft_type != "none":
                grafted = u * np.linalg.norm(length) / np.linalg.norm(u)
                u = grafted if t >= round(start) else length
            means[i] = b1 * means[i] + (1 - b1) * u
            moved.append(w - rate * (means[i] / (1 - b1**t) + weight_decay * w))
        theta = moved
        yield theta


def sign_of_momentum_length(
    gradient: Gradient, theta: list[np.ndarray], rate: float, start: float = 1.0
) -> Iterator[list[np.ndarray]]:
    """Agarwal et al. 2020, Algorithm 1: the signs of gradients, as long as momentum of 0.9."""
    sums = [np.zeros_like(w) for w in theta]
    for t in itertools.count(1):
        moved = []
        for i, (w, g) in enumerate(zip(theta, gradient(theta), strict=True)):
            sums[i] = g + 0.9 * sums[i]
            u = np.sign(g) * np.linalg.norm(sums[i]) / np.linalg.norm(np.sign(g))
            moved.append(w - rate * (u if t >= round(start) else sums[i]))
        theta = moved
        yield theta
