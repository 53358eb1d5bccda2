"""Methods of transforms that see packed trees unpacked, where they do not take them packed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fnopt.core.evaluation import restrict
from fnopt.core.packed_trees import by_leaf, is_packed
from fnopt.core.plan import LeafPlan
from fnopt.core.types import OptState, Params, PyTree, Updates

Method = Callable[..., Any]


def _init(method: Method) -> Method:
    @functools.wraps(method)
    def init(self: Any, params: Params) -> OptState:
        unpacks = is_packed(params) and not self.packs
        return method(self, params.unpack() if unpacks else params)

    return init


def _update(method: Method) -> Method:
    @functools.wraps(method)
    def update(
        self: Any, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        if params is not None and is_packed(updates) != is_packed(params):
            return _mixed(update, self, updates, state, params, extra_args)
        if self.packs or not is_packed(updates):
            return method(self, updates, state, params, **extra_args)
        packing = updates.packing
        extra_args = restrict(extra_args, packing.unpack, packing.pack)
        new, state = method(
            self, packing.unpack(updates), state, packing.unpack(params), **extra_args
        )
        return packing.pack(new), state

    return update


def _mixed(
    update: Method, self: Any, updates: Updates, state: OptState, params: Params, extra_args: Any
) -> tuple[Updates, OptState]:
    """The update where one of updates and parameters is packed; it is as the parameters are."""
    if is_packed(params):
        return update(self, params.packing.pack(updates, "updates"), state, params, **extra_args)
    packing = updates.packing
    extra_args = restrict(extra_args, packing.pack, packing.unpack)
    new, state = update(self, updates, state, packing.pack(params, "params"), **extra_args)
    return packing.unpack(new), state


def _eval_params(method: Method) -> Method:
    @functools.wraps(method)
    def eval_params(self: Any, state: OptState, params: Params) -> Params:
        if self.packs or not is_packed(params):
            return method(self, state, params)
        tree = params.unpack()
        evaluated = method(self, state, tree)
        # The same object says that the parameters themselves are evaluated.
        return params if evaluated is tree else params.packing.pack(evaluated)

    return eval_params


def _plan(method: Method) -> Method:
    @functools.wraps(method)
    def plan(self: Any, params: Params) -> PyTree:
        return by_leaf(functools.partial(method, self), params, LeafPlan.of_buffer)

    return plan


UNPACKING: dict[str, Callable[[Method], Method]] = {
    "init": _init,
    "update": _update,
    "eval_params": _eval_params,
    "plan": _plan,
}
"""By the name of a method of a transform, what stands around it."""
