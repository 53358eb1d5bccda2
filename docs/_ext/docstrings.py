"""What napoleon reads of the docstrings: types, the options of ``fit`` by group, colons as such."""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx

import fnopt.train.fit_options as fit_options

ARGUMENT = re.compile(r" {4}(\w+)(?: \(.*\))?:")
"""The line that begins what a docstring says of an argument."""


def option_titles() -> dict[str, list[str]]:
    """A title for each group of options, and the names of the options in it."""
    return {
        f"{kind.__name__.removesuffix('Options')} options": list(group.__annotations__)
        for group, kind in fit_options.GROUPS.items()
    }


def grouped(lines: list[str]) -> list[str]:
    """The docstring of ``fit`` with a section for each group of options after its ``Args``."""
    titles = {name: title for title, names in option_titles().items() for name in names}
    begin = lines.index("Args:") + 1
    end = next(i for i, line in enumerate(lines) if i > begin and re.match(r"\S", line))
    sections: dict[str, list[str]] = {}
    for line in lines[begin:end]:
        if argument := ARGUMENT.match(line):
            section = sections.setdefault(titles.get(argument[1], "Args"), [])
        section.append(line)
    inserted = [line for title, body in sections.items() for line in (f"{title}:", *body, "")]
    return [*lines[: begin - 1], *inserted, *lines[end:]]


def typed(lines: list[str], thing: Any) -> list[str]:
    """A docstring whose arguments have their types, as literals: their words are no references."""
    try:
        parameters = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return lines
    inside, result = False, []
    for line in lines:
        inside = line in ("Args:", "Attributes:") or (inside and not re.match(r"\S", line))
        argument = ARGUMENT.match(line) if inside else None
        if argument and argument[1] in parameters:
            hint = parameters[argument[1]].annotation
            shown = hint if isinstance(hint, str) else inspect.formatannotation(hint)
            if hint is not inspect.Parameter.empty and shown != "Any":
                line = line.replace(argument[1], f"{argument[1]} (``{shown}``)", 1)
        result.append(line)
    return result


def returns_as_field(lines: list[str]) -> list[str]:
    """The section ``Returns`` as a field: it has no types, and a colon in it is a colon."""
    result: list[str] = []
    for line in lines:
        if line == "Returns:":
            result += ["", ":returns:"]
        else:
            result.append(line)
    return result


def starred(line: str) -> str:
    """A line of ``Args`` that explains several names, with stars, which are markup otherwise."""
    names, colon, meaning = line.partition(":")
    if colon and re.fullmatch(r" {4}\*{0,2}\w+(, \*{0,2}\w+)+", names):
        return names.replace("*", r"\*") + colon + meaning
    return line


_texts: dict[str, list[str]] = {}
"""What attributes say, by name: napoleon would take the words before a colon for a type."""


def _before(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what in ("attribute", "data", "property"):
        _texts[name] = list(lines)
    lines[:] = typed(lines, thing)
    if name == "fnopt.train.fit":
        lines[:] = grouped(lines)
    lines[:] = map(starred, returns_as_field(lines))


def _after(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if name in _texts:
        lines[:] = _texts.pop(name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    # Napoleon's own priority is 500.
    app.connect("autodoc-process-docstring", _before, priority=400)
    app.connect("autodoc-process-docstring", _after, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
