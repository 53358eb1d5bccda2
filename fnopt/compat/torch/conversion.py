"""A live torch optimizer as a value of fnopt, with its state, so that training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.compat import torch as compat
from fnopt.compat.torch import lr_scheduler
from fnopt.compat.torch.named import Named, flax_layout
from fnopt.core import (
    Schedule,
    Transform,
    by_epoch,
    chain,
    did_you_mean,
    scale_by_learning_rate,
    scale_by_schedule,
)
from fnopt.core.rule import ScheduledState
from fnopt.wrap.groups import GroupsState, groups

SLOTS = {
    "SGD": {"trace": "momentum_buffer"},
    "ASGD": {"average": "ax"},
    "Adam": {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
    "AdamW": {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
    "Adamax": {"mu": "exp_avg", "nu": "exp_inf"},
    "Adadelta": {"e_g": "square_avg", "e_x": "acc_delta"},
    "Adafactor": {"row_var": "row_var", "col_var": "col_var", "variance": "variance"},
    "Adagrad": {"sum_of_squares": "sum"},
    "NAdam": {"mu": "exp_avg", "nu": "exp_avg_sq"},
    "RAdam": {"mu": "exp_avg", "nu": "exp_avg_sq"},
    "RMSprop": {"nu": "square_avg", "mu": "grad_avg", "trace": "momentum_buffer"},
    "Rprop": {"step_sizes": "step_size", "prev_updates": "prev"},
    "Muon": {"trace": "momentum_buffer"},
}
"""The slots of our states by their names in torch's."""


class Converted(NamedTuple):
    """What :func:`convert` gives.

    Attributes:
        tx: the optimizer.
        state: its state, if the parameters were named.
        params: torch's parameters in the layout of ours, if they were named.
    """

    tx: Transform
    state: Any = None
    params: Any = None


def convert(
    optimizer: Any,
    scheduler: Any = None,
    *,
    params: Any = None,
    names: Mapping[str, Any] | None = None,
    layout: Callable[[str, Any], Any] = flax_layout,
    steps_per_epoch: int = 1,
    steps: int | None = None,
) -> Converted:
    r"""A live torch optimizer as an optimizer of fnopt; with names, its state and weights too.

    The next update of what it gives is torch's next step. ::

        tx, state, params = convert(
            optimizer,
            scheduler,
            params=params,
            names={"conv/kernel": net.conv.weight, "conv/bias": net.conv.bias, ...},
        )

    Parameter groups become :class:`fnopt.groups`; a parameter of ours whose tensor the optimizer
    has not is frozen, as it is in torch. A scheduler becomes the schedule of ``lr``, and of the
    momentum where it cycles that too; ``ReduceLROnPlateau`` a transform behind the optimizer.

    Args:
        optimizer: one of torch's that ``fnopt.compat.torch`` has.
        scheduler: one of torch's, if there is one.
        params: our parameters, for their structure; shapes are enough.
        names: for the path of each of our leaves (``"layers/0/kernel"``, as :class:`fnopt.groups`
            has them) torch's parameter, or its name if the optimizer knows names.
        layout: makes of a path and an array in torch's layout the array in ours.
        steps_per_epoch: optimizer steps for each ``scheduler.step()``.
        steps: of the whole run; wanted where a schedule must be tabulated.

    Raises:
        TypeError: the optimizer or the scheduler is of a class that has no counterpart.
        ValueError: several groups without names; a leaf is not named, a name unknown, a shape
            not torch's; parameters of a group were stepped differently often; the present rate
            is not what the scheduler says.
    """
    kind = _kind(optimizer)
    count = len(optimizer.param_groups)
    given = optimizer, scheduler, steps_per_epoch, steps
    if params is None or names is None:
        if params is not None or names is not None:
            raise ValueError("convert: give params= and names= together, or neither")
        if count > 1:
            raise ValueError(
                f"convert: the optimizer has {count} parameter groups; give params= and names=,"
                " which tell whose a parameter is"
            )
        return Converted(_Group(kind, 0, *given).tx)
    named = Named(optimizer, params, names, layout)
    found = [_Group(kind, i, *given) for i in range(count) if named.paths(i)]
    rules: list[Any] = [(named.patterns(group.number), group.tx) for group in found]
    if named.paths(None):
        rules.append((named.patterns(None), "freeze"))
    if len(rules) == 1 and found:
        (group,) = found
        return Converted(group.tx, group.state(group.tx.init(params), named), named.weights())
    tx = groups(*rules)
    inner = list(tx.init(params).inner_states)
    for place, group in enumerate(found):
        inner[place] = group.state(inner[place], named)
    return Converted(tx, GroupsState(tuple(inner)), named.weights())


