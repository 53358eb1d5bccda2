"""Diagonals of curvature: AdaHessian's averages, and targets that a model draws itself."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from models import blobs, function_task, linen_task, nnx_task

import fnopt
from fnopt.core import Evaluation
from fnopt.curvature.likelihoods import LIKELIHOODS, factors
from fnopt.curvature.operators import generalized_gauss_newton
from fnopt.train import TrainState, fit, make_train_step, objective

pytestmark = pytest.mark.beside_optax

CROSS_ENTROPY = optax.losses.softmax_cross_entropy_with_integer_labels
BINARY = optax.losses.sigmoid_binary_cross_entropy
X = np.random.default_rng(0).normal(size=(4, 2))
GNB = fnopt.gauss_newton_bartlett_estimator_diag_hessian


# The estimate of the Gauss-Newton diagonal


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"] + params["b"]


def params_of(outputs):
    shapes = {"w": (2, 3), "v": (3, outputs), "b": (outputs,)}
    rng = np.random.default_rng(1)
    return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}


def exact(evaluation, params):
    return jnp.diagonal(generalized_gauss_newton(evaluation, params).dense())


def every_target(likelihood, outputs):
    """All possible sets of targets as indicators: their probabilities, and the latter's terms."""
    if likelihood == "categorical":
        chances, kinds = jax.nn.softmax(outputs), np.eye(outputs.shape[1])
        targets = np.array(list(itertools.product(kinds, repeat=len(outputs))))
        return chances, targets, jnp.prod(jnp.sum(targets * chances, -1), -1)
    chances = jax.nn.sigmoid(outputs)
    targets = np.array(list(itertools.product((0.0, 1.0), repeat=outputs.size)))
    targets = targets.reshape(-1, *outputs.shape)
    return chances, targets, jnp.prod(jnp.where(targets == 1, chances, 1 - chances), (1, 2))


