"""Cosines with restarts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, Steps
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.types import Numeric
from fnopt.schedule.join import join_schedules
from fnopt.schedule.progress import Positive, bend, between
from fnopt.schedule.warmup import warmup_cosine_decay_schedule


def _as_waves(arguments: Any) -> tuple[warmup_cosine_decay_schedule, ...]:
    waves = tuple(
        warmup_cosine_decay_schedule(**one) if isinstance(one, Mapping) else one
        for one in arguments
    )
    for wave in waves:
        if not isinstance(wave, warmup_cosine_decay_schedule):
            raise TypeError(
                f"must be dicts of the arguments of warmup_cosine_decay_schedule, got {wave!r}"
            )
    if not waves:
        raise TypeError("must be at least one, got none")
    return waves


class sgdr_schedule(Schedule):
    r"""Cosines with a warm-up each, one after the other.

    Args:
        cosine_kwargs: one item for each cosine: a dict of the arguments of
            :class:`warmup_cosine_decay_schedule`, or that schedule itself; ``decay_steps`` is its
            length in updates.

    When:
        Restarts listed one by one; :class:`cosine_warm_restarts` has them by a rule, without end.

    References:
        Loshchilov & Hutter, *SGDR*, ICLR 2017, arXiv:1608.03983.
    """

    cosine_kwargs: Annotated[Any, Field(convert=_as_waves, shown="Sequence[dict[str, float]]")]

    def at(self, count: jax.Array) -> Numeric:
        lengths = [wave.decay_steps for wave in self.cosine_kwargs]
        return join_schedules(self.cosine_kwargs, tuple(itertools.accumulate(lengths[:-1]))).at(
            count
        )


class cosine_warm_restarts(Schedule):
    r"""Half waves of a cosine without end, each optionally longer than the last.

    .. math:: \eta_t = \eta_T + \tfrac12 (\eta_0 m^i - \eta_T)
        \Bigl(1 + \cos \pi\,\frac{t - t_i}{T_i}\Bigr), \qquad
        T_i = T_0\,q^i, \quad t_{i+1} = t_i + T_i, \quad t_0 = 0

    Args:
        init_value: value at the start, :math:`\eta_0`.
        decay_steps: length of the first wave in updates, :math:`T_0 > 0`.
        t_mult: ratio of one length to the last, :math:`q \ge 1`.
        m_mult: ratio of the first value of a wave to that of the last, :math:`m > 0`; 1 in the
            paper.
        end_value: value at the end, :math:`\eta_T`.

    When:
        Snapshots to average or to vote, or a run that may stop at the end of any wave.

    References:
        Loshchilov & Hutter, *SGDR*, ICLR 2017, arXiv:1608.03983, eq. 5 and section 3 (:math:`q` is
        its :math:`T_{mult}`).

    >>> import fnopt
    >>> schedule = fnopt.cosine_warm_restarts(1.0, 2, t_mult=2.0)
    >>> [round(float(schedule(count)), 3) for count in range(7)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    init_value: Number
    decay_steps: Steps
    t_mult: Annotated[Any, Field(Interval("[1, inf)"))] = 1.0
    m_mult: Positive = 1.0
    end_value: Number = 0.0

    def at(self, count: jax.Array) -> Numeric:
        index, since, length = _period(count, self.decay_steps, self.t_mult)
        start = self.init_value * self.m_mult**index
        return between(start, self.end_value, bend("cosine", since / length))


def _period(count: jax.Array, first: Any, growth: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The number of a period, the count within it and its length; each is the last's by a factor.

    Blocks of 2^k periods are passed, the largest first: exact where a logarithm would miss a
    restart by rounding, of every slope, and right for a factor of 1.
    """
    power, total = jnp.asarray(growth).astype(count.dtype), jnp.ones((), count.dtype)
    blocks = []  # of 2^k periods: the growth over them, and their length in that of the first
    for k in range(24):
        blocks.append((2.0**k, power, total))
        # Far beyond any count, and far below where an infinity would spoil the slopes.
        total, power = (jnp.minimum(x, 1e15) for x in (total + power * total, power**2))
    index, since, length = jnp.zeros_like(count), count, jnp.broadcast_to(first, count.shape)
    for periods, power, total in reversed(blocks):
        passed = since >= length * total
        index = jnp.where(passed, index + periods, index)
        since = jnp.where(passed, since - length * total, since)
        length = jnp.where(passed, length * power, length)
    return index, since, length
