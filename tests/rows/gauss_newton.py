"""Gauss-Newton, the natural gradient and Levenberg-Marquardt."""

from __future__ import annotations

from typing import Any

from cases import Case, Numbers, followed_by_step, row
from oracles import gauss_newton as oracles

_NAN = float("nan")
_LOOPS = {
    "has_hypergradients": "its loop has no reverse mode",
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
    "agrees_with_optax": "optax has no such method",
    "keeps_complex64": "the Gauss-Newton matrix is of real parameters",
}
_DENSE = {
    **_LOOPS,
    "is_sharded_as_parameters": "its matrix is of all parameters together",
}
# The Hessian of the mixed problem has eigenvalues down to -3: with a damping above it, conjugate
# gradients of two programs that differ in rounding stay together for fifty steps.
_STEADY = {"learning_rate": 0.5, "damping": 5.0}
_COMMON: dict[str, Any] = {
    "needs": ("evaluation",),
    "numbers": {
        "learning_rate": Numbers(0.5, 1.0, refused=(-1e-3, _NAN, float("inf"))),
        "damping": Numbers(4.0, 8.0, refused=(-0.1, _NAN)),
        "rtol": Numbers(1e-6, 1e-5, refused=(-1e-3, _NAN)),
        "max_kl": Numbers(0.01, 0.1, refused=(0.0, _NAN)),
    },
    "rates": {"parabola": 0.5, "rosenbrock": 0.5, "matrix_bowl": 0.5, "noisy_quadratic": 0.3},
}
_PART = {**_COMMON, "rate": 0.5}
_MARQUARDT: dict[str, Any] = {
    **_COMMON,
    "numbers": {**_COMMON["numbers"], "damping": Numbers(0.5, 2.0, refused=(0.0, _NAN))},
    "needs": ("value", "evaluation"),
    "oracle": oracles.levenberg_marquardt,
}

CASES: list[Case] = [
    *row(
        "scale_by_gauss_newton",
        {"": {"damping": 5.0}},
        **_PART,
        oracle=followed_by_step(oracles.gauss_newton),
        not_applicable=_LOOPS,
    ),
    *row(
        "gauss_newton", {"": _STEADY}, **_COMMON, oracle=oracles.gauss_newton, not_applicable=_LOOPS
    ),
    *row(
        "gauss_newton",
        {"cholesky": {**_STEADY, "solver": "cholesky"}},
        **_COMMON,
        oracle=oracles.gauss_newton,
        not_applicable=_DENSE,
    ),
    *row(
        "scale_by_natural_gradient",
        {"": {"damping": 5.0, "max_kl": 0.1}},
        **_PART,
        oracle=followed_by_step(oracles.natural_gradient),
        not_applicable=_LOOPS,
    ),
    *row(
        "natural_gradient",
        {"": {**_STEADY, "max_kl": 0.05}},
        **_COMMON,
        oracle=oracles.natural_gradient,
        not_applicable=_LOOPS,
    ),
    *row(
        "levenberg_marquardt",
        {"": {}},
        **_MARQUARDT,
        not_applicable={
            **_LOOPS,
            "agrees_with_oracle": "its damping falls below the negative curvature of the problem,"
            " where conjugate gradients magnify rounding; the dense one agrees",
        },
    ),
    *row(
        "levenberg_marquardt",
        {"cholesky": {"solver": "cholesky"}},
        **_MARQUARDT,
        not_applicable=_DENSE,
    ),
]
