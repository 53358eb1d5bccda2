"""Shampoo and grafting."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import ADAPTIVE, BY_GRADIENT, BY_MOMENTUM, Case, Numbers
from oracles import shampoo as oracles

import fnopt

_NUMBERS = {
    "b2": Numbers(0.5, 0.95, refused=(-0.1, 1.1, np.nan)),
    "matrix_eps": Numbers(1e-4, 1e-2, refused=(-1e-8, np.nan)),
    "diagonal_eps": Numbers(1e-4, 1e-2, refused=(-1e-8, np.nan)),
    "start": Numbers(1.0, 5.0, refused=(0.0, -1.0, np.nan)),
}
_NOT = {
    "agrees_with_optax": "optax has none",
}
_DIGITS = dict.fromkeys(
    ("vmap_equals_loop", "jit_equals_eager"),
    "a root of a nearly singular statistic has few digits in float32",
)
_OTHERS = {"rests_at_zero_gradient": "AdamW, which the other leaves get, decays the weights"}


def row(name: str, variants: dict[str, dict[str, Any]], **common: Any) -> list[Case]:
    """The cases of one method."""
    return [
        Case(name, variant, kwargs=kwargs, numbers=_NUMBERS, by_leaf=True, **common)
        for variant, kwargs in variants.items()
    ]


CASES: list[Case] = [
    *row(
        "shampoo",
        {"": {"learning_rate": 0.01}},
        oracle=oracles.shampoo,
        rates=ADAPTIVE,
        not_applicable=_NOT | _OTHERS | _DIGITS,
    ),
    *row(
        "shampoo",
        {
            "ridge": {"learning_rate": 0.01, "matrix_eps": 1e-2},
            "blocks": {
                "learning_rate": 0.01,
                "matrix_eps": 1e-2,
                "block_size": 2,
                "precondition_frequency": 3,
                "graft_type": "sgd",
                "method": "newton",
                "weight_decay": 0.1,
            },
            "one_sided": {
                "learning_rate": 0.01,
                "one_sided": True,
                "graft_type": "adagrad",
                "staggered": False,
                "start": 3,
            },
            "rmsprop": {
                "learning_rate": 0.01,
                # Near 1 it bends the finite difference of hypergradients.
                "b2": 0.9,
                "matrix_eps": 1e-2,
                "graft_type": "rmsprop",
                "exponent_override": 3,
            },
        },
        oracle=oracles.shampoo,
        rates=ADAPTIVE,
        not_applicable=_NOT | _OTHERS,
    ),
    *row(
        "scale_by_shampoo",
        {"": {}},
        rate=0.01,
        oracle=oracles.scale_by_shampoo,
        rates=BY_GRADIENT,
        not_applicable=_NOT | _DIGITS,
    ),
    *row(
        "scale_by_shampoo",
        {
            "newton": {
                "matrix_eps": 1e-2,
                "method": "newton",
                "block_size": 2,
                "precondition_frequency": 2,
            }
        },
        rate=0.01,
        oracle=oracles.scale_by_shampoo,
        rates=BY_GRADIENT,
        not_applicable=_NOT,
    ),
    *row(
        "scale_by_shampoo",
        {"sums": {"b2": 1.0, "matrix_eps": 1e-2, "precondition_frequency": 1}},
        rate=0.01,
        oracle=oracles.scale_by_shampoo,
        rates=BY_GRADIENT,
        not_applicable=_NOT
        | {"has_hypergradients": "below a decay of 1 the statistics are averages, not sums"},
    ),
    Case(
        "grafted",
        "",
        args=(fnopt.scale_by_sign(), fnopt.trace(0.9)),
        numbers=_NUMBERS,
        rate=0.01,
        by_leaf=True,
        oracle=oracles.sign_of_momentum_length,
        rates=BY_MOMENTUM,
        not_applicable={
            "agrees_with_optax": "optax has none",
            "lives_inside_inject_hyperparams": "its arguments are transforms, not numbers",
        },
    ),
]
