"""PSGD with Kronecker factors, one matrix at a time in float64; see first_order.py.

From Li 2015 (arXiv:1512.04202), Li 2024 (arXiv:2402.11858, Section V) and kron_torch 0.3.3. The
factors are full matrices here, inverted as such and never balanced; the random draws are fnopt's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

Matrix = np.ndarray
Gradient = Callable[[list[Matrix]], list[Matrix]]


def _at(rate: Any, t: int) -> float:
    """A number, or the value of a schedule for update t, the first being 1."""
    value: Any = rate(t - 1) if callable(rate) else rate
    return float(value)


def lower_bound(a: Matrix) -> float:
    """kron_torch's ``_lb``, of the column with the largest norm."""
    x = a[:, np.argmax(np.linalg.norm(a, axis=0))] @ a
    return float(np.linalg.norm(a @ (x / np.linalg.norm(x))))


def is_diagonal(size: int, other: int, first: bool, largest: int, mode: str | None) -> bool:
    """kron_torch's ``_init_Q_exprs``: dims sorted by size, the last of equal ones diagonal."""
    if size == 1 or size > largest or mode == "all_diag":
        return True
    if mode == "one_diag":
        return size > other or (size == other and not first)
    return mode == "smart_one_diag" and size > other


def advance(q: Matrix, t1: Matrix, t2: Matrix, rate: float, diagonal: bool) -> Matrix:
    """A factor after one step."""
    if diagonal:
        step = np.diag(np.diag(t1 - t2)) / np.max(np.diag(t1 + t2))
    else:
        step = np.triu(t1 - t2) / lower_bound(t1 + t2)
    return q - rate * step @ q


class Whitener:
    """The factors of one matrix, outputs by inputs."""

    def __init__(self, shape: Any, scale: float, largest: int, mode: str | None) -> None:
        rows, columns = shape
        self.left, self.right = np.sqrt(scale) * np.eye(rows), np.sqrt(scale) * np.eye(columns)
        self.diagonal = (
            is_diagonal(rows, columns, True, largest, mode),
            is_diagonal(columns, rows, False, largest, mode),
        )

    def fit(self, g: Matrix, v: Matrix, rate: float) -> None:
        if not np.any(g):
            return
        g = g + np.sqrt(np.finfo(np.float32).eps) * np.mean(np.abs(g)) * v
        a = self.left @ g @ self.right.T
        b = np.linalg.inv(self.left).T @ v @ np.linalg.inv(self.right)
        self.left, self.right = (
            advance(self.left, a @ a.T, b @ b.T, rate, self.diagonal[0]),
            advance(self.right, a.T @ a, b.T @ b, rate, self.diagonal[1]),
        )

    def apply(self, x: Matrix) -> Matrix:
        return self.left.T @ self.left @ x @ self.right.T @ self.right


def _draw(key: Any, shape: Any) -> Matrix:
    """Normal numbers, drawn for the shape that lies."""
    v = np.asarray(jax.random.normal(key, sorted(shape), "float64"))
    return v if shape[0] <= shape[1] else v.T


def directions(
    b1: float = 0.9,
    preconditioner_update_probability: float | None = None,
    max_size_triangular: int = 8192,
    memory_save_mode: str | None = None,
    precond_lr: float = 0.1,
    precond_init_scale: float = 1.0,
    momentum_into_precond_update: bool = True,
    normalize_grads: bool = False,
    clip_update_rms: float | None = 1.1,
    seed: int = 0,
) -> Callable[[int, list[Matrix]], list[Matrix]]:
    """A function of the number of an update and the gradients: matrices, outputs by inputs."""
    states: list[Any] = []
    keys = [jax.random.key(seed)]

    def update(t: int, grads: list[Matrix]) -> list[Matrix]:
        if not states:
            given = precond_init_scale, max_size_triangular, memory_save_mode
            states.extend([np.zeros(g.shape), Whitener(g.shape, *given)] for g in grads)
        keys[0], choice, vectors = jax.random.split(keys[0], 3)
        p = preconditioner_update_probability
        p = max(min(1.0, np.exp(-(t - 1 - 500) / 1000)), 0.03) if p is None else p
        due = float(jax.random.uniform(choice, (), "float64")) < p
        found = []
        for g, state in zip(grads, states, strict=True):
            if normalize_grads:
                g = g / np.linalg.norm(g)
            state[0] = b1 * state[0] + (1 - b1) * g
            m = state[0] / (1 - b1**t)
            if due:
                aim = m if momentum_into_precond_update else g
                state[1].fit(aim, _draw(vectors, g.shape), precond_lr)
            d = state[1].apply(m)
            if clip_update_rms is not None:
                d = d * min(1.0, clip_update_rms / np.sqrt(np.mean(d**2)))
            found.append(d)
        return found

    return update


def scale_by_psgd_kron(
    gradient: Gradient, theta: list[Matrix], *, rate: float, **given: Any
) -> Iterator[list[Matrix]]:
    """The leaves with two axes, inputs by outputs, along PSGD's directions; others along g."""
    update = directions(**given)
    for t in itertools.count(1):
        grads = gradient(theta)
        own = iter(update(t, [g.T for g in grads if np.ndim(g) == 2]))
        steps = [next(own).T if np.ndim(g) == 2 else g for g in grads]
        theta = [x - rate * u for x, u in zip(theta, steps, strict=True)]
        yield theta


def psgd_kron(
    gradient: Gradient,
    theta: list[Matrix],
    *,
    learning_rate: Any,
    weight_decay: float = 0.0,
    **given: Any,
) -> Iterator[list[Matrix]]:
    """PSGD for the leaves with two axes; AdamW, Loshchilov & Hutter 2019, for the others."""
    update = directions(**given)
    m, v = ([np.zeros(np.shape(x)) for x in theta] for _ in range(2))
    for t in itertools.count(1):
        grads = gradient(theta)
        own = iter(update(t, [g.T for g in grads if np.ndim(g) == 2]))
        for i, (x, g) in enumerate(zip(theta, grads, strict=True)):
            if np.ndim(g) == 2:
                step = next(own).T + weight_decay * x
            else:
                m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g**2
                step = m[i] / (1 - 0.9**t) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8) + 1e-4 * x
            theta = [*theta[:i], x - _at(learning_rate, t) * step, *theta[i + 1 :]]
        yield theta
