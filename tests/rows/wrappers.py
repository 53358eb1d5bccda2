"""What calls another transform under a condition, for some leaves or in another layout."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
from cases import (
    ADAPTIVE,
    BY_GRADIENT,
    BY_MOMENTUM,
    FUNCTION,
    Case,
    Numbers,
    followed_by_step,
    halving,
    in_matrix,
    matrices,
    row,
)
from oracles import wrappers as oracles

import fnopt

_INNER = {"lives_inside_inject_hyperparams": "its argument is a transform, not a number"}
_LEFT_OUT = {"refuses_integers": "a leaf that is left out may be anything"}
_LIMIT = {
    f"takes_schedules_of_{kind}": "it counts batches, and there is no count to schedule it by"
    for kind in ("fnopt", "optax", "functions")
}
_ONE_VECTOR = {"is_sharded_as_parameters": "one vector of all leaves does not lie as one of them"}
_LOW_RANK = {"is_sharded_as_parameters": "its matrices are smaller than the parameters'"}
_EVERY = Numbers(1.0, 4.0, refused=(0.0, -1.0, np.nan))
_RATES = {"rate": 0.05, "rates": BY_MOMENTUM}


def second(step: Any, **extra_args: Any) -> Any:
    """Whether a count is odd."""
    return step % 2 == 1


def rank(params: Any) -> Any:
    """A label by the number of axes."""
    return jax.tree.map(lambda leaf: "matrix" if np.ndim(leaf) > 1 else "other", params)


def _multi_steps(*args: Any, **kwargs: Any) -> Any:
    return optax.MultiSteps(*args, **kwargs).gradient_transformation()


def _gathered(gradient: Any, theta: Any, rate: float, **given: Any) -> Any:
    return oracles.gathered(
        gradient,
        theta,
        rate,
        every=round(given["every_k_schedule"]),
        mean=given.get("use_grad_mean", True),
    )


def _at_second(otherwise: float) -> Any:
    return lambda gradient, theta, rate, **_: oracles.at_some(
        gradient, theta, rate, lambda count: count % 2 == 1, otherwise
    )


def _in_matrix(otherwise: float) -> Any:
    return lambda gradient, theta, rate, **_: oracles.in_some(
        gradient, theta, rate, in_matrix(), otherwise
    )


def wrapper(name: str, variants: dict[str, Any], *args: Any, **common: Any) -> list[Case]:
    """Rows of a wrapper of momentum, or of ``args``."""
    common = {"peer": getattr(optax, name, None), **_RATES, **common}
    common["not_applicable"] = {**_INNER, **common.get("not_applicable", {})}
    return [
        Case(name, variant, args=args or (fnopt.trace(0.9),), kwargs=kwargs, **common)
        for variant, kwargs in variants.items()
    ]


_GROUPS = {"matrix": fnopt.trace(0.9), "other": fnopt.scale(0.5)}
_HALVED = {problem: 2 * rate for problem, rate in BY_GRADIENT.items()}
_GALORE = {
    "update_proj_gap": Numbers(5.0, 30.0, refused=(0.0, np.nan)),
    "scale": Numbers(0.1, 0.9),
}

CASES: list[Case] = [
    *wrapper(
        "apply_if_finite",
        {"": {"max_consecutive_errors": 5}},
        numbers={"max_consecutive_errors": Numbers(0.0, 5.0, refused=(-1.0, np.nan))},
        oracle=oracles.momentum,
        not_applicable=_LIMIT,
    ),
    *wrapper(
        "MultiSteps",
        {
            "": {"every_k_schedule": 2},
            "sum": {"every_k_schedule": 3, "use_grad_mean": False},
        },
        peer=_multi_steps,
        numbers={"every_k_schedule": _EVERY},
        oracle=_gathered,
    ),
    *wrapper(
        "MultiSteps",
        {"skip": {"every_k_schedule": 2, "should_skip_update_fn": fnopt.skip_not_finite}},
        peer=lambda *args, should_skip_update_fn, **kwargs: _multi_steps(
            *args, should_skip_update_fn=optax.skip_not_finite, **kwargs
        ),
        numbers={"every_k_schedule": _EVERY},
        oracle=_gathered,
        not_applicable={"survives_flax_serialization": FUNCTION["survives_flax_serialization"]},
    ),
    *row(
        "apply_every",
        {"": {}, "2": {"k": 2}},
        rate=0.03,
        rates={**BY_GRADIENT, "rosenbrock": 5e-4, "matrix_bowl": 0.05},
        numbers={"k": _EVERY},
        oracle=lambda gradient, theta, rate, k=1: oracles.gathered(
            gradient, theta, rate, round(k), mean=False, decay=0.0
        ),
        not_applicable=_LIMIT,
    ),
    *wrapper(
        "conditionally_mask",
        {"": {"should_transform_fn": second}},
        oracle=_at_second(0.0),
        not_applicable=FUNCTION,
    ),
    *wrapper(
        "conditionally_transform",
        {"": {"should_transform_fn": second}},
        oracle=_at_second(1.0),
        not_applicable=FUNCTION,
    ),
    *wrapper("masked", {"": {"mask": True}}, oracle=oracles.momentum),
    *wrapper(
        "masked",
        {"matrices": {"mask": matrices}},
        oracle=_in_matrix(1.0),
        not_applicable={**FUNCTION, **_LEFT_OUT},
    ),
    *wrapper(
        "partition",
        {"": {"param_labels": "other"}},
        _GROUPS,
        oracle=lambda gradient, theta, rate, **_: oracles.gathered(
            gradient, theta, 0.5 * rate, 1, mean=True, decay=0.0
        ),
        rates=_HALVED,
    ),
    *wrapper(
        "partition",
        {"by_rank": {"param_labels": rank}},
        _GROUPS,
        oracle=_in_matrix(0.5),
        rates={**_HALVED, "matrix_bowl": BY_MOMENTUM["matrix_bowl"]},
        not_applicable=FUNCTION,
    ),
    *wrapper(
        "multi_transform",
        {"": {"param_labels": "only"}},
        {"only": fnopt.trace(0.9)},
        oracle=oracles.momentum,
    ),
    *wrapper(
        "packed",
        {"": {}, "nothing": {"limit": 0}},
        peer=None,
        oracle=oracles.momentum,
        not_applicable={"agrees_with_optax": "optax has none"},
    ),
    *wrapper("flatten", {"": {}}, oracle=oracles.momentum, not_applicable=_ONE_VECTOR),
    *wrapper(
        "split_real_and_imaginary",
        {"": {}},
        peer=optax.contrib.split_real_and_imaginary,
        oracle=oracles.momentum,
    ),
    *row(
        "ema",
        {"": {"decay": 0.9}, "biased": {"decay": 0.9, "debias": False}},
        rate=0.1,
        rates=BY_GRADIENT,
        oracle=oracles.ema,
    ),
    *row(
        "galore",
        {
            "": {"learning_rate": 0.01, "rank": 128},
            "rank_1": {"learning_rate": 0.01, "rank": 1, "update_proj_gap": 10},
            "scheduled": {"learning_rate": halving(0.1), "rank": 1, "update_proj_gap": 10},
        },
        peer=optax.contrib.galore,
        numbers=_GALORE,
        oracle=oracles.galore,
        by_leaf=True,
        rates={**ADAPTIVE, "matrix_bowl": 0.1},
        not_applicable=_LOW_RANK,
    ),
    *row(
        "galore",
        {
            "paper": {
                "learning_rate": 0.01,
                "rank": 1,
                "update_proj_gap": 10,
                "scale": 0.25,
                "long_side": False,
            }
        },
        numbers=_GALORE,
        oracle=oracles.galore,
        by_leaf=True,
        rates={**ADAPTIVE, "matrix_bowl": 0.3},
        not_applicable={**_LOW_RANK, "agrees_with_optax": "optax's cuts the other side"},
    ),
    *row(
        "scale_by_galore",
        {"": {"rank": 128}},
        peer=optax.contrib.scale_by_galore,
        numbers=_GALORE,
        rate=0.01,
        oracle=followed_by_step(oracles.galore),
        by_leaf=True,
        rates=ADAPTIVE,
        not_applicable=_LOW_RANK,
    ),
]
