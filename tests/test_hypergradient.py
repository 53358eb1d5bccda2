"""Hypergradients are exact and store few states; tuning finds the rate, and survives divergence."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task, nnx_task

import fnopt
from fnopt.core.checks import Interval
from fnopt.sweeps import hypergradient, tune
from fnopt.sweeps.coordinates import Coordinate
from fnopt.sweeps.derivative import differentiated, segment_length
from fnopt.sweeps.leaves import choose, leaves_of
from fnopt.sweeps.unrolled import Unrolled
from fnopt.train import evaluate, fit, objective

SCHEDULED = fnopt.sgdw(fnopt.cosine_decay_schedule(0.05, 60), momentum=0.8, weight_decay=0.02)
"""A learning rate with a schedule, momentum and a decay of weights."""
PARABOLA = np.ones(1, np.float32), np.zeros(1, np.float32)


def parabola():
    """The objective w², which gradient descent multiplies by (1 - 2η)² in a step."""
    return objective(lambda w, x: w * x, "squared_error", params=np.float32(1))


def regression(dtype=np.float64, hidden=4, examples=24):
    """A small network of one smooth layer, and data to train and to validate it on."""
    rng = np.random.RandomState(0)
    params = {"w": rng.normal(size=(3, hidden)) / 2, "v": rng.normal(size=hidden) / 2}
    x = rng.normal(size=(examples, 3))
    data = x, np.sin(2 * x[:, 0]) + 0.5 * x[:, 1]
    params, data = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, data))
    task = objective(lambda p, x: jnp.tanh(x @ p["w"]) @ p["v"], "squared_error", params=params)
    half = examples * 2 // 3
    return task, tuple(a[:half] for a in data), tuple(a[half:] for a in data)


# The derivative.


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_hypergradient_is_the_finite_difference(mode):
    """By learning rate, the schedule's length, momentum and decay, after 50 steps."""
    with jax.enable_x64(True):
        task, data, validation = regression()

        def of(tx):
            return hypergradient(
                task, tx, data, 50, validation_data=validation, batch_size=4, mode=mode
            )

        slopes = of(SCHEDULED).by_name
        leaves, structure = jax.tree.flatten(SCHEDULED)
        for name in (
            "learning_rate.init_value",
            "learning_rate.decay_steps",
            "momentum",
            "weight_decay",
        ):
            place = leaves_of(SCHEDULED)[name].place
            h = 1e-4 * leaves[place]
            above, below = (
                of(structure.unflatten([*leaves[:place], x, *leaves[place + 1 :]])).value
                for x in (leaves[place] + h, leaves[place] - h)
            )
            assert abs(slopes[name]) > 1e-6, name
            np.testing.assert_allclose(slopes[name], (above - below) / (2 * h), rtol=1e-6)


@pytest.mark.slow
def test_modes_agree_where_no_segment_divides_the_steps():
    task, data, validation = regression(np.float32)
    assert 23 % segment_length(23) != 0
    options = {"validation_data": validation, "batch_size": 5}
    tx = fnopt.sgdw(0.05)
    results = [hypergradient(task, tx, data, 23, mode=m, **options) for m in ("reverse", "forward")]
    for name, slope in results[0].by_name.items():
        np.testing.assert_allclose(slope, results[1].by_name[name], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(*(x.step_losses for x in results), rtol=1e-6)
    assert results[0].step_losses.shape == (23,)


def test_a_run_is_that_of_fit():
    """With dropout, batch statistics, shuffling and several epochs."""
    data, validation = blobs(), blobs(20, seed=1)
    # Of a bias before a normalization the gradient is rounding alone, which Adam would magnify.
    task, tx = nnx_task(), fnopt.sgd(0.1, momentum=0.5)
    result = fit(task, tx, data, epochs=2, batch_size=12, key=5, step_history=True, progress=False)
    run = hypergradient(
        task, tx, data, 8, validation_data=validation, batch_size=12, key=5, mode="forward"
    )
    np.testing.assert_allclose(run.value, evaluate(task, result.state, validation)["loss"], 1e-5)
    np.testing.assert_allclose(run.step_losses, result.history.steps["loss"], 1e-5)


def test_batches_are_read_as_they_come():
    """Of a loader and of arrays in order the runs are the same, a shorter last batch left out."""
    x, y = blobs(28)
    task, tx = function_task(), fnopt.sgd(0.1, momentum=0.5)
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 28, 8)]
    in_order = fnopt.data.Arrays((x, y), shuffle=False)
    options = {"validation_data": (x, y), "mode": "forward"}
    streamed = hypergradient(task, tx, lambda: iter(batches), 5, **options)
    by_hand = hypergradient(task, tx, in_order, 5, batch_size=8, **options)
    np.testing.assert_allclose(streamed.step_losses, by_hand.step_losses, rtol=1e-6)
    np.testing.assert_allclose(streamed.by_name["momentum"], by_hand.by_name["momentum"], 1e-5)


