"""Clipping, normalizing, constraints, monitors, private gradients, Sophia and groups."""

from __future__ import annotations

from functools import partial
from typing import Any

import optax
from cases import (
    ADAPTIVE,
    BY_GRADIENT,
    BY_MOMENTUM,
    FUNCTION,
    ORDERED,
    TRANSFORMS,
    Case,
    Numbers,
    after,
    followed_by_step,
    halving,
    matrices,
    row,
)
from oracles import clips, first_order

import fnopt


class AfterStep(Case):
    """A part that stands after the step, not before it."""

    def followed_by_step(self, tx: Any, rate: float | None = None) -> Any:
        return fnopt.chain(fnopt.scale_by_learning_rate(rate or self.rate), tx)


class OfBase(Case):
    """An optimizer whose rate is that of its base."""

    def followed_by_step(self, tx: Any, rate: float | None = None) -> Any:
        return tx if rate is None else tx.replace(base=tx.base.replace(learning_rate=rate))


def itself(updates: Any) -> Any:
    """The measure that is the updates, so that what measures is seen whole."""
    return updates


def with_value_fn(**given: Any) -> Any:
    """optax's estimator, its objective by our name."""
    tx = optax.contrib.hutchinson_estimator_diag_hessian(**given)

    def update(updates: Any, state: Any, params: Any = None, *, value_fn: Any, **_: Any) -> Any:
        return tx.update(updates, state, params, obj_fn=value_fn)

    return optax.GradientTransformationExtraArgs(tx.init, update)


def _everywhere(rate: float) -> dict[str, float]:
    return dict.fromkeys(("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic"), rate)


