"""Cosines, and the schedule that is a function of the epoch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from fnopt.compat.torch.lr_scheduler.base import (
    Count,
    LearningRate,
    Overwriting,
    TorchSchedule,
    function_schedule,
    looked_up,
    must_be_callable,
    must_trace,
    set_table,
    values_at,
)
from fnopt.compat.torch.lr_scheduler.simulate import Group
from fnopt.core import Number, Schedule, Static, Steps
from fnopt.schedule.cyclic import cosine_annealing_schedule
from fnopt.schedule.restarts import cosine_warm_restarts


class CosineAnnealingLR(TorchSchedule):
    r"""Half a wave of a cosine down, and up again, without end: torch's does not stay.

    .. math:: \eta_t = \eta_{\min} + \tfrac12 (\eta_0 - \eta_{\min})(1 + \cos \pi\,t / T)

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        T_max: half the length of a wave in updates, :math:`T > 0`.
        eta_min: lowest rate, :math:`\eta_{\min}`.

    Raises:
        ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.CosineAnnealingLR``; :func:`fnopt.cosine_annealing_schedule`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.CosineAnnealingLR(1.0, 2)
    >>> [round(float(schedule(count)), 3) for count in range(5)]
    [1.0, 0.5, 0.0, 0.5, 1.0]
    """

    lr: LearningRate
    T_max: Steps
    eta_min: Number = 0.0

    def closed(self) -> Schedule:
        return cosine_annealing_schedule(self.lr, self.T_max, self.eta_min)

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        if initial:
            return group.lr
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:  # from the bottom
            return group.lr + (base - self.eta_min) * (1 - math.cos(math.pi / self.T_max)) / 2
        now, before = (1 + math.cos(math.pi * e / self.T_max) for e in (epoch, epoch - 1))
        return now / before * (group.lr - self.eta_min) + self.eta_min


class CosineAnnealingWarmRestarts(Overwriting):
    r"""Half waves of a cosine without end, each so many times as long as the last.

    .. math:: \eta_t = \eta_{\min} + \tfrac12 (\eta_0 - \eta_{\min})
        \Bigl(1 + \cos \pi\,\frac{t - t_i}{T_i}\Bigr), \qquad T_i = T_0\,q^i

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        T_0: length of the first wave in updates, a whole number :math:`T_0 \ge 1`.
        T_mult: ratio of one length to the last, a whole number :math:`q \ge 1`.
        eta_min: lowest rate, :math:`\eta_{\min}`.

    Raises:
        TypeError, ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``;
        :func:`fnopt.cosine_warm_restarts`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.CosineAnnealingWarmRestarts(1.0, 1, T_mult=2)
    >>> [round(float(schedule(count)), 3) for count in range(5)]
    [1.0, 1.0, 0.5, 1.0, 0.854]
    """

    lr: LearningRate
    T_0: Count
    T_mult: Count = 1.0
    eta_min: Number = 0.0

    def closed(self) -> Schedule:
        return cosine_warm_restarts(self.lr, self.T_0, self.T_mult, end_value=self.eta_min)


class LambdaLR(Overwriting):
    r"""The rate times a function of the epoch: :math:`\eta_t = \eta_0\,f(t)`.

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        lr_lambda: factor :math:`f`. Without ``steps`` it is traced with the count as a float array,
            and is structure, compared by identity. With ``steps`` it is any Python function, called
            with integers when the schedule is created.
        steps: the number of updates to tabulate; the last one's factor stays.

    Raises:
        TypeError, ValueError: ``lr_lambda`` is no function, or one that JAX cannot trace and
            ``steps`` is None.

    References:
        ``torch.optim.lr_scheduler.LambdaLR``.

    >>> import math
    >>> from fnopt.compat.torch import lr_scheduler
    >>> traced = lr_scheduler.LambdaLR(1.0, lambda epoch: 0.5**epoch)
    >>> tabulated = lr_scheduler.LambdaLR(1.0, lambda epoch: math.exp(-epoch), steps=3)
    >>> [float(traced(count)) for count in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    >>> [round(float(tabulated(count)), 3) for count in range(4)]
    [1.0, 0.368, 0.135, 0.135]
    """

    lr: LearningRate
    lr_lambda: Static[Callable[[Any], Any]]
    steps: Static[int | None] = None
    table: Number = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        must_be_callable(self, "lr_lambda")
        if self.steps is None:
            must_trace(self, "lr_lambda")
        set_table(self, lambda steps: values_at(self.lr_lambda, range(steps)))

    def closed(self) -> Schedule:
        traced = self.table is None
        return (function_schedule(self.lr_lambda) if traced else looked_up(self.table)) * self.lr

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        return base * float(self.lr_lambda(epoch))
