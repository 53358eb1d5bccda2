"""reduce_on_plateau, compiled, against its transcription in plain Python and against torch."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.plateau import Plateau

import fnopt

LENGTH = 24

# Multiples of 12, and tolerances that are powers of 2: means of up to 4 figures and every margin
# are exact in single precision, so that ties are ties.
FIGURE = st.integers(-4, 4).map(lambda twelves: 12.0 * twelves)
TOLERANCE = st.sampled_from([0.0, 0.125, 0.25, 0.5])
ARGUMENTS = st.fixed_dictionaries(
    {
        "factor": st.sampled_from([0.25, 0.5]),
        "patience": st.integers(0, 3),
        "rtol": TOLERANCE,
        "atol": TOLERANCE | st.just(12.0),
        "cooldown": st.integers(0, 3),
        "accumulation_size": st.integers(1, 4),
        "min_scale": st.sampled_from([0.0, 0.125, 0.3]),
    }
)
BOTH_MODES = pytest.mark.parametrize("mode", ["min", "max"])


def metrics(worst: float) -> st.SearchStrategy[list[float]]:
    """Figures with ties, both signs, NaN, and what a run that diverges gives."""
    figure = FIGURE | st.sampled_from([math.nan, worst])
    return st.lists(figure, min_size=1, max_size=LENGTH)


def scales_of(tx: Any, extra_args: dict[str, Any]) -> Any:
    """What a unit update is multiplied by at every step, in one loop."""

    def step(state: Any, extra_args: Any) -> Any:
        update, state = tx.update(jnp.ones(()), state, **extra_args)
        return state, update

    return jax.lax.scan(step, tx.init(jnp.ones(())), extra_args)[1]


def counting_traces(function: Any) -> tuple[Any, list[Any]]:
    """The function jitted, and a list that every trace makes longer."""
    traces: list[Any] = []

    @jax.jit
    def traced(*args: Any) -> Any:
        traces.append(args)
        return function(*args)

    return traced, traces


def padded(values: list[Any]) -> Any:
    return jnp.array(values + [0] * (LENGTH - len(values)))


@BOTH_MODES
def test_decides_as_its_transcription(mode):
    scales, traces = counting_traces(lambda tx, values: scales_of(tx, {"value": values}))

    @settings(max_examples=200, deadline=None)
    @given(ARGUMENTS, metrics(math.inf if mode == "min" else -math.inf))
    def check(arguments, values):
        got = scales(fnopt.reduce_on_plateau(**arguments, mode=mode), padded(values))
        oracle = Plateau(**arguments, mode=mode)
        np.testing.assert_array_equal(
            got[: len(values)], np.float32(list(map(oracle.step, values)))
        )

    check()
    assert len(traces) == 1


@BOTH_MODES
def test_acts_only_when_there_is_another_evaluation(mode):
    scales, traces = counting_traces(
        lambda tx, metric, evaluations: scales_of(
            tx, {"metric": metric, "evaluations": evaluations}
        )
    )
    pauses = st.lists(st.integers(0, 3), min_size=LENGTH, max_size=LENGTH)

    @settings(max_examples=200, deadline=None)
    @given(ARGUMENTS, metrics(math.inf if mode == "min" else -math.inf), pauses)
    def check(arguments, values, pauses):
        # Steps before the first evaluation, then each one's figure again for some steps.
        oracle = Plateau(**arguments, mode=mode)
        rows = [(math.nan, 0, 1.0)] * pauses[0]
        for evaluation, (value, pause) in enumerate(zip(values, pauses, strict=False), 1):
            rows += [(value, evaluation, oracle.step(value))] * (1 + pause)
        metric, evaluations, want = zip(*rows[:LENGTH], strict=True)
        tx = fnopt.reduce_on_plateau(**arguments, monitor="metric", mode=mode)
        got = scales(tx, padded(list(metric)), padded(list(evaluations)))
        np.testing.assert_array_equal(got[: len(want)], np.float32(want))

    check()
    assert len(traces) == 1


def test_evaluations_may_be_missed_and_a_metric_may_be_missing():
    tx = fnopt.reduce_on_plateau(0.5, patience=1, monitor="metric")
    got, state = [], tx.init(jnp.ones(()))
    for extra_args in (
        {},
        {"value": 1.0},
        {"metric": 1.0, "evaluations": 3},
        {"metric": 1.0},
        {"metric": 1.0, "evaluations": 7},
        {"metric": 1.0, "evaluations": 7},
        {"metric": 1.0, "evaluations": 8},
        {},
    ):
        update, state = tx.update(jnp.ones(()), state, **extra_args)
        got.append(float(update))
    assert got == [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    assert state.evaluations == 8


@BOTH_MODES
@pytest.mark.parametrize("standing", [-1.0, 0.0, 1.0])
def test_a_standing_figure_is_a_plateau(mode, standing):
    got = scales_of(fnopt.reduce_on_plateau(0.5, 2, mode=mode), {"value": jnp.full(7, standing)})
    assert got.tolist() == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def scales_of_torch(values: list[float], **arguments: Any) -> list[float]:
    """The rates that torch's scheduler makes of 1, without its least change of a rate."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0.0, **arguments)
    rates = []
    for value in values:
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@BOTH_MODES
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
def test_counts_as_torch_does(mode, threshold_mode):
    pytest.importorskip("torch")
    names = {"rel": "rtol", "abs": "atol"}
    scales = jax.jit(lambda tx, values: scales_of(tx, {"value": values}))
    positive = st.integers(1, 5).map(lambda twelves: 12.0 * twelves) | st.just(math.nan)

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(positive, min_size=1, max_size=LENGTH),
        TOLERANCE,
        st.fixed_dictionaries(
            {"factor": st.just(0.5), "patience": st.integers(0, 3), "cooldown": st.integers(0, 3)}
        ),
        st.sampled_from([0.0, 0.125, 0.3]),
    )
    def check(values, threshold, arguments, least):
        want = scales_of_torch(
            values,
            mode=mode,
            threshold=threshold,
            threshold_mode=threshold_mode,
            min_lr=least,
            **arguments,
        )
        tolerances = {"rtol": 0.0, "atol": 0.0, names[threshold_mode]: threshold}
        tx = fnopt.reduce_on_plateau(**arguments, **tolerances, min_scale=least, mode=mode)
        got = scales(tx, padded(values))
        np.testing.assert_array_equal(got[: len(values)], np.float32(want))

    check()


