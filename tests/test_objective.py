"""What is minimized: example weights, metrics besides the loss, Equinox modules."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from models import CROSS_ENTROPY, FEATURES, LinenNet, NNXNet, blobs

import fnopt
from fnopt.train import TrainState, accuracy, evaluate, fit, make_train_step, objective

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax


def weight_of(batch):
    return batch[2]


def linear(**options):
    params = {"w": jnp.ones((FEATURES, 3)), "b": jnp.zeros(3)}
    return objective(lambda p, x: x @ p["w"] + p["b"], CROSS_ENTROPY, params=params, **options)


MODELS = {
    "nnx": lambda **options: objective(NNXNet(nnx.Rngs(0), 0.0), CROSS_ENTROPY, **options),
    "linen": lambda **options: objective(LinenNet(0.0), CROSS_ENTROPY, **options),
    "function": linear,
}


def weighted_blobs(examples=24):
    rng = np.random.RandomState(1)
    weights = rng.uniform(0, 3, examples).astype(np.float32)
    weights[::5] = 0
    return *blobs(examples), weights


# Weights


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("train", [False, True])
def test_a_weighted_loss_is_numpys(kind, train):
    task = MODELS[kind](metrics={"accuracy": accuracy}, weights=weight_of)
    _, y, w = batch = weighted_blobs()
    params, model_state = task.init(jax.random.key(0), batch)
    outputs, _ = task.forward(params, model_state, batch, key=jax.random.key(1), train=train)
    logits = np.asarray(outputs, np.float64)
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
    np.testing.assert_allclose(task.loss(outputs, batch), np.sum(w * losses) / w.sum(), rtol=1e-5)
    right = logits.argmax(axis=1) == y
    got = task.mean(task.metrics(outputs, batch)["accuracy"], batch)
    np.testing.assert_allclose(got, np.sum(w * right) / w.sum(), rtol=1e-5)


def test_the_gradient_is_that_of_the_weighted_loss():
    x, y, w = batch = weighted_blobs()
    task = linear(weights=weight_of)
    state, _ = make_train_step(task)(TrainState.create(task, fnopt.sgd(0.1), 0), batch)
    logits = x @ np.ones((FEATURES, 3), np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    slopes = (shares - np.eye(3)[y]) * (w / w.sum())[:, None]
    np.testing.assert_allclose(state.params["w"], 1 - 0.1 * x.T @ slopes, rtol=1e-5)
    np.testing.assert_allclose(state.params["b"], -0.1 * slopes.sum(axis=0), rtol=1e-4, atol=1e-7)


def test_equal_weights_are_none():
    batch = blobs(24)
    plain, weighted = linear(), linear(weights=weight_of)
    assert plain.example_weights(batch) is None
    outputs, _ = plain.forward(plain.params, {}, batch, key=None, train=True)
    np.testing.assert_allclose(
        weighted.loss(outputs, (*batch, np.full(24, 2, np.int32))),
        plain.loss(outputs, batch),
        rtol=1e-6,
    )


def test_what_has_no_weight_may_be_anything():
    task = objective(lambda p, batch: p * batch[0], params=1.0, weights=lambda batch: batch[1])
    batch = np.array([1.0, np.nan, 3.0], np.float32), np.array([1.0, 0.0, 3.0], np.float32)
    assert float(task.loss(batch[0], batch)) == 2.5
    assert float(task.loss(batch[0], (batch[0], np.zeros(3, np.float32)))) == 0


def test_weights_teach_only_what_has_some():
    """Of two contradicting halves of the data, a run learns the one that has weight."""
    x, y = blobs(60)
    doubled = np.concatenate([x, x]), np.concatenate([y, (y + 1) % 3])
    weights = np.repeat(np.float32([1, 0]), 60)
    task = linear(metrics={"accuracy": accuracy}, weights=weight_of)
    result = fit(task, fnopt.adam(0.1), (*doubled, weights), epochs=20, batch_size=30)
    got = evaluate(linear(metrics={"accuracy": accuracy}), result.state, (x, y))
    assert got["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("options", "batch", "match"),
    [
        (
            {},
            (np.ones(4), np.ones((4, 2))),
            r"for each example of a batch; they have shape \(4, 2\)",
        ),
        ({}, (np.ones(4), np.ones(3)), r"3 weights for metrics of shape \(4,\)"),
        ({"inputs": lambda batch: batch[0].sum()}, (np.ones(4), np.ones(4)), "without their mean"),
    ],
)
def test_bad_weights(options, batch, match):
    task = objective(
        lambda p, x: p * x,
        lambda outputs, targets: outputs,
        params=1.0,
        weights=lambda batch: batch[1],
        **options,
    )
    with pytest.raises(ValueError, match=match):
        task.loss(task.forward(1.0, {}, batch, key=None, train=True)[0], batch)


def test_a_batch_of_three_needs_to_be_told_what_is_what():
    with pytest.raises(TypeError, match="a batch is a tuple of 3 items, not a pair"):
        linear().forward(linear().params, {}, weighted_blobs(), key=None, train=True)


# Figures beside the loss


def test_a_function_may_return_figures_beside_its_loss():
    def function(params, batch):
        errors = params * batch[0] - batch[1]
        return errors**2, {"error": jnp.abs(errors), "scale": params}

    task = objective(function, params=jnp.float32(2), has_aux=True)
    x = np.arange(4, dtype=np.float32)
    batch = x, np.zeros(4, np.float32)
    state, metrics = make_train_step(task)(TrainState.create(task, fnopt.sgd(0.1), 0), batch)
    got = {"loss": np.mean(4 * x**2), "error": np.mean(2 * x), "scale": 2.0}
    for name, metric in got.items():
        np.testing.assert_allclose(metrics[name], metric, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(state.params, 2 - 0.1 * np.mean(4 * x**2), rtol=1e-6)


def test_a_models_loss_may_return_figures_too():
    def loss(outputs, labels):
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, labels)
        return losses, {"surest": jnp.max(jax.nn.softmax(outputs), axis=1)}

    task = objective(NNXNet(nnx.Rngs(0)), loss, metrics={"accuracy": accuracy}, has_aux=True)
    result = fit(task, fnopt.adam(0.01), blobs(64), epochs=2, validation_data=blobs(20))
    history = result.history
    assert {"surest", "val_surest", "accuracy"} <= set(history.names())
    assert 1 / 3 < history["val_surest"][-1] < 1


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (lambda x: x, TypeError, r"a pair \(loss, \{name: metric\}\), not a"),
        (lambda x: (x, {"loss": x}), ValueError, "every step reports loss"),
        (lambda x: (x, {"size": x}), ValueError, "size comes with the loss; rename"),
    ],
)
def test_bad_metrics_of_the_loss_function(function, error, match):
    task = objective(
        lambda p, x: function(p * x),
        params=jnp.float32(1),
        has_aux=True,
        metrics={"size": lambda outputs, targets: outputs[0]},
    )
    with pytest.raises(error, match=match):
        make_train_step(task)(TrainState.create(task, fnopt.sgd(0.1), 0), np.ones(3, np.float32))


# Equinox


@functools.cache
def equinox_modules():
    eqx = pytest.importorskip("equinox", reason="equinox is not installed")

    class Net(eqx.Module):
        dense: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        dropout: eqx.nn.Dropout
        head: eqx.nn.Linear

        def __init__(self, key, dropout=0.5):
            first, second = jax.random.split(key)
            self.dense = eqx.nn.Linear(FEATURES, 16, key=first)
            self.norm = eqx.nn.BatchNorm(16, axis_name="batch", momentum=0.9, mode="ema")
            self.dropout = eqx.nn.Dropout(dropout)
            self.head = eqx.nn.Linear(16, 3, key=second)

        def __call__(self, x, state, *, key=None):
            x, state = self.norm(self.dense(x), state)
            return self.head(self.dropout(jax.nn.relu(x), key=key)), state

    return eqx, Net


def equinox_task(dropout=0.5, **options):
    eqx, net = equinox_modules()
    model, state = eqx.nn.make_with_state(net)(jax.random.key(0), dropout)
    options = {"metrics": {"accuracy": accuracy}, **options}
    return objective(model, CROSS_ENTROPY, state=state, **options), model


def test_an_equinox_module_with_statistics_and_dropout_trains():
    task, model = equinox_task()
    eqx, _ = equinox_modules()
    result = fit(task, fnopt.adam(0.02), blobs(200), epochs=10, validation_data=blobs(30, seed=1))
    assert result.history["val_accuracy"][-1] > 0.9
    # The trained module, as the user goes on with it, computes what evaluation does.
    trained = eqx.nn.inference_mode(eqx.combine(result.state.params, model))
    x, y = blobs(30, seed=1)
    outputs, _ = jax.vmap(lambda x: trained(x, result.state.model_state))(x)
    np.testing.assert_allclose(
        np.mean(np.argmax(outputs, axis=1) == y), result.history["val_accuracy"][-1], rtol=1e-6
    )


def test_an_equinox_module_knows_whether_it_is_trained():
    task, _ = equinox_task()
    batch = blobs(24)
    params, model_state = task.init(jax.random.key(0), batch)

    def run(key, train):
        return task.forward(params, model_state, batch, key=key, train=train)

    one, two = (run(jax.random.key(i), True)[0] for i in range(2))
    assert not np.array_equal(one, two)
    evaluated, unchanged = run(None, False)
    assert all(map(np.array_equal, jax.tree.leaves(unchanged), jax.tree.leaves(model_state)))
    np.testing.assert_array_equal(evaluated, run(None, False)[0])
    _, moved = run(jax.random.key(0), True)
    assert not all(map(np.array_equal, jax.tree.leaves(moved), jax.tree.leaves(model_state)))
    # Units are dropped example by example, not the same ones in all.
    ones = np.ones((24, FEATURES), np.float32), batch[1]
    dropped, _ = task.forward(params, model_state, ones, key=jax.random.key(0), train=True)
    assert len(np.unique(np.asarray(dropped), axis=0)) > 12


def test_an_equinox_module_without_state_weighs_examples():
    eqx, _ = equinox_modules()
    model = eqx.nn.MLP(FEATURES, 3, 16, 1, key=jax.random.key(0))
    x, y, w = batch = weighted_blobs()
    task = objective(model, CROSS_ENTROPY, weights=weight_of)
    params, _ = task.init(jax.random.key(0), batch)
    outputs, _ = task.forward(params, {}, batch, key=jax.random.key(0), train=True)
    losses = optax.losses.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y)
    expected = np.sum(w * losses) / w.sum()
    np.testing.assert_allclose(task.loss(outputs, batch), expected, rtol=1e-5)
    state, step = TrainState.create(task, fnopt.adam(0.05), 0), make_train_step(task)
    for _ in range(60):
        state, metrics = step(state, batch)
    assert float(metrics["loss"]) < 0.2 * float(expected)


def test_what_equinox_modules_lack_is_named():
    eqx, _ = equinox_modules()
    model = eqx.nn.MLP(2, 2, 2, 1, key=jax.random.key(0))
    with pytest.raises(TypeError, match="a model needs a loss"):
        objective(model)
    with pytest.raises(TypeError, match="params= is for a function"):
        objective(model, CROSS_ENTROPY, params={})
    with pytest.raises(TypeError, match="state= is for an Equinox module"):
        linear(state={})


def test_equinox_is_not_imported_by_a_run():
    import subprocess
    import sys

    code = (
        "import sys, fnopt.train as t; t.objective(lambda p, x: x, params=0); print(*sys.modules)"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fnopt.train.objective" in got.stdout.split() and "equinox" not in got.stdout.split()


def test_evaluation_weighs_examples_and_not_what_fills_up():
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=7), rng.normal(size=7), rng.integers(0, 4, 7)
    task = objective(
        lambda params, x: params * x,
        "l2_loss",
        params=jnp.float32(0.5),
        metrics={"error": lambda outputs, targets: jnp.abs(outputs - targets)},
        weights=lambda batch: batch[2],
        inputs=lambda batch: batch[0],
        targets=lambda batch: batch[1],
    )
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    data = tuple(jnp.asarray(a, jnp.float32) for a in (x, y, w))
    wanted = {"loss": 0.5 * (0.5 * x - y) ** 2, "error": np.abs(0.5 * x - y)}
    for batch_size in (None, 3):  # the last batch of three is filled up with copies
        figures = evaluate(task, state, data, batch_size)
        for name, each in wanted.items():
            np.testing.assert_allclose(figures[name], np.sum(w * each) / np.sum(w), rtol=1e-5)
