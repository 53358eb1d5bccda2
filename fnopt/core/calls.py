"""Updates as sequences of calls of other transforms, which several optimizers can do in turn."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias

from fnopt.core.packed_trees import is_packed
from fnopt.core.types import OptState, Params, Updates

Result: TypeAlias = tuple[Updates, OptState]
"""The transformed updates and the next state."""


class Call(NamedTuple):
    """A call of ``update`` of a transform, with its arguments."""

    tx: Any
    updates: Updates
    state: OptState
    params: Params
    extra_args: dict[str, Any]

    def run(self) -> Result:
        """What the call returns."""
        return self.tx.update(self.updates, self.state, self.params, **self.extra_args)


Steps: TypeAlias = Generator[Call, Result, Result]
"""The calls of an update, one after the other; each is answered by its result."""


def run(steps: Steps) -> Result:
    """The result of an update whose calls are run as they come."""
    result: Any = None
    while True:
        try:
            call = steps.send(result)
        except StopIteration as end:
            return end.value
        result = call.run()


def innermost(call: Call) -> Steps:
    """The calls of transforms that call no others, among those that a call leads to."""
    if not _has_steps(call):
        return (yield call)
    steps = call.tx.steps(call.updates, call.state, call.params, **call.extra_args)
    result: Any = None
    while True:
        try:
            inner = steps.send(result)
        except StopIteration as end:
            return end.value
        result = yield from innermost(inner)


def _has_steps(call: Call) -> bool:
    """Whether a call can be run by its steps."""
    if is_packed(call.updates) and not call.tx.packs:
        return False  # update unpacks them
    owners = [cls for cls in type(call.tx).__mro__ if {"steps", "update"} & vars(cls).keys()]
    # A subclass with another update does not do the steps of its base.
    return "steps" in vars(owners[0])
