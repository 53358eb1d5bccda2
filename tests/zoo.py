"""The zoo: every public optimizer and part, what it needs, and where it is excused from a law.

A new method is one row here. Exceptions are data, each with its reason: ``not_applicable`` holds
for ever, ``xfail`` is strict and expires when mended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from oracles import first_order
from problems import MIXED

import fnopt


class Numbers:
    """What a hyperparameter of some name may be: a usual range to draw from, and refused values."""

    def __init__(self, low: float, high: float, refused: tuple[float, ...] = ()) -> None:
        self.low, self.high, self.refused = low, high, refused

    def draw(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(self.low, self.high))


_RATE = Numbers(1e-3, 3e-2, refused=(-1e-3, np.nan, np.inf))
_AVERAGE = Numbers(0.5, 0.95, refused=(-0.1, 1.0, np.nan))
_SMALL = Numbers(1e-4, 1e-2, refused=(-1e-8, np.nan))

HYPERPARAMETERS: dict[str, Numbers] = {
    "learning_rate": _RATE,
    "weight_decay": Numbers(1e-3, 1e-1, refused=(-1e-3, np.nan)),
    "b1": _AVERAGE,
    "b2": _AVERAGE,
    "rho": _AVERAGE,
    "decay": _AVERAGE,
    "momentum": _AVERAGE,
    "eps": _SMALL,
    "eps_root": _SMALL,
    "initial_scale": Numbers(0.0, 0.1, refused=(-0.1, np.nan)),
    "initial_accumulator_value": Numbers(0.0, 0.1, refused=(-0.1, np.nan)),
    "step_size": Numbers(0.1, 0.9),
    "step_size_fn": Numbers(0.1, 0.9),
    "max_delta": Numbers(0.1, 1.0, refused=(-1.0, np.nan)),
    "max_norm": Numbers(0.1, 1.0, refused=(-1.0, 0.0, np.nan)),
    "factor": Numbers(0.1, 0.9, refused=(0.0, 1.0, np.nan)),
    "patience": Numbers(1.0, 9.0, refused=(-1.0, np.nan)),
    "rtol": Numbers(0.0, 0.1, refused=(-0.1, 1.1, np.nan)),
    "atol": Numbers(0.0, 0.1, refused=(-0.1, np.nan)),
    "cooldown": Numbers(0.0, 5.0, refused=(-1.0, np.nan)),
    "accumulation_size": Numbers(1.0, 3.0, refused=(0.0, np.nan)),
    "min_scale": Numbers(0.0, 0.1, refused=(-0.1, 1.1, np.nan)),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One setting of one public transform.

    Attributes:
        name: in ``fnopt``.
        variant: what sets this case apart from the others of this name.
        args, kwargs: of the factory.
        needs: the extra arguments that ``update`` cannot do without.
        rate: of the step that makes an optimizer of a part; None for an optimizer.
        oracle: the independent transcription, given the hyperparameters by fnopt's names.
        peer: optax's factory, given ``args`` and ``kwargs``.
        rates: a learning rate that suits it, by problem.
        not_applicable, xfail: laws it is excused from, with the reason.
    """

    name: str
    variant: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    rate: float | None = None
    oracle: Callable[..., Any] | None = None
    peer: Callable[..., Any] | None = None
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    not_applicable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    xfail: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def make(self) -> Any:
        """The transform itself."""
        return getattr(fnopt, self.name)(*self.args, **self.kwargs)

    def followed_by_step(self, tx: Any, rate: float | None = None) -> Any:
        """An optimizer of a transform like this case's: with a step after it if it is a part.

        Args:
            tx: the transform.
            rate: another learning rate.
        """
        if self.rate is None:
            return tx if rate is None else tx.replace(learning_rate=rate)
        return fnopt.chain(tx, fnopt.scale_by_learning_rate(rate or self.rate))

    def optimizer(self, rate: float | None = None) -> Any:
        """The transform, with a step after it if it is a part."""
        return self.followed_by_step(self.make(), rate)


def numbers(tx: Any) -> dict[str, float]:
    """The hyperparameters of a transform that are plain numbers."""
    values = {field.name: getattr(tx, field.name) for field in dataclasses.fields(tx)}
    return {name: value for name, value in values.items() if isinstance(value, float)}


