"""Schedules that go up and down: once, or again and again."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Number, Schedule, Static, Steps
from fnopt.core.fields import Field
from fnopt.core.types import Numeric
from fnopt.schedule.progress import Positive, Shape, Share, bend, between, path, progress

Mode = Annotated[Any, Field(static=True, choices=("triangular", "triangular2", "exp_range"))]


class cyclic_schedule(Schedule):
    r"""Triangles without end, of one height or of falling ones.

    .. math:: \eta_t = \eta_0 + (\eta_1 - \eta_0)\,h_t\,a_t

    where :math:`h_t` rises from 0 to 1 and falls to 0 again along lines, and :math:`a_t` is 1
    (``"triangular"``), :math:`2^{-k}` in cycle :math:`k = 0, 1, \dots` (``"triangular2"``) or
    :math:`\gamma^t` (``"exp_range"``).

    Args:
        base_value: value at the bottom, :math:`\eta_0`.
        max_value: value at the top of the first triangle, :math:`\eta_1`. For a momentum that falls
            while the rate rises, the smaller of its two values.
        step_size_up: number of updates from bottom to top, above 0.
        step_size_down: number of updates from top to bottom, above 0; ``step_size_up`` if None.
        mode: choice of :math:`a_t`.
        gamma: factor per update, :math:`\gamma > 0`, for ``"exp_range"``.

    Raises:
        ValueError: an argument is out of its range, or ``mode`` is none of the three.

    When:
        Snapshots to average or to vote, one at the foot of every triangle.

    References:
        Smith, *Cyclical learning rates for training neural networks*, WACV 2017, arXiv:1506.01186.

    >>> import fnopt
    >>> schedule = fnopt.cyclic_schedule(0.0, 1.0, 2, mode="triangular2")
    >>> [float(schedule(count)) for count in range(9)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25, 0.0]
    """

    base_value: Number
    max_value: Number
    step_size_up: Steps = 2000.0
    step_size_down: Steps = None
    mode: Mode = "triangular"
    gamma: Positive = 1.0

    def at(self, count: jax.Array) -> Numeric:
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        cycle, position = _cycle(count, up + down)
        height = jnp.where(position < up, progress(position, up), 1 - progress(position - up, down))
        if self.mode == "triangular2":
            height = height * 0.5**cycle
        elif self.mode == "exp_range":
            height = height * self.gamma**count
        return between(self.base_value, self.max_value, height)


class cosine_annealing_schedule(Schedule):
    r"""A cosine without end: down to a value, up again, and so on.

    .. math:: \eta_t = \eta_T + \tfrac12 (\eta_0 - \eta_T)(1 + \cos \pi\,t / T)

    Args:
        init_value: value at the start, :math:`\eta_0`.
        decay_steps: half the length of a wave in updates, :math:`T > 0`.
        end_value: value at the end, :math:`\eta_T`.

    When:
        torch's annealing is to be met beyond :math:`T` too; :class:`cosine_decay_schedule` stays at
        the bottom, and :class:`cosine_warm_restarts` jumps back.

    References:
        Loshchilov & Hutter, *SGDR*, ICLR 2017, arXiv:1608.03983, eq. 5 (the half wave).

    >>> import fnopt
    >>> schedule = fnopt.cosine_annealing_schedule(1.0, 2)
    >>> [round(float(schedule(count)), 3) for count in range(6)]
    [1.0, 0.5, 0.0, 0.5, 1.0, 0.5]
    """

    init_value: Number
    decay_steps: Steps
    end_value: Number = 0.0

    def at(self, count: jax.Array) -> Numeric:
        _, position = _cycle(count, 2 * self.decay_steps)
        share = bend("cosine", position / self.decay_steps)
        return between(self.init_value, self.end_value, share)


class onecycle_schedule(Schedule):
    r"""One cycle by its values: up to a peak, and down in one phase or two.

    Of :math:`T` updates, the last of which uses ``end_value``, two phases end at the counts
    :math:`pT - 1` and :math:`T - 1`; three, of which the second leads back to ``init_value``, at
    :math:`pT - 1`, :math:`2pT - 2` and :math:`T - 1`. These are torch's counts: the peak may fall
    between two updates.

    Args:
        init_value: value at count 0.
        peak_value: at the end of the first phase. For a momentum that falls while the rate rises,
            the smallest: ``onecycle_schedule(0.95, 0.85, 0.95, steps)``.
        end_value: value at count :math:`T - 1` and after.
        transition_steps: length in updates, :math:`T > 0`.
        pct_start: share of the first phase, :math:`p \in [0, 1]`, at most a half for three phases.
        anneal: shape of every phase, ``"cosine"`` (half a wave) or ``"linear"``.
        three_phase: whether to go back to ``init_value`` as fast as the peak was reached.

    Raises:
        ValueError: an argument is out of its range, or ``anneal`` is neither.

    When:
        Short runs of convolutional networks at a rate near the largest that is stable, with
        momentum cycled the other way.

    References:
        Smith & Topin, *Super-convergence*, 2017, arXiv:1708.07120 (three phases, linear);
        Smith, *A disciplined approach to neural network hyper-parameters*, 2018, arXiv:1803.09820.

    >>> import fnopt
    >>> schedule = fnopt.onecycle_schedule(0.2, 1.0, 0.0, 10, pct_start=0.5, anneal="linear")
    >>> [round(float(schedule(count)), 3) for count in range(11)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0]
    """

    init_value: Number
    peak_value: Number
    end_value: Number
    transition_steps: Steps
    pct_start: Share = 0.3
    anneal: Shape = "cosine"
    three_phase: Static[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.three_phase and isinstance(self.pct_start, float) and self.pct_start > 0.5:
            raise ValueError(
                "onecycle_schedule: pct_start must be at most 0.5 for three phases, the first two"
                f" of which are as long as each other, got {self.pct_start}"
            )

    def at(self, count: jax.Array) -> Numeric:
        top, end = self.pct_start * self.transition_steps - 1, self.transition_steps - 1
        if self.three_phase:
            values = (self.init_value, self.peak_value, self.init_value, self.end_value)
            return path(self.anneal, count, (0.0, top, 2 * top, end), values)
        values = (self.init_value, self.peak_value, self.end_value)
        return path(self.anneal, count, (0.0, top, end), values)


def _cycle(count: jax.Array, length: Any) -> tuple[jax.Array, jax.Array]:
    """The number of a cycle, from 0, and the count within it."""
    cycle = count // length
    return cycle, count - cycle * length
