"""Several optimizers, each for its leaves, in step: equal methods for matrices are called once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optax

from fnopt.core import Rule
from fnopt.core.calls import Call, Result, innermost
from fnopt.core.packed_trees import is_packed
from fnopt.core.rule import ScheduledState
from fnopt.core.types import OptState, PyTree


def in_lockstep(calls: Sequence[Call], treedef: Any) -> list[Result]:
    """The results of calls that are each for other leaves of one tree.

    They are the same as those of the calls one by one. Where several come to equal rules that join
    leaves, as methods for matrices join those of one shape, one call has the leaves of all.

    Args:
        calls: the calls; trees in them have an ``optax.MaskedNode`` for the leaves of others.
        treedef: the structure of the whole tree.
    """
    runs = [innermost(call) for call in calls]
    results: list[Any] = [None] * len(runs)
    waiting: dict[int, Call] = {}

    def advance(i: int, result: Any) -> None:
        """Runs what is for one of them alone, up to the next call that may be for several."""
        while True:
            try:
                call = runs[i].send(result)
            except StopIteration as end:
                results[i] = end.value
                return
            if _may_join(call):
                waiting[i] = call
                return
            result = call.run()

    for i in range(len(runs)):
        advance(i, None)
    while waiting:
        first = next(iter(waiting.values()))
        alike = {i: call for i, call in waiting.items() if _are_alike(first, call)}
        for i in alike:
            del waiting[i]
        for i, result in zip(alike, _run(list(alike.values()), treedef), strict=True):
            advance(i, result)
    return results


def _may_join(call: Call) -> bool:
    tx = call.tx
    if not isinstance(tx, Rule) or not tx.leafwise or tx.shared or tx.evaluates is not False:
        return False
    return not tx.elementwise  # such a formula gains nothing


def _are_alike(one: Call, other: Call) -> bool:
    same = one.tx == other.tx and (one.params is None) == (other.params is None)
    return same and is_packed(one.updates) == is_packed(other.updates)


def _run(calls: list[Call], treedef: Any) -> list[Result]:
    """The results of calls of equal rules."""
    if len(calls) == 1:
        return [calls[0].run()]
    if is_packed(calls[0].updates):
        packing = calls[0].updates.packing
        trees = [
            call._replace(updates=packing.unpack(call.updates), params=packing.unpack(call.params))
            for call in calls
        ]
        return [(packing.pack(new), state) for new, state in _run(trees, packing.treedef)]
    rows = [treedef.flatten_up_to(call.updates) for call in calls]
    owners = [
        next((i for i, x in enumerate(row) if not isinstance(x, optax.MaskedNode)), 0)
        for row in zip(*rows, strict=True)
    ]

    def joined(trees: Sequence[PyTree]) -> PyTree:
        leaves = zip(owners, *map(treedef.flatten_up_to, trees), strict=True)
        return treedef.unflatten([own[1 + own[0]] for own in leaves])

    def part(i: int, new: PyTree, old: PyTree) -> PyTree:
        pairs = zip(owners, *map(treedef.flatten_up_to, (new, old)), strict=True)
        return treedef.unflatten([x if own == i else y for own, x, y in pairs])

    first = calls[0]
    extra_args = dict(first.extra_args)
    if extra_args.get("grad") is not None and not is_packed(extra_args["grad"]):
        extra_args["grad"] = joined([call.extra_args["grad"] for call in calls])
    new, state = first.tx.update(
        joined([call.updates for call in calls]),
        _by_slot(joined, [call.state for call in calls]),
        None if first.params is None else joined([call.params for call in calls]),
        **extra_args,
    )
    return [
        (
            part(i, new, call.updates),
            _by_slot(lambda pair, i=i: part(i, *pair), [state, call.state]),
        )
        for i, call in enumerate(calls)
    ]


def _by_slot(function: Callable[[list[PyTree]], PyTree], states: Sequence[OptState]) -> OptState:
    """A state of a rule whose slots are functions of the same slots of several states."""
    first, last = states[0], states[-1]
    if isinstance(first, ScheduledState):
        inner = _by_slot(function, [state.inner_state for state in states])
        return ScheduledState(first.count, inner)
    if not hasattr(first, "_fields"):
        return first  # any empty container
    # The count is the same in all.
    return type(last)(
        **{
            name: first.count
            if name == "count"
            else function([getattr(state, name) for state in states])
            for name in first._fields
        }
    )
