"""Which parameters a method wants evaluated, averaged and kept as the best."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task, nnx_task

import fnopt
import fnopt.compat.torch
from fnopt.train import (
    TrainState,
    averaged,
    early_stopping,
    ema_of_params,
    evaluate,
    fit,
    make_train_step,
)

PARAMS = {"a": jnp.arange(1.0, 4.0), "b": jnp.ones((2, 2))}
FREE = fnopt.schedule_free_sgd(0.1)


def after(tx, steps=3, params=PARAMS):
    """Parameters and state after some updates."""
    state = tx.init(params)
    for _ in range(steps):
        grads = jax.tree.map(lambda p: p / 2 + 1, params)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def assert_trees_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), a, b)


@pytest.mark.parametrize(
    "tx",
    [
        FREE,
        FREE.whole,
        fnopt.chain(fnopt.clip(100.0), FREE),
        fnopt.named_chain(("free", FREE)),
        fnopt.masked(FREE, {"a": True, "b": True}),
        fnopt.flatten(FREE),
        fnopt.split_real_and_imaginary(FREE),
        fnopt.groups(("a", FREE), ("*", FREE)),
        fnopt.partition({"one": FREE}, {"a": "one", "b": "one"}),
        fnopt.MultiSteps(FREE, 1),
        fnopt.kahan(FREE),
        fnopt.apply_if_finite(FREE, 2),
        fnopt.conditionally_mask(FREE, lambda count: True),
        fnopt.sam(FREE, fnopt.sgd(0.1), sync_period=1),
    ],
    ids=lambda tx: type(tx).__name__,
)
def test_the_average_of_schedule_free_is_seen_through_what_is_around_it(tx):
    params, state = after(tx)
    expected = fnopt.schedule_free_eval_params(after(FREE)[1], params)
    assert_trees_close(tx.eval_params(state, params), expected)


def test_a_part_of_the_parameters_has_a_method_of_its_own():
    params, whole = after(FREE)
    expected = fnopt.schedule_free_eval_params(whole, params)["a"]
    rest = fnopt.sgd(0.1)
    for tx in (
        fnopt.groups(("a", FREE), ("*", rest)),
        fnopt.partition({"free": FREE, "rest": rest}, {"a": "free", "b": "rest"}),
        fnopt.masked(FREE, {"a": True, "b": False}),
    ):
        params, state = after(tx)
        evaluated = tx.eval_params(state, params)
        np.testing.assert_allclose(evaluated["a"], expected, rtol=1e-6)
        assert evaluated["b"] is params["b"]


def test_a_method_without_a_say_gives_the_parameters_themselves():
    for tx in (
        fnopt.adamw(0.1),
        fnopt.chain(optax.adam(0.1), fnopt.scale(0.5)),
        fnopt.flatten(fnopt.sgd(0.1)),
        fnopt.masked(fnopt.sgd(0.1), {"a": True, "b": False}),
        fnopt.groups(("a", fnopt.sgd(0.1)), ("*", "freeze")),
        fnopt.sam(fnopt.sgd(0.1), fnopt.sgd(0.1), opaque_mode=True),
        fnopt.compat.torch.SGD(lr=0.1),
        fnopt.galore(0.1, rank=1),
    ):
        state = tx.init(PARAMS)
        assert tx.eval_params(state, PARAMS) is PARAMS


def test_what_lookahead_asgd_and_sam_want_evaluated():
    tx = fnopt.lookahead(fnopt.sgd(0.1), 2, 0.5)
    params, state = after(tx)
    assert tx.eval_params(state, params) is state.slow
    pairs = optax.LookaheadParams(PARAMS, PARAMS)
    assert tx.eval_params(tx.init(pairs), pairs) is pairs
    tx = fnopt.asgd(0.1, t0=0)
    params, state = after(tx)
    assert_trees_close(tx.eval_params(state, params), fnopt.asgd_eval_params(state, params))
    tx = fnopt.compat.torch.ASGD(0.1, t0=0)
    complex_params = jax.tree.map(lambda p: jax.lax.complex(p, jnp.ones_like(p)), PARAMS)
    params, state = after(tx, params=complex_params)
    evaluated = tx.eval_params(state, params)
    assert evaluated["a"].dtype == "complex64" and evaluated["a"].shape == (3,)
    assert not np.allclose(evaluated["a"], params["a"])
    # Between an ascent and the step that follows.
    tx = fnopt.sam(fnopt.sgd(0.1), fnopt.sgd(0.1))
    before, state = after(tx, 2)
    assert_trees_close(tx.eval_params(state, before), before)
    params, state = after(tx, 3)
    assert_trees_close(tx.eval_params(state, params), before)


@pytest.mark.parametrize(
    "tx", [FREE, fnopt.lookahead(fnopt.sgd(0.3), 4, 0.5)], ids=["schedule_free", "lookahead"]
)
def test_fit_evaluates_watches_and_returns_what_the_method_wants(tx):
    task, data, test = function_task(), blobs(48), blobs(48, seed=1)
    run = dict(epochs=3, batch_size=8, validation_data=test, key=0, progress=False)

    def loss_at(params):
        outputs, _ = task.forward(params, {}, test, key=None, train=False)
        return float(task.loss(outputs, test))

    result = fit(task, tx, data, **run)
    state = result.state
    expected = loss_at(tx.eval_params(state.opt_state, state.params))
    np.testing.assert_allclose(evaluate(task, state, test)["loss"], expected, rtol=1e-6)
    np.testing.assert_allclose(result.history.records[-1]["val_loss"], expected, rtol=1e-6)
    assert abs(loss_at(state.params) - expected) > 1e-4

    stopped = fit(task, tx, data, **run, early_stopping=early_stopping(patience=10))
    best = min(record["val_loss"] for record in stopped.history.records)
    # The best parameters are in the state, and are those that are evaluated.
    np.testing.assert_allclose(evaluate(task, stopped.state, test)["loss"], best, rtol=1e-6)
    np.testing.assert_allclose(loss_at(stopped.state.params), best, rtol=1e-6)


def test_an_average_is_of_what_the_method_wants_evaluated():
    task, data = nnx_task(0.0), blobs(16)
    state = TrainState.create(task, FREE, 0, average=ema_of_params(0.5))
    step, points, weights = make_train_step(task), [], [0.25, 0.5, 1.0]
    for _ in range(3):
        state, _ = step(state, data)
        points.append(jax.tree.map(np.array, jax.tree.leaves(state.eval_params)))
    state = averaged(task, state)
    for leaf, evaluated, *several in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(state.eval_params), *points, strict=True
    ):
        expected = sum(w * x for w, x in zip(weights, several, strict=True)) / sum(weights)
        np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(evaluated, leaf)
    state, metrics = step(state, data)  # it goes on from there
    assert np.isfinite(metrics["loss"])


def test_moving_keeps_the_state_of_a_method_without_a_say():
    task = function_task()
    step = make_train_step(task, packed=False)
    state, _ = step(TrainState.create(task, fnopt.adam(0.1), 0), blobs(16))
    moved = state.moved_to(jax.tree.map(jnp.zeros_like, state.params), state.model_state)
    assert moved.opt_state is state.opt_state and moved.eval_params is moved.params
