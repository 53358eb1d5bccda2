"""K-FAC beyond the laws: exact where its paper says so, for every kind of layer and model."""

# pyright: reportOptionalCall=false, reportOptionalMemberAccess=false

from __future__ import annotations

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from models import blobs, function_task, linen_task, nnx_task
from oracles import kfac as oracles

import fnopt
from fnopt.core import Evaluation
from fnopt.matrix.choice import Matrices
from fnopt.matrix.fisher_roots import hessian_roots
from fnopt.matrix.kfac_blocks import blocks_of
from fnopt.train import TrainState, evaluation_on, fit, objective

RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 3))
EXACT = {"fisher": "exact", "decay": 0.0, "inverse_interval": 1}


def half_square(targets):
    return lambda z: jnp.mean(jnp.sum((z - targets) ** 2, axis=-1)) / 2


def evaluation_of(outputs, targets=TARGETS):
    return Evaluation.of_outputs(outputs, half_square(targets))


def direction(tx, params, evaluation, steps=1, **extra_args):
    """The last of some updates at the same parameters, and the state after it."""

    @jax.jit
    def run(tx, params):
        state, grads = tx.init(params), evaluation.grad(params)
        for _ in range(steps):
            updates, state = tx.update(grads, state, params, evaluation=evaluation, **extra_args)
        return updates, state

    return run(tx, params)


def blocks(outputs, params):
    """The Fisher matrix of all parameters, from each example's Jacobian, and their positions."""
    vector, unravel = ravel_pytree(params)
    jacobians = np.asarray(jax.jacobian(lambda v: outputs(unravel(v)))(vector))
    jacobians = jacobians.reshape(len(jacobians), -1, len(vector))
    count = len(jacobians)
    return oracles.fisher_block(jacobians, [np.eye(3)] * count, [1 / count] * count)


def linear_network(depth, biases):
    sizes = (4, 3, 3, 3)[: depth + 1]
    layers = [
        {"w": RNG.normal(size=pair)} | ({"b": RNG.normal(size=pair[1])} if biases else {})
        for pair in itertools.pairwise(sizes)
    ]

    def outputs(layers):
        x = jnp.asarray(INPUTS)
        for layer in layers:
            x = x @ layer["w"]
            x = x + layer["b"][None] if biases else x
        return x

    return outputs, layers


# Exactness.


@pytest.mark.parametrize("solver", ["cholesky", "eigh"])
@pytest.mark.parametrize("biases", [False, True])
def test_one_linear_layer_takes_the_natural_gradient(solver, biases):
    with jax.enable_x64(True):
        outputs, params = linear_network(1, biases)
        evaluation = evaluation_of(outputs)
        tx = fnopt.scale_by_kfac(damping=0.0, solver=solver, **EXACT)
        got, _ = direction(tx, params, evaluation)
        fisher = blocks(outputs, params)
        expected = np.linalg.solve(fisher, ravel_pytree(evaluation.grad(params))[0])
        np.testing.assert_allclose(ravel_pytree(got)[0], expected, rtol=1e-8)


@pytest.mark.parametrize("solver", ["cholesky", "eigh"])
def test_a_deep_linear_network_takes_the_natural_gradient_of_each_layer(solver):
    with jax.enable_x64(True):
        outputs, params = linear_network(3, biases=True)
        evaluation = evaluation_of(outputs)
        tx = fnopt.scale_by_kfac(damping=0.0, solver=solver, **EXACT)
        got, _ = direction(tx, params, evaluation)
        fisher, grads = blocks(outputs, params), evaluation.grad(params)
        ends = np.cumsum([0, *(ravel_pytree(layer)[0].size for layer in params)])
        for k, (begin, end) in enumerate(itertools.pairwise(ends)):
            own = np.linalg.solve(fisher[begin:end, begin:end], ravel_pytree(grads[k])[0])
            np.testing.assert_allclose(ravel_pytree(got[k])[0], own, rtol=1e-7)


