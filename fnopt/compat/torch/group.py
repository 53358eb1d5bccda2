"""One parameter group of a live torch optimizer: its optimizer here, and what its state was."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.compat.torch import lr_scheduler
from fnopt.compat.torch.lr_scheduler.live import epochs_of
from fnopt.compat.torch.named import Named
from fnopt.compat.torch.optimizers import OPTIMIZERS, SLOTS
from fnopt.core import Schedule, by_epoch, chain, scale_by_learning_rate, scale_by_schedule
from fnopt.core.rule import ScheduledState
from fnopt.core.types import OptState

_UNCOUNTED = ("SGD", "Muon", "LBFGS")
_NOT_IN_PROPORTION = ("ASGD", "Adafactor", "Rprop", "LBFGS")


class Group:
    """One parameter group.

    Args:
        kind: the name of the optimizer's class, as in ``"AdamW"``.
        number: number of the parameter group.
        optimizer, scheduler: torch's optimizer and, if there is one, scheduler.
        steps_per_epoch: number of optimizer steps for each ``scheduler.step()``.
        updates: number of updates that the scheduler's count stands for; read from it if None.
        steps: number of steps of the whole run, for what is tabulated; None where nothing is.

    Raises:
        TypeError, ValueError: see :func:`fnopt.compat.torch.convert`.
    """

    def __init__(
        self,
        kind: str,
        number: int,
        optimizer: Any,
        scheduler: Any,
        steps_per_epoch: int,
        updates: int | None,
        steps: int | None,
    ) -> None:
        self.kind, self.number, self.optimizer = kind, number, optimizer
        self.torchs = optimizer.param_groups[number]
        self.tensors = [p for p in self.torchs["params"] if p.requires_grad]
        self.updates = self._updates()
        self.scheduled = self.updates if updates is None else updates  # the schedule's count
        make = OPTIMIZERS[kind]
        fields = {
            name: _plain(value) for name, value in self.torchs.items() if name in make._fields
        }
        self.plateau: Any = None
        if type(scheduler).__name__ == "ReduceLROnPlateau":
            if kind in _NOT_IN_PROPORTION:
                raise ValueError(
                    f"convert: a plateau here shortens the steps of an optimizer, and torch's"
                    f" {kind} makes of a lower rate something else; give the rates as a schedule"
                )
            self.plateau, self.plateau_state = lr_scheduler.of_torch(scheduler, number)
        elif scheduler is not None:
            _check_joined(scheduler, number)
            schedule = lr_scheduler.of_torch(scheduler, number, steps=steps)
            self.scheduled = self._count(scheduler, steps_per_epoch, updates)
            fields["lr"] = _by_epoch(schedule, steps_per_epoch)
            momentum = getattr(schedule, "momentum", None)
            if momentum is not None:
                cycled = _by_epoch(momentum, steps_per_epoch)
                if "betas" in fields:
                    fields["betas"] = (cycled, fields["betas"][1])
                else:
                    fields["momentum"] = cycled
        self.value = make(**fields)
        self.tx = self.value if self.plateau is None else chain(self.value, self.plateau)

    def _updates(self) -> int:
        """How often torch has stepped the group; its SGD and Muon say only whether it has."""
        if self.kind == "LBFGS":
            return 0
        states = [self.optimizer.state.get(p, {}) for p in self.tensors]
        if self.kind in _UNCOUNTED:
            counts = {int(state.get("momentum_buffer") is not None) for state in states}
        else:
            counts = {int(state.get("step", 0)) for state in states}
        if len(counts) > 1:
            raise ValueError(
                f"convert: the parameters of group {self.number} were stepped differently often"
                f" ({sorted(counts)} times): some had no gradient at times, and torch leaves such"
                " out, while here all of a group are stepped together. Put them into a group of"
                " their own, or say requires_grad_(False) of those that never have one"
            )
        return counts.pop() if counts else 0

    def _count(self, scheduler: Any, steps_per_epoch: int, updates: int | None) -> int:
        """The updates that the schedule has counted, at which it continues."""
        epochs = epochs_of(scheduler)
        known = updates is not None or (self.kind not in _UNCOUNTED and steps_per_epoch > 1)
        if not known:
            return epochs * steps_per_epoch
        behind = self.updates if updates is None else updates
        if behind // steps_per_epoch != epochs:
            raise ValueError(
                f"convert: after {behind} steps, {steps_per_epoch} an epoch, the scheduler"
                f" should have been stepped {behind // steps_per_epoch} times, not {epochs}; if"
                " steps were skipped, or the scheduler came later, give updates=, the steps it has"
                " seen"
            )
        return behind

    def state(self, state: OptState, named: Named) -> Any:
        """Our first state with torch's slots and counts."""
        self._check_layout(named)
        if self.plateau is not None:
            return self._filled(self.value, state[0], named), self.plateau_state
        return self._filled(self.value, state, named)

    def _check_layout(self, named: Named) -> None:
        """Refuses methods that know rows and columns where the layout exchanges them."""
        original = self.kind == "Muon" and self.value.adjust_lr_fn != "match_rms_adamw"
        for path, shape in named.shapes(self.number):
            if original and shape[0] != shape[1] and named.transposed(path, shape):
                raise ValueError(
                    f"convert: {path!r}: torch's Muon multiplies the step of a matrix of shape"
                    f" {shape} by the root of {shape[0]} / {shape[1]} where that is above 1, but"
                    " here its axes are exchanged; keep torch's layout, or use"
                    ' adjust_lr_fn="match_rms_adamw"'
                )
            if self.kind == "Adafactor" and named.transposed(path, shape) is None:
                raise ValueError(
                    f"convert: {path!r}: torch's Adafactor factors the two last axes of {shape},"
                    " which are other axes in this layout; keep torch's, or use another optimizer"
                )

    def _filled(self, value: Any, state: OptState, named: Named) -> Any:
        if self.kind == "LBFGS":
            return _lbfgs_state(self.optimizer, state, named, self.scheduled)
        parts = zip(value.parts(), state, strict=True)
        return tuple(self._part(part, part_state, named) for part, part_state in parts)

    def _part(self, part: Any, state: OptState, named: Named) -> Any:
        """The state of one part: slots by their names, and its own count."""
        if isinstance(state, ScheduledState):
            inner = self._part(part, state.inner_state, named)
            return state._replace(count=_like(self.scheduled, state.count), inner_state=inner)
        changes: dict[str, Any] = {}
        for field in getattr(state, "_fields", ()):
            old = getattr(state, field)
            if field == "count":
                changes[field] = _like(self._count_of(part), old)
            elif field == "mu_product":
                products = [self.optimizer.state.get(p, {}).get(field) for p in self.tensors]
                known = [float(product) for product in products if product is not None]
                changes[field] = _like(known[0] if known else 1.0, old)
            else:
                key = SLOTS[self.kind][field]
                changes[field] = named.slots(self.number, key, old)
        return state._replace(**changes) if changes else state

    def _count_of(self, part: Any) -> int:
        """What a part counts: updates that the schedule has seen, or those of its method."""
        if isinstance(part, scale_by_learning_rate):
            return self.scheduled
        leaves = jax.tree.leaves(vars(part), is_leaf=lambda x: isinstance(x, Schedule))
        scheduled = any(isinstance(x, Schedule) for x in leaves)
        if not scheduled or isinstance(part, scale_by_schedule):
            return self.updates
        if self.kind not in _UNCOUNTED and self.scheduled != self.updates:
            raise ValueError(
                f"convert: the schedule has seen {self.scheduled} updates and the optimizer"
                f" {self.updates}; here {type(part).__name__} has one count for both. Make the"
                " optimizer by hand, with a schedule that begins elsewhere"
            )
        return self.scheduled


def _check_joined(scheduler: Any, number: int) -> None:
    """Refuses a group that came after the scheduler: some of torch's then change its rate."""
    while not hasattr(scheduler, "base_lrs") and getattr(scheduler, "_schedulers", None):
        scheduler = scheduler._schedulers[0]
    if number >= len(getattr(scheduler, "base_lrs", range(number + 1))):
        raise ValueError(
            f"convert: group {number} was added after the scheduler was created, which has no rate"
            " of it; create the scheduler after all groups"
        )


def _by_epoch(schedule: Any, steps_per_epoch: int) -> Any:
    return schedule if steps_per_epoch == 1 else by_epoch(schedule, steps_per_epoch)


def _plain(value: Any) -> Any:
    """A number of a group, be it a tensor, and a tuple of them."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    return value.item() if hasattr(value, "item") else value


def _like(number: Any, old: Any) -> Any:
    return jnp.asarray(number, old.dtype)


def _lbfgs_state(optimizer: Any, state: OptState, named: Named, count: int) -> Any:
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
