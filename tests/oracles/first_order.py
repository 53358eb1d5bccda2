"""The first-order methods, transcribed from their papers into float64 NumPy.

Every method here acts on each element alone, so the parameters are one vector. A method is a
generator: it is given ``gradient`` (a function of the vector), the first ``theta`` and its
hyperparameters by fnopt's names, and yields the vector after every update. A learning rate may be
a function of the updates made before. Where fnopt has more than the paper, the line says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Vector = np.ndarray
Gradient = Callable[[Vector], Vector]


def _at(rate: Any, t: int) -> float:
    """A number, or the value of a schedule for update t, the first being 1."""
    return float(rate(t - 1)) if callable(rate) else rate


def sgd(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: Any,
    momentum: float | None = None,
    nesterov: bool = False,
) -> Iterator[Vector]:
    """Robbins & Monro 1951, eq. 3, with Sutskever et al. 2013, eqs. 1-4, for the momentum.

    The rate stands outside the velocity, ``v`` here being their -v / epsilon, and the iterate of
    Nesterov's form is the point at which they take the gradient, theta + mu v.
    """
    mu = 0.0 if momentum is None else momentum
    v = np.zeros_like(theta)
    for t in itertools.count(1):
        g = gradient(theta)
        v = mu * v + g
        step = mu * v + g if nesterov else v
        theta = theta - _at(learning_rate, t) * step
        yield theta


def heavy_ball(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: Any,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> Iterator[Vector]:
    """Polyak 1964, eq. 9, and Sutskever et al. 2013, eqs. 1-4: the rate inside the velocity."""
    v = np.zeros_like(theta)
    for t in itertools.count(1):
        ahead = theta + momentum * v if nesterov else theta
        v = momentum * v - _at(learning_rate, t) * gradient(ahead)  # eqs. 1 and 3
        theta = theta + v  # eqs. 2 and 4
        # fnopt keeps the point of the next gradient, not theta.
        yield theta + momentum * v if nesterov else theta


def adagrad(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: Any,
    initial_accumulator_value: float = 0.1,
    eps: float = 1e-7,
) -> Iterator[Vector]:
    """Duchi, Hazan & Singer 2011, Figure 1 with diagonal matrices.

    Their delta stands beside the root; fnopt's eps and the initial sum stand under it.
    """
    total = np.full_like(theta, initial_accumulator_value)
    for t in itertools.count(1):
        g = gradient(theta)
        total = total + g**2
        theta = theta - _at(learning_rate, t) * g / np.sqrt(total + eps)
        yield theta


def adadelta(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: Any = None,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: Any = 0.0,
) -> Iterator[Vector]:
    """Zeiler 2012, Algorithm 1; the rate and the L2 penalty are additions."""
    e_g = np.zeros_like(theta)
    e_dx = np.zeros_like(theta)
    for t in itertools.count(1):
        g = gradient(theta) + weight_decay * theta  # line 3
        e_g = rho * e_g + (1 - rho) * g**2  # line 4
        dx = -np.sqrt(e_dx + eps) / np.sqrt(e_g + eps) * g  # line 5
        e_dx = rho * e_dx + (1 - rho) * dx**2  # line 6
        theta = theta + (1.0 if learning_rate is None else _at(learning_rate, t)) * dx  # line 7
        yield theta


def rmsprop(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: Any,
    decay: float = 0.9,
    eps: float = 1e-8,
    initial_scale: float = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Iterator[Vector]:
    """Tieleman & Hinton 2012, lecture 6.5; Graves 2013, eqs. 38-45, for center and momentum.

    Where eps stands, the initial scale, the bias correction (Kingma & Ba's) and Nesterov's
    momentum are additions.
    """
    n = np.full_like(theta, initial_scale)
    mean = np.zeros_like(theta)
    delta = np.zeros_like(theta)
    for t in itertools.count(1):
        g = gradient(theta)
        n = decay * n + (1 - decay) * g**2  # eq. 38
        mean = decay * mean + (1 - decay) * g  # eq. 39
        share = 1 - decay**t if bias_correction else 1.0
        variance = n / share - (mean / share) ** 2 if centered else n / share
        variance = np.maximum(variance, 0)  # rounding alone makes it negative
        root = np.sqrt(variance + eps) if eps_in_sqrt else np.sqrt(variance) + eps
        step = -_at(learning_rate, t) * g / root
        if momentum is None:
            theta = theta + step
        else:
            delta = momentum * delta + step  # eq. 40
            theta = theta + (momentum * delta + step if nesterov else delta)  # eq. 41
        yield theta


def adamw(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    weight_decay: Any = 1e-4,
    nesterov: bool = False,
) -> Iterator[Vector]:
    """Loshchilov & Hutter 2019, Algorithm 2, its decay multiplied by the rate as in all libraries.

    With ``nesterov``, Dozat 2016, Algorithm 2 at a constant mu. ``eps_root`` is an addition.
    """
    m = np.zeros_like(theta)
    v = np.zeros_like(theta)
    for t in itertools.count(1):
        g = gradient(theta)  # line 6
        m = b1 * m + (1 - b1) * g  # line 7
        v = b2 * v + (1 - b2) * g**2  # line 8
        m_hat = m / (1 - b1**t)  # line 9
        v_hat = v / (1 - b2**t)  # line 10
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        direction = m_hat / (np.sqrt(v_hat + eps_root) + eps)
        theta = theta - _at(learning_rate, t) * (direction + weight_decay * theta)  # line 12
        yield theta


def adam(gradient: Gradient, theta: Vector, **hyperparameters: Any) -> Iterator[Vector]:
    """Kingma & Ba 2015, Algorithm 1: AdamW's Algorithm 2 without its decay."""
    return adamw(gradient, theta, weight_decay=0.0, **hyperparameters)


def adamax(
    gradient: Gradient,
    theta: Vector,
    *,
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> Iterator[Vector]:
    """Kingma & Ba 2015, Algorithm 2; eps beside the magnitude is an addition."""
    m = np.zeros_like(theta)
    u = np.zeros_like(theta)
    for t in itertools.count(1):
        g = gradient(theta)
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + eps)
        theta = theta - _at(learning_rate, t) / (1 - b1**t) * m / u
        yield theta
