"""Adam in the eigenbases of matrices, and orthogonalized updates."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import ADAPTIVE, BY_GRADIENT, Case, Numbers, halving, row
from oracles import soap as oracles

_NUMBERS = {
    "init_factor": Numbers(0.05, 0.5, refused=(0.0, -0.1, np.nan)),
    "shampoo_beta": Numbers(0.5, 0.95, refused=(-0.1, 1.0, np.nan)),
}
_NO_PEER = {"agrees_with_optax": "optax has none"}
_TWICE = (
    "the law's gradient is twice the same, and all but the diagonal of it is rounding in its own"
    " bases; see test_matrix_soap.py"
)
_OF_PARTS = {
    **_NO_PEER,
    **{f"takes_schedules_of_{kind}": _TWICE for kind in ("fnopt", "optax", "functions")},
}
_OTHER = {"rests_at_zero_gradient": "AdamW decays the other leaves; its part rests"}
_BENT = {"has_hypergradients": "b2 near 1 bends the finite difference by 1.5e-5; see fresh"}


def _row(name: str, variants: dict[str, Any], *exceptions: dict[str, str]) -> list[Case]:
    given: dict[str, Any] = {"oracle": getattr(oracles, name), "rates": ADAPTIVE}
    excused = {**_OF_PARTS, **_OTHER}
    if name.startswith("scale_by_"):
        given.update(rate=0.01, rates={**BY_GRADIENT, "matrix_bowl": 0.03})
        excused = _OF_PARTS
    for more in exceptions:
        excused = {**excused, **more}
    return row(name, variants, numbers=_NUMBERS, by_leaf=True, not_applicable=excused, **given)


def _orthogonal(variants: dict[str, Any], **exceptions: str) -> list[Case]:
    return row(
        "scale_by_orthogonalization",
        variants,
        oracle=oracles.scale_by_orthogonalization,
        rate=0.01,
        by_leaf=True,
        rates={**BY_GRADIENT, "matrix_bowl": 0.03},
        not_applicable={**_NO_PEER, **exceptions},
    )


CASES: list[Case] = [
    *_row(
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
        {"vmap_equals_loop": "roundings grow in bases, and signs; see test_matrix_soap.py"},
    ),
    *_row(
        "scale_by_soap",
        {"": {}, "fresh": {"precondition_frequency": 1}},
        {"has_hypergradients": "a finite difference sees the roundings of bases; see soap"},
    ),
    *_row("kl_soap", {"": {"learning_rate": 0.01}}, _BENT),
    *_row(
        "kl_soap",
        {
            "fresh": {
                "learning_rate": 0.01,
                "b2": 0.9,
                "precondition_frequency": 1,
                "shampoo_beta": 0.9,
            },
            "one_sided": {
                "learning_rate": 0.01,
                "b2": 0.9,
                "max_precond_dim": 2,
                "staggered": False,
            },
        },
    ),
    *_row("scale_by_kl_soap", {"": {}, "fresh": {"precondition_frequency": 1}}, _BENT),
    *_orthogonal({"": {}}),
    *_orthogonal(
        {"exact": {"ns_coeffs": (2.0, -1.5, 0.5), "ns_steps": 12}},
        is_sharded_as_parameters="twelve iterations enlarge the roundings of sums in another order",
    ),
]
