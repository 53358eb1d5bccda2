"""Scales and ticks of a sweep's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.sweeps.texts import cut, is_number, short_texts

WIDE = 5.0
"""Values have a logarithmic axis from this ratio of the largest to the smallest on."""

SHARE = 0.62
"""The share of a figure's width that its columns have at least."""
CHARACTER = 0.085
"""Inches of a character of a tick."""
READABLE = 14
"""Characters at which a line of a tick is still worth reading where it is cut."""
MOST_TURNED = 13
"""Most ticks that have room when they are turned."""


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
        The places, and ``"log"`` for positive numbers that differ by a factor of 5 and lie more
        evenly on a logarithmic axis, ``"linear"`` for other numbers. It is ``"names"``, with the
        places 0, 1, …, for what is no number, and for numbers with a zero among such as are
        ``"log"``.

    >>> places([0.001, 0.01]), places([0.8, 0.9]), places([0.0, 0.001, 0.01])[1]
    ((array([0.001, 0.01 ]), 'log'), (array([0.8, 0.9]), 'linear'), 'names')
    """
    if not all(map(is_number, values)):
        return np.arange(len(values), dtype=float), "names"
    numbers = np.array([float(value) for value in values])
    if _is_logarithmic(numbers):
        return numbers, "log"
    if numbers.min() == 0 and _is_logarithmic(numbers[numbers > 0]):
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
    """Gives an axis a tick at 0, 1, … for each of these values.

    Args:
        axis: matplotlib's axis.
        values: hyperparameters.
        room: place on both sides.
    """
    if axis.axis_name == "x":
        axis.axes.set_xlim(-room, len(values) - 1 + room)
        _name_columns(axis.axes, values)
    else:
        texts = short_texts(values, 28)
        axis.axes.set_ylim(-room, len(texts) - 1 + room)
        axis.axes.set_yticks(range(len(texts)), texts)


def _name_columns(axes: Any, values: Sequence[Any]) -> None:
    """Ticks for columns: a call in two lines, or turned where there is no room; not too many."""
    number = len(values)
    characters = int(axes.figure.get_size_inches()[0] * SHARE / number / CHARACTER)
    lines = [text.split("(", 1) for text in short_texts(values)]
    wide = max(len(line) for parts in lines for line in parts) + 1
    if wide < characters or characters > READABLE:
        texts = ["\n(".join(cut(line, max(characters - 2, 1)) for line in parts) for parts in lines]
        axes.set_xticks(range(number), texts)
    else:
        every = -(-number // MOST_TURNED)
        texts = short_texts(values, READABLE + 8)[::every]
        options = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(0, number, every), texts, **options)


def whole_ticks(axis: Any) -> None:
    """Gives an axis of epochs ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    low, high = axis.get_view_interval()
    if high - low < 1:  # a single epoch
        axis.axes.set_xlim(round(low) - 0.5, round(high) + 0.5)
    locator = MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    axis.set_major_locator(locator)


def words(name: str) -> str:
    """The name of a hyperparameter or metric as a label has it."""
    return name.replace("_", " ")


def _is_logarithmic(numbers: np.ndarray) -> bool:
    """Whether numbers lie more evenly on a logarithmic axis than on a linear one.

    As a test of likelihoods: between the smallest number a and the largest b, the density of the
    others is 1 / (x log(b / a)) where they are even on a logarithmic axis and 1 / (b - a) where
    they are on a linear one. Of two numbers none says so, and their ratio alone decides.
    """
    if _ratio(numbers) < WIDE:
        return False
    low, *between, high = np.sort(numbers)
    logarithmic_mean = (high - low) / np.log(high / low)
    return not between or float(np.mean(np.log(between))) < np.log(logarithmic_mean)


def _ratio(numbers: np.ndarray) -> float:
    if not numbers.size or numbers.min() <= 0:
        return 0.0
    return float(numbers.max() / numbers.min())
