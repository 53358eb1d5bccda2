"""Gauss-Newton, the natural gradient and Levenberg-Marquardt, in float64 NumPy.

The laws' outputs are the parameters themselves, so that the Gauss-Newton matrix is the Hessian,
which is had here by differences of the gradient; and there is one example, the whole loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def hessian(gradient: Callable[[Any], Any], theta: np.ndarray) -> np.ndarray:
    """By central differences of sixth order."""
    h, columns = 1e-3, []
    for unit in np.eye(theta.size):
        odd = [gradient(theta + k * h * unit) - gradient(theta - k * h * unit) for k in (1, 2, 3)]
        columns.append((45 * odd[0] - 9 * odd[1] + odd[2]) / (60 * h))
    matrix = np.stack(columns)
    return (matrix + matrix.T) / 2


def conjugate_gradient(matrix: Any, b: Any, max_steps: int, rtol: float) -> np.ndarray:
    """Hestenes & Stiefel 1952; where the curvature is negative it ends."""
    x, r = np.zeros_like(b), b.copy()
    d = r
    for _ in range(max_steps):
        if np.linalg.norm(r) <= rtol * np.linalg.norm(b):
            break
        image = matrix @ d
        curvature = d @ image
        if curvature <= 0:
            # Along b, by a length that a ratio of its own dimensions gives.
            return x if x.any() else r * (r @ r) / abs(curvature)
        step = (r @ r) / curvature
        x, new = x + step * d, r - step * image
        d = new + (new @ new) / (r @ r) * d
        r = new
    return x


def positive(matrix: Any, damping: float) -> np.ndarray:
    """The damped matrix, its negative eigenvalues turned positive."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.abs(values)) @ vectors.T + damping * np.eye(len(values))


def damped_solution(matrix: Any, b: Any, damping: float, given: dict[str, Any]) -> np.ndarray:
    if given.get("solver", "cg") == "cg":
        damped = matrix + damping * np.eye(len(b))
        return conjugate_gradient(damped, b, given.get("max_cg_steps", 20), given.get("rtol", 1e-4))
    return np.linalg.solve(positive(matrix, damping), b)


def gauss_newton(
    gradient: Any, theta: Any, *, learning_rate: float = 1.0, damping: float = 1e-3, **given: Any
) -> Iterator[np.ndarray]:
    """Schraudolph 2002."""
    while True:
        matrix = hessian(gradient, theta)
        theta = theta - learning_rate * damped_solution(matrix, gradient(theta), damping, given)
        yield theta


def natural_gradient(
    gradient: Any,
    theta: Any,
    *,
    learning_rate: float = 1.0,
    damping: float = 1e-3,
    fisher: str = "exact",
    max_kl: float = np.inf,
    **given: Any,
) -> Iterator[np.ndarray]:
    """Martens 2020; the bound as in Schulman et al. 2015, for longer steps alone."""
    while True:
        g = gradient(theta)
        matrix = hessian(gradient, theta) if fisher == "exact" else np.outer(g, g)
        d = damped_solution(matrix, g, damping, given)
        square = g @ d - damping * d @ d
        if square > 0:
            d = d * min(1, np.sqrt(2 * max_kl / square))
        theta = theta - learning_rate * d
        yield theta


def levenberg_marquardt(
    gradient: Any,
    theta: Any,
    *,
    loss: Any,
    learning_rate: float = 1.0,
    damping: float = 1e-3,
    **given: Any,
) -> Iterator[np.ndarray]:
    """Moré 1978 for the scale, Nielsen 1999 for the damping; with a dense matrix."""
    scale, growth, moved = np.zeros_like(theta), 2.0, False
    while True:
        g, matrix = gradient(theta), hessian(gradient, theta)
        scale = np.maximum(scale, np.sqrt(np.maximum(np.diag(matrix), 0)))
        unit = np.where(scale > 0, scale, 1)
        matrix, slope = matrix / unit / unit[:, None], g / unit
        z = -damped_solution(matrix, slope, damping, given)
        curvature = z @ matrix @ z
        linear = curvature + damping * z @ z
        predicted = learning_rate * linear - learning_rate**2 / 2 * curvature
        new = theta + learning_rate * z / unit
        ratio = (loss(theta) - loss(new)) / predicted if predicted > 0 else -1
        far = not moved and np.linalg.norm(z) > 10 * np.linalg.norm(unit * theta)
        if ratio > 1e-4 and not far:
            theta, growth, moved = new, 2.0, True
            damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
        else:
            damping, growth = damping * growth, 2 * growth
        yield theta
