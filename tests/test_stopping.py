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
from models import blobs, nnx_task
from oracles.plateau import Plateau
from oracles.stopping import Stopping

import fnopt
from fnopt.train import TrainState, early_stopping, fit, objective, observe
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

    def body(state: TrainState, metric: jax.Array) -> tuple[TrainState, Any]:
        state = observe(state, metric)
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
    for metric in figures:
        stop = stopping.step(metric, params)
        scale = plateau.step(metric)
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
    for metric, evaluations in ((1.0, 1), (2.0, 1), (2.0, 0)):
        state = stopping.update(state, metric, evaluations, jnp.ones(()))
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
        ({"patience": 2.5}, "patience is a number of evaluations, an integer such as 3; got 2.5"),
        ({"min_delta": -0.1}, "min_delta must lie in"),
        ({"mode": "least"}, "mode must be one of"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=f"early_stopping: {says}"):
        early_stopping(**arguments)


# In a run


@functools.cache
def rising() -> Any:
    """Trained upwards at an even pace, tested on the distance from 3."""

    def loss(params: jax.Array, batch: jax.Array, train: bool) -> jax.Array:
        return jnp.where(train, -params, jnp.abs(params - 3.0)) + 0.0 * batch

    return objective(loss, params=jnp.zeros(()))


def ended(stopping: Any, epochs: int = 20, **options: Any) -> Any:
    return fit(
        rising(), fnopt.sgd(0.5), np.zeros(4, np.float32), epochs=epochs, batch_size=2,
        validation_data=np.zeros(2, np.float32), early_stopping=stopping, **options
    )  # fmt: skip


def test_a_run_ends_and_the_best_comes_back():
    result = ended(early_stopping(patience=2))
    # A step up of 1 an epoch: best after 3, then two are borne and the next stops.
    assert result.ended == "early stopping" and not result.interrupted
    assert len(result.history) == 6
    assert float(result.state.params) == 3.0 and float(result.last.params) == 6.0
    assert bool(result.state.stopping_state.stop) and int(result.state.stopping_state.bad) == 0
    kept = ended(early_stopping(patience=2, restore_best=False))
    assert len(kept.history) == 6 and float(kept.state.params) == 6.0


def test_the_best_comes_back_when_the_epochs_are_over_too():
    result = ended(early_stopping(patience=9), epochs=5)
    assert result.ended == "epochs"
    assert float(result.state.params) == 3.0 and float(result.last.params) == 5.0


def test_the_parts_of_a_run_stop_as_the_whole():
    whole = ended(early_stopping(patience=2))
    half = ended(early_stopping(patience=2), epochs=4)
    rest = fit(
        rising(), None, np.zeros(4, np.float32), state=half.last, epochs=20, batch_size=2,
        validation_data=np.zeros(2, np.float32)
    )  # fmt: skip
    assert len(rest.history) == 2 and rest.ended == "early stopping"
    for a, b in zip(jax.tree.leaves(whole.state.params), jax.tree.leaves(rest.state.params),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match="the state has its own early stopping"):
        fit(
            rising(), None, np.zeros(4, np.float32), state=half.last, epochs=1, batch_size=2,
            validation_data=np.zeros(2, np.float32), early_stopping=early_stopping()
        )  # fmt: skip


def test_it_may_stop_in_the_middle_of_an_epoch():
    result = ended(early_stopping(patience=0), eval_every=1)
    # Steps of 0.5: the best after 6 of them, and the seventh is worse.
    assert [record["step"] for record in result.history.records] == [2, 4, 6, 7]
    assert float(result.state.params) == 3.0 and int(result.state.step) == 7


@pytest.mark.beside_optax  # flax mixes dtypes
def test_batch_statistics_come_back_with_the_parameters():
    task = nnx_task()
    states = []
    result = fit(
        task, fnopt.sgd(0.3), blobs(), epochs=12, batch_size=10, validation_data=blobs(20, seed=1),
        early_stopping=early_stopping(patience=0),
        on_epoch=lambda state, record: states.append(jax.device_get(state.model_state)),
    )  # fmt: skip
    best = int(np.argmin(result.history["val_loss"]))
    assert result.ended == "early stopping" and best < len(states) - 1
    for got, then, now in zip(
        *map(jax.tree.leaves, (result.state.model_state, states[best], states[-1])), strict=True
    ):
        np.testing.assert_array_equal(got, then)
        assert not np.array_equal(got, now)
    # Every buffer of the state is its own.
    fnopt.train.make_train_step(task)(result.state, blobs())
