"""A live scheduler of torch read into its schedule here, for the converter of optimizers.

torch itself is not imported: a scheduler is known by the name of its class and its attributes.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp

from fnopt.compat.torch.lr_scheduler.base import TorchSchedule
from fnopt.compat.torch.lr_scheduler.composed import ChainedScheduler, SequentialLR
from fnopt.compat.torch.lr_scheduler.cycles import CyclicLR, OneCycleLR
from fnopt.compat.torch.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from fnopt.compat.torch.lr_scheduler.plateau import ReduceLROnPlateau, ReduceLROnPlateauState
from fnopt.compat.torch.lr_scheduler.simulate import Group
from fnopt.compat.torch.lr_scheduler.waves import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    LambdaLR,
)
from fnopt.core.checks import did_you_mean

# What has attributes by the names of its arguments.
_PLAIN: dict[str, tuple[Any, tuple[str, ...]]] = {
    "StepLR": (StepLR, ("step_size", "gamma")),
    "ConstantLR": (ConstantLR, ("factor", "total_iters")),
    "LinearLR": (LinearLR, ("start_factor", "end_factor", "total_iters")),
    "ExponentialLR": (ExponentialLR, ("gamma",)),
    "PolynomialLR": (PolynomialLR, ("total_iters", "power")),
    "CosineAnnealingLR": (CosineAnnealingLR, ("T_max", "eta_min")),
    "CosineAnnealingWarmRestarts": (CosineAnnealingWarmRestarts, ("T_0", "T_mult", "eta_min")),
}
_CONTAINERS: dict[str, Any] = {"SequentialLR": SequentialLR, "ChainedScheduler": ChainedScheduler}


def of_torch(scheduler: Any, group: int = 0, *, steps: int | None = None) -> Any:
    """The schedule of one parameter group of a live scheduler, from count 0 on.

    A scheduler that has been stepped n times continues at count n; its own count is ``last_epoch``.

    Args:
        scheduler: a scheduler of torch, of a class that this package has.
        group: the number of the parameter group.
        steps: the number of updates to tabulate, where that is needed.

    Returns:
        The schedule; of a ReduceLROnPlateau the transform, whose ``lr`` is the present rate, and
        its present state.

    Raises:
        TypeError: the class, or that of a member, is not known.
        ValueError: ``steps`` is needed, or the optimizer's rate is not the scheduler's, so that
            torch would continue otherwise.
    """
    if isinstance(scheduler, (list, tuple)):
        raise TypeError("of_torch: give one scheduler; several together are a ChainedScheduler")
    if type(scheduler).__name__ == "ReduceLROnPlateau":
        return _plateau(scheduler, group)
    schedule = _read(scheduler, group, steps, _rate(scheduler, group))
    _check_bases(scheduler, schedule, group)
    _check_present(scheduler, schedule, group, steps)
    return schedule


def _rate(scheduler: Any, group: int) -> float:
    """The optimizer's rate when its first scheduler was created."""
    while type(scheduler).__name__ in _CONTAINERS:
        scheduler = scheduler._schedulers[0]
    rates = getattr(scheduler, "base_lrs", None)  # none of a class that is refused
    return 0.0 if rates is None else float(rates[group])


def _read(scheduler: Any, group: int, steps: int | None, lr: float) -> TorchSchedule:
    name = type(scheduler).__name__
    if name in _PLAIN:
        kind, arguments = _PLAIN[name]
        return kind(lr, *(float(getattr(scheduler, argument)) for argument in arguments))
    if name in _CONTAINERS:
        members = [_read(member, group, steps, lr) for member in scheduler._schedulers]
        milestones = (scheduler._milestones,) if name == "SequentialLR" else ()
        return _CONTAINERS[name](lr, members, *milestones, steps=steps)
    if name == "MultiStepLR":
        return MultiStepLR(lr, sorted(scheduler.milestones.elements()), scheduler.gamma)
    if name == "MultiplicativeLR":
        if steps is None:
            raise ValueError("MultiplicativeLR is tabulated: give steps=, the number of updates")
        return MultiplicativeLR(lr, scheduler.lr_lambdas[group], steps)
    if name == "LambdaLR":
        return _traced_or_tabulated(LambdaLR, steps, lr=lr, lr_lambda=scheduler.lr_lambdas[group])
    if name == "CyclicLR":
        return _cyclic(scheduler, group, steps, lr)
    if name == "OneCycleLR":
        return _onecycle(scheduler, group, lr)
    known = did_you_mean(name, [*_PLAIN, *_CONTAINERS, "CyclicLR", "LambdaLR", "MultiStepLR",
                                "MultiplicativeLR", "OneCycleLR", "ReduceLROnPlateau"])  # fmt: skip
    raise TypeError(f"of_torch: {name} is no scheduler that is known here; {known}")


def _traced_or_tabulated(kind: Any, steps: int | None, **arguments: Any) -> Any:
    try:
        return kind(**arguments)
    except ValueError:
        if steps is None:
            raise
        return kind(**arguments, steps=steps)


