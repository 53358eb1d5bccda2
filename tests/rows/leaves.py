"""Parts that treat each leaf by a separate number."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
from cases import BY_GRADIENT, Case, Numbers, after, in_matrix, row

_CONSTANT = {
    f"takes_schedules_of_{kind}": "its factors are constant; a schedule stands beside it"
    for kind in ("fnopt", "optax", "functions")
}
_OF_MIXED = {
    law: "its factors are for another tree"
    for law in (
        "has_hypergradients",
        "takes_any_tree",
        "takes_frozen_leaves",
        "is_sharded_as_parameters",
        "refuses_integers",
        "refuses_bad_trees",
        "refuses_to_reshape_slots",
        "shows_what_is_a_parameters",
        "lives_inside_nnx_optimizer",
        *(f"descends_{problem}" for problem in BY_GRADIENT),
    )
}


def _in_matrix(grad: Any, theta: Any, factors: Any) -> Any:
    return np.where(in_matrix(), 2.0, 0.5) * grad


CASES: list[Case] = [
    *row(
        "scale_by_tree",
        {"": {"factors": 0.5}},
        rate=0.05,
        oracle=after(lambda grad, theta, factors: factors * grad),
        peer=lambda factors: optax.scale(factors),
        numbers={"factors": Numbers(0.1, 2.0)},
        rates={name: 2 * rate for name, rate in BY_GRADIENT.items()},
        not_applicable={**_CONSTANT, "refuses_bad_numbers": "any tree of numbers is one"},
    ),
    *row(
        "scale_by_tree",
        {"tree": {"factors": {"scale": 0.5, "units": ({"matrix": 2.0}, 0.5)}}},
        rate=0.05,
        oracle=after(_in_matrix),
        rates=BY_GRADIENT,
        not_applicable={
            **_CONSTANT,
            **_OF_MIXED,
            "agrees_with_optax": "optax has none",
            "refuses_bad_numbers": "any tree of numbers is one",
        },
    ),
]