def draw(tx: Any, seed: int) -> Any:
    """The transform with all its numbers drawn anew; seed 0 leaves it as it is."""
    rng = np.random.default_rng(seed)
    return tx.replace(**{k: HYPERPARAMETERS[k].draw(rng) for k in numbers(tx)}) if seed else tx


def matrices(params: Any) -> Any:
    """The leaves that have rows and columns, as a mask."""
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) > 1, params)


def halving(start: float) -> Any:
    """A schedule that falls fast enough to matter in three updates."""
    return fnopt.exponential_decay(start, 2, 0.5)


def by_optax(count: Any) -> Any:
    """A rate by a function that fnopt does not know."""
    return optax.exponential_decay(0.1, 2, 0.5)(count)


def row(name: str, variants: Mapping[str, Mapping[str, Any]], **common: Any) -> list[Case]:
    """The cases of one transform; its peer is optax's of the same name unless given."""
    common.setdefault("peer", getattr(optax, name, None))
    return [Case(name, variant, kwargs=kwargs, **common) for variant, kwargs in variants.items()]


def _followed_by_step(oracle: Callable[..., Any]) -> Callable[..., Any]:
    """An optimizer's oracle for its part, whose rate is that of the step after it."""
    return lambda gradient, theta, rate, **given: oracle(
        gradient, theta, learning_rate=rate, **given
    )


def _after(change: Callable[..., Any]) -> Callable[..., Any]:
    """The oracle of gradient descent along ``change(gradient, theta, **hyperparameters)``."""
    return lambda gradient, theta, rate, **given: first_order.sgd(
        lambda theta: change(gradient(theta), theta, **given), theta, learning_rate=rate
    )


def _masked(oracle: Callable[..., Any], name: str = "mask") -> Callable[..., Any]:
    """An oracle with weight decay, for a mask that chooses the matrices."""

    def masked(*args: Any, weight_decay: float, **given: Any) -> Any:
        decay = weight_decay * (_in_matrix() if given.pop(name, None) else 1)
        return oracle(*args, weight_decay=decay, **given)

    return masked


def _in_matrix() -> Any:
    """1 for the elements of the mixed problem that are in a matrix."""
    chosen = matrices(MIXED.start)
    return np.concatenate(
        [
            np.full(np.size(leaf), float(yes))
            for leaf, yes in zip(jax.tree.leaves(MIXED.start), jax.tree.leaves(chosen), strict=True)
        ]
    )


def _heavy_ball(learning_rate: Any, nesterov: bool = False) -> Any:
    """The same of optax's parts, which has no such function."""
    return optax.chain(optax.scale_by_learning_rate(learning_rate), optax.trace(0.9, nesterov))


def _clipped_momentum(gradient: Any, theta: Any, rate: float) -> Any:
    return first_order.sgd(
        lambda theta: np.clip(gradient(theta), -0.5, 0.5), theta, learning_rate=rate, momentum=0.9
    )


_NARROW = {
    "agrees_with_oracle": "its storage is narrower than the oracle's",
    "agrees_with_optax": "optax multiplies in the narrow dtype too, fnopt rounds once",
    "has_hypergradients": "a finite difference sees the steps of rounding",
    "keeps_complex64": "a real accumulator does not hold a complex sum",
}
_SCHEDULED = {"agrees_with_oracle": "the oracle knows schedules of the rate alone; optax agrees"}
_FUNCTION = {
    "prints_as_itself": "a function prints as its name alone",
    "survives_flax_serialization": "flax stores arrays and knows no function",
}
_TRANSFORMS = {
    "lives_inside_inject_hyperparams": "its arguments are transforms, not numbers",
    "agrees_with_optax": "optax's takes transforms of its own; test_core compares the two",
}
_UNREAD = {
    law: "it does not look at the leaves"
    for law in ("refuses_integers", "refuses_bad_trees", "refuses_a_foreign_state")
}
_ORDERED = {"keeps_complex64": "complex numbers have no order to clip by"}
_NO_COUNT = {
    f"takes_schedules_of_{kind}": "it counts figures, not updates"
    for kind in ("fnopt", "optax", "functions")
}
_BY_VALUE = {
    **_UNREAD,
    **_NO_COUNT,
    "agrees_with_oracle": "what it remembers is losses; test_plateau has its oracle",
    "agrees_with_optax": "optax counts one less, and never reduces on a negative figure",
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
}

