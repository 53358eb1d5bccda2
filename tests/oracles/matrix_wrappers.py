"""What matrix methods brought besides directions, in float64 NumPy; see first_order.py.

Oracles of methods that see matrices have a list of leaves, of which those of two axes are matrices.
What averages wrap is gradient descent with momentum, v = 0.5 v + g.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Vector = np.ndarray
Leaves = list[np.ndarray]
Gradient = Callable[[Any], Any]


def _at(number: Any, t: int) -> float:
    value: Any = number(t) if callable(number) else number
    return float(value)


class Adam:
    """The direction of Kingma & Ba 2015, Algorithm 1, of one leaf."""

    def __init__(self, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> None:
        self.b1, self.b2, self.eps = b1, b2, eps
        self.m: Any = 0.0
        self.v: Any = 0.0
        self.t = 0

    def __call__(self, g: np.ndarray) -> np.ndarray:
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g * g
        mean, square = self.m / (1 - self.b1**self.t), self.v / (1 - self.b2**self.t)
        return mean / (np.sqrt(square) + self.eps)


class Momentum:
    """The sum v = 0.9 v + g of one leaf."""

    def __init__(self) -> None:
        self.v: Any = 0.0

    def __call__(self, g: np.ndarray) -> np.ndarray:
        self.v = 0.9 * self.v + g
        return self.v


def _project(w: np.ndarray, radius: Any) -> np.ndarray:
    return w / np.linalg.norm(w) * radius


def hyperball(
    gradient: Gradient,
    theta: Leaves,
    direction: Callable[[], Any],
    learning_rate: Any,
    other_rate: float | None,
    **unused: Any,
) -> Iterator[Leaves]:
    """Wen et al. 2025, the display of W_{t+1}; other leaves get a step of Adam with the decay 1e-4.

    Without ``other_rate`` these have the same rate.
    """
    of_matrices = [direction() for _ in theta]
    of_others = [Adam() for _ in theta]
    radius = [np.linalg.norm(w) for w in theta]
    for t in itertools.count():
        rate = _at(learning_rate, t)
        moved = []
        for i, (w, g) in enumerate(zip(theta, gradient(theta), strict=True)):
            if w.ndim == 2:
                u = of_matrices[i](g)
                step = rate * u / np.linalg.norm(u) * radius[i]
                moved.append(_project(w - step, radius[i]))
            elif other_rate is None:
                moved.append(w - rate * (of_others[i](g) + 1e-4 * w))
            else:
                moved.append(w - other_rate * of_others[i](g))
        theta = moved
        yield theta


def scale_to_param_norm(gradient: Gradient, theta: Leaves, rate: float, **unused: Any) -> Any:
    """A step along the gradient, of a matrix as long as its weights, times the rate."""
    while True:
        theta = [
            w - rate * (_project(g, np.linalg.norm(w)) if w.ndim == 2 else g)
            for w, g in zip(theta, gradient(theta), strict=True)
        ]
        yield theta


def keep_norm(gradient: Gradient, theta: Leaves, rate: float, **unused: Any) -> Iterator[Leaves]:
    """A step along the gradient, then the matrix of the first norm in that direction."""
    radius = [np.linalg.norm(w) for w in theta]
    while True:
        theta = [w - rate * g for w, g in zip(theta, gradient(theta), strict=True)]
        theta = [_project(w, r) if w.ndim == 2 else w for w, r in zip(theta, radius, strict=True)]
        yield theta


def cautious_weight_decay(
    gradient: Gradient, theta: Vector, rate: float, weight_decay: float, mask: Any = None
) -> Iterator[Vector]:
    """Chen et al. 2025, Algorithm 1, with the gradient for the update u; mask: where to decay."""
    decays = np.ones_like(theta) if mask is None else mask
    while True:
        u = gradient(theta)
        theta = theta - rate * (u + weight_decay * decays * (u * theta >= 0) * theta)
        yield theta


def corrected_weight_decay(
    gradient: Gradient,
    theta: Vector,
    rate: float,
    weight_decay: float,
    schedule: Any,
    peak_value: float,
    **unused: Any,
) -> Iterator[Vector]:
    """Defazio 2025: the decay times rate over largest rate, with the gradient for Adam's step."""
    for t in itertools.count():
        decay = weight_decay * _at(schedule, t) / peak_value
        theta = theta - rate * (gradient(theta) + decay * theta)
        yield theta


def adamc(
    gradient: Gradient,
    theta: Vector,
    learning_rate: Any,
    peak_value: float,
    weight_decay: float = 1e-4,
    normalized: Any = None,
    decays: Any = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
) -> Iterator[Vector]:
    """Defazio 2025, AdamC; ``normalized`` and ``decays`` are 1 for the elements meant.

    ``eps_root`` is optax's, under the root.
    """
    normalized = np.ones_like(theta) if normalized is None else normalized
    decays = np.ones_like(theta) if decays is None else decays
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t in itertools.count():
        g, rate = gradient(theta), _at(learning_rate, t)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        u = m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2 ** (t + 1)) + eps_root) + eps)
        decay = weight_decay * decays * np.where(normalized, rate / peak_value, 1.0)
        theta = theta - rate * (u + decay * theta)
        yield theta


def ema_nesterov(
    gradient: Gradient,
    theta: Vector,
    inner_rate: float,
    lookahead: Any,
    decay: float,
    **unused: Any,
) -> Iterator[Vector]:
    """Yau et al. 2026: x' = A(x + beta m), m' = gamma m + (1 - gamma)(x' - x).

    Yields x + beta m.
    """
    x, m, v = theta, np.zeros_like(theta), np.zeros_like(theta)
    for t in itertools.count():
        y = x + _at(lookahead, t) * m
        v = 0.5 * v + gradient(y)
        ahead = y - inner_rate * v
        x, m = ahead, decay * m + (1 - decay) * (ahead - x)
        yield x + _at(lookahead, t + 1) * m


def primal_averaging(
    gradient: Gradient,
    theta: Vector,
    inner_rate: float,
    train_interp_coeff: float,
    eval_interp_coeff: float,
    **unused: Any,
) -> Iterator[Vector]:
    """Defazio et al. 2025, GPA: the sequences x, y and z, all three of them kept; yields y."""
    x, z, v = theta, theta, np.zeros_like(theta)
    y = theta
    while True:
        v = 0.5 * v + gradient(y)
        z = z - inner_rate * v
        x = eval_interp_coeff * x + (1 - eval_interp_coeff) * z
        y = train_interp_coeff * x + (1 - train_interp_coeff) * z
        yield y


def outer_step(
    gradient: Gradient,
    theta: Vector,
    inner_rate: float,
    sync_period: int,
    outer_rate: float = 0.7,
    momentum: float = 0.9,
    nesterov: bool = True,
    **unused: Any,
) -> Iterator[Vector]:
    """Douillard et al. 2023, Algorithm 1 with one worker; the outer optimizer is torch's SGD.

    Its buffer b = mu b + delta, and with Nesterov's momentum the step delta + mu b.
    """
    slow, v, b = theta, np.zeros_like(theta), np.zeros_like(theta)
    while True:
        for i in range(sync_period):
            v = 0.5 * v + gradient(theta)
            theta = theta - inner_rate * v
            if i == sync_period - 1:
                delta = slow - theta
                b = momentum * b + delta
                slow = slow - outer_rate * (delta + momentum * b if nesterov else b)
                theta = slow
            yield theta
