"""Schedules defined by their values at some counts, and the one cycle in optax's form."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, Steps, Table
from fnopt.core.types import Numeric
from fnopt.schedule.progress import Positive, Shape, Share, path


class piecewise_constant_schedule(Schedule):
    r"""A constant, multiplied by a factor at each of some counts.

    .. math:: \eta_t = \eta_0 \prod_{i:\; b_i \le t} f_i

    Args:
        init_value: value at the start, :math:`\eta_0`.
        boundaries_and_scales: a dict from counts :math:`b_i` to factors :math:`f_i \ge 0`.

    Raises:
        ValueError: a factor is negative.

    When:
        A recipe with milestones (a tenth at 30, 60 and 90 epochs).

    References:
        He, Zhang, Ren & Sun, *Deep residual learning for image recognition*, CVPR 2016,
        arXiv:1512.03385, section 3.4.

    >>> import fnopt
    >>> schedule = fnopt.piecewise_constant_schedule(1.0, {2: 0.5, 4: 0.5})
    >>> [float(schedule(count)) for count in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    init_value: Number
    boundaries_and_scales: Table = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_negative(self)

    def at(self, count: jax.Array) -> Numeric:
        value = self.init_value
        for boundary, factor in self.boundaries_and_scales or ():
            value = value * jnp.where(count < boundary, 1.0, factor)
        return value


class piecewise_interpolate_schedule(Schedule):
    r"""From value to value along lines or waves, each the last times a factor.

    .. math:: \eta_{b_i} = \eta_0 \prod_{j \le i} f_j, \qquad b_0 = 0

    Args:
        interpolate_type: shape between the boundaries, ``"linear"`` or ``"cosine"`` (half a wave).
        init_value: value at the start, :math:`\eta_0`.
        boundaries_and_scales: a dict from counts :math:`b_i` to factors :math:`f_i \ge 0`.

    Raises:
        ValueError: ``interpolate_type`` is neither, or a factor is negative.

    When:
        A custom shape; :func:`fnopt.join_schedules` takes values where this takes factors.

    >>> import fnopt
    >>> schedule = fnopt.piecewise_interpolate_schedule("linear", 1.0, {2: 0.5, 4: 0.5})
    >>> [float(schedule(count)) for count in range(6)]
    [1.0, 0.75, 0.5, 0.375, 0.25, 0.25]
    """

    interpolate_type: Shape
    init_value: Number
    boundaries_and_scales: Table = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_negative(self)

    def at(self, count: jax.Array) -> Numeric:
        boundaries, values = [0.0], [self.init_value]
        for boundary, factor in self.boundaries_and_scales or ():
            boundaries.append(boundary)
            values.append(values[-1] * factor)
        return path(self.interpolate_type, count, boundaries, values)


class linear_onecycle_schedule(Schedule):
    r"""A line up, one down again, and one further down: Smith's one cycle.

    From ``peak_value / div_factor`` to ``peak_value``, back, and to ``peak_value / div_factor /
    final_div_factor``, as optax has it. The shares of the length are rounded down to counts, so
    they have no slope; :func:`fnopt.onecycle_schedule` has one, and takes values.

    Args:
        transition_steps: length of the cycle in updates, at whose count the last value is reached.
        peak_value: highest value.
        pct_start: share of the length, in [0, 1], at which the peak is reached.
        pct_final: share of the length, in [0, 1], at which the first value is reached again.
        div_factor: ratio of the peak to the first value, above 0.
        final_div_factor: ratio of the first value to the last, above 0.

    Raises:
        ValueError: an argument is out of its range, or ``pct_final`` lies before ``pct_start``.

    When:
        Short runs of convolutional networks at a rate near the largest that is stable.

    References:
        Smith & Topin, *Super-convergence*, 2017, arXiv:1708.07120.
    """

    transition_steps: Steps
    peak_value: Number
    pct_start: Share = 0.3
    pct_final: Share = 0.85
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = self.pct_start, self.pct_final
        if all(isinstance(share, float) for share in shares) and shares[1] < shares[0]:
            raise ValueError(
                "linear_onecycle_schedule: pct_final must not lie before"
                f" pct_start={shares[0]}, got {shares[1]}"
            )

    def at(self, count: jax.Array) -> Numeric:
        steps, peak = self.transition_steps, self.peak_value
        first = peak / self.div_factor
        turns = [0.0, _whole(self.pct_start * steps), _whole(self.pct_final * steps), steps]
        return path("linear", count, turns, [first, peak, first, first / self.final_div_factor])


class cosine_onecycle_schedule(Schedule):
    r"""Half a wave up and a longer one down: one cycle without the way back.

    From ``peak_value / div_factor`` to ``peak_value`` and to ``peak_value / div_factor /
    final_div_factor``, as optax has it. The share of the length is rounded down to a count, so it
    has no slope; :func:`fnopt.onecycle_schedule` has one, and takes values.

    Args:
        transition_steps: length of the cycle in updates, at whose count the last value is reached.
        peak_value: highest value.
        pct_start: share of the length, in [0, 1], at which the peak is reached.
        div_factor: ratio of the peak to the first value, above 0.
        final_div_factor: ratio of the first value to the last, above 0.

    Raises:
        ValueError: an argument is out of its range.

    When:
        As :func:`fnopt.linear_onecycle_schedule`; a warm-up and a cosine by other arguments.

    References:
        Smith & Topin, *Super-convergence*, 2017, arXiv:1708.07120.
    """

    transition_steps: Steps
    peak_value: Number
    pct_start: Share = 0.3
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4

    def at(self, count: jax.Array) -> Numeric:
        steps, peak = self.transition_steps, self.peak_value
        first = peak / self.div_factor
        turns = [0.0, _whole(self.pct_start * steps), steps]
        return path("cosine", count, turns, [first, peak, first / self.final_div_factor])


def _refuse_negative(schedule: Any) -> None:
    for boundary, factor in schedule.boundaries_and_scales or ():
        if isinstance(factor, float) and factor < 0:
            raise ValueError(
                f"{type(schedule).__name__}: boundaries_and_scales must have non-negative scales,"
                f" got {factor} at {boundary}"
            )


def _whole(steps: Any) -> Any:
    """Rounded down; 0.29 * 100 is 29 despite rounding."""
    return jnp.floor(steps * (1 + 2 * jnp.finfo(jnp.result_type(float)).eps))
