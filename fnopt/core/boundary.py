"""What stands around the methods of a transform that users call: their mistakes are answered."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.core import Tracer

from fnopt.core.checks import ForeignState
from fnopt.core.parameters import check_params, refused_leaves, refused_module
from fnopt.core.tracebacks import hides_frames
from fnopt.core.types import OptState

METHODS = ("init", "update", "count", "eval_params", "hyperparameters")
"""The methods that have a boundary."""
_USAGE = {
    "init": "tx.init(params)",
    "update": "tx.update(grads, state, params)",
    "count": "tx.count(state)",
    "eval_params": "tx.eval_params(state, params)",
    "hyperparameters": "tx.hyperparameters(state)",
}


class _Thread(threading.local):
    inside = False  # whether the call comes from a transform, which has been checked


_thread = _Thread()


def boundary(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that answers the mistakes of its callers, and not of the transforms around it.

    Args:
        name: one of :data:`METHODS`.
        method: the method; called by other transforms, it is called as it is.
    """

    @hides_frames
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _thread.inside:
            return method(*args, **kwargs)
        _check_caller(name, args)
        if name == "init" and len(args) + len(kwargs) == 2 and kwargs.keys() <= {"params"}:
            check_params(*args, **kwargs)
        _thread.inside = True
        try:
            return method(*args, **kwargs)
        except (TypeError, ValueError, RuntimeError) as error:
            mistake = _misbound(name, method, args, kwargs)
            mistake = mistake or _mistake(name, error, *args, **kwargs)
            if mistake is None:
                raise
            raise mistake from None
        finally:
            _thread.inside = False

    return call


def _check_caller(name: str, args: tuple[Any, ...]) -> None:
    """Refuses the call of a method on a class that is yet to be called."""
    # A transform is a tuple too, so that its base cannot be named here.
    if not args or not hasattr(args[0], "_specs"):
        raise TypeError(
            f"{name} was called on a class, not on an optimizer; call the class first, as in"
            f" tx = fnopt.adam(1e-3), then {_USAGE[name]}"
        )


def _misbound(name: str, method: Any, args: Any, kwargs: Any) -> Exception | None:
    """The refusal of a call that lacks an argument, or has one that the method does not take."""
    try:
        inspect.signature(method).bind(*args, **kwargs)
    except TypeError as error:
        return TypeError(f"{type(args[0]).__name__}: {name}: {error}. Call {_USAGE[name]}")
    return None


def _mistake(name: str, error: Exception, tx: Any, *args: Any, **kwargs: Any) -> Exception | None:
    """The error to raise instead of one from inside, where the arguments say what is wrong."""
    kind = type(tx).__name__
    if name == "init":
        cure = refused_leaves(*args, **kwargs)
        return TypeError(f"{kind}: {cure}") if cure and isinstance(error, TypeError) else None
    known = dict(zip(_names_of(name), args), **kwargs)  # noqa: B905 - as many as there are
    state = known.get("state")
    # Parameters may be a named tuple called a state: their gradients are one, too.
    states = [argument for argument in known if _is_state(known[argument])]
    if states in (["updates"], ["params"]) and jax.tree.leaves(state):
        place = "gradients" if states == ["updates"] else "parameters"
        return TypeError(
            f"{kind}: the arguments of {name} are in another order: the {place} are a state"
            f" ({describe(known[states[0]])}); call {_USAGE[name]}"
        )
    if "deleted" in str(error):
        for argument in ("updates", "state", "params"):
            if any(map(_is_deleted, jax.tree.leaves(known.get(argument)))):
                return RuntimeError(
                    f"{kind}: the arrays of {argument} are deleted: they were donated to a jitted"
                    " function (donate_argnums), which returned what takes their place"
                )
    if isinstance(error, ForeignState):
        return ValueError(_foreign(name, tx, state, known))
    if isinstance(error, ValueError) and (cure := refused_module(known.get("params"))):
        return ValueError(f"{kind}: {name}: {cure}")
    return None


def _names_of(name: str) -> tuple[str, ...]:
    return ("updates", "state", "params") if name == "update" else ("state", "params")


def _foreign(name: str, tx: Any, state: OptState, known: dict[str, Any]) -> str:
    kind = type(tx).__name__
    if hasattr(state, "opt_state"):
        return f"{kind}: the state given to {name} is a train state; pass its opt_state"
    like = known.get("params") if known.get("params") is not None else known.get("updates")
    expected = ""
    try:
        expected = describe(jax.eval_shape(tx.init, like)) if like is not None else ""
    except Exception:  # what is wrong with the parameters is not asked here
        pass
    present = describe(state)
    if expected == present:
        return f"{kind}: init makes {expected}, which {name} does not take; init must return State"
    scheduled = "Schedule" in expected + present
    return (
        f"{kind}: the state given to {name} is of another optimizer: it is {present}"
        f"{expected and ', but init makes '}{expected}. Call tx.init(params)"
        + " (a schedule instead of a number makes another state, too)"
        * scheduled
    )


def describe(state: OptState, most: int = 100) -> str:
    """The kinds of state in a state, on one line."""
    text = _kinds(state)
    return text if len(text) <= most else text[: most - 1] + "…"


def _kinds(state: OptState) -> str:
    if isinstance(state, Mapping) and _is_state(state):
        return f"{{{', '.join(f'{k}: {_kinds(part)}' for k, part in state.items())}}}"
    if hasattr(state, "_fields") or not isinstance(state, tuple):
        named = "None" if state is None else type(state).__name__
        inner = getattr(state, "inner_states", getattr(state, "inner_state", None))
        if isinstance(inner, Mapping):
            return f"{named}({', '.join(f'{k}: {_kinds(part)}' for k, part in inner.items())})"
        return f"{named}({_kinds(inner)})" if _is_state(inner) else named
    return f"({', '.join(map(_kinds, state))}{',' * (len(state) == 1)})"


def _is_state(x: Any) -> bool:
    if isinstance(x, Mapping):  # that of a named chain
        return any(map(_is_state, x.values()))
    if not isinstance(x, tuple):
        return False
    return type(x).__name__.endswith("State") if hasattr(x, "_fields") else any(map(_is_state, x))


def _is_deleted(leaf: Any) -> bool:
    array = isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
    return array and leaf.is_deleted()
