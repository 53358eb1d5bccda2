"""Methods by name: optimizers and schedules, each with a summary and its source."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Composed, Joint, Rule, Schedule, Transform, Wrapper, did_you_mean

KINDS = ("parts", "wrappers", "schedules")
"""Families of methods that are no optimizers."""
TITLES = {
    "gradient_descent": "Gradient descent and momentum",
    "adaptive": "Adaptive learning rates",
    "sign": "Sign-based methods",
    "layerwise": "Layerwise and memory-efficient methods",
    "matrix": "Matrix methods",
    "rate_free": "Methods without a learning rate to tune",
    "curvature": "Second-order methods",
    "wrappers": "Wrappers",
    "parts": "Parts",
    "schedules": "Schedules",
}
"""What the methods of each family are, as a title."""
USUAL_RATE = 3e-3
"""The learning rate of a method that names no usual one."""
SIDE = 256
"""Rows and columns of the matrix whose state is counted."""
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
        and thing.family
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


def items(text: str) -> list[str]:
    """The entries of a section, one line each."""
    entries = re.split(r"\n(?=\S)", text)
    return [" ".join(entry.split()) for entry in entries if entry.strip()]


def body(method: Any) -> tuple[str, str]:
    """What a docstring says outside of its sections, and its example; empty if there is none."""
    doc, prompt, example = (inspect.getdoc(method) or "").partition("\n>>> ")
    doc = re.sub(
        r"(?m)^(Args|Raises|References|When|Returns):\n((?:    .*\n?|\n(?=    ))+)", "", doc
    )
    return doc, prompt.strip() + " " + example.strip() if example else ""


def example(name: str) -> Transform:
    """An optimizer with its defaults, and the arguments that its class has as an example."""
    make = exported()[name]
    rate = inspect.signature(make).parameters.get("learning_rate")
    required = {"learning_rate": 1e-3} if rate and rate.default is rate.empty else {}
    return make(**required | make.example)


def state_bytes(name: str) -> float:
    """Bytes of state for each number of a square float32 matrix; a few numbers are not counted."""
    state = jax.eval_shape(example(name).init, jnp.zeros((SIDE, SIDE)))
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)]
    return sum(size for size in sizes if size >= 4 * SIDE) / SIDE**2


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
