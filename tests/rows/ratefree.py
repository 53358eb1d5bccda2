"""Methods that find their own rate."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import optax.contrib
from cases import (
    FUNCTION,
    TRANSFORMS,
    Case,
    Numbers,
    followed_by_step,
    halving,
    masked,
    matrices,
    row,
)
from oracles import ratefree

import fnopt

_POSITIVE = Numbers(1e-3, 1e-1, refused=(0.0, -1.0, np.nan, np.inf))
_RATE = Numbers(0.3, 1.0, refused=(-1e-3, np.nan, np.inf))
_BOUND = Numbers(-0.5, 0.0)
_NUMBERS = {
    "learning_rate": _RATE,
    # Larger steps from too low a bound are chaotic: rounding grows.
    "max_learning_rate": Numbers(0.05, 0.2, refused=(-1e-3, np.nan)),
    "scaling": _RATE,
    "f_min": _BOUND,
    "alpha": Numbers(10.0, 200.0, refused=(0.0, -1.0, np.nan)),
    "estim_lr0": _POSITIVE,
    "estim_lr_coef": Numbers(0.5, 2.0, refused=(0.0, -1.0, np.nan)),
    "beta": Numbers(0.5, 0.95, refused=(-0.1, 1.0, np.nan)),
    "beta3": Numbers(0.5, 0.95, refused=(-0.1, 1.0, np.nan)),
    "lower_bound": _BOUND,
    "init_estim_sq_dist": _POSITIVE,
}
_CAPPED = {**_NUMBERS, "learning_rate": Numbers(0.3, 1.0, refused=(-1e-3, np.nan))}
_PROBLEMS = ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
# What has no learning rate is used as it is.
_AS_IT_IS: Any = dict.fromkeys(_PROBLEMS)
_ONE = dict.fromkeys(_PROBLEMS, 1.0)


def _to_rest(start: float) -> Any:
    """A rate that falls to 0 in as many updates as the law makes, for estimates that only grow."""
    lengths = dict(zip(_PROBLEMS, (300, 5000, 500, 500), strict=True))
    return {name: fnopt.linear_schedule(start, 0.0, n) for name, n in lengths.items()}


_CORNER = {"has_hypergradients": "it has a corner there: the distances compared are the same"}
_OWN = {"agrees_with_optax": "optax has no such function"}
_VALUE = {"lives_inside_train_state": "flax's TrainState hands no extra arguments on"}


def _row(name: str, variants: Any, **common: Any) -> list[Case]:
    common = {
        "peer": getattr(optax.contrib, name, None) or getattr(optax, name, None),
        "oracle": getattr(ratefree, name, None),
        "numbers": _NUMBERS,
        "rates": _ONE,
        **common,
    }
    return row(name, variants, **common)


_INNER = {"lives_inside_inject_hyperparams": TRANSFORMS["lives_inside_inject_hyperparams"]}
_NAMED_ALIKE = {
    **_INNER,
    "survives_tree_tools": "optax.tree.set sets the inner transform's number of a name as well",
}
_OF_MECHANIC = {
    **_NAMED_ALIKE,
    **dict.fromkeys(
        ("is_sharded_as_parameters", "shows_what_is_a_parameters"),
        "its scales, one for every decay, are vectors and no slots; test_ratefree sees to the rest",
    ),
}
_WARMED_UP = {
    f"takes_schedules_of_{kind}": "the length of a warm-up is no schedule"
    for kind in ("fnopt", "optax", "functions")
}
_EARLY = {"agrees_with_optax": "optax weighs each update by the rate of the next"}
_OPAQUE = {
    **_VALUE,
    "rests_at_zero_gradient": "the gradient that it takes itself is not 0 there",
}
_ASCENT = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.01))


def _optax_sam(*args: Any, **kwargs: Any) -> Any:
    """optax's, whose gradient function is given the number of the ascent."""
    tx = optax.contrib.sam(*args, **kwargs)

    def update(updates: Any, state: Any, params: Any, *, grad_fn: Any) -> Any:
        return tx.update(updates, state, params, grad_fn=lambda place, _: grad_fn(place))

    return optax.GradientTransformationExtraArgs(tx.init, update)


def _sam(gradient: Any, theta: Any, sync_period: int = 2, opaque_mode: bool = False, **_: Any):
    return ratefree.sam(
        gradient, theta, learning_rate=0.08, radius=0.01, steps=sync_period, whole=opaque_mode
    )


