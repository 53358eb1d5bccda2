"""What an update has learned of the parameters that it leads to, and what it has evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from fnopt.core.types import Updates


class Outcome(NamedTuple):
    """What the last update of a transform found out; see ``Transform.outcome``.

    The numbers count what the update evaluated, without what was passed to it. Each is a scalar of
    integer dtype, or 0.

    Attributes:
        value: the loss at the parameters after the update; None where it is not known.
        grad: the gradient there, a tree like the parameters; None where it is not known.
        values: number of evaluations of the loss, with or without the gradient.
        grads: number of evaluations of the gradient.
        products: number of products with a Hessian, or with another matrix of curvature.
    """

    value: Any = None
    grad: Updates | None = None
    values: Any = 0
    grads: Any = 0
    products: Any = 0


def outcome_in_turn(outcomes: Sequence[Outcome | None]) -> Outcome | None:
    """The outcome of transforms one after the other: the last knows where they lead."""
    known = [outcome for outcome in outcomes if outcome is not None]
    if not known:
        return None
    counts = (sum(counts) for counts in zip(*(outcome[2:] for outcome in known), strict=True))
    last = outcomes[-1]
    value, grad = (None, None) if last is None else last[:2]
    return Outcome(value, grad, *map(jnp.asarray, counts))