def _kind(optimizer: Any) -> str:
    """The name of torch's class, which must be torch's own."""
    import torch

    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"convert: expected an optimizer of torch, got {optimizer!r}")
    kind = type(optimizer).__name__
    if getattr(torch.optim, kind, None) is not type(optimizer) or kind not in (*SLOTS, "LBFGS"):
        known = did_you_mean(kind, [*SLOTS, "LBFGS"])
        raise TypeError(f"convert: {type(optimizer)!r} has no counterpart here; {known}")
    return kind


class _Group:
    """One parameter group: its optimizer, and what its state was in torch."""

    def __init__(
        self,
        kind: str,
        number: int,
        optimizer: Any,
        scheduler: Any,
        steps_per_epoch: int,
        steps: int | None,
    ) -> None:
        self.kind, self.number, self.optimizer = kind, number, optimizer
        self.torchs = optimizer.param_groups[number]
        self.updates = self._updates()
        self.scheduled = self.updates  # the count of the schedule
        make = getattr(compat, kind)
        fields = {
            name: _plain(value) for name, value in self.torchs.items() if name in make._fields
        }
        self.plateau: Any = None
        if scheduler is None:
            pass
        elif type(scheduler).__name__ == "ReduceLROnPlateau":
            self.plateau, self.plateau_state = lr_scheduler.of_torch(scheduler, number)
        else:
            schedule = lr_scheduler.of_torch(scheduler, number, steps=steps)
            momentum = getattr(schedule, "momentum", None)
            self.scheduled = self._count(scheduler, steps_per_epoch)
            fields["lr"] = _by_epoch(schedule, steps_per_epoch)
            if momentum is not None:
                cycled = _by_epoch(momentum, steps_per_epoch)
                if "betas" in fields:
                    fields["betas"] = (cycled, fields["betas"][1])
                else:
                    fields["momentum"] = cycled
        self.value = make(**fields)
        self.tx = self.value if self.plateau is None else chain(self.value, self.plateau)

    def _updates(self) -> int:
        """How often torch has stepped the parameters of the group; its SGD and Muon do not say."""
        states = [self.optimizer.state.get(p, {}) for p in self.torchs["params"]]
        if self.kind == "LBFGS":
            return 0
        if self.kind in ("SGD", "Muon"):
            return int(any(state.get("momentum_buffer") is not None for state in states))
        counts = {int(state["step"]) if "step" in state else 0 for state in states}
        if len(counts) > 1:
            raise ValueError(
                f"convert: the parameters of group {self.number} were stepped differently often"
                f" ({sorted(counts)} times), some without a gradient at times; here all of a group"
                " are stepped together. Put them into groups of their own."
            )
        return counts.pop()

    def _count(self, scheduler: Any, steps_per_epoch: int) -> int:
        """The updates that the scheduler has seen, which its schedule goes on from."""
        while not hasattr(scheduler, "last_epoch"):
            scheduler = scheduler._schedulers[0]
        epochs = scheduler.last_epoch
        if steps_per_epoch == 1 or self.kind in ("SGD", "Muon", "LBFGS"):
            return epochs * steps_per_epoch
        if self.updates // steps_per_epoch != epochs:
            raise ValueError(
                f"convert: after {self.updates} steps, {steps_per_epoch} an epoch, the scheduler"
                f" should have been stepped {self.updates // steps_per_epoch} times, not {epochs}"
            )
        return self.updates

    def state(self, state: Any, named: Named) -> Any:
        """Our first state with torch's slots and counts."""
        if self.kind == "Muon" and self.value.adjust_lr_fn != "match_rms_adamw":
            for path, shape in named.shapes(self.number):
                if shape[0] != shape[1] and named.transposed(path, shape):
                    raise ValueError(
                        f"convert: {path!r}: torch's Muon multiplies the step of a matrix of shape"
                        f" {shape} by the root of {shape[0]} / {shape[1]} where that is above 1,"
                        " but here its axes are exchanged; keep torch's layout, or use"
                        ' adjust_lr_fn="match_rms_adamw"'
                    )
        if self.plateau is not None:
            return self._filled(self.value, state[0], named), self.plateau_state
        return self._filled(self.value, state, named)

    def _filled(self, value: Any, state: Any, named: Named) -> Any:
        if self.kind == "LBFGS":
            return _lbfgs_state(self.optimizer, state, named, self.scheduled)
        parts = zip(value.parts(), state, strict=True)
        return tuple(self._part(part, part_state, named) for part, part_state in parts)

    def _part(self, part: Any, state: Any, named: Named) -> Any:
        """The state of one part: slots by their names, and the count of its own."""
        if isinstance(state, ScheduledState):
            inner = self._part(part, state.inner_state, named)
            return state._replace(count=_like(self.scheduled, state.count), inner_state=inner)
        changes: dict[str, Any] = {}
        for field in getattr(state, "_fields", ()):
            old = getattr(state, field)
            if field == "count":
                changes[field] = _like(self._count_of(part), old)
            elif field == "mu_product":
                states = (self.optimizer.state.get(p, {}) for p in self.torchs["params"])
                products = {float(s["mu_product"]) for s in states if "mu_product" in s}
                changes[field] = _like(products.pop() if products else 1.0, old)
            else:
                key = SLOTS[self.kind][field]
                changes[field] = named.slots(self.number, key, old)
        return state._replace(**changes) if changes else state

    def _count_of(self, part: Any) -> int:
        of_schedule = any(isinstance(x, Schedule) for x in vars(part).values())
        if isinstance(part, scale_by_learning_rate):
            return self.scheduled
        if of_schedule and not isinstance(part, scale_by_schedule):
            if self.kind not in ("SGD", "Muon") and self.scheduled != self.updates:
                raise ValueError(
                    f"convert: the scheduler has seen {self.scheduled} updates and the optimizer"
                    f" {self.updates}; here {type(part).__name__} has one count for both"
                )
            return max(self.scheduled, self.updates)
        return self.updates


