"""Scion, Muown, Dion2 and QK-Clip, transcribed from their papers into float64 NumPy.

Generators as in :mod:`oracles.first_order`, but over the list of the leaves of the mixed problem: a
scalar, a matrix of 3 inputs and 2 outputs, which the papers see as its transpose, and a vector.
Orthogonal factors come from a singular value decomposition, whose singular values are iterated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Leaves = list[np.ndarray]
Gradient = Callable[[Leaves], Leaves]

JORDAN = ((3.4445, -4.7750, 2.0315),) * 5
"""Jordan et al., *Muon*, 2024."""
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Those of the program of Ahn et al., *Dion*, 2025."""


def orthogonal(m: np.ndarray, eps: float, rows: Any = JORDAN) -> np.ndarray:
    """U p(Sigma) V^T, with p the polynomials of the rows, one after the other."""
    u, sigma, vt = np.linalg.svd(m, full_matrices=False)
    sigma = sigma / (np.linalg.norm(m) + eps)
    for a, b, c in rows:
        sigma = a * sigma + b * sigma**3 + c * sigma**5
    return u @ np.diag(sigma) @ vt


def _at(rate: Any, t: int) -> float:
    """A number, or the value of a schedule for update t, the first being 1."""
    value: Any = rate(t - 1) if callable(rate) else rate
    return float(value)


def _length_one(w: np.ndarray, norm: str, eps: float) -> np.ndarray:
    """The lmo of Pethick et al. 2025, Tables 2 to 4, without its sign."""
    m, n = w.shape
    if norm == "spectral":
        return np.sqrt(m / n) * orthogonal(w, eps)
    if norm == "sign":
        return np.sign(w) / n
    if norm == "largest":
        return np.sign(w)
    if norm == "column":
        return np.stack([c / (np.sqrt(np.mean(c * c)) + eps) for c in w.T], axis=1)
    assert norm == "row"
    return np.stack([r / (np.sqrt(n) * np.linalg.norm(r) + eps) for r in w])


def scion(
    gradient: Gradient,
    theta: Leaves,
    *,
    learning_rate: Any,
    beta: float = 0.9,
    radius: float = 50.0,
    embedding_radius: float = 50.0,
    head_radius: float = 3000.0,
    unconstrained: bool = False,
    embedding_norm: str = "largest",
    head_norm: str = "sign",
    eps: float = 1e-8,
    kind: str = "hidden",
    **unused: Any,
) -> Iterator[Leaves]:
    """Pethick et al. 2025, Algorithms 1 and 2, alpha = 1 - beta; vectors by their RMS norm."""
    norm, ball = {
        "hidden": ("spectral", radius),
        "embedding": (embedding_norm, embedding_radius),
        "head": (head_norm, head_radius),
    }[kind]
    d = [np.zeros_like(w) for w in theta]
    for t in itertools.count(1):
        d = [beta * x + (1 - beta) * g for x, g in zip(d, gradient(theta), strict=True)]
        eta, moved = _at(learning_rate, t), []
        for w, x in zip(theta, d, strict=True):
            if x.ndim == 2:
                unit = ball * _length_one(x.T, norm, eps).T
            else:
                unit = radius * x / (np.sqrt(np.mean(x * x)) + eps)
            moved.append((w if unconstrained else (1 - eta) * w) - eta * unit)
        theta = moved
        yield theta


def _adam(
    g: np.ndarray, moments: Any, t: int, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> Any:
    m, v = (np.zeros_like(g), np.zeros_like(g)) if moments is None else moments
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps), (m, v)


