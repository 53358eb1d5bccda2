"""The markup of docstrings as that of the pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
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
    return f"{name}{inspect.Signature(parameters)}"


def arguments(method: Any, link: Link) -> Iterable[str]:
    """A line for each entry of ``Args``, with the defaults."""
    parameters = inspect.signature(method).parameters
    for item in items(section(method, "Args")):
        names, _, meaning = item.partition(":")
        shown = []
        for name in names.split(","):
            name = name.strip().lstrip("*")
            default = parameters[name].default if name in parameters else inspect.Parameter.empty
            shown.append(
                f"`{name}`" if default is inspect.Parameter.empty else f"`{name}={default!r}`"
            )
        yield f"- {', '.join(shown)}: {markdown(meaning.strip(), link)}"
