"""A small race computed by hand: gradient descent, a momentum method and one that diverges."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from fnopt.lab import Entrant, Problem, Race

CURVATURES = np.array([1.0, 30.0])
STEPS = 40


def valley(point):
    return jnp.sum(jnp.asarray(CURVATURES, point.dtype) * (point - 0.5) ** 2)


PROBLEM = Problem(
    "long_way", valley, ((-2.0, 2.0), (-1.0, 2.0)), (-1.5, 1.0), minima=((0.5, 0.5),), minimum=0.0
)


def entrant(name, rates, momentum, starts, best):
    paths = np.empty((len(rates), len(starts), STEPS + 1, 2))
    for i, rate in enumerate(rates):
        for j, start in enumerate(starts):
            point, velocity = np.array(start), np.zeros(2)
            for k in range(STEPS + 1):
                paths[i, j, k] = point
                velocity = momentum * velocity - rate * 2 * CURVATURES * (point - 0.5)
                point = point + velocity
    paths = np.where(np.abs(paths) > 1e15, np.nan, paths).astype(np.float32)
    values = (CURVATURES * (paths.astype(float) - 0.5) ** 2).sum(-1).astype(np.float32)
    return Entrant(name, None, np.array(rates), paths, values, best)


def hand_race(starts=((-1.5, 1.0),), rates=(0.002, 0.01), minimum=0.0):
    """Three optimizers; ``wild`` diverges at all of its rates."""
    best = len(rates) - 1
    entrants = (
        entrant("plain", rates, 0.0, starts, best),
        entrant("heavy", rates, 0.8, starts, best),
        entrant("wild", [0.1, 0.2][: len(rates)], 0.0, starts, 0),
    )
    return Race(dataclasses.replace(PROBLEM, minimum=minimum), entrants, 0)
