"""What matrix methods brought: norms held fixed, averages, outer steps, decay."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from cases import (
    ADAPTIVE,
    BY_GRADIENT,
    FUNCTION,
    TRANSFORMS,
    Case,
    Numbers,
    halving,
    in_matrix,
    matrices,
    row,
)
from oracles import matrix_wrappers as oracles

import fnopt

_ALONE = {"agrees_with_optax": "optax has none"}
_FIXED = {"descends_matrix_bowl": "its minimum lies at another norm than the start"}
_WRAPS = {**TRANSFORMS, **_ALONE}
_MOMENTUM = fnopt.sgd(0.05, momentum=0.5)
_RATES = {**BY_GRADIENT, "noisy_quadratic": 0.1}
_PEAK = Numbers(0.05, 1.0, refused=(0.0, -1.0, np.nan))
_RATE = Numbers(1e-3, 3e-2, refused=(-1e-3, np.nan, np.inf))
_DECAY = {"weight_decay": Numbers(0.1, 0.9, refused=(-0.1, np.nan))}


class OfInner(Case):
    """A wrapper whose rate is that of the optimizer in it."""

    def followed_by_step(self, tx: Any, rate: float | None = None) -> Any:
        return tx if rate is None else tx.replace(inner=tx.inner.replace(learning_rate=rate))


class AfterStep(Case):
    """A part that stands after the step, not before it."""

    def followed_by_step(self, tx: Any, rate: float | None = None) -> Any:
        return fnopt.chain(fnopt.scale_by_learning_rate(rate or self.rate), tx)


def _of_inner(name: str, variants: dict[str, Any], **common: Any) -> list[Case]:
    return [
        OfInner(name, variant, kwargs={"inner": _MOMENTUM, **kwargs}, **common)
        for variant, kwargs in variants.items()
    ]


CASES: list[Case] = [
    *row(
        "hyperball",
        {"": {"inner": fnopt.scale_by_adam(), "learning_rate": 0.03}},
        oracle=partial(oracles.hyperball, direction=oracles.Adam, other_rate=None),
        by_leaf=True,
        rates=ADAPTIVE,
        not_applicable={
            **_WRAPS,
            **_FIXED,
            "rests_at_zero_gradient": "the AdamW of the other leaves has a decay",
        },
    ),
    *row(
        "hyperball",
        {
            "momentum": {
                "inner": fnopt.trace(0.9),
                "learning_rate": halving(0.1),
                "other": fnopt.adam(0.01),
            }
        },
        oracle=partial(oracles.hyperball, direction=oracles.Momentum, other_rate=0.01),
        by_leaf=True,
        rates=ADAPTIVE,
        not_applicable={
            **_WRAPS,
            **_FIXED,
            **{
                f"descends_{problem}": "the rate is of the other optimizer, and small"
                for problem in ("parabola", "rosenbrock", "noisy_quadratic")
            },
        },
    ),
    *row(
        "scale_to_param_norm",
        {"": {}},
        rate=0.01,
        oracle=oracles.scale_to_param_norm,
        by_leaf=True,
        rates={**BY_GRADIENT, "matrix_bowl": 0.01},
        not_applicable={
            **_ALONE,
        },
    ),
    AfterStep(
        "keep_norm",
        "",
        rate=0.05,
        oracle=oracles.keep_norm,
        by_leaf=True,
        rates=BY_GRADIENT,
        not_applicable={**_ALONE, **_FIXED},
    ),
    *row(
        "add_cautious_weight_decay",
        {"": {"weight_decay": 0.1}},
        numbers=_DECAY,
        rate=0.1,
        oracle=oracles.cautious_weight_decay,
        rates=BY_GRADIENT,
        not_applicable=_ALONE,
    ),
    *row(
        "add_cautious_weight_decay",
        {"mask": {"weight_decay": 0.1, "mask": matrices}},
        numbers=_DECAY,
        rate=0.1,
        oracle=lambda *args, mask, **given: oracles.cautious_weight_decay(
            *args, mask=in_matrix(), **given
        ),
        rates=BY_GRADIENT,
        not_applicable={**_ALONE, **FUNCTION},
    ),
    *row(
        "add_corrected_weight_decay",
        {
            "": {"weight_decay": 0.01, "schedule": halving(0.1), "peak_value": 0.1},
            "constant": {"weight_decay": 1e-4, "schedule": 0.01, "peak_value": 0.1},
        },
        numbers={"schedule": _RATE, "peak_value": _PEAK},
        rate=0.1,
        oracle=oracles.corrected_weight_decay,
        rates=BY_GRADIENT,
        not_applicable=_ALONE,
    ),
    *row(
        "adamc",
        {
            "": {"learning_rate": 0.01, "peak_value": 0.1},
            "decay": {"learning_rate": halving(0.1), "peak_value": 0.1, "weight_decay": 0.1},
        },
        numbers={"peak_value": _PEAK},
        oracle=oracles.adamc,
        rates=ADAPTIVE,
        not_applicable=_ALONE,
    ),
    *row(
        "adamc",
        {
            "normalized": {
                "learning_rate": halving(0.1),
                "peak_value": 0.1,
                "weight_decay": 0.1,
                "normalized": matrices,
            },
        },
        numbers={"peak_value": _PEAK},
        oracle=lambda *args, normalized, **given: oracles.adamc(
            *args, normalized=in_matrix(), **given
        ),
        rates=ADAPTIVE,
        not_applicable={**_ALONE, **FUNCTION},
    ),
    *_of_inner(
        "ema_nesterov",
        {"": {}, "scheduled": {"lookahead": halving(0.9), "decay": 0.8}},
        numbers={"lookahead": Numbers(0.1, 0.9, refused=(-0.1, np.nan))},
        oracle=partial(oracles.ema_nesterov, inner_rate=0.05),
        rates=_RATES,
        not_applicable=_WRAPS,
    ),
    *_of_inner(
        "primal_averaging",
        {"": {}, "short": {"train_interp_coeff": 0.9, "eval_interp_coeff": 0.9}},
        numbers={
            "train_interp_coeff": Numbers(0.5, 0.9, refused=(0.0, -0.1, 1.1, np.nan)),
            "eval_interp_coeff": Numbers(0.5, 0.9, refused=(-0.1, 1.0, np.nan)),
        },
        oracle=partial(oracles.primal_averaging, inner_rate=0.05),
        rates=_RATES,
        not_applicable=_WRAPS,
    ),
    *_of_inner(
        "outer_step",
        {"": {"sync_period": 4}, "every": {"sync_period": 1}},
        oracle=partial(oracles.outer_step, inner_rate=0.05),
        rates=_RATES,
        not_applicable=_WRAPS,
    ),
    *_of_inner(
        "outer_step",
        {"plain": {"sync_period": 2, "outer": fnopt.sgd(0.5)}},
        oracle=partial(oracles.outer_step, inner_rate=0.05, outer_rate=0.5, momentum=0.0),
        rates=_RATES,
        not_applicable=_WRAPS,
    ),
]
