"""Tracebacks end at the caller's line: the frames of this package are left out."""

from __future__ import annotations

import traceback
import warnings

import jax
import jax.numpy as jnp
import pytest

import fnopt
from fnopt.core.tracebacks import hides_frames

PARAMS = {"w": jnp.ones(3), "b": jnp.ones(3)}
TX = fnopt.chain(
    fnopt.clip_by_global_norm(1.0),
    fnopt.groups(("b", 0.1), ("*", {}), base=fnopt.adamw(1e-3)),
)


@pytest.fixture
def filtering(request):
    """jax's option, as users have it unless a test says otherwise."""
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", getattr(request, "param", "auto"))
    yield
    jax.config.update("jax_traceback_filtering", before)


def frames(call, *args):
    """The functions in the traceback of what a call raises, after the one that calls."""
    with pytest.raises(Exception) as raised:
        call(*args)
    return [(frame.filename, frame.name) for frame in traceback.extract_tb(raised.tb)][1:]


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_an_error_deep_in_a_chain_has_one_frame(wrap, filtering):
    state = TX.init(PARAMS)
    found = frames(wrap(TX.update), {"w": jnp.ones(3)}, state, PARAMS)
    own = [name for file, name in found if "/fnopt/" in file]
    assert own == ["call"]


def test_a_refused_argument_has_one_frame(filtering):
    assert [name for _, name in frames(fnopt.adam, "fast")] == ["call"]


def test_the_users_functions_are_shown(filtering):
    def schedule(count):
        raise KeyError("rate")

    names = [name for _, name in frames(fnopt.scale(schedule).init, PARAMS)]
    assert names == ["call", "schedule"]


@pytest.mark.parametrize("filtering", ["off"], indirect=True)
def test_all_frames_are_shown_on_request(filtering):
    assert len(frames(fnopt.adam, "fast")) > 3


def test_a_mistake_of_this_package_is_shown_whole(filtering):
    scope = {"__name__": "fnopt.broken"}
    exec("def inner():\n    return {}['lost']\ndef outer():\n    return inner()", scope)
    names = [name for _, name in frames(hides_frames(scope["outer"]))]
    assert names == ["call", "outer", "inner"]


def test_an_error_that_is_its_own_cause_is_raised(filtering):
    def mask(params):
        try:
            raise ValueError("mine")
        except ValueError as error:
            raise error from error

    with pytest.raises(ValueError, match="mine"):
        fnopt.adamw(1e-3, mask=mask).init(PARAMS)


def test_an_error_that_is_being_handled_keeps_its_frames(filtering):
    def outer():
        return jnp.ones(3).reshape(2)

    with pytest.raises(TypeError) as earlier:
        outer()
    count = len(traceback.extract_tb(earlier.value.__traceback__))
    try:
        raise earlier.value
    except TypeError as error:
        with pytest.raises(ValueError):
            fnopt.adam(-1.0)
        assert len(traceback.extract_tb(error.__traceback__)) > count


@pytest.mark.parametrize(
    "make",
    [
        lambda: fnopt.noisy_sgd(0.1, seed=1),
        lambda: fnopt.add_noise(0.1, 0.5, seed=1),
        lambda: fnopt.optimistic_adam(0.1),
    ],
    ids=["noisy_sgd", "add_noise", "optimistic_adam"],
)
def test_a_warning_is_of_the_line_that_called(make):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    assert [warning.filename for warning in caught] == [__file__]


def test_methods_that_are_no_functions_stay_as_they_are():
    class still(fnopt.Transform):
        @staticmethod
        def init(params):
            return ()

        @classmethod
        def update(cls, updates, state, params=None, **extra_args):
            return updates, state

    tx = still()
    assert tx.update(PARAMS, tx.init(PARAMS)) == (PARAMS, ())