def test_gradient_is_an_optimizer_of_derivatives():
    task, data, _ = regression(np.float32)
    tx = fnopt.chain(fnopt.noisy_sgd(0.01, key=3), fnopt.scale(1.5))
    run = hypergradient(task, tx, data, 3, batch_size=None, mode="forward")
    gradient = run.gradient
    assert jax.tree.structure(gradient) == jax.tree.structure(tx)
    assert gradient.transforms[0].key == 0
    assert re.search(r"value=\S+ after 3 steps,\n +transforms.0.learning_rate=", repr(run))
    # The rate and the factor after it scale the same step.
    rate, factor = gradient.transforms[0].learning_rate, gradient.transforms[1].step_size
    np.testing.assert_allclose(rate * 0.01, factor * 1.5, rtol=1e-4)


def test_a_run_that_diverges_says_so():
    result = hypergradient(parabola(), fnopt.sgd(1e6), PARABOLA, 30, batch_size=None)
    assert not np.isfinite(result.value) and not np.isfinite(result.step_losses[-1])


def test_other_numbers_are_the_same_program():
    task, data, _ = regression(np.float32)
    for rate in (0.1, 0.2):
        hypergradient(task, fnopt.sgd(rate), data, 4, batch_size=4, key=int(10 * rate))
    assert differentiated.of(task)._cache_size() == 1


# Memory.


def stacks(jaxpr, shape):
    """The numbers of arrays of a shape that are stacked in one, anywhere in a program."""
    for equation in jaxpr.eqns:
        for variable in equation.outvars:
            if variable.aval.shape[1:] and variable.aval.shape[-len(shape) :] == shape:
                yield int(np.prod(variable.aval.shape[: -len(shape)], dtype=int))
        for parameter in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                yield from stacks(inner, shape)


SIDE = 64


def stored(steps):
    """Of a run of so many steps: the largest stack of states, and bytes that its program needs."""
    matrix = np.eye(SIDE, dtype=np.float32) / 2
    task = objective(lambda w, x: jnp.tanh(x @ w), "squared_error", params=matrix)
    data = np.ones((8, SIDE), np.float32), np.zeros((8, SIDE), np.float32)
    run = Unrolled.prepared(
        "test", task, fnopt.sgd(0.01, momentum=0.9), data, steps,
        validation_data=None, batch_size=4, key=0, mode="reverse", options={},
    )  # fmt: skip
    leaves = leaves_of(run.tx)
    values = {name: jnp.float32(leaf.value) for name, leaf in leaves.items()}
    traced = differentiated.of(task).trace(*run.arguments(values, run.plan(leaves))[1:])
    needed = traced.lower().compile().memory_analysis().temp_size_in_bytes
    return max(stacks(traced.jaxpr.jaxpr, (SIDE, SIDE))), needed


def test_memory_grows_with_the_root_of_the_steps():
    state = 2 * 4 * SIDE**2  # parameters and momentum
    (few, small), (many, large) = stored(64), stored(1024)
    assert (few, many) == (8, 32)
    assert large < (2 * 32 + 16) * state, large / state
    assert (large - small) / state < 1.2 * 2 * (32 - 8)


@pytest.mark.parametrize("steps, segment", [(1, 1), (2, 1), (50, 5), (64, 8), (97, 10), (100, 10)])
def test_segments_are_near_the_root(steps, segment):
    assert segment_length(steps) == segment


# Names and coordinates.


def test_numbers_have_names_and_the_ranges_of_their_fields():
    tx = fnopt.chain(
        fnopt.clip_by_global_norm(1.0),
        fnopt.sgdw(fnopt.linear_schedule(0.1, 0.0, 50), fnopt.linear_schedule(0.5, 0.9, 9)),
        fnopt.scale(-2.0),
    )
    ranges = {name: str(leaf.interval) for name, leaf in leaves_of(tx).items()}
    at = "transforms.1."
    assert ranges[at + "learning_rate.init_value"] == "[0, inf)"
    assert ranges[at + "learning_rate.transition_steps"] == "[0, inf)"
    assert ranges[at + "momentum.init_value"] == "[0, 1)"
    assert ranges[at + "momentum.transition_steps"] == "(0, inf)"
    assert ranges[at + "weight_decay"] == "[0, inf)"
    assert ranges["transforms.2.step_size"] == "(-inf, inf)"
    moving, left = choose("tune", tx, "learning_rate")
    assert choose("tune", tx, "learning_rate/init_value")[0] == {
        name: leaf for name, leaf in moving.items() if name.endswith("init_value")
    }
    assert list(moving) == [at + "learning_rate.init_value", at + "learning_rate.transition_steps"]
    assert left == [at + "learning_rate.end_value", at + "learning_rate.transition_begin"]
    betas = {name: str(leaf.interval) for name, leaf in leaves_of(fnopt.adan(1e-3)).items()}
    assert betas["b1"] == "[0, 1)"


