"""Muon and its relatives."""

from __future__ import annotations

from typing import Any

import jax
import optax.contrib
import optax.contrib._muon
from cases import _AVERAGE, Case, Numbers, matrices
from oracles import muon as oracles

_SMALL = Numbers(1e-4, 1e-2, refused=(-1e-8, float("nan")))
_NUMBERS = {
    "beta": _AVERAGE,
    "adam_b1": _AVERAGE,
    "adam_b2": _AVERAGE,
    "adam_eps_root": _SMALL,
    "adam_weight_decay": Numbers(1e-3, 1e-1, refused=(-1e-3, float("nan"))),
    "adam_learning_rate": Numbers(1e-3, 3e-2, refused=(-1e-3, float("nan"))),
    "consistent_rms": Numbers(0.1, 0.4, refused=(-0.1, float("nan"))),
}
_SIGNS = {"has_hypergradients": "a number may change a sign, and the step by a jump"}
_OTHERS = {"rests_at_zero_gradient": "AdamW, which the other leaves get, decays the weights"}
_RATES = {"parabola": 0.1, "rosenbrock": 0.01, "matrix_bowl": 0.03, "noisy_quadratic": 0.03}
_OF_PARTS = {**_RATES, "rosenbrock": 1e-3, "noisy_quadratic": 0.1}


def _of_matrices(make: Any) -> Any:
    """optax's part for the leaves of two axes, which it does not choose itself."""

    def numbers(params: Any) -> Any:
        return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(), params)

    return lambda **kw: optax.masked(make(weight_dimension_numbers=numbers, **kw), matrices)


_PEERS = {
    "muon": optax.contrib.muon,
    "scale_by_muon": _of_matrices(optax.contrib.scale_by_muon),
    "scale_by_shape": _of_matrices(optax.contrib._muon.scale_by_shape),
}


def row(name: str, oracle: Any, variants: dict[str, dict[str, Any]], **common: Any) -> list[Case]:
    """The cases of one method; its peer is optax's of the same name, if there is one."""
    common = {"peer": _PEERS.get(name), **common}
    common["not_applicable"] = {
        **({} if common["peer"] else {"agrees_with_optax": "optax has none"}),
        **common.get("not_applicable", {}),
    }
    part = name.startswith("scale_by_")
    common |= {"rate": 0.02, "rates": _OF_PARTS} if part else {"rates": _RATES}
    return [
        Case(
            name,
            variant,
            kwargs=kwargs if part else {"learning_rate": 0.02, **kwargs},
            numbers=_NUMBERS,
            oracle=oracle,
            by_leaf=True,
            **common,
        )
        for variant, kwargs in variants.items()
    ]


CASES: list[Case] = [
    *row(
        "muon",
        oracles.muon,
        {
            "": {},
            "rms": {"consistent_rms": 0.2, "weight_decay": 0.1, "adam_learning_rate": 0.03},
            "schatten": {"preconditioning": "schatten", "nesterov": False},
        },
    ),
    *row(
        "scale_by_muon",
        oracles.scale_by_muon,
        {"": {}, "aol": {"preconditioning": "aol", "adaptive": True}},
    ),
    *row(
        "scale_by_shape",
        oracles.scale_by_shape,
        {"": {}, "rms": {"consistent_rms": 0.2}},
    ),
    *row(
        "normuon",
        oracles.optimizer(oracles.scale_by_normuon),
        {"": {}, "program": {"nesterov": True, "consistent_rms": None, "weight_decay": 0.1}},
        not_applicable=_OTHERS,
    ),
    *row("scale_by_normuon", oracles.scale_by_normuon, {"": {}}),
    *row(
        "adamuon",
        oracles.optimizer(oracles.scale_by_adamuon),
        {"": {}, "polar": {"ns_coeffs": "polar_express", "ns_steps": 6, "weight_decay": 0.1}},
        not_applicable=_SIGNS | _OTHERS,
    ),
    *row("scale_by_adamuon", oracles.scale_by_adamuon, {"": {}}, not_applicable=_SIGNS),
]
