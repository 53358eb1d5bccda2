"""Schedulers one after the other, and all at once."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Iterator
from typing import Annotated, Any

import jax.numpy as jnp

from fnopt.compat.torch.lr_scheduler.base import (
    LearningRate,
    Milestones,
    Multiplying,
    TorchSchedule,
    concrete,
    looked_up,
    set_table,
    with_fields,
)
from fnopt.compat.torch.lr_scheduler.cycles import CyclicLR, OneCycleLR
from fnopt.compat.torch.lr_scheduler.plateau import ReduceLROnPlateau
from fnopt.compat.torch.lr_scheduler.simulate import Chain, Sequence, rates
from fnopt.core import Number, Schedule, Static
from fnopt.core.fields import Field
from fnopt.schedule.join import join_schedules


def _as_members(schedulers: Any) -> tuple[TorchSchedule, ...]:
    members = tuple(schedulers)
    for member in members:
        if isinstance(member, ReduceLROnPlateau):
            raise TypeError(
                "must be schedules, got a ReduceLROnPlateau, which waits for a metric; put it into"
                " the chain behind the optimizer"
            )
        if not isinstance(member, TorchSchedule):
            raise TypeError(
                f"must be schedules of fnopt.compat.torch.lr_scheduler, got {member!r}; others are"
                " joined by fnopt.join_schedules and multiplied by *"
            )
    if not members:
        raise TypeError("must be at least one, got none")
    return members


Members = Annotated[Any, Field(convert=_as_members, shown="Sequence[Schedule]")]


class _Composed(TorchSchedule):
    """What both do about the rate of their members and about tables."""

    lr: LearningRate
    schedulers: Members

    def __post_init__(self) -> None:
        super().__post_init__()
        for index, member in enumerate(self.schedulers):
            if isinstance(member, (CyclicLR, OneCycleLR)):
                continue  # theirs is not used
            if isinstance(self.lr, float) and isinstance(member.lr, float) and self.lr != member.lr:
                raise ValueError(
                    f"{type(self).__name__}: schedulers[{index}] has lr={member.lr:g}, but in torch"
                    f" all schedulers share the optimizer's rate, lr={self.lr:g}: give both the"
                    " same, or join fnopt's schedules with fnopt.join_schedules"
                )

    def _tabulate(self: Any, why: str) -> None:
        name = type(self).__name__
        if self.steps is None:
            raise ValueError(
                f"{name}: {why}, which has no closed form; give steps=, the number of updates to"
                " tabulate"
            )
        set_table(self, lambda steps: rates(concrete(self), steps))

    def replace(self, **changes: Any) -> Any:
        """A copy with other arguments; another ``lr`` is that of the members too."""
        if "lr" in changes:
            members = changes.get("schedulers", self.schedulers)
            changes["schedulers"] = tuple(m.replace(lr=changes["lr"]) for m in members)
        return super().replace(**changes)

    def _sharing(self, lr: Any) -> tuple[Any, ...]:
        """The members with this rate, unchecked."""
        return tuple(with_fields(member, lr=lr) for member in self.schedulers)

    def closed(self: Any) -> Schedule:
        return self._formula() if self.table is None else looked_up(self.table)

    def _formula(self) -> Schedule:
        raise NotImplementedError


class SequentialLR(_Composed):
    """Schedulers one after the other, each counting from its own beginning.

    Each begins from the optimizer's rate, as torch's closed forms at a milestone do, but for
    :class:`MultiplicativeLR`, which has none: it continues from the present rate, with the
    factor of epoch 0 too. There is a formula, and no table, unless a member is a container itself,
    a :class:`OneCycleLR` with others, or a :class:`CyclicLR` before others: torch's constructors
    then write over each other's rates, and members begin an epoch late. Those are stepped as torch
    steps them when the schedule is created, in double precision, and tabulated.

    Args:
        lr: the optimizer's rate, at least 0; the members have the same.
        schedulers: schedules of this module. As in torch a container can be the first only.
        milestones: the whole counts from which the next applies, one fewer than schedulers, in
            order.
        steps: the number of updates to tabulate, where there is no formula; the last rate stays.

    Raises:
        TypeError, ValueError: a member is of another kind or has another rate; there is not one
            milestone between every two; a table is needed and ``steps`` is None.

    References:
        ``torch.optim.lr_scheduler.SequentialLR``; :func:`fnopt.join_schedules`.

    >>> from fnopt.compat.torch.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> schedule = SequentialLR(1.0, [ConstantLR(1.0, 0.25), ExponentialLR(1.0, 0.5)], [2])
    >>> [float(schedule(count)) for count in range(5)]
    [0.25, 0.25, 1.0, 0.5, 0.25]
    """

    milestones: Milestones
    steps: Static[int | None] = None
    table: Number = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        members, milestones = self.schedulers, self.milestones
        if len(milestones) != len(members) - 1:
            raise ValueError(
                f"SequentialLR: {len(members)} schedulers need {len(members) - 1} milestones, got"
                f" {len(milestones)}"
            )
        known = [m for m in milestones if isinstance(m, float)]
        if known != sorted(known):
            raise ValueError(f"SequentialLR: milestones must not fall, got {milestones}")
        for index, member in enumerate(members):
            if isinstance(member, _Composed) and index > self._first:
                raise ValueError(
                    f"SequentialLR: schedulers[{index}] is a {type(member).__name__}, which torch"
                    " cannot restart at a milestone; it can be the first only"
                )
        several = len(members) > 1
        if any(isinstance(member, _Composed) for member in members):
            self._tabulate("a member is a container")
        elif several and any(isinstance(member, OneCycleLR) for member in members):
            self._tabulate("a OneCycleLR is among others")
        elif several and isinstance(members[0], CyclicLR):
            self._tabulate("a CyclicLR is before others")

    @property
    def _first(self) -> int:
        """The member that is there at count 0."""
        return sum(isinstance(m, float) and m == 0 for m in self.milestones)

    def _formula(self) -> Schedule:
        members, milestones = self._sharing(self.lr), self.milestones
        parts: list[Schedule] = []
        for index, member in enumerate(members):
            if index <= self._first:
                parts.append(member.closed())
            else:
                before = join_schedules(parts, milestones[: index - 1])
                parts.append(member.after(before(jnp.asarray(milestones[index - 1] - 1))))
        return join_schedules(parts, milestones)

    def alive(self) -> Any:
        members = [member.alive() for member in self._sharing(self.lr)]
        return Sequence(members, list(self.milestones))


class ChainedScheduler(_Composed):
    """Schedulers all at once: each acts on the rate after the ones before it.

    Members that multiply (:class:`StepLR`, :class:`MultiStepLR`, :class:`ConstantLR`,
    :class:`LinearLR`, :class:`ExponentialLR`, :class:`PolynomialLR`, :class:`MultiplicativeLR`, and
    chains of those) make a product, which is a formula. With any other, torch's recursions are run
    when the schedule is created, in double precision, and tabulated.

    Args:
        lr: the optimizer's rate, at least 0; the members have the same.
        schedulers: schedules of this module, in the order in which torch's are created and chained.
        steps: the number of updates to tabulate, where there is no formula; the last rate stays.

    Raises:
        TypeError, ValueError: a member is of another kind or has another rate; a table is needed
            and ``steps`` is None.

    References:
        ``torch.optim.lr_scheduler.ChainedScheduler``.

    >>> from fnopt.compat.torch.lr_scheduler import ChainedScheduler, ConstantLR, ExponentialLR
    >>> schedule = ChainedScheduler(1.0, [ConstantLR(1.0, 0.5, 2), ExponentialLR(1.0, 0.5)])
    >>> [float(schedule(count)) for count in range(4)]
    [0.5, 0.25, 0.25, 0.125]
    """

    steps: Static[int | None] = None
    table: Number = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        other = [m for m in self._flat() if not isinstance(m, Multiplying)]
        if other:
            self._tabulate(f"{type(other[0]).__name__} does not just multiply the rate")

    def _flat(self) -> Iterator[TorchSchedule]:
        for member in self.schedulers:
            yield from member._flat() if isinstance(member, ChainedScheduler) else (member,)

    def _formula(self) -> Schedule:
        factors = [with_fields(member, lr=1.0).closed() for member in self._flat()]
        return functools.reduce(operator.mul, factors) * self.lr

    def alive(self) -> Any:
        return Chain([member.alive() for member in self._sharing(self.lr)])
