"""Methods of curvature that keep parameters between bounds."""

from __future__ import annotations

import numpy as np
from cases import Case, Numbers
from oracles import bounds

_FIXED = Numbers(1.0, 1.0, refused=(-1e-3, np.nan, np.inf))
_PROBLEMS = ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
_SCHEDULES = [f"takes_schedules_of_{kind}" for kind in ("fnopt", "optax", "functions")]


def _row(variant: str, excused: dict[str, str], **given: object) -> Case:
    return Case(
        "lbfgsb",
        variant,
        kwargs=given,
        needs=("value", "value_fn"),
        numbers={
            # Of these SciPy has no arguments.
            "learning_rate": _FIXED,
            "slope_rtol": Numbers(1e-3, 1e-3, refused=(0.0, 1.0, np.nan)),
            "curv_rtol": Numbers(0.9, 0.9, refused=(0.0, 1.0, np.nan)),
            "lower": Numbers(-1.2, -1.0, refused=(np.nan,)),
            "upper": Numbers(0.9, 1.1, refused=(np.nan,)),
        },
        rates=dict.fromkeys(_PROBLEMS, 1.0),
        oracle=bounds.lbfgsb,
        # Rounding, in which versions of SciPy differ, grows tenfold in five of its searches: from
        # 4e-16 to 1e-9 in forty, and to 1e-6 in fifty.
        updates=40,
        not_applicable={
            **dict.fromkeys(_SCHEDULES, "bounds and line search are no schedules"),
            **dict.fromkeys(
                ("is_sharded_as_parameters", "shows_what_is_a_parameters"),
                "its memory has all parameters as one vector, which breakpoints are sorted in",
            ),
            "agrees_with_optax": "optax has no such function",
            "descends_noisy_quadratic": "differences of noisy gradients are no curvature",
            "has_hypergradients": "its loops have no reverse mode",
            "keeps_complex64": "complex parameters have no bounds",
            "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
            **excused,
        },
    )


_BOXED = {
    "descends_matrix_bowl": "its minimum is not in the box",
    "refuses_bad_numbers": "bounds may be a list of numbers; test_lbfgsb has the rest",
}

CASES: list[Case] = [
    _row("", {}),
    _row("boxed", _BOXED, lower=-1.0, upper=1.0, memory_size=3),
]