def _cyclic(scheduler: Any, group: int, steps: int | None, lr: float) -> TorchSchedule:
    # torch keeps the whole and the share of the way up.
    up = round(scheduler.total_size * scheduler.step_ratio, 6)
    cycled = bool(scheduler.cycle_momentum)
    momenta = ("base_momentum", "max_momentum")
    return _traced_or_tabulated(
        CyclicLR,
        steps,
        lr=lr,
        base_lr=float(scheduler.base_lrs[group]),
        max_lr=float(scheduler.max_lrs[group]),
        step_size_up=up,
        step_size_down=round(scheduler.total_size - up, 6),
        mode=scheduler.mode,
        gamma=scheduler.gamma,
        scale_fn=scheduler._scale_fn_custom,
        scale_mode=scheduler.scale_mode,
        cycle_momentum=cycled,
        **{name: getattr(scheduler, f"{name}s")[group] for name in momenta if cycled},
    )


def _onecycle(scheduler: Any, group: int, lr: float) -> TorchSchedule:
    phases, numbers = scheduler._schedule_phases, scheduler.optimizer.param_groups[group]
    # The top and the end are those of the group's last OneCycleLR, for every one of them.
    first, top, last = float(scheduler.base_lrs[group]), numbers["max_lr"], numbers["min_lr"]
    momenta = ("base_momentum", "max_momentum")
    cycled = bool(scheduler.cycle_momentum)
    return OneCycleLR(
        lr,
        float(top),
        scheduler.total_steps,
        pct_start=min((phases[0]["end_step"] + 1) / scheduler.total_steps, 1.0),
        anneal_strategy=scheduler._anneal_func_type,
        cycle_momentum=cycled,
        div_factor=float(top) / first,
        final_div_factor=first / float(last),
        three_phase=len(phases) == 3,
        **{name: numbers[name] for name in momenta if cycled},
    )


def _plateau(scheduler: Any, group: int) -> tuple[ReduceLROnPlateau, ReduceLROnPlateauState]:
    present = float(scheduler.optimizer.param_groups[group]["lr"])
    names = ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "eps")
    arguments = {name: getattr(scheduler, name) for name in names}
    tx = ReduceLROnPlateau(present, **arguments, min_lr=float(scheduler.min_lrs[group]))
    like = tx.init(())
    now = ReduceLROnPlateauState(
        last_lr=like.last_lr,
        best=scheduler.best,
        num_bad_epochs=scheduler.num_bad_epochs,
        cooldown_counter=scheduler.cooldown_counter,
        evaluations=like.evaluations,  # a run's own count begins again
    )
    return tx, ReduceLROnPlateauState(
        *(jnp.asarray(x).astype(y.dtype) for x, y in zip(now, like, strict=True))
    )


def _leaves(scheduler: Any) -> list[Any]:
    if type(scheduler).__name__ not in _CONTAINERS:
        return [scheduler]
    return [leaf for member in scheduler._schedulers for leaf in _leaves(member)]


def _check_bases(scheduler: Any, schedule: Any, group: int) -> None:
    """Raises ValueError where the members were not created in their order, on a fresh optimizer."""
    run = schedule.alive()
    run.construct(Group(schedule.lr, steps=1))
    for ours, theirs in zip(run.leaves(), _leaves(scheduler), strict=True):
        base, name = float(theirs.base_lrs[group]), type(theirs).__name__
        # torch gives CyclicLR other base rates afterwards.
        if name != "CyclicLR" and not math.isclose(ours.base, base, rel_tol=1e-6):
            raise ValueError(
                f"of_torch: {name} has the base rate {base:g}, and {ours.base:g} was expected of"
                " members that were made in their order; make the schedule by hand"
            )


def _check_present(scheduler: Any, schedule: Any, group: int, steps: int | None) -> None:
    """Raises ValueError where the rate that torch would continue from is not the scheduler's."""
    count = epochs_of(scheduler)
    if steps is not None and steps <= count:
        raise ValueError(
            f"of_torch: steps is the length of the whole run, and {count} are behind already; got"
            f" steps={steps}"
        )
    if type(scheduler).__name__ == "OneCycleLR" and count >= scheduler.total_steps:
        return
    present, ours = float(scheduler.optimizer.param_groups[group]["lr"]), float(schedule(count))
    if not math.isclose(present, ours, rel_tol=1e-3, abs_tol=1e-5 * schedule.lr):
        raise ValueError(
            f"of_torch: the optimizer's rate is {present:g}, but after {count} updates that of"
            f" {type(scheduler).__name__} is {ours:g}; something else has changed it (a rate"
            " set by hand, step(epoch) with a number), so make the schedule by hand"
        )


def epochs_of(scheduler: Any) -> int:
    """How often a scheduler has been stepped."""
    chained = type(scheduler).__name__ == "ChainedScheduler"  # which does not count
    return epochs_of(scheduler._schedulers[0]) if chained else int(scheduler.last_epoch)
