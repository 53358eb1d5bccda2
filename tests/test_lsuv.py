"""Layer-sequential unit variance, beside NumPy and in every framework."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.lsuv import lsuv as oracle
from starts import Start

from fnopt.initialize import diagnose, lsuv

KEY = jax.random.key(0)


def network(params, x):
    for w in params[:-1]:
        x = jnp.maximum(x @ w, 0)
    return x @ params[-1]


@pytest.mark.parametrize("tol_var", [0.1, 1e-6])
def test_it_is_the_papers_algorithm(tol_var):
    rng = np.random.RandomState(0)
    sizes = [12, 30, 7, 20, 4]
    weights = [3 * rng.randn(i, o) for i, o in itertools.pairwise(sizes)]
    batch = rng.randn(64, 12) + 0.5
    with jax.enable_x64(True):
        drawn = lsuv(network, weights, batch, key=KEY, tol_var=1e9)
        for w in map(np.asarray, drawn):  # so wide a tolerance leaves the orthonormal start
            product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
            np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)
        ours = lsuv(network, weights, batch, key=KEY, tol_var=tol_var)
        again = lsuv(network, weights, batch, key=KEY, tol_var=tol_var, orthonormal=False)
    for start, made in ((drawn, ours), (weights, again)):
        expected = oracle(start, batch, lambda x: np.maximum(x, 0), tol_var, 10)
        for ours_, theirs in zip(made, expected, strict=True):
            np.testing.assert_allclose(ours_, theirs, rtol=1e-12)


def test_at_most_max_iter_times():
    """With a bias in the way one scaling is not enough."""

    def outputs(params, x):
        return x @ params["w"] + params["b"][None]

    params = {"w": 5 * jnp.ones((4, 3)), "b": jnp.array([0.5, -0.5, 0.0])}
    batch = jax.random.normal(KEY, (64, 4))
    far = []
    for most in (1, 2, 8):
        made = lsuv(outputs, params, batch, key=KEY, tol_var=1e-4, max_iter=most, orthonormal=False)
        np.testing.assert_array_equal(made["b"], params["b"])
        far.append(abs(float(jnp.var(outputs(made, batch))) - 1))
    assert far[0] > far[1] > 1e-4 > far[2]


@pytest.mark.parametrize(
    "start",
    [
        Start("nnx", 3, 8, images=True, normalized=True),
        Start("linen", 3, 16, "tanh"),
        pytest.param(Start("linen", 5, 16, "gelu", residual=True), marks=pytest.mark.slow),
        pytest.param(Start("nnx", 3, 16, dropout=0.2), marks=pytest.mark.slow),
    ],
    ids=lambda start: f"{start.framework}-{start.activation}",
)
def test_every_layer_puts_out_variance_one(start):
    task, params, batch = start.task()
    made = lsuv(task, params, batch, key=KEY, tol_var=0.01)
    assert jax.tree.structure(made) == jax.tree.structure(params)
    np.testing.assert_allclose(
        [x.std for x in diagnose(task, made, batch, key=KEY).layers], 1, atol=0.01
    )


def test_which_layers():
    task, params, batch = Start("function", 3).task()
    made = lsuv(task, params, batch, key=KEY, where=("0/kernel", "2/*"))
    moved = [
        not np.array_equal(a["kernel"], b["kernel"]) for a, b in zip(params, made, strict=True)
    ]
    assert moved == [True, False, True, False]


def test_an_embedding_shared_with_the_output_and_repeated_weights_stay():
    def outputs(params, tokens):
        x = params["embed"][tokens] @ params["dense"]
        x = x @ jnp.broadcast_to(params["row"], (8, 8))
        return x @ params["embed"].T

    keys = jax.random.split(KEY, 3)
    shapes = {"embed": (7, 8), "dense": (8, 8), "row": (1, 8)}
    pairs = zip(keys, shapes.items(), strict=True)
    params = {name: 3 * jax.random.normal(key, shape) for key, (name, shape) in pairs}
    made = lsuv(outputs, params, jnp.arange(7), key=KEY)
    moved = [name for name in params if not np.array_equal(params[name], made[name])]
    assert moved == ["dense"]


def test_where_the_layers_are_in_a_while_loop_it_is_said():
    def outputs(params, x):
        def step(carry):
            return carry[0] + 1, jnp.tanh(carry[1] @ params["stack"][carry[0]])

        return jax.lax.while_loop(lambda carry: carry[0] < 2, step, (0, x))[1]

    with pytest.raises(ValueError, match=r"there are: none; not seen, since in while.*: stack"):
        lsuv(outputs, {"stack": jnp.ones((2, 3, 3))}, jnp.ones((4, 3)), key=KEY)


def test_bad_input_is_refused():
    task, params, batch = Start("function", 2).task()
    with pytest.raises(ValueError, match=r"lsuv: tol_var must lie in \(0, inf\), got 0"):
        lsuv(task, params, batch, key=KEY, tol_var=0)
    with pytest.raises(ValueError, match="lsuv: max_iter must be an integer of at least 1, got 0"):
        lsuv(task, params, batch, key=KEY, max_iter=0)
    with pytest.raises(ValueError, match=r"where='dense\*' matches no layer; there are: 0/"):
        lsuv(task, params, batch, key=KEY, where="dense*")
    nothing = (np.zeros_like(batch[0]), batch[1])
    with pytest.raises(ValueError, match=r"outputs of 0/kernel have variance 0\.0"):
        lsuv(task, params, nothing, key=KEY)
    zeros = jax.tree.map(jnp.zeros_like, params)
    with pytest.raises(ValueError, match=r"or let the weights be drawn: orthonormal=True"):
        lsuv(task, zeros, batch, key=KEY, orthonormal=False)