@pytest.mark.parametrize(
    "solver, oracle",
    [("cholesky", oracles.factored_direction), ("eigh", oracles.exact_direction)],
)
def test_damping_is_the_papers(solver, oracle):
    with jax.enable_x64(True):
        w, v = RNG.normal(size=(4, 5)), RNG.normal(size=(5, 3))
        evaluation = evaluation_of(lambda p: jnp.tanh(INPUTS @ p["w"]) @ p["v"])
        params = {"w": jnp.asarray(w), "v": jnp.asarray(v)}
        tx = fnopt.scale_by_kfac(damping=0.3, solver=solver, **EXACT)
        got, state = direction(tx, params, evaluation)
        hidden = np.tanh(INPUTS @ w)
        # A Jacobian has a row for each output: the derivative by the layer's output.
        slopes = np.einsum("hk,nh->nkh", v, 1 - hidden**2).reshape(-1, 5)
        a = oracles.mean_moment(INPUTS)
        g = oracles.moment(slopes, np.full(len(slopes), 1 / 30))
        np.testing.assert_allclose(state.right["w"][0], a, rtol=1e-10)
        np.testing.assert_allclose(state.left["w"][0], g, rtol=1e-10)
        grads = evaluation.grad(params)
        expected = oracle(a, g, np.asarray(grads["w"]).T, 0.3).T
        np.testing.assert_allclose(got["w"], expected, rtol=1e-8)
        expected = oracle(oracles.mean_moment(hidden), np.eye(3), np.asarray(grads["v"]).T, 0.3).T
        np.testing.assert_allclose(got["v"], expected, rtol=1e-8)


def test_means_begin_with_the_first_batch_and_decay_as_the_papers():
    with jax.enable_x64(True):
        _, params = linear_network(1, biases=False)
        tx = fnopt.scale_by_kfac(damping=0.1, fisher="exact", decay=0.6)

        @jax.jit
        def updated(state, inputs):
            evaluation = evaluation_of(lambda p: inputs @ p[0]["w"])
            return tx.update(params, state, params, evaluation=evaluation)[1]

        state, moments = tx.init(params), []
        for scale in (1.0, 2.0, 3.0, 4.0):
            state = updated(state, jnp.asarray(scale * INPUTS))
            moments.append(scale**2 * oracles.mean_moment(INPUTS))
        expected = moments[0]
        for k, moment in enumerate(moments[1:], 2):
            share = min(1 - 1 / k, 0.6)
            expected = share * expected + (1 - share) * moment
        np.testing.assert_allclose(state.right[0]["w"][0], expected, rtol=1e-10)


# Targets.


@pytest.mark.parametrize(
    "likelihood",
    [
        "categorical",
        pytest.param("normal", marks=pytest.mark.slow),
        pytest.param("bernoulli", marks=pytest.mark.slow),
    ],
)
def test_drawn_targets_have_the_exact_factors_as_their_mean(likelihood):
    labels = jnp.asarray(RNG.integers(3, size=30))
    losses = {
        "normal": half_square(TARGETS.astype(np.float32)),
        "categorical": lambda z: jnp.mean(
            optax.softmax_cross_entropy_with_integer_labels(z, labels)
        ),
        "bernoulli": lambda z: jnp.mean(
            optax.sigmoid_binary_cross_entropy(z, jax.nn.one_hot(labels, 3))
        ),
    }
    params = jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)
    inputs = jnp.asarray(INPUTS, jnp.float32)
    evaluation = Evaluation.of_outputs(lambda w: inputs @ w, losses[likelihood])
    exact = direction(fnopt.scale_by_kfac(fisher="exact"), params, evaluation)[1]
    drawn = fnopt.scale_by_kfac(likelihood=likelihood)

    @jax.jit
    @jax.vmap
    def factor(key):
        update = drawn.update(params, drawn.init(params), params, evaluation=evaluation, key=key)
        return update[1].left

    mean = jnp.mean(factor(jax.random.split(jax.random.key(0), 2000)), axis=0)
    np.testing.assert_allclose(mean, exact.left, atol=0.05 * np.max(exact.left))
    np.testing.assert_allclose(
        direction(drawn, params, evaluation)[1].right, exact.right, rtol=1e-5
    )


