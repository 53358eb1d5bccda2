"""Averages of parameters, and the batch statistics that go with them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from models import CROSS_ENTROPY, LinenNet, NNXNet, blobs, function_task, linen_task, nnx_task

import fnopt
from fnopt.train import (
    TrainState,
    averaged,
    ema_of_params,
    evaluate,
    make_train_step,
    objective,
    swa,
)

pytestmark = pytest.mark.beside_optax


def trajectory(average, steps=25, **options):
    """The parameters after each update, and the state in the end."""
    task, seen = function_task(), []
    state = TrainState.create(task, fnopt.sgd(0.3), 0, average=average)
    step = make_train_step(task, **options)
    for _ in range(steps):
        state, _ = step(state, blobs())
        seen.append(jax.tree.map(lambda x: np.asarray(x, np.float64), state.params))
    assert step._cache_size() == 1
    return task, state, seen


def assert_close(got, expected, rtol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-7), got, expected)


@pytest.mark.parametrize(
    ("debias", "every", "start"), [(True, 1, 0), (True, 2, 7), (False, 3, 0), (False, 1, 7)]
)
def test_ema_is_the_loop_of_numpy(debias, every, start):
    average = ema_of_params(0.8, debias=debias, every=every, start=start)
    task, state, seen = trajectory(average)
    initial = jax.tree.map(lambda x: np.asarray(x, np.float64), task.params)
    mean, weight = jax.tree.map(np.zeros_like, initial), 0.0
    if not debias:
        mean = initial
    for i, params in enumerate(seen, start=1):
        if i >= start and (i - start) % every == 0:
            mean = jax.tree.map(lambda a, p: 0.8 * a + 0.2 * p, mean, params)
            weight = 0.8 * weight + 0.2
        if not debias and i <= start:
            mean = params
    expected = jax.tree.map(lambda a: a / weight, mean) if debias else mean
    assert_close(averaged(task, state).params, expected)


def test_ema_by_a_schedule_is_exact():
    decay = fnopt.linear_schedule(0.0, 0.9, 10)
    task, state, seen = trajectory(ema_of_params(decay))
    mean, weight = jax.tree.map(np.zeros_like, seen[0]), 0.0
    for i, params in enumerate(seen):
        b = min(0.09 * i, 0.9)
        mean = jax.tree.map(lambda a, p, b=b: b * a + (1 - b) * p, mean, params)
        weight = b * weight + 1 - b
    assert_close(averaged(task, state).params, jax.tree.map(lambda a: a / weight, mean))


@pytest.mark.parametrize(("start", "every"), [(0, 1), (10, 5), (4, 3)])
def test_swa_is_the_mean(start, every):
    task, state, seen = trajectory(swa(start, every))
    chosen = [p for i, p in enumerate(seen, 1) if i >= start and (i - start) % every == 0]
    assert int(state.average_state.count) == len(chosen)
    expected = jax.tree.map(lambda *x: np.mean(x, axis=0), *chosen)
    assert_close(averaged(task, state).params, expected)


@pytest.mark.parametrize("average", [ema_of_params(0.9, start=99), swa(99, 1)])
def test_before_the_first_it_is_the_parameters(average):
    task, state, _ = trajectory(average, steps=3)
    jax.tree.map(np.testing.assert_array_equal, averaged(task, state).params, state.params)


def test_a_step_that_is_left_out_is_not_averaged():
    task = function_task()
    state = TrainState.create(task, fnopt.sgd(0.3), 0, average=ema_of_params(0.9))
    step, (x, y) = make_train_step(task), blobs()
    state, _ = step(state, (x, y))
    before = jax.tree.map(np.asarray, state.average_state)
    state, _ = step(state, (x * np.nan, y))
    jax.tree.map(np.testing.assert_array_equal, state.average_state, before)
    assert int(state.skipped) == 1
    # Nor one whose update is not finite, though its gradient is.
    task = objective(lambda p, x: jnp.sum(p * x), params=jnp.ones(2))
    state = TrainState.create(task, fnopt.scale(1e38), 0, average=ema_of_params(0.9))
    state, _ = make_train_step(task)(state, jnp.full(2, 1e3))
    assert int(state.average_state.count) == 0 and int(state.skipped) == 1


def test_half_precision_is_averaged_in_single():
    task = function_task()
    state = TrainState.create(
        task, fnopt.sgd(0.3), 0, precision="bfloat16_params", average=ema_of_params(0.999)
    )
    step = make_train_step(task, precision="bfloat16_params")
    for _ in range(3):
        state, _ = step(state, blobs())
    assert {x.dtype.name for x in jax.tree.leaves(state.average_state.average)} == {"float32"}
    got = averaged(task, state, blobs(), precision="bfloat16_params")
    assert {x.dtype.name for x in jax.tree.leaves(got.params)} == {"bfloat16"}


def test_averages_of_a_sweep():
    task = function_task()
    states = [
        TrainState.create(task, fnopt.sgd(0.3), 0, average=ema_of_params(b, every=e))
        for b, e in ((0.5, 1), (0.9, 2))
    ]
    swept = jax.tree.map(lambda *x: jnp.stack(x), *states)
    step = make_train_step(task)
    for _ in range(4):
        swept, _ = jax.vmap(step, in_axes=(0, None))(swept, blobs())
        states = [step(state, blobs())[0] for state in states]
    for i, state in enumerate(states):
        alone = averaged(task, state).params
        together = averaged(task, jax.tree.map(lambda x, i=i: x[i], swept)).params
        assert_close(together, alone)


# Batch statistics


def numpy_statistics(params, x, batch_size):
    """Mean and variance of the first layer's output, averaged over batches by their sizes."""
    kernel, bias = (np.asarray(x, np.float64) for x in params)
    hidden = np.asarray(x, np.float64) @ kernel + bias
    batches = [hidden[i : i + batch_size] for i in range(0, len(x), batch_size)]
    sizes = [len(b) for b in batches]
    return (
        np.average([b.mean(0) for b in batches], axis=0, weights=sizes),
        np.average([b.var(0) for b in batches], axis=0, weights=sizes),
    )


