"""The pages drawn from the docstrings, and what every docstring of a method must say."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import fnopt
from fnopt.registry import exported, section, summary
from tools import pages

ROOT = Path(__file__).resolve().parent.parent

METHODS = list(exported())
# Functions of fnopt that docs/*.md explain, on no page of the reference.
EXPLAINED_ELSEWHERE = {"hyperparameters", "optimizer", "optimizers", "plot", "schedules"}


@pytest.mark.parametrize("path", list(pages.pages()), ids=lambda path: path.stem)
def test_a_page_is_what_the_docstrings_say(path):
    assert path.read_text() == pages.pages()[path], "run: make generate"


@pytest.mark.parametrize("page", list(pages.FAMILIES))
def test_no_markup_of_docstrings_is_left(page):
    text = pages.page(page)
    assert not any(sign in text for sign in (".. math", ":math:", ":class:", "::\n"))


def test_the_picture_of_the_schedules_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    pages.picture(tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").stat().st_size > 20_000


@pytest.mark.parametrize("name", METHODS)
def test_the_family_of_a_method_is_a_page(name):
    family = getattr(fnopt, name).family
    assert family in pages.FAMILIES, f"{name}.family must be one of {sorted(pages.FAMILIES)}"


def test_every_method_and_function_is_on_one_page():
    on_pages = [name for page in pages.FAMILIES for name in pages.names_of(page)]
    functions = {
        name
        for name, thing in vars(fnopt).items()
        if inspect.isfunction(thing) and thing.__module__.startswith("fnopt.")
    }
    assert sorted(on_pages) == sorted({*METHODS, *functions} - EXPLAINED_ELSEWHERE)


@pytest.mark.parametrize("name", METHODS)
def test_a_docstring_says_what_it_is_and_what_it_takes(name):
    method = getattr(fnopt, name)
    assert summary(method).endswith((".", ":")) and len(summary(method)) < 200
    explained = {
        argument.strip().lstrip("*")
        for item in pages.items(section(method, "Args"))
        for argument in item.partition(":")[0].split(",")
    }
    parameters = set(inspect.signature(method).parameters) - {"kwargs"}
    assert explained == parameters or name in WITHOUT_LIST


# Their arguments are explained in a sentence: those of the rule they are made of, or none.
WITHOUT_LIST = {"chain", "named_chain", "groups", "scale_by_rprop"}


@pytest.mark.parametrize("name", list(fnopt.optimizers()))
def test_an_optimizer_says_when_to_use_it_and_where_it_is_from(name):
    method = fnopt.optimizers()[name].make
    assert section(method, "When"), name
    assert any(digit.isdigit() for digit in section(method, "References")), name


def test_no_file_of_an_optimizer_is_long():
    for path in [*ROOT.glob("fnopt/first_order/*.py"), *ROOT.glob("fnopt/matrix/*.py")]:
        lines = len(path.read_text().splitlines())
        assert lines <= 150, f"{path.name}: {lines} lines"


def test_bytes_of_state_are_those_of_init():
    """By hand, of a matrix of n by n numbers of four bytes."""
    n = pages.SIDE
    by_hand = {"sgd": 0, "adam": 8, "adamw": 8, "adagrad": 4, "rmsprop": 4, "adadelta": 8}
    by_hand |= {"lion": 4, "adabelief": 8, "amsgrad": 12, "adan": 16, "sm3": 4 + 8 / n}
    by_hand |= {"prodigy": 16, "adafactor": 8 / n, "ademamix": 12, "novograd": 4}
    assert {name: pages.state_bytes(name) for name in by_hand} == by_hand
