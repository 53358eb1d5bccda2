"""What a rule of groups gives: a transform, or a change of one that all rules share."""

from __future__ import annotations

from typing import Annotated, Any

import optax

from fnopt.core import Transform, chain, did_you_mean, scale, set_to_zero
from fnopt.core.fields import Field, as_number
from fnopt.core.schedule import as_schedule
from fnopt.core.transform import as_transform
from fnopt.core.value import make

FROZEN = "frozen"


def as_treatment(given: Any) -> Any:
    if isinstance(given, optax.GradientTransformation | optax.MultiSteps):
        return as_transform(given)
    if isinstance(given, str) and given == "freeze":
        return set_to_zero()
    if isinstance(given, dict):
        return {name: _as_number(value) for name, value in given.items()}
    return _as_number(given)


def _as_number(given: Any) -> Any:
    kept = as_schedule(given) if callable(given) else as_number(given)
    if kept is None:
        raise TypeError(
            "a rule gives 'freeze', a transform, a number or a schedule, or a dict of these two,"
            f" got {given!r}"
        )
    return kept


Treatments = Annotated[Any, Field(convert=lambda given: tuple(map(as_treatment, given)))]


def as_given(treatment: Any) -> Any:
    """What :func:`as_treatment` makes it of."""
    return "freeze" if isinstance(treatment, set_to_zero) else treatment


def tell(treatment: Any) -> str:
    """A treatment on one line."""
    if isinstance(treatment, set_to_zero):
        return FROZEN
    if isinstance(treatment, Transform):
        return repr(treatment)
    return ", ".join(["base", *(f"{k}={v!r}" for k, v in _changes(treatment).items())])


def check(rule: str, treatment: Any, base: Any) -> None:
    """Raises ValueError, naming the rule, if it changes what is no number of base."""
    if isinstance(treatment, Transform):
        return
    if base is None:
        raise ValueError(f"groups: the rule {rule!r} changes base; give groups(…, base=…)")
    changes = _changes(treatment)
    numbers = [
        name for name, spec in base._specs.items() if not spec.static and spec.convert is None
    ]
    for name in changes:
        if name != "multiplier" and name not in numbers:
            known = did_you_mean(name, [*numbers, "multiplier"])
            raise ValueError(
                f"groups: the rule {rule!r} gives {name!r}, which is no number of base"
                f" ({type(base).__name__}): {known}; for anything else give a transform, as"
                " base.replace(…)"
            )
    base.replace(**{name: value for name, value in changes.items() if name != "multiplier"})


def transform_of(treatment: Any, base: Any) -> Transform:
    """The transform that a treatment makes of base; unchecked, for numbers under a trace."""
    if isinstance(treatment, Transform):
        return treatment
    changes = _changes(treatment)
    multiplier = changes.pop("multiplier", None)
    changed = make(type(base), {**vars(base), **changes})
    return changed if multiplier is None else chain(changed, scale(multiplier))


def applied(treatment: Any, base: Any, state: Any, extra_args: Any) -> dict[str, Any]:
    """The numbers that the next update of a treatment applies; a multiplier is in the rate."""
    tx = transform_of(treatment, base)
    if isinstance(treatment, Transform) or "multiplier" not in _changes(treatment):
        return tx.hyperparameters(state, **extra_args)
    (changed, scaled), (first, second) = tx.parts(), state  # pyright: ignore
    names = changed.hyperparameters(first, **extra_args)
    (multiplier,) = scaled.hyperparameters(second).values()
    if "learning_rate" not in names:
        return {**names, "multiplier": multiplier}
    return {**names, "learning_rate": names["learning_rate"] * multiplier}


def changes_rate(treatment: Any, base: Any) -> bool:
    """Whether a treatment has a rate that is not that of base."""
    if isinstance(treatment, Transform):
        return True
    return bool({base.rate_name, "multiplier"} & set(_changes(treatment)))


def _changes(treatment: Any) -> dict[str, Any]:
    return dict(treatment) if isinstance(treatment, dict) else {"multiplier": treatment}
