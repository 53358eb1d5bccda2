"""Scales and ticks of a sweep's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.sweeps.texts import is_number, short_texts

WIDE = 5.0
"""Values of at least this ratio of the largest to the smallest have a logarithmic axis."""


def is_wide(metric: str, values: Any) -> bool:
    """Whether a metric has a logarithmic axis: a loss whose values differ by a factor of 5.

    Args:
        metric: name of the metric.
        values: its values; those that are not finite do not count.
    """
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return metric.endswith("loss") and _ratio(finite) >= WIDE


def places(values: Sequence[Any]) -> tuple[np.ndarray, str]:
    """Where the values of a hyperparameter lie along an axis, and its scale.

    Args:
        values: the different values; numbers rise.

    Returns:
        The places, and ``"log"`` for positive numbers that differ by a factor of 5, ``"linear"``
        for other numbers. It is ``"names"``, with the places 0, 1, …, for what is no number, and
        for numbers with a zero among others that differ so.

    >>> places([0.001, 0.01]), places([0.8, 0.9]), places([0.0, 0.001, 0.01])[1]
    ((array([0.001, 0.01 ]), 'log'), (array([0.8, 0.9]), 'linear'), 'names')
    """
    if not all(map(is_number, values)):
        return np.arange(len(values), dtype=float), "names"
    numbers = np.array([float(value) for value in values])
    if _ratio(numbers) >= WIDE:
        return numbers, "log"
    if _ratio(numbers[numbers != 0]) >= WIDE and numbers.min() >= 0:
        return np.arange(len(values), dtype=float), "names"
    return numbers, "linear"


def set_scale(axis: Any, values: Sequence[Any], scale: str) -> None:
    """Gives an axis the scale of a hyperparameter, and its ticks.

    Args:
        axis: matplotlib's axis.
        values: the different values.
        scale: what :func:`places` returned.
    """
    from fnopt.core.ticks import number_ticks

    if scale == "names":
        name_ticks(axis, values)
    else:
        numbers = [float(value) for value in values]
        number_ticks(axis, min(numbers), max(numbers), logarithmic=scale == "log")


def name_ticks(axis: Any, values: Sequence[Any], room: float = 0.5) -> None:
    """Gives an axis a tick at 0, 1, … for each of these values; long horizontal ones are turned.

    Args:
        axis: matplotlib's axis.
        values: hyperparameters.
        room: place on both sides.
    """
    texts = short_texts(values, 28)
    if axis.axis_name == "x":
        axes = axis.axes
        axes.set_xlim(-room, len(texts) - 1 + room)
        width = axes.figure.get_size_inches()[0] * 0.75 / len(texts)
        turned = max(map(len, texts)) * 0.085 + 0.05 > width
        options = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if turned else {}
        axes.set_xticks(range(len(texts)), texts, **options)
    else:
        axis.axes.set_ylim(-room, len(texts) - 1 + room)
        axis.axes.set_yticks(range(len(texts)), texts)


def words(name: str) -> str:
    """The name of a hyperparameter or metric as a label has it."""
    return name.replace("_", " ")


def _ratio(numbers: np.ndarray) -> float:
    if not numbers.size or numbers.min() <= 0:
        return 0.0
    return float(numbers.max() / numbers.min())
