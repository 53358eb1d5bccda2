"""Small problems to optimize: a start, a loss, and how noisy its gradient is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A loss to bring down.

    Attributes:
        name: what it is called.
        start: the first parameters, float64.
        loss: of the parameters, in their dtype; its minimum is 0 where not said otherwise.
        noise: the standard deviation of what is added to every element of the gradient.
        model: the same loss in two functions, the outputs of the parameters and the loss of these;
            None where there is no layer.
    """

    name: str
    start: Any
    loss: Callable[[Any], Any]
    noise: float = 0.0
    model: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None


def _like(constant: Any, param: Any) -> Any:
    return jnp.asarray(constant, param.dtype)


PARABOLA = Problem("parabola", np.float64(3.0), lambda x: x * x)


def _rosenbrock(params: Any) -> Any:
    x, y = params["x"], params["y"]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


ROSENBROCK = Problem("rosenbrock", {"x": np.float64(-1.2), "y": np.float64(1.0)}, _rosenbrock)

_rng = np.random.default_rng(0)
_LEFT = np.diag([1.0, 1.5, 2.0, 3.0]) + 0.1 * _rng.normal(size=(4, 4))
_GOAL = _rng.normal(size=(4, 3))

MATRIX_BOWL = Problem(
    "matrix_bowl",
    _GOAL + _rng.normal(size=(4, 3)),
    lambda w: 0.5 * jnp.sum((_like(_LEFT, w) @ (w - _like(_GOAL, w))) ** 2),
    model=(
        lambda w: _like(_LEFT, w) @ w,
        lambda outputs: 0.5 * jnp.sum((outputs - _like(_LEFT @ _GOAL, outputs)) ** 2),
    ),
)

_CURVATURE = np.geomspace(0.1, 1.0, 8)

NOISY_QUADRATIC = Problem(
    "noisy_quadratic",
    3 * np.ones(8),
    lambda x: 0.5 * jnp.sum(_like(_CURVATURE, x) * x * x),
    noise=0.1,
)

# A network of three tanh units, their sum scaled: not convex, with leaves of every rank in nested
# containers. 0.1 cos(3 scale) puts a second valley next to the first.
MIXED_INPUTS = _rng.normal(size=(6, 2))
_TARGETS = np.sin(2 * MIXED_INPUTS[:, 0]) + MIXED_INPUTS[:, 1]


def _mixed_outputs(params: Any) -> tuple[Any, Any]:
    scale, (weights, vector) = params["scale"], params["units"]
    units = jnp.tanh(_like(MIXED_INPUTS, scale) @ weights["matrix"].T + vector[None])
    return scale * jnp.sum(units, axis=1), scale


def _mixed_loss(outputs: tuple[Any, Any]) -> Any:
    prediction, scale = outputs
    residual = prediction - _like(_TARGETS, scale)
    return jnp.mean(residual * residual) + 0.1 * jnp.cos(3 * scale)


MIXED = Problem(
    "mixed",
    {
        "scale": np.float64(0.8),
        "units": ({"matrix": 0.5 * _rng.normal(size=(3, 2))}, 0.1 * _rng.normal(size=3)),
    },
    lambda params: _mixed_loss(_mixed_outputs(params)),
    model=(_mixed_outputs, _mixed_loss),
)


def mixed_by_hand(params: Any) -> tuple[Any, Any]:
    """Value and gradient of the mixed problem, derived by hand, in NumPy and float64."""
    scale, (weights, vector) = params["scale"], params["units"]
    units = np.tanh(MIXED_INPUTS @ weights["matrix"].T + vector)
    residual = scale * units.sum(axis=1) - _TARGETS
    value = np.mean(residual**2) + 0.1 * np.cos(3 * scale)
    d_output = 2 * residual / len(residual)
    d_input = d_output[:, None] * scale * (1 - units**2)
    d_scale = d_output @ units.sum(axis=1) - 0.3 * np.sin(3 * scale)
    return value, {
        "scale": d_scale,
        "units": ({"matrix": d_input.T @ MIXED_INPUTS}, d_input.sum(axis=0)),
    }
