"""Shows options that are read from groups in the signature and docstring of a function."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from fnopt.train.fit_options import GROUPS

Function = TypeVar("Function", bound=Callable[..., Any])


def documented(function: Function) -> Function:
    """Shows the options in the signature and the docstring of a function that takes FitOptions.

    Args:
        function: has ``**options`` as its last parameter, and a section ``Args:`` that is followed
            by ``Raises:``.
    """
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    lines: list[str] = []
    for group, kind in GROUPS.items():
        fields = {field.name: field for field in dataclasses.fields(kind)}
        texts = argument_texts(kind)
        for name, annotation in group.__annotations__.items():
            annotation = getattr(annotation, "__forward_arg__", annotation)
            parameters.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=fields[name].default,
                    annotation=annotation,
                )
            )
            lines += texts.get(name, [])
    function.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore
    if function.__doc__:
        before, raises, after = inspect.cleandoc(function.__doc__).partition("\nRaises:\n")
        function.__doc__ = "\n".join([before.rstrip(), *lines, raises + after])
    return function


def argument_texts(documented_class: type) -> dict[str, list[str]]:
    """The lines of the section ``Args:`` of a docstring, by the argument that they are about.

    Args:
        documented_class: a class with such a docstring.
    """
    texts: dict[str, list[str]] = {}
    current: list[str] | None = None
    section = inspect.cleandoc(documented_class.__doc__ or "").partition("\nArgs:\n")[2]
    for line in section.splitlines():
        if line and not line.startswith(" "):  # the next section
            break
        name, colon, _ = line.strip().partition(":")
        if colon and line.startswith("    ") and not line.startswith("     "):
            current = texts.setdefault(name, [])
        if current is not None and line:
            current.append(line)
    return texts
