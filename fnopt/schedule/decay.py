"""Schedules that go from one value to another in a fixed number of updates."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, Steps
from fnopt.core.types import Numeric
from fnopt.schedule.progress import between, elapsed, positive, progress


class polynomial_schedule(Schedule):
    r"""From one value to another along a power of the way that is left.

    .. math:: \eta_t = (\eta_0 - \eta_T)\,(1 - s)^p + \eta_T, \qquad
        s = \min(\max(t - t_0, 0), T)\,/\,T

    Args:
        init_value: value at the start, :math:`\eta_0`.
        end_value: value at the end, :math:`\eta_T`.
        power: power of the share that is left, :math:`p`.
        transition_steps: length in updates, :math:`T`; at 0 or below the value stays
            :math:`\eta_0`.
        transition_begin: count at which the change begins, :math:`t_0`; 0 if below.

    When:
        Segmentation recipes (power 0.9), and wherever a straight line falls too early or too late.

    References:
        Chen, Papandreou, Kokkinos, Murphy & Yuille, *DeepLab*, 2017, arXiv:1606.00915 (the "poly"
        policy).
    """

    init_value: Number
    end_value: Number
    power: Number
    transition_steps: Number
    transition_begin: Number = 0.0

    def at(self, count: jax.Array) -> Numeric:
        since, length = elapsed(count, self.transition_begin), positive(self.transition_steps)
        # The end is its own branch: T / T may fall short of 1, and 0**p has no slope where p < 1.
        done = (since >= length) & (self.power != 0)
        left = (1 - jnp.where(done, 0.0, since) / length) ** self.power
        value = jnp.where(done, self.end_value, between(self.end_value, self.init_value, left))
        return jnp.where(self.transition_steps > 0, value, self.init_value)


class linear_schedule(Schedule):
    r"""From one value to another in a straight line.

    .. math:: \eta_t = \eta_0 + (\eta_T - \eta_0)\,\min(\max(t - t_0, 0), T)\,/\,T

    Args:
        init_value: value at the start, :math:`\eta_0`.
        end_value: value at the end, :math:`\eta_T`.
        transition_steps: length in updates, :math:`T`; at 0 or below the value stays
            :math:`\eta_0`.
        transition_begin: count at which the change begins, :math:`t_0`; 0 if below.

    When:
        A budget that is known, above all a short one, down to 0.

    References:
        Li, Yumer & Ramanan, *Budgeted training*, ICLR 2020, arXiv:1905.04753.

    >>> import fnopt
    >>> schedule = fnopt.linear_schedule(1.0, 0.0, 4)
    >>> [float(schedule(count)) for count in range(6)]
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    init_value: Number
    end_value: Number
    transition_steps: Number
    transition_begin: Number = 0.0

    def at(self, count: jax.Array) -> Numeric:
        return polynomial_schedule(
            self.init_value, self.end_value, 1, self.transition_steps, self.transition_begin
        ).at(count)


class cosine_decay_schedule(Schedule):
    r"""Half a wave of a cosine, from a value to a share of it.

    .. math:: \eta_t = \eta_0\,\Bigl((1 - \alpha)\,
        \bigl(\tfrac12 (1 + \cos \pi\,\min(t, T) / T)\bigr)^p + \alpha\Bigr)

    Args:
        init_value: value at the start, :math:`\eta_0`.
        decay_steps: length of the decay in updates, :math:`T > 0`.
        alpha: share of the value at the end, :math:`\alpha`.
        exponent: power of the wave, :math:`p`.

    When:
        The usual choice for a length that is known and will not change.

    References:
        Loshchilov & Hutter, *SGDR*, ICLR 2017, arXiv:1608.03983, eq. 5 without restarts.
    """

    init_value: Number
    decay_steps: Steps
    alpha: Number = 0.0
    exponent: Number = 1.0

    def at(self, count: jax.Array) -> Numeric:
        # The end is its own branch: 0**p has no slope where p < 1.
        done = (count >= self.decay_steps) & (self.exponent != 0)
        wave = 0.5 * (1 + jnp.cos(jnp.pi * jnp.where(done, 0.0, count) / self.decay_steps))
        share = jnp.where(done, 0.0, wave**self.exponent)
        return self.init_value * between(self.alpha, 1.0, share)


class rex_schedule(Schedule):
    r"""Reflected exponential decay: slower than a line at first, faster at the end.

    .. math:: \eta_t = \eta_T + (\eta_0 - \eta_T)\,\frac{1 - s}{\tfrac12 + \tfrac12 (1 - s)},
        \qquad s = \min(t, T)\,/\,T

    Args:
        init_value: value at the start, :math:`\eta_0`.
        decay_steps: length of the decay in updates, :math:`T > 0`.
        end_value: value at the end, :math:`\eta_T`; 0 in the paper.

    When:
        A budget that is known, short or long, and no wish to tune the shape.

    References:
        Chen, Wolfe & Kyrillidis, *REX: Revisiting budgeted training with an improved schedule*,
        MLSys 2022, arXiv:2107.04197.

    >>> import fnopt
    >>> schedule = fnopt.rex_schedule(1.5, 2)
    >>> [float(schedule(count)) for count in range(4)]
    [1.5, 1.0, 0.0, 0.0]
    """

    init_value: Number
    decay_steps: Steps
    end_value: Number = 0.0

    def at(self, count: jax.Array) -> Numeric:
        left = 1 - progress(count, self.decay_steps)
        return between(self.end_value, self.init_value, left / (0.5 + 0.5 * left))
