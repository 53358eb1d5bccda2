"""Schedules that fall by a factor, or as one over the count, without an end."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, Static, Steps
from fnopt.core.types import Numeric
from fnopt.schedule.progress import Factor, elapsed, positive


class exponential_decay(Schedule):
    r"""A factor every so many updates, continuously or in stairs.

    .. math:: \eta_t = \eta_0\,r^{\,s}, \qquad s = \max(t - t_0, 0)\,/\,T

    Args:
        init_value: value at the start, :math:`\eta_0`.
        transition_steps: number of updates per factor, :math:`T`; at 0 or below the value stays
            :math:`\eta_0`.
        decay_rate: factor, :math:`r \ge 0`; at 0 the value stays :math:`\eta_0`.
        transition_begin: count at which the change begins, :math:`t_0`; 0 if below.
        staircase: whether to take :math:`\lfloor s \rfloor` for :math:`s`.
        end_value: bound of the value, a lower one if :math:`r < 1`, else an upper one; none if
            None.

    Raises:
        ValueError: ``decay_rate`` is negative.

    When:
        A length that is not known; with a rate above 1, the learning-rate range test.

    References:
        Li & Arora, *An exponential learning rate schedule for deep learning*, ICLR 2020,
        arXiv:1910.07454.
    """

    init_value: Number
    transition_steps: Number
    decay_rate: Factor
    transition_begin: Number = 0.0
    staircase: Static[bool] = False
    end_value: Number = None

    def at(self, count: jax.Array) -> Numeric:
        since, length = elapsed(count, self.transition_begin), positive(self.transition_steps)
        power = since // length if self.staircase else since / length
        moves = (self.transition_steps > 0) & (self.decay_rate != 0)
        rate = jnp.where(moves, self.decay_rate, 1.0)
        value = self.init_value * rate**power
        if self.end_value is not None:
            end = jnp.where(moves, self.end_value, self.init_value)
            value = jnp.where(rate < 1, jnp.maximum(value, end), jnp.minimum(value, end))
        return value


class natural_exponential_decay(Schedule):
    r"""Exponential annealing by a rate: :math:`\eta_t = \eta_0\,e^{-k t}`.

    Args:
        init_value: value at the start, :math:`\eta_0`.
        k: decrease per update, :math:`k`.

    When:
        As :class:`exponential_decay`, where the source gives a rate and no factor.

    References:
        Senior, Heigold, Ranzato & Yang, *An empirical study of learning rates in deep neural
        networks for speech recognition*, ICASSP 2013 (exponential scheduling).
    """

    init_value: Number
    k: Number

    def at(self, count: jax.Array) -> Numeric:
        return self.init_value * jnp.exp(-self.k * count)


class step_decay(Schedule):
    r"""A factor after every so many updates: :math:`\eta_t = \eta_0\,f^{\lfloor t / n \rfloor}`.

    Args:
        init_value: value at the start, :math:`\eta_0`.
        factor: factor of each stair, :math:`f`.
        every: number of updates (not epochs) per factor, :math:`n > 0`.

    When:
        Older vision recipes (a tenth every 30 epochs); a smooth decay is rarely worse.

    References:
        Ge, Kakade, Kidambi & Netrapalli, *The step decay schedule: a near optimal, geometrically
        decaying learning rate procedure for least squares*, NeurIPS 2019, arXiv:1904.12838.

    >>> import fnopt
    >>> schedule = fnopt.step_decay(1.0, 0.5, every=2)
    >>> [float(schedule(count)) for count in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    init_value: Number
    factor: Number
    every: Steps

    def at(self, count: jax.Array) -> Numeric:
        stairs = count // self.every
        value = self.init_value * self.factor ** jnp.maximum(stairs, 1)
        return jnp.where(stairs > 0, value, self.init_value)  # 0**0 has no slope


class inverse_time_decay(Schedule):
    r"""One over a line, continuously or in stairs.

    .. math:: \eta_t = \frac{\eta_0}{1 + r\,s}, \qquad s = \max(t - t_0, 0)\,/\,T

    Args:
        init_value: value at the start, :math:`\eta_0`.
        transition_steps: number of updates in a unit of :math:`s`, :math:`T > 0`.
        decay_rate: increase of the divisor per unit, :math:`r`.
        transition_begin: count at which the change begins, :math:`t_0`; 0 if below.
        staircase: whether to take :math:`\lfloor s \rfloor` for :math:`s`.

    When:
        Convex problems and theory: the sum of the rates diverges, that of their squares does not.

    References:
        Robbins & Monro, *A stochastic approximation method*, 1951, doi:10.1214/aoms/1177729586;
        Bottou, *Stochastic gradient descent tricks*, 2012, doi:10.1007/978-3-642-35289-8_25.

    >>> import fnopt
    >>> schedule = fnopt.inverse_time_decay(1.0, 2, 1.0)
    >>> [float(schedule(count)) for count in (0, 2, 6)]
    [1.0, 0.5, 0.25]
    """

    init_value: Number
    transition_steps: Steps
    decay_rate: Number
    transition_begin: Number = 0.0
    staircase: Static[bool] = False

    def at(self, count: jax.Array) -> Numeric:
        since, length = elapsed(count, self.transition_begin), self.transition_steps
        share = since // length if self.staircase else since / length
        return self.init_value / (1 + self.decay_rate * share)
