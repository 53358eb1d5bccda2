"""Schedules that begin with a straight line up."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, Static, Steps
from fnopt.core.types import Numeric
from fnopt.schedule.decay import cosine_decay_schedule, linear_schedule, polynomial_schedule
from fnopt.schedule.exponential import exponential_decay
from fnopt.schedule.join import join_schedules
from fnopt.schedule.progress import Factor, Length, between, falling, progress


class warmup_constant_schedule(Schedule):
    r"""A straight line up to a value that stays.

    Args:
        init_value: value at count 0.
        peak_value: value at count ``warmup_steps`` and after.
        warmup_steps: length of the line in updates, at least 0; at 0 the peak is reached at once
            (in optax the value then never leaves ``init_value``).

    When:
        Another part decays the rate, or a decay is to follow from a checkpoint.

    References:
        Goyal et al., *Accurate, large minibatch SGD*, 2017, arXiv:1706.02677, section 2.2.
    """

    init_value: Number
    peak_value: Number
    warmup_steps: Length

    def at(self, count: jax.Array) -> Numeric:
        return between(self.init_value, self.peak_value, progress(count, self.warmup_steps))


class warmup_cosine_decay_schedule(Schedule):
    r"""A straight line up, then half a wave of a cosine down.

    Args:
        init_value: value at count 0.
        peak_value: value at count ``warmup_steps``.
        warmup_steps: length of the line in updates, at least 0.
        decay_steps: length of line and wave together in updates, above ``warmup_steps``.
        end_value: value at count ``decay_steps`` and after.
        exponent: power of the wave, see :class:`cosine_decay_schedule`.

    Raises:
        ValueError: ``decay_steps`` is not above ``warmup_steps``.

    When:
        Transformers and large batches, for a length that is known: the usual choice.

    References:
        Goyal et al., *Accurate, large minibatch SGD*, 2017, arXiv:1706.02677 (the line);
        Loshchilov & Hutter, *SGDR*, ICLR 2017, arXiv:1608.03983, eq. 5 (the wave).
    """

    init_value: Number
    peak_value: Number
    warmup_steps: Length
    decay_steps: Steps
    end_value: Number = 0.0
    exponent: Number = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        falling(self, "decay_steps", "warmup_steps", "counts the warm-up too")

    def at(self, count: jax.Array) -> Numeric:
        peak = jnp.where(self.peak_value == 0, 1.0, self.peak_value)
        share = jnp.where(self.peak_value == 0, 0.0, self.end_value / peak)
        fall = cosine_decay_schedule(
            self.peak_value, self.decay_steps - self.warmup_steps, share, self.exponent
        )
        return _warmed_up(self, fall).at(count)


class warmup_exponential_decay_schedule(Schedule):
    r"""A straight line up, then a factor every so many updates.

    Args:
        init_value: value at count 0.
        peak_value: value at count ``warmup_steps``.
        warmup_steps: length of the line in updates, at least 0.
        transition_steps: number of updates per factor, counted after the line.
        decay_rate: factor of the decay, at least 0.
        transition_begin: number of updates that the peak stays after the line.
        staircase: whether to decay in stairs.
        end_value: bound of the value, see :class:`exponential_decay`; none if None.

    Raises:
        ValueError: a number is out of its range.

    When:
        A length that is not known, with a warm-up.

    References:
        Tan & Le, *EfficientNet*, ICML 2019, arXiv:1905.11946, section 5.2 (the decay, by 0.97).
    """

    init_value: Number
    peak_value: Number
    warmup_steps: Length
    transition_steps: Number
    decay_rate: Factor
    transition_begin: Number = 0.0
    staircase: Static[bool] = False
    end_value: Number = None

    def at(self, count: jax.Array) -> Numeric:
        fall = exponential_decay(
            self.peak_value,
            self.transition_steps,
            self.decay_rate,
            self.transition_begin,
            self.staircase,
            self.end_value,
        )
        return _warmed_up(self, fall).at(count)


class warmup_polynomial_decay_schedule(Schedule):
    r"""A straight line up, then down along a power of the way that is left.

    Args:
        init_value: value at count 0.
        peak_value: value at count ``warmup_steps``.
        warmup_steps: length of the line in updates, at least 0.
        decay_steps: length of line and decay together in updates, above ``warmup_steps``.
        end_value: value at count ``decay_steps`` and after.
        power: power of the decay, 1 for a straight line; see :class:`polynomial_schedule`.

    Raises:
        ValueError: ``decay_steps`` is not above ``warmup_steps``.

    When:
        Fine-tuning and large batches; with ``power=1``, BERT's.

    References:
        Devlin, Chang, Lee & Toutanova, *BERT*, NAACL 2019, arXiv:1810.04805, appendix A.2;
        You et al., *LAMB*, ICLR 2020, arXiv:1904.00962.

    >>> import fnopt
    >>> schedule = fnopt.warmup_polynomial_decay_schedule(0.0, 1.0, 2, 6)
    >>> [float(schedule(count)) for count in range(8)]
    [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    init_value: Number
    peak_value: Number
    warmup_steps: Length
    decay_steps: Steps
    end_value: Number = 0.0
    power: Number = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        falling(self, "decay_steps", "warmup_steps", "counts the warm-up too")

    def at(self, count: jax.Array) -> Numeric:
        length = self.decay_steps - self.warmup_steps
        fall = polynomial_schedule(self.peak_value, self.end_value, self.power, length)
        return _warmed_up(self, fall).at(count)


def _warmed_up(schedule: Any, then: Schedule) -> join_schedules:
    """The line up of a schedule, then another."""
    rise = linear_schedule(schedule.init_value, schedule.peak_value, schedule.warmup_steps)
    return join_schedules((rise, then), (schedule.warmup_steps,))
