"""Clipping, normalizing, Sophia and LDoG, transcribed from their papers into float64 NumPy.

Generators as in :mod:`oracles.first_order`, but over lists of arrays, one for every leaf: these
methods tell leaves, units and axes apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

Leaves = list[np.ndarray]
Gradient = Callable[[Leaves], Leaves]


def along(change: Callable[..., Leaves]) -> Callable[..., Iterator[Leaves]]:
    """Gradient descent along ``change(gradient, theta, **hyperparameters)``."""

    def descend(gradient: Gradient, theta: Leaves, rate: float, **given: Any) -> Iterator[Leaves]:
        while True:
            steps = change(gradient(theta), theta, **given)
            theta = [p - rate * u for p, u in zip(theta, steps, strict=True)]
            yield theta

    return descend


def _units(x: np.ndarray, axis: Any) -> np.ndarray:
    """Norms of the rows that the paper speaks of, which are columns where outputs are last."""
    axis = (0 if x.ndim == 2 else None) if axis is None else axis
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=True))


def adaptive_grad_clip(
    gradient: Leaves, theta: Leaves, clipping: float, eps: float = 1e-3, axis: Any = None
) -> Leaves:
    """Brock et al. 2021, eq. 3, with the norm of W_i held above eps."""
    clipped = []
    for g, w in zip(gradient, theta, strict=True):
        norm_g, norm_w = _units(g, axis), np.maximum(_units(w, axis), eps)
        clipped.append(np.where(norm_g / norm_w > clipping, clipping * norm_w / norm_g * g, g))
    return clipped


def normalize(gradient: Leaves, theta: Leaves, scale_factor: float = 1.0, eps: float = 0.0):
    """Hazan, Levy & Shalev-Shwartz 2015, Algorithm 1: g / |g|."""
    length = np.sqrt(sum(np.sum(g * g) for g in gradient))
    return [scale_factor * g / (length + eps) for g in gradient]


def centralize(gradient: Leaves, theta: Leaves, units: str = "last") -> Leaves:
    """Yong et al. 2020, eq. 1; their weight matrix has its units in columns."""

    def of_matrix(g: np.ndarray) -> np.ndarray:
        columns = g.T if units == "first" else g
        columns = np.stack([w - np.mean(w) for w in columns.T], axis=1)
        return columns.T if units == "first" else columns

    return [of_matrix(g) if g.ndim == 2 else g for g in gradient]


def projected(gradient: Gradient, theta: Leaves, rate: float) -> Iterator[Leaves]:
    """Goldstein 1964: a step of gradient descent, then the nearest point of the orthant."""
    while True:
        stepped = zip(theta, gradient(theta), strict=True)
        theta = [np.maximum(p - rate * g, 0.0) for p, g in stepped]
        yield theta


def average(
    gradient: Gradient, theta: Leaves, rate: float, decay: float, debias: bool = True, **_: Any
) -> Iterator[Leaves]:
    """Descent along the mean of gradients, Kingma & Ba 2015, Algorithm 1, first moment."""
    means = [np.zeros_like(p) for p in theta]
    for t in itertools.count(1):
        means = [decay * m + (1 - decay) * g for m, g in zip(means, gradient(theta), strict=True)]
        share = 1 - decay**t if debias else 1.0
        theta = [p - rate * m / share for p, m in zip(theta, means, strict=True)]
        yield theta


def layerwise_dog(
    gradient: Gradient,
    theta: Leaves,
    rate: float,
    reps_rel: float = 1e-6,
    eps: float = 1e-8,
    global_scale: float = 1.0,
) -> Iterator[Leaves]:
    """Ivgi, Hinder & Carmon 2023: eta_t = max_i |x_i - x_0| / sqrt(sum_i |g_i|^2), by layer."""
    start = [np.array(p) for p in theta]
    farthest = [reps_rel * (1 + np.linalg.norm(np.ravel(p))) for p in theta]
    sums = [0.0 for _ in theta]
    while True:
        grads = gradient(theta)
        moved = [np.linalg.norm(np.ravel(p - s)) for p, s in zip(theta, start, strict=True)]
        farthest = list(map(max, farthest, moved))
        sums = [total + np.sum(g * g) for total, g in zip(sums, grads, strict=True)]
        etas = [far / np.sqrt(total + eps) for far, total in zip(farthest, sums, strict=True)]
        theta = [
            p - rate * global_scale * eta * g for p, eta, g in zip(theta, etas, grads, strict=True)
        ]
        yield theta


def diagonal(gradient: Gradient, theta: Leaves, key: Any) -> Leaves:
    """z * (H z) of Bekas et al. 2007, with H z the derivative along z, by the complex step."""
    keys = jax.random.split(key, len(theta))
    signs = [
        np.asarray(jax.random.rademacher(k, p.shape, "float32"), float)
        for k, p in zip(keys, theta, strict=True)
    ]
    moved = [p + 1e-30j * z for p, z in zip(theta, signs, strict=True)]
    return [z * g.imag / 1e-30 for z, g in zip(signs, gradient(moved), strict=True)]


def hutchinson(
    gradient: Gradient, theta: Leaves, rate: float, random_seed: Any = None
) -> Iterator[Leaves]:
    """Steps along the estimate itself."""
    key = jax.random.key(random_seed or 0)
    while True:
        key, subkey = jax.random.split(key)
        estimate = diagonal(gradient, theta, subkey)
        theta = [p - rate * h for p, h in zip(theta, estimate, strict=True)]
        yield theta


def sophia(
    gradient: Gradient,
    theta: Leaves,
    learning_rate: Any,
    b1: float = 0.965,
    b2: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 1e-4,
    gamma: float = 0.01,
    clip_threshold: float | None = 1.0,
    update_interval: float = 10,
    **_: Any,
) -> Iterator[Leaves]:
    """Liu et al. 2023, Algorithm 3; both terms of the step from the same theta."""
    m = [np.zeros_like(p) for p in theta]
    h = [np.zeros_like(p) for p in theta]
    key = jax.random.key(0)
    bound = np.inf if clip_threshold is None else clip_threshold
    for t in itertools.count(1):
        grads = gradient(theta)  # line 5
        m = [b1 * x + (1 - b1) * g for x, g in zip(m, grads, strict=True)]  # line 6
        if (t - 1) % round(update_interval) == 0:  # line 7: t mod k = 1
            key, subkey = jax.random.split(key)
            estimate = diagonal(gradient, theta, subkey)  # line 8
            h = [b2 * x + (1 - b2) * e for x, e in zip(h, estimate, strict=True)]  # line 9
        rate = float(learning_rate(t - 1)) if callable(learning_rate) else learning_rate
        theta = [
            p
            - rate * weight_decay * p  # line 12
            - rate * np.clip(x / np.maximum(gamma * y, eps), -bound, bound)  # line 13
            for p, x, y in zip(theta, m, h, strict=True)
        ]
        yield theta
