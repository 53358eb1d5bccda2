"""The pages drawn from the docstrings, and what every docstring of a method must say."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path

import pytest

import fnopt
from fnopt.registry import section, summary

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)

PAGED = [name for page in generate.FAMILIES for name in generate.names_of(page)]
METHODS = sorted(
    name
    for name, made in vars(fnopt).items()
    if inspect.isclass(made)
    and issubclass(made, (fnopt.Transform, fnopt.Schedule))
    and name not in generate.BASES
)


@pytest.mark.parametrize("path", list(generate.pages()), ids=lambda path: path.stem)
def test_a_page_is_what_the_docstrings_say(path):
    assert path.read_text() == generate.pages()[path], "run: python docs/generate.py"


@pytest.mark.parametrize("page", list(generate.FAMILIES))
def test_no_markup_of_docstrings_is_left(page):
    text = generate.page(page)
    assert not any(sign in text for sign in (".. math", ":math:", ":class:", "::\n"))


def test_the_picture_of_the_schedules_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    generate.picture(tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").stat().st_size > 20_000


def test_every_method_stands_on_one_page():
    assert sorted(PAGED) == sorted(set(PAGED))
    assert set(PAGED) >= {getattr(fnopt, name).__name__ for name in METHODS}  # aliases once


@pytest.mark.parametrize("name", METHODS)
def test_a_docstring_says_what_it_is_and_what_it_takes(name):
    made = getattr(fnopt, name)
    assert summary(made).endswith((".", ":")) and len(summary(made)) < 200
    told = {
        argument.strip().lstrip("*")
        for item in generate.items(section(made, "Args"))
        for argument in item.partition(":")[0].split(",")
    }
    assert told == set(inspect.signature(made).parameters) - {"kwargs"} or name in BARE


# Their arguments are said in a sentence: those of the rule they are made of, or none.
BARE = {"chain", "named_chain", "groups", "scale_by_rprop"}


@pytest.mark.parametrize("name", list(fnopt.optimizers()))
def test_an_optimizer_says_when_to_use_it_and_where_it_is_from(name):
    made = fnopt.optimizers()[name].make
    assert section(made, "When"), name
    assert any(digit.isdigit() for digit in section(made, "References")), name


def test_no_file_of_an_optimizer_is_long():
    for path in [*ROOT.glob("fnopt/first_order/*.py"), *ROOT.glob("fnopt/matrix/*.py")]:
        lines = len(path.read_text().splitlines())
        assert lines <= 150, f"{path.name}: {lines} lines"


def test_bytes_of_state_are_those_of_init():
    """By hand, of a matrix of n by n numbers of four bytes."""
    n = generate.SIDE
    by_hand = {"sgd": 0, "adam": 8, "adamw": 8, "adagrad": 4, "rmsprop": 4, "adadelta": 8}
    by_hand |= {"lion": 4, "adabelief": 8, "amsgrad": 12, "adan": 16, "sm3": 4 + 8 / n}
    by_hand |= {"prodigy": 16, "adafactor": 8 / n, "ademamix": 12, "novograd": 4}
    assert {name: generate.state_bytes(name) for name in by_hand} == by_hand
