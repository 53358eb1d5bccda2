"""Train states stored packed: read as trees, the same runs, checkpoints that hold the tree."""

from __future__ import annotations

import copy
import pickle

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnopt
from fnopt.train import (
    NonFiniteError,
    TrainState,
    early_stopping,
    ema_of_params,
    fit,
    make_train_step,
    objective,
)

X = np.random.RandomState(0).randn(64, 6).astype(np.float32)
Y = np.random.RandomState(1).randn(64, 3).astype(np.float32)
DATA = jnp.asarray(X), jnp.asarray(Y)
FIELDS = ("params", "model_state", "opt_state", "average_state", "stopping_state")
OPTIMIZERS = {
    "adamw": fnopt.adamw(1e-2, mask=fnopt.decay_mask),
    "sgd": fnopt.sgd(0.05, momentum=0.9),
    "clip": fnopt.chain(fnopt.clip_by_global_norm(0.1), fnopt.adam(1e-2)),
    "lamb": fnopt.lamb(1e-2),
    "schedule_free": fnopt.schedule_free_sgd(0.1),
    "lookahead": fnopt.lookahead(fnopt.sgd(0.1), 2, 0.5),
}


def forward(params, x):
    x = x.astype(params["out"]["bias"].dtype)
    for layer in params["hidden"]:
        x = jnp.tanh(x @ layer["kernel"] + layer["bias"][None])
    x = x @ params["out"]["kernel"] + params["out"]["bias"][None]
    return x.astype("float32")


def task():
    def layer(i, rows, columns):
        key = jax.random.key(i)
        return {"kernel": jax.random.normal(key, (rows, columns)) / 2, "bias": jnp.zeros(columns)}

    params = {"hidden": [layer(0, 6, 5), layer(1, 5, 5)], "out": layer(2, 5, 3)}
    return objective(forward, "l2_loss", params=params)


TASK = task()


def created(name="adamw", **options):
    tx = OPTIMIZERS[name]
    return TrainState.create(TASK, tx, 0, **options)


def run(name="adamw", **options):
    options = {"epochs": 2, "batch_size": 16, "key": 0, "progress": False} | options
    return fit(TASK, OPTIMIZERS[name], (X, Y), **options)


def arrays(tree):
    keys = [
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        for x in map(jnp.asarray, jax.tree.leaves(tree))
    ]
    return [np.asarray(x) for x in keys]