def test_roots_of_a_loss_square_to_its_hessian():
    with jax.enable_x64(True):
        labels = jnp.asarray(RNG.integers(3, size=5))
        logits = jnp.asarray(RNG.normal(size=(5, 3)))

        def loss(z):
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(z, labels))

        ((columns,),) = jax.jit(lambda z: hessian_roots(loss, z))(logits)
        got = np.einsum("cni,cnj->nij", columns, columns)
        expected = jax.jit(jax.hessian(loss))(logits)
        for i in range(5):
            np.testing.assert_allclose(got[i], expected[i, :, i], atol=1e-12)


def test_the_empirical_factors_are_of_the_gradients_of_the_examples():
    with jax.enable_x64(True):
        weights = np.linspace(0.0, 1.0, 30) / 15
        w = jnp.asarray(RNG.normal(size=(4, 3)))

        def squares(z):
            return jnp.sum((z - TARGETS) ** 2, axis=1) / 2

        evaluation = Evaluation.of_outputs(
            lambda w: INPUTS @ w,
            lambda z: jnp.sum(weights * squares(z)),
            lambda z: (squares(z), jnp.asarray(weights)),
        )
        tx = fnopt.scale_by_kfac(fisher="empirical")
        _, state = direction(tx, w, evaluation)
        residuals = INPUTS @ np.asarray(w) - TARGETS
        np.testing.assert_allclose(state.left[0], oracles.moment(residuals, weights), rtol=1e-10)


def test_a_seed_fixes_the_draws_and_a_steps_key_is_used_without():
    _, params = linear_network(1, biases=False)
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    evaluation = Evaluation.of_outputs(
        lambda p: jnp.asarray(INPUTS, jnp.float32) @ p[0]["w"],
        half_square(TARGETS.astype(np.float32)),
    )

    def factor(seed, key):
        tx = fnopt.scale_by_kfac(likelihood="normal", random_seed=seed)
        return direction(tx, params, evaluation, key=jax.random.key(key))[1].left[0]["w"]

    assert np.array_equal(factor(0, 1), factor(0, 2))
    assert not np.array_equal(factor(0, 1), factor(1, 1))
    assert not np.array_equal(factor(None, 1), factor(None, 2))


# Kinds of layers.


def test_several_uses_of_a_layer_count_as_examples():
    with jax.enable_x64(True):
        sequence = RNG.normal(size=(30, 5, 4))
        targets = RNG.normal(size=(30, 5, 3))
        flat = jnp.asarray(sequence.reshape(-1, 4))

        def by_position(w):  # one after the other
            return jnp.stack([sequence[:, t] @ w for t in range(5)], axis=1)

        def by_scan(w):
            _, outputs = jax.lax.scan(
                lambda carry, x: (carry, x @ w), None, jnp.swapaxes(jnp.asarray(sequence), 0, 1)
            )
            return jnp.swapaxes(outputs, 0, 1)

        w, tx = jnp.asarray(RNG.normal(size=(4, 3))), fnopt.scale_by_kfac(fisher="exact")
        states = [
            direction(tx, w, evaluation_of(outputs, own))[1]
            for outputs, own in (
                (lambda w: sequence @ w, targets),
                (by_position, targets),
                (by_scan, targets),
                (lambda w: flat @ w, targets.reshape(-1, 3)),
            )
        ]
        for state in states[1:]:
            np.testing.assert_allclose(state.right, states[0].right, rtol=1e-10)
            np.testing.assert_allclose(state.left, states[0].left, rtol=1e-10)


def test_stacked_layers_are_as_several():
    with jax.enable_x64(True):
        stacked = {"w": RNG.normal(size=(2, 3, 3)), "b": RNG.normal(size=(2, 3))}
        apart = [{name: leaf[k] for name, leaf in stacked.items()} for k in range(2)]
        x = jnp.asarray(INPUTS[:, :3])

        def layer(x, own):
            return jnp.tanh(x @ own["w"] + own["b"][None]), None

        tx = fnopt.scale_by_kfac(damping=0.1, fisher="exact")
        together, _ = direction(tx, stacked, evaluation_of(lambda p: jax.lax.scan(layer, x, p)[0]))
        one_by_one, _ = direction(
            tx, apart, evaluation_of(lambda p: layer(layer(x, p[0])[0], p[1])[0])
        )
        for k in range(2):
            for name in stacked:
                np.testing.assert_allclose(together[name][k], one_by_one[k][name], rtol=1e-9)


