"""Errors of the command line itself, in its own words."""

from __future__ import annotations

from collections.abc import Iterable

from fnopt.core.checks import nearest


class UsageError(Exception):
    """An option, a command or a file is not what it must be; the message says so in a sentence."""


def no_such(what: str, name: str, known: Iterable[str], listed_by: str) -> UsageError:
    """The error of a name that is not known, with the nearest one that is.

    Args:
        what: what has such names, as in ``"there is no optimizer"``.
        name: the unknown name.
        known: the names that there are.
        listed_by: the command that lists them.

    >>> no_such("there is no optimizer", "adamv", ["adam", "sgd"], "fnopt optimizers")
    UsageError("there is no optimizer 'adamv'; did you mean adam? fnopt optimizers lists all")
    """
    near = nearest(name, known, cutoff=0.5)
    question = f" did you mean {near}?" if near else ""
    return UsageError(f"{what} {name!r};{question} {listed_by} lists all")
