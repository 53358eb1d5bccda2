"""What napoleon reads of the docstrings: the options of ``fit`` by group, and text with colons."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

import fnopt.train.fit_options as fit_options


def option_titles() -> dict[str, dict[str, str]]:
    """A title for each group of options, and the types of the options in it."""
    return {
        f"{kind.__name__.removesuffix('Options')} options": {
            name: getattr(hint, "__forward_arg__", str(hint))
            for name, hint in group.__annotations__.items()
        }
        for group, kind in fit_options.GROUPS.items()
    }


def grouped(lines: list[str]) -> list[str]:
    """The docstring of ``fit`` with a section for each group of options after its ``Args``."""
    groups = option_titles()
    begin = lines.index("Args:") + 1
    end = next(i for i, line in enumerate(lines) if i > begin and re.match(r"\S", line))
    sections: dict[str, list[str]] = {}
    for line in lines[begin:end]:
        if argument := re.match(r" {4}(\w+):", line):
            name = argument[1]
            title = next((title for title, types in groups.items() if name in types), "Args")
            section = sections.setdefault(title, [])
            if title in groups:
                line = line.replace(name, f"{name} ({groups[title][name]})", 1)
        section.append(line)
    inserted = [line for title, body in sections.items() for line in (f"{title}:", *body, "")]
    return [*lines[: begin - 1], *inserted, *lines[end:]]


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


def _before(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]):
    if what in ("attribute", "data", "property"):
        _texts[name] = list(lines)
    if name == "fnopt.train.fit":
        lines[:] = grouped(lines)
    lines[:] = map(starred, returns_as_field(lines))


def _after(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]):
    if name in _texts:
        lines[:] = _texts.pop(name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.autodoc")
    # Napoleon's own priority is 500.
    app.connect("autodoc-process-docstring", _before, priority=400)
    app.connect("autodoc-process-docstring", _after, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