WEIGHTS = jnp.asarray([0.5, 0.0, 2.0, 1.0])
LOSSES = {
    "mean": ("categorical", lambda z: CROSS_ENTROPY(z, jnp.array([0, 2, 1, 1])).mean()),
    "weighted": (
        "categorical",
        lambda z: jnp.sum(WEIGHTS * CROSS_ENTROPY(z, jnp.array([0, 2, 1, 1]))),
    ),
    "smoothed": (
        "categorical",
        lambda z: optax.losses.softmax_cross_entropy(z, jnp.full(z.shape, 1 / 3)).mean(),
    ),
    "labels": ("bernoulli", lambda z: BINARY(z, jnp.ones_like(z)).mean()),
    "by hand": (
        "bernoulli",
        lambda z: jnp.sum(WEIGHTS @ (jnp.maximum(z, 0) + jnp.log1p(jnp.exp(-jnp.abs(z))))),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_over_all_targets_is_the_gauss_newton_diagonal(name):
    likelihood, loss = LOSSES[name]
    with jax.enable_x64(True):
        params = params_of(3 if likelihood == "categorical" else 2)
        evaluation = Evaluation.of_outputs(lambda params: network(params, X), loss)
        outputs, pull_back = jax.vjp(evaluation.outputs, params)
        factor = factors(LIKELIHOODS[likelihood], loss, outputs)
        chances, targets, probabilities = every_target(likelihood, outputs)

        @jax.jit
        @jax.vmap
        def square(target):
            return ravel_pytree(pull_back(jnp.sqrt(factor) * (chances - target)))[0] ** 2

        np.testing.assert_allclose(sum(probabilities), 1)
        np.testing.assert_allclose(
            probabilities @ square(targets), exact(evaluation, params), rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_draws_come_from_the_likelihood(likelihood):
    """Their mean is 0 and their mean square the curvature."""
    outputs = jnp.array([0.3, -1.0, 2.0])
    draws = jax.vmap(lambda key: LIKELIHOODS[likelihood].draw(key, outputs))(
        jax.random.split(jax.random.key(0), 20000)
    )
    chances = jax.nn.softmax(outputs) if likelihood == "categorical" else jax.nn.sigmoid(outputs)
    curvature = jnp.ones(3) if likelihood == "normal" else chances * (1 - chances)
    np.testing.assert_allclose(jnp.mean(draws, 0), 0, atol=0.03)
    np.testing.assert_allclose(jnp.mean(draws**2, 0), curvature, atol=0.03)


def test_the_mean_of_estimates_of_squared_errors_is_the_gauss_newton_diagonal():
    params = jax.tree.map(jnp.float32, params_of(2))
    evaluation = Evaluation.of_outputs(
        lambda params: network(params, jnp.float32(X)),
        lambda z: jnp.sum(WEIGHTS[:, None] * optax.losses.squared_error(z, 0 * z)),
    )

    @jax.jit
    @jax.vmap
    def estimate(key):
        tx = GNB("normal", key)
        return tx.update(params, tx.init(params), params, evaluation=evaluation)[0]

    estimates = estimate(jax.random.split(jax.random.key(0), 20000))
    mean = ravel_pytree(jax.tree.map(lambda x: jnp.mean(x, 0), estimates))[0]
    np.testing.assert_allclose(mean, exact(evaluation, params), rtol=0.08)


def test_tokens_padding_and_several_outputs_count_as_in_the_loss():
    labels = jnp.array([[0, 1, -1], [2, -1, -1]])

    def loss(outputs):
        logits, noise = outputs["logits"], outputs["noise"]
        counted = labels >= 0
        losses = jnp.where(counted, CROSS_ENTROPY(logits, labels), 0.0)
        return losses.sum() / counted.sum() + 0 * jnp.sum(noise)

    outputs = {"logits": jnp.ones((2, 3, 4)), "noise": jnp.ones((2, 5))}
    got = jax.jit(functools.partial(factors, LIKELIHOODS["categorical"], loss))(outputs)
    np.testing.assert_allclose(got["logits"][..., 0], (labels >= 0) / 3, rtol=1e-5)
    np.testing.assert_array_equal(got["noise"], 0)


def test_labels_without_weight_may_be_none_of_the_classes():
    def loss(logits):  # the loss of class 7 of 3 is NaN
        losses = CROSS_ENTROPY(logits, jnp.array([0, 7]))
        return jnp.sum(jnp.where(jnp.array([True, False]), losses, 0))

    got = factors(LIKELIHOODS["categorical"], loss, jnp.zeros((2, 3)))
    np.testing.assert_allclose(got, [[1], [0]], rtol=1e-5)


class diagonal_in_state(fnopt.Transform):
    """Keeps an estimate, and the exact diagonal, in its state."""

    def init(self, params):
        return params, params

    def update(self, updates, state, params=None, **extra_args):
        keys = jax.random.split(jax.random.key(1), 4000)

        def estimate(key):
            tx = GNB(random_seed=key)
            return tx.update(updates, tx.init(params), params, **extra_args)[0]

        total = jax.lax.fori_loop(
            1,
            len(keys),
            lambda i, total: jax.tree.map(jnp.add, total, estimate(keys[i])),
            estimate(keys[0]),
        )
        mean = jax.tree.map(lambda x: x / len(keys), total)
        matrix = generalized_gauss_newton(extra_args["evaluation"], params).dense()
        diagonal = ravel_pytree(params)[1](jnp.diagonal(matrix))
        return jax.tree.map(jnp.zeros_like, updates), (mean, diagonal)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_gives_the_estimate_of_its_batch(accumulate, weighted):
    (x, y), weights = blobs(8), np.float32([0, 0.5, 1, 3, 1, 0, 0.2, 1])
    params = {"w": 0.3 * jnp.ones((8, 3)), "b": jnp.array([0.0, 1.0, -0.5])}
    task = objective(
        lambda params, x: x @ params["w"] + params["b"],
        CROSS_ENTROPY,
        params=params,
        weights=(lambda batch: batch[2]) if weighted else None,
    )
    batch = (x, y, weights) if weighted else (x, y)
    state = TrainState.create(task, diagonal_in_state(), 0)
    state, _ = make_train_step(task, accumulate=accumulate)(state, batch)
    mean, expected = (ravel_pytree(tree)[0] for tree in state.opt_state)
    np.testing.assert_allclose(mean, expected, rtol=0.15, atol=0.01)


def test_what_is_missing_is_named_with_its_cure():
    tx, params = GNB(), jnp.ones((2, 3))
    state = tx.init(params)
    with pytest.raises(ValueError, match=r"needs the outputs of the model.*of_outputs\("):
        tx.update(params, state, params, value_fn=jnp.sum)
    with pytest.raises(ValueError, match=r"call update\(updates, state, params\)"):
        tx.update(params, state)
    scalar = Evaluation.of_outputs(jnp.sum, lambda z: z)
    with pytest.raises(TypeError, match=r"shape \(\) and dtype float32 are none of .*categorical"):
        tx.update(params, state, params, evaluation=scalar)
    with pytest.raises(ValueError, match=r"likelihood must be one of .*'poisson'"):
        fnopt.sophia_g(0.1, likelihood="poisson")


# AdaHessian


def first_update(tx, grads, params, loss):
    return jax.jit(functools.partial(tx.update, value_fn=loss))(grads, tx.init(params), params)[0]


def cubes(w):
    return jnp.sum(w**3) / 6  # its Hessian is the diagonal w


@pytest.mark.parametrize(
    ("where", "axes"), [("first", (0, 1)), ("last", (2, 3)), (None, ())], ids=str
)
def test_curvature_is_averaged_over_the_space_of_a_kernel(where, axes):
    kernel = jnp.arange(1.0, 37.0).reshape(2, 3, 3, 2)
    tx = fnopt.scale_by_adahessian(spatial_axes=where)
    updates = first_update(tx, jnp.ones_like(kernel), kernel, cubes)
    expected = 1 / (jnp.mean(kernel, axes, keepdims=True) + 1e-4)
    np.testing.assert_allclose(updates, jnp.broadcast_to(expected, kernel.shape), rtol=1e-5)


def test_a_power_of_0_is_momentum_and_no_curvature_is_no_nan():
    grads, params = jnp.array([2.0, 0.0]), jnp.ones(2)
    for power, eps, expected in ((0.0, 1e-4, 2.0 / 1.0001), (1.0, 1e-4, 2e4), (1.0, 0.0, 0.0)):
        tx = fnopt.scale_by_adahessian(hessian_power=power, eps=eps)
        updates = first_update(tx, grads, params, jnp.sum)
        np.testing.assert_allclose(updates, [expected, 0.0], rtol=1e-5)


@pytest.mark.parametrize("tx", [fnopt.scale_by_adahessian(), fnopt.scale_by_sophia()], ids=type)
def test_the_outcome_counts_the_estimates_that_were_made(tx):
    tx, params = fnopt.chain(tx.replace(update_interval=3.0), fnopt.scale(-0.1)), jnp.ones(2)
    state = tx.init(params)
    update = jax.jit(functools.partial(tx.update, value_fn=lambda w: jnp.sum(w**4)))
    products = []
    for _ in range(5):
        _, state = update(params, state, params)
        products.append(int(tx.outcome(state).products))
    assert products == [1, 0, 0, 1, 0]
    assert tx.outcome(state).value is None and int(tx.outcome(state).grads) == 0


# In training

METHODS = {
    "adahessian": fnopt.adahessian(0.1),
    "adahessian with GNB": fnopt.adahessian(0.1, hessian_diagonal_fn=GNB()),
    "sophia_h": fnopt.sophia_h(0.03, weight_decay=0.0, update_interval=2.0),
    "sophia_g": fnopt.sophia_g(0.03, weight_decay=0.0, update_interval=2.0),
}
TASKS = {"nnx": nnx_task, "linen": linen_task, "function": lambda dropout: function_task()}
SHOWN = {("sophia_g", "linen")}


@pytest.mark.parametrize(
    ("name", "task"),
    [
        pytest.param(*pair, marks=() if pair in SHOWN else pytest.mark.slow)
        for pair in itertools.product(METHODS, TASKS)
    ],
)
def test_fit_trains(name, task):
    result = fit(
        TASKS[task](0.1), METHODS[name], blobs(64), epochs=20, batch_size=32, accumulate=2,
        progress=False,
    )  # fmt: skip
    losses = result.history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    assert int(result.state.skipped) == 0


def test_clipping_of_complex_numbers_is_answered():
    z = jnp.ones(2, jnp.complex64)
    tx = fnopt.scale_by_sophia(clip_threshold=1.0)
    with pytest.raises(TypeError, match=r"complex; .*fnopt\.split_real_and_imaginary"):
        tx.update(z, tx.init(z), z, value_fn=lambda z: jnp.sum(jnp.abs(z) ** 2))
