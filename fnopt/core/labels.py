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
    differing = _differing(transforms)
    labels: list[str] = []
    seen: dict[str, int] = {}
    for label, arguments in zip(plain, differing, strict=True):
        label += arguments if plain.count(label) > 1 else ""
        seen[label] = seen.get(label, 0) + 1
        labels.append(f"{label} #{seen[label]}" if seen[label] > 1 else label)
    return labels


def _label(tx: Transform, number: int) -> str:
    if isinstance(tx, chain):
        return " + ".join(_label(part, number) for part in tx.transforms)
    return f"optax #{number}" if isinstance(tx, foreign) else type(tx).__name__


def _differing(transforms: Sequence[Transform]) -> list[str]:
    """For each the arguments in which it differs from others of its type, as in a call."""
    rows = [{name: _shown(value) for name, value in vars(tx).items()} for tx in transforms]
    texts: dict[type, dict[str, set[str]]] = {}
    for tx, row in zip(transforms, rows, strict=True):
        for name, text in row.items():
            texts.setdefault(type(tx), {}).setdefault(name, set()).add(text)
    calls = []
    for tx, row in zip(transforms, rows, strict=True):
        own = [f"{name}={text}" for name, text in row.items() if len(texts[type(tx)][name]) > 1]
        calls.append(f"({', '.join(own)})" if own else "")
    return calls


def _shown(value: Any) -> str:
    if isinstance(value, Value):
        return type(value).__name__
    if callable(value):  # whose repr may have its address
        return getattr(value, "__qualname__", type(value).__name__)
    return f"{value:g}" if isinstance(value, float) else brief(value, 20)
