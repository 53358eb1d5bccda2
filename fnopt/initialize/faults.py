"""What is wrong with a start, told from the figures of its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

EQUAL = 1e-4
"""How near two units are that compute the same, as a share of what units compute."""
SPREAD = 100.0
"""By how much standard deviations, or gradients, may change from the first layer to the last."""
MOSTLY = 0.5
"""The share of saturated activations that is too large."""
LARGE = 0.5
"""How far a first step may move a leaf, as a share of its norm."""


class Fault(NamedTuple):
    """Something wrong with a layer.

    Attributes:
        layer: its path; of what is wrong with all, the first and the last, with ``…`` between.
        fault: ``"not finite"``, ``"zero"``, ``"equal"``, ``"dead"``, ``"saturated"``,
            ``"exploding"``, ``"vanishing"`` or ``"step"``.
        figure: how bad it is: a share, or a factor (from the first layer to the last).
        says: that in words.
        cure: what to do.
    """

    layer: str
    fault: str
    figure: float
    says: str
    cure: str


DRAWN = {"relu": "he_normal", "tanh": "xavier_normal", "sigmoid": "xavier_normal"}
"""What suits which nonlinearity."""


def _drawn(row: Any) -> str:
    if row.function in DRAWN:
        return f"{DRAWN[row.function]}, for the {row.function} that follows"
    return (
        "he_normal before a relu or a gelu, xavier_normal before a tanh, lecun_normal before a selu"
    )


def distinct(views: np.ndarray) -> int:
    """How many units differ, by what each of them makes of the batch (a row each)."""
    if not np.all(np.isfinite(views)):
        return len(views)
    scale = np.sqrt(np.mean(views**2, axis=0))
    rows = views / np.where(scale > 0, scale, 1)
    rows = rows[np.argsort(rows[:, 0])]
    return 1 + int(np.sum(np.any(np.abs(np.diff(rows, axis=0)) > EQUAL, axis=1)))


def find(rows: Sequence[Any]) -> list[Fault]:
    """The faults of a start, the gravest first.

    Args:
        rows: the figures of every layer, in order.
    """
    # What is not finite goes up from where it begins, and its gradient goes down.
    broken = [(row, "what it computes") for row in rows if not row.finite]
    broken += [
        (row, "the gradient there") for row in rows[::-1] if not math.isfinite(row.gradient_norm)
    ]
    if broken:
        row, what = broken[0]
        cure = f"look at the inputs and the parameters; draw weights by {_drawn(row)}"
        return [Fault(row.layer, "not finite", math.nan, f"{what} is not finite", cure)]
    hidden = [row for row in rows if row.hidden]
    found = [fault for row in hidden if (fault := _of_units(row))]
    copies = {fault.layer for fault in found}
    hidden = [row for row in hidden if row.layer not in copies]
    found += [fault for row in hidden if (fault := _dead(row))]
    found += [
        Fault(
            row.layer, "saturated", row.saturated,
            f"{row.saturated:.0%} of its activations are at the ends of the {row.function}",
            f"draw its weights by {_drawn(row)}, and bring the inputs to mean 0 and variance 1",
        )
        for row in hidden
        if row.saturated > MOSTLY
    ]  # fmt: skip
    if not found:  # else the trend is what these make of it
        found += _trends([row for row in hidden if row.kind != "embedding"])
    found += [
        Fault(
            row.layer, "step", row.update,
            f"the first step moves its weights by {row.update:.2g} of their norm",
            "lower the learning rate, or warm it up",
        )
        for row in rows
        if row.update > LARGE and math.isfinite(row.update)
    ]  # fmt: skip
    return found


def _of_units(row: Any) -> Fault | None:
    """Whether units are one another's copies."""
    if row.units < 2:
        return None
    random = f"draw its weights at random, by {_drawn(row)}"
    if row.distinct_later < row.units and (row.fed or row.zero):
        if row.zero:
            says = "its weights are all 0, and its units receive the same gradient or none"
            cure = random + "; only a last layer, or the last of a residual branch, may begin at 0"
            return Fault(row.layer, "zero", row.distinct_later, says, cure)
        says = (
            f"{_copies(row)} and receive the same gradient: those that are equal stay so for ever"
        )
        return Fault(row.layer, "equal", row.distinct_later, says, random)
    if row.distinct < row.units and row.varies and row.fed:
        says = f"{_copies(row)}; they will part, as their gradients differ, but begin as so few"
        return Fault(row.layer, "equal", row.distinct, says, random)
    return None


