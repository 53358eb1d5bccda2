"""What torch's optimizers have in common here: their arguments, and the steps around a method."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Composed,
    Schedule,
    Transform,
    add_decayed_weights,
    add_l2,
    scale,
    scale_by_learning_rate,
)
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.ranges import Scheduled
from fnopt.core.schedule import Inside
from fnopt.core.types import Numeric, OptState, Params, Updates
from fnopt.wrap.layout import joined_complex, split_complex

Switch = dataclasses.InitVar[Any]
"""An argument of how torch computes, not what: accepted, without effect, and not stored."""


@dataclasses.dataclass(frozen=True)
class OffAtZero(Field):
    """A number that leaves a part, and its state, out where it is 0; that is stored as None."""

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        number = None if value is None else super().accept(argument, value, default)
        return None if isinstance(number, float) and number == 0 else number


@dataclasses.dataclass(frozen=True)
class ScheduledOffAtZero(OffAtZero, Scheduled):
    """The same, or a schedule."""


Momentum = Annotated[Any, ScheduledOffAtZero(Interval("[0, 1]"))]
"""The share of the old velocity that is kept, in [0, 1]; 0 keeps none."""


class TorchOptimizer(Composed):
    """An optimizer with the arguments of one of torch's.

    ``foreach``, ``fused``, ``capturable`` and ``differentiable`` say in torch how the same numbers
    are computed; here XLA decides that. They are accepted, refused where torch refuses them, and
    have no effect. Learning rates, momenta and betas may be schedules.

    A complex leaf counts as two real ones, as in torch; its gradient must be the direction of
    ascent, the conjugate of what ``jax.grad`` gives (``fnopt.train`` does that).
    """

    rate_name = "lr"

    def __post_init__(self, *switches: Any) -> None:
        super().__post_init__()
        arguments = inspect.signature(type(self)).parameters
        names = [name for name in arguments if name not in self._fields]
        on = {name for name, switch in zip(names, switches, strict=True) if switch}
        for other in ("differentiable", "foreach"):
            if {"fused", other} <= on:
                raise RuntimeError(
                    f"{type(self).__name__}: fused and {other} cannot both be True; leave both out,"
                    " they have no effect"
                )

    def around(self, *parts: Transform, decoupled: bool = False) -> tuple[Transform, ...]:
        """A method's parts between what torch puts before and after every method.

        Args:
            *parts: the transforms that turn a gradient into a direction.
            decoupled: whether weights are decayed separately from the method, by the rate times
                ``weight_decay``, or in its gradient.
        """
        fields = vars(self)
        rate = scale_by_learning_rate(fields["lr"])
        if decoupled:
            return *self.climbing(), *parts, add_decayed_weights(fields["weight_decay"]), rate
        return *self.climbing(), add_l2(fields["weight_decay"]), *parts, rate

    def climbing(self) -> tuple[Transform, ...]:
        """What comes first for ``maximize``."""
        return (scale(-1.0),) if vars(self).get("maximize") else ()

    def init(self, params: Params) -> OptState:
        return super().init(split_complex(params))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        params = None if params is None else split_complex(params)
        updates, state = super().update(split_complex(updates), state, params, **extra_args)
        return joined_complex(updates), state

    def eval_params(self, state: OptState, params: Params) -> Params:
        parts = split_complex(params)
        evaluated = super().eval_params(state, parts)
        return params if evaluated is parts else joined_complex(evaluated)

    def count(self, state: OptState) -> jax.Array | None:
        # The last part's: that of the rate, which may count otherwise where a run was taken over.
        counts = [part.count(part_state) for part, part_state in self.parts_with(state)]
        return next((count for count in reversed(counts) if count is not None), None)


def refuse_complex(optimizer: TorchOptimizer, params: Params) -> None:
    """Raises TypeError where a leaf is complex."""
    if any(map(jnp.iscomplexobj, jax.tree.leaves(params))):
        name = type(optimizer).__name__
        raise TypeError(f"{name} takes no complex parameters; nor does torch's")


class delayed(Schedule):
    """A schedule that begins some updates later, with its first value until then.

    Args:
        schedule: the schedule; a number or any callable is accepted.
        updates: number of updates of the delay, at least 0.
    """

    schedule: Inside
    updates: Annotated[Any, Field(Interval("[0, inf)"))]

    def at(self, count: jax.Array) -> Numeric:
        return self.schedule(jnp.maximum(count - self.updates, 0))
