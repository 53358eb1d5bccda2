"""The schedule with memory."""

from __future__ import annotations

from cases import (
    BY_GRADIENT,
    NO_COUNT,
    UNREAD,
    Case,
    after,
    row,
)

_BY_VALUE = {
    **UNREAD,
    **NO_COUNT,
    "agrees_with_oracle": "what it remembers is losses; test_plateau has its oracle",
    "agrees_with_optax": "optax counts one less, and never reduces on a negative metric",
    "lives_inside_train_state": "flax's TrainState hands no extra arguments on",
}

CASES: list[Case] = [
    *row(
        "reduce_on_plateau",
        {"": {"patience": 100}},
        needs=("value",),
        rate=0.1,
        rates=BY_GRADIENT,
        not_applicable=_BY_VALUE,
    ),
    *row(
        "reduce_on_plateau",
        {"metric": {"monitor": "metric", "mode": "max"}},
        rate=0.1,
        oracle=after(lambda g, theta, **_: g),
        rates=BY_GRADIENT,
        not_applicable={
            **UNREAD,
            **NO_COUNT,
            "agrees_with_optax": "optax watches the loss alone",
        },
    ),
]
