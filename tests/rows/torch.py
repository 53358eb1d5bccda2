"""torch's optimizers; that their numbers are torch's is shown beside torch, in test_torch_optim."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import ADAPTIVE, BY_GRADIENT, BY_MOMENTUM, BY_STEP, GROWING, Case, Numbers

import fnopt.compat.torch
from rows.layerwise import AXES, BY_SHARES

_SHARE = Numbers(0.1, 0.9, refused=(-0.1, 1.1, np.nan))
_FROM_0 = Numbers(0.1, 0.5, refused=(-0.1, np.nan))
_NUMBERS = {
    "lr": Numbers(1e-3, 3e-2, refused=(-1e-3, np.nan, np.inf)),
    "momentum": _SHARE,
    "dampening": Numbers(0.1, 0.9),
    "alpha": Numbers(0.5, 0.95, refused=(-0.1, np.nan)),
    "lambd": _FROM_0,
    "t0": _FROM_0,
    "lr_decay": _FROM_0,
    "momentum_decay": _FROM_0,
    "beta2_decay": Numbers(-0.9, -0.5, refused=(0.1, np.nan)),
    "d": Numbers(1.0, 1.5, refused=(0.9, np.nan)),
}
_SCHEDULES = [f"takes_schedules_of_{kind}" for kind in ("fnopt", "optax", "functions")]
_SMALL = Numbers(1e-9, 1e-7)
_LOOPS = {
    **dict.fromkeys(_SCHEDULES, "its tolerances are numbers alone"),
    "is_sharded_as_parameters": "its slots have one axis more; test_torch_lbfgs shows it",
    "rests_at_zero_gradient": "it takes the gradients of value_fn itself",
    "shows_what_is_a_parameters": "the products of its pairs are of all leaves together",
    "has_hypergradients": "its loops have no reverse mode",
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
}
_REAL = {"keeps_complex64": "it takes no complex parameters"}
_SLOW_IN_VALLEY = {**ADAPTIVE, "rosenbrock": 1.3e-3}
_MATRICES = {
    "has_hypergradients": "a finite difference sees the steps of bfloat16",
    **dict.fromkeys(
        [
            *_SCHEDULES,
            *(f"keeps_{d}" for d in ("float16", "bfloat16", "float32", "float64", "complex64")),
            *(f"descends_{problem}" for problem in ("parabola", "rosenbrock", "noisy_quadratic")),
            *(f"lives_inside_{host}" for host in ("chain", "masked", "multi_steps")),
            *(f"lives_inside_{host}" for host in ("inject_hyperparams", "nnx_optimizer")),
            "compiles_once",
            "ignores_unknown_arguments",
            "init_is_abstract",
            "is_sharded_as_parameters",
            "packs_parameters",
            "packs_slots",
            "jit_equals_eager",
            "lives_in_cond",
            "lives_inside_train_state",
            "refuses_a_foreign_state",
            "refuses_bad_trees",
            "rests_at_zero_gradient",
            "resumes_bit_for_bit_by_flax",
            "resumes_bit_for_bit_by_pickle",
            "shows_what_is_a_parameters",
            "takes_any_tree",
            "takes_frozen_leaves",
            "vmap_equals_loop",
        ],
        "it is for matrices alone; see test_torch_optim",
    ),
}
_ORACLE = {
    "agrees_with_oracle": "torch is the oracle, in test_torch_optim",
    "agrees_with_optax": "optax has other arguments, and other numbers",
}


def _row(name: str, rates: Any, variants: Any, **excused: str) -> list[Case]:
    common: dict[str, Any] = {"home": fnopt.compat.torch, "numbers": _NUMBERS}
    return [
        Case(name, label, kwargs=given, rates=rates, not_applicable=_ORACLE | excused, **common)
        for label, given in variants.items()
    ]


_LR = {"lr": 0.1}
CASES = [
    *_row("SGD", BY_GRADIENT, {"": _LR}),
    *_row(
        "SGD",
        BY_MOMENTUM,
        {
            "momentum": {"lr": 0.1, "momentum": 0.9},
            "dampened": {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
            "nesterov": {"lr": 0.1, "momentum": 0.8, "nesterov": True},
        },
    ),
    *_row(
        "ASGD",
        BY_GRADIENT,
        {"": {"lr": 0.1, "t0": 2.0}},
        rests_at_zero_gradient="it decays the weights by lambd",
    ),
    *_row(
        "Adam",
        ADAPTIVE,
        {
            "": _LR,
            "amsgrad": {"lr": 0.1, "amsgrad": True},
            "decoupled": {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
        },
    ),
    *_row("AdamW", ADAPTIVE, {"": {"lr": 0.1, "weight_decay": 0.0}}),
    *_row("Adamax", ADAPTIVE, {"": _LR}),
    *_row("Adadelta", BY_GRADIENT, {"": {"lr": 1.0, "eps": 0.01}}),
    *_row("Adafactor", BY_SHARES, {"": _LR}, **AXES, **_REAL),
    *_row("Adagrad", GROWING, {"": _LR}),
    *_row(
        "Adagrad",
        GROWING,
        {"decaying": {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.1}},
        **dict.fromkeys(_SCHEDULES, "its lr_decay is a schedule's number, not a schedule"),
    ),
    *_row(
        "NAdam",
        ADAPTIVE,
        {"": _LR, "decoupled": {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}},
    ),
    *_row(
        "RAdam",
        _SLOW_IN_VALLEY,
        {"": _LR, "decoupled": {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}},
    ),
    *_row(
        "RMSprop",
        BY_STEP,
        {
            "": {"lr": 0.1, "alpha": 0.9},
            "momentum": {"lr": 0.1, "momentum": 0.5},
            "centered": {"lr": 0.1, "centered": True},
        },
    ),
    *_row("Rprop", BY_STEP, {"": _LR}),
    Case(
        "LBFGS",
        "",
        kwargs={"lr": 0.5, "max_iter": 3, "history_size": 4},
        needs=("value_fn",),
        numbers=_NUMBERS | dict.fromkeys(("tolerance_grad", "tolerance_change"), _SMALL),
        rates={"parabola": 0.3, "rosenbrock": 1e-3, "matrix_bowl": 0.3, "noisy_quadratic": 0.3},
        not_applicable=_ORACLE | _LOOPS,
        home=fnopt.compat.torch,
    ),
    *_row("Muon", {"matrix_bowl": 1e-2}, {"": {"lr": 0.1, "weight_decay": 0.0}}, **_MATRICES),
]
