"""Conjugate gradients, Barzilai and Borwein's step and a line search, transcribed from the papers.

The protocol is that of ``first_order``: float64, the parameters as one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Vector = np.ndarray
Gradient = Callable[[Vector], Vector]
Loss = Callable[[Vector], float]


def nonlinear_cg(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: float,
    variant: str = "polak_ribiere",
    eta: float = 0.01,
    **_: object,
) -> Iterator[Vector]:
    """Hager & Zhang's survey of 2006, table 1.1; theirs is of 2005, eqs. 1.3, 1.5 and 1.6."""
    g, d = gradient(theta), -gradient(theta)
    while True:
        theta = theta + learning_rate * d
        yield theta
        old, g = g, gradient(theta)
        d = -g + _betas(g, old, d, eta)[variant] * d
        if d @ g >= 0:
            d = -g


def _betas(g: Vector, old: Vector, d: Vector, eta: float) -> dict[str, Any]:
    y = g - old
    least = -1 / (np.linalg.norm(d) * min(eta, np.linalg.norm(old)))
    return {
        "fletcher_reeves": g @ g / (old @ old),
        "polak_ribiere": max(g @ y / (old @ old), 0.0),
        "hestenes_stiefel": max(g @ y / (d @ y), 0.0),
        "dai_yuan": g @ g / (d @ y),
        "hager_zhang": max((y - 2 * d * (y @ y) / (d @ y)) @ g / (d @ y), least),
    }


def barzilai_borwein(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: float = 1.0,
    loss: Loss | None = None,
    variant: str = "long",
    min_step: float = 1e-10,
    max_step: float = 1e10,
    **_: object,
) -> Iterator[Vector]:
    """Barzilai & Borwein 1988, eqs. 5 and 6; Dai, Al-Baali & Yang 2015 along negative curvature.

    With a loss the steps are those of Raydan 1997, by the line search of Grippo et al.
    """
    g = gradient(theta)
    step, values = min(1.0, 1.0 / np.linalg.norm(g)), []
    while True:
        d = -learning_rate * step * g
        if loss is not None:
            values = [*values, loss(theta)][-10:]
            d = nonmonotone(loss, theta, g, d, max(values))
        theta = theta + d
        yield theta
        y, g = gradient(theta) - g, gradient(theta)
        if not np.any(y):
            continue
        if d @ y <= 0:
            step = np.linalg.norm(d) / np.linalg.norm(y)
        else:
            step = d @ d / (d @ y) if variant == "long" else d @ y / (y @ y)
        step = min(max(step, min_step), max_step)


def nonmonotone(
    loss: Loss, theta: Vector, g: Vector, d: Vector, largest: float, slope_rtol: float = 1e-4
) -> Vector:
    """Grippo, Lampariello & Lucidi 1986, Section 3; the interpolation is Raydan's."""
    step, value, slope = 1.0, loss(theta), g @ d
    rounding = 4 * np.finfo(float).eps * abs(value)
    while (trial := loss(theta + step * d)) > largest + rounding + slope_rtol * step * slope:
        least = -slope * step**2 / (2 * (trial - value - step * slope))
        step = min(max(least, 0.1 * step), 0.5 * step)
    return step * d


def nonmonotone_descent(
    gradient: Gradient,
    theta: Vector,
    *,
    rate: float,
    loss: Loss,
    memory_size: int = 10,
    slope_rtol: float = 1e-4,
    **_: object,
) -> Iterator[Vector]:
    """Gradient descent with that line search."""
    values: list[float] = []
    while True:
        values = [*values, loss(theta)][-memory_size:]
        g = gradient(theta)
        theta = theta + nonmonotone(loss, theta, g, -rate * g, max(values), slope_rtol)
        yield theta
