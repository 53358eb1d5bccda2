"""Scion, Muown, Dion2 and QK-Clip."""

from __future__ import annotations

from functools import partial
from typing import Any

from cases import BY_GRADIENT, Case, Numbers, followed_by_step, halving, row
from oracles import scion as oracles

from rows.clips import AfterStep

_BALL = {
    "beta": Numbers(0.5, 0.95, refused=(-0.1, 1.0)),
    "radius": Numbers(0.5, 2.0, refused=(0.0, -1.0)),
    "embedding_radius": Numbers(0.5, 2.0, refused=(0.0, -1.0)),
    "head_radius": Numbers(0.5, 2.0, refused=(0.0, -1.0)),
}
_DION2 = {"ef_decay": Numbers(0.5, 0.95, refused=(-0.1, 1.0))}
_MUOWN = {
    "beta": _BALL["beta"],
    "step_size": Numbers(1e-3, 3e-2, refused=(-1.0,)),
}
_BY_LENGTH = {"parabola": 0.015, "rosenbrock": 1e-3, "matrix_bowl": 0.01, "noisy_quadratic": 0.01}
_IN_50 = {problem: rate / 50 for problem, rate in _BY_LENGTH.items()}
_IN_2 = {problem: rate / 2 for problem, rate in _BY_LENGTH.items()}
_SHRINKS = {"rests_at_zero_gradient": "it shrinks the parameters, which keeps them in the ball"}
_OTHERS = {"rests_at_zero_gradient": "AdamW, which the other leaves get, decays the weights"}
_NO_PEER = {"agrees_with_optax": "optax has none"}
_RULES = {"survives_flax_serialization": "flax stores arrays and knows no rules for paths"}
_LOGITS = {
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
    **dict.fromkeys(
        (f"takes_schedules_of_{kind}" for kind in ("fnopt", "optax", "functions")),
        "it has no state, hence no count to schedule the threshold by",
    ),
}
_ONE = {"exponents": (("*", 0.5),)}


def _rows(name: str, variants: dict[str, Any], **common: Any) -> list[Case]:
    common["not_applicable"] = {**_NO_PEER, **common.get("not_applicable", {})}
    return row(name, variants, by_leaf=True, **common)


def _as(kind: str) -> dict[str, Any]:
    return {"matrices": (("*", kind),)}


def _by_kind(oracle: Any) -> Any:
    """An oracle that receives what the rules say of the matrix."""

    def with_rules(*args: Any, matrices: Any = (("", "hidden"),), **given: Any) -> Any:
        return oracle(*args, kind=matrices[0][1].split()[0], **given)

    return with_rules


CASES: list[Case] = [
    *_rows(
        "scion",
        {"": {"learning_rate": 1e-4}, "scheduled": {"learning_rate": halving(0.01)}},
        numbers=_BALL,
        oracle=oracles.scion,
        rates=_IN_50,
        not_applicable=_SHRINKS,
    ),
    *_rows(
        "scion",
        {"unconstrained": {"learning_rate": 0.01, "radius": 1.0, "unconstrained": True}},
        numbers=_BALL,
        oracle=oracles.scion,
        rates=_BY_LENGTH,
    ),
    *_rows(
        "scale_by_scion",
        {"": {}},
        rate=1e-4,
        numbers=_BALL,
        oracle=followed_by_step(partial(oracles.scion, unconstrained=True)),
        rates=_IN_50,
    ),
    *_rows(
        "scale_by_scion",
        {"near": {"beta": 0.5, "radius": 2.0}},
        rate=0.01,
        numbers=_BALL,
        oracle=followed_by_step(partial(oracles.scion, unconstrained=True)),
        rates=_IN_2,
    ),
    *_rows(
        "dion2",
        {
            "": {"learning_rate": 0.01},
            "all": {"learning_rate": halving(0.02), "fraction": 1.0, "adjust_lr": None},
            "rms": {"learning_rate": 0.01, "fraction": 0.5, "adjust_lr": "rms_norm"},
        },
        numbers=_DION2,
        oracle=oracles.dion2,
        rates={"parabola": 0.1, "rosenbrock": 0.01, "matrix_bowl": 0.02, "noisy_quadratic": 0.03},
        not_applicable=_OTHERS,
    ),
    *_rows(
        "scale_by_dion2",
        {"": {}, "half": {"fraction": 0.5, "ef_decay": 0.8}},
        rate=0.01,
        numbers=_DION2,
        oracle=followed_by_step(partial(oracles.dion2, other="nothing")),
        rates={**BY_GRADIENT, "matrix_bowl": 0.02},
    ),
    *_rows(
        "muown",
        {
            "": {"learning_rate": 0.01},
            "plain": {"learning_rate": halving(0.02), "nesterov": False, "weight_decay": 0.1},
        },
        numbers=_MUOWN,
        oracle=oracles.muown,
        rates={"parabola": 0.1, "rosenbrock": 0.01, "matrix_bowl": 0.02, "noisy_quadratic": 0.03},
        not_applicable=_OTHERS,
    ),
    *_rows(
        "scale_by_muown",
        {"": {"step_size": 0.01}, "plain": {"step_size": 0.02, "nesterov": False}},
        rate=0.01,
        numbers=_MUOWN,
        oracle=followed_by_step(partial(oracles.muown, other="nothing")),
        rates={**BY_GRADIENT, "matrix_bowl": 0.02},
    ),
    AfterStep(
        "qk_clip",
        "",
        kwargs=_ONE,
        needs=("max_logits",),
        numbers={"threshold": Numbers(3.0, 300.0, refused=(0.0, -1.0))},
        rate=0.05,
        oracle=oracles.qk_clip,
        by_leaf=True,
        rates=BY_GRADIENT,
        not_applicable=_NO_PEER | _LOGITS,
    ),
    AfterStep(
        "qk_clip",
        "clips",
        kwargs={**_ONE, "threshold": 1.9},
        needs=("max_logits",),
        numbers={"threshold": Numbers(1.5, 3.0, refused=(0.0, -1.0))},
        rate=0.05,
        oracle=oracles.qk_clip,
        by_leaf=True,
        rates=BY_GRADIENT,
        not_applicable={
            **_NO_PEER,
            **_LOGITS,
            "rests_at_zero_gradient": "it shrinks the parameters",
            "descends_matrix_bowl": "it shrinks the parameters at every step",
            "descends_rosenbrock": "it shrinks the parameters at every step",
        },
    ),
]
CASES += [
    case
    for name, kwargs in {
        "embedding": {**_as("embedding"), "embedding_norm": "column", "embedding_radius": 1.0},
        "largest": {**_as("embedding"), "embedding_radius": 1.0},
        "row": {**_as("head"), "head_norm": "row", "head_radius": 1.0},
        "head": {**_as("head"), "head_radius": 3.0},
    }.items()
    for case in _rows(
        "scale_by_scion",
        {name: {**kwargs, "radius": 1.0}},
        rate=0.01,
        numbers=_BALL,
        oracle=_by_kind(followed_by_step(partial(oracles.scion, unconstrained=True))),
        rates=_BY_LENGTH,
        not_applicable=_RULES,
    )
]