def _beside(
    of_matrix: Callable[..., Any], gradient: Gradient, theta: Leaves, rate: Any, other: str
) -> Iterator[Leaves]:
    """A method for the matrix, and AdamW, or nothing but the step, for the other leaves."""
    adam: list[Any] = [None] * len(theta)
    for t in itertools.count(1):
        eta, moved = _at(rate, t), []
        for i, (w, g) in enumerate(zip(theta, gradient(theta), strict=True)):
            if w.ndim == 2:
                moved.append(of_matrix(w.T, g.T, eta, t).T)
            elif other == "adamw":
                n, adam[i] = _adam(g, adam[i], t)
                moved.append(w - eta * (n + 1e-4 * w))
            else:
                moved.append(w - eta * g)
        theta = moved
        yield theta


def dion2(
    gradient: Gradient,
    theta: Leaves,
    *,
    learning_rate: Any,
    fraction: float = 0.25,
    ef_decay: float = 0.95,
    weight_decay: float = 0.0,
    adjust_lr: str | None = "spectral_norm",
    eps: float = 1e-8,
    other: str = "adamw",
    **unused: Any,
) -> Iterator[Leaves]:
    """Ahn, Amsel & Langford 2025, Algorithm 1, for a matrix whose rows are the shorter side."""
    state: dict[str, Any] = {"m": 0.0}

    def of_matrix(w: np.ndarray, g: np.ndarray, eta: float, t: int) -> np.ndarray:
        momentum = state["m"] + g
        m, n = w.shape
        assert m <= n
        count = int(np.ceil(fraction * m))
        selected = np.argsort(-np.abs(momentum).sum(axis=1))[:count]
        factor = {"spectral_norm": np.sqrt(m / n), "rms_norm": 0.2 * np.sqrt(n), None: 1.0}
        moved = (1 - eta * weight_decay) * w
        moved[selected] -= eta * factor[adjust_lr] * orthogonal(momentum[selected], eps, DION)
        momentum[selected] *= ef_decay
        state["m"] = momentum
        return moved

    return _beside(of_matrix, gradient, theta, learning_rate, other)


def muown(
    gradient: Gradient,
    theta: Leaves,
    *,
    learning_rate: Any,
    beta: float = 0.95,
    b1: float = 0.9,
    b2: float = 0.95,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    nesterov: bool = True,
    other: str = "adamw",
    step_size: Any = None,
    **unused: Any,
) -> Iterator[Leaves]:
    """Lion et al. 2026, Algorithm 1, with v and g stored and the weights recomposed from them.

    ``step_size`` is what v and g move by where the step after them has another rate.
    """
    state: dict[str, Any] = {"m": 0.0, "adam": None}

    def of_matrix(w: np.ndarray, g: np.ndarray, eta: float, t: int) -> np.ndarray:
        rate = eta if step_size is None else _at(step_size, t)
        length = np.linalg.norm(w, axis=1, keepdims=True)
        v = w / length * state.get("norms", length)
        size = np.linalg.norm(v, axis=1, keepdims=True)
        along = np.sum(g * v / size, axis=1, keepdims=True)
        across = length / size * (g - along * v / size)
        state["m"] = beta * state["m"] + across
        ahead = across + beta * state["m"] if nesterov else state["m"]
        v = v - rate * 0.2 * np.sqrt(max(w.shape)) * orthogonal(ahead, eps)
        n, state["adam"] = _adam(along, state["adam"], t, b1, b2, eps)
        length = length - rate * n
        state["norms"] = np.linalg.norm(v, axis=1, keepdims=True)
        moved = length * v / state["norms"]
        return w + eta * ((moved - w) / rate - weight_decay * w)

    return _beside(of_matrix, gradient, theta, learning_rate, other)


def qk_clip(
    gradient: Gradient,
    theta: Leaves,
    rate: float,
    exponents: Any,
    threshold: float = 100.0,
    largest: float = 2.0,
) -> Iterator[Leaves]:
    """Kimi Team 2025, Algorithm 1, after gradient descent, with one head and one exponent."""
    ((_, exponent),) = exponents
    gamma = min(1.0, threshold / largest)
    while True:
        stepped = zip(theta, gradient(theta), strict=True)
        theta = [gamma**exponent * (w - rate * g) for w, g in stepped]
        yield theta