_FALLING = fnopt.linear_schedule(0.3, 0.2, 9)
_OF_SHARE = {
    "b1": Numbers(0.5, 1.0, refused=(0.0, -0.1, 1.1, np.nan)),
    "weight_lr_power": Numbers(0.0, 3.0, refused=(-1.0, np.nan)),
    "warmup_steps": Numbers(2.0, 9.0, refused=(-1.0, np.nan, np.inf)),
}
_ADAPTED = {"parabola": 0.5, "rosenbrock": 0.1, "matrix_bowl": 0.2, "noisy_quadratic": 0.5}
_SLOWLY = {"parabola": 0.5, "rosenbrock": 1e-3, "matrix_bowl": 0.2, "noisy_quadratic": 1.0}


_PENALTY = {"weight_decay": 0.01, "mask": matrices}

CASES: list[Case] = [
    *_row(
        "polyak_sgd",
        {"": {}, "eps": {"eps": 0.1}},
        needs=("value",),
        rates=_AS_IT_IS,
        not_applicable=_VALUE,
    ),
    *_row(
        "polyak_sgd",
        {"plus": {"variant": "sps+", "f_min": 1e-5}},
        needs=("value",),
        # Some of them above what the loss falls to.
        numbers={**_NUMBERS, "f_min": Numbers(0.1, 0.6)},
        rates=_AS_IT_IS,
        not_applicable=_VALUE,
    ),
    *_row(
        "polyak_sgd",
        {"scaled": {"scaling": 0.5}, "scheduled": {"scaling": fnopt.linear_schedule(1.0, 0.5, 4)}},
        needs=("value",),
        rates=_AS_IT_IS,
        not_applicable={
            **_VALUE,
            "agrees_with_optax": "optax measures the gradient after it has scaled it",
        },
    ),
    *_row(
        "scale_by_polyak",
        {"": {}},
        needs=("value",),
        rate=1.0,
        oracle=lambda gradient, theta, rate, **given: ratefree.polyak_sgd(
            gradient, theta, scaling=rate, **given
        ),
        not_applicable=_VALUE,
    ),
    *_row("cocob", {"": {}, "scheduled": {"learning_rate": halving(1.0), "weight_decay": 0.01}}),
    *_row("cocob", {"mask": _PENALTY}, oracle=masked(ratefree.cocob), not_applicable=FUNCTION),
    *_row(
        "scale_by_cocob",
        {"": {}},
        peer=optax.contrib._cocob.scale_by_cocob,
        oracle=ratefree.cocob,
        rates=_AS_IT_IS,
    ),
    *_row(
        "dadapt_adamw",
        {
            "": {},
            "near": {"estim_lr0": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.01},
            "scheduled": {"learning_rate": halving(1.0), "estim_lr0": 0.1},
        },
        rates=_to_rest(0.3),
    ),
    *_row(
        "dadapt_sgd",
        {"": {}},
        rates=_to_rest(0.3),
        not_applicable={**_OWN, **_CORNER},
    ),
    *_row(
        "dadapt_sgd",
        {
            "near": {"estim_lr0": 0.1, "momentum": 0.0, "weight_decay": 0.01},
            "scheduled": {"learning_rate": halving(1.0), "estim_lr0": 0.1},
        },
        rates=_to_rest(0.3),
        not_applicable=_OWN,
    ),
    *_row(
        "dadapt_lion",
        {
            "": {},
            "near": {"estim_lr0": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.01},
            "scheduled": {"learning_rate": halving(1.0), "estim_lr0": 0.1},
        },
        rates=_to_rest(0.3),
        not_applicable=_OWN,
    ),
    *_row(
        "prodigy",
        {
            "": {},
            "near": {"estim_lr0": 0.1, "betas": (0.8, 0.95), "weight_decay": 0.01},
            "beta3": {"estim_lr0": 0.1, "beta3": 0.8, "estim_lr_coef": 0.5},
            "scheduled": {"learning_rate": halving(1.0), "estim_lr0": 0.1},
        },
        rates=_to_rest(0.3),
    ),
    *_row(
        "prodigy",
        {"safeguard": {"estim_lr0": 0.1, "safeguard_warmup": True}},
        rates=_to_rest(1.0),
    ),
    *_row("dog", {"": {}}, not_applicable=_CORNER),
    *_row(
        "dog",
        {
            "distance": {
                "learning_rate": 0.7,
                "init_step": ("distance", 0.1),
                "weight_decay": 0.01,
            },
            "scheduled": {"learning_rate": halving(0.7), "init_step": ("heuristic", 0.1)},
        },
    ),
    *_row(
        "dog",
        {"learning_rate": {"init_step": ("learning_rate", 0.01)}},
        not_applicable={
            "survives_tree_tools": "optax.tree.set sets the first step's rate of this name as well"
        },
    ),
    *_row(
        "dog",
        {"mask": {"learning_rate": 0.7, **_PENALTY}},
        oracle=masked(ratefree.dog),
        not_applicable=FUNCTION,
    ),
    *_row(
        "scale_by_dog",
        {"": {"init_step": ("heuristic", 0.01)}},
        rate=1.0,
        peer=optax.contrib._dog.scale_by_dog,
        oracle=followed_by_step(ratefree.dog),
        not_applicable=_CORNER,
    ),
    *_row(
        "dowg",
        {
            "": {},
            "near": {"learning_rate": 0.7, "init_estim_sq_dist": 0.1, "weight_decay": 0.01},
            "scheduled": {"learning_rate": halving(1.0)},
        },
        rates=_to_rest(1.0),
    ),
    *_row(
        "dowg",
        {"mask": _PENALTY},
        oracle=masked(ratefree.dowg),
        rates=_to_rest(1.0),
        not_applicable=FUNCTION,
    ),
    *_row(
        "scale_by_dowg",
        {"": {}},
        rate=1.0,
        peer=optax.contrib._dog.scale_by_dowg,
        oracle=followed_by_step(ratefree.dowg),
        rates=_to_rest(1.0),
    ),
    *(
        case
        for name, decay in (("momo", "beta"), ("momo_adam", "b1"))
        for make in (partial(_row, name, needs=("value",), numbers=_CAPPED),)
        for case in (
            *make(
                {
                    "": {},
                    "bound": {decay: 0.5, "lower_bound": -1e-4, "adapt_lower_bound": True},
                    "scheduled": {"learning_rate": halving(1.0)},
                },
                not_applicable=_VALUE,
            ),
            *make(
                {
                    "decay": {"weight_decay": 0.01},
                    "both": {"weight_decay": 0.01, "adapt_lower_bound": True},
                },
                not_applicable={
                    **_VALUE,
                    "agrees_with_optax": "optax does not divide the step by the decay's divisor",
                },
            ),
        )
    ),
    *(
        Case(
            "mechanize",
            variant,
            args=(fnopt.adam(inner_rate),),
            kwargs=kwargs,
            numbers={**_NUMBERS, "s_init": _POSITIVE},
            peer=optax.contrib.mechanize,
            oracle=partial(ratefree.mechanize, inner_rate=inner_rate),
            rates=_AS_IT_IS,
            not_applicable=_OF_MECHANIC,
        )
        for variant, inner_rate, kwargs in (
            ("", 1.0, {}),
            ("near", 0.5, {"s_init": 1e-4, "weight_decay": 1e-3, "num_betas": 7}),
        )
    ),
    Case(
        "schedule_free",
        "",
        args=(fnopt.adam(0.2, b1=0.0), 0.2),
        numbers=_OF_SHARE,
        peer=optax.contrib.schedule_free,
        oracle=partial(ratefree.schedule_free_adamw, inner_rate=0.2),
        rates=_AS_IT_IS,
        not_applicable=_NAMED_ALIKE,
    ),
    Case(
        "schedule_free",
        "scheduled",
        args=(fnopt.adam(_FALLING, b1=0.0), _FALLING),
        numbers=_OF_SHARE,
        oracle=partial(ratefree.schedule_free_adamw, learning_rate=_FALLING),
        rates=_AS_IT_IS,
        not_applicable={**_NAMED_ALIKE, **_EARLY},
    ),
    *_row(
        "schedule_free_sgd",
        {"": {"learning_rate": 0.1}, "decay": {"learning_rate": 0.1, "weight_decay": 0.01}},
        numbers=_OF_SHARE,
        rates=_SLOWLY,
    ),
    *_row(
        "schedule_free_sgd",
        {"warmed_up": {"learning_rate": 0.1, "warmup_steps": 4, "b1": 0.5}},
        numbers=_OF_SHARE,
        rates=_SLOWLY,
        not_applicable={**_WARMED_UP, **_EARLY},
    ),
    *_row("schedule_free_adamw", {"": {}}, numbers=_OF_SHARE, rates=_ADAPTED),
    *_row(
        "schedule_free_adamw",
        {"warmed_up": {"learning_rate": 0.1, "warmup_steps": 4, "weight_decay": 0.01}},
        numbers=_OF_SHARE,
        rates=_ADAPTED,
        not_applicable={**_WARMED_UP, **_EARLY},
    ),
    *(
        Case(
            "sam",
            variant,
            args=(fnopt.adam(0.08), _ASCENT),
            kwargs=kwargs,
            needs=("grad_fn",) if kwargs.get("opaque_mode") else (),
            peer=_optax_sam if kwargs.get("opaque_mode") else optax.contrib.sam,
            oracle=_sam,
            rates=_AS_IT_IS,
            not_applicable={**_INNER, **(_OPAQUE if kwargs.get("opaque_mode") else {})},
        )
        for variant, kwargs in (
            ("", {}),
            ("opaque", {"opaque_mode": True}),
            ("thrice", {"sync_period": 3, "reset_state": False}),
            ("thrice_opaque", {"sync_period": 3, "reset_state": False, "opaque_mode": True}),
        )
    ),
]
