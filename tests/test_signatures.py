"""Signatures show types that a user knows."""

from __future__ import annotations

import inspect
import io
import pydoc
import typing

import pytest

import fnopt
import fnopt.compat.torch
from fnopt.core.value import Value

HOMES = (fnopt, fnopt.compat.torch, fnopt.compat.torch.lr_scheduler)
METHODS = [
    pytest.param(thing, id=f"{home.__name__}.{name}")
    for home in HOMES
    for name, thing in vars(home).items()
    if isinstance(thing, type) and issubclass(thing, Value)
]
OWN = [
    pytest.param(thing, id=name)
    for name, thing in vars(fnopt).items()
    if inspect.isfunction(thing) and thing.__module__.startswith("fnopt.")
]


@pytest.mark.parametrize("method", METHODS)
def test_no_type_is_one_of_the_core(method):
    text = str(inspect.signature(method))
    for word in ("Annotated", "Field", "Interval", "Any", "'Rate"):
        assert word not in text, text


@pytest.mark.parametrize("function", OWN)
def test_functions_show_no_inner_types(function):
    text = str(inspect.signature(function))
    assert "Annotated" not in text and "Field" not in text, text


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (fnopt.sgd, "(learning_rate: float | Schedule, momentum: float | Schedule | None = None,"),
        (
            fnopt.add_decayed_weights,
            "PyTree | Callable | str | tuple[str, ...] | None = None",
        ),
        (fnopt.adamw, "*, nesterov: bool = False, nu_dtype: DTypeLike | None = None)"),
        (fnopt.scale_by_lion, "mode: Literal['hard', 'smooth', 'refined'] = 'hard'"),
        (fnopt.cosine_decay_schedule, "(init_value: float, decay_steps: float"),
        (fnopt.chain, "(*args: GradientTransformation,"),
        (fnopt.MultiSteps, "should_skip_update_fn: Callable | None = None"),
    ],
)
def test_signatures(method, text):
    assert text in str(inspect.signature(method))
    # What a tooltip shows of the call.
    assert str(inspect.signature(method.__init__)) == (
        str(inspect.signature(method)).replace("(", "(self, ", 1)
    )


def test_help_shows_the_arguments():
    shown = io.StringIO()
    pydoc.Helper(output=shown).help(fnopt.sgd)
    text = shown.getvalue()
    assert "sgd(learning_rate: float | Schedule" in text
    assert "__init__(self, learning_rate: float | Schedule" in text
    assert "'Rate'" not in text.split("__annotations__")[0]


def test_annotations_stay_what_dataclasses_read():
    hints = typing.get_type_hints(fnopt.sgd, include_extras=True)
    assert hints["learning_rate"] is fnopt.core.Rate
