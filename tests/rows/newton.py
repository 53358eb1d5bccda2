"""Newton's method: with a dense Hessian, in a trust region, by conjugate gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Numbers, followed_by_step, row
from oracles import newton

_NEEDS = ("value", "grad", "value_fn")
_NUMBERS = {
    "damping": Numbers(0.01, 0.1, refused=(-0.1, np.nan, np.inf)),
    "initial_trust_radius": Numbers(0.05, 0.1, refused=(-1.0, 0.0, np.nan)),
    "max_trust_radius": Numbers(0.05, 0.1, refused=(-1.0, 0.0, np.nan)),
    "eta": Numbers(0.0, 0.2, refused=(-0.1, 0.25, np.nan)),
    "rtol": Numbers(0.05, 0.5, refused=(-0.1, 0.0, np.nan)),
    "warm_start": Numbers(0.5, 0.95, refused=(-0.1, 1.1, np.nan)),
}
# Short steps, so that two programs that differ in rounding stay together for fifty of them.
_SHORT = {"initial_trust_radius": 0.1, "max_trust_radius": 0.1}
_PROBLEMS = ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
_STARTS = "where it starts, its radius or its damping, is a number alone"
_SCHEDULES = {f"takes_schedules_of_{kind}": _STARTS for kind in ("fnopt", "optax", "functions")}
_BY_LOSS = {"lives_inside_train_state": "flax's TrainState hands no extra arguments on"}
_DENSE = {"is_sharded_as_parameters": "its matrix and its vectors are whole on each device"}
_LOOPS = {"has_hypergradients": "its loop has no reverse mode"}


def _row(name: str, variants: Any, **common: Any) -> Any:
    common = {"needs": _NEEDS, "numbers": _NUMBERS} | common
    common["not_applicable"] = {
        "agrees_with_optax": "optax has no such method",
        **_BY_LOSS,
        **common.get("not_applicable", {}),
    }
    return row(name, variants, **common)


_TRUST = {"rates": dict.fromkeys(_PROBLEMS, 1.0), "not_applicable": _SCHEDULES | _LOOPS}
CASES = [
    *_row(
        "newton",
        {"": {"learning_rate": 0.5, "damping": 0.1, "linesearch": None}},
        needs=("value_fn",),
        oracle=newton.newton,
        rates=dict.fromkeys(_PROBLEMS, 0.5),
    ),
    *_row(
        "newton",
        {"searched": {}},
        not_applicable={
            **_LOOPS,
            "agrees_with_oracle": "its parts have oracles",
            "lives_inside_inject_hyperparams": "its arguments are transforms, not numbers",
        },
        rates=dict.fromkeys(_PROBLEMS, 1.0),
    ),
    *_row(
        "scale_by_newton",
        {"": {"damping": 0.1}},
        needs=("value_fn",),
        rate=0.5,
        oracle=followed_by_step(newton.newton),
        rates=dict.fromkeys(_PROBLEMS, 0.5),
    ),
    *_row("trust_newton", {"": _SHORT}, oracle=newton.trust_newton, **_TRUST),
    *_row(
        "newton_cg",
        {
            "": _SHORT,
            "damped": {**_SHORT, "damping": 0.1, "warm_start": 0.95, "max_cg_steps": 4},
        },
        oracle=newton.newton_cg,
        **_TRUST,
    ),
]
