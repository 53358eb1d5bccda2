"""AdaHessian, and Sophia with the estimators of its paper."""

from __future__ import annotations

from functools import partial

from cases import Case, Numbers, followed_by_step, halving, row
from oracles import diagonal

_NAN = float("nan")
_EVERY = {"update_interval": Numbers(1.0, 5.0, refused=(0.0, _NAN))}
_HOSTS = {
    "agrees_with_optax": "optax has no such method",
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
    "keeps_complex64": "the Hessian of complex parameters has no diagonal of their kind",
    "takes_frozen_leaves": "its draws are split among all leaves it sees",
}
_ADAHESSIAN = {
    "needs": ("value_fn",),
    "numbers": {
        **_EVERY,
        "eps": Numbers(0.1, 1.0, refused=(-1e-8, _NAN)),
        "hessian_power": Numbers(0.3, 1.0, refused=(-0.1, 1.1, _NAN)),
    },
    "oracle": diagonal.adahessian,
    "by_leaf": True,
    "rates": {"parabola": 0.1, "rosenbrock": 0.3, "matrix_bowl": 0.1, "noisy_quadratic": 0.1},
    "not_applicable": _HOSTS,
}
_SOPHIA_NUMBERS = {
    **_EVERY,
    "eps": Numbers(1.0, 10.0, refused=(-1e-8, _NAN)),
    "gamma": Numbers(0.1, 2.0, refused=(-0.1, _NAN)),
    "clip_threshold": Numbers(0.1, 1.0, refused=(0.0, _NAN)),
}
_ESTIMATE = {
    **_HOSTS,
    **{
        f"descends_{name}": "it gives curvature, not a direction"
        for name in ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
    },
    "rests_at_zero_gradient": "the curvature is not 0 there",
}
_PART = {
    **_ADAHESSIAN,
    "rate": 0.1,
    "oracle": followed_by_step(partial(diagonal.adahessian, weight_decay=0.0)),
}
_SOPHIA = {
    "numbers": _SOPHIA_NUMBERS,
    "by_leaf": True,
    "rates": {"parabola": 0.05, "rosenbrock": 0.1, "matrix_bowl": 0.05, "noisy_quadratic": 0.05},
}
_OFTEN = {
    "learning_rate": 0.01,
    "b1": 0.9,
    "weight_decay": 1e-4,
    "gamma": 0.5,
    "update_interval": 2.0,
}

CASES: list[Case] = [
    *row("adahessian", {"": {"learning_rate": 0.1}}, **_ADAHESSIAN),
    *row(
        "adahessian",
        {
            "seldom": {
                "learning_rate": halving(0.1),
                "hessian_power": 0.5,
                "update_interval": 3.0,
                "weight_decay": 1e-3,
            },
        },
        **{**_ADAHESSIAN, "rates": {**_ADAHESSIAN["rates"], "rosenbrock": 0.05}},
    ),
    *row("scale_by_adahessian", {"": {}, "last": {"spatial_axes": "last"}}, **_PART),
    *row(
        "gauss_newton_bartlett_estimator_diag_hessian",
        {"": {"likelihood": "normal"}},
        rate=1e-3,
        needs=("evaluation",),
        oracle=diagonal.gauss_newton,
        by_leaf=True,
        not_applicable=_ESTIMATE,
    ),
    *row(
        "sophia_h",
        {"": _OFTEN},
        needs=("value_fn",),
        oracle=diagonal.sophia(diagonal.of_hessian, 0.01),
        not_applicable=_HOSTS,
        **_SOPHIA,
    ),
    *row(
        "sophia_g",
        {"": {**_OFTEN, "likelihood": "normal"}},
        needs=("evaluation",),
        oracle=diagonal.sophia(diagonal.of_gauss_newton, 0.05),
        not_applicable={
            **_HOSTS,
            "descends_rosenbrock": "the parameters are its outputs, and the loss is no likelihood",
        },
        **_SOPHIA,
    ),
]