_BY_GRADIENT = {"parabola": 0.1, "rosenbrock": 1e-3, "matrix_bowl": 0.1, "noisy_quadratic": 0.3}
_BY_MOMENTUM = {"parabola": 0.03, "rosenbrock": 3e-4, "matrix_bowl": 0.03, "noisy_quadratic": 0.03}
_BY_STEP = {"parabola": 0.02, "rosenbrock": 1e-3, "matrix_bowl": 5e-3, "noisy_quadratic": 0.01}
_ADAPTIVE = {"parabola": 0.1, "rosenbrock": 0.01, "matrix_bowl": 0.03, "noisy_quadratic": 0.03}
_GROWING = {"parabola": 1.0, "rosenbrock": 0.5, "matrix_bowl": 0.5, "noisy_quadratic": 1.0}
_BY_UNITS = {"parabola": 5.0, "rosenbrock": 0.1, "matrix_bowl": 1.0, "noisy_quadratic": 5.0}

_MOMENTUM = {"learning_rate": 0.05, "momentum": 0.9}

CASES: list[Case] = [
    # Optimizers.
    *row("sgd", {"": {"learning_rate": 0.05}}, oracle=first_order.sgd, rates=_BY_GRADIENT),
    *row(
        "sgd",
        {"momentum": _MOMENTUM, "nesterov": {**_MOMENTUM, "nesterov": True}},
        oracle=first_order.sgd,
        rates=_BY_MOMENTUM,
    ),
    *row(
        "sgd",
        {"scheduled": {"learning_rate": halving(0.1), "momentum": 0.9}},
        oracle=first_order.sgd,
        rates=_BY_MOMENTUM,
    ),
    *row(
        "sgd",
        {"narrow": {**_MOMENTUM, "accumulator_dtype": "bfloat16"}},
        rates=_BY_MOMENTUM,
        not_applicable=_NARROW,
    ),
    *row(
        "sgd",
        {"scheduled_momentum": {**_MOMENTUM, "momentum": halving(0.9)}},
        peer=optax.inject_hyperparams(optax.sgd),
        rates=_BY_GRADIENT,
        not_applicable=_SCHEDULED,
    ),
    *row(
        "heavy_ball",
        {"": {"learning_rate": 0.05}, "nesterov": {"learning_rate": 0.05, "nesterov": True}},
        peer=_heavy_ball,
        oracle=first_order.heavy_ball,
        rates=_BY_MOMENTUM,
    ),
    *row(
        "heavy_ball",
        {"scheduled": {"learning_rate": halving(0.1)}},
        peer=_heavy_ball,
        oracle=first_order.heavy_ball,
        rates=_BY_MOMENTUM,
    ),
    *row(
        "adagrad",
        {
            "": {"learning_rate": 0.1},
            "from_zero": {"learning_rate": 0.1, "initial_accumulator_value": 0.0},
        },
        oracle=first_order.adagrad,
        rates=_GROWING,
    ),
    *row(
        "adadelta",
        {"": {"learning_rate": 1.0}, "l2": {"learning_rate": 0.5, "weight_decay": 1e-3}},
        oracle=first_order.adadelta,
        rates=_BY_UNITS,
    ),
    *row(
        "adadelta",
        {"mask": {"learning_rate": 1.0, "weight_decay": 0.1, "weight_decay_mask": matrices}},
        oracle=_masked(first_order.adadelta, "weight_decay_mask"),
        rates=_BY_UNITS,
        not_applicable=_FUNCTION,
    ),
    *row(
        "adadelta",
        {"paper": {}},
        oracle=first_order.adadelta,
        rates=_BY_UNITS,
        not_applicable={"agrees_with_optax": "optax's None leaves the sign out too, and climbs"},
    ),
    *row(
        "rmsprop",
        {
            "": {"learning_rate": 0.01},
            "beside_root": {"learning_rate": 0.01, "eps_in_sqrt": False},
            "centered": {"learning_rate": 0.01, "centered": True},
            "momentum": {"learning_rate": 0.01, "momentum": 0.9},
            "nesterov": {"learning_rate": 0.01, "momentum": 0.9, "nesterov": True},
            "bias_correction": {"learning_rate": 0.01, "bias_correction": True},
            "all": {
                "learning_rate": 0.01,
                "eps": 1e-2,
                "initial_scale": 0.1,
                "centered": True,
                "momentum": 0.9,
                "bias_correction": True,
            },
        },
        oracle=first_order.rmsprop,
        rates=_BY_STEP,
    ),
    *row(
        "adam",
        {
            "": {"learning_rate": 0.01},
            "nesterov": {"learning_rate": 0.01, "nesterov": True},
            "eps_root": {"learning_rate": 0.01, "eps_root": 1e-3},
        },
        oracle=first_order.adam,
        rates=_ADAPTIVE,
    ),
    *row(
        "adam",
        {"scheduled": {"learning_rate": halving(0.1)}},
        oracle=first_order.adam,
        rates=_ADAPTIVE,
    ),
    *row(
        "adam",
        {"by_optax": {"learning_rate": by_optax}},
        oracle=first_order.adam,
        rates=_ADAPTIVE,
        not_applicable=_FUNCTION,
    ),
    *row(
        "adam",
        {"narrow": {"learning_rate": 0.01, "mu_dtype": "bfloat16"}},
        rates=_ADAPTIVE,
        not_applicable=_NARROW,
    ),
    *row(
        "adam",
        {"scheduled_b1": {"learning_rate": 0.01, "b1": halving(0.9)}},
        peer=optax.inject_hyperparams(optax.adam),
        rates=_ADAPTIVE,
        not_applicable=_SCHEDULED,
    ),
    *row(
        "adamw",
        {
            "": {"learning_rate": 0.01},
            "nesterov": {"learning_rate": 0.01, "weight_decay": 0.01, "nesterov": True},
        },
        oracle=first_order.adamw,
        rates=_ADAPTIVE,
    ),
    *row(
        "adamw",
        {"mask": {"learning_rate": 0.01, "weight_decay": 0.01, "mask": matrices}},
        oracle=_masked(first_order.adamw),
        rates=_ADAPTIVE,
        not_applicable=_FUNCTION,
    ),
    *row("adamax", {"": {"learning_rate": 0.01}}, oracle=first_order.adamax, rates=_ADAPTIVE),
    *row(
        "scale_by_learning_rate",
        {"": {"learning_rate": 0.05}},
        oracle=first_order.sgd,
        rates=_BY_GRADIENT,
    ),
    # Parts: an optimizer when a step follows.
    *row(
        "scale_by_learning_rate",
        {"upward": {"learning_rate": 0.5, "flip_sign": False}},
        rate=0.1,
        oracle=_after(lambda g, theta, learning_rate, flip_sign: learning_rate * g),
        rates=_BY_GRADIENT,
    ),
    *row(
        "scale_by_learning_rate",
        {"none": {"learning_rate": None}},
        rate=0.1,
        peer=lambda learning_rate: optax.identity(),
        oracle=_after(lambda g, theta, learning_rate: g),
        rates=_BY_GRADIENT,
    ),
    *row(
        "scale",
        {"": {"step_size": 0.5}},
        rate=0.1,
        oracle=_after(lambda g, theta, step_size: step_size * g),
        rates=_BY_GRADIENT,
    ),
    *row(
        "scale_by_schedule",
        {"": {"step_size_fn": fnopt.linear_schedule(1.0, 0.5, 4)}},
        rate=0.1,
        oracle=lambda gradient, theta, rate, step_size_fn: first_order.sgd(
            gradient, theta, learning_rate=lambda count: rate * step_size_fn(count)
        ),
        rates=_BY_GRADIENT,
    ),
    *row(
        "identity",
        {"": {}},
        rate=0.1,
        oracle=_after(lambda g, theta: g),
        rates=_BY_GRADIENT,
        not_applicable=_UNREAD,
    ),
    *row(
        "set_to_zero",
        {"": {}},
        rate=0.1,
        oracle=_after(lambda g, theta: 0 * g),
        not_applicable={
            **_UNREAD,
            **{
                f"descends_{name}": "it stands still by intention"
                for name in ("parabola", "rosenbrock", "matrix_bowl", "noisy_quadratic")
            },
        },
    ),
    *row(
        "trace",
        {"": {"decay": 0.9}, "nesterov": {"decay": 0.9, "nesterov": True}},
        rate=0.05,
        oracle=lambda gradient, theta, rate, decay, **given: first_order.sgd(
            gradient, theta, learning_rate=rate, momentum=decay, **given
        ),
        rates=_BY_MOMENTUM,
    ),
    *row(
        "add_decayed_weights",
        {"": {"weight_decay": 1e-3}},
        rate=0.1,
        oracle=_after(lambda g, theta, weight_decay: g + weight_decay * theta),
        rates=_BY_GRADIENT,
    ),
    *row(
        "add_l2",
        {"": {"weight_decay": 1e-3}},
        rate=0.1,
        peer=optax.add_decayed_weights,
        oracle=_after(lambda g, theta, weight_decay: g + weight_decay * theta),
        rates=_BY_GRADIENT,
    ),
    *row(
        "clip",
        {"": {"max_delta": 0.5}},
        rate=0.1,
        oracle=_after(lambda g, theta, max_delta: np.clip(g, -max_delta, max_delta)),
        not_applicable=_ORDERED,
        rates={**_BY_GRADIENT, "rosenbrock": 2e-3},
    ),
    *row(
        "clip_by_global_norm",
        {"": {"max_norm": 0.5}},
        rate=0.1,
        oracle=_after(lambda g, theta, max_norm: g * min(1, max_norm / np.linalg.norm(g))),
        rates={**_BY_GRADIENT, "rosenbrock": 2e-3},
    ),
    *row(
        "scale_by_adam",
        {"": {}, "nesterov": {"nesterov": True}},
        rate=0.01,
        oracle=_followed_by_step(first_order.adam),
        rates=_ADAPTIVE,
    ),
    *row(
        "scale_by_adamax",
        {"": {}},
        rate=0.01,
        oracle=_followed_by_step(first_order.adamax),
        rates=_ADAPTIVE,
    ),
    *row(
        "scale_by_rss",
        {"": {}},
        rate=0.1,
        oracle=_followed_by_step(first_order.adagrad),
        rates=_GROWING,
    ),
    *row(
        "scale_by_rms",
        {"": {}, "bias_correction": {"bias_correction": True}},
        rate=0.01,
        oracle=_followed_by_step(first_order.rmsprop),
        rates=_BY_STEP,
    ),
    *row(
        "scale_by_stddev",
        {"": {}, "bias_correction": {"eps": 1e-2, "bias_correction": True}},
        rate=0.01,
        oracle=_followed_by_step(partial(first_order.rmsprop, centered=True)),
        rates=_BY_STEP,
    ),
    *row(
        "scale_by_adadelta",
        {"": {}},
        rate=1.0,
        oracle=_followed_by_step(first_order.adadelta),
        rates=_BY_UNITS,
    ),
    *row(
        "reduce_on_plateau",
        {"": {"patience": 100}},
        needs=("value",),
        rate=0.1,
        rates=_BY_GRADIENT,
        not_applicable=_BY_VALUE,
    ),
    *row(
        "reduce_on_plateau",
        {"metric": {"monitor": "metric", "mode": "max"}},
        rate=0.1,
        oracle=_after(lambda g, theta, **_: g),
        rates=_BY_GRADIENT,
        not_applicable={
            **_UNREAD,
            **_NO_COUNT,
            "agrees_with_optax": "optax watches the loss alone",
        },
    ),
    # Combinations.
    Case(
        "chain",
        "",
        args=(fnopt.clip(0.5), fnopt.trace(0.9)),
        rate=0.05,
        oracle=_clipped_momentum,
        rates={**_BY_MOMENTUM, "rosenbrock": 1e-3},
        not_applicable={**_TRANSFORMS, **_ORDERED},
    ),
    Case(
        "chain",
        "foreign",
        args=(optax.clip(0.5), fnopt.trace(0.9)),
        rate=0.05,
        oracle=_clipped_momentum,
        rates={**_BY_MOMENTUM, "rosenbrock": 1e-3},
        not_applicable={
            **_TRANSFORMS,
            **_ORDERED,
            **_FUNCTION,
            "copies_are_equal": "optax's closures cannot be pickled",
        },
    ),
    Case(
        "named_chain",
        "",
        args=(("clip", fnopt.clip(0.5)), ("momentum", fnopt.trace(0.9))),
        rate=0.05,
        oracle=_clipped_momentum,
        rates={**_BY_MOMENTUM, "rosenbrock": 1e-3},
        not_applicable={
            **_TRANSFORMS,
            **_ORDERED,
            "resumes_bit_for_bit_by_flax": "its state is optax's, an ordered dict; flax knows none",
        },
    ),
]