@pytest.mark.parametrize(
    ("kind", "batch_size"),
    [("nnx", 16), ("linen", 16), ("linen", 50)],
)
def test_recomputed_statistics_are_those_of_numpy(kind, batch_size):
    task = {"nnx": nnx_task, "linen": linen_task}[kind]()
    data = blobs(50)
    data = data[0] * 20 + 30, data[1]  # where the running statistics at the start are far off
    state = TrainState.create(task, fnopt.sgd(0.05), 0, data, average=ema_of_params(0.9))
    step = make_train_step(task)
    for _ in range(3):
        state, _ = step(state, data)
    got = averaged(task, state, data, batch_size=batch_size)
    if kind == "nnx":
        dense, norm = got.params["dense"], got.model_state["norm"]
        params = dense["kernel"][...], dense["bias"][...]
        mean, var = norm["mean"][...], norm["var"][...]
    else:
        dense = got.params["Dense_0"]
        params, norm = (dense["kernel"], dense["bias"]), got.model_state["batch_stats"]
        mean, var = norm["BatchNorm_0"]["mean"], norm["BatchNorm_0"]["var"]
    expected = numpy_statistics(params, data[0], batch_size)
    np.testing.assert_allclose(mean, expected[0], rtol=3e-6)
    np.testing.assert_allclose(var, expected[1], rtol=1e-4)  # flax's E[x²] - E[x]² cancels
    # And they are those that evaluation uses, to a lower loss than the old ones.
    assert evaluate(task, got, data)["loss"] < evaluate(task, averaged(task, state), data)["loss"]


class Deep(linen.Module):
    """Two normalizations, the second behind a dropout; told of training by another name."""

    @linen.compact
    def __call__(self, x, deterministic):
        for momentum in (0.99, 0.9375):
            x = linen.Dense(8)(x)
            x = linen.BatchNorm(use_running_average=deterministic, momentum=momentum)(x)
            x = linen.Dropout(0.5, deterministic=deterministic)(linen.relu(x))
        return linen.Dense(3)(x)


