"""Sign methods and layer-wise methods, and their parts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from cases import (
    ADAPTIVE,
    BY_GRADIENT,
    BY_MOMENTUM,
    BY_STEP,
    BY_UNITS,
    FUNCTION,
    GROWING,
    NARROW,
    Case,
    Numbers,
    after,
    followed_by_step,
    halving,
    masked,
    matrices,
    row,
)
from oracles import layerwise

import fnopt


def _slower(decay_step: Any, decay_rate: Any) -> Any:
    """Another decay of the second moment than the paper's."""
    return 0.9 - 0.5 * (decay_step + 1) ** -decay_rate


SCALARS = {"shows_what_is_a_parameters": "its slots are scalars, one a leaf"}
NO_CROSSING = {
    "descends_rosenbrock": "a lone weight's steps are a share of it, and never take it past 0"
}
SHRINKING = {"rests_at_zero_gradient": "it shrinks the weights without a gradient too"}
DECAYING = {"rests_at_zero_gradient": "its decay is not called weight_decay, and goes on"}
NEAR_1 = {"has_hypergradients": "a finite difference at b3 = 0.9999 takes it to 1"}
AXES = {"is_sharded_as_parameters": "its slots lack axes of their parameters"}
BLOCKS = {**AXES, "shows_what_is_a_parameters": "of a vector a slot is a scalar"}
WITHOUT_PEER = {"agrees_with_optax": "optax has no such method"}
BY_VALUE = {"lives_inside_train_state": "flax's TrainState hands no extra arguments on"}

_SHARE = Numbers(0.5, 0.95, refused=(-0.1, 1.0, np.nan))
_COEFFICIENT = Numbers(0.1, 1.0, refused=(-0.1, np.nan))
_ABOVE_0 = Numbers(0.5, 2.0, refused=(-1.0, 0.0, np.nan))
_LEAST = Numbers(1e-4, 1e-2, refused=(-1e-3, np.nan))
_TINY = Numbers(1e-8, 1e-4, refused=(-1e-8, 0.0, np.nan))
_FACTORED = {
    "decay_rate": Numbers(0.5, 1.0, refused=(-0.8, 0.0, np.nan)),
    "step_offset": Numbers(0.0, 3.0, refused=(-1.0, np.nan)),
    "decay_offset": Numbers(0.0, 3.0, refused=(-1.0, np.nan)),
    "epsilon": _TINY,
    "eps": _TINY,
    "clipping_threshold": _ABOVE_0,
    "weight_decay_rate": Numbers(1e-4, 1e-2, refused=(-1e-3, np.nan)),
}
_RPROP = {
    "eta_minus": Numbers(0.3, 0.7, refused=(0.0, 1.0, np.nan)),
    "eta_plus": Numbers(1.1, 1.5, refused=(1.0, np.nan)),
    "min_step_size": Numbers(1e-7, 1e-5, refused=(-1e-7, np.inf, np.nan)),
    "max_step_size": Numbers(1.0, 9.0, refused=(0.0, np.nan)),
}
_PROJECTED = {"delta": _COEFFICIENT, "wd_ratio": _COEFFICIENT, "momentum": _SHARE}
_CAME = {
    "b3": _SHARE,
    "eps1": _TINY,
    "eps2": Numbers(1e-4, 1e-2, refused=(0.0, np.nan)),
    "clipping_threshold": _ABOVE_0,
}

# Steps of the same length for ever never come to rest.
BY_SIGN: dict[str, Any] = {
    "parabola": fnopt.linear_schedule(0.1, 0.0, 250),
    "rosenbrock": fnopt.linear_schedule(2e-3, 0.0, 5000),
    "matrix_bowl": fnopt.linear_schedule(0.02, 0.0, 500),
    "noisy_quadratic": fnopt.linear_schedule(0.05, 0.0, 500),
}
BY_BOUNDED_SIGN = {**BY_GRADIENT, "parabola": 1.0}
BY_FIRST_STEP = {"parabola": 0.1, "rosenbrock": 0.01, "matrix_bowl": 0.1, "noisy_quadratic": 0.1}
RELATIVE = {"parabola": 0.02, "rosenbrock": 1e-3, "matrix_bowl": 0.01, "noisy_quadratic": 0.02}

