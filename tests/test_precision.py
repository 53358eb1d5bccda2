"""Precision of a step: rounding at random, master weights, loss scaling."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task, linen_task

import fnopt
from fnopt.train import (
    Precision,
    TrainState,
    dynamic_scaling,
    make_train_step,
    objective,
    stochastic_round,
)

pytestmark = pytest.mark.beside_optax

HALVES = ("bfloat16", "float16")


def bits(x):
    return np.asarray(x).view(np.uint16)


def neighbours(x, dtype):
    """The largest number of a dtype not above x, and the least not below it, as float64."""
    near = np.asarray(jnp.asarray(x, jnp.float32).astype(dtype))
    step = np.float64(near)
    below = np.where(step <= x, near, np.nextafter(near, np.asarray(-np.inf, near.dtype)))
    above = np.where(step >= x, near, np.nextafter(near, np.asarray(np.inf, near.dtype)))
    return below.astype(np.float64), above.astype(np.float64)


# Rounding


@pytest.mark.parametrize("dtype", HALVES)
def test_what_has_a_representation_stays_to_the_bit(dtype):
    every = jnp.arange(2**16, dtype=jnp.uint16).view(dtype)
    got = stochastic_round(every.astype(jnp.float32), dtype, jax.random.key(0))
    nan = np.isnan(np.asarray(every, np.float32))
    # On the CPU a subnormal float32, which half of bfloat16's are not, is a number like others.
    np.testing.assert_array_equal(bits(got)[~nan], bits(every)[~nan])
    assert np.all(np.isnan(np.asarray(got, np.float32)[nan]))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("exponent", [0, 7, -9, -13, -15, -20, -24], ids=lambda e: f"2**{e}")
def test_it_rounds_to_a_neighbour_and_to_the_mean(dtype, exponent):
    draws = 40_000
    for significand in (1.0003, 1.37, -1.4142135, -1.9999):
        x = np.float32(significand * 2.0**exponent)
        low, high = neighbours(np.float64(x), dtype)
        rounded = stochastic_round(jnp.full(draws, x), dtype, jax.random.key(7))
        got = np.asarray(rounded, np.float64)
        assert set(got) <= {float(low), float(high)}
        up = (np.float64(x) - low) / (high - low)
        deviation = (high - low) * np.sqrt(up * (1 - up) / draws)
        assert abs(got.mean() - np.float64(x)) < 4.5 * deviation + 1e-9 * abs(x)


@pytest.mark.parametrize("dtype", HALVES)
def test_beyond_the_largest_number_is_infinity(dtype):
    largest = float(jnp.finfo(dtype).max)
    x = jnp.asarray([largest, -largest, jnp.inf, -jnp.inf, 3.4e38, -3.4e38], jnp.float32)
    got = np.asarray(stochastic_round(x, dtype, jax.random.key(1)), np.float32)
    np.testing.assert_array_equal(got[:4], np.asarray(x)[:4])
    assert set(np.abs(got[4:])) <= {np.inf, np.float32(largest)}
    assert dtype == "bfloat16" or np.all(np.isinf(got[4:]))


def test_the_key_decides_and_half_precision_goes_in():
    x = jnp.linspace(0, 1, 1000)
    one, again, other = (stochastic_round(x, "bfloat16", jax.random.key(i)) for i in (0, 0, 1))
    assert np.array_equal(bits(one), bits(again)) and not np.array_equal(bits(one), bits(other))
    half = x.astype(jnp.float16)
    assert stochastic_round(half, jnp.bfloat16, jax.random.key(0)).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("x", "dtype", "error"),
    [
        (jnp.ones(2), "float32", ValueError),
        (jnp.ones(2), "int8", ValueError),
        (jnp.ones(2, jnp.int32), "bfloat16", TypeError),
    ],
)
def test_what_cannot_be_rounded_is_refused(x, dtype, error):
    with pytest.raises(error, match="stochastic_round"):
        stochastic_round(x, dtype, jax.random.key(0))


# Precision


@pytest.mark.parametrize(
    ("name", "params", "compute", "loss_scale"),
    [
        ("float32", "float32", "float32", None),
        ("bfloat16", "float32", "bfloat16", None),
        ("bfloat16_params", "bfloat16", "bfloat16", None),
        ("bfloat16_stochastic", "bfloat16", "bfloat16", None),
        ("float16", "float32", "float16", "dynamic"),
    ],
)
def test_parameters_computation_slots_and_statistics_have_their_dtypes(
    name, params, compute, loss_scale
):
    seen = {}

    def loss(outputs, labels):
        seen["outputs"] = outputs.dtype
        return optax.softmax_cross_entropy_with_integer_labels(outputs, labels)

    def net(params, x):
        seen["params"], seen["inputs"] = params["w"].dtype, x.dtype
        return x @ params["w"]

    task = objective(net, loss, params={"w": jnp.zeros((8, 3))})
    precision = Precision.named(name)
    assert precision.loss_scale == loss_scale
    state = TrainState.create(task, fnopt.adam(1e-2), 0, blobs(), precision=name)
    state, metrics = make_train_step(task, precision=name)(state, blobs())
    assert seen == {"params": compute, "inputs": compute, "outputs": "float32"}
    assert state.params["w"].dtype == params and metrics["loss"].dtype == "float32"
    assert {x.dtype.name for x in jax.tree.leaves(state.opt_state)} == {"float32", "int32"}


def test_batch_statistics_stay_in_single_precision_and_it_learns():
    task = linen_task(0.1)
    state = TrainState.create(task, fnopt.adam(3e-2), 0, blobs(), precision="bfloat16_stochastic")
    step = make_train_step(task, precision="bfloat16_stochastic")
    for _ in range(30):
        state, metrics = step(state, blobs())
    assert {x.dtype.name for x in jax.tree.leaves(state.model_state)} == {"float32"}
    assert {x.dtype.name for x in jax.tree.leaves(state.params)} == {"bfloat16"}
    assert float(metrics["loss"]) < 0.3 and step._cache_size() == 1


def test_float32_by_name_is_no_precision_to_the_bit():
    got = []
    for name in (None, "float32"):
        task = function_task()
        state = TrainState.create(task, fnopt.adam(1e-2), 0, precision=name)
        step = make_train_step(task, precision=name)
        for _ in range(3):
            state, metrics = step(state, blobs())
        got.append((state.params, state.opt_state, metrics))
    jax.tree.map(np.testing.assert_array_equal, *got)


def test_bfloat16_parameters_stall_and_stochastic_rounding_does_not():
    # A parabola's slope times the rate: at 1 a fifth of half the spacing below 1, 2**-9 / 5.
    def run(precision):
        task = objective(lambda p, x: 0.5 * jnp.sum(p**2), params=jnp.ones(4096))
        state = TrainState.create(task, fnopt.sgd(2.0**-9 / 5), 0, precision=precision)
        step = make_train_step(task, precision=precision)
        for _ in range(500):
            state, _ = step(state, jnp.zeros(1))
        return np.asarray(state.params, np.float64)

    expected = (1 - 2.0**-9 / 5) ** 500
    assert np.all(run("bfloat16_params") == 1.0)
    np.testing.assert_allclose(run("float32"), expected, rtol=1e-4)
    at_random = run("bfloat16_stochastic")
    np.testing.assert_allclose(at_random.mean(), expected, rtol=1e-3)
    assert at_random.std() < 0.05


@pytest.mark.parametrize("parts", [1, 2])
def test_gradients_and_functions_of_them_come_in_single_precision(parts):
    seen = []

    class Peek(fnopt.Transform):
        def init(self, params):
            return optax.EmptyState()

        def update(self, updates, state, params=None, *, grad, value_fn, grad_fn, **extra):
            trees = updates, grad, params, grad_fn(params)
            seen.extend(x.dtype.name for x in jax.tree.leaves(trees))
            jax.tree.map(lambda a, b: seen.append(a.shape == b.shape), grad, grad_fn(params))
            return jax.tree.map(jnp.zeros_like, updates), state

    task = function_task()
    state = TrainState.create(task, Peek(), 0, precision="bfloat16_params")
    make_train_step(task, precision="bfloat16_params", accumulate=parts)(state, blobs())
    assert set(seen) == {"float32", True}


# Loss scaling


def fragile(params, batch):
    """A parabola whose slope overflows float16 where the batch says so."""
    x, bad = batch
    return jnp.mean((params["w"] * x) ** 2) * jnp.where(jnp.any(bad), jnp.inf, 1.0)


def scaled_run(precision, bad_at, steps=12):
    task = objective(fragile, params={"w": jnp.ones(4)})
    state = TrainState.create(
        task, fnopt.sgd(0.1, momentum=0.9), 0, precision=precision, average=None
    )
    step, log = make_train_step(task, precision=precision), []
    for i in range(steps):
        batch = jnp.full((2, 4), 0.5), jnp.full(2, i in bad_at)
        before = jax.tree.map(np.asarray, (state.params, state.opt_state))
        state, metrics = step(state, batch)
        log.append({name: float(x) for name, x in metrics.items()})
        if i in bad_at:
            jax.tree.map(np.testing.assert_array_equal, before, (state.params, state.opt_state))
            assert not np.isfinite(log[-1]["update_norm"])
    assert step._cache_size() == 1
    return state, log


def test_dynamic_loss_scaling_recovers_from_an_overflow():
    scaling = dynamic_scaling(2.0**10, growth_interval=4)
    precision = Precision(compute="float16", loss_scale=scaling)
    state, log = scaled_run(precision, bad_at={3, 4})
    scales = [2.0**10] * 4 + [2.0**9] + [2.0**8] * 4 + [2.0**9] * 3
    assert [got["loss_scale"] for got in log] == scales
    assert [got["skipped"] for got in log] == [0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2]
    assert int(state.skipped) == 2 and int(state.step) == 10
    # It goes where a run goes that never met the bad batches.
    clean, _ = scaled_run(precision, bad_at=set(), steps=10)
    np.testing.assert_allclose(state.params["w"], clean.params["w"], rtol=1e-6)
    assert np.all(state.params["w"] < 0.9)


def test_a_scale_too_large_for_float16_comes_down_by_itself():
    precision = Precision(compute="float16", loss_scale=dynamic_scaling(2.0**22))
    state, log = scaled_run(precision, bad_at=set(), steps=16)
    assert 0 < int(state.skipped) < 12 and int(state.step) == 16 - int(state.skipped)
    assert np.isfinite(log[-1]["update_norm"])


@pytest.mark.parametrize("scale", [1.0, 128.0, 1000.0])
def test_a_fixed_loss_scale_changes_nothing_but_the_rounding(scale):
    got, log = scaled_run(Precision(compute="float16", loss_scale=scale), bad_at={2}, steps=6)
    plain, _ = scaled_run(Precision(), bad_at={2}, steps=6)
    np.testing.assert_allclose(got.params["w"], plain.params["w"], rtol=2e-3)
    assert int(got.skipped) == int(plain.skipped) == 1
    assert {x["loss_scale"] for x in log} == {scale} and got.scaling is None


def test_scaling_saves_gradients_that_float16_has_not():
    # 2**-26 is half of its least number.
    task = objective(lambda p, x: jnp.sum(p * x), params=jnp.ones(1))
    batch, moved = jnp.full(1, 2.0**-13), {}
    for scale in (1.0, 2.0**12):
        precision = Precision(compute="float16", output="float16", loss_scale=scale)
        task = objective(lambda p, x: jnp.sum(p * x * x), params=jnp.ones(1))
        state = TrainState.create(task, fnopt.sgd(2.0**10), 0, precision=precision)
        state, metrics = make_train_step(task, precision=precision)(state, batch)
        moved[scale] = float(metrics["grad_norm"])
    assert moved[1.0] in (0.0, 2.0**-24) and moved[2.0**12] == 2.0**-26


def test_scaling_follows_the_rule_by_hand():
    scaling = dynamic_scaling(8.0, growth_interval=2, growth=4.0, backoff=0.25, max_scale=64.0)
    state, scale, good = scaling.init(), 8.0, 0
    update = jax.jit(lambda scaling, state, finite: scaling.update(state, finite))
    for finite in np.random.RandomState(0).rand(60) < 0.7:
        state = update(scaling, state, finite)
        good = good + 1 if finite else 0
        if not finite:
            scale = max(scale * 0.25, 1.0)
        elif good == 2:
            scale, good = min(scale * 4.0, 64.0), 0
        assert (float(state.scale), int(state.good)) == (scale, good)
    assert update._cache_size() == 1


# What goes wrong


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Precision.named("bfloat"), "did you mean 'bfloat16'"),
        (lambda: Precision(compute="float8"), "no dtype compute='float8'"),
        (lambda: Precision(compute="float16"), "loss_scale='dynamic'"),
        (lambda: Precision(params="float16"), "loss_scale='dynamic'"),
        (lambda: Precision(rounding="stochastic"), "params='bfloat16'"),
        (lambda: Precision(rounding="up"), "'nearest' or 'stochastic'"),
        (lambda: Precision(loss_scale=0.0), r"must lie in \(0, inf\), got 0"),
        (lambda: Precision(loss_scale="static"), "a number above 0, 'dynamic'"),
        (lambda: dynamic_scaling(0.5), "from min_scale to max_scale"),
        (lambda: dynamic_scaling(backoff=2.0), "backoff must lie in"),
    ],
)
def test_precisions_that_contradict_themselves(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    ("of_state", "of_step", "match"),
    [
        (None, "bfloat16_params", r"params\['b'\] has dtype float32, but .* bfloat16; make the"),
        (None, "float16", "has no dynamic loss scaling"),
        ("float16", None, "has dynamic loss scaling"),
        ("bfloat16_params", "bfloat16", "has dtype bfloat16"),
    ],
)
def test_a_state_of_another_precision_is_refused(of_state, of_step, match):
    task = function_task()
    state = TrainState.create(task, fnopt.sgd(0.1), 0, precision=of_state)
    with pytest.raises(ValueError, match=match):
        make_train_step(task, precision=of_step)(state, blobs())
