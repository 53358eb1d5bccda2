"""Line searches, and the quasi-Newton methods that go before them."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import Case, Numbers, followed_by_step, row
from oracles import linesearch

import fnopt

_SHARE = Numbers(0.1, 0.4, refused=(0.0, 1.0, -0.1, np.nan))
_SMALL = Numbers(0.0, 1e-3, refused=(-1e-8, np.nan))
_GROWTH = Numbers(1.5, 4.0, refused=(0.9, np.nan))
_NUMBERS = {
    "delta": _SHARE,
    "sigma": Numbers(0.5, 0.9, refused=(0.0, 1.0, np.nan)),
    "theta": _SHARE,
    "gamma": _SHARE,
    "decrease_factor": _SHARE,
    "rho": _GROWTH,
    "increase_factor": _GROWTH,
    "max_learning_rate": Numbers(0.5, 2.0, refused=(0.0, -1.0, np.nan)),
    "curv_rtol": Numbers(0.5, 0.9, refused=(-0.1, np.nan)),
    **dict.fromkeys(
        ("epsilon", "tol", "slope_rtol", "approx_dec_rtol", "stepsize_precision", "atol", "rtol"),
        _SMALL,
    ),
}
_NO_REVERSE = {"has_hypergradients": "its loops have no reverse mode"}
_LOOP = {
    **_NO_REVERSE,
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
}
_SEARCH = {
    **_LOOP,
    **dict.fromkeys(
        [f"takes_schedules_of_{kind}" for kind in ("fnopt", "optax", "functions")],
        "its state is optax's, which has no count",
    ),
    **dict.fromkeys(
        [
            f"descends_{problem}"
            for problem in ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
        ],
        "it follows a direction; lbfgs and bfgs show it",
    ),
    "agrees_with_oracle": "it follows a direction; test_linesearch shows the conditions",
    "agrees_with_optax": "it follows a direction; test_linesearch shows it downhill",
    "lives_inside_inject_hyperparams": "optax makes arrays of the numbers that it wants as numbers",
}
_PAIRS = {
    "is_sharded_as_parameters": "its slots have one axis more; test_lbfgs shows it",
    "shows_what_is_a_parameters": "the products of its pairs are of all leaves together",
}
_DENSE = {
    "is_sharded_as_parameters": "its matrix is of all leaves together",
    "shows_what_is_a_parameters": "its matrix is of all leaves together",
}
_NOISE = {"descends_noisy_quadratic": "its pairs are of gradients without noise"}
_UNSEARCHED = {
    f"descends_{problem}": "the direction alone needs no gradient descent's rate"
    for problem in ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
}
_AS_IT_IS: Any = dict.fromkeys(("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic"))
_TRANSFORMS = {"lives_inside_inject_hyperparams": "its line search is a transform, not a number"}
_NEEDS = ("value", "grad", "value_fn")
_OWN = {"agrees_with_optax": "optax has no such function"}
_CLIMBS = {
    "agrees_with_optax": "the law climbs, where curvature is negative; test_lbfgs compares downhill"
}
# It compiles in a third of the time of the zoom.
_HAGER_ZHANG = fnopt.scale_by_hager_zhang_linesearch(initial_guess_strategy="one")
_SEARCHED = {"agrees_with_oracle": "the oracle knows steps of the learning rate alone"}


def _searches(name: str, variants: Any) -> list[Case]:
    return row(name, variants, needs=_NEEDS, numbers=_NUMBERS, not_applicable=_SEARCH)


CASES = [
    *_searches(
        "scale_by_hager_zhang_linesearch", {"": {}, "one": {"initial_guess_strategy": "one"}}
    ),
    *_searches("scale_by_zoom_linesearch", {"": {"max_linesearch_steps": 10}}),
    *_searches(
        "scale_by_backtracking_linesearch",
        {
            "": {"max_backtracking_steps": 9},
            "stored": {"max_backtracking_steps": 9, "store_grad": True},
        },
    ),
    *row(
        "scale_by_lbfgs",
        {"": {"memory_size": 3}, "unscaled": {"scale_init_precond": False}},
        rate=0.05,
        oracle=followed_by_step(linesearch.lbfgs_oracle),
        not_applicable={**_PAIRS, **_UNSEARCHED, **_NO_REVERSE},
    ),
    *row(
        "scale_by_bfgs",
        {"": {}, "unscaled": {"scale_init_precond": False}},
        rate=0.05,
        oracle=followed_by_step(linesearch.bfgs_oracle),
        not_applicable={**_DENSE, **_UNSEARCHED, **_OWN},
    ),
    *row(
        "lbfgs",
        {"": {"memory_size": 4, "linesearch": _HAGER_ZHANG}, "zoom": {"memory_size": 4}},
        needs=_NEEDS,
        rates=_AS_IT_IS,
        not_applicable={**_PAIRS, **_LOOP, **_NOISE, **_TRANSFORMS, **_SEARCHED, **_CLIMBS},
    ),
    *row(
        "lbfgs",
        {"fixed": {"learning_rate": 0.05, "memory_size": 4, "linesearch": None}},
        oracle=linesearch.lbfgs_oracle,
        not_applicable={**_PAIRS, **_UNSEARCHED, **_CLIMBS, **_NO_REVERSE},
    ),
    *row(
        "bfgs",
        {"": {}},
        needs=_NEEDS,
        rates=_AS_IT_IS,
        not_applicable={**_DENSE, **_LOOP, **_NOISE, **_TRANSFORMS, **_SEARCHED, **_OWN},
    ),
    *row(
        "bfgs",
        {"fixed": {"learning_rate": 0.05, "linesearch": None}},
        oracle=linesearch.bfgs_oracle,
        not_applicable={**_DENSE, **_UNSEARCHED, **_OWN},
    ),
]