@pytest.mark.parametrize(
    "interval, x", [("[0, inf)", 1e-6), ("[0, 1)", 0.999), ("[1, inf)", 3.0), ("(-inf, 0)", -2.0)]
)
def test_a_coordinate_and_back(interval, x):
    coordinate = Coordinate.of(Interval(interval))
    np.testing.assert_allclose(coordinate.back(coordinate(x)), x, rtol=1e-5)
    for z in (-1e4, 1e4):
        assert float(coordinate.back(jnp.array(z))) in Interval(f"({interval[1:-1]})")


# Tuning.


def test_tune_finds_a_rate_100_times_too_small():
    """Within 10 % of the best of a grid of four rates a decade, on the digits."""
    (x, y), _ = fnopt.data.digits()
    x = x.reshape(len(x), -1)
    data, validation = (x[:800], y[:800]), (x[800:], y[800:])
    keys = jax.random.split(jax.random.key(0))
    params = {
        "w": jax.random.normal(keys[0], (64, 16)) / 8,
        "v": jax.random.normal(keys[1], (16, 10)) / 4,
    }
    task = objective(
        lambda p, x: jax.nn.relu(x @ p["w"]) @ p["v"],
        "softmax_cross_entropy_with_integer_labels",
        params=params,
    )

    options = {"validation_data": validation, "mode": "forward"}

    def value(rate):
        return float(hypergradient(task, fnopt.sgd(rate, momentum=0.9), data, 40, **options).value)

    grid = {rate: value(rate) for rate in np.logspace(-4, 1, 21)}
    losses = np.array(list(grid.values()))
    best = list(grid)[int(np.nanargmin(losses))]
    tx = fnopt.sgd(best / 100, momentum=0.9)
    tuned = tune(task, tx, data, 40, rounds=15, **options)
    assert tuned.losses[0] > 2 * np.nanmin(losses)
    assert tuned.losses[tuned.best_round] < 1.1 * np.nanmin(losses)
    assert tuned.optimizer.momentum == 0.9
    np.testing.assert_allclose(
        value(tuned.optimizer.learning_rate), tuned.losses[tuned.best_round], rtol=1e-4
    )
    # Its program and that of hypergradient.
    assert differentiated.of(task)._cache_size() == 2


@pytest.mark.parametrize("steps, loss", [(2, "finite"), (100, "not")])
def test_a_round_that_diverges_shrinks_the_step(steps, loss):
    rate = 0.1 if steps == 2 else 0.002
    tuned = tune(
        parabola(), fnopt.sgd(rate), PARABOLA, steps, by=fnopt.sgd(20.0), rounds=8, batch_size=None
    )
    bad = np.flatnonzero(tuned.diverged)
    assert bad.size >= 1 and bad[0] == 1 and not tuned.diverged[-1]
    assert np.isfinite(tuned.losses[1]) == (loss == "finite")
    steps_taken = np.log(tuned.values["learning_rate"][1:3] / tuned.values["learning_rate"][0])
    np.testing.assert_allclose(steps_taken[1], steps_taken[0] / 2, rtol=1e-3)
    assert tuned.losses[tuned.best_round] < tuned.losses[0]
    assert tuned.optimizer.learning_rate == pytest.approx(
        tuned.values["learning_rate"][tuned.best_round], rel=1e-6
    )


def test_a_schedule_and_several_numbers_are_tuned():
    task, data, validation = regression(np.float32)
    tuned = tune(
        task, SCHEDULED, data, 30,
        names=["init_value", "decay_steps", "momentum"], by=fnopt.adam(0.1), rounds=4,
        validation_data=validation, batch_size=4, mode="forward",
    )  # fmt: skip
    assert set(tuned.values) == {
        "learning_rate.init_value", "learning_rate.decay_steps", "momentum"
    }  # fmt: skip
    assert tuned.losses.shape == (4,) and np.all(np.diff(tuned.losses) < 0)
    assert tuned.optimizer.weight_decay == 0.02 and tuned.optimizer != SCHEDULED
    assert "round 4 of 4" in repr(tuned)


