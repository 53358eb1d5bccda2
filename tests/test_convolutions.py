"""On the CPU a model with convolutions is stepped by a program a step: it is the same run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from xla_flags import compiled_as_usual

import fnopt
from fnopt.data import Arrays
from fnopt.train import (
    NonFiniteError,
    StepOptions,
    TrainState,
    accumulate,
    fit,
    make_train_step,
    objective,
)
from fnopt.train import loop as loops
from fnopt.train.models import max_pool

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere loops are fast")


class Network(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(1, 2, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)
        self.head = nnx.Linear(32, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.head(x.reshape(len(x), -1))


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(40, 4, 4, 1)).astype(np.float32), rng.integers(0, 3, 40)


def task():
    return objective(Network(), "softmax_cross_entropy_with_integer_labels")


def run(data, **options):
    options = {"epochs": 2, "batch_size": 8, "key": 1, **options}
    return fit(task(), fnopt.adam(0.01), data, **options)


def same(a, b):
    return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))


def test_convolutions_are_found_and_no_others():
    state = TrainState.create(task(), fnopt.adam(0.01), 0)
    batch = jax.tree.map(lambda x: jnp.asarray(x[:8]), data())
    assert not loops.fast_in_loops(task(), state, batch, StepOptions())
    flat = objective(lambda p, x: x.reshape(8, -1) @ p, "l2_loss", params=jnp.ones((16, 3)))
    state = TrainState.create(flat, fnopt.adam(0.01), 0)
    targets = jnp.zeros((8, 3))
    assert loops.fast_in_loops(flat, state, (batch[0], targets), StepOptions())


def test_the_run_is_the_same_however_it_is_cut():
    whole = run(data())
    for steps in (1, 3):
        assert same(run(data(), steps_per_call=steps).state.params, whole.state.params)
    assert int(whole.state.step) == 10 and len(whole.history) == 2


def test_the_steps_are_those_of_the_compiled_step():
    result, images = run(data(), epochs=1), data()
    state = TrainState.create(task(), fnopt.adam(0.01), 1)
    step = make_train_step(task())
    losses = []
    for rows in np.asarray(Arrays(np.zeros(40)).order(state.key, 0, 8)):
        state, metrics = step(state, jax.tree.map(lambda x: jnp.asarray(x[rows]), images))  # noqa: B023
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(result.history["loss"], [np.mean(losses)], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(result.state), jax.tree.leaves(state.unpacked()), strict=True):
        if jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_step_that_is_not_finite_ends_it_there():
    images, labels = data()
    key = TrainState.create(task(), fnopt.adam(0.01), 1).key
    third = np.asarray(Arrays(np.zeros(40)).order(key, 0, 8))[2]
    images[third[0]] = np.nan
    with pytest.raises(NonFiniteError, match="stopped at step 2") as caught:
        run((images, labels), steps_per_call=5)
    assert int(caught.value.state.step) == 2 and int(caught.value.state.skipped) == 0
    images[third[0]] = 0
    good = [run((images, labels), epochs=1, steps_per_call=n).history["loss"] for n in (1, 5)]
    np.testing.assert_array_equal(*good)


@pytest.mark.beside_optax  # batch normalization promotes to the float32 of its statistics
@pytest.mark.parametrize("streamed", [True, False])
def test_compiling_leaves_the_loss_scale_alone(streamed):
    images, labels = data()
    rows = np.arange(40).reshape(5, 8)
    batches = [(images[r], labels[r]) for r in rows]
    result = run(
        (lambda: iter(batches)) if streamed else (images, labels), epochs=1, precision="float16"
    )
    assert float(result.state.scaling_state.scale) == 2.0**15
    assert int(result.state.skipped) == 0 and int(result.state.scaling_state.good) == 5


def test_micro_batches_go_without_a_loop():
    images, labels = map(jnp.asarray, data())
    flat = objective(
        lambda p, x: nnx.relu(x.reshape(len(x), -1) @ p), "l2_loss", params=jnp.ones((16, 3))
    )
    for minimized, batch, loops_ in (
        (task(), (images, labels), 0),
        (flat, (images, jnp.zeros((40, 3))), 1),
    ):
        state = TrainState.create(minimized, fnopt.adam(0.01), 0)
        program = make_train_step(minimized, accumulate=4).lower(state, batch).as_text()
        assert program.count("stablehlo.while") == loops_


def test_micro_batches_without_a_loop_need_less_memory():
    def model(kernels, x):
        for kernel in kernels:
            x = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = nnx.relu(x)
        return x

    kernels = [jnp.ones((3, 3, 1, 16)), *[jnp.ones((3, 3, 16, 16))] * 3]
    minimized = objective(model, "l2_loss", params=kernels)
    state = TrainState.create(minimized, fnopt.sgd(0.1), 0)
    batch = jnp.ones((64, 16, 16, 1)), jnp.ones((64, 16, 16, 16))

    def memory(parts):
        compiled = compiled_as_usual(
            make_train_step(minimized, accumulate=parts).lower(state, batch)
        )
        return compiled.memory_analysis().temp_size_in_bytes

    assert memory(8) < memory(1) / 5  # in a loop it is an eighth


def test_micro_batches_without_a_loop_are_those_of_a_loop(monkeypatch):
    images, labels = map(jnp.asarray, data())

    def step():
        state = TrainState.create(task(), fnopt.sgd(0.1), 0)
        return make_train_step(task(), accumulate=4)(state, (images, labels))

    unrolled = step()
    monkeypatch.setattr(accumulate, "slow_in_loops", lambda program: False)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        *(jax.tree.leaves((s.params, s.model_state, m)) for s, m in (unrolled, step())),
    )


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_the_largest_of_squares_are_flax_s(size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32))

    def flax(x):
        return nnx.max_pool(x, (2, 2), strides=(2, 2))

    np.testing.assert_array_equal(max_pool(x), flax(x))
    one, other = (
        jax.grad(lambda x, f=f: jnp.sum(f(nnx.relu(x)) ** 2))(x) for f in (max_pool, flax)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)
    for side in (0, size[0] + 1):
        with pytest.raises(ValueError, match=rf"side must lie in \[1, {size[0]}\]"):
            max_pool(x, side)
    assert max_pool(x, 3).shape == (2, size[0] // 3, size[1] // 3, 3)
