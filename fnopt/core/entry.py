"""Public functions that answer a call of the wrong arguments with the call that is right."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from fnopt.core.tracebacks import hides_frames

Function = TypeVar("Function", bound=Callable[..., Any])


def entry(usage: str) -> Callable[[Function], Function]:
    """A decorator of public functions: errors show no frames of this package, and how to call.

    Args:
        usage: the call that is right, added where an argument is missing or one too many.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except TypeError as error:
                trace = error.__traceback__
                if trace is None or trace.tb_next is not None:
                    raise  # from inside of the function
                words = f"{error}".rpartition("<locals>.")[2].replace(".__init__()", "()")
                raise TypeError(f"{words}. Call {usage}") from None

        return hides_frames(call)  # pyright: ignore[reportReturnType]

    return decorate
