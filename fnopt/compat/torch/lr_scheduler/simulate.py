"""torch's schedulers at work on one parameter group, step by step in Python's floats.

Only the order of events is here, with its oddities; the effect of a scheduler on a rate is its
``following``. torch constructs the members of a container first, in their order, and each acts on
the group at once.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from typing import Any


@dataclasses.dataclass
class Group:
    """What schedulers read and write of a parameter group; ``steps`` is the length of a table."""

    lr: float
    steps: int
    initial_lr: float | None = None
    max_lr: float | None = None
    min_lr: float | None = None


class Leaf:
    """One scheduler that is no container."""

    def __init__(self, schedule: Any):
        self.schedule = schedule
        self.base, self.epoch = 0.0, -1

    def construct(self, group: Group) -> None:
        self.schedule.enter(group)
        if group.initial_lr is None:
            group.initial_lr = group.lr
        self.base = group.initial_lr
        self.first_step(group)

    def first_step(self, group: Group) -> None:
        self.step(group, initial=True)

    def step(self, group: Group, initial: bool = False) -> None:
        self.epoch += 1
        group.lr = self.schedule.following(group, self.base, self.epoch, initial)

    def restart(self, group: Group) -> None:
        self.epoch = 0
        group.lr = self.schedule.restarted(group, self.base)

    def undo(self) -> None:
        self.epoch -= 1

    def leaves(self) -> list[Leaf]:
        return [self]


class Chain:
    """torch's ChainedScheduler: every member steps, in their order."""

    def __init__(self, members: list[Any]):
        self.members = members

    def construct(self, group: Group) -> None:
        for member in self.members:
            member.construct(group)

    def first_step(self, group: Group) -> None:
        # torch marks the container as at its beginning, but not the members: ExponentialLR, say,
        # multiplies at epoch 0.
        self.step(group)

    def step(self, group: Group) -> None:
        for member in self.members:
            member.step(group)

    def undo(self) -> None:
        for member in self.members:
            member.undo()

    def leaves(self) -> list[Leaf]:
        return [leaf for member in self.members for leaf in member.leaves()]


class Sequence(Chain):
    """torch's SequentialLR: one member steps, and the next restarts at its milestone."""

    def __init__(self, members: list[Any], milestones: list[float]):
        super().__init__(members)
        self.milestones, self.epoch = milestones, 0

    def construct(self, group: Group) -> None:
        super().construct(group)
        assert group.initial_lr is not None
        group.lr = group.initial_lr
        self.undo()
        self.members[bisect_right(self.milestones, 0)].first_step(group)

    def step(self, group: Group) -> None:
        # Also when it begins inside of another, which therefore has its milestones an update early.
        self.epoch += 1
        index = bisect_right(self.milestones, self.epoch)
        if index > 0 and self.milestones[index - 1] == self.epoch:
            self.members[index].restart(group)
        else:
            self.members[index].step(group)


def rates(schedule: Any, steps: int) -> list[float]:
    """The rate after this many updates."""
    group = Group(schedule.lr, steps)
    run = schedule.alive()
    run.construct(group)
    seen = [group.lr]
    for _ in range(steps - 1):
        run.step(group)
        seen.append(group.lr)
    return seen
