"""What a schedule is: a value called with the count of updates so far; and its arithmetic."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp

from fnopt.core.arguments import not_called
from fnopt.core.checks import brief
from fnopt.core.fields import Field, Number, Static, Steps, as_number
from fnopt.core.types import Numeric
from fnopt.core.value import Value, make


class Schedule(Value):
    """A number for every count of updates: ``schedule(count)``, a float32 (float64 under x64).

    The count is the number of updates so far, so the first update uses ``schedule(0)``, the
    n-th ``schedule(n - 1)``; this holds for every schedule, also where its source counts from 1.

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

    @classmethod
    def undefined(cls) -> str:
        called = cls.__call__ is not Schedule.__call__
        return "" if called or cls.at is not Schedule.at else "at(self, count), its formula"

    __array_ufunc__ = None  # a NumPy number on the left leaves the operation to the schedule

    def at(self, count: jax.Array) -> Numeric:
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
        return by_epoch(self, steps_per_epoch, staircase)

    def __add__(self, other: Any) -> Schedule:
        return add_schedules((self, other))

    def __radd__(self, other: Any) -> Schedule:
        return add_schedules((other, self))

    def __sub__(self, other: Any) -> Schedule:
        return add_schedules((self, -as_schedule(other)))

    def __rsub__(self, other: Any) -> Schedule:
        return add_schedules((other, -self))

    def __mul__(self, other: Any) -> Schedule:
        return multiply_schedules((self, other))

    def __rmul__(self, other: Any) -> Schedule:
        return multiply_schedules((other, self))

    def __truediv__(self, other: Any) -> Schedule:
        return self * (1 / other)  # by a number; there is no quotient of schedules

    def __neg__(self) -> Schedule:
        return negate_schedule(self)

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

    def at(self, count: jax.Array) -> Numeric:
        return self.value


class foreign_schedule(Schedule):
    """A callable that is not fnopt's (an optax schedule, say): structure, compared by identity.

    Args:
        function: a function of the count, an integer array.
    """

    function: Static[Callable[[Any], Any]]

    def __call__(self, count: jax.typing.ArrayLike) -> jax.Array:
        return jnp.asarray(self.function(jnp.asarray(count).astype(int))).astype(
            jnp.result_type(float)
        )

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


def as_schedule(value: Any) -> Schedule:
    """A schedule of a schedule, a number or any callable.

    Raises:
        TypeError: it is none, such as a class or a function that is yet to be called.
    """
    if isinstance(value, Schedule):
        return value
    if isinstance(value, type) and issubclass(value, Value):
        raise TypeError(not_called(value))
    if not callable(value):
        if as_number(value) is None:
            raise TypeError(
                "expected a schedule, a number or a function of the count, got"
                f" {brief(value)} ({type(value).__name__})"
            )
        return constant_schedule(value)
    if not _takes_a_count(value):
        name = getattr(value, "__qualname__", brief(value))
        raise TypeError(
            f"{name} cannot be called with the count alone, as a schedule is; call it first, as"
            f" {name}(…), if it returns a schedule"
        )
    return foreign_schedule(value)


def _takes_a_count(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(0)
    except TypeError:
        return False
    except ValueError:  # a function in C without a signature
        pass
    return True


def as_schedules(values: Any) -> tuple[Schedule, ...]:
    """A tuple of schedules from a sequence of schedules, numbers and callables, at least one."""
    if isinstance(values, Schedule) or not (schedules := tuple(map(as_schedule, values))):
        raise TypeError(f"must be a sequence of at least one schedule, got {brief(values)}")
    return schedules


Inside = Annotated[Any, Field(convert=as_schedule, shown="float | Schedule")]
"""A schedule in another; numbers and any callables are accepted."""
Schedules = Annotated[Any, Field(convert=as_schedules, shown="Sequence[float | Schedule]")]
"""Several of them."""


class add_schedules(Schedule):
    r"""The sum of schedules, as ``a + b`` makes it: :math:`\eta_t = \sum_i \eta^{(i)}_t`.

    Args:
        schedules: the schedules; numbers and any callables are accepted.

    When:
        A floor under a decay, or a cycle around one.
    """

    schedules: Schedules

    def at(self, count: jax.Array) -> Numeric:
        return functools.reduce(operator.add, (schedule(count) for schedule in self.schedules))


class multiply_schedules(Schedule):
    r"""The product of schedules, as ``a * b`` makes it: :math:`\eta_t = \prod_i \eta^{(i)}_t`.

    Args:
        schedules: the schedules; numbers and any callables are accepted.

    When:
        A shape that a warm-up, a cooldown or a group's own factor is to be laid over.

    >>> import fnopt
    >>> schedule = 0.5 * fnopt.linear_schedule(1.0, 0.0, 4)
    >>> [float(schedule(count)) for count in range(5)]
    [0.5, 0.375, 0.25, 0.125, 0.0]
    """

    schedules: Schedules

    def at(self, count: jax.Array) -> Numeric:
        return functools.reduce(operator.mul, (schedule(count) for schedule in self.schedules))


class negate_schedule(Schedule):
    r"""A schedule with the other sign, as ``-schedule`` makes it: :math:`-\eta_t`.

    Args:
        schedule: the schedule; a number or any callable is accepted.

    When:
        Differences of schedules; a learning rate has no sign.
    """

    schedule: Inside

    def at(self, count: jax.Array) -> Numeric:
        return -self.schedule(count)


class by_epoch(Schedule):
    r"""A schedule of epochs, used by updates: :math:`\eta_t = \eta^{(e)}(\lfloor t / n \rfloor)`.

    Args:
        schedule: a schedule of the count of epochs; a number or any callable is accepted.
        steps_per_epoch: number of updates in an epoch, :math:`n > 0`.
        staircase: whether the value changes between epochs only; False for :math:`t / n` itself (a
            callable that is not fnopt's is called with whole counts all the same).

    When:
        A recipe in epochs, as torch's are.

    >>> import fnopt
    >>> schedule = fnopt.linear_schedule(1.0, 0.0, 2).by_epoch(3)
    >>> [float(schedule(count)) for count in range(7)]
    [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.0]
    """

    schedule: Inside
    steps_per_epoch: Steps
    staircase: Static[bool] = True

    def at(self, count: jax.Array) -> Numeric:
        n = self.steps_per_epoch
        return self.schedule(count // n if self.staircase else count / n)


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
