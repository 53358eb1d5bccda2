"""The page for those who come from optax: every name of optax is on it, in the right row."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import optax
import optax.contrib
import pytest
from zoo import CASES

import fnopt
from fnopt.registry import TITLES, exported

TEXT = (Path(__file__).parents[1] / "docs" / "from_optax.md").read_text()

pytestmark = pytest.mark.beside_optax


def functions() -> dict[str, Any]:
    """The public functions of optax and optax.contrib; losses are documented as one."""
    return {
        name: thing
        for module in (optax, optax.contrib)
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and name != "Schedule"
        and (inspect.isroutine(thing) or hasattr(thing, "__wrapped__"))
        and not thing.__module__.startswith("optax.losses")
    }


def rows(title: str) -> list[list[str]]:
    """The cells of the table of a section."""
    section = TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = re.findall(r"(?m)^\| (.*) \|$", section)
    return [line.split(" | ") for line in lines if " | " in line and "---" not in line]


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_every_function_of_optax_is_in_the_table_of_names():
    by_row = {row[0]: names_in(row[1]) for row in rows("Names")}
    listed = set().union(*by_row.values()) - {"fit", "make_train_step"}
    assert listed == {*functions(), "MultiSteps"}  # which is a class
    absent = by_row["not needed"] | by_row["by another name"]
    assert not [name for name in absent if hasattr(fnopt, name)]
    families = {name: method.family for name, method in exported().items()}
    for family, title in TITLES.items():
        row = by_row[f"[{title}](reference/{family}.md)"]
        assert row == {name for name in functions() if families.get(name) == family}
    for kind in ("wrappers of other kinds", "functions"):
        assert not [name for name in by_row[kind] if not hasattr(fnopt, name)]


def test_arguments_are_optaxs_but_for_the_exceptions_in_the_table():
    exceptions = {}
    for name, theirs in functions().items():
        if name in exported():
            expected = list(inspect.signature(theirs).parameters)
            ours = list(inspect.signature(exported()[name]).parameters)
            if ours[: len(expected)] != expected:
                exceptions[name] = set(expected) - set(ours)
    assert exceptions == {
        "sophia": {"verbose", "print_win_rate_every_n_steps"},
        "differentially_private_aggregate": {"seed"},
    }
    differences = {name: row for row in rows("Numbers that differ") for name in names_in(row[0])}
    for name, arguments in exceptions.items():
        assert arguments <= names_in(differences[name][1])


def test_a_method_that_is_excused_from_optaxs_numbers_is_among_the_differences():
    excused = {
        case.name
        for case in CASES
        if case.peer is not None
        and case.variant != "narrow"
        and case.not_applicable.get("agrees_with_optax", "").startswith("optax ")
    }
    listed = set().union(*(names_in(row[0]) for row in rows("Numbers that differ")))
    assert len(excused) > 10 and excused <= listed