def _copies(row: Any) -> str:
    if row.distinct == 1:
        return f"all its {row.units} units compute the same"
    return f"its {row.units} units compute no more than {row.distinct} different things"


def _dead(row: Any) -> Fault | None:
    # Where all examples look alike to a layer, half of its units may be off for all of them by the
    # signs of their weights alone: more than that by four deviations is no accident.
    if row.dead == 0 or row.dead < min(1.0, 0.5 + 2 / math.sqrt(row.units)):
        return None
    says = f"{row.dead:.0%} of its units are zero for every example, and no gradient passes them"
    cure = (
        "start its biases at 0 or a little above, draw its weights with mean 0 (he_normal), and"
        " centre the inputs; or use a leaky relu"
    )
    return Fault(row.layer, "dead", row.dead, says, cure)


def _trends(rows: Sequence[Any]) -> list[Fault]:
    """Whether what the layers compute, or their gradients, grow or shrink through the stack."""
    forward = _trend([(row.depth, row.std, row.layer) for row in rows])
    start = [(-row.depth, row.gradient_norm, row.layer) for row in rows]
    later = [(-row.depth, row.gradient_norm_later, row.layer) for row in rows]
    # A last layer of zeros hands nothing down at first.
    backward = _trend(start if sum(norm > 0 for _, norm, _ in start) > 1 else later)
    found = []
    for fault, sign in (("exploding", 1), ("vanishing", -1)):
        told = []
        where = ""
        way = "grows" if sign > 0 else "shrinks"
        for what, (total, each, at) in (
            (f"what the layers compute {way} from the first to the last", forward),
            (f"the gradient {way} on its way down", backward),
        ):
            if sign * total > math.log(SPREAD):
                told.append((total, f"{what} by a factor of {_factor(sign * total)}, {each}"))
                where = where or at
        if told:
            cure = (
                f"draw {'smaller' if sign > 0 else 'larger'} weights, by {_drawn(rows[0])}; or call"
                " lsuv; or normalize (batch or layer normalization)"
            )
            worst = max((total for total, _ in told), key=abs)
            found.append(
                Fault(where, fault, math.exp(worst), "; ".join(says for _, says in told), cure)
            )
    return found


def _factor(log: float) -> str:
    factor = math.exp(min(log, 600))
    return f"{factor:,.0f}" if factor < 1e5 else f"{factor:.0e}"


def _trend(points: list[tuple[int, float, str]]) -> tuple[float, str, str]:
    """How the logarithm changes through the stack, in words too, and where.

    The larger of two: the slope of a line through all, times the depth; and the least step by which
    all layers beyond some depth differ from all before it, which names the layer.
    """
    points = sorted((x, math.log(y), name) for x, y, name in points if y > 0 and math.isfinite(y))
    depths = sorted({x for x, _, _ in points})
    if len(depths) < 2:
        return 0.0, "", ""
    x, y = (np.array([point[i] for point in points], float) for i in range(2))
    slope = float(np.polyfit(x, y, 1)[0])
    total = slope * (depths[-1] - depths[0])
    steps = []
    for at in depths[1:]:
        before, after = y[x < at], y[x >= at]
        step = max(float(after.min() - before.max()), 0.0)
        step = step or min(float(after.max() - before.min()), 0.0)
        steps.append((abs(step), step, next(name for d, _, name in points if d == at)))
    _, step, name = max(steps)
    # One step that is most of the whole is one layer's doing.
    if abs(step) > abs(total) / 2 and abs(step) > math.log(SPREAD) / 2:
        total = max(total, step, key=abs)
        return total, "most of it here", name
    first, last = points[0][2], points[-1][2]
    if points[0][0] < 0:
        first, last = last, first
    return total, f"{math.exp(slope):.2g} times a layer", f"{first} … {last}"
