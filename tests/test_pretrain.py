"""Layer-wise pretraining: its layers against their papers, its trees, its compiled programs."""

from __future__ import annotations

import functools
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from oracles import pretraining as oracle

import fnopt
from fnopt.initialize import pretrain_layerwise
from fnopt.pretrained.autoencoder import denoising_autoencoder
from fnopt.pretrained.layer_training import train_layer
from fnopt.pretrained.rbm import restricted_boltzmann_machine as rbm

ROOT = Path(__file__).parents[1]


def weights_of(seed, inputs, units, scale=1.0):
    rng = np.random.RandomState(seed)
    shapes = {"kernel": (inputs, units), "bias": (units,), "visible_bias": (inputs,)}
    return {name: scale * rng.randn(*shape) for name, shape in shapes.items()}


def single(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def dense_tree(*widths, seed=0, dtype=jnp.float32):
    """Layers dense0, dense1, … and a head of two units."""
    rng = np.random.RandomState(seed)
    names = [*(f"dense{i}" for i in range(len(widths) - 1)), "head"]
    shapes = zip(names, widths, (*widths[1:], 2), strict=True)
    return {
        name: {
            "kernel": jnp.asarray(rng.randn(n, m) / np.sqrt(n), dtype),
            "bias": jnp.zeros(m, dtype),
        }
        for name, n, m in shapes
    }


def bars(examples, seed=0):
    """Binary data of eight inputs in four pairs that are alike."""
    drawn = np.random.RandomState(seed).rand(examples, 4) < 0.5
    return np.repeat(drawn, 2, axis=1).astype(np.float32)


# Denoising autoencoders.


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("binary", [True, False])
def test_the_denoising_loss_and_its_gradient(binary, tied):
    model = denoising_autoencoder(0.3, jnp.tanh, binary, tied)
    weights = weights_of(0, 6, 4)
    if not tied:
        weights["decoder"] = np.random.RandomState(1).randn(4, 6)
    inputs = np.random.RandomState(2).rand(5, 6)
    key = jax.random.key(3)
    kept = np.asarray(jax.random.uniform(key, (5, 6))) >= 0.3
    loss = functools.partial(
        oracle.denoising_loss,
        corrupted=inputs * kept,
        inputs=inputs,
        activation=np.tanh,
        binary=binary,
    )
    value, grads = jax.jit(model.gradient)(single(weights), single(inputs), key)
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(value, loss(weights), rtol=1e-5)
    expected = oracle.finite_difference(loss, weights)
    assert expected.keys() == grads.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_corrupted_share_is_the_one_told():
    drawn = jax.random.uniform(jax.random.key(0), (1000, 100)) < 0.3
    inputs = jnp.ones((1000, 100))
    seen = []

    def spy(x):
        return seen.append(x) or x

    model = denoising_autoencoder(0.3, spy, False, True)
    weights = {"kernel": jnp.eye(100), "bias": jnp.zeros(100), "visible_bias": jnp.zeros(100)}
    error, _ = model.gradient(weights, inputs, jax.random.key(0))
    np.testing.assert_allclose(error, jnp.mean(jnp.sum(drawn.astype(float), axis=1)), rtol=1e-5)
    np.testing.assert_allclose(error / 100, 0.3, atol=0.005)  # 3.5 deviations


# Restricted Boltzmann machines.


@pytest.mark.parametrize(
    ("k", "binary", "sample_visible"),
    [(1, True, False), (1, False, False), (3, True, True), (3, False, True)],
)
def test_contrastive_divergence_with_the_same_draws(k, binary, sample_visible):
    weights = weights_of(0, 6, 4)
    inputs = np.random.RandomState(1).rand(5, 6)
    key, draws = jax.random.key(2), []
    for pair in jax.random.split(key, k):
        of_hidden, of_visible = jax.random.split(pair)
        draw = jax.random.uniform if binary else jax.random.normal
        draws.append((jax.random.uniform(of_hidden, (5, 4)), draw(of_visible, (5, 6))))
    draws = jax.tree.map(lambda x: np.asarray(x, np.float64), draws)
    model = rbm(k, binary, sample_visible)
    error, grads = jax.jit(model.gradient)(single(weights), single(inputs), key)
    expected_error, expected = oracle.contrastive_divergence(
        weights, inputs, draws, binary, sample_visible
    )
    np.testing.assert_allclose(error, expected_error, rtol=1e-5)
    assert expected.keys() == grads.keys()
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_many_steps_approach_the_gradient_of_the_likelihood():
    weights = weights_of(2, 4, 2, scale=2.5)
    inputs = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]], np.float64)
    exact = oracle.likelihood_gradient(weights, inputs)
    differences = oracle.finite_difference(lambda w: -oracle.log_likelihood(w, inputs), weights)
    for name in exact:
        np.testing.assert_allclose(exact[name], differences[name], atol=1e-7)

    copies = single(np.tile(inputs, (5000, 1)))
    apart = {}
    for k in (1, 60):
        _, grads = jax.jit(rbm(k, sample_visible=True).gradient)(
            single(weights), copies, jax.random.key(0)
        )
        apart[k] = max(float(np.abs(grads[name] - exact[name]).max()) for name in exact)
    # 20,000 chains: a mean of numbers in [0, 1] has a deviation of at most 0.0036.
    assert apart[60] < 0.015 and apart[1] > 0.15, apart


