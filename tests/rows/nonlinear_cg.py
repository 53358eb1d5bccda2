"""Conjugate gradients, Barzilai and Borwein's method, and a line search that lets the loss rise."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import TRANSFORMS, Case, Numbers, followed_by_step, row
from oracles import nonlinear_cg as oracles

from rows.clips import AfterStep

_SMALL = Numbers(1e-3, 1e-2, refused=(0.0, -1.0, np.nan))
_NUMBERS = {
    "learning_rate": Numbers(0.01, 0.03, refused=(-1e-3, np.nan, np.inf)),
    "eta": _SMALL,
    "min_step": _SMALL,
    "max_step": Numbers(1.0, 10.0, refused=(0.0, -1.0, np.nan)),
    "slope_rtol": Numbers(1e-4, 1e-2, refused=(0.0, 1.0, np.nan)),
}
_PROBLEMS = ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
_ONE: Any = dict.fromkeys(_PROBLEMS, 1.0)
_SCHEDULES = [f"takes_schedules_of_{kind}" for kind in ("fnopt", "optax", "functions")]
_NEEDS = ("value", "grad", "value_fn")
_OWN = {"agrees_with_optax": "optax has no such function"}
_SEARCHES = {
    **_OWN,
    **TRANSFORMS,
    **dict.fromkeys(_SCHEDULES, "a line search has no count, and no schedules"),
    "descends_noisy_quadratic": "a line search is for losses without noise",
    "has_hypergradients": "its loops have no reverse mode",
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
}
_LOSSES = dict.fromkeys(
    ("is_sharded_as_parameters", "shows_what_is_a_parameters"),
    "the last losses are a vector and no slot",
)
_AS_DIRECTIONS = {
    **_OWN,
    **{f"descends_{name}": "its steps need a line search" for name in _PROBLEMS},
}

CASES: list[Case] = [
    *row(
        "nonlinear_cg",
        {"": {}},
        needs=_NEEDS,
        numbers=_NUMBERS,
        rates=_ONE,
        not_applicable={
            **_SEARCHES,
            "agrees_with_oracle": "the line search has its own; without it the rows below have one",
        },
    ),
    *row(
        "nonlinear_cg",
        {"fixed": {"learning_rate": 0.02, "linesearch": None}},
        numbers=_NUMBERS,
        oracle=oracles.nonlinear_cg,
        not_applicable={**_AS_DIRECTIONS, **TRANSFORMS},
    ),
    *row(
        "scale_by_nonlinear_cg",
        {
            "": {},
            "hager_zhang": {"variant": "hager_zhang"},
            "fletcher_reeves": {"variant": "fletcher_reeves"},
            "hestenes_stiefel": {"variant": "hestenes_stiefel"},
            "dai_yuan": {"variant": "dai_yuan"},
        },
        rate=0.02,
        numbers=_NUMBERS,
        oracle=followed_by_step(oracles.nonlinear_cg),
        not_applicable=_AS_DIRECTIONS,
    ),
    *row(
        "barzilai_borwein",
        {"": {}},
        needs=_NEEDS,
        numbers={**_NUMBERS, "learning_rate": Numbers(0.5, 1.0, refused=(-1e-3, np.nan, np.inf))},
        rates=_ONE,
        oracle=oracles.barzilai_borwein,
        not_applicable={**_SEARCHES, **_LOSSES},
    ),
    *row(
        "scale_by_barzilai_borwein",
        {"": {}, "short": {"variant": "short"}},
        rate=0.3,
        numbers=_NUMBERS,
        oracle=followed_by_step(oracles.barzilai_borwein),
        not_applicable=_AS_DIRECTIONS,
    ),
    AfterStep(
        "scale_by_nonmonotone_linesearch",
        "",
        kwargs={"memory_size": 3},
        needs=_NEEDS,
        rate=2.0,
        numbers=_NUMBERS,
        rates=_ONE,
        oracle=oracles.nonmonotone_descent,
        not_applicable={**_SEARCHES, **_LOSSES},
    ),
]
