"""K-FAC."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import BY_GRADIENT, Case, Numbers, row
from oracles import kfac as oracles

_NAN = np.nan
_EXCEPTIONS = {
    "agrees_with_optax": "optax has no such method",
    "keeps_complex64": "its factors are of real parameters",
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
}
_EXACT = {
    **_EXCEPTIONS,
    "has_hypergradients": "eigenvectors of equal eigenvalues have no derivative",
}
_ROUNDED = {"is_sharded_as_parameters": "the inverses of factors of low rank enlarge roundings"}
_DRAWN = {**_EXCEPTIONS, **_ROUNDED, "agrees_with_oracle": "its factors are of random draws"}
_COMMON: dict[str, Any] = {
    "needs": ("layers",),
    "by_leaf": True,
    "numbers": {
        "learning_rate": Numbers(1e-2, 1e-1, refused=(-1e-3, _NAN, np.inf)),
        "damping": Numbers(0.1, 1.0, refused=(-0.1, _NAN)),
        "max_kl": Numbers(0.01, 0.1, refused=(0.0, _NAN)),
    },
}
_READY = {"learning_rate": 0.05, "damping": 0.1}
_DECAYS = {"rests_at_zero_gradient": "AdamW, which other leaves get, decays them"}
_RATES = {"parabola": 0.1, "rosenbrock": 0.01, "matrix_bowl": 0.1, "noisy_quadratic": 0.03}

CASES: list[Case] = [
    *row(
        "kfac",
        {"": {**_READY, "fisher": "exact", "momentum": 0.5}},
        **_COMMON,
        oracle=oracles.kfac,
        rates=_RATES,
        not_applicable={**_EXACT, **_DECAYS},
    ),
    *row(
        "kfac",
        {
            "eigh": {
                **_READY,
                "fisher": "exact",
                "solver": "eigh",
                "factor_interval": 2,
                "inverse_interval": 1,
                "max_kl": 0.01,
                "weight_decay": 0.01,
            }
        },
        **_COMMON,
        oracle=oracles.kfac,
        rates=_RATES,
        not_applicable={**_EXACT, **_ROUNDED, **_DECAYS},
    ),
    *row(
        "kfac",
        {"sampled": {**_READY, "likelihood": "normal", "inverse_interval": 3}},
        **_COMMON,
        rates=_RATES,
        not_applicable={**_DRAWN, **_DECAYS},
    ),
    *row(
        "scale_by_kfac",
        {"": {"damping": 0.1, "fisher": "exact"}},
        **_COMMON,
        rate=0.05,
        oracle=oracles.scale_by_kfac,
        rates=BY_GRADIENT,
        not_applicable=_EXACT,
    ),
    *row(
        "scale_by_kfac",
        {"sampled": {"damping": 0.1, "likelihood": "normal", "solver": "eigh"}},
        **_COMMON,
        rate=0.05,
        rates=BY_GRADIENT,
        not_applicable=_DRAWN,
    ),
]
