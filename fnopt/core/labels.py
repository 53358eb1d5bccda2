"""Labels of optimizers that were given none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fnopt.core.checks import brief
from fnopt.core.compose import chain
from fnopt.core.transform import Transform, foreign
from fnopt.core.value import Value


def labels_of(transforms: Sequence[Transform]) -> list[str]:
    """A label for each optimizer, no two of which are the same.

    It is the optimizer's name; where several have that, with the arguments in which they differ.
    Those of optax are labelled by their place, as "optax #2", since their functions have no name.

    Args:
        transforms: the optimizers.
    """
    plain = [_label(tx, number) for number, tx in enumerate(transforms, 1)]
    labels: list[str] = []
    for label, tx in zip(plain, transforms, strict=True):
        like = [other for other in transforms if type(other) is type(tx)]
        label += _differing(tx, like) if plain.count(label) > 1 else ""
        same = sum(1 for known in labels if known.split(" #")[0] == label)
        labels.append(f"{label} #{same + 1}" if same else label)
    return labels


def _label(tx: Transform, number: int) -> str:
    if isinstance(tx, chain):
        return " + ".join(_label(part, number) for part in tx.transforms)
    return f"optax #{number}" if isinstance(tx, foreign) else type(tx).__name__


def _differing(tx: Transform, like: list[Transform]) -> str:
    """The arguments in which optimizers of one type differ, as in a call."""
    differing = [
        f"{name}={_shown(value)}"
        for name, value in vars(tx).items()
        if any(_shown(vars(other)[name]) != _shown(value) for other in like)
    ]
    return f"({', '.join(differing)})" if differing else ""


def _shown(value: Any) -> str:
    if isinstance(value, Value):
        return type(value).__name__
    if callable(value):  # whose repr may have its address
        return getattr(value, "__qualname__", type(value).__name__)
    return f"{value:g}" if isinstance(value, float) else brief(value, 20)