def test_no_dropout_comes_before_the_second_normalization():
    task, data = objective(Deep(), CROSS_ENTROPY), blobs(40)
    state = TrainState.create(task, fnopt.sgd(0.1), 0, data, average=swa(0, 1))
    state, _ = make_train_step(task)(state, data)
    got = averaged(task, state, data, batch_size=40)
    params = jax.tree.map(lambda x: np.asarray(x, np.float64), got.params)
    x = np.asarray(data[0], np.float64) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    norm = params["BatchNorm_0"]
    x = np.maximum(x * norm["scale"] + norm["bias"], 0)
    x = x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"]
    made = got.model_state["batch_stats"]["BatchNorm_1"]
    np.testing.assert_allclose(made["mean"], x.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(made["var"], x.var(0), rtol=1e-4)


def test_nnx_and_linen_are_recomputed_alike_though_dropout_is_told_at_the_call():
    class Told(NNXNet):
        def __call__(self, x, deterministic):
            x = self.dropout(self.dense(x), deterministic=deterministic)
            return self.head(self.norm(x))

    task, data = objective(Told(nnx.Rngs(0)), CROSS_ENTROPY), blobs(40)
    state = TrainState.create(task, fnopt.sgd(0.1), 0, average=swa(0, 1))
    state, _ = make_train_step(task)(state, data)
    got = averaged(task, state, data, batch_size=40)
    dense = got.params["dense"]
    expected = numpy_statistics((dense["kernel"][...], dense["bias"][...]), data[0], 40)
    np.testing.assert_allclose(got.model_state["norm"]["mean"][...], expected[0], rtol=1e-4)
    np.testing.assert_allclose(got.model_state["norm"]["var"][...], expected[1], rtol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 0.9997])
def test_the_momentum_is_read_off_to_the_last_digits(momentum):
    class Net(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(8, momentum=momentum, rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.head(self.norm(x))

    x, y = blobs(40)
    x = x + np.float32(100.0) * np.arange(8, dtype=np.float32)
    task = objective(Net(nnx.Rngs(0)), CROSS_ENTROPY)
    state = TrainState.create(task, fnopt.sgd(0.1), 0, average=swa(0, 1))
    got = averaged(task, state, (x, y)).model_state["norm"]["mean"][...]
    np.testing.assert_allclose(got, x.mean(0, dtype=np.float64), rtol=2e-6)


def test_what_is_no_moving_average_stays():
    class Odd(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
            self.head = nnx.Linear(8, 3, rngs=rngs)
            self.calls = nnx.BatchStat(jnp.zeros((), jnp.int32))
            self.total = nnx.BatchStat(jnp.float32(3.0))
            self.largest = nnx.BatchStat(jnp.float32(0.5))
            self.fixed = nnx.BatchStat(jnp.arange(3.0))

        def __call__(self, x):
            self.calls[...] += 1
            self.total[...] += jnp.sum(x)
            self.largest[...] = jnp.maximum(self.largest[...], jnp.mean(x))
            return self.head(self.norm(x))

    x, y = blobs(40)
    task = objective(Odd(nnx.Rngs(0)), CROSS_ENTROPY)
    state = TrainState.create(task, fnopt.sgd(0.1), 0, average=swa(0, 1))
    got = averaged(task, state, (x, y)).model_state
    for name in ("calls", "total", "largest", "fixed"):
        np.testing.assert_array_equal(got[name][...], state.model_state[name][...])
    np.testing.assert_allclose(got["norm"]["mean"][...], x.mean(0), rtol=1e-5)


def test_without_data_or_statistics_nothing_is_recomputed():
    task, state, _ = trajectory(swa(0, 1), steps=2)
    assert averaged(task, state, blobs()).model_state == state.model_state == {}
    task = nnx_task()
    state = TrainState.create(task, fnopt.sgd(0.1), 0, average=swa(0, 1))
    assert averaged(task, state).model_state is state.model_state


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ema_of_params(1.0), r"decay must lie in \[0, 1\)"),
        (lambda: ema_of_params(0.9, every=0), r"every must lie in \[1, inf\)"),
        (lambda: swa(-1, 1), r"start must lie in \[0, inf\)"),
        (
            lambda: averaged(function_task(), TrainState.create(function_task(), optax.sgd(1), 0)),
            "the state has no average",
        ),
    ],
)
def test_averages_that_cannot_be(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_a_module_of_linen_without_dropout_needs_none():
    task = objective(LinenNet(0.0), CROSS_ENTROPY)
    state = TrainState.create(task, fnopt.sgd(0.1), 0, blobs(), average=swa(0, 1))
    got = averaged(task, state, blobs(), batch_size=7).model_state
    assert jax.tree.structure(got) == jax.tree.structure(state.model_state)
