"""PSGD with Kronecker factors."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import ADAPTIVE, BY_GRADIENT, NARROW, Case, Numbers, halving, row
from oracles import psgd as oracles

_EXCEPTIONS = {
    "agrees_with_optax": "optax has none",
}
_OTHERS = {"rests_at_zero_gradient": "AdamW, which the other leaves get, decays the weights"}
_NUMBERS = {
    "preconditioner_update_probability": Numbers(0.3, 0.9, refused=(-0.1, 1.1, np.nan)),
    "precond_lr": Numbers(0.02, 0.2, refused=(-0.1, np.nan, np.inf)),
    "precond_init_scale": Numbers(0.5, 3.0, refused=(0.0, -1.0, np.nan, np.inf)),
    "clip_update_rms": Numbers(0.5, 2.0, refused=(0.0, -1.0, np.nan)),
}
_COMMON: dict[str, Any] = {
    "numbers": _NUMBERS,
    "by_leaf": True,
    "rates": ADAPTIVE,
    "not_applicable": {**_EXCEPTIONS, **_OTHERS},
}

CASES: list[Case] = [
    *row(
        "psgd_kron",
        {
            "": {"learning_rate": 0.01},
            "seldom": {
                "learning_rate": halving(0.1),
                "preconditioner_update_probability": 0.5,
                "memory_save_mode": "one_diag",
                "weight_decay": 0.01,
                "seed": 3,
            },
            "gradient": {
                "learning_rate": 0.01,
                "momentum_into_precond_update": False,
                "normalize_grads": True,
                "memory_save_mode": "all_diag",
            },
        },
        oracle=oracles.psgd_kron,
        **_COMMON,
    ),
    *row(
        "psgd_kron",
        {"narrow": {"learning_rate": 0.01, "mu_dtype": "bfloat16", "precond_dtype": "bfloat16"}},
        **{**_COMMON, "not_applicable": {**NARROW, **_EXCEPTIONS, **_OTHERS}},
    ),
    *row(
        "scale_by_psgd_kron",
        {
            "": {},
            "small": {"max_size_triangular": 2, "clip_update_rms": None},
        },
        oracle=oracles.scale_by_psgd_kron,
        rate=0.01,
        **{
            **_COMMON,
            "rates": {**ADAPTIVE, "rosenbrock": BY_GRADIENT["rosenbrock"]},
            "not_applicable": _EXCEPTIONS,
        },
    ),
]
