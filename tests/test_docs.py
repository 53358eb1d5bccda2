"""The pages drawn from the docstrings, and what every docstring of a method must say."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path

import jax
import pytest

import fnopt
from fnopt.registry import SIDE, body, exported, items, section, state_bytes, summary
from tools import pages, schedule_shapes, usage

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"

METHODS = list(exported())
PACKAGES = (
    "fnopt", "fnopt.core", "fnopt.curvature", "fnopt.data", "fnopt.initialize", "fnopt.lab",
    "fnopt.layers", "fnopt.sweeps", "fnopt.train",
)  # fmt: skip
"""Whose public names are documented; those of ``fnopt.pretrained`` are in ``initialize`` too."""


@pytest.mark.parametrize("key", list(pages.FAMILIES))
def test_pages_are_what_the_docstrings_say(key):
    """The page of a family and those of its methods; no markup of docstrings is left in them."""
    of_family = [path for path in pages.paths() if key in (path.stem, path.parent.name)]
    assert len(of_family) > 5
    for path in of_family:
        text = path.read_text()
        assert text == pages.text(path), f"{path.name}: run make generate"
        text = text.replace("```{eval-rst}\n.. py:", "")
        assert not any(sign in text for sign in (".. math", ":math:", ":class:", "::\n")), path


def test_no_other_page_is_left():
    assert {*pages.REFERENCE.rglob("*.md")} == {*pages.paths()}


def test_the_picture_of_the_schedules_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    schedule_shapes.picture(tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").stat().st_size > 20_000


@pytest.mark.parametrize("name", METHODS)
def test_the_family_of_a_method_is_a_page(name):
    family = getattr(fnopt, name).family
    assert family in pages.FAMILIES, f"{name}.family must be one of {sorted(pages.FAMILIES)}"


@pytest.mark.parametrize("name", METHODS)
def test_the_usage_of_a_method_runs(name):
    """The line of its page, and the example if that is not of its docstring, which runs there."""
    lines = f">>> import fnopt, optax\n{usage.typed(usage.usage(name))}"
    if not body(getattr(fnopt, name))[1]:
        lines = usage.example(name)
    example = doctest.DocTestParser().get_doctest(f"{lines}\n", {}, name, name, 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    runner.run(example, out=report.append, clear_globs=False)
    assert not report, "".join(report)
    assert all(jax.numpy.isfinite(leaf).all() for leaf in jax.tree.leaves(example.globs.get("w")))


def documented() -> list[str]:
    """The full names that the pages describe, by directives, one for each description."""
    directive = r"(?m)^\.\. (?:auto|py:)(?:function|class|exception|data):: (fnopt[\w.]+)"
    return [name for page in DOCS.rglob("*.md") for name in re.findall(directive, page.read_text())]


def resolved(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def test_every_public_name_is_on_one_page():
    names = documented()
    assert len(names) == len(set(names))
    described = [resolved(name) for name in names]
    # Aliases of types, and what is jax's or optax's, are in lists on the pages of the API.
    lists = " ".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    missing, twice = [], []
    for package in PACKAGES:
        for name, thing in vars(importlib.import_module(package)).items():
            if name.startswith("_") or inspect.ismodule(thing):
                continue
            times = sum(thing is other for other in described)
            if times == 0 and f"`{name}`" not in lists:
                missing.append(f"{package}.{name}")
            if times > 1:
                twice.append(f"{package}.{name}")
    assert (missing, twice) == ([], [])


PROGRAMS = {
    "docs/command_line.md": "test_cli_page.py",
    "docs/from_pytorch.md": "test_from_pytorch.py",
    "docs/recipes.md": "test_recipes.py",
    "README.md": "test_readme.py",
}
"""The pages with code that has no prompts, and so is no doctest, and the test that runs it."""


def test_all_code_on_pages_is_run():
    # The lines on the pages of the reference are run above.
    texts = {*DOCS.rglob("*.md")} - {*pages.paths()}
    with_programs = set()
    for page in [*texts, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        blocks = re.findall(r"(?ms)^```(?:python|py)\n(.*?)^```", page.read_text())
        if not all(">>>" in block for block in blocks):
            with_programs.add(str(page.relative_to(ROOT)))
    assert with_programs == set(PROGRAMS)
    for page, test in PROGRAMS.items():
        assert Path(page).name in (ROOT / "tests" / test).read_text()


@pytest.mark.parametrize("name", METHODS)
def test_a_docstring_says_what_it_is_and_what_it_takes(name):
    method = getattr(fnopt, name)
    assert summary(method).endswith((".", ":")) and len(summary(method)) < 200
    explained = {
        argument.strip().lstrip("*")
        for item in items(section(method, "Args"))
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
    methods = {Path(inspect.getfile(method)) for method in exported().values()}
    for path in {*ROOT.glob("fnopt/first_order/*.py"), *ROOT.glob("fnopt/matrix/*.py")} & methods:
        lines = len(path.read_text().splitlines())
        assert lines <= 150, f"{path.name}: {lines} lines"


def test_bytes_of_state_are_those_of_init():
    """By hand, of a matrix of n by n numbers of four bytes."""
    n = SIDE
    by_hand = {"sgd": 0, "adam": 8, "adamw": 8, "adagrad": 4, "rmsprop": 4, "adadelta": 8}
    by_hand |= {"lion": 4, "adabelief": 8, "amsgrad": 12, "adan": 16, "sm3": 4 + 8 / n}
    by_hand |= {"prodigy": 16, "adafactor": 8 / n, "ademamix": 12, "novograd": 4}
    assert {name: state_bytes(name) for name in by_hand} == by_hand
