"""AdaHessian and Sophia with its two estimators, in float64 NumPy; draws are jax's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from oracles.clips import Gradient, Leaves
from oracles.clips import diagonal as of_hessian


def of_gauss_newton(gradient: Gradient, theta: Leaves, key: Any) -> Leaves:
    """Liu et al. 2023, Algorithm 2, where the outputs are the parameters, with a normal likelihood.

    The targets of weight c differ from the outputs by normal numbers z, so that their gradient is
    sqrt(c) z. The weight is the curvature at ones and along them, by the complex step.
    """
    curvature = [g.imag / 1e-30 for g in gradient([np.ones_like(p) + 1e-30j for p in theta])]
    keys = jax.random.split(key, len(theta))
    draws = [
        np.asarray(jax.random.normal(k, p.shape, "float64"))
        for k, p in zip(keys, theta, strict=True)
    ]
    return [np.maximum(c, 0) * z * z for c, z in zip(curvature, draws, strict=True)]


def adahessian(
    gradient: Gradient,
    theta: Leaves,
    learning_rate: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-4,
    hessian_power: float = 1.0,
    update_interval: float = 1.0,
    weight_decay: float = 0.0,
    **_: Any,
) -> Iterator[Leaves]:
    """Yao et al. 2021, Algorithm 1, for leaves that are no kernels of convolutions."""
    m = [np.zeros_like(p) for p in theta]
    v = [np.zeros_like(p) for p in theta]
    key, estimates = jax.random.key(0), 0
    for t in itertools.count(1):
        grads = gradient(theta)
        m = [b1 * x + (1 - b1) * g for x, g in zip(m, grads, strict=True)]
        if (t - 1) % round(update_interval) == 0:
            key, subkey = jax.random.split(key)
            diagonal = of_hessian(gradient, theta, subkey)
            v = [b2 * x + (1 - b2) * d**2 for x, d in zip(v, diagonal, strict=True)]
            estimates += 1
        rate = float(learning_rate(t - 1)) if callable(learning_rate) else learning_rate
        means = [x / (1 - b1**t) for x in m]
        roots = [np.sqrt(x / (1 - b2**estimates)) for x in v]  # eq. 11
        theta = [
            p - rate * (x / (root**hessian_power + eps) + weight_decay * p)
            for p, x, root in zip(theta, means, roots, strict=True)
        ]
        yield theta


def sophia(estimate: Callable[..., Leaves], gamma: float) -> Callable[..., Iterator[Leaves]]:
    """Liu et al. 2023, Algorithm 3 with the numbers of its Section 3.1."""

    def steps(
        gradient: Gradient,
        theta: Leaves,
        learning_rate: Any,
        b1: float = 0.96,
        b2: float = 0.99,
        eps: float = 1e-12,
        weight_decay: float = 0.2,
        gamma: float = gamma,
        clip_threshold: float = 1.0,
        update_interval: float = 10,
        **_: Any,
    ) -> Iterator[Leaves]:
        m = [np.zeros_like(p) for p in theta]
        h = [np.zeros_like(p) for p in theta]
        key = jax.random.key(0)
        for t in itertools.count(1):
            grads = gradient(theta)  # line 5
            m = [b1 * x + (1 - b1) * g for x, g in zip(m, grads, strict=True)]  # line 6
            if (t - 1) % round(update_interval) == 0:  # line 7: t mod k = 1
                key, subkey = jax.random.split(key)
                estimates = estimate(gradient, theta, subkey)  # line 8
                h = [b2 * x + (1 - b2) * e for x, e in zip(h, estimates, strict=True)]  # line 9
            steps = [x / np.maximum(gamma * y, eps) for x, y in zip(m, h, strict=True)]
            theta = [
                (1 - learning_rate * weight_decay) * p  # line 12
                - learning_rate * np.clip(s, -clip_threshold, clip_threshold)  # line 13
                for p, s in zip(theta, steps, strict=True)
            ]
            yield theta

    return steps


def gauss_newton(gradient: Gradient, theta: Leaves, rate: float, **_: Any) -> Iterator[Leaves]:
    """Steps along the estimate itself."""
    key = jax.random.key(0)
    while True:
        key, subkey = jax.random.split(key)
        diagonal = of_gauss_newton(gradient, theta, subkey)
        theta = [p - rate * h for p, h in zip(theta, diagonal, strict=True)]
        yield theta
