"""What an assignment of groups gives: a transform, or a change of the common one."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import optax

from fnopt.core import Transform, chain, scale, set_to_zero
from fnopt.core.arguments import suggested
from fnopt.core.checks import brief, nearest
from fnopt.core.fields import Field, as_number
from fnopt.core.schedule import as_schedule
from fnopt.core.transform import as_transform
from fnopt.core.types import OptState
from fnopt.core.value import make

FROZEN = "frozen"


Treatment: TypeAlias = Any
"""A transform, a number or a schedule, or a dict of these two."""


def as_treatment(written: Any) -> Treatment:
    """The treatment that a user's item means: ``"freeze"`` and optax's transforms are transforms.

    Raises:
        TypeError: it is none.
    """
    if isinstance(written, optax.GradientTransformation | optax.MultiSteps):
        return as_transform(written)
    if isinstance(written, str) and written == "freeze":
        return set_to_zero()
    if isinstance(written, dict):
        return {name: _as_number(value) for name, value in written.items()}
    return _as_number(written)


def _as_number(x: Any) -> Any:
    number = as_schedule(x) if callable(x) else as_number(x)
    if number is None:
        raise TypeError(
            "a treatment is 'freeze', a transform, a number or a schedule, or a dict of these two,"
            f" got {brief(x)}{_advice(x)}"
        )
    return number


def _advice(written: Any) -> str:
    frozen = isinstance(written, str) and nearest(written, ["freeze"], cutoff=0.5)
    return "; did you mean 'freeze'?" if frozen else ""


Treatments = Annotated[
    Any,
    Field(convert=lambda written: tuple(map(as_treatment, written)), shown="Sequence[Treatment]"),
]


def as_written(treatment: Treatment) -> Any:
    """What a user writes for a treatment."""
    return "freeze" if isinstance(treatment, set_to_zero) else treatment


def describe(treatment: Treatment) -> str:
    """A treatment on one line."""
    if isinstance(treatment, set_to_zero):
        return FROZEN
    if isinstance(treatment, Transform):
        return repr(treatment)
    return ", ".join(["base", *(f"{k}={v!r}" for k, v in _changes(treatment).items())])


def check(pattern: str, treatment: Treatment, base: Transform | None) -> None:
    """Refuses a treatment that changes anything but a number of base.

    Args:
        pattern: the pattern of the assignment, for the error.
        treatment: its treatment.
        base: the common transform, or None.

    Raises:
        ValueError: it has no such number, or is missing.
    """
    if isinstance(treatment, Transform):
        return
    if base is None:
        raise ValueError(
            f"groups: the assignment of {pattern!r} changes base; pass groups(…, base=…)"
        )
    changes = _changes(treatment)
    numbers = [
        name for name, spec in base._specs.items() if not spec.static and spec.convert is None
    ]
    for name in changes:
        if name != "multiplier" and name not in numbers:
            known = suggested(name, [*numbers, "multiplier"], changes[name])
            raise ValueError(
                f"groups: the assignment of {pattern!r} has {name!r}, which is no number of base"
                f" ({type(base).__name__}): {known}; for anything else use a transform, as"
                " base.replace(…)"
            )
    base.replace(**{name: value for name, value in changes.items() if name != "multiplier"})


def transform_of(treatment: Treatment, base: Any) -> Transform:
    """The transform that a treatment makes of base; unchecked, for numbers under a trace."""
    if isinstance(treatment, Transform):
        return treatment
    changes = _changes(treatment)
    multiplier = changes.pop("multiplier", None)
    changed = make(type(base), {**vars(base), **changes})
    return changed if multiplier is None else chain(changed, scale(multiplier))


def applied(
    treatment: Treatment, base: Any, state: OptState, extra_args: dict[str, Any]
) -> dict[str, Any]:
    """The hyperparameters that the next update of a treatment applies, with the multiplier in the
    learning rate where there is one."""
    tx = transform_of(treatment, base)
    if isinstance(treatment, Transform) or "multiplier" not in _changes(treatment):
        return tx.hyperparameters(state, **extra_args)
    (changed, first), (scaled, second) = tx.parts_with(state)  # pyright: ignore
    numbers = changed.hyperparameters(first, **extra_args)
    (multiplier,) = scaled.hyperparameters(second).values()
    if "learning_rate" not in numbers:
        return {**numbers, "multiplier": multiplier}
    return {**numbers, "learning_rate": numbers["learning_rate"] * multiplier}


def changes_rate(treatment: Treatment, base: Any) -> bool:
    """Whether a treatment has a rate that is not that of base."""
    if isinstance(treatment, Transform):
        return True
    return bool({base.rate_name, "multiplier"} & set(_changes(treatment)))


def _changes(treatment: Treatment) -> dict[str, Any]:
    return dict(treatment) if isinstance(treatment, dict) else {"multiplier": treatment}