def test_unlike_torch_a_negative_figure_must_improve():
    arguments = {"factor": 0.5, "patience": 0}
    standing = [-1.0] * 4
    ours = scales_of(fnopt.reduce_on_plateau(**arguments), {"value": jnp.array(standing)})
    assert ours.tolist() == [1, 0.5, 0.25, 0.125]
    # To torch's default comparison -1 < -1 (1 - 1e-4), for ever an improvement.
    assert scales_of_torch(standing, **arguments) == [1, 1, 1, 1]


@pytest.mark.parametrize("monitor", ["value", "metric"])
def test_the_rate_that_is_told_is_the_rate_that_is_applied(monitor):
    tx = fnopt.chain(
        fnopt.sgd(fnopt.linear_schedule(0.4, 0.2, 10)),
        fnopt.reduce_on_plateau(0.5, patience=0, monitor=monitor),
    )

    @jax.jit
    def step(state, evaluations):
        watched = {"value": {"value": 1.0}, "metric": {"metric": 1.0, "evaluations": evaluations}}
        told = fnopt.hyperparameters(tx, state, **watched[monitor])["learning_rate"]
        update, state = tx.update(jnp.ones(()), state, **watched[monitor])
        return told, update, state

    state = tx.init(jnp.ones(()))
    for count in range(4):
        told, update, state = step(state, count + 1)
        np.testing.assert_allclose(told, (0.4 - 0.02 * count) * 0.5**count, rtol=1e-6)
        np.testing.assert_allclose(update, -told, rtol=1e-6)
    # Of an update that brings no figure it is the scale that stands.
    told = fnopt.hyperparameters(tx, state)["learning_rate"]
    np.testing.assert_allclose(told, 0.32 * 0.125, rtol=1e-6)


def test_several_are_each_of_them():
    several = [
        fnopt.reduce_on_plateau(factor, patience, rtol, cooldown=cooldown, accumulation_size=size)
        for factor, patience, rtol, cooldown, size in (
            (0.5, 0, 0.0, 0, 1),
            (0.1, 2, 0.1, 1, 1),
            (0.3, 1, 0.5, 0, 2),
        )
    ]
    values = jnp.array([3.0, 2.0, 2.0, 2.5, 1.9, 1.9, 1.9, 1.0, 1.2, 1.4])
    batch = jax.tree.map(lambda *x: jnp.stack(x), *several)
    got = jax.vmap(scales_of, in_axes=(0, None))(batch, {"value": values})
    assert (np.asarray(got)[:, -1] < 1).all()
    np.testing.assert_allclose(got, [scales_of(tx, {"value": values}) for tx in several], rtol=1e-6)


def test_a_narrow_update_is_rounded_once():
    tx = fnopt.reduce_on_plateau(0.1, patience=0)
    updates = jnp.linspace(-3, 3, 64, dtype=jnp.bfloat16)
    state = tx.init(updates)
    for _ in range(4):
        got, state = tx.update(updates, state, value=1.0)
    want = (updates.astype(jnp.float32) * state.scale).astype(jnp.bfloat16)
    np.testing.assert_array_equal(got, want)


def test_the_loss_must_be_given():
    tx = fnopt.chain(fnopt.sgd(0.1), fnopt.reduce_on_plateau())
    with pytest.raises(ValueError, match=r"reduce_on_plateau watches the loss.*value=loss"):
        tx.update(jnp.ones(()), tx.init(jnp.ones(())))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"factor": 1.0}, r"factor must lie in \(0, 1\), got 1.0.*default is 0.1"),
        ({"factor": 0}, r"factor must lie in \(0, 1\), got 0"),
        ({"patience": -1}, r"patience must lie in \[0, inf\), got -1"),
        ({"rtol": 1.5}, r"rtol must lie in \[0, 1\], got 1.5"),
        ({"atol": math.nan}, r"atol must lie in \[0, inf\), got nan"),
        ({"cooldown": -2}, r"cooldown must lie in \[0, inf\), got -2"),
        ({"accumulation_size": 0}, r"accumulation_size must lie in \[1, inf\), got 0"),
        ({"min_scale": 2.0}, r"min_scale must lie in \[0, 1\], got 2.0"),
        ({"mode": "least"}, "mode must be one of .*'min', 'max'.* got 'least'"),
        ({"monitor": "loss"}, "monitor must be one of .*'value', 'metric'.* got 'loss'"),
    ],
    ids=str,
)
def test_refuses_bad_arguments(arguments, says):
    with pytest.raises(ValueError, match=f"reduce_on_plateau: {says}"):
        fnopt.reduce_on_plateau(**arguments)
