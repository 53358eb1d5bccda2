"""The functions that a run calls after steps and after epochs."""

from __future__ import annotations

import dataclasses
import inspect
import reprlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fnopt.core.checks import positive_integer
from fnopt.train.state import TrainState

OnEpoch = Callable[[TrainState, dict[str, Any]], Any]
OnStep = Callable[[int, dict[str, Any]], Any]
OnState = Callable[[TrainState], Any]


class EpochCallback(Protocol):
    """An object that is called after each epoch."""

    def on_epoch(self, state: TrainState, record: dict[str, Any], /) -> Any: ...


class StepCallback(Protocol):
    """An object that is called after each call of the loop."""

    def on_step(self, step: int, metrics: dict[str, Any], /) -> Any: ...


class StateCallback(Protocol):
    """An object that is called with the state: before the first step, every few, and at the end.

    Attributes:
        every: the number of steps from one call to the next.
    """

    every: int

    def on_state(self, state: TrainState, /) -> Any: ...


Callback = EpochCallback | StepCallback | StateCallback
METHODS = ("on_epoch", "on_step", "on_state")
"""Names of the methods that a callback may have."""


@dataclasses.dataclass(frozen=True)
class Callbacks:
    """All callbacks of a run, in the order in which they are called.

    Attributes:
        on_epoch: called with the state and the record of an epoch.
        on_step: called with the number of steps and the metrics of some steps.
        on_state: called with the state, each after a number of steps.
    """

    on_epoch: tuple[OnEpoch, ...] = ()
    on_step: tuple[OnStep, ...] = ()
    on_state: tuple[tuple[int, OnState], ...] = ()

    def epoch(self, state: TrainState, record: dict[str, Any]) -> bool:
        """Calls all after an epoch; whether one of them ends the run."""
        state = state.unpacked() if self.on_epoch else state
        # A list: those after one that ends the run are called too.
        return any([bool(function(state, record)) for function in self.on_epoch])

    def step(self, step: int, metrics: dict[str, Any]) -> None:
        """Calls all after some steps."""
        for function in self.on_step:
            function(step, metrics)

    def begin(self, state: TrainState) -> None:
        """Calls the callbacks of states before the first step."""
        for _, function in self.on_state:
            function(state.unpacked())

    def state(self, state: TrainState, steps: int, *, ended: bool = False) -> None:
        """Calls the callbacks of states that are due; at the end of the run those that are not."""
        for every, function in self.on_state:
            if (steps % every == 0) != ended:
                function(state.unpacked())

    @property
    def every(self) -> tuple[int, ...]:
        """The numbers of steps from one call with the state to the next, one for each callback."""
        return tuple(every for every, _ in self.on_state)


def make_callbacks(on_epoch: Any, on_step: Any, callbacks: Any) -> Callbacks:
    """The callbacks of a run: functions first, then methods of objects.

    Args:
        on_epoch: a function, a list of functions, or None.
        on_step: likewise.
        callbacks: an object with some of the methods :data:`METHODS`, a list of them, or None.

    Raises:
        TypeError: something cannot be called with these arguments, or ``every`` of an object is
            no integer.
        ValueError: ``every`` of an object is below 1.
    """
    of_epoch, of_step = _functions("on_epoch", on_epoch), _functions("on_step", on_step)
    of_state = []
    for callback in _listed(callbacks):
        methods = {name: getattr(callback, name, None) for name in METHODS}
        what = reprlib.repr(callback)
        if isinstance(callback, type):
            raise TypeError(
                f"fit: callbacks has the class {callback.__name__}; give an object of it,"
                f" {callback.__name__}(…)"
            )
        if not any(callable(method) for method in methods.values()):
            cure = (
                "give a function to on_epoch= or on_step="
                if callable(callback)
                else "define one of them"
            )
            raise TypeError(
                f"fit: callbacks has {what} without a method on_epoch, on_step or on_state; {cure}"
            )
        for name, method in methods.items():
            if method is not None and not callable(method):
                raise TypeError(f"fit: {name} of the callback {what} is no method; make it one")
            if method is not None:
                _check_call(name, method)
        of_epoch += [methods["on_epoch"]] * (methods["on_epoch"] is not None)
        of_step += [methods["on_step"]] * (methods["on_step"] is not None)
        if methods["on_state"] is not None:
            every = getattr(callback, "every", None)
            every = positive_integer(f"fit: every (steps) of the callback {what}", every)
            of_state.append((every, methods["on_state"]))
    return Callbacks(tuple(of_epoch), tuple(of_step), tuple(of_state))


def _functions(argument: str, functions: Any) -> list[Any]:
    functions = _listed(functions)
    for function in functions:
        if callable(function) and not isinstance(function, type):
            _check_call(argument, function)
            continue
        cure = f"; it is called with ({', '.join(_ARGUMENTS[argument])})"
        if isinstance(function, type):
            cure = "; make an object of the class"
        elif hasattr(function, "on_epoch") or hasattr(function, "on_step"):
            cure = "; give it as callbacks=[…]"
        raise TypeError(
            f"fit: {argument} must be a function or a list of functions, got"
            f" {reprlib.repr(function)} ({type(function).__name__}){cure}"
        )
    return functions


_ARGUMENTS = {
    "on_epoch": ("state", "record"),
    "on_step": ("step", "metrics"),
    "on_state": ("state",),
}
"""What each kind of callback is called with."""


def _check_call(argument: str, function: Any) -> None:
    """Refuses a function that takes other arguments than it will be called with."""
    try:
        # A decorator may add arguments to those of what it wraps.
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # of C code
        return
    arguments = _ARGUMENTS[argument]
    try:
        signature.bind(*arguments)
    except TypeError as error:
        takes = ", ".join(map(str, signature.parameters.values()))
        raise TypeError(
            f"fit: {argument} is called with ({', '.join(arguments)}), but"
            f" {getattr(function, '__name__', type(function).__name__)} takes ({takes:.80}):"
            f" {error}. Give it {'these two arguments' if len(arguments) == 2 else 'this one'}"
        ) from None


def _listed(one_or_more: Any) -> list[Any]:
    if one_or_more is None:
        return []
    return list(one_or_more) if isinstance(one_or_more, (list, tuple)) else [one_or_more]


OnEpochs = OnEpoch | Sequence[OnEpoch] | None
OnSteps = OnStep | Sequence[OnStep] | None
