"""L-BFGS and BFGS with unit steps, and steps of line searches, from Nocedal & Wright in NumPy."""

from __future__ import annotations

import numpy as np


def lbfgs_oracle(
    gradient, theta, *, learning_rate, memory_size=10, scale_init_precond=True, linesearch=None
):
    """Eq. 7.16 to 7.19, the matrix written out; with the first scale of optax."""
    pairs, old = [], None
    while True:
        g = gradient(theta)
        if old is not None:
            s, y = theta - old[0], g - old[1]
            if y @ s > np.finfo(float).eps * np.linalg.norm(y) * np.linalg.norm(s):
                pairs = [*pairs, (s, y)][-memory_size:]
        scale = min(1.0, 1 / np.linalg.norm(g))
        if pairs:
            s, y = pairs[-1]
            scale = y @ s / (y @ y)
        inverse = np.eye(len(g)) * (scale if scale_init_precond else 1.0)
        for s, y in pairs:
            inverse = bfgs_update(inverse, s, y)
        old = theta, g
        theta = theta - learning_rate * inverse @ g
        yield theta


def bfgs_oracle(gradient, theta, *, learning_rate, scale_init_precond=True, linesearch=None):
    """Eq. 6.17 and 6.20."""
    inverse, started, old = np.eye(len(theta)), False, None
    while True:
        g = gradient(theta)
        if old is not None:
            s, y = theta - old[0], g - old[1]
            if y @ s > np.finfo(float).eps * np.linalg.norm(y) * np.linalg.norm(s):
                if not started and scale_init_precond:
                    inverse = np.eye(len(g)) * (y @ s) / (y @ y)
                inverse, started = bfgs_update(inverse, s, y), True
        first = min(1.0, 1 / np.linalg.norm(g)) if not started and scale_init_precond else 1.0
        old = theta, g
        theta = theta - learning_rate * first * inverse @ g
        yield theta


def bfgs_update(inverse, s, y):
    v = np.eye(len(s)) - np.outer(y, s) / (y @ s)
    return v.T @ inverse @ v + np.outer(s, s) / (y @ s)
