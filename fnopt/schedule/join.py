"""Schedules one after the other, and factors one upon the other."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Inside, Number, Schedule, Schedules, Static, as_numbers
from fnopt.core.fields import Field
from fnopt.core.types import Numeric
from fnopt.schedule.progress import at_least_one

Boundaries = Annotated[Any, Field(convert=as_numbers, shown="Sequence[float]")]


class join_schedules(Schedule):
    r"""Schedules one after the other, each counting from its own beginning.

    .. math:: \eta_t = \eta^{(i)}(t - b_i) \quad\text{for}\quad b_i \le t < b_{i+1}, \; b_0 = 0

    Args:
        schedules: the schedules; numbers and any callables are accepted.
        boundaries: the counts :math:`b_1 \le b_2 \le \dots` from which the next schedule applies.

    Raises:
        ValueError: there is not one boundary between every two schedules, or they fall.

    When:
        Phases that no single schedule here has.

    >>> import fnopt
    >>> schedule = fnopt.join_schedules([fnopt.linear_schedule(0.0, 1.0, 2), 1.0, 0.5], [2, 4])
    >>> [float(schedule(count)) for count in range(5)]
    [0.0, 0.5, 1.0, 1.0, 0.5]
    """

    schedules: Schedules
    boundaries: Boundaries

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.boundaries) != len(self.schedules) - 1:
            raise ValueError(
                f"join_schedules: {len(self.schedules)} schedules need {len(self.schedules) - 1}"
                f" boundaries, got {len(self.boundaries)}"
            )
        known = [b for b in self.boundaries if isinstance(b, float)]
        if known != sorted(known):
            raise ValueError(f"join_schedules: boundaries must not fall, got {self.boundaries}")

    def at(self, count: jax.Array) -> Numeric:
        value = self.schedules[0](count)
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            # Before its turn a schedule is not evaluated: far below 0 its slope may be no number.
            since = jnp.where(count < boundary, 0.0, count - boundary)
            value = jnp.where(count < boundary, value, schedule(since))
        return value


class multiplicative_schedule(Schedule):
    r"""A value that every update multiplies by another factor.

    .. math:: \eta_t = \eta_0 \prod_{i=1}^{\min(t, T)} f(i)

    Args:
        init_value: value at the start, :math:`\eta_0`.
        factor: factor of every update, :math:`f`, a schedule, a number or any callable.
        transition_steps: number of factors, an integer :math:`T \ge 1`, static. All products are
            formed at every call, so a product that has a formula is better written as one.

    Raises:
        TypeError, ValueError: ``transition_steps`` is no integer, or below 1.

    When:
        A recipe given by its factors; else :class:`exponential_decay` or
        :class:`piecewise_constant_schedule`.

    >>> import fnopt
    >>> schedule = fnopt.multiplicative_schedule(1.0, lambda i: 1 - 1 / (i + 1), 3)
    >>> [round(float(schedule(count)), 3) for count in range(5)]
    [1.0, 0.5, 0.333, 0.25, 0.25]
    """

    init_value: Number
    factor: Inside
    transition_steps: Static[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "transition_steps")

    def at(self, count: jax.Array) -> Numeric:
        steps = jnp.arange(1, self.transition_steps + 1).astype(count.dtype)
        factors = jnp.broadcast_to(self.factor(steps), steps.shape)
        products = jnp.concatenate([jnp.ones_like(factors[:1]), jnp.cumprod(factors)])
        return self.init_value * products[jnp.clip(count, 0, self.transition_steps).astype(int)]