def test_a_kernel_may_have_its_outputs_first_and_be_reshaped():
    with jax.enable_x64(True):
        w = RNG.normal(size=(4, 6))
        plain = evaluation_of(lambda p: jnp.tanh(INPUTS @ p["w"])[:, :3])
        other = evaluation_of(lambda p: jnp.tanh(INPUTS @ p["w"].T)[:, :3])
        heads = evaluation_of(
            lambda p: jnp.tanh(jnp.einsum("ni,iab->nab", INPUTS, p["query"]["kernel"])).reshape(
                30, 6
            )[:, :3]
        )
        tx = fnopt.scale_by_kfac(damping=0.1, fisher="exact")
        expected = direction(tx, {"w": w}, plain)[0]["w"]
        got = direction(tx, {"w": w.T}, other)[0]["w"]
        np.testing.assert_allclose(got.T, expected, rtol=1e-9)
        kernel = {"query": {"kernel": w.reshape(4, 2, 3)}}
        got = direction(tx, kernel, heads)[0]["query"]["kernel"]
        np.testing.assert_allclose(got.reshape(4, 6), expected, rtol=1e-9)


def convolve(x, kernel, strides=(1, 1), padding="VALID", groups=1):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=numbers, feature_group_count=groups
    )


def test_a_convolution_at_one_position_is_a_dense_layer():
    with jax.enable_x64(True):
        images = RNG.normal(size=(30, 2, 3, 2))
        kernel, bias = RNG.normal(size=(2, 3, 2, 3)), RNG.normal(size=3)
        params = {"conv": {"kernel": kernel, "bias": bias}}

        def outputs(p):
            own = p["conv"]
            return (convolve(jnp.asarray(images), own["kernel"]) + own["bias"]).reshape(30, 3)

        evaluation = evaluation_of(outputs)
        tx = fnopt.scale_by_kfac(damping=0.0, **EXACT)
        with jax.numpy_rank_promotion("allow"):
            got, _ = direction(tx, params, evaluation)
            fisher = blocks(outputs, params)
            grads = evaluation.grad(params)
        expected = np.linalg.solve(fisher, ravel_pytree(grads)[0])
        np.testing.assert_allclose(ravel_pytree(got)[0], expected, rtol=1e-7)


def test_a_kernel_of_one_position_is_a_dense_layer_at_each():
    with jax.enable_x64(True):
        images = RNG.normal(size=(10, 3, 2, 4))
        targets, w = RNG.normal(size=(10, 3, 2, 3)), RNG.normal(size=(4, 3))
        tx = fnopt.scale_by_kfac(damping=0.0, **EXACT)
        dense, _ = direction(tx, {"w": w}, evaluation_of(lambda p: images @ p["w"], targets))
        kernel = {"conv": {"kernel": w[None, None]}}
        got, _ = direction(
            tx,
            kernel,
            evaluation_of(lambda p: convolve(jnp.asarray(images), p["conv"]["kernel"]), targets),
        )
        np.testing.assert_allclose(got["conv"]["kernel"][0, 0], dense["w"], rtol=1e-9)


