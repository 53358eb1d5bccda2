"""Wrapped methods, written out in float64 NumPy; see first_order.py for what an oracle is.

What is wrapped is momentum, v = 0.9 v + g (Sutskever et al. 2013, eqs. 1-4), if not said otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Vector = np.ndarray
Gradient = Callable[[Vector], Vector]


def momentum(gradient: Gradient, theta: Vector, rate: float, **unused: Any) -> Iterator[Vector]:
    """Momentum at every update."""
    return at_some(gradient, theta, rate, lambda count: True)


def at_some(
    gradient: Gradient,
    theta: Vector,
    rate: float,
    due: Callable[[int], bool],
    otherwise: float = 0.0,
) -> Iterator[Vector]:
    """Momentum at some updates; at the others a step along the gradient, times ``otherwise``."""
    v = np.zeros_like(theta)
    for count in itertools.count():
        g = gradient(theta)
        if due(count):
            v = 0.9 * v + g
            theta = theta - rate * v
        else:
            theta = theta - rate * otherwise * g
        yield theta


def in_some(
    gradient: Gradient, theta: Vector, rate: float, chosen: Vector, otherwise: float
) -> Iterator[Vector]:
    """Momentum for the elements where ``chosen`` is 1; for others a multiple of g."""
    v = np.zeros_like(theta)
    while True:
        g = gradient(theta)
        v = 0.9 * v + g
        theta = theta - rate * (chosen * v + (1 - chosen) * otherwise * g)
        yield theta


def gathered(
    gradient: Gradient,
    theta: Vector,
    rate: float,
    every: int,
    mean: bool,
    decay: float = 0.9,
) -> Iterator[Vector]:
    """Momentum of the mean or sum of so many gradients; with decay 0 a step along it."""
    v = np.zeros_like(theta)
    while True:
        batches = []
        for _ in range(every - 1):
            batches.append(gradient(theta))
            yield theta
        batches.append(gradient(theta))
        v = decay * v + (np.mean(batches, axis=0) if mean else np.sum(batches, axis=0))
        theta = theta - rate * v
        yield theta


def ema(
    gradient: Gradient, theta: Vector, rate: float, decay: float, debias: bool = True
) -> Iterator[Vector]:
    """Kingma & Ba 2015, Algorithm 1: its first moment alone."""
    m = np.zeros_like(theta)
    for t in itertools.count(1):
        m = decay * m + (1 - decay) * gradient(theta)
        theta = theta - rate * (m / (1 - decay**t) if debias else m)
        yield theta


def galore(
    gradient: Callable[[Any], list[np.ndarray]],
    theta: list[np.ndarray],
    *,
    learning_rate: Any,
    rank: int = 128,
    update_proj_gap: float = 200.0,
    scale: float = 1.0,
    weight_decay: float = 0.0,
    long_side: bool = True,
) -> Iterator[list[np.ndarray]]:
    """Zhao et al. 2024, Algorithm 2, with Adam's usual constants and, below, its eps.

    The matrix is m x n with m <= n there; of one that is not, the transpose is. ``long_side``
    takes the transpose in the other case. Decay and scheduled rates are additions.
    """
    gap = round(update_proj_gap)
    adam: list[Any] = [None] * len(theta)
    projectors: list[Any] = [None] * len(theta)
    for t in itertools.count():  # from 0, as theirs
        rate = learning_rate(t) if callable(learning_rate) else learning_rate
        moved = []
        for i, (w, g) in enumerate(zip(theta, gradient(theta), strict=True)):
            if w.ndim != 2:
                n, adam[i] = _adam(g, adam[i], t + 1)
                moved.append(w - rate * (n + weight_decay * w))
                continue
            turned = (g.shape[0] < g.shape[1]) if long_side else (g.shape[0] > g.shape[1])
            g = g.T if turned else g
            if t % gap == 0:
                projectors[i] = np.linalg.svd(g, full_matrices=False)[0][:, :rank]
            p = projectors[i]
            r = p.T @ g
            n, adam[i] = _adam(r, adam[i], t + 1)
            full = scale * p @ n
            moved.append(w - rate * ((full.T if turned else full) + weight_decay * w))
        theta = moved
        yield theta


def _adam(g: np.ndarray, moments: Any, t: int) -> Any:
    m, v = (np.zeros_like(g), np.zeros_like(g)) if moments is None else moments
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    return (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8), (m, v)