def test_training_raises_the_likelihood():
    """Of two patterns, a third and two thirds of the time; independent units reach -2.55."""
    a, b = [1, 1, 1, 0], [0, 0, 0, 1]
    data = np.array([a, b, b] * 40, np.float64)
    weights = weights_of(0, 4, 2, scale=0.1)
    start = single(weights)
    trained, _ = train_layer(
        rbm(5, sample_visible=True),
        fnopt.sgd(0.5),
        start["kernel"],
        start["bias"],
        single(data),
        jax.random.key(0),
        epochs=100,
        batch_size=20,
    )
    trained = {name: np.asarray(w, np.float64) for name, w in trained.items()}
    before, after = (oracle.log_likelihood(w, data[:3]) for w in (weights, trained))
    best = np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3
    assert before < -2.5 and -1.1 < after < best, (before, after, best)


def test_visible_biases_begin_at_the_means():
    data = jnp.array([[1.0, 0.0, 0.5], [1.0, 0.0, 0.7]])
    start = rbm().init(jnp.ones((3, 2)), jnp.zeros(2), data)
    np.testing.assert_allclose(
        jax.nn.sigmoid(start["visible_bias"]), [2.5 / 3, 0.5 / 3, 1.7 / 3], rtol=1e-5
    )
    start = rbm(binary=False).init(jnp.ones((3, 2)), jnp.zeros(2), data)
    np.testing.assert_allclose(start["visible_bias"], [1, 0, 0.6], rtol=1e-6)


def test_the_momentum_of_the_guide_changes_after_five_epochs():
    from fnopt.pretrained.rbm import as_in_the_guide

    tx = as_in_the_guide(steps_per_epoch=2)
    params = {"kernel": jnp.full((1, 1), 2.0), "bias": jnp.ones(1)}
    state, velocity = tx.init(params), 0.0
    for t in range(13):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        velocity = 1 + (0.5 if t < 10 else 0.9) * velocity
        np.testing.assert_allclose(updates["bias"], [-0.1 * velocity], rtol=1e-5)
    # Kernels decay and biases do not.
    assert updates["kernel"][0, 0] / updates["bias"][0] == pytest.approx(1 + 2e-4 * 2, rel=1e-6)


# The stack.


def test_an_epoch_shows_each_example_once_in_an_order_of_its_own():
    """Without learning the error of an epoch is the mean over the examples it has shown."""
    model = denoising_autoencoder(0.0, jax.nn.sigmoid)
    data, layer = jnp.asarray(bars(48)), dense_tree(8, 6)["dense0"]
    of_batch = {
        size: train_layer(
            model,
            fnopt.sgd(0.0),
            layer["kernel"],
            layer["bias"],
            data,
            jax.random.key(0),
            epochs=4,
            batch_size=size,
        )[1]
        for size in (16, 32)
    }
    weights = model.init(layer["kernel"], layer["bias"], data)
    np.testing.assert_allclose(of_batch[16], [model.loss(weights, data, data)] * 4, rtol=1e-5)
    # A third is left out each time, and another one.
    assert len(set(np.asarray(of_batch[32]).round(4))) == 4