@pytest.mark.parametrize("strides, padding", [((1, 1), "VALID"), ((2, 1), "SAME")])
def test_the_factors_of_a_convolution_are_of_its_patches(strides, padding):
    """Grosse & Martens 2016, eqs. 22-25, with a position of the output as an example."""
    with jax.enable_x64(True):
        images, kernel = RNG.normal(size=(6, 5, 4, 2)), RNG.normal(size=(3, 2, 2, 3))
        head = RNG.normal(size=(3, 3))

        def outputs(p):
            own = jnp.tanh(convolve(jnp.asarray(images), p["conv"]["kernel"], strides, padding))
            return jnp.sum(own, axis=(1, 2)) @ head

        tx = fnopt.scale_by_kfac(fisher="exact")
        params = {"conv": {"kernel": kernel}}
        _, state = direction(tx, params, evaluation_of(outputs, TARGETS[:6]))
        shape = convolve(images, kernel, strides, padding).shape
        needed = [(n - 1) * s + k for n, s, k in zip(shape[1:3], strides, (3, 2), strict=True)]
        more = [max(n - size, 0) for n, size in zip(needed, (5, 4), strict=True)]
        padded = np.pad(images, [(0, 0), *((m // 2, m - m // 2) for m in more), (0, 0)])
        rows, slopes = [], []
        for image in padded:
            for i in range(shape[1]):
                for j in range(shape[2]):
                    own = (slice(i * strides[0], i * strides[0] + 3), slice(j * strides[1], None))
                    patch = image[own][:, :2]
                    # Channels first, then the positions of the kernel.
                    rows.append(np.moveaxis(patch, -1, 0).ravel())
                    z = np.einsum("abi,abio->o", patch, kernel)
                    slopes += list(head.T * (1 - np.tanh(z) ** 2))
        np.testing.assert_allclose(
            state.right["conv"]["kernel"][0], oracles.mean_moment(np.array(rows)), rtol=1e-9
        )
        expected = oracles.moment(np.array(slopes), np.full(len(slopes), 1 / 6))
        np.testing.assert_allclose(state.left["conv"]["kernel"][0], expected, rtol=1e-9)


def test_groups_of_channels_are_further_positions():
    images = RNG.normal(size=(4, 3, 3, 4)).astype(np.float32)
    params = {"conv": {"kernel": RNG.normal(size=(2, 2, 2, 6)).astype(np.float32)}}
    evaluation = evaluation_of(
        lambda p: convolve(jnp.asarray(images), p["conv"]["kernel"], groups=2),
        np.zeros((4, 2, 2, 6), np.float32),
    )
    got, state = direction(fnopt.scale_by_kfac(fisher="exact"), params, evaluation)
    patches = [
        np.moveaxis(image[i : i + 2, j : j + 2, k : k + 2], -1, 0).ravel()
        for image in images
        for i in range(2)
        for j in range(2)
        for k in (0, 2)
    ]
    expected = oracles.mean_moment(np.array(patches))
    np.testing.assert_allclose(state.right["conv"]["kernel"][0], expected, rtol=1e-4, atol=1e-5)
    assert np.all(np.isfinite(got["conv"]["kernel"]))


# What it does with the rest.


def test_weights_without_layer_are_refused_with_the_cure():
    params = {"w": jnp.ones((4, 3)), "position": jnp.ones((30, 3))}
    inputs = jnp.asarray(INPUTS, jnp.float32)
    evaluation = evaluation_of(
        lambda p: inputs @ p["w"] + p["position"], TARGETS.astype(np.float32)
    )
    tx = fnopt.kfac(0.1, fisher="exact")
    with pytest.raises(ValueError, match=r"'position' is no part of a layer.*other"):
        direction(tx, params, evaluation)
    cured = fnopt.kfac(0.1, fisher="exact", matrices=(("position", "other"),))
    updates, _ = direction(cured, params, evaluation)
    step = np.abs(updates["position"])
    np.testing.assert_allclose(step, 0.1, rtol=1e-3)  # AdamW's first one


def test_other_axes_and_lacking_outputs_are_refused():
    inputs = jnp.ones((5, 2, 3))
    evaluation = evaluation_of(
        lambda p: jnp.einsum("nij,ijk->nk", inputs, p["w"]), np.zeros((5, 4), np.float32)
    )
    params = {"w": jnp.ones((2, 3, 4))}
    with pytest.raises(ValueError, match="1 of 4 outputs and 6 inputs, not 2 of 4 × 3"):
        direction(fnopt.scale_by_kfac(), params, evaluation)
    tx = fnopt.scale_by_kfac(fisher="exact", matrices=(("w", "in in out"),))
    direction(tx, params, evaluation)
    with pytest.raises(ValueError, match="needs the outputs of the model"):
        tx.update(params, tx.init(params), params)
    tx = fnopt.scale_by_kfac(fisher="empirical", matrices=(("w", "in in out"),))
    with pytest.raises(ValueError, match="losses_of_outputs"):
        direction(tx, params, evaluation)


def test_a_bias_that_is_added_elsewhere_is_refused_with_the_cure():
    inputs = jnp.asarray(INPUTS, jnp.float32)
    params = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}
    evaluation = evaluation_of(
        lambda p: jnp.tanh(inputs @ p["w"]) + p["b"][None], TARGETS.astype(np.float32)
    )
    with pytest.raises(ValueError, match=re.escape('matrices=(("b", "other"),)')):
        direction(fnopt.kfac(0.1, fisher="exact"), params, evaluation)
    cured = fnopt.kfac(0.1, fisher="exact", matrices=(("b", "other"),))
    assert direction(cured, params, evaluation)[0]["b"].shape == (3,)


def test_biases_are_paired_by_name_or_alone():
    def pairs(tree):
        paths = [x.path for x in Matrices().seen(tree)]
        return [
            (block.path, None if block.bias is None else paths[block.bias])
            for block in blocks_of(Matrices(), tree)
        ]

    w, v, b = jnp.ones((4, 3)), jnp.ones((3, 3)), jnp.ones(3)
    assert pairs({"kernel": w, "bias": b, "scale": b}) == [("kernel", "bias")]
    assert pairs({"w1": w, "b1": b, "w2": v, "b2": b}) == [("w1", "b1"), ("w2", "b2")]
    assert pairs([(w, b), (v, b)]) == [("0/0", "0/1"), ("1/0", "1/1")]
    assert pairs({"in": w, "out": v, "b": b}) == [("in", None), ("out", None)]
    assert pairs({"v": w, "scale": b}) == [("v", None)]
    assert pairs({"w": w, "b": jnp.ones(4)}) == [("w", None)]


def test_the_table_shows_a_bias_with_its_weights():
    params = {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3), "scale": jnp.ones(3)}
    gets = {line.split()[0]: line.split()[-1] for line in fnopt.kfac(0.1).table(params).split("\n")}
    assert [gets[name] for name in params] == ["kfac", "kfac", "adamw"]


def test_what_is_left_out_is_untouched_and_others_have_no_factors():
    params = {"w": jnp.ones((4, 3)), "scale": jnp.ones(3)}
    inputs = jnp.asarray(INPUTS, jnp.float32)
    evaluation = evaluation_of(
        lambda p: (inputs @ p["w"]) * p["scale"][None], TARGETS.astype(np.float32)
    )
    tx = fnopt.scale_by_kfac(fisher="exact")
    updates, _ = direction(tx, params, evaluation)
    np.testing.assert_allclose(updates["scale"], evaluation.grad(params)["scale"])
    sizes = [x.size for x in jax.tree.leaves(tx.init(params))]
    assert sizes == [1, 9, 16, 9, 16]


def test_the_divergence_is_bounded():
    with jax.enable_x64(True):
        outputs, params = linear_network(1, biases=False)
        evaluation = evaluation_of(outputs)
        grads = ravel_pytree(evaluation.grad(params))[0]
        for bound in (1e-3, 1e3):
            tx = fnopt.scale_by_kfac(damping=0.0, max_kl=bound, **EXACT)
            step = ravel_pytree(direction(tx, params, evaluation)[0])[0]
            divergence = step @ blocks(outputs, params) @ step / 2
            whole = grads @ np.linalg.solve(blocks(outputs, params), grads) / 2
            np.testing.assert_allclose(divergence, min(bound, whole), rtol=1e-8)


def test_between_refreshes_inverses_stay_and_sizes_take_turns():
    _, params = linear_network(1, biases=False)
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    inputs = jnp.asarray(INPUTS, jnp.float32)
    evaluation = evaluation_of(lambda p: inputs @ p[0]["w"], TARGETS.astype(np.float32))
    tx = fnopt.scale_by_kfac(likelihood="normal", inverse_interval=4, factor_interval=2)
    update = jax.jit(lambda state: tx.update(params, state, params, evaluation=evaluation)[1])
    states = [update(tx.init(params))]
    for _ in range(5):
        states.append(update(states[-1]))

    def changes(name):
        arrays = [getattr(state, name)[0]["w"] for state in states]
        return [not np.array_equal(*pair) for pair in itertools.pairwise(arrays)]

    assert changes("left") == [False, True, False, True, False]
    assert changes("left_inverse") == [False, False, False, True, False]
    # At the second update its mean is still that of the first.
    assert changes("right_inverse") == [False, False, False, False, True]


# Training.


@pytest.mark.parametrize(
    "task",
    [
        nnx_task,
        pytest.param(linen_task, marks=pytest.mark.slow),
        pytest.param(function_task, marks=pytest.mark.slow),
    ],
)
def test_fit_trains_every_kind_of_model(task):
    tx = fnopt.kfac(0.1, damping=0.03)
    task = task() if task is function_task else task(0.0)
    result = fit(task, tx, blobs(), epochs=3, batch_size=25, key=0, progress=False)
    assert result.history["loss"][-1] < 0.5 * result.history["loss"][0]


@pytest.mark.slow
def test_fit_goes_on_to_the_bit(tmp_path):
    def run(**options):
        tx = fnopt.kfac(0.1, damping=0.03, inverse_interval=3)
        common = {"batch_size": 25, "key": 0, "progress": False}
        return fit(nnx_task(0.5), tx, blobs(), **common, **options)

    whole = run(epochs=3)
    run(epochs=2, checkpoint_dir=tmp_path)
    rest = run(epochs=3, checkpoint_dir=tmp_path, resume=True)
    pairs = zip(jax.tree.leaves(rest.state), jax.tree.leaves(whole.state), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)


def test_the_state_is_as_large_as_said():
    params = {"kernel": jnp.zeros((40, 30)), "bias": jnp.zeros(30)}
    for solver, more in (("cholesky", 0), ("eigh", 41 + 30)):
        state = fnopt.kfac(0.1, solver=solver).init(params)
        numbers = sum(x.size for x in jax.tree.leaves(state) if x.ndim)
        assert numbers == 2 * (41**2 + 30**2) + more + 41 * 30


@pytest.mark.parametrize(
    "options, atol", [({"accumulate": 4}, 1e-6), ({"precision": "bfloat16"}, 0.05)]
)
def test_micro_batches_and_narrow_computation_have_the_same_factors(options, atol):
    batch, task = blobs(20), nnx_task(0.0)
    state = TrainState.create(task, fnopt.sgd(0.1), key=0)
    tx = fnopt.scale_by_kfac(fisher="exact")

    @functools.partial(jax.jit, static_argnums=0)
    def factors(options, params):
        # With running statistics: those of a batch are others in micro-batches.
        evaluation = evaluation_on(task, state, batch, **dict(options))
        new = tx.update(params, tx.init(params), params, evaluation=evaluation)[1]
        return new.left, new.right

    whole = jax.tree.leaves(factors((), state.params))
    parts = jax.tree.leaves(factors(tuple(options.items()), state.params))
    for got, expected in zip(parts, whole, strict=True):
        assert got.dtype == expected.dtype == jnp.float32
        np.testing.assert_allclose(got, expected, atol=atol * np.max(expected))


@pytest.mark.slow
def test_an_equinox_module_is_seen():
    eqx = pytest.importorskip("equinox")
    net = eqx.nn.MLP(8, 3, 16, 1, key=jax.random.key(0))
    task = objective(net, "softmax_cross_entropy_with_integer_labels")
    tx = fnopt.kfac(0.1, damping=0.03)
    result = fit(task, tx, blobs(), epochs=3, batch_size=25, key=0, progress=False)
    assert result.history["loss"][-1] < 0.5 * result.history["loss"][0]
