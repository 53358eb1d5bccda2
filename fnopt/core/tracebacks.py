"""Tracebacks without this package's own frames, as jax hides its own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import jax

Function = TypeVar("Function", bound=Callable[..., Any])

HIDDEN = ("fnopt", "jax", "flax", "optax", "equinox")
"""The packages whose frames are left out; the first is this one."""
_OWN_MISTAKES = ArithmeticError, AssertionError, AttributeError, LookupError, NameError
"""What no check raises: such an error from a frame of this package is a mistake in it."""


def hides_frames(function: Function) -> Function:
    """A function in whose errors the frames of this package are left out.

    What is left of a traceback is the caller's line, one frame of this module, and the frames of
    functions that the user passed. ``JAX_TRACEBACK_FILTERING=off``, or the option of ``jax.config``
    of that name, shows all, and so does an error that is a mistake of this package.

    Args:
        function: a public function or method; it costs one more call, and nothing under ``jit``.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        handled = sys.exc_info()[1]  # of a caller that is handling an error of its own
        try:
            return function(*args, **kwargs)
        except Exception as error:
            off = jax.config.jax_traceback_filtering == "off"  # pyright: ignore
            if off or _is_own_mistake(error):
                raise
            raise hide(error, handled)  # noqa: B904

    return call  # pyright: ignore[reportReturnType]


def hide(error: Exception, handled: BaseException | None = None) -> Exception:
    """An error, and those it came from, without the frames of this package and of jax.

    Args:
        error: the error.
        handled: an earlier error, which is left as it is with those before it.
    """
    chained: BaseException | None = error
    seen = {id(handled)}  # an error may be its own cause
    while chained is not None and id(chained) not in seen:
        seen.add(id(chained))
        chained.__traceback__ = _shown(chained.__traceback__)
        chained = chained.__cause__ or (
            None if chained.__suppress_context__ else chained.__context__
        )
    return error


def _is_own_mistake(error: Exception) -> bool:
    *_, last = _entries(error.__traceback__)
    builtin = type(error).__module__ == "builtins"  # an error of a class of ours was meant
    return builtin and isinstance(error, _OWN_MISTAKES) and _package(last) == HIDDEN[0]


def _shown(trace: TracebackType | None) -> TracebackType | None:
    shown = None
    for entry in reversed(_entries(trace)):
        if _package(entry) not in HIDDEN:
            shown = TracebackType(shown, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return shown


def _entries(trace: TracebackType | None) -> list[TracebackType]:
    entries = []
    while trace is not None:
        entries.append(trace)
        trace = trace.tb_next
    return entries


def _package(entry: TracebackType) -> str:
    # Not by the file: the methods that dataclasses writes have none.
    return entry.tb_frame.f_globals.get("__name__", "").partition(".")[0]
