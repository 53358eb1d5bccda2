"""The schedulers that go up and down between their own rates, not the optimizer's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp

from fnopt.compat.torch.lr_scheduler.base import (
    Count,
    LearningRate,
    Overwriting,
    function_schedule,
    looked_up,
    must_be_callable,
    must_trace,
    set_table,
    values_at,
)
from fnopt.compat.torch.lr_scheduler.simulate import Group
from fnopt.core import Number, Schedule, Static, Steps, constant_schedule
from fnopt.core.fields import Field
from fnopt.schedule.cyclic import cyclic_schedule, onecycle_schedule
from fnopt.schedule.progress import Positive, Share


class CyclicLR(Overwriting):
    r"""Triangles without end between two rates, of one height or of changing ones.

    .. math:: \eta_t = \eta_b + (\eta_m - \eta_b)\,h_t\,a_t

    where :math:`h_t` rises from 0 to 1 and falls to 0 again along lines, and :math:`a_t` is 1
    (``"triangular"``), :math:`2^{1 - c}` in cycle :math:`c = 1, 2, \dots` (``"triangular2"``),
    :math:`\gamma^t` (``"exp_range"``) or ``scale_fn`` of :math:`c` or of :math:`t`.

    Args:
        lr: the optimizer's rate; not used, as torch writes over it.
        base_lr: lowest rate, :math:`\eta_b`.
        max_lr: highest rate, :math:`\eta_m`.
        step_size_up: number of updates from bottom to top, above 0.
        step_size_down: number of updates from top to bottom, above 0; ``step_size_up`` if None.
        mode: height of the triangles, one of the three, if there is no ``scale_fn``.
        gamma: factor per update, :math:`\gamma > 0`, for ``"exp_range"``.
        scale_fn: height of the triangles as a function; traced, or, with ``steps``, called when the
            schedule is made. That of ``mode`` if None.
        scale_mode: argument of ``scale_fn``, ``"cycle"`` or ``"iterations"``.
        cycle_momentum: whether ``momentum`` is a schedule too.
        base_momentum: the momentum at the top of the first triangle.
        max_momentum: the momentum at its foot.
        steps: the number of updates for which to tabulate ``scale_fn``, if JAX cannot trace it.

    Attributes:
        momentum: the schedule of SGD's momentum, or of Adam's first beta; None without
            ``cycle_momentum``.

    Raises:
        TypeError, ValueError: an argument is out of its range, or ``scale_fn`` cannot be traced and
            ``steps`` is None.

    References:
        ``torch.optim.lr_scheduler.CyclicLR``; :func:`fnopt.cyclic_schedule`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.CyclicLR(0.1, 0.0, 1.0, 2, mode="triangular2")
    >>> [float(schedule(count)) for count in range(7)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5]
    >>> [round(float(schedule.momentum(count)), 3) for count in range(5)]
    [0.9, 0.85, 0.8, 0.85, 0.9]
    """

    lr: LearningRate
    base_lr: Number
    max_lr: Number
    step_size_up: Steps = 2000.0
    step_size_down: Steps = None
    mode: Static[str] = "triangular"
    gamma: Positive = 1.0
    scale_fn: Static[Callable[[Any], Any] | None] = None
    scale_mode: Annotated[Any, Field(static=True, choices=("cycle", "iterations"))] = "cycle"
    cycle_momentum: Static[bool] = True
    base_momentum: Number = 0.8
    max_momentum: Number = 0.9
    steps: Static[int | None] = None
    table: Number = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        function = self.scale_fn
        if function is None:
            modes = ("triangular", "triangular2", "exp_range")
            if self.mode not in modes:
                raise ValueError(
                    f"CyclicLR: mode must be one of {modes} without a scale_fn, got {self.mode!r}"
                )
            return
        must_be_callable(self, "scale_fn")
        if self.steps is None:
            must_trace(self, "scale_fn")
        set_table(self, lambda n: values_at(function, range(self._first, n + self._first)))

    @property
    def _first(self) -> int:
        return 1 if self.scale_mode == "cycle" else 0  # torch counts cycles from 1

    @property
    def momentum(self) -> Schedule | None:
        return self._between(self.max_momentum, self.base_momentum) if self.cycle_momentum else None

    def closed(self) -> Schedule:
        return self._between(self.base_lr, self.max_lr)

    def _between(self, bottom: Any, top: Any) -> Schedule:
        up = self.step_size_up
        down = up if self.step_size_down is None else self.step_size_down
        function = self.scale_fn
        if function is None:
            return cyclic_schedule(bottom, top, up, down, self.mode, self.gamma)
        traced = self.table is None
        scale: Schedule = (
            function_schedule(function, self._first) if traced else looked_up(self.table)
        )
        if self.scale_mode == "cycle":
            scale = scale.by_epoch(up + down)
        height = scale * cyclic_schedule(0.0, 1.0, up, down)
        return constant_schedule(bottom) + height * constant_schedule(top - bottom)

    def enter(self, group: Group) -> None:
        group.lr = self.base_lr

    def overwriting(self, group: Group, base: float) -> Schedule:
        return self


class OneCycleLR(Overwriting):
    r"""One cycle: up to a rate, and down in one phase, or in two by way of the first rate.

    From ``max_lr / div_factor`` to ``max_lr`` at count :math:`pT - 1` and to
    ``max_lr / div_factor / final_div_factor`` at count :math:`T - 1`, with ``three_phase`` by way
    of the first rate at :math:`2pT - 2`. After that the rate stays; torch goes one update further
    on the last phase's curve and then raises. Where :math:`pT = 1`, torch divides by zero and this
    begins at the top.

    Args:
        lr: the optimizer's rate; not used, as torch writes over it.
        max_lr: the highest rate.
        total_steps: length of the cycle in updates, a whole number :math:`T \ge 1`.
        epochs: number of epochs, which with ``steps_per_epoch`` gives :math:`T` if ``total_steps``
            is None.
        steps_per_epoch: number of updates in an epoch, see ``epochs``.
        pct_start: share of the first phase, :math:`p \in [0, 1]`, at most a half for three phases
            (torch accepts more, and has no third phase then).
        anneal_strategy: shape of every phase, ``"cos"`` (half a wave) or ``"linear"``.
        cycle_momentum: whether ``momentum`` is a schedule too.
        base_momentum: the momentum at the top.
        max_momentum: the momentum at both ends.
        div_factor: ratio of the highest rate to the first, above 0.
        final_div_factor: ratio of the first rate to the last, above 0.
        three_phase: whether to go back to the first rate as fast as the top was reached.

    Attributes:
        momentum: the schedule of SGD's momentum, or of Adam's first beta; None without
            ``cycle_momentum``.

    Raises:
        TypeError, ValueError: an argument is out of its range, or :math:`T` is None.

    References:
        ``torch.optim.lr_scheduler.OneCycleLR``; :func:`fnopt.onecycle_schedule`.

    >>> from fnopt.compat.torch import lr_scheduler
    >>> schedule = lr_scheduler.OneCycleLR(0.1, 1.0, 10, pct_start=0.5, anneal_strategy="linear")
    >>> [round(float(schedule(count)), 2) for count in range(11)]
    [0.04, 0.28, 0.52, 0.76, 1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0]
    >>> round(float(schedule.momentum(4)), 2)
    0.85
    """

    lr: LearningRate
    max_lr: Number
    total_steps: Count = None
    epochs: Count = None
    steps_per_epoch: Count = None
    pct_start: Share = 0.3
    anneal_strategy: Annotated[Any, Field(static=True, choices=("cos", "linear"))] = "cos"
    cycle_momentum: Static[bool] = True
    base_momentum: Number = 0.85
    max_momentum: Number = 0.95
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    three_phase: Static[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.total_steps is None and (self.epochs is None or self.steps_per_epoch is None):
            raise ValueError(
                "OneCycleLR: the length is not known: give total_steps=, or both epochs= and"
                " steps_per_epoch="
            )
        if self.three_phase and isinstance(self.pct_start, float) and self.pct_start > 0.5:
            raise ValueError(
                "OneCycleLR: pct_start must be at most 0.5 for three phases, the first two of"
                f" which are as long as each other, got {self.pct_start}"
            )

    @property
    def length(self) -> Any:
        """The number of updates in the cycle."""
        total = self.total_steps
        return self.epochs * self.steps_per_epoch if total is None else total

    @property
    def momentum(self) -> Schedule | None:
        ends, top = self.max_momentum, self.base_momentum
        return self._along(ends, top, ends) if self.cycle_momentum else None

    def closed(self) -> Schedule:
        return self._along(*self._rates())

    def _rates(self) -> tuple[Any, Any, Any]:
        first = self.max_lr / self.div_factor
        return first, self.max_lr, first / self.final_div_factor

    def _along(self, first: Any, top: Any, last: Any) -> Schedule:
        shape = "cosine" if self.anneal_strategy == "cos" else "linear"
        if isinstance(self.pct_start, float):
            last = top if self.pct_start == 1 else last  # torch has no update left for the way down
        else:
            last = jnp.where(self.pct_start == 1, top, last)
        return onecycle_schedule(
            first, top, last, self.length, self.pct_start, shape, self.three_phase
        )

    def enter(self, group: Group) -> None:
        # torch keeps these in the group, where another OneCycleLR writes over them.
        group.initial_lr, group.max_lr, group.min_lr = self._rates()

    def overwriting(self, group: Group, base: float) -> Schedule:
        return self._along(group.initial_lr, group.max_lr, group.min_lr)
