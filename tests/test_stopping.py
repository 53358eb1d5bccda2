"""Early stopping: with the plateau in one program against plain Python, and in a run."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.plateau import Plateau
from oracles.stopping import Stopping

import fnopt
from fnopt.train import TrainState, early_stopping, objective, observe
from fnopt.train.step import train_step

LENGTH = 24
BOTH_MODES = pytest.mark.parametrize("mode", ["min", "max"])

# Multiples of 12 and margins that are powers of 2: every comparison is exact in single precision.
FIGURE = st.integers(-4, 4).map(lambda twelves: 12.0 * twelves)
FIGURES = st.lists(
    FIGURE | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=1, max_size=LENGTH
)
ARGUMENTS = st.fixed_dictionaries(
    {
        "patience": st.integers(0, 4),
        "min_delta": st.sampled_from([0.0, 0.125, 12.0]),
        "factor": st.sampled_from([0.25, 0.5]),
        "plateau_patience": st.integers(0, 2),
        "cooldown": st.integers(0, 2),
    }
)


def values(mode: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    plateau = fnopt.reduce_on_plateau(
        arguments["factor"],
        patience=arguments["plateau_patience"],
        cooldown=arguments["cooldown"],
        monitor="metric",
        mode=mode,
    )
    tx = fnopt.chain(fnopt.sgd(1.0), plateau)
    return tx, early_stopping(arguments["patience"], arguments["min_delta"], mode)


@functools.cache
def task() -> Any:
    # Its gradient is 1, so that a step goes down by the scale, and the parameter counts scales.
    return objective(lambda params, batch: params + 0.0 * batch, params=jnp.zeros(()))


def decisions(state: TrainState, figures: jax.Array) -> Any:
    """A step and an evaluation for each figure, in one loop: what was decided after each."""

    def body(state: TrainState, figure: jax.Array) -> tuple[TrainState, Any]:
        state = observe(state, figure)
        state, metrics = train_step(task(), state, jnp.zeros(()))
        told = state.stopping_state
        return state, (told.stop, told.best, told.best_params[0], metrics["learning_rate"])

    return jax.lax.scan(body, state, figures)[1]


def transcribed(mode: str, arguments: dict[str, Any], figures: list[float]) -> Any:
    stopping = Stopping(arguments["patience"], arguments["min_delta"], mode)
    plateau = Plateau(
        arguments["factor"],
        arguments["plateau_patience"],
        cooldown=arguments["cooldown"],
        mode=mode,
    )
    rows, params = [], 0.0
    for figure in figures:
        stop = stopping.step(figure, params)
        scale = plateau.step(figure)
        params -= scale
        rows.append((stop, stopping.best, stopping.kept, scale))
    return [np.array(column) for column in zip(*rows, strict=True)]


def padded(figures: list[float]) -> np.ndarray:
    return np.float32(figures + [0.0] * (LENGTH - len(figures)))


@BOTH_MODES
def test_stopping_and_plateau_in_one_program_decide_as_their_transcription(mode):
    compiled = jax.jit(lambda state, figures: decisions(state, figures))  # with its own cache
    stacked = jax.jit(jax.vmap(lambda state, figures: decisions(state, figures)))
    asked, several = [], 8

    @settings(max_examples=200, deadline=None)
    @given(ARGUMENTS, FIGURES)
    def check(arguments, figures):
        tx, stopping = values(mode, arguments)
        state = TrainState.create(task(), tx, 0, stopping=stopping)
        got = compiled(state, padded(figures))
        for ours, theirs in zip(got, transcribed(mode, arguments, figures), strict=True):
            np.testing.assert_array_equal(ours[: len(figures)], theirs.astype(ours.dtype))
        asked.append((state, padded(figures), got))

    check()
    assert len(asked) >= 200 and compiled._cache_size() == 1
    # A stack of runs decides as each alone.
    for first in range(0, 200, several):
        states, figures, got = zip(*asked[first : first + several], strict=True)
        stack = jax.tree.map(lambda *x: jnp.stack(x), *states)
        for ours, theirs in zip(
            stacked(stack, np.stack(figures)), zip(*got, strict=True), strict=True
        ):
            np.testing.assert_array_equal(ours, np.stack(theirs))
    assert stacked._cache_size() == 1


def test_a_number_of_evaluations_seen_before_changes_nothing():
    stopping = early_stopping(patience=0)
    state = stopping.init(jnp.zeros(()))
    for figure, evaluations in ((1.0, 1), (2.0, 1), (2.0, 0)):
        state = stopping.update(state, figure, evaluations, jnp.ones(()))
    assert not state.stop and float(state.best) == 1.0
    assert stopping.update(state, 1.0, 2, jnp.ones(())).stop


def test_without_restoring_no_copy_is_kept():
    stopping = early_stopping(restore_best=False)
    state = stopping.init(jnp.zeros(3))
    assert state.best_params is None
    assert stopping.update(state, 1.0, 1, jnp.ones(3)).best_params is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"patience": -1}, "patience must lie in"),
        ({"min_delta": -0.1}, "min_delta must lie in"),
        ({"mode": "least"}, "mode must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=f"early_stopping: {says}"):
        early_stopping(**arguments)
