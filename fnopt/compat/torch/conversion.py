"""A live torch optimizer as a value of fnopt, with its state, so that training continues."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fnopt.compat.torch.group import Group
from fnopt.compat.torch.named import Named, flax_layout
from fnopt.compat.torch.optimizers import SLOTS
from fnopt.core import Transform, did_you_mean
from fnopt.core.types import OptState, Params
from fnopt.wrap.groups import GroupsState, groups


class Converted(NamedTuple):
    """What :func:`convert` returns.

    Attributes:
        tx: the optimizer.
        state: its state; None if the parameters were not named.
        params: torch's parameters in fnopt's layout; None if they were not named.
    """

    tx: Transform
    state: OptState = None
    params: Params = None


def convert(
    optimizer: Any,
    scheduler: Any = None,
    *,
    params: Params = None,
    names: Mapping[str, Any] | None = None,
    layout: Callable[[str, Any], Any] = flax_layout,
    steps_per_epoch: int = 1,
    updates: int | None = None,
    steps: int | None = None,
) -> Converted:
    r"""A live torch optimizer as an optimizer of fnopt; with names, its state and weights too.

    The next update of the result is torch's next step. ::

        tx, state, params = convert(
            optimizer,
            scheduler,
            params=params,
            names={"conv/kernel": net.conv.weight, "conv/bias": net.conv.bias, ...},
        )

    Parameter groups become :class:`fnopt.groups`. What torch does not train, since the optimizer
    has not its tensor or it does not require a gradient, is frozen. A scheduler becomes the
    schedule of ``lr``, and of the momentum where it cycles that too; ``ReduceLROnPlateau`` a
    transform behind the optimizer. What the model has besides parameters (the running statistics of
    batch normalization) is not the optimizer's: carry it over by hand.

    Args:
        optimizer: an optimizer of torch, of a class that ``fnopt.compat.torch`` has.
        scheduler: a scheduler of torch; none if None.
        params: the parameters as a tree in fnopt's layout; shapes are enough.
        names: a dict from the path of each leaf (``"layers/0/kernel"``, as in
            :class:`fnopt.groups`) to torch's parameter, or to its name if the optimizer knows
            names.
        layout: a function of a path and an array in torch's layout that returns it in fnopt's, of
            weights and of slots of the state.
        steps_per_epoch: number of optimizer steps for each ``scheduler.step()``.
        updates: the optimizer steps since the scheduler began, where torch's own counts do not
            tell: SGD, Muon and LBFGS in the middle of an epoch, steps that a GradScaler skipped.
        steps: number of steps of the scheduler in the whole run, those already done included;
            needed where a schedule must be tabulated.

    Raises:
        TypeError: the optimizer or the scheduler is of a class that has no counterpart.
        ValueError: several groups without names; a leaf is not named, a name unknown, a shape
            not torch's, a tensor named twice; parameters of a group were stepped differently
            often; the present rate is not the scheduler's; the scheduler is another
            optimizer's.
    """
    kind = _kind(optimizer)
    if not isinstance(steps_per_epoch, int) or steps_per_epoch < 1:
        raise ValueError(
            f"convert: steps_per_epoch must be an integer, 1 or above, got {steps_per_epoch!r}"
        )
    _check_scheduler(optimizer, scheduler)
    count = len(optimizer.param_groups)
    arguments = optimizer, scheduler, steps_per_epoch, updates, steps
    if params is None or names is None:
        if params is not None or names is not None:
            raise ValueError("convert: give params= and names= together, or neither")
        if count > 1:
            raise ValueError(
                f"convert: the optimizer has {count} parameter groups; give params= and names=,"
                " which say to which group a parameter belongs"
            )
        return Converted(Group(kind, 0, *arguments).tx)
    named = Named(optimizer, params, names, layout)
    weights = named.weights()
    trained = [Group(kind, i, *arguments) for i in range(count) if named.paths(i)]
    rules: list[Any] = [(named.patterns(group.number), group.tx) for group in trained]
    if named.paths(None):
        rules.append((named.patterns(None), "freeze"))
    if len(rules) == 1 and trained:
        (group,) = trained
        return Converted(group.tx, group.state(group.tx.init(weights), named), weights)
    tx = groups(*rules)
    inner = list(tx.init(weights).inner_states)
    for i, group in enumerate(trained):
        inner[i] = group.state(inner[i], named)
    return Converted(tx, GroupsState(tuple(inner)), weights)


def _kind(optimizer: Any) -> str:
    """The name of torch's class, which must be torch's own."""
    # By name: a type checker without torch would take this package for it.
    torch: Any = importlib.import_module("torch")
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"convert: expected an optimizer of torch, got {optimizer!r}")
    kind = type(optimizer).__name__
    if getattr(torch.optim, kind, None) is not type(optimizer) or kind not in (*SLOTS, "LBFGS"):
        known = did_you_mean(kind, [*SLOTS, "LBFGS"])
        raise TypeError(f"convert: {type(optimizer)!r} has no counterpart here; {known}")
    return kind


def _check_scheduler(optimizer: Any, scheduler: Any) -> None:
    if scheduler is None or isinstance(scheduler, (list, tuple)):
        return  # of several, of_torch says what to do
    if not type(scheduler).__module__.startswith("torch.optim"):
        raise TypeError(f"convert: {type(scheduler)!r} is no scheduler of torch's own")
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("convert: the scheduler is another optimizer's")
