"""Where the axes of a value are after a step."""

from __future__ import annotations

import math

from fnopt.layers.program import Step

Shape = tuple[int, ...]
Axes = tuple[int, ...]


def axes_after(step: Step, before: Shape, after: Shape, axes: Axes | None) -> Axes | None:
    """The axes of a step's output that correspond to axes of its input.

    Args:
        step: the step.
        before, after: the shapes of that input and of the output.
        axes: axes of the input; None if they are not known.

    Returns:
        Axes of the output; None if they are not known.
    """
    if axes is None:
        return None
    params = step.equation.params
    if step.name == "transpose":
        return tuple(j for j, i in enumerate(params["permutation"]) if i in axes)
    if step.name == "broadcast_in_dim":
        return tuple(params["broadcast_dimensions"][i] for i in axes)
    if step.name in ("reshape", "squeeze"):
        return _after_reshape(before, after, axes)
    same = len(before) == len(after) and all(before[i] == after[i] for i in axes)
    return axes if same else None


def axes_before(step: Step, before: Shape, after: Shape, axes: Axes) -> Axes | None:
    """The axes of a step's input that correspond to axes of its output.

    Args:
        step: a step that moves elements.
        before, after: the shapes of that input and of the output.
        axes: axes of the output.

    Returns:
        Axes of the input; None if they are not known.
    """
    params = step.equation.params
    if step.name == "transpose":
        return tuple(sorted(params["permutation"][j] for j in axes))
    if step.name == "broadcast_in_dim":
        return tuple(i for i, j in enumerate(params["broadcast_dimensions"]) if j in axes)
    if step.name in ("reshape", "squeeze"):
        return _after_reshape(after, before, axes)
    return axes if len(before) == len(after) else None


def _after_reshape(before: Shape, after: Shape, axes: Axes) -> Axes | None:
    """Where axes are after a reshape; None if one was joined with another kind."""
    moved: list[int] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = list(range(len(before)))[i : i + 1], list(range(len(after)))[j : j + 1]
        i, j = i + len(left), j + len(right)
        while (
            more := math.prod(after[k] for k in right) - math.prod(before[k] for k in left)
        ) != 0:
            if more > 0:
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        chosen = [k in axes for k in left if before[k] > 1]
        if any(chosen):
            if not all(chosen):
                return None
            moved += right
    return tuple(moved)