@pytest.mark.parametrize("method", ["denoising", "rbm"])
def test_a_layer_learns_from_the_outputs_of_the_one_before(method):
    params, data, key = dense_tree(8, 8, 8), bars(64), jax.random.key(5)
    trained, errors = pretrain_layerwise(params, data, method=method, epochs=30, key=key)
    assert list(errors) == ["dense0/kernel", "dense1/kernel"]
    assert all(error.shape == (30,) for error in errors.values())
    assert errors["dense0/kernel"][-1] < 0.85 * errors["dense0/kernel"][0]

    first = trained["dense0"]
    hidden = jax.nn.sigmoid(data @ first["kernel"] + first["bias"][None])
    from fnopt.pretrained.rbm import as_in_the_guide

    model = rbm() if method == "rbm" else denoising_autoencoder(0.25, jax.nn.sigmoid)
    optimizer = as_in_the_guide(2) if method == "rbm" else fnopt.sgd(0.1)
    alone, error = train_layer(
        model,
        optimizer,
        params["dense1"]["kernel"],
        params["dense1"]["bias"],
        hidden,
        jax.random.fold_in(key, 1),
        epochs=30,
        batch_size=32,
    )
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(trained["dense1"][name], alone[name], atol=1e-5)
    np.testing.assert_allclose(errors["dense1/kernel"], error, rtol=1e-4)


def test_only_the_layers_named_are_touched():
    params, data = dense_tree(8, 8, 8), bars(64)
    trained, errors = pretrain_layerwise(params, data, layers="dense0/*", epochs=1)
    assert list(errors) == ["dense0/kernel"]
    for name in ("dense1", "head"):
        for leaf in ("kernel", "bias"):
            assert trained[name][leaf] is params[name][leaf]
    for leaf in ("kernel", "bias"):
        assert not jnp.array_equal(trained["dense0"][leaf], params["dense0"][leaf])


class Net(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(8, 6, rngs=rngs), nnx.Linear(6, 5, rngs=rngs)])
        self.top = nnx.Linear(5, 2, rngs=rngs)


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        for width in (6, 5, 2):
            x = jax.nn.sigmoid(linen.Dense(width)(x))
        return x


def test_trees_of_flax():
    nnx_params = nnx.state(Net(nnx.Rngs(0)), nnx.Param)
    linen_params = LinenNet().init(jax.random.key(0), jnp.ones((1, 8)))["params"]
    for params, paths in (
        (nnx_params, ["layers/0/kernel", "layers/1/kernel"]),
        (linen_params, ["Dense_0/kernel", "Dense_1/kernel"]),
    ):
        trained, errors = pretrain_layerwise(params, bars(64), epochs=1)
        assert list(errors) == paths
        assert jax.tree.structure(trained) == jax.tree.structure(params)
        same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), trained, params)
        assert sum(jax.tree.leaves(same)) == 2  # the head's kernel and bias
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(trained))


def test_dtypes_and_numpy_leaves():
    params = dense_tree(8, 6, 5, dtype=jnp.bfloat16)
    params["dense1"] = jax.tree.map(lambda x: np.asarray(x, np.float32), params["dense1"])
    trained, _ = pretrain_layerwise(params, bars(64), epochs=1)
    for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(trained), strict=True):
        assert (old.shape, old.dtype) == (new.shape, new.dtype)
        assert not getattr(new, "weak_type", False)


def test_layers_are_counted_as_numbers():
    params = dense_tree(*[8] * 12)
    _, errors = pretrain_layerwise(params, bars(32), epochs=1)
    assert list(errors) == [f"dense{i}/kernel" for i in range(11)]


def test_above_other_units_inputs_are_not_binary():
    data, params = bars(64), dense_tree(8, 6, 5)
    trained, errors = pretrain_layerwise(
        params, data, activation="relu", epochs=1, optimizer=fnopt.sgd(0.0), corruption=0.0
    )
    x = jax.nn.relu(data @ params["dense0"]["kernel"] + params["dense0"]["bias"][None])
    x = np.asarray(x, np.float64)
    weights = {name: np.asarray(w, np.float64) for name, w in params["dense1"].items()}
    weights["visible_bias"] = np.zeros(6)
    expected = oracle.denoising_loss(weights, x, x, lambda x: np.maximum(x, 0), False)
    np.testing.assert_allclose(errors["dense1/kernel"][0], expected, rtol=1e-4)
    assert jnp.array_equal(trained["dense1"]["kernel"], params["dense1"]["kernel"])


