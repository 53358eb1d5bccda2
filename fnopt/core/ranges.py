"""Annotations of hyperparameters: the range of numbers a field accepts, a schedule included."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fnopt.core.checks import Interval, integer
from fnopt.core.fields import Field, is_torch_model
from fnopt.core.schedule import as_schedule


@dataclasses.dataclass(frozen=True)
class Scheduled(Field):
    """A leaf that may also be a schedule of the count, or any callable as one."""

    expected = "a number, an array or a schedule"
    kind = "float | Schedule"

    def accept_number(self, argument: str, value: Any, default: Any) -> Any:
        if callable(value) and not is_torch_model(value):
            try:
                return as_schedule(value)
            except TypeError as error:
                raise TypeError(f"{argument}: {error}") from None
        return super().accept_number(argument, value, default)


@dataclasses.dataclass(frozen=True)
class OrNone(Scheduled):
    """A leaf that may be None, with any default."""

    kind = "float | Schedule | None"

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        return None if value is None else super().accept(argument, value, default)


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
    Scheduled(Interval("[0, 1)"), above="it is the share of the old that is kept, such as 0.9"),
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
AtLeastOne = Annotated[Any, Scheduled(Interval("[1, inf)"))]
"""At least 1: a number, an array or a schedule."""


@dataclasses.dataclass(frozen=True)
class Several(Field):
    """A tuple of numbers, each with its own range."""

    of: tuple[Field, ...] = ()
    convert: Any = tuple  # so that it is not taken for one number

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        if not isinstance(value, (tuple, list)) or len(value) != len(self.of):
            raise TypeError(f"{argument} must be {len(self.of)} numbers, got {value!r}")
        defaults = default if isinstance(default, tuple) else (default,) * len(self.of)
        each = zip(self.of, value, defaults, strict=True)
        return tuple(x.accept(f"{argument}[{i}]", g, d) for i, (x, g, d) in enumerate(each))


_DECAY = Scheduled(Interval("[0, 1)"))
_PAIR = "tuple[float | Schedule, float | Schedule]"
Betas = Annotated[Any, Several(of=(_DECAY, _DECAY), shown=_PAIR)]
"""The decays of a mean and of a mean square: two numbers or schedules, each in [0, 1)."""


@dataclasses.dataclass(frozen=True)
class Integer(Field):
    """An integer that is structure, such as a number of iterations.

    Attributes:
        least: the smallest accepted.
        or_none: whether None is, with any default.
    """

    static: bool = True
    least: int = 1
    or_none: bool = False

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        if value is None and (self.or_none or default is None):
            return None
        return integer(argument, value, least=self.least)


PositiveInteger = Annotated[int, Integer()]
"""An integer of at least 1: another one is another program."""
PositiveIntegerOrNone = Annotated[int | None, Integer(or_none=True)]
"""An integer of at least 1, or None: another one is another program."""
NonNegativeInteger = Annotated[int, Integer(least=0)]
"""An integer of at least 0: another one is another program."""
