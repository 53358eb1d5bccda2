"""What a case of the zoo is, and what rows share: oracles of parts, exceptions, usual rates.

Exceptions are data, each with its reason: ``not_applicable`` holds for ever, ``xfail`` is strict
and expires when mended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
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
        name: in its home.
        variant: what sets this case apart from the others of this name.
        args, kwargs: of the factory.
        needs: the extra arguments that ``update`` cannot do without; "layers" is an evaluation of a
            model.
        numbers: what its numbers may be, where the name alone does not say.
        rate: of the step that makes an optimizer of a part; None for an optimizer.
        oracle: the independent transcription, given the hyperparameters by fnopt's names, and the
            function ``loss`` if it needs the value.
        by_leaf: whether the oracle has a list of arrays for parameters and gradient, not a vector.
        updates: the number of updates that are compared with the oracle's.
        peer: optax's factory, given ``args`` and ``kwargs``.
        rates: a learning rate that suits it, by problem.
        not_applicable, xfail: laws it is excused from, with the reason.
        home: the module that it is public in.
    """

    name: str
    variant: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    numbers: Mapping[str, Numbers] = dataclasses.field(default_factory=dict)
    rate: float | None = None
    oracle: Callable[..., Any] | None = None
    by_leaf: bool = False
    updates: int = 50
    peer: Callable[..., Any] | None = None
    rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    not_applicable: Mapping[str, str] = dataclasses.field(default_factory=dict)
    xfail: Mapping[str, str] = dataclasses.field(default_factory=dict)
    home: Any = fnopt

    @property
    def id(self) -> str:
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def range_of(self, name: str) -> Numbers:
        """What a number of this name may be."""
        return self.numbers[name] if name in self.numbers else HYPERPARAMETERS[name]

    def draw(self, seed: int) -> Any:
        """The transform with all its numbers drawn anew; seed 0 leaves it as it is."""
        tx, rng = self.make(), np.random.default_rng(seed)
        drawn = {name: self.range_of(name).draw(rng) for name in numbers(tx)}
        return tx.replace(**drawn) if seed else tx

    def make(self) -> Any:
        """The transform itself."""
        return self.factory(*self.args, **self.kwargs)

    @property
    def rate_name(self) -> str:
        """Of its learning rate."""
        return self.factory.rate_name

    @property
    def factory(self) -> Any:
        """The public name."""
        return getattr(self.home, self.name)

    def followed_by_step(self, tx: Any, rate: float | None = None) -> Any:
        """An optimizer of a transform like this case's: with a step after it if it is a part.

        Args:
            tx: the transform.
            rate: another learning rate.
        """
        if self.rate is None:
            return tx if rate is None else tx.replace(**{self.rate_name: rate})
        return fnopt.chain(tx, fnopt.scale_by_learning_rate(rate or self.rate))

    def optimizer(self, rate: float | None = None) -> Any:
        """The transform, with a step after it if it is a part."""
        return self.followed_by_step(self.make(), rate)


def numbers(tx: Any) -> dict[str, float]:
    """The hyperparameters of a transform that are plain numbers, and no structure."""
    values = {name: getattr(tx, name) for name, spec in tx._specs.items() if not spec.static}
    return {name: value for name, value in values.items() if isinstance(value, float)}


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
    common.setdefault("peer", vars(optax).get(name))
    return [Case(name, variant, kwargs=kwargs, **common) for variant, kwargs in variants.items()]


def followed_by_step(oracle: Callable[..., Any]) -> Callable[..., Any]:
    """An optimizer's oracle for its part, whose rate is that of the step after it."""
    return lambda gradient, theta, rate, **given: oracle(
        gradient, theta, learning_rate=rate, **given
    )


def after(change: Callable[..., Any]) -> Callable[..., Any]:
    """The oracle of gradient descent along ``change(gradient, theta, **hyperparameters)``."""
    return lambda gradient, theta, rate, **given: first_order.sgd(
        lambda theta: change(gradient(theta), theta, **given), theta, learning_rate=rate
    )


def masked(oracle: Callable[..., Any], name: str = "mask") -> Callable[..., Any]:
    """An oracle with weight decay, for a mask that chooses the matrices."""

    def masked(*args: Any, weight_decay: float, **given: Any) -> Any:
        decay = weight_decay * (in_matrix() if given.pop(name, None) else 1)
        return oracle(*args, weight_decay=decay, **given)

    return masked


def in_matrix() -> Any:
    """1 for the elements of the mixed problem that are in a matrix."""
    chosen = matrices(MIXED.start)
    return np.concatenate(
        [
            np.full(np.size(leaf), float(yes))
            for leaf, yes in zip(jax.tree.leaves(MIXED.start), jax.tree.leaves(chosen), strict=True)
        ]
    )


NARROW = {
    "agrees_with_oracle": "its storage is narrower than the oracle's",
    "agrees_with_optax": "optax multiplies in the narrow dtype too, fnopt rounds once",
    "has_hypergradients": "a finite difference sees the steps of rounding",
    "keeps_complex64": "a real accumulator does not hold a complex sum",
}
SCHEDULED = {"agrees_with_oracle": "the oracle knows schedules of the rate alone; optax agrees"}
FUNCTION = {
    "prints_as_itself": "a function prints as its name alone",
    "survives_flax_serialization": "flax stores arrays and knows no function",
}
TRANSFORMS = {
    "lives_inside_inject_hyperparams": "its arguments are transforms, not numbers",
    "agrees_with_optax": "optax's takes transforms of its own; test_core compares the two",
}
UNREAD = {
    law: "it does not look at the leaves"
    for law in ("refuses_integers", "refuses_bad_trees", "refuses_a_foreign_state")
}
ORDERED = {"keeps_complex64": "complex numbers have no order to clip by"}
NO_COUNT = {
    f"takes_schedules_of_{kind}": "it counts metrics, not updates"
    for kind in ("fnopt", "optax", "functions")
}
BY_GRADIENT = {"parabola": 0.1, "rosenbrock": 1e-3, "matrix_bowl": 0.1, "noisy_quadratic": 0.3}
BY_MOMENTUM = {"parabola": 0.03, "rosenbrock": 3e-4, "matrix_bowl": 0.03, "noisy_quadratic": 0.03}
BY_STEP = {"parabola": 0.02, "rosenbrock": 1e-3, "matrix_bowl": 5e-3, "noisy_quadratic": 0.01}
ADAPTIVE = {"parabola": 0.1, "rosenbrock": 0.01, "matrix_bowl": 0.03, "noisy_quadratic": 0.03}
GROWING = {"parabola": 1.0, "rosenbrock": 0.5, "matrix_bowl": 0.5, "noisy_quadratic": 1.0}
BY_UNITS = {"parabola": 5.0, "rosenbrock": 0.1, "matrix_bowl": 1.0, "noisy_quadratic": 5.0}