BY_SHARES = {"parabola": 0.3, "rosenbrock": 0.01, "matrix_bowl": 0.01, "noisy_quadratic": 0.02}
BY_LEAST_STEP = {
    "parabola": 0.3,
    "rosenbrock": 5e-3,
    "matrix_bowl": 0.02,
    "noisy_quadratic": 0.02,
}
BY_WEIGHTS = {"parabola": 0.1, "rosenbrock": 3e-3, "matrix_bowl": 0.03, "noisy_quadratic": 0.3}
BY_LOCAL_RATE = {**BY_UNITS, "rosenbrock": 3.0}
PARTLY_LOCAL = {"parabola": 0.01, "rosenbrock": 1e-3, "matrix_bowl": 1.0, "noisy_quadratic": 0.03}

CASES: list[Case] = [
    # By signs, weight by weight.
    *row("sign_sgd", {"": {"learning_rate": 0.01}}, oracle=layerwise.sign_sgd, rates=BY_SIGN),
    *row(
        "sign_sgd",
        {"scheduled": {"learning_rate": halving(0.1)}},
        oracle=layerwise.sign_sgd,
        rates=BY_SIGN,
    ),
    *row(
        "scale_by_sign",
        {"": {}},
        rate=0.01,
        oracle=after(lambda g, theta: np.sign(g)),
        rates=BY_SIGN,
    ),
    *row(
        "signum",
        {"": {"learning_rate": 0.01}},
        numbers={"beta": _SHARE},
        oracle=layerwise.signum,
        rates=BY_SIGN,
    ),
    *row(
        "signum",
        {"narrow": {"learning_rate": 0.01, "accumulator_dtype": "bfloat16"}},
        numbers={"beta": _SHARE},
        rates=BY_SIGN,
        not_applicable=NARROW,
    ),
    *row("lion", {"": {"learning_rate": 0.01}}, oracle=layerwise.lion, rates=BY_SIGN),
    *row(
        "lion",
        {"mask": {"learning_rate": 0.01, "weight_decay": 0.1, "mask": matrices}},
        oracle=masked(layerwise.lion),
        rates=BY_SIGN,
        not_applicable=FUNCTION,
    ),
    *row(
        "scale_by_lion",
        {"": {}},
        rate=0.01,
        numbers={"smooth_beta": _ABOVE_0},
        oracle=followed_by_step(partial(layerwise.lion, weight_decay=0.0)),
        rates=BY_SIGN,
    ),
    *row(
        "scale_by_lion",
        {"smooth": {"mode": "smooth"}, "refined": {"mode": "refined"}},
        rate=0.01,
        numbers={"smooth_beta": _ABOVE_0},
        oracle=followed_by_step(partial(layerwise.lion, weight_decay=0.0)),
        rates=BY_BOUNDED_SIGN,
    ),
    *row(
        "rprop",
        {
            "": {"learning_rate": 0.1},
            "rprop_plus": {"learning_rate": 0.1, "variant": "rprop+"},
            "rprop_minus": {"learning_rate": 0.1, "variant": "rprop-"},
        },
        numbers=_RPROP,
        oracle=layerwise.rprop,
        rates=BY_FIRST_STEP,
        not_applicable={"agrees_with_optax": "optax's is one update late"},
    ),
    *row(
        "rprop",
        {"irprop_plus": {"learning_rate": 0.1, "variant": "irprop+"}},
        needs=("value",),
        numbers=_RPROP,
        oracle=layerwise.rprop,
        rates=BY_FIRST_STEP,
        not_applicable={**BY_VALUE, "agrees_with_optax": "optax has not this variant"},
    ),
    *row(
        "scale_by_rprop",
        {"": {"learning_rate": 0.1}},
        rate=1.0,
        numbers=_RPROP,
        oracle=layerwise.rprop,
        rates=dict.fromkeys(BY_FIRST_STEP, 1.0),
        not_applicable={"agrees_with_optax": "optax's is one update late"},
    ),
    *row(
        "quickprop",
        {"": {"learning_rate": 0.01}},
        numbers={"mu": _ABOVE_0},
        oracle=layerwise.quickprop,
        rates={"parabola": 0.1, "rosenbrock": 1e-4, "matrix_bowl": 0.01, "noisy_quadratic": 0.1},
        not_applicable={
            **WITHOUT_PEER,
            "keeps_complex64": "complex slopes have no sign; they are refused",
            "descends_noisy_quadratic": "a secant of two noisy slopes is noise; it is for batches",
        },
    ),
    # By layers.
    *row(
        "scale_by_trust_ratio",
        {"": {}},
        rate=0.01,
        numbers={"min_norm": _LEAST, "trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.of_layer(layerwise.trust_ratio),
        rates=RELATIVE,
        not_applicable=NO_CROSSING,
    ),
    *row(
        "scale_by_trust_ratio",
        {"min_norm": {"min_norm": 0.1, "trust_coefficient": 0.5, "eps": 1e-3}},
        rate=0.01,
        numbers={"min_norm": _LEAST, "trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.of_layer(layerwise.trust_ratio),
        rates=BY_LEAST_STEP,
    ),
    *row(
        "scale_by_trust_ratio",
        {"mask": {"mask": matrices}},
        rate=0.01,
        numbers={"min_norm": _LEAST, "trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.of_layer(layerwise.trust_ratio),
        rates={**BY_GRADIENT, "matrix_bowl": 0.01},
        not_applicable={**FUNCTION, "agrees_with_optax": "optax's takes no mask"},
    ),
    *row(
        "scale_by_param_block_norm",
        {"": {}},
        rate=0.05,
        numbers={"min_scale": _LEAST},
        by_leaf=True,
        oracle=layerwise.of_layer(layerwise.block_norm),
        rates=BY_WEIGHTS,
    ),
    *row(
        "scale_by_param_block_rms",
        {"": {}},
        rate=0.05,
        numbers={"min_scale": _LEAST},
        by_leaf=True,
        oracle=layerwise.of_layer(layerwise.block_rms),
        rates=BY_WEIGHTS,
    ),
    *row(
        "clip_by_block_rms",
        {"": {"threshold": 0.5}},
        rate=0.1,
        numbers={"threshold": _ABOVE_0},
        by_leaf=True,
        oracle=layerwise.of_layer(layerwise.clip_rms),
        rates={**BY_GRADIENT, "rosenbrock": 2e-3},
    ),
    *row(
        "fromage",
        {"": {"learning_rate": 0.01}},
        numbers={"min_norm": _LEAST},
        by_leaf=True,
        oracle=layerwise.fromage,
        rates=RELATIVE,
        not_applicable={**SHRINKING, **NO_CROSSING},
    ),
    *row(
        "fromage",
        {"scheduled": {"learning_rate": halving(0.1)}},
        numbers={"min_norm": _LEAST},
        by_leaf=True,
        oracle=layerwise.fromage,
        rates=RELATIVE,
        not_applicable={**SHRINKING, **NO_CROSSING},
    ),
    *row(
        "lars",
        {"": {"learning_rate": 0.1}},
        numbers={"trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.lars,
        rates=BY_LOCAL_RATE,
    ),
    *row(
        "lars",
        {"nesterov": {"learning_rate": 0.1, "trust_coefficient": 0.02, "nesterov": True}},
        numbers={"trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.lars,
        rates={**BY_UNITS, "rosenbrock": 0.3},
    ),
    *row(
        "lars",
        {"decay": {"learning_rate": 0.1, "weight_decay": 1e-3, "eps": 1e-3}},
        numbers={"trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.lars,
        rates=BY_LOCAL_RATE,
        not_applicable={"agrees_with_optax": "optax has the norm of the sum"},
    ),
    *row(
        "lars",
        {
            "mask": {
                "learning_rate": 0.01,
                "weight_decay": 1e-3,
                "weight_decay_mask": matrices,
                "trust_ratio_mask": matrices,
            },
            "trust_ratio_mask": {
                "learning_rate": 0.01,
                "weight_decay": 1e-3,
                "trust_ratio_mask": matrices,
            },
        },
        numbers={"trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.lars,
        rates=PARTLY_LOCAL,
        not_applicable={**FUNCTION, "agrees_with_optax": "optax has the norm of the sum"},
    ),
    *row(
        "lars",
        {
            "weight_decay_mask": {
                "learning_rate": 0.01,
                "weight_decay": 0.1,
                "weight_decay_mask": matrices,
            }
        },
        numbers={"trust_coefficient": _COEFFICIENT},
        by_leaf=True,
        oracle=layerwise.lars,
        rates=BY_LOCAL_RATE,
        not_applicable={**FUNCTION, "agrees_with_optax": "optax has the norm of the sum"},
    ),
    *row(
        "lamb",
        {
            "": {"learning_rate": 0.01},
            "decay": {"learning_rate": 0.01, "weight_decay": 0.01, "eps_root": 1e-3},
        },
        by_leaf=True,
        oracle=layerwise.lamb,
        rates=RELATIVE,
        not_applicable=NO_CROSSING,
    ),
    *row(
        "lamb",
        {"mask": {"learning_rate": 0.01, "weight_decay": 0.1, "mask": matrices}},
        by_leaf=True,
        oracle=layerwise.lamb,
        rates=RELATIVE,
        not_applicable={**FUNCTION, **NO_CROSSING},
    ),
    *row(
        "novograd",
        {"": {"learning_rate": 0.01}, "decay": {"learning_rate": 0.01, "weight_decay": 0.01}},
        by_leaf=True,
        oracle=layerwise.novograd,
        rates=BY_STEP,
        not_applicable=SCALARS,
    ),
    *row(
        "scale_by_novograd",
        {"": {}},
        rate=0.01,
        by_leaf=True,
        oracle=followed_by_step(partial(layerwise.novograd, eps=1e-8)),
        rates=BY_STEP,
        not_applicable=SCALARS,
    ),
    *row(
        "scale_by_novograd",
        {"narrow": {"mu_dtype": "bfloat16"}},
        rate=0.01,
        rates=BY_STEP,
        not_applicable={**SCALARS, **NARROW},
    ),
    *row(
        "sm3",
        {"": {"learning_rate": 0.1}},
        by_leaf=True,
        oracle=layerwise.sm3,
        rates=GROWING,
        not_applicable={
            **AXES,
            "agrees_with_optax": "optax's takes no scalar; test_layerwise compares the others",
        },
    ),
    *row(
        "scale_by_sm3",
        {"": {}},
        rate=0.1,
        by_leaf=True,
        numbers={"b2": Numbers(0.5, 0.95, refused=(-0.1, 1.1, np.nan))},
        oracle=lambda *args, b1, rate, **given: layerwise.sm3(
            *args, learning_rate=rate, momentum=b1, **given
        ),
        rates=GROWING,
        not_applicable={
            **AXES,
            "agrees_with_optax": "optax's takes no scalar; test_layerwise compares the others",
            "has_hypergradients": "at 1 it sums, at any less it averages: b2 jumps there",
        },
    ),
    *row(
        "scale_by_sm3",
        {"average": {"b2": 0.9}},
        rate=0.1,
        by_leaf=True,
        numbers={"b2": Numbers(0.5, 0.95, refused=(-0.1, 1.1, np.nan))},
        oracle=lambda *args, b1, rate, **given: layerwise.sm3(
            *args, learning_rate=rate, momentum=b1, **given
        ),
        rates=BY_STEP,
        not_applicable={
            **AXES,
            "agrees_with_optax": "optax's takes no scalar; test_layerwise compares the others",
        },
    ),
    *row(
        "adafactor",
        {
            "": {"learning_rate": 0.1, "min_dim_size_to_factor": 128},
            "absolute": {
                "learning_rate": 0.01,
                "multiply_by_parameter_scale": False,
                "clipping_threshold": None,
                "min_dim_size_to_factor": 128,
            },
        },
        by_leaf=True,
        numbers=_FACTORED,
        oracle=layerwise.adafactor,
        rates=BY_SHARES,
    ),
    *row(
        "adafactor",
        {
            "momentum": {
                "learning_rate": 0.1,
                "momentum": 0.9,
                "weight_decay_rate": 1e-3,
                "dtype_momentum": None,
                "min_dim_size_to_factor": 128,
            },
        },
        by_leaf=True,
        numbers=_FACTORED,
        oracle=layerwise.adafactor,
        rates=BY_SHARES,
        not_applicable=DECAYING,
    ),
    *row(
        "adafactor",
        {
            "mask": {
                "learning_rate": 0.1,
                "weight_decay_rate": 1e-3,
                "weight_decay_mask": matrices,
                "min_dim_size_to_factor": 128,
            }
        },
        by_leaf=True,
        numbers=_FACTORED,
        oracle=layerwise.adafactor,
        rates=BY_SHARES,
        not_applicable={**FUNCTION, **DECAYING},
    ),
    *row(
        "adafactor",
        {"factored": {"learning_rate": 0.1, "min_dim_size_to_factor": 2}},
        by_leaf=True,
        numbers=_FACTORED,
        oracle=layerwise.adafactor,
        rates=BY_SHARES,
        not_applicable=AXES,
    ),
    *row(
        "scale_by_factored_rms",
        {
            "": {"min_dim_size_to_factor": 128},
            "whole": {"factored": False, "min_dim_size_to_factor": 128},
        },
        rate=0.01,
        by_leaf=True,
        numbers=_FACTORED,
        oracle=layerwise.factored_rms,
        rates=BY_STEP,
    ),
    *row(
        "scale_by_factored_rms",
        {"factored": {"min_dim_size_to_factor": 2}},
        rate=0.01,
        by_leaf=True,
        numbers=_FACTORED,
        oracle=layerwise.factored_rms,
        rates=BY_STEP,
        not_applicable=AXES,
    ),
    *row(
        "scale_by_factored_rms",
        {"decay_rate_fn": {"decay_rate_fn": _slower, "min_dim_size_to_factor": 128}},
        rate=0.01,
        by_leaf=True,
        numbers=_FACTORED,
        oracle=layerwise.factored_rms,
        rates=BY_STEP,
        not_applicable=FUNCTION,
    ),
    *row(
        "came",
        {"": {"learning_rate": 1e-3}},
        by_leaf=True,
        numbers=_CAME,
        oracle=layerwise.came,
        rates={**BY_STEP, "rosenbrock": 0.01, "matrix_bowl": 1e-3},
        not_applicable={**WITHOUT_PEER, **AXES, **NEAR_1},
    ),
    *row(
        "came",
        {"decay": {"learning_rate": 1e-3, "weight_decay": 1e-3, "b3": 0.9}},
        by_leaf=True,
        numbers=_CAME,
        oracle=layerwise.came,
        rates={**BY_STEP, "rosenbrock": 0.01, "matrix_bowl": 1e-3},
        not_applicable={**WITHOUT_PEER, **AXES},
    ),
    *row(
        "came",
        {"mask": {"learning_rate": 1e-3, "b3": 0.9, "weight_decay": 0.1, "mask": matrices}},
        by_leaf=True,
        numbers=_CAME,
        oracle=layerwise.came,
        rates={**BY_STEP, "rosenbrock": 0.01, "matrix_bowl": 1e-3},
        not_applicable={**WITHOUT_PEER, **AXES, **FUNCTION},
    ),
    *row(
        "scale_by_came",
        {"": {}},
        rate=1e-3,
        by_leaf=True,
        numbers=_CAME,
        oracle=followed_by_step(layerwise.came),
        rates={**BY_STEP, "rosenbrock": 0.01, "matrix_bowl": 1e-3},
        not_applicable={**WITHOUT_PEER, **AXES, **NEAR_1},
    ),
    *row(
        "adam_mini",
        {"": {"learning_rate": 0.01}},
        by_leaf=True,
        oracle=layerwise.adam_mini,
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **SCALARS},
    ),
    *row(
        "adam_mini",
        {
            "rows": {"learning_rate": 0.01, "block_axis": 0},
            "columns": {"learning_rate": 0.01, "block_axis": -1},
        },
        by_leaf=True,
        oracle=layerwise.adam_mini,
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **BLOCKS},
    ),
    *row(
        "adam_mini",
        {"mask": {"learning_rate": 0.01, "weight_decay": 0.1, "mask": matrices}},
        by_leaf=True,
        oracle=layerwise.adam_mini,
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **SCALARS, **FUNCTION},
    ),
    *row(
        "adam_mini",
        {"narrow": {"learning_rate": 0.01, "mu_dtype": "bfloat16"}},
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **SCALARS, **NARROW},
    ),
    *row(
        "scale_by_adam_mini",
        {"": {}},
        rate=0.01,
        by_leaf=True,
        oracle=followed_by_step(partial(layerwise.adam_mini, weight_decay=0.0)),
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **SCALARS},
    ),
    *row(
        "stable_adamw",
        {"": {"learning_rate": 0.01}, "clipped": {"learning_rate": 0.01, "b2": 0.5}},
        by_leaf=True,
        numbers={"clipping_threshold": _ABOVE_0},
        oracle=layerwise.stable_adamw,
        rates=ADAPTIVE,
        not_applicable=WITHOUT_PEER,
    ),
    *row(
        "stable_adamw",
        {"mask": {"learning_rate": 0.01, "weight_decay": 0.1, "mask": matrices}},
        by_leaf=True,
        numbers={"clipping_threshold": _ABOVE_0},
        oracle=layerwise.stable_adamw,
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **FUNCTION},
    ),
    *row(
        "stable_adamw",
        {"narrow": {"learning_rate": 0.01, "mu_dtype": "bfloat16"}},
        numbers={"clipping_threshold": _ABOVE_0},
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **NARROW},
    ),
    *row(
        "adamp",
        {
            "": {"learning_rate": 0.01},
            "decay": {"learning_rate": 0.01, "weight_decay": 0.01, "delta": 0.5},
            "rows": {"learning_rate": 0.01, "weight_decay": 0.01, "delta": 1.0, "channel_axis": 0},
            "nesterov": {"learning_rate": 0.01, "nesterov": True},
        },
        by_leaf=True,
        numbers=_PROJECTED,
        oracle=layerwise.adamp,
        rates=ADAPTIVE,
        not_applicable=WITHOUT_PEER,
    ),
    *row(
        "adamp",
        {"mask": {"learning_rate": 0.01, "weight_decay": 0.1, "mask": matrices}},
        by_leaf=True,
        numbers=_PROJECTED,
        oracle=layerwise.adamp,
        rates=ADAPTIVE,
        not_applicable={**WITHOUT_PEER, **FUNCTION},
    ),
    *row(
        "sgdp",
        {
            "": {"learning_rate": 0.01},
            "decay": {"learning_rate": 0.01, "weight_decay": 1e-3, "delta": 0.5},
            "nesterov": {"learning_rate": 0.01, "nesterov": True},
        },
        by_leaf=True,
        numbers=_PROJECTED,
        oracle=layerwise.sgdp,
        rates=BY_MOMENTUM,
        not_applicable=WITHOUT_PEER,
    ),
    *row(
        "sgdp",
        {"mask": {"learning_rate": 0.01, "weight_decay": 1e-3, "mask": matrices}},
        by_leaf=True,
        numbers=_PROJECTED,
        oracle=layerwise.sgdp,
        rates=BY_MOMENTUM,
        not_applicable={**WITHOUT_PEER, **FUNCTION},
    ),
]