def test_the_best_round_may_be_the_first():
    tuned = tune(parabola(), fnopt.sgd(0.5), PARABOLA, 1, rounds=2, batch_size=None)
    assert tuned.best_round == 0 and tuned.optimizer == fnopt.sgd(0.5)


# Mistakes.


def call(function=hypergradient, optimizer=None, steps=3, **options):
    """A call with one mistake in it."""
    optimizer = fnopt.sgd(0.1) if optimizer is None else optimizer
    return function(parabola(), optimizer, PARABOLA, steps, **{"batch_size": None, **options})


SEARCH = fnopt.chain(fnopt.sgd(1.0), fnopt.scale_by_backtracking_linesearch(15))
"""An optimizer with a loop."""
MISTAKES = [
    (lambda: call(steps=0), ValueError, "hypergradient: steps must be at least 1, got 0"),
    (lambda: call(steps=2.5), TypeError, "hypergradient: steps must be an integer, got 2.5"),
    (lambda: call(optimizer=optax.sgd(0.1)), ValueError, "has no number to differentiate by"),
    (lambda: call(optimizer=0.1), TypeError, "optimizer: expected a transform"),
    (lambda: call(mode="both"), ValueError, "mode must be one of ('reverse', 'forward')"),
    (lambda: call(batch_size=5), ValueError, "batch_size must be from 1 to the 1 examples"),
    (lambda: call(epochs=3), TypeError, "hypergradient: no option 'epochs'"),
    (
        lambda: call(optimizer=SEARCH),
        ValueError,
        "has a loop whose length depends on the data",
    ),
    (
        lambda: hypergradient(PARABOLA, fnopt.sgd(0.1), parabola(), 3),
        TypeError,
        "the objective comes first",
    ),
    (lambda: hypergradient(parabola(), fnopt.sgd(0.1), [], 3), TypeError, "data is a list"),
    (
        lambda: hypergradient(parabola(), fnopt.sgd(0.1), lambda: iter([]), 3),
        ValueError,
        "the data has no batch",
    ),
    (lambda: call(tune, names="lerning_rate"), ValueError, "did you mean 'learning_rate'"),
    (lambda: call(tune, names="rate"), ValueError, "sgd has no hyperparameter 'rate'"),
    (lambda: call(tune, names=[]), TypeError, "names must be the name of a hyperparameter"),
    (
        lambda: call(tune, optimizer=fnopt.sgdw(0.1, weight_decay=0.0), names="weight_decay"),
        ValueError,
        "weight_decay is 0.0, which is not strictly inside its range [0, inf)",
    ),
    (lambda: call(tune, rounds=0), ValueError, "tune: rounds must be at least 1, got 0"),
    (lambda: call(tune, by=fnopt.lbfgs()), ValueError, "tune: by is lbfgs, which calls the loss"),
    (lambda: call(tune, by=3), TypeError, "by: expected a transform"),
    (
        lambda: call(tune, optimizer=fnopt.sgd(1e6), steps=30),
        ValueError,
        "the run of sgd diverges, at step 5 of 30",
    ),
]


@pytest.mark.parametrize("mistake, error, words", MISTAKES, ids=[words for *_, words in MISTAKES])
def test_mistakes_are_answered(mistake, error, words):
    with pytest.raises(error, match=re.escape(words)) as raised:
        mistake()
    assert len(str(raised.value)) <= 400


def test_a_function_with_a_reverse_derivative_of_its_own_goes_backward():
    @jax.custom_vjp
    def double(x):
        return 2 * x

    double.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))
    task = objective(lambda w, x: double(w * x), "squared_error", params=np.float32(1))
    with pytest.raises(TypeError, match=r"jax\.custom_vjp\); give mode='reverse'"):
        hypergradient(task, fnopt.sgd(0.1), PARABOLA, 2, batch_size=None, mode="forward")
    # (1 - 8η)⁴ · 4
    slope = hypergradient(task, fnopt.sgd(0.1), PARABOLA, 2, batch_size=None).by_name
    np.testing.assert_allclose(slope["learning_rate"], -128 * 0.2**3, rtol=1e-4)


def test_a_method_with_a_loop_goes_forward():
    with jax.enable_x64(True):
        task, data, validation = regression()

        def of(rate):
            search = fnopt.scale_by_backtracking_linesearch(15)
            tx = fnopt.chain(fnopt.sgd(rate), search)
            return hypergradient(
                task, tx, data, 5, validation_data=validation, batch_size=None, mode="forward"
            )

        slope = of(2.0).by_name["transforms.0.learning_rate"]
        difference = of(2.0 + 1e-5).value - of(2.0 - 1e-5).value
        np.testing.assert_allclose(slope, difference / 2e-5, rtol=1e-6)
