"""On the CPU a model with convolutions is stepped by a program a step: it is the same run."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import fnopt
from fnopt.train import NonFiniteError, TrainState, fit, make_train_step, objective
from fnopt.train import loop as loops

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
    assert not loops.loops_well(task(), state, batch, None)
    flat = objective(lambda p, x: x.reshape(8, -1) @ p, "l2_loss", params=jnp.ones((16, 3)))
    state = TrainState.create(flat, fnopt.adam(0.01), 0)
    targets = jnp.zeros((8, 3))
    assert loops.loops_well(flat, state, (batch[0], targets), None)


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
    for rows in np.asarray(loops.epoch_order(state.key, 0, 40, 8)):
        state, metrics = step(state, jax.tree.map(lambda x: jnp.asarray(x[rows]), images))  # noqa: B023
        losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(result.history["loss"], [np.mean(losses)], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(result.state), jax.tree.leaves(state), strict=True):
        if jnp.issubdtype(a.dtype, jnp.floating):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_step_that_is_not_finite_ends_it_there():
    images, labels = data()
    key = TrainState.create(task(), fnopt.adam(0.01), 1).key
    third = np.asarray(loops.epoch_order(key, 0, 40, 8))[2]
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