def test_equal_layers_and_other_numbers_share_a_program():
    params, data, traced = dense_tree(8, 8, 8, 8), bars(64), []

    def activation(x):
        traced.append(x.shape)
        return jax.nn.sigmoid(x)

    def pretrain(layers, learning_rate, corruption, key):
        before = len(traced)
        pretrain_layerwise(
            params,
            data,
            layers=layers,
            activation=activation,
            visible="gaussian",  # as are the layers above an activation that is not known
            optimizer=fnopt.adam(learning_rate),
            corruption=corruption,
            epochs=2,
            key=key,
        )
        return len(traced) - before

    assert pretrain("dense0/*", 1e-3, 0.1, 0) > 0
    assert pretrain("dense*", 1e-3, 0.1, 0) == 0  # two layers more
    assert pretrain("dense*", 1e-2, 0.3, 1) == 0


@pytest.mark.parametrize("method", ["denoising", "rbm"])
def test_vmap_is_the_loop(method):
    data, keys = bars(64), jax.random.split(jax.random.key(0), 3)
    trees = [dense_tree(8, 6, seed=seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)

    def pretrain(params, key):
        return pretrain_layerwise(params, data, method=method, visible="binary", epochs=2, key=key)

    at_once = jax.jit(jax.vmap(pretrain))(stacked, keys)
    for i, (params, key) in enumerate(zip(trees, keys, strict=True)):
        alone = pretrain(params, key)
        for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["denoising", "rbm"])
def test_the_key_tells_all_draws(method):
    pretrain = functools.partial(
        pretrain_layerwise, dense_tree(8, 6), bars(64), method=method, epochs=2
    )
    a, b, c, d = (pretrain(key=key) for key in (0, jax.random.key(0), jax.random.PRNGKey(0), 1))
    for other in (b, c):
        assert all(map(jnp.array_equal, jax.tree.leaves(a), jax.tree.leaves(other)))
    assert not jnp.array_equal(a.params["dense0"]["kernel"], d.params["dense0"]["kernel"])


def test_an_optimizer_of_optax_and_one_that_wants_a_key():
    params, data = dense_tree(8, 6), bars(64)
    ours, theirs = (
        pretrain_layerwise(params, data, optimizer=tx, epochs=3).params["dense0"]["kernel"]
        for tx in (fnopt.sgd(0.1), optax.sgd(0.1))
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)

    def draws(grads, state, params=None, *, value, key, **extra_args):
        noise = value * jax.random.uniform(key, ())
        return jax.tree.map(lambda g: -0.1 * g + noise, grads), state

    noisy = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), draws)
    noisy, _ = pretrain_layerwise(params, data, optimizer=noisy, epochs=3)
    assert not jnp.allclose(noisy["dense0"]["kernel"], ours)


def test_it_tells_of_each_layer_and_is_quiet_otherwise(capsys):
    got = []
    _, errors = pretrain_layerwise(
        dense_tree(8, 6, 5), bars(64), epochs=2, on_layer=lambda *args: got.append(args)
    )
    assert [path for path, _ in got] == list(errors)
    assert all(error is errors[path] for path, error in got)
    assert capsys.readouterr() == ("", "")


