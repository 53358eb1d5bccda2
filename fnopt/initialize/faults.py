"""The faults of a start, judged by the metrics of its layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

EQUAL = 1e-4
"""The largest difference of two units that count as equal, as a share of what units compute."""
SPREAD = 100.0
"""The largest factor by which deviations or gradients may change from first to last layer."""
MOSTLY = 0.5
"""The largest share of saturated activations that is no fault."""
LARGE = 0.5
"""The largest norm of the first update of a leaf, as a share of the norm of the leaf."""


class Fault(NamedTuple):
    """A fault of a layer.

    Attributes:
        layer: the path of its weights; for a fault of all layers the first and the last path, with
            ``…`` between.
        fault: ``"not finite"``, ``"zero"``, ``"equal"``, ``"dead"``, ``"saturated"``,
            ``"exploding"``, ``"vanishing"`` or ``"step"``.
        figure: its severity: a number of units, a share, or a factor from the first layer to
            the last.
        says: a description in words.
        cure: a remedy, in words.
        metrics: names of the fields of :class:`~fnopt.initialize.diagnosis.LayerMetrics` that show
            it.
    """

    layer: str
    fault: str
    figure: float
    says: str
    cure: str
    metrics: tuple[str, ...] = ()


SUITED = {"relu": "he_normal", "tanh": "xavier_normal", "sigmoid": "xavier_normal"}
"""The initializer that suits each nonlinearity."""


def _suited(row: Any) -> str:
    if row.function in SUITED:
        return f"{SUITED[row.function]}, for the {row.function} that follows"
    return (
        "he_normal before a relu or a gelu, xavier_normal before a tanh, lecun_normal before a selu"
    )


def distinct(views: np.ndarray) -> int:
    """How many units differ in what they compute.

    Args:
        views: a row for each unit, random sums over the examples of what it computes.
    """
    if not np.all(np.isfinite(views)):
        return len(views)
    scale = np.sqrt(np.mean(views**2, axis=0))
    rows = views / np.where(scale > 0, scale, 1)
    rows = rows[np.argsort(rows[:, 0])]
    return 1 + int(np.sum(np.any(np.abs(np.diff(rows, axis=0)) > EQUAL, axis=1)))


def find(rows: Sequence[Any]) -> list[Fault]:
    """The faults of a start, the most severe first.

    Args:
        rows: the metrics of every layer, in order.
    """
    # Numbers that are not finite spread to later layers, their gradients to earlier ones.
    broken = [(row, "what it computes", "std") for row in rows if not row.finite]
    broken += [
        (row, "the gradient there", "gradient_std")
        for row in rows[::-1]
        if not math.isfinite(row.gradient_norm)
    ]
    if broken:
        row, what, metric = broken[0]
        cure = f"look at the inputs and the parameters; draw weights by {_suited(row)}"
        return [Fault(row.layer, "not finite", math.nan, f"{what} is not finite", cure, (metric,))]
    hidden = [row for row in rows if row.hidden]
    faults = [fault for row in hidden if (fault := _equal_units(row))]
    copies = {fault.layer for fault in faults}
    hidden = [row for row in hidden if row.layer not in copies]
    faults += [fault for row in hidden if (fault := _dead(row))]
    faults += [
        Fault(
            row.layer, "saturated", row.saturated,
            f"{row.saturated:.0%} of its activations are at the ends of the {row.function}",
            f"draw its weights by {_suited(row)}, and bring the inputs to mean 0 and variance 1",
            ("saturated",),
        )
        for row in hidden
        if row.saturated > MOSTLY
    ]  # fmt: skip
    if not faults:  # otherwise they may be the cause of a trend
        faults += _trends([row for row in hidden if row.kind != "embedding"])
    faults += [
        Fault(
            row.layer, "step", row.update,
            f"the first step moves its weights by {row.update:.2g} of their norm",
            "lower the learning rate, or warm it up",
            ("update",),
        )
        for row in rows
        if row.update > LARGE and math.isfinite(row.update)
    ]  # fmt: skip
    return faults


def _equal_units(row: Any) -> Fault | None:
    """The fault of a layer with units that are copies of one another."""
    if row.units < 2:
        return None
    random = f"draw its weights at random, by {_suited(row)}"
    if row.distinct_later < row.units and (row.fed or row.zero):
        if row.zero:
            says = "its weights are all 0, and its units receive the same gradient or none"
            cure = random + "; only a last layer, or the last of a residual branch, may begin at 0"
            return Fault(row.layer, "zero", row.distinct_later, says, cure, ("distinct",))
        says = (
            f"{_copies(row)} and receive the same gradient: those that are equal stay so for ever"
        )
        return Fault(row.layer, "equal", row.distinct_later, says, random, ("distinct",))
    if row.distinct < row.units and row.varies and row.fed:
        says = f"{_copies(row)}; they will part, as their gradients differ, but start as so few"
        return Fault(row.layer, "equal", row.distinct, says, random, ("distinct",))
    return None


def _copies(row: Any) -> str:
    if row.distinct == 1:
        return f"all its {row.units} units compute the same"
    return f"its {row.units} units compute no more than {row.distinct} different things"


def _dead(row: Any) -> Fault | None:
    # Where all examples look alike to a layer, half of its units may be 0 for all of them by the
    # signs of their weights alone; a share larger by four deviations is no coincidence.
    if row.dead == 0 or row.dead < min(1.0, 0.5 + 2 / math.sqrt(row.units)):
        return None
    says = f"{row.dead:.0%} of its units are zero for every example, and no gradient passes them"
    cure = (
        "start its biases at 0 or a little above, draw its weights with mean 0 (he_normal), and"
        " centre the inputs; or use a leaky relu"
    )
    return Fault(row.layer, "dead", row.dead, says, cure, ("dead",))


def _trends(rows: Sequence[Any]) -> list[Fault]:
    """Whether what the layers compute, or their gradients, grow or shrink through the stack."""
    forward = _trend([(row.depth, row.std, row.layer) for row in rows])
    start = [(-row.depth, row.gradient_norm, row.layer) for row in rows]
    later = [(-row.depth, row.gradient_norm_later, row.layer) for row in rows]
    # Below a last layer of zeros all gradients are 0 at first.
    backward = _trend(start if sum(norm > 0 for _, norm, _ in start) > 1 else later)
    faults = []
    for fault, sign in (("exploding", 1), ("vanishing", -1)):
        changes = []
        where = ""
        way = "grows" if sign > 0 else "shrinks"
        for metric, what, (total, each, at) in (
            ("std", f"what the layers compute {way} from the first to the last", forward),
            ("gradient_std", f"the gradient {way} on its way down", backward),
        ):
            if sign * total > math.log(SPREAD):
                text = f"{what} by a factor of {_factor(sign * total)}, {each}"
                changes.append((total, text, metric))
                where = where or at
        if changes:
            cure = (
                f"draw {'smaller' if sign > 0 else 'larger'} weights, by {_suited(rows[0])}; or"
                " call lsuv; or normalize (batch or layer normalization)"
            )
            totals, texts, metrics = zip(*changes, strict=True)
            worst = math.exp(max(totals, key=abs))
            faults.append(Fault(where, fault, worst, "; ".join(texts), cure, metrics))
    return faults


def _factor(log: float) -> str:
    factor = math.exp(min(log, 600))
    return f"{factor:,.0f}" if factor < 1e5 else f"{factor:.0e}"


def _trend(points: list[tuple[int, float, str]]) -> tuple[float, str, str]:
    """How much the logarithm of a metric changes with the depth, in words too, and where.

    The larger of two: the slope of a line through all points, times the depth; and the least step
    by which all layers beyond some depth differ from all before it, which names the layer.

    Args:
        points: depth, metric and name of each layer.
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