def _by_epoch(schedule: Any, steps_per_epoch: int) -> Any:
    return schedule if steps_per_epoch == 1 else by_epoch(schedule, steps_per_epoch)


def _plain(value: Any) -> Any:
    """A number of a group, be it a tensor, and a tuple of them."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    return value.item() if hasattr(value, "item") else value


def _like(number: Any, old: Any) -> Any:
    return jnp.asarray(number, old.dtype)


def _lbfgs_state(optimizer: Any, state: Any, named: Named, count: int) -> Any:
    """L-BFGS keeps vectors of all parameters, in the state of the first."""
    theirs = optimizer.state.get(optimizer.param_groups[0]["params"][0], {})
    if "d" not in theirs:
        return state
    pairs = len(theirs["old_dirs"])

    def history(vectors: Any, old: Any) -> Any:
        rows = [named.vector(v, jax.tree.map(lambda x: x[0], old)) for v in vectors]
        if not rows:
            return old
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *rows)
        return jax.tree.map(lambda x, new: x.at[:pairs].set(new), old, stacked)

    return state._replace(
        count=_like(count, state.count),
        func_evals=_like(theirs["func_evals"], state.func_evals),
        n_iter=_like(theirs["n_iter"], state.n_iter),
        d=named.vector(theirs["d"], state.d),
        t=_like(float(theirs["t"]), state.t),
        old_dirs=history(theirs["old_dirs"], state.old_dirs),
        old_stps=history(theirs["old_stps"], state.old_stps),
        num_old=_like(pairs, state.num_old),
        ro=state.ro.at[:pairs].set(_like([float(x) for x in theirs["ro"]], state.ro)),
        H_diag=_like(float(theirs["H_diag"]), state.H_diag),
        prev_flat_grad=named.vector(theirs["prev_flat_grad"], state.prev_flat_grad),
        prev_loss=_like(float(theirs["prev_loss"]), state.prev_loss),
    )