STACK = dense_tree(8, 6, 5)
BROKEN = {**STACK, "dense1": dense_tree(7, 5)["dense0"]}
UNBIASED = {**STACK, "dense0": {"kernel": STACK["dense0"]["kernel"]}}
CONVOLUTION = {"conv": {"kernel": jnp.ones((3, 3, 1, 8)), "bias": jnp.zeros(8)}, **STACK}
INTEGER = {**STACK, "dense0": {"kernel": jnp.ones((8, 6), int), "bias": jnp.zeros(6)}}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"method": "pca"}, ValueError, "method must be 'denoising' or 'rbm', got 'pca'"),
        ({"activation": "sigmod"}, ValueError, "did you mean 'sigmoid'"),
        ({"activation": "tanh", "method": "rbm"}, ValueError, "method='rbm' has sigmoid units"),
        ({"epochs": 0}, ValueError, "pretrain_layerwise: epochs must be at least 1, got 0"),
        ({"batch_size": 65}, ValueError, r"batch_size must lie in \[1, 64\].*; got 65"),
        ({"k": 1.5}, TypeError, "pretrain_layerwise: k must be an integer, got 1.5"),
        ({"corruption": 1.0}, ValueError, r"corruption must lie in \[0, 1\), got 1.0"),
        ({"visible": "real"}, ValueError, "visible must be 'binary' or 'gaussian', got 'real'"),
        ({"data": 2 * bars(64), "visible": "binary"}, ValueError, r"they lie in \[0, 2\]"),
        ({"data": bars(64) * np.float32(np.nan)}, ValueError, "data must be finite"),
        ({"data": bars(64).astype(np.uint8)}, TypeError, "data have dtype uint8"),
        ({"data": jnp.ones(8)}, ValueError, r"they have shape \(8,\)"),
        ({"optimizer": 0.1}, TypeError, "expected a transform"),
        ({"layers": "dens0/*"}, ValueError, "'dens0/\\*' matches no kernel; kernels: dense0"),
        ({"layers": ("dense1/*", "dense0/*")}, ValueError, "dense1/kernel takes 6 inputs, but the"),
        ({"params": BROKEN}, ValueError, "dense1/kernel takes 7 inputs, but dense0/kernel before"),
        ({"params": UNBIASED}, ValueError, "dense0/kernel needs one bias"),
        ({"params": CONVOLUTION}, ValueError, r"conv/kernel has shape \(3, 3, 1, 8\)"),
        ({"params": INTEGER}, TypeError, "dense0/kernel has dtype int"),
        ({"params": {"a": STACK["dense0"]}}, ValueError, "params have 1 kernels"),
        (
            {"optimizer": fnopt.sgd(1e30), "visible": "gaussian"},
            FloatingPointError,
            "dense0/kernel was",
        ),
    ],
    ids=lambda x: ",".join(x) if isinstance(x, dict) else "",
)
def test_bad_input_is_refused(changes, error, message):
    given = {"params": STACK, "data": bars(64), "epochs": 3, **changes}
    with pytest.raises(error, match=message):
        pretrain_layerwise(given.pop("params"), given.pop("data"), **given)


def test_traced_data_must_be_told_of():
    with pytest.raises(ValueError, match="range of traced data is not known; give visible="):
        jax.jit(functools.partial(pretrain_layerwise, STACK, epochs=1))(bars(64))


# The example.

EXAMPLE = ROOT / "examples" / "pretraining"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_data_that_are_there_are_looked_at_under_jit(dtype):
    data = jnp.asarray(bars(64), dtype)
    pretrain = functools.partial(pretrain_layerwise, data=data, epochs=1, batch_size=64)
    made = jax.eval_shape(pretrain, STACK)
    assert jax.tree.structure(made.params) == jax.tree.structure(STACK)
    large = functools.partial(pretrain_layerwise, data=3 * data, visible="binary")
    with pytest.raises(ValueError, match="visible='binary' needs data in"):
        jax.eval_shape(large, STACK)


def test_the_page_says_how_to_run_each_program():
    got = (EXAMPLE / "README.md").read_text()
    for program in EXAMPLE.glob("*.py"):
        command = f"python examples/pretraining/{program.name}"
        assert command in got and f"``{command}``" in program.read_text(), program


def test_labels_are_of_all_classes():
    labelled = runpy.run_path(str(EXAMPLE / "train.py"))["labelled"]
    labels = np.random.RandomState(0).randint(10, size=300)
    chosen = labelled(labels, 3)
    assert len(set(chosen)) == 14
    assert sorted(np.bincount(labels[chosen])) == [1] * 6 + [2] * 4
    assert not np.array_equal(chosen, labelled(labels, 4))


@pytest.mark.beside_optax
def test_pretraining_is_ahead_with_few_labels(tmp_path, capsys):
    pytest.importorskip("sklearn")
    main = runpy.run_path(str(EXAMPLE / "train.py"))["main"]
    reached = main(depth=2, seeds=3, epochs=5, out=str(tmp_path))
    of_two = {name: np.mean(values[1]) for name, values in reached.items()}
    assert of_two["RBM"] > of_two["Glorot"]
    assert (tmp_path / "pretraining.png").stat().st_size > 10_000
    assert len((tmp_path / "pretraining.jsonl").read_text().splitlines()) == 10
    assert "RBM - 4 Glorot: " in capsys.readouterr().out
