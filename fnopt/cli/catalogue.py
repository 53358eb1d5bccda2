"""What ``fnopt optimizers`` and ``fnopt schedules`` print: lists, and all about one method."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping

from fnopt.cli.mathematics import equations, formula
from fnopt.cli.optimizer import SCHEDULES, check_known, trainable
from fnopt.cli.screen import wrapped
from fnopt.cli.usage import no_such
from fnopt.registry import TITLES, Entry, body, items, optimizers, plain, section, state_bytes
from fnopt.registry import schedules as all_schedules

SECTIONS = {"When": "When to use it", "Raises": "Raises", "References": "Source"}
FAMILIES = tuple(family for family in TITLES if family not in ("wrappers", "parts", "schedules"))


def print_optimizers(name: str | None, family: str | None) -> None:
    """Prints the optimizers by family, or all about one.

    Args:
        name: the optimizer; None for the list.
        family: the family to list, one of ``FAMILIES``; None for all.

    Raises:
        UsageError: there is no optimizer, or no family, of this name.
    """
    known = optimizers()
    if name is not None:
        check_known(name)
        print("\n".join(_entry(name, known, "optimizer")))
        return
    if family is not None and family not in FAMILIES:
        raise no_such("there is no family", family, FAMILIES, "fnopt optimizers")
    print(wrapped("Name, bytes of state per float32 parameter, what it is."))
    for key in FAMILIES if family is None else [family]:
        rows = [
            (method, f"{_bytes(method):>5}", entry.summary)
            for method, entry in known.items()
            if entry.family == key
        ]
        print("\n".join(["", f"{TITLES[key]} (--family {key})", *_table(rows)]))
    print("\nAll about one: fnopt optimizers adamw")


def print_schedules(name: str | None) -> None:
    """Prints the schedules, or all about one.

    Args:
        name: the schedule; None for the list.

    Raises:
        UsageError: there is no schedule of this name.
    """
    known = all_schedules()
    if name is not None:
        print("\n".join(_entry(name, known, "schedule")))
        return
    print("\n".join(_table([(method, entry.summary) for method, entry in known.items()])))
    print("\n" + wrapped(f"fnopt train --schedule takes: {', '.join(SCHEDULES)}."))
    print("All about one: fnopt schedules cosine_decay_schedule")


def _bytes(name: str) -> str:
    return f"{state_bytes(name):.2g}"


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A line for each row, its last column wrapped under itself."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *cells, text in rows:
        padded = [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)]
        first = "  ".join(["", *padded, ""])
        yield wrapped(text, " " * len(first), first)


def _entry(name: str, known: Mapping[str, Entry], kind: str) -> Iterator[str]:
    """The lines of all that is known of a method."""
    if name not in known:
        raise no_such(f"there is no {kind}", name, known, f"fnopt {kind}s")
    make = known[name].make
    signature = inspect.signature(make)
    parameters = signature.parameters
    yield wrapped(f"{name}({', '.join(map(_parameter, parameters.values()))})", " " * 4, "")
    text, example = body(make)
    yield from _paragraphs(text)
    yield "\nArguments"
    rows = []
    for item in items(section(make, "Args")):
        names, _, meaning = item.partition(":")
        rows.append((names.strip(), _text(meaning)))
    yield from _table(rows)
    for title, heading in SECTIONS.items():
        if part := section(make, title):
            yield f"\n{heading}"
            yield wrapped(re.sub(r"\*([^*]+)\*", r"\1", _text(part)), "  ")
    if kind == "optimizer":
        yield f"\nState: {_bytes(name)} bytes per float32 parameter."
        required = [p.name for p in parameters.values() if p.default is p.empty]
        yield "\nUse"
        yield wrapped(f"fnopt.{name}({', '.join(f'{p}=…' for p in required)})", "      ", "  ")
        if trainable(name):
            yield f"  fnopt train --optimizer {name}"
    if example:
        yield "\nExample"
        yield textwrap.indent(example, "  ")


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter with its default, without its annotation."""
    shown = str(parameter.replace(annotation=inspect.Parameter.empty))
    return shown if len(shown) < 60 else f"{parameter.name}=…"


def _text(markup: str) -> str:
    """The words of a docstring, with its formulas as text."""
    markup = re.sub(r":math:`([^`]*)`", lambda math: formula(math[1]), markup)
    return plain(markup)


def _paragraphs(doc: str) -> Iterator[str]:
    """The paragraphs of a docstring: text wrapped, equations and code as they are."""
    for paragraph in re.split(r"\n\s*\n", doc.strip()):
        yield ""
        math = re.match(r" *\.\. math::(.*)", paragraph, re.S)
        if math:
            yield from (wrapped(line, " " * 8, " " * 4) for line in equations(math[1]))
        elif paragraph.startswith("    "):
            yield paragraph
        else:
            yield wrapped(re.sub(r" ?::$", ":", _text(paragraph)))