_SHARE = Numbers(0.01, 0.5, refused=(-0.1, 0.0, float("nan")))
_SCALE = Numbers(0.1, 0.9)
_BY_DIRECTION = {
    "parabola": 0.02,
    "rosenbrock": 2e-3,
    "matrix_bowl": 0.02,
    "noisy_quadratic": 0.03,
}
_SCALARS = {"shows_what_is_a_parameters": "its state has scalars, one a leaf, as optax's"}
_UNSEEN = {
    law: "it measures whatever it is given" for law in ("refuses_integers", "refuses_bad_trees")
}
_MEASURING = {**_UNSEEN, **FUNCTION}
_NO_EXTRAS = {
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
    "keeps_complex64": "the Hessian of complex parameters has no diagonal of their kind",
}
_ESTIMATE = {
    **{
        f"descends_{name}": "it gives curvature, not a direction"
        for name in ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
    },
    "rests_at_zero_gradient": "the curvature is not 0 there",
    "takes_frozen_leaves": "its draws are split among all leaves it sees",
}
_PAPERS = {
    "agrees_with_optax": "optax divides by the diagonal before its update, and corrects the bias"
}
_PER_EXAMPLE = {
    law: "its gradients are those of examples, not like the parameters; see test_privacy"
    for law in (
        *(f"keeps_{d}" for d in ("float16", "bfloat16", "float32", "float64", "complex64")),
        *("jit_equals_eager", "lives_in_cond", "compiles_once"),
        *("vmap_equals_loop", "has_hypergradients", "takes_any_tree", "takes_frozen_leaves"),
        *("ignores_unknown_arguments", "lives_inside_chain", "lives_inside_masked"),
        *("lives_inside_inject_hyperparams", "lives_inside_nnx_optimizer"),
        *("lives_inside_train_state", "is_sharded_as_parameters"),
        *("resumes_bit_for_bit_by_pickle", "resumes_bit_for_bit_by_flax"),
        *("packs_parameters", "packs_slots"),
        *("agrees_with_oracle", "agrees_with_optax", "rests_at_zero_gradient"),
        *("refuses_bad_trees", "refuses_to_reshape_slots", "refuses_a_foreign_state"),
        *(f"descends_{p}" for p in ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")),
        *(f"takes_schedules_of_{kind}" for kind in ("fnopt", "optax", "functions")),
    )
} | {"lives_inside_multi_steps": "gradients averaged before it are no longer private"}
_PRIVATE = {
    "l2_norm_clip": Numbers(0.5, 2.0, refused=(0.0, -1.0, float("nan"))),
    "noise_multiplier": Numbers(0.1, 1.0, refused=(-1.0, float("nan"))),
}
_DPSGD = {"learning_rate": 0.1, "l2_norm_clip": 1.0, "noise_multiplier": 0.5, "seed": 0}
_SOPHIA = {
    "needs": ("value_fn",),
    "numbers": {
        "eps": Numbers(1.0, 10.0, refused=(-1e-8, float("nan"))),
        "gamma": Numbers(0.1, 2.0, refused=(-0.1, float("nan"))),
        "clip_threshold": Numbers(0.1, 1.0, refused=(0.0, float("nan"))),
        "update_interval": Numbers(1.0, 5.0, refused=(0.0, float("nan"))),
    },
    "oracle": clips.sophia,
    "by_leaf": True,
}
_SOPHIA_PART = {
    **_SOPHIA,
    "rate": 0.01,
    "oracle": followed_by_step(partial(clips.sophia, weight_decay=0.0)),
}
_SOPHIAS = {
    **_NO_EXTRAS,
    **_PAPERS,
    "takes_frozen_leaves": _ESTIMATE["takes_frozen_leaves"],
}
_SLOW = {
    **_SOPHIAS,
    "descends_parabola": "by default it takes a thousand updates to see a curvature; others do",
}
_CLIPPED = dict.fromkeys(("rosenbrock", "matrix_bowl", "noisy_quadratic"), 0.01)

CASES: list[Case] = [
    *row(
        "adaptive_grad_clip",
        {"": {"clipping": 0.1}, "axis": {"clipping": 0.3, "eps": 0.1, "axis": ()}},
        rate=0.1,
        numbers={"clipping": _SHARE},
        oracle=clips.along(clips.adaptive_grad_clip),
        by_leaf=True,
        rates={"parabola": 0.3, "matrix_bowl": 0.1, "noisy_quadratic": 0.3},
        not_applicable={
            "descends_rosenbrock": "a weight moves in proportion to its size, and here crosses 0"
        },
    ),
    *row(
        "normalize",
        {"": {}},
        rate=0.01,
        peer=optax.contrib.normalize,
        oracle=clips.along(clips.normalize),
        by_leaf=True,
        rates=_BY_DIRECTION,
    ),
    *row(
        "normalize_by_update_norm",
        {"": {}, "longer": {"scale_factor": 2.0, "eps": 0.1}},
        rate=0.01,
        numbers={"scale_factor": _SCALE},
        oracle=clips.along(clips.normalize),
        by_leaf=True,
        rates=_BY_DIRECTION,
    ),
    *row(
        "centralize",
        {"": {}},
        rate=0.1,
        oracle=clips.along(clips.centralize),
        by_leaf=True,
        rates=BY_GRADIENT,
        not_applicable={
            "agrees_with_optax": "optax takes the first axis for that of the units",
            "descends_matrix_bowl": "the mean of a unit's weights stays as it was",
        },
    ),
    *row(
        "centralize",
        {"first": {"units": "first"}},
        rate=0.1,
        peer=lambda units: optax.centralize(),
        oracle=clips.along(clips.centralize),
        by_leaf=True,
        rates=BY_GRADIENT,
        not_applicable={"descends_matrix_bowl": "the mean of a unit's weights stays as it was"},
    ),
    *row(
        "zero_nans",
        {"": {}},
        rate=0.1,
        oracle=after(lambda g, theta: g),
        rates=BY_GRADIENT,
        not_applicable=_SCALARS,
    ),
    AfterStep(
        "keep_params_nonnegative",
        "",
        rate=0.05,
        peer=optax.keep_params_nonnegative,
        oracle=clips.projected,
        by_leaf=True,
        rates=BY_GRADIENT,
        not_applicable={
            **ORDERED,
            "descends_matrix_bowl": "its minimum has negative parameters",
            "rests_at_zero_gradient": "it moves negative parameters to 0",
        },
    ),
    *row(
        "snapshot",
        {"": {"measure_name": "seen", "measure": itself}},
        rate=0.1,
        oracle=after(lambda g, theta, **_: g),
        rates=BY_GRADIENT,
        not_applicable=_MEASURING,
    ),
    *row(
        "monitor",
        {"": {"measures": {"size": optax.tree.norm}}},
        rate=0.1,
        oracle=after(lambda g, theta, **_: g),
        rates=BY_GRADIENT,
        not_applicable=_MEASURING,
    ),
    *row(
        "monitor",
        {"average": {"measures": {"mean": fnopt.measure_with_ema(optax.tree.norm, 0.9)}}},
        rate=0.1,
        peer=lambda measures: optax.monitor({"mean": optax.measure_with_ema(optax.tree.norm, 0.9)}),
        oracle=after(lambda g, theta, **_: g),
        rates=BY_GRADIENT,
        not_applicable={**_MEASURING, **TRANSFORMS},
    ),
    *row(
        "measure_with_ema",
        {
            "": {"measure": itself, "decay": 0.9},
            "biased": {"measure": itself, "decay": 0.9, "debias": False},
        },
        rate=0.1,
        oracle=clips.average,
        by_leaf=True,
        rates={**BY_GRADIENT, "parabola": 0.05},
        not_applicable=_MEASURING,
    ),
    *row(
        "scale_by_distance_over_gradients",
        {"": {}, "far": {"reps_rel": 1e-2, "eps": 1e-3}},
        rate=0.7,  # at 1 the first step is as long as the first distance: a kink
        numbers={
            "reps_rel": Numbers(1e-4, 1e-2, refused=(-1.0, float("nan"))),
            "global_scale": _SCALE,
        },
        oracle=clips.layerwise_dog,
        by_leaf=True,
        rates=_everywhere(1.0),
        not_applicable={
            **_SCALARS,
            "lives_inside_inject_hyperparams": "there its default, a class, passes for a schedule",
        },
    ),
    *row(
        "hutchinson_estimator_diag_hessian",
        {"": {}},
        rate=1e-3,
        needs=("value_fn",),
        peer=with_value_fn,
        oracle=clips.hutchinson,
        by_leaf=True,
        not_applicable={**_NO_EXTRAS, **_ESTIMATE},
    ),
    *row("scale_by_sophia", {"": {}}, **_SOPHIA_PART, rates=_CLIPPED, not_applicable=_SLOW),
    *row(
        "scale_by_sophia",
        {"often": {"b1": 0.9, "gamma": 0.5, "update_interval": 2.0}},
        **_SOPHIA_PART,
        rates=_everywhere(0.05),
        not_applicable=_SOPHIAS,
    ),
    *row(
        "sophia",
        {"": {"learning_rate": 0.01}, "scheduled": {"learning_rate": halving(0.1)}},
        **_SOPHIA,
        rates=_CLIPPED,
        not_applicable=_SLOW,
    ),
    *row(
        "sophia",
        {"often": {"learning_rate": 0.01, "b1": 0.9, "gamma": 0.5, "update_interval": 2.0}},
        **_SOPHIA,
        rates=_everywhere(0.05),
        not_applicable=_SOPHIAS,
    ),
    *row(
        "sophia",
        {"unclipped": {"learning_rate": 1e-3, "eps": 10.0, "clip_threshold": None}},
        **_SOPHIA,
        rates=_everywhere(0.5),
        not_applicable=_SOPHIAS,
    ),
    *row(
        "sophia",
        {"mask": {"learning_rate": 0.01, "weight_decay": 0.1, "weight_decay_mask": matrices}},
        **_SOPHIA,
        rates=_CLIPPED,
        not_applicable={
            **_SLOW,
            **FUNCTION,
            "agrees_with_oracle": "the oracle decays all; the mask is add_decayed_weights'",
        },
    ),
    Case(
        "differentially_private_aggregate",
        "",
        kwargs={"l2_norm_clip": 1.0, "noise_multiplier": 0.5, "key": 0},
        numbers=_PRIVATE,
        not_applicable=_PER_EXAMPLE,
    ),
    Case(
        "dpsgd",
        "",
        kwargs=_DPSGD,
        numbers=_PRIVATE,
        not_applicable=_PER_EXAMPLE,
    ),
    Case(
        "dpsgd",
        "nesterov",
        kwargs={**_DPSGD, "momentum": 0.9, "nesterov": True},
        numbers=_PRIVATE,
        not_applicable=_PER_EXAMPLE,
    ),
    OfBase(
        "groups",
        "",
        args=(("*", 0.5),),
        kwargs={"base": fnopt.adam(0.02)},
        oracle=lambda gradient, theta, base: first_order.adam(gradient, theta, learning_rate=0.01),
        rates=ADAPTIVE,
        not_applicable=TRANSFORMS,
    ),
    OfBase(
        "groups",
        "dict",
        args=(("*", {"momentum": 0.9, "multiplier": 0.5}),),
        kwargs={"base": fnopt.sgd(0.1, 0.5)},
        oracle=lambda gradient, theta, base: first_order.sgd(
            gradient, theta, learning_rate=0.05, momentum=0.9
        ),
        rates={problem: 2 * rate for problem, rate in BY_MOMENTUM.items()},
        not_applicable=TRANSFORMS,
    ),
    Case(
        "groups",
        "transform",
        args=(("*", fnopt.trace(0.9)),),
        rate=0.05,
        oracle=lambda gradient, theta, rate: first_order.sgd(
            gradient, theta, learning_rate=rate, momentum=0.9
        ),
        rates=BY_MOMENTUM,
        not_applicable=TRANSFORMS,
    ),
]
