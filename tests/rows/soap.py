"""Adam in the eigenbases of matrices, and orthogonalized updates."""

from __future__ import annotations

import numpy as np
from cases import ADAPTIVE, BY_GRADIENT, Case, Numbers, halving, row
from oracles import soap as oracles

_NUMBERS = {"init_factor": Numbers(0.05, 0.5, refused=(0.0, -0.1, np.nan))}
_SIDES = {"is_sharded_as_parameters": "statistics and bases of sides do not lie as a parameter"}
_COMMON = {"numbers": _NUMBERS, "by_leaf": True, "rates": ADAPTIVE, "not_applicable": _SIDES}

CASES: list[Case] = [
    *row(
        "soap",
        {
            "": {"learning_rate": 0.01},
            "fresh": {"learning_rate": 0.01, "precondition_frequency": 1},
            "normalized": {
                "learning_rate": 0.01,
                "precondition_frequency": 3,
                "normalize_grads": True,
                "staggered": False,
                "shampoo_beta": 0.9,
            },
            "one_sided": {"learning_rate": halving(0.1), "max_precond_dim": 2},
        },
        oracle=oracles.soap,
        **_COMMON,
    ),
    *row(
        "scale_by_soap",
        {"": {}, "fresh": {"precondition_frequency": 1}},
        oracle=oracles.part(oracles.Soap),
        rate=0.01,
        **_COMMON,
    ),
    *row(
        "kl_soap",
        {
            "": {"learning_rate": 0.01},
            "fresh": {"learning_rate": 0.01, "precondition_frequency": 1, "shampoo_beta": 0.9},
            "one_sided": {"learning_rate": 0.01, "max_precond_dim": 2, "staggered": False},
        },
        oracle=oracles.kl_soap,
        **_COMMON,
    ),
    *row(
        "scale_by_kl_soap",
        {"": {}, "fresh": {"precondition_frequency": 1}},
        oracle=oracles.part(oracles.KLSoap),
        rate=0.01,
        **_COMMON,
    ),
    *row(
        "scale_by_orthogonalization",
        {"": {}, "long": {"ns_steps": 8}},
        oracle=oracles.part(oracles.Orthogonal),
        rate=0.01,
        by_leaf=True,
        rates=BY_GRADIENT,
    ),
]
