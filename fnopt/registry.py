"""Methods by name: optimizers and schedules, each with a summary and its source."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from fnopt.core import Composed, Joint, Rule, Schedule, Transform, Wrapper, did_you_mean

KINDS = ("parts", "wrappers", "schedules")
"""Families of methods that are no optimizers."""
BASES = (Composed, Joint, Rule, Schedule, Transform, Wrapper)
"""Exported to be subclassed: no methods themselves."""


class Entry(NamedTuple):
    """One method.

    Attributes:
        make: the class; calling it makes an instance.
        summary: the first sentence of its docstring, as plain text.
        source: the publication; empty where there is no paper.
        family: the page of the reference it is on.
    """

    make: Any
    summary: str
    source: str
    family: str


class Catalogue(dict[str, Entry]):
    """Methods by name; prints as a table."""

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = []
        for name, entry in self.items():
            lines.append(f"{name:<{width}}  {entry.summary}")
            if entry.source:
                lines += textwrap.wrap(
                    entry.source, 100, initial_indent=" " * (width + 4),
                    subsequent_indent=" " * (width + 4),
                )  # fmt: skip
        return "\n".join(lines)


def optimizers() -> Catalogue:
    """All optimizers that are ready to use: those whose ``family`` is a kind of optimizer.

    Returns:
        A dict from names to entries, in alphabetical order; it prints as a table.

    >>> import fnopt
    >>> fnopt.optimizers()["adam"].summary
    'Adam: momentum and a separate rate for every weight.'
    """
    return _catalogue(lambda method: method.family not in KINDS)


def schedules() -> Catalogue:
    """All schedules.

    Returns:
        A dict from names to entries, in alphabetical order; it prints as a table.

    >>> import fnopt
    >>> fnopt.schedules()["step_decay"].summary
    'A factor after every so many updates.'
    """
    return _catalogue(lambda method: method.family == "schedules")


def optimizer(name: str, *args: Any, **kwargs: Any) -> Transform:
    """An optimizer by its name.

    Args:
        name: a name in :func:`optimizers`.
        *args, **kwargs: the arguments of that optimizer.

    Raises:
        ValueError: no optimizer has this name; the message suggests the nearest.
        TypeError: the optimizer has no such argument; the message suggests the nearest.

    >>> import fnopt
    >>> fnopt.optimizer("sgd", learning_rate=0.1)
    sgd(learning_rate=0.1, nesterov=False)
    """
    known = optimizers()
    if name not in known:
        raise ValueError(f"no optimizer {name!r}; {did_you_mean(str(name), known)}")
    return known[name].make(*args, **kwargs)


def exported() -> dict[str, Any]:
    """The transforms and schedules of the package ``fnopt`` by name, sorted; aliases left out."""
    face = vars(importlib.import_module("fnopt"))
    return {
        name: thing
        for name, thing in sorted(face.items())
        if inspect.isclass(thing)
        and issubclass(thing, (Transform, Schedule))
        and thing not in BASES
        and thing.__name__ == name
    }


def summary(method: Any) -> str:
    """The first sentence of a docstring, without formulas."""
    paragraph = " ".join((inspect.getdoc(method) or "").split("\n\n")[0].split())
    return plain(re.sub(r":? :math:`[^`]*`", "", paragraph))


def plain(text: str) -> str:
    """The words of a docstring without their markup."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")


def section(method: Any, title: str) -> str:
    """A section of a docstring, without its title; empty if there is none."""
    match = re.search(rf"^{title}:\n((?:    .*\n?|\n)+)", inspect.getdoc(method) or "", re.M)
    return textwrap.dedent(match[1]).strip() if match else ""


def _catalogue(belongs: Callable[[Any], bool]) -> Catalogue:
    return Catalogue(
        {
            name: Entry(
                method,
                summary(method),
                plain(" ".join(section(method, "References").split())),
                method.family,
            )
            for name, method in exported().items()
            if belongs(method)
        }
    )
