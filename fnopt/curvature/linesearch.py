"""A line search as an argument of an optimizer."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fnopt.core import Transform
from fnopt.core.fields import Field
from fnopt.core.transform import as_transform


@dataclasses.dataclass(frozen=True)
class _OrNone(Field):
    """A transform, or None whatever the default is."""

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        return None if value is None else super().accept(argument, value, default)


Linesearch = Annotated[Any, _OrNone(convert=as_transform, shown="GradientTransformation | None")]
"""A transform that multiplies a direction by a step, of fnopt or of optax; None for none."""


def searched(linesearch: Transform | None, *parts: Transform) -> tuple[Transform, ...]:
    """Parts with a line search after them, if there is one."""
    return parts if linesearch is None else (*parts, linesearch)
