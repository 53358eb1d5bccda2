"""The markup of docstrings as that of the pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fnopt.registry import items, section

Link = Callable[[str], str]
"""Says where the page of a name is; empty where it has none."""


def markdown(text: str, link: Link = lambda name: "") -> str:
    """The text of a docstring as Markdown.

    Args:
        text: as docstrings have it: roles, and formulas in ``.. math::``.
        link: the page of a name that a role refers to.
    """

    def reference(role: re.Match[str]) -> str:
        name = role[1].removeprefix("~").removeprefix("fnopt.")
        return f"[`{name}`]({link(name)})" if link(name) else f"`{name}`"

    text = re.sub(r":math:`([^`]*)`", lambda m: f"${' '.join(m[1].split())}$", text)
    text = re.sub(r":\w+:`([^`]*)`", reference, text).replace("``", "`")
    text = re.sub(r"(?m)^ *\.\. math::((?: .*)?(?:\n(?: +.*|))*)", _display, text)
    return re.sub(r"(?m)::$", ":", re.sub(r"(?m) ::$", "", text)).strip()


def _display(math: re.Match[str]) -> str:
    body = "\n".join(line.strip() for line in math[1].splitlines() if line.strip())
    if (r"\\" in body or "&" in body) and r"\begin{align" not in body:
        body = f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
    return f"$$\n{body}\n$$\n\n"


def call(name: str, method: Any) -> str:
    """A call with all arguments and their defaults, such as ``scale(step_size)``."""
    signature = inspect.signature(method)
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    return f"{name}{_short(inspect.Signature(parameters))}"


def arguments(method: Any, link: Link) -> Iterable[str]:
    """A line for each entry of ``Args``, with the types and defaults."""
    parameters = inspect.signature(method).parameters
    for item in items(section(method, "Args")):
        names, _, meaning = item.partition(":")
        shown = [f"`{declared(parameters, name.strip().lstrip('*'))}`" for name in names.split(",")]
        yield f"- {', '.join(shown)}: {markdown(meaning.strip(), link)}"


def declared(parameters: Mapping[str, inspect.Parameter], name: str) -> str:
    """An argument as a signature declares it, ``name: type = default``."""
    if name not in parameters:
        return name
    hint = parameters[name].annotation
    shown = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    plain = inspect.Parameter(name, kind, default=parameters[name].default)
    text = _short(plain)
    return text.replace("=", f": {shown} = ", 1) if "=" in text else f"{name}: {shown}"


def _short(declaration: Any) -> str:
    """A declaration whose defaults that are types are written as such."""
    return re.sub(r"<class '([\w.]+)'>", r"\1", str(declaration))


def errors(method: Any, link: Link) -> Iterable[str]:
    """A line for each entry of ``Raises``."""
    for item in items(section(method, "Raises")):
        names, _, meaning = item.partition(":")
        shown = ", ".join(f"`{name.strip()}`" for name in names.split(","))
        yield f"- {shown}: {markdown(meaning.strip(), link)}"
