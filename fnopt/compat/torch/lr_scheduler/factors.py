"""The schedulers that multiply the present rate: they may be chained without a table."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp

from fnopt.compat.torch.lr_scheduler.base import (
    Count,
    Gamma,
    Iterations,
    LearningRate,
    Milestones,
    Multiplying,
    looked_up,
    must_be_callable,
    set_table,
    values_at,
)
from fnopt.compat.torch.lr_scheduler.simulate import Group
from fnopt.core import Number, Schedule, Static, constant_schedule
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.schedule.decay import linear_schedule, polynomial_schedule
from fnopt.schedule.exponential import step_decay
from fnopt.schedule.join import join_schedules
from fnopt.schedule.piecewise import piecewise_constant_schedule
from fnopt.schedule.progress import Share


class StepLR(Multiplying):
    r"""A factor after every so many updates: :math:`\eta_t = \eta_0\,\gamma^{\lfloor t/n \rfloor}`.

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        step_size: number of epochs between reductions, a whole number :math:`n \ge 1`.
        gamma: factor of each reduction, :math:`\gamma \ge 0`.

    Raises:
        ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.StepLR``; :func:`fnopt.step_decay`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.StepLR(1.0, 2, gamma=0.5)
    >>> [float(schedule(count)) for count in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: LearningRate
    step_size: Count
    gamma: Gamma = 0.1

    def closed(self) -> Schedule:
        return step_decay(self.lr, self.gamma, self.step_size)

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        return group.lr if epoch == 0 or epoch % self.step_size else group.lr * self.gamma


class MultiStepLR(Multiplying):
    r"""A factor at every milestone: :math:`\eta_t = \eta_0 \prod_{m_i \le t} \gamma`.

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        milestones: whole counts :math:`m_i \ge 0`, in any order; one that comes twice counts twice.
        gamma: factor of each reduction, :math:`\gamma \ge 0`.

    Raises:
        TypeError, ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.MultiStepLR``; :func:`fnopt.piecewise_constant_schedule`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.MultiStepLR(1.0, [2, 4], gamma=0.5)
    >>> [float(schedule(count)) for count in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    lr: LearningRate
    milestones: Milestones
    gamma: Gamma = 0.1

    def closed(self) -> Schedule:
        return piecewise_constant_schedule(self.lr, [(m, self.gamma) for m in self.milestones])

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        return group.lr * self.gamma ** self.milestones.count(epoch)


class ConstantLR(Multiplying):
    r"""A share of the rate at first: :math:`f\,\eta_0` for :math:`t < T`, then :math:`\eta_0`.

    With :math:`T = 0` torch never leaves :math:`f\,\eta_0`, and so does this; but as a later member
    of :class:`SequentialLR` it then never has it, in both. With :math:`f = 0` torch divides by zero
    at :math:`T`, where this continues to :math:`\eta_0`.

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        factor: factor of the rate, :math:`f \in [0, 1]`.
        total_iters: number of epochs, a whole number :math:`T \ge 0`.

    Raises:
        ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.ConstantLR``; :func:`fnopt.join_schedules`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.ConstantLR(1.0, 0.5, total_iters=2)
    >>> [float(schedule(count)) for count in range(4)]
    [0.5, 0.5, 1.0, 1.0]
    """

    lr: LearningRate
    factor: Share = 1 / 3
    total_iters: Iterations = 5.0

    def closed(self) -> Schedule:
        end = jnp.where(self.total_iters > 0, self.total_iters, jnp.inf)
        return join_schedules((self.lr * self.factor, self.lr), (end,))

    def after(self, present: Any) -> Schedule:
        return join_schedules((self.lr * self.factor, self.lr), (self.total_iters,))

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        if epoch == 0:
            return group.lr * self.factor
        return group.lr * (1 / self.factor) if epoch == self.total_iters else group.lr

    def restarted(self, group: Group, base: float) -> float:
        return base * self.factor if self.total_iters > 0 else base


class LinearLR(Multiplying):
    r"""A straight line from one share of the rate to another, which stays.

    .. math:: \eta_t = \eta_0\,\bigl(a + (b - a)\,\min(t, T)/T\bigr)

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        start_factor: factor at the start, :math:`a \in (0, 1]`.
        end_factor: factor at the end, :math:`b \in [0, 1]`.
        total_iters: number of epochs, a whole number :math:`T \ge 0`; at 0 the rate stays
            :math:`a\,\eta_0`.

    Raises:
        ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.LinearLR``; :func:`fnopt.linear_schedule`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.LinearLR(1.0, 0.25, total_iters=3)
    >>> [float(schedule(count)) for count in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    lr: LearningRate
    start_factor: Annotated[Any, Field(Interval("(0, 1]"))] = 1 / 3
    end_factor: Share = 1.0
    total_iters: Iterations = 5.0

    def closed(self) -> Schedule:
        start, end = self.lr * self.start_factor, self.lr * self.end_factor
        return linear_schedule(start, end, self.total_iters)

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        if epoch == 0:
            return group.lr * self.start_factor
        if initial or epoch > self.total_iters:
            return group.lr
        rise = self.end_factor - self.start_factor
        so_far = self.total_iters * self.start_factor + (epoch - 1) * rise
        return group.lr * (1 + rise / so_far)


class ExponentialLR(Multiplying):
    r"""A factor after every update: :math:`\eta_t = \eta_0\,\gamma^t`.

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        gamma: factor of each reduction, :math:`\gamma \ge 0`.

    Raises:
        ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.ExponentialLR``; :func:`fnopt.step_decay` at every update.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.ExponentialLR(1.0, 0.5)
    >>> [float(schedule(count)) for count in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    lr: LearningRate
    gamma: Gamma

    def closed(self) -> Schedule:
        return step_decay(self.lr, self.gamma, 1.0)

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        return group.lr if initial else group.lr * self.gamma


class PolynomialLR(Multiplying):
    r"""Down to zero along a power: :math:`\eta_t = \eta_0\,(1 - \min(t, T)/T)^p`.

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        total_iters: number of epochs, a whole number :math:`T \ge 0`; at 0 the rate stays
            :math:`\eta_0`.
        power: power of the share that is left, :math:`p`.

    Raises:
        ValueError: an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.PolynomialLR``; :func:`fnopt.polynomial_schedule`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.PolynomialLR(1.0, 2, power=2.0)
    >>> [float(schedule(count)) for count in range(4)]
    [1.0, 0.25, 0.0, 0.0]
    """

    lr: LearningRate
    total_iters: Iterations = 5.0
    power: Number = 1.0

    def closed(self) -> Schedule:
        return polynomial_schedule(self.lr, 0.0, self.power, self.total_iters)

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        if initial or epoch > self.total_iters:
            return group.lr
        left, before = (1 - e / self.total_iters for e in (epoch, epoch - 1))
        return group.lr * (left / before) ** self.power


class MultiplicativeLR(Multiplying):
    r"""A rate that every update multiplies by another factor, tabulated.

    .. math:: \eta_t = \eta_0 \prod_{i=1}^{t} f(i)

    Args:
        lr: the optimizer's rate :math:`\eta_0 \ge 0`.
        lr_lambda: factor :math:`f`, any Python function of the epoch; called when the schedule is
            made.
        steps: the number of updates to tabulate; the last one's rate stays.

    Raises:
        TypeError, ValueError: ``lr_lambda`` is no function, or an argument is out of its range.

    References:
        ``torch.optim.lr_scheduler.MultiplicativeLR``; :func:`fnopt.multiplicative_schedule` is the
        same of a function that JAX can trace.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.MultiplicativeLR(1.0, lambda epoch: epoch / (epoch + 1), steps=4)
    >>> [round(float(schedule(count)), 3) for count in range(5)]
    [1.0, 0.5, 0.333, 0.25, 0.25]
    """

    lr: LearningRate
    lr_lambda: Static[Callable[[int], float]]
    steps: Static[int]
    table: Number = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        must_be_callable(self, "lr_lambda")
        set_table(self, self._products)

    def _products(self, steps: int) -> list[float]:
        factors = values_at(self.lr_lambda, range(1, steps))
        return list(itertools.accumulate(factors, lambda a, b: a * b, initial=1.0))

    def closed(self) -> Schedule:
        return looked_up(self.table) * self.lr

    def after(self, present: Any) -> Schedule:
        # torch has no closed form of it, so that it continues from the present rate, and asks
        # for the factor of epoch 0 too.
        product = looked_up(self.table) * float(self.lr_lambda(0))
        return product * constant_schedule(present)

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        return group.lr if initial else group.lr * float(self.lr_lambda(epoch))

    def restarted(self, group: Group, base: float) -> float:
        return self.following(group, base, 0, initial=False)