def assert_same(found, expected, rtol=0.0, atol=0.0):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(arrays(found), arrays(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a.astype("float32"), b.astype("float32"), rtol, atol)


# The state as a value


def full():
    return created(average=ema_of_params(0.9), stopping=early_stopping(patience=2))


def test_every_field_reads_as_the_tree():
    state = full()
    packed = state.packed()
    assert packed.is_packed and not state.is_packed
    assert len(jax.tree.leaves(packed)) <= len(jax.tree.leaves(state)) - 20
    for name in FIELDS:
        assert_same(getattr(packed, name), getattr(state, name))
    assert_same(packed.unpacked(), state)
    assert_same(packed.eval_params, state.eval_params)
    assert packed.packed() is packed and state.unpacked() is state
    assert repr(packed) == repr(state)


def test_replace_keeps_packing_or_drops_it():
    state = full()
    packed = state.packed()
    doubled = jax.tree.map(lambda x: 2 * x, state.params)
    kept = packed.replace(params=doubled, step=5)
    assert kept.is_packed and int(kept.step) == 5
    assert_same(kept.params, doubled)
    assert packed.replace(tx=fnopt.adamw(1e-3, mask=fnopt.decay_mask)).is_packed
    slots = jax.tree.map(lambda x: x + 1, state.opt_state)
    assert packed.replace(opt_state=slots).is_packed
    assert_same(packed.replace(opt_state=slots).opt_state, slots)
    # Other shapes, and an optimizer that may treat other leaves alike.
    grown = jax.tree.map(lambda x: jnp.concatenate([x, x]), state.params)
    assert not packed.replace(params=grown).is_packed
    sgd = fnopt.sgd(0.1)
    dropped = packed.replace(tx=sgd, opt_state=sgd.init(packed.params))
    assert not dropped.is_packed
    assert_same(dropped.params, state.params)
    step = make_train_step(TASK)
    assert step(dropped, DATA)[0].is_packed


def test_functions_of_users_get_the_tree():
    state = created()
    packed = state.packed()

    @jax.jit
    def norm(state):
        return sum(jnp.sum(x**2) for x in jax.tree.leaves(state.params["hidden"]))

    np.testing.assert_allclose(norm(packed), norm(state), 1e-6)
    moved = jax.jit(lambda s: s.replace(params=jax.tree.map(jnp.negative, s.params)))(packed)
    assert moved.is_packed
    assert_same(moved.params, jax.tree.map(jnp.negative, state.params))
    many = jax.vmap(lambda rate: packed.replace(tx=packed.tx.replace(learning_rate=rate)))(
        jnp.array([0.1, 0.2])
    )
    assert many.params["hidden"][0]["kernel"].shape == (2, 6, 5)
    shapes = jax.eval_shape(lambda s: s, packed)
    assert shapes.params["out"]["bias"].shape == (3,)


@pytest.mark.parametrize(
    "by",
    [copy.copy, copy.deepcopy, "pickle"],
)
def test_copies(by):
    state = created()
    packed = make_train_step(TASK)(state, DATA)[0]
    tree = packed.unpacked()
    if by == "pickle":  # a key is no array of NumPy's
        leaves, structure = jax.tree.flatten(packed.replace(key=None))
        found = structure.unflatten(pickle.loads(pickle.dumps(leaves)))
        packed, tree = packed.replace(key=None), tree.replace(key=None)
    else:
        found = by(packed)
    assert found.is_packed
    assert_same(found.unpacked(), tree)


def test_flax_stores_the_tree():
    packed = make_train_step(TASK)(created(), DATA)[0]
    stored, tree = packed.stored, packed.unpacked()
    for name in ("params", "opt_state"):
        slots, expected = getattr(stored, name), getattr(tree, name)
        written = flax.serialization.to_bytes(slots)
        emptied = jax.tree.map(jnp.zeros_like, slots)
        assert written == flax.serialization.to_bytes(expected)
        assert_same(flax.serialization.from_bytes(emptied, written), slots)


# Runs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_is_the_same_packed(name):
    found, expected = run(name, packed=True), run(name, packed=False)
    exact = name in ("adamw", "sgd")
    rounded = (0.0, 0.0) if exact else (1e-4, 1e-6)
    assert not found.state.is_packed
    assert_same(found.state.params, expected.state.params, *rounded)
    assert_same(found.state.opt_state, expected.state.opt_state, *rounded)
    assert_same(found.state.eval_params, expected.state.eval_params, *rounded)
    np.testing.assert_allclose(found.history["loss"], expected.history["loss"], 1e-5)


OPTIONS = {
    "float16": {"precision": "float16"},
    "bfloat16": {"precision": "bfloat16"},
    "stochastic": {"precision": "bfloat16_stochastic"},
    "average": {"average": ema_of_params(0.9)},
    "stopping": {"early_stopping": early_stopping(patience=0, restore_best=True)},
    "accumulate": {"accumulate": 2},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_a_run(name):
    options = OPTIONS[name] | {"validation_data": (X[:8], Y[:8])}
    found, expected = run(packed=True, **options), run(packed=False, **options)
    assert not found.state.is_packed
    rtol, atol = (0.02, 0.02) if name in ("float16", "bfloat16", "stochastic") else (1e-5, 1e-6)
    assert_same(found.state.params, expected.state.params, rtol, atol)
    for part in ("average_state", "stopping_state"):
        assert_same(getattr(found.state, part), getattr(expected.state, part), rtol, atol)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_in_another_layout(tmp_path, first):
    expected = run(epochs=3, packed=False)
    run(epochs=2, packed=first, checkpoint_dir=tmp_path)
    found = run(epochs=3, packed=not first, checkpoint_dir=tmp_path, resume=True)
    assert_same(found.state.params, expected.state.params)
    assert_same(found.state.opt_state, expected.state.opt_state)


def test_callbacks_and_errors_see_trees():
    seen = []

    class Watch:
        every = 1

        def on_state(self, state):
            seen.append(state.is_packed)

    run(packed=True, callbacks=[Watch()])
    assert seen and not any(seen)
    x = X.copy()
    x[3] = np.nan
    with pytest.raises(NonFiniteError) as error:
        fit(TASK, OPTIMIZERS["adamw"], (x, Y), epochs=1, key=0, progress=False, packed=True)
    assert not error.value.state.is_packed
    assert all(np.all(np.isfinite(p)) for p in jax.tree.leaves(error.value.state.params))


@pytest.mark.parametrize("packed", [None, True, False])
def test_a_step_compiles_once_whatever_it_receives(packed):
    step = make_train_step(TASK, packed=packed)
    tree = len(jax.tree.leaves(created()))
    for state in (created(), created().packed(), created()):
        state, _ = step(state, DATA)
        assert state.is_packed == (packed is not False)
        assert (len(jax.tree.leaves(state)) < tree) == state.is_packed
        state, _ = step(state, DATA)
    assert step._cache_size() == 1


@pytest.mark.parametrize("packed", ["yes", 1, 0.0])
def test_what_packed_may_be(packed):
    for call in (lambda: make_train_step(TASK, packed=packed), lambda: run(packed=packed)):
        with pytest.raises(TypeError, match=f"packed must be True, False or None, got {packed!r}"):
            call()
