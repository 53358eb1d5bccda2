"""What a schedule is: a value that is called with the count of updates made so far."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from fnopt.core.checks import Interval
from fnopt.core.fields import Field, Number, Static
from fnopt.core.value import Value, make


class Schedule(Value):
    """A number for every count of updates: ``schedule(count)``, a float32 (float64 under x64).

    The count is that of the updates made so far, so the first update uses ``schedule(0)``, the
    n-th ``schedule(n - 1)``; every schedule keeps to this, whatever its source counts from.

    Schedules add, subtract and multiply, with each other, with numbers and with any callable::

        0.1 * cosine_decay_schedule(1.0, 90).by_epoch(500) + 1e-5

    and what comes out is a schedule whose numbers are leaves. Since they are, a schedule or a
    number is exchanged in an optimizer with ``replace``, or varied under ``jit``, ``vmap`` and
    ``grad``; there is nothing that ``optax.inject_hyperparams`` would be needed for.

    A subclass has numbers as fields and computes ``at(count)`` from them, elementwise; both come
    to it in the dtype of the result.
    """

    family: ClassVar[str] = "schedules"
    """As :attr:`fnopt.Transform.family`."""

    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to the schedule

    def at(self, count: jax.Array) -> Any:
        """The schedule's formula."""
        raise NotImplementedError

    def __call__(self, count: jax.typing.ArrayLike) -> jax.Array:
        dtype = jnp.result_type(float)
        count = jnp.asarray(count).astype(dtype)
        value = map_leaves(self, lambda x: to_dtype(x, dtype)).at(count)
        return jnp.broadcast_to(jnp.asarray(value).astype(dtype), count.shape)

    def scaled(self, factor: Any) -> Schedule:
        """This schedule times a number or a schedule: ``schedule * factor``."""
        return self * factor

    def by_epoch(self, steps_per_epoch: Any, staircase: bool = True) -> Schedule:
        """This schedule of epochs as one of updates; see :class:`fnopt.by_epoch`."""
        return arithmetic.by_epoch(self, steps_per_epoch, staircase)

    def __add__(self, other: Any) -> Schedule:
        return arithmetic.add_schedules((self, other))

    def __radd__(self, other: Any) -> Schedule:
        return arithmetic.add_schedules((other, self))

    def __sub__(self, other: Any) -> Schedule:
        return arithmetic.add_schedules((self, -as_schedule(other)))

    def __rsub__(self, other: Any) -> Schedule:
        return arithmetic.add_schedules((other, -self))

    def __mul__(self, other: Any) -> Schedule:
        return arithmetic.multiply_schedules((self, other))

    def __rmul__(self, other: Any) -> Schedule:
        return arithmetic.multiply_schedules((other, self))

    def __truediv__(self, other: Any) -> Schedule:
        return self * (1 / other)  # by a number; there is no quotient of schedules

    def __neg__(self) -> Schedule:
        return arithmetic.negate_schedule(self)

    def __pos__(self) -> Schedule:
        return self


class constant_schedule(Schedule):
    r"""The same number always: :math:`\eta_t = \eta_0`.

    Args:
        value: the number.

    When:
        Runs too short for a schedule to matter, averaged iterates, and methods that find their own
        step; otherwise some decay nearly always ends lower.

    References:
        Bach & Moulines, *Non-strongly-convex smooth stochastic approximation with convergence rate
        O(1/n)*, NeurIPS 2013, arXiv:1306.2119 (a constant rate with averaging).
    """

    value: Number

    def at(self, count: jax.Array) -> Any:
        return self.value


class foreign_schedule(Schedule):
    """A callable that is not fnopt's (an optax schedule, say): structure, compared by identity.

    Args:
        function: called with the count as an integer array.
    """

    function: Static[Callable[[Any], Any]]

    def __call__(self, count: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(self.function(jnp.asarray(count).astype(int))).astype(
            jnp.result_type(float)
        )

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


def as_schedule(given: Any) -> Schedule:
    """A schedule of whatever stands for one: a schedule, a number or any callable."""
    if isinstance(given, Schedule):
        return given
    return foreign_schedule(given) if callable(given) else constant_schedule(given)


def is_schedule(x: Any) -> bool:
    return isinstance(x, Schedule)


def map_leaves(value: Any, function: Callable[[Any], Any]) -> Any:
    """A value, unchecked, with its leaves mapped; a schedule in it counts as one leaf."""
    fields = vars(value).copy()
    for name, spec in value._specs.items():
        if not spec.static:
            fields[name] = jax.tree.map(function, fields[name], is_leaf=is_schedule)
    return make(type(value), fields)


def to_dtype(x: Any, dtype: Any) -> Any:
    """A number in this dtype. A Python float stays what it is, exact and weakly typed."""
    return x if isinstance(x, (float, Schedule)) else jnp.asarray(x).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Scheduled(Field):
    """A leaf that may also be a schedule of the count, or any callable as one."""

    wanted = "a number, an array or a schedule"

    def accept_number(self, argument: str, given: Any, default: Any) -> Any:
        if callable(given):
            return as_schedule(given)
        return super().accept_number(argument, given, default)


@dataclasses.dataclass(frozen=True)
class OrNone(Scheduled):
    """A leaf that may be None whatever its default is."""

    def accept(self, argument: str, given: Any, default: Any) -> Any:
        return None if given is None else super().accept(argument, given, default)


Scalar = Annotated[Any, Scheduled()]
"""A number, an array or a schedule."""
Rate = Annotated[
    Any,
    Scheduled(
        Interval("[0, inf)"),
        below="the step is subtracted already: give it without a sign",
        above="a step at an infinite rate is not finite",
    ),
]
"""A learning rate or a decay of weights, at least 0: a number, an array or a schedule."""
Decay = Annotated[
    Any,
    Scheduled(Interval("[0, 1)"), above="an average that keeps all of the old takes nothing in"),
]
"""The share of the old in an average, in [0, 1): a number, an array or a schedule."""
Fraction = Annotated[Any, Scheduled(Interval("[0, 1]"))]
"""From 0 to 1, both included: a number, an array or a schedule."""
NonNegative = Annotated[Any, Scheduled(Interval("[0, inf)"))]
"""At least 0: a number, an array or a schedule."""
Positive = Annotated[Any, Scheduled(Interval("(0, inf)"))]
"""Above 0: a number, an array or a schedule."""
Cap = Annotated[Any, Scheduled(Interval("[0, inf]"))]
"""A rate that is never exceeded, at least 0, inf for none: a number, an array or a schedule."""
Bound = Annotated[Any, OrNone(Interval("(0, inf]"))]
"""What is clipped to, above 0; None or inf for no clipping: a number, an array or a schedule."""

# The sums and products of schedules are schedules, so each of the two modules needs the other.
from fnopt.core import arithmetic  # noqa: E402
