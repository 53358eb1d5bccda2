"""The nonlinear regression problems of NIST's Statistical Reference Datasets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Regression:
    """A model to fit to data, with parameters that are certified to eleven digits.

    Attributes:
        name: NIST's name of the data set.
        model: ``model(b, x)``, the predictions.
        x: the predictors, one a row.
        y: the observations.
        starts: the two starting points, one a row; the second is nearer.
        certified: the parameters of least squares.
        sum_of_squares: that of the residuals there.
    """

    name: str
    model: Callable[[Any, Any], Any]
    x: np.ndarray
    y: np.ndarray
    starts: np.ndarray
    certified: np.ndarray
    sum_of_squares: float

    def residuals(self, b: Any) -> Any:
        """Predictions minus observations."""
        return self.model(b, self.x) - self.y


def residuals(b: Any, index: Any, x: Any, y: Any, known: Any) -> Any:
    """The residuals of the problem of this index, so that one program solves all of them.

    Args:
        b: parameters, as many as any problem has; the last ones may be idle.
        index: the index in :data:`REGRESSIONS`.
        x, y: data, as :func:`padded` gives them.
        known: flags; False where there is no observation.
    """
    models = [regression.model for regression in REGRESSIONS]
    return jnp.where(known, jax.lax.switch(index, models, b, x) - y, 0)


def padded() -> tuple[np.ndarray, ...]:
    """Starts, predictors, observations and flags of all problems, each of one shape."""

    def filled(rows: np.ndarray, size: int, mode: str) -> np.ndarray:
        return np.pad(rows, ((0, 0), (0, size - rows.shape[1])), mode)  # pyright: ignore

    most = max(r.y.size for r in REGRESSIONS)
    starts = [filled(r.starts, 9, "constant") for r in REGRESSIONS]
    # Where there is no observation the last one is repeated, at which a model is finite.
    xs = [filled(np.broadcast_to(r.x, (2, r.y.size)), most, "edge") for r in REGRESSIONS]
    ys = [filled(r.y[None], most, "edge")[0] for r in REGRESSIONS]
    known = [np.arange(most) < r.y.size for r in REGRESSIONS]
    return np.stack(starts), np.stack(xs), np.stack(ys), np.stack(known)


def _exponential_rise(b: Any, x: Any) -> Any:
    return b[0] * (1 - jnp.exp(-b[1] * x))


def _chwirut(b: Any, x: Any) -> Any:
    return jnp.exp(-b[0] * x) / (b[1] + b[2] * x)


def _gauss(b: Any, x: Any) -> Any:
    peaks = [b[i] * jnp.exp(-(((x - b[i + 1]) / b[i + 2]) ** 2)) for i in (2, 5)]
    return b[0] * jnp.exp(-b[1] * x) + peaks[0] + peaks[1]


def _lanczos(b: Any, x: Any) -> Any:
    return sum(b[i] * jnp.exp(-b[i + 1] * x) for i in (0, 2, 4))


def _cubic_by_cubic(b: Any, x: Any) -> Any:
    above = b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3
    return above / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _enso(b: Any, x: Any) -> Any:
    def wave(cosine: Any, sine: Any, period: Any) -> Any:
        phase = 2 * jnp.pi * x / period
        return cosine * jnp.cos(phase) + sine * jnp.sin(phase)

    return b[0] + wave(b[1], b[2], 12) + wave(b[4], b[5], b[3]) + wave(b[7], b[8], b[6])


_MODELS: dict[str, Callable[[Any, Any], Any]] = {
    "Bennett5": lambda b, x: b[0] * (b[1] + x) ** (-1 / b[2]),
    "BoxBOD": _exponential_rise,
    "Chwirut1": _chwirut,
    "Chwirut2": _chwirut,
    "DanWood": lambda b, x: b[0] * x ** b[1],
    "ENSO": _enso,
    "Eckerle4": lambda b, x: b[0] / b[1] * jnp.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "Gauss3": _gauss,
    "Hahn1": _cubic_by_cubic,
    "Kirby2": lambda b, x: (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2),
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Lanczos3": _lanczos,
    "MGH09": lambda b, x: b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3]),
    "MGH10": lambda b, x: b[0] * jnp.exp(b[1] / (x + b[2])),
    "MGH17": lambda b, x: b[0] + b[1] * jnp.exp(-x * b[3]) + b[2] * jnp.exp(-x * b[4]),
    "Misra1a": _exponential_rise,
    "Misra1b": lambda b, x: b[0] * (1 - (1 + b[1] * x / 2) ** (-2)),
    "Misra1c": lambda b, x: b[0] * (1 - (1 + 2 * b[1] * x) ** (-0.5)),
    "Misra1d": lambda b, x: b[0] * b[1] * x / (1 + b[1] * x),
    # Of the logarithm of the observations.
    "Nelson": lambda b, x: b[0] - b[1] * x[0] * jnp.exp(-b[2] * x[1]),
    "Rat42": lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)),
    "Rat43": lambda b, x: b[0] / (1 + jnp.exp(b[1] - b[2] * x)) ** (1 / b[3]),
    "Roszman1": lambda b, x: b[0] - b[1] * x - jnp.arctan(b[2] / (x - b[3])) / jnp.pi,
    "Thurber": _cubic_by_cubic,
}


def _regression(name: str, data: Any) -> Regression:
    x, y = np.atleast_2d(np.array(data["x"], float)), np.array(data["y"], float)
    formula = _MODELS[name]
    return Regression(
        name,
        formula if len(x) > 1 else lambda b, x: formula(b, x[0]),
        x,
        np.log(y) if name == "Nelson" else y,
        np.array(data["starts"], float),
        np.array(data["certified"], float),
        data["sum_of_squares"],
    )


_DATA = json.loads((Path(__file__).parent / "data" / "nist_strd.json").read_text())

REGRESSIONS = [_regression(name, data) for name, data in _DATA["problems"].items()]
