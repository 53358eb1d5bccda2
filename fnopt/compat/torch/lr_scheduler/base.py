"""A scheduler of torch as a schedule: a closed form of fnopt, next to torch's recursion."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.compat.torch.lr_scheduler.simulate import Group, Leaf
from fnopt.core import Number, Schedule, Static, as_numbers
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.types import Numeric
from fnopt.core.value import Value
from fnopt.schedule.progress import at_least_one


@dataclasses.dataclass(frozen=True)
class Whole(Field):
    """A leaf that is a whole number; 10.0 is one, since a leaf is stored as a float."""

    def accept_number(self, argument: str, value: Any, default: Any) -> Any:
        number = super().accept_number(argument, value, default)
        if isinstance(number, float) and not number.is_integer():
            raise ValueError(f"{argument} must be a whole number in {self.interval}, got {value!r}")
        return number


LearningRate = Annotated[Any, Field(Interval("[0, inf)"))]
"""The optimizer's own rate, at least 0."""
Gamma = Annotated[Any, Field(Interval("[0, inf)"))]
"""A factor, at least 0."""
Count = Annotated[Any, Whole(Interval("[1, inf)"))]
"""A whole number of updates, at least 1."""
Iterations = Annotated[Any, Whole(Interval("[0, inf)"))]
"""A whole number of updates, 0 allowed."""


class TorchSchedule(Schedule):
    """A scheduler of torch; a subclass says its closed form and torch's recursion.

    The recursion is used where schedulers act upon each other and there is no closed form: it is
    run in Python's floats as torch runs it (:mod:`fnopt.compat.torch.lr_scheduler.simulate`) and
    tabulated.
    """

    def closed(self) -> Schedule:
        """The schedule of fnopt that this is."""
        raise NotImplementedError

    def at(self, count: jax.Array) -> Numeric:
        return self.closed()(count)

    def after(self, present: Any) -> Schedule:
        """As a later member of a SequentialLR, which calls torch's closed form at its start."""
        return self.closed()

    def alive(self) -> Any:
        """What torch would step, in Python's floats."""
        return Leaf(self)

    def enter(self, group: Group) -> None:
        """What torch's construction writes over in the group, before the rate is noted."""

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        """torch's ``get_lr``: the next rate from the present one."""
        raise NotImplementedError

    def restarted(self, group: Group, base: float) -> float:
        """torch's ``_update_lr(0)``, which takes the closed form where torch has one."""
        return self.following(dataclasses.replace(group, lr=base), base, 0, initial=True)

    def __repr__(self) -> str:
        # A table is computed from the arguments, so it is not printed.
        tables = {f.name for f in dataclasses.fields(self) if not f.init}  # pyright: ignore
        return Value.__repr__(with_fields(self, **dict.fromkeys(tables)))


class Multiplying(TorchSchedule):
    """One that multiplies the present rate by a factor of the epoch alone, so that they commute."""


class Overwriting(TorchSchedule):
    """One that overwrites the optimizer's rate."""

    def overwriting(self, group: Group, base: float) -> Schedule:
        """What it writes, by the numbers of the group."""
        return with_fields(self, lr=base)

    def following(self, group: Group, base: float, epoch: int, initial: bool) -> float:
        return _values(self.overwriting(group, base), group.steps)[epoch]

    def restarted(self, group: Group, base: float) -> float:
        return self.following(group, base, 0, initial=False)


class function_schedule(Schedule):
    """A function that JAX can trace, of the count plus ``first``."""

    function: Static[Callable[[Any], Any]]
    first: Static[int] = 0

    def at(self, count: jax.Array) -> Numeric:
        # Count by count: a function of one number may branch with lax.cond.
        one = jnp.vectorize(lambda t: jnp.asarray(self.function(t)).astype(count.dtype))
        return one(count + self.first)


class looked_up(Schedule):
    """The values of a table; the last one stays."""

    table: Number

    def at(self, count: jax.Array) -> Numeric:
        return self.table[jnp.clip(count, 0, len(self.table) - 1).astype(int)]


def as_milestones(milestones: Any) -> tuple[Any, ...]:
    """Counts of updates, at which torch compares for being equal."""
    counts = as_numbers(milestones)
    if not all(m >= 0 and m.is_integer() for m in counts if isinstance(m, float)):
        raise TypeError(f"must be whole numbers of updates, at least 0, got {milestones!r}")
    return counts


Milestones = Annotated[Any, Field(convert=as_milestones, shown="Sequence[float]")]


def with_fields(value: Any, **changes: Any) -> Any:
    """A copy, unchecked; its tables are not computed again."""
    copy = object.__new__(type(value))
    vars(copy).update(vars(value) | changes)
    return copy


def set_table(schedule: Any, make: Callable[[int], Any]) -> None:
    """Checks ``steps`` and, unless it is None, stores the table of this many updates."""
    if schedule.steps is not None:
        at_least_one(schedule, "steps")
        table = np.asarray(make(schedule.steps), dtype=np.float64)
        object.__setattr__(schedule, "table", table)


def values_at(function: Callable[[Any], Any], counts: range) -> list[float]:
    """A Python function's values at integers, as torch calls it."""
    return [float(function(count)) for count in counts]


def must_trace(schedule: Any, name: str) -> None:
    """Raises ValueError, naming the cure, where a function cannot be traced by JAX."""
    function = getattr(schedule, name)
    scalar = jax.ShapeDtypeStruct((), jnp.result_type(float))
    try:
        jax.eval_shape(lambda t: jnp.asarray(function(t)), scalar)
    except Exception as error:  # any error that the function raises for a tracer
        raise ValueError(
            f"{type(schedule).__name__}: {name} cannot be traced by JAX (it must consist of"
            " jax.numpy, without `if` on the count); write it so, or give steps=, the number of"
            f" updates to tabulate ({type(error).__name__} was raised)"
        ) from error


def must_be_callable(schedule: Any, name: str) -> None:
    """Raises TypeError where an argument is no function (a list of them, one a group, say)."""
    function = getattr(schedule, name)
    if not callable(function):
        raise TypeError(
            f"{type(schedule).__name__}: {name} must be a function of the epoch, got {function!r};"
            " a schedule is that of one parameter group, so give that group's function"
        )


def concrete(schedule: Any) -> Any:
    """The same in Python's floats.

    Raises:
        ValueError: a number of it is traced, or several.
    """
    leaves, structure = jax.tree.flatten(schedule)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        raise ValueError(
            f"{type(schedule).__name__}: its numbers must be known where it is made, since it is"
            " tabulated, and one is traced; make it outside of jit, grad and vmap and pass it in"
        )
    return jax.tree.unflatten(structure, [x if np.ndim(x) else float(x) for x in leaves])


@functools.lru_cache(maxsize=16)
def _values(schedule: Schedule, steps: int) -> list[float]:
    # The table consists of numbers, also inside a trace.
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        return np.asarray(schedule(np.arange(steps + 1))).tolist()
