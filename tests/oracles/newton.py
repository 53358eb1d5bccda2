"""Newton's method in its forms, from the textbooks into float64 NumPy.

The Hessian is extrapolated from differences of gradients. The protocol is that of ``first_order``;
``loss`` is a function of the parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from oracles.ratefree import Gradient, Loss, Vector


def hessian(gradient: Gradient, theta: Vector, step: float = 0.04) -> np.ndarray:
    """The matrix of derivatives of the gradient, symmetric; by Romberg's extrapolation."""

    def column(unit: Vector) -> Vector:
        steps = [step / 2**i for i in range(4)]
        row = [(gradient(theta + h * unit) - gradient(theta - h * unit)) / (2 * h) for h in steps]
        for order in (4, 16, 64):
            row = [(order * b - a) / (order - 1) for a, b in itertools.pairwise(row)]
        return row[0]

    matrix = np.stack([column(unit) for unit in np.eye(theta.size)])
    return (matrix + matrix.T) / 2


def newton(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: float = 1.0,
    damping: float = 0.0,
    linesearch: None = None,
) -> Iterator[Vector]:
    """Dauphin et al. 2014: the magnitudes of the eigenvalues, the smallest of them bounded."""
    while True:
        values, vectors = np.linalg.eigh(hessian(gradient, theta))
        values = np.abs(values)
        values = np.maximum(values, np.sqrt(np.finfo(float).eps) * values.max()) + damping
        theta = theta - learning_rate * vectors @ (vectors.T @ gradient(theta) / values)
        yield theta


def subproblem(matrix: np.ndarray, g: Vector, radius: float) -> Vector:
    """Nocedal & Wright 2006, Theorem 4.1, without the hard case; the shift by bisection."""
    values, vectors = np.linalg.eigh(matrix)
    along = vectors.T @ g

    def step(shift: float) -> Vector:
        return -vectors @ (along / (values + shift))

    if values[0] > 0 and np.linalg.norm(step(0.0)) <= radius:
        return step(0.0)
    low = max(0.0, -values[0])
    high = low + np.linalg.norm(g) / radius
    for _ in range(200):
        middle = (low + high) / 2
        if np.linalg.norm(step(middle)) > radius:
            low = middle
        else:
            high = middle
    return step(high)


def steihaug(
    matrix: np.ndarray, g: Vector, radius: float, tolerance: float, most: int, start: Vector
) -> Vector:
    """Nocedal & Wright 2006, Algorithm 7.2, from any start where the model is below 0."""
    z = start * min(1.0, radius / max(np.linalg.norm(start), 1e-300))
    if not g @ z + z @ matrix @ z / 2 < 0:
        z = np.zeros_like(z)
    r = g + matrix @ z
    d = -r
    for _ in range(most):
        if np.linalg.norm(r) <= tolerance:
            break
        curvature = d @ matrix @ d
        alpha = r @ r / curvature
        if curvature <= 0 or np.linalg.norm(z + alpha * d) >= radius:
            a, b, c = d @ d, z @ d, z @ z - radius**2
            return z + d * (-b + np.sqrt(b * b - a * c)) / a
        z, old, r = z + alpha * d, r, r + alpha * matrix @ d
        d = -r + d * (r @ r) / (old @ old)
    return z


def _ratio(gradient: Gradient, loss: Loss, theta: Vector, p: Vector, predicted: float) -> float:
    """The decrease over the predicted one, by slopes where rounding hides it."""
    here, there = loss(theta), loss(theta + p)
    small = 1e4 * np.finfo(float).eps * max(abs(here), abs(there))
    actual = here - there
    if max(predicted, -actual) <= small:
        actual = -(gradient(theta) + gradient(theta + p)) @ p / 2
    return actual / predicted if predicted > 0 else 1.0


def _trusted(
    gradient: Gradient,
    loss: Loss,
    theta: Vector,
    step: Callable[[np.ndarray, Vector, float, float], Vector],
    radius: float,
    largest: float | None,
    eta: float,
    rate: float,
) -> Iterator[Vector]:
    """Nocedal & Wright 2006, Algorithm 4.1, with the step's length where the radius shrinks.

    ``step`` is given the ratio of the last step too.
    """
    ratio = 1.0
    while True:
        g, matrix = gradient(theta), hessian(gradient, theta)
        p = step(matrix, g, radius, ratio)
        length, p = np.linalg.norm(p), rate * p
        ratio = _ratio(gradient, loss, theta, p, -(g @ p + p @ matrix @ p / 2))
        if ratio < 0.25:
            radius = min(length, radius) / 4
        elif ratio > 0.75 and length >= 0.99 * radius:
            radius = min(2 * radius, largest or np.inf)
        if ratio > eta:
            theta = theta + p
        yield theta


def trust_newton(
    gradient: Gradient,
    theta: Vector,
    *,
    loss: Loss,
    learning_rate: float = 1.0,
    initial_trust_radius: float = 1.0,
    max_trust_radius: float | None = None,
    eta: float = 0.05,
) -> Iterator[Vector]:
    """Moré & Sorensen 1983: the exact step."""
    return _trusted(
        gradient,
        loss,
        theta,
        lambda matrix, g, radius, _: subproblem(matrix, g, radius),
        initial_trust_radius,
        max_trust_radius,
        eta,
        learning_rate,
    )


def newton_cg(
    gradient: Gradient,
    theta: Vector,
    *,
    loss: Loss,
    learning_rate: float = 1.0,
    initial_trust_radius: float = 1.0,
    max_trust_radius: float | None = None,
    eta: float = 0.05,
    rtol: float = 0.5,
    max_cg_steps: int = 100,
    damping: float = 0.0,
    warm_start: float | None = None,
) -> Iterator[Vector]:
    """Steihaug 1983, with the damping and the warm start of Martens 2010, Sections 4.1 and 4.5."""
    first = np.linalg.norm(gradient(theta))
    last: Any = np.zeros_like(theta)

    def step(matrix: np.ndarray, g: Vector, radius: float, ratio: float) -> Vector:
        nonlocal damping, last
        damping *= 1.5 if ratio < 0.25 else 2 / 3 if ratio > 0.75 and step.made else 1.0
        step.made = True
        size = np.linalg.norm(g)
        last = steihaug(
            matrix + damping * np.eye(g.size),
            g,
            radius,
            min(rtol, np.sqrt(size / first)) * size,
            max_cg_steps,
            (warm_start or 0.0) * last,
        )
        return last

    step.made = False
    return _trusted(
        gradient, loss, theta, step, initial_trust_radius, max_trust_radius, eta, learning_rate
    )
