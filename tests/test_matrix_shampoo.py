"""What only Shampoo has: inverse roots, refreshes, blocks, grafting; and its peers' updates."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from oracles import record_shampoo as recorded

import fnopt
from fnopt.matrix.blocks import Blocks
from fnopt.matrix.inverse_root import METHODS, inverse_root
from fnopt.matrix.refresh import refreshed, refreshed_by_shape


def _slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


def _matrix(n, condition, seed=0, size=1.0):
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.normal(size=(n, n)))[0]
    values = size * np.geomspace(1 / condition, 1, n) if n > 1 else np.array([size])
    return (vectors * values) @ vectors.T


def _expected(matrix, p, eps):
    ridged = matrix + eps * np.linalg.eigvalsh(matrix)[-1] * np.eye(len(matrix))
    return scipy.linalg.fractional_matrix_power(ridged, -1 / p)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("p", [*map(_slow, (1, 3)), 2, 4])
@pytest.mark.parametrize("n, condition, size", [(1, 1, 3.0), (5, 1e2, 1e-12), (5, 1e3, 1e20)])
def test_roots_are_fractional_powers(method, p, n, condition, size):
    batch = np.stack([_matrix(n, condition, seed, size) for seed in range(3)])
    got = jax.jit(inverse_root, static_argnums=(1, 3))(jnp.asarray(batch), p, 1e-6, method)
    for root, matrix in zip(got, batch, strict=True):
        expected = _expected(matrix, p, 1e-6)
        np.testing.assert_allclose(root, expected, 1e-3, 2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_roots_of_ill_conditioned_and_singular_matrices(method):
    with jax.enable_x64(True):
        singular = np.diag([1.0, 1e-3, 0.0, 0.0])
        for matrix in (_matrix(20, 1e8), singular, np.ones((3, 3))):
            got = inverse_root(jnp.asarray(matrix)[None], 4, 1e-8, method)[0]
            expected = _expected(matrix, 4, 1e-8)
            np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("method", METHODS)
def test_the_root_of_nothing_is_the_identity_and_a_failed_one_the_old(method):
    old = 5 * jnp.ones((4, 2, 2))
    nan = jnp.full((2, 2), jnp.nan)
    batch = jnp.stack([jnp.zeros((2, 2)), nan, jnp.full((2, 2), jnp.inf), 16 * jnp.eye(2)])
    got = inverse_root(batch, 4, 0.0, method, old)
    np.testing.assert_allclose(got, jnp.stack([jnp.eye(2), *old[1:3], 0.5 * jnp.eye(2)]), 1e-5)
    assert jnp.all(jnp.isnan(inverse_root(batch, 4, 0.0, method)[1]))


def test_eigenvalues_below_0_by_rounding_count_as_0():
    got = inverse_root(jnp.diag(jnp.array([1.0, -1e-7]))[None], 2, 1e-4)[0]
    np.testing.assert_allclose(got, np.diag([1.0, 100.0]), rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["coincident", "apart"])
def test_roots_have_derivatives_where_eigenvalues_coincide(method, kind):
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        start = np.diag([2.0, 1.0, 1.0, 1.0]) if kind == "coincident" else _matrix(4, 10)
        change, weights = (x + x.T for x in rng.normal(size=(2, 4, 4)))

        @jax.jit
        def value(by, eps):
            root = inverse_root(jnp.asarray(start + by * change)[None], 4, eps, method)
            return jnp.sum(root[0] * weights)

        slopes = jax.jit(jax.grad(value, (0, 1)))(0.0, 0.1)
        h = 1e-5
        by_change = (value(h, 0.1) - value(-h, 0.1)) / (2 * h)
        by_eps = (value(0.0, 0.1 + h) - value(0.0, 0.1 - h)) / (2 * h)
        np.testing.assert_allclose(slopes, (by_change, by_eps), rtol=1e-6)


# Refreshes: what is computed is counted.


def _counted(counts, t, every, **options):
    return refreshed(lambda x, old: old + x, counts, (jnp.ones_like(counts),), t, every, **options)


@pytest.mark.parametrize("count, every", [(1, 4), (3, 4), (4, 4), (5, 2), (7, 3), (10, 4)])
@pytest.mark.parametrize("options", [{}, {"offset": 2}, {"staggered": False}])
def test_each_is_computed_once_in_every_few_updates(count, every, options):
    step = jax.jit(functools.partial(_counted, every=every, **options))
    counts = step(jnp.zeros((count, 1)), 1)
    np.testing.assert_array_equal(counts, 1)
    before, largest = counts, 0
    for t in range(2, 2 + 3 * every):
        new = step(before, t)
        assert set(np.unique(new - before)) <= {0, 1}
        largest = max(largest, int(jnp.sum(new - before)))
        before = new
        if (t - 1) % every == 0:
            np.testing.assert_array_equal(before, 1 + (t - 1) // every)
    assert largest == (-(-count // every) if options.get("staggered", True) else count)


def test_batches_of_several_shapes_take_turns():
    old = [jnp.zeros((2, 1)), jnp.zeros((3, 2)), jnp.zeros((1, 1))]
    ones = [jnp.ones_like(x) for x in old]
    every = 6
    step = jax.jit(
        lambda old, t: refreshed_by_shape(lambda x, old: old + x, old, (ones,), t, every)
    )
    old = step(old, 1)
    for t in range(2, 2 + 2 * every):
        new = step(old, t)
        assert sum(int(jnp.sum((x - y)[:, 0])) for x, y in zip(new, old, strict=True)) == 1
        old = new
    assert all(bool(jnp.all(x == 3)) for x in old)


def test_refreshes_under_vmap_and_scan_are_those_of_a_loop():
    counts = jnp.zeros((5, 1))

    def run(first):
        def body(counts, t):
            return _counted(counts, t, 3), None

        return jax.lax.scan(body, counts, first + jnp.arange(7))[0]

    together = jax.jit(jax.vmap(run))(jnp.array([1, 2, 4]))
    np.testing.assert_array_equal(together, [run(jnp.asarray(first)) for first in (1, 2, 4)])


def test_a_refresh_has_derivatives():
    old, inputs = jnp.arange(1.0, 6.0)[:, None], jnp.arange(2.0, 7.0)[:, None]

    def loss(factor, inputs, t):
        def compute(x, old):
            return factor * x * x + 0.5 * old

        return jnp.sum(refreshed(compute, old, (inputs,), t, 3, offset=-1))

    # Later by 1, the second update computes the first two of five.
    by_factor, by_inputs = jax.jit(jax.grad(loss, (0, 1)))(2.0, inputs, 2)
    assert by_factor == 2.0**2 + 3.0**2
    np.testing.assert_array_equal(by_inputs[:, 0], [8.0, 12.0, 0.0, 0.0, 0.0])


def _compiled(tx, params) -> Any:
    # The state first, so that what is donated lies in order.
    step = jax.jit(lambda grads, state: tx.update(grads, state)[::-1], donate_argnums=1)
    return step.lower(params, jax.eval_shape(tx.init, params)).compile()


def test_between_refreshes_nothing_is_decomposed_or_joined():
    params = jax.ShapeDtypeStruct((6, 48, 48), jnp.float32)
    tx = fnopt.scale_by_shampoo(matrices=(("*", "stack in out"),))
    compiled = _compiled(tx, params)
    entry = compiled.as_text().split("\nENTRY ")[1].split("\n}")[0]
    assert "syevd" in compiled.as_text() and "syevd" not in entry
    assert len(re.findall("custom-call.*syevd", compiled.as_text())) == 1
    # Both sides are one batch, which is not even joined outside of the loop.
    assert "f32[12,48,48]" not in entry
    assert "f32[12,48,48]" in compiled.as_text()


# The method.


def test_blocks_are_cut_and_joined():
    matrices = jnp.arange(2.0 * 5 * 7).reshape(2, 5, 7)
    for limits in ((None, None), (2, 3), (5, 2), (None, 7), (1, None)):
        blocks = Blocks.at_most((5, 7), limits)
        cut = blocks.cut(matrices)
        most = [limit or n for limit, n in zip(limits, (5, 7), strict=True)]
        assert cut.shape[1] <= most[0] and cut.shape[2] <= most[1]
        np.testing.assert_array_equal(blocks.join(cut), matrices)
    np.testing.assert_array_equal(Blocks.at_most((5, 7), (3, 7)).cut(matrices)[0], matrices[0, :3])


def _draws(shape, count=4):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(count)]


def _directions(tx, grads):
    update, state = jax.jit(tx.update), tx.init(grads[0])
    found = []
    for grad in grads:
        direction, state = update(grad, state)
        found.append(direction)
    return found


@pytest.mark.parametrize(
    "options", [{"precondition_frequency": 1}, {"staggered": False, "precondition_frequency": 2}]
)
@pytest.mark.parametrize(
    "more", [{}, _slow({"block_size": 3, "method": "newton"}), _slow({"one_sided": True})]
)
def test_a_stack_is_treated_as_its_matrices_and_a_batch_as_each(options, more):
    tx = fnopt.scale_by_shampoo(matrices=(("*_stack", "stack in out"),), **options, **more)
    stacks, others = _draws((12, 5, 4)), _draws((4, 5))
    together = [{"w_stack": w, "other": o} for w, o in zip(stacks, others, strict=True)]
    apart = [
        {"other": o} | {f"w{i}": w[i] for i in range(12)}
        for w, o in zip(stacks, others, strict=True)
    ]
    of_leaves = _directions(tx.replace(matrices=None), apart)
    for got, expected in zip(_directions(tx, together), of_leaves, strict=True):
        stacked = jnp.stack([expected[f"w{i}"] for i in range(12)])
        np.testing.assert_allclose(got["w_stack"], stacked, 1e-4, 1e-4)
        np.testing.assert_allclose(got["other"], expected["other"], 1e-4, 1e-4)
    alone = _directions(tx.replace(matrices=None), [leaves["w7"] for leaves in apart])
    np.testing.assert_allclose(alone[-1], of_leaves[-1]["w7"], 1e-4, 1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_the_first_direction_has_equal_singular_values(method):
    tx = fnopt.scale_by_shampoo(matrix_eps=1e-6, method=method)
    values = jnp.linalg.svd(_directions(tx, _draws((4, 4), 1))[0], compute_uv=False)
    np.testing.assert_allclose(values, 1.0, atol=2e-3)


def test_one_sided_and_long_sides():
    (grad,) = _draws((3, 6), 1)  # in × out
    options = {"precondition_frequency": 1, "matrix_eps": 1e-3}
    one = fnopt.scale_by_shampoo(**options, one_sided=True)
    g = np.asarray(grad, np.float64)
    expected = _expected(g @ g.T, 2, 1e-3) @ g
    np.testing.assert_allclose(_directions(one, [grad])[0], expected, 1e-4, 1e-5)
    long = fnopt.scale_by_shampoo(**options, max_dim=5)
    np.testing.assert_allclose(_directions(long, [grad])[0], expected, 1e-4, 1e-5)
    assert sum(x.size for x in jax.tree.leaves(long.init(grad))) == 1 + 2 * 9
    longer = fnopt.scale_by_shampoo(**options, max_dim=2)
    np.testing.assert_array_equal(_directions(longer, [grad])[0], grad)


@pytest.mark.parametrize(
    "options, slots",
    [
        ({}, 2 + 4),
        ({"graft_type": "none"}, 1 + 4),
        ({"graft_type": "sgd", "one_sided": True}, 1 + 2),
        ({"block_size": 32}, 2 + 4),
        ({"max_dim": 32}, 2),
    ],
)
def test_bytes_of_state(options, slots):
    state = jax.eval_shape(fnopt.shampoo(0.1, **options).init, jnp.zeros((64, 64), jnp.bfloat16))
    by_dtype = {jnp.bfloat16: 0, jnp.float32: 0}
    for leaf in jax.tree.leaves(state):
        if leaf.ndim:
            by_dtype[leaf.dtype.type] += leaf.size
    # The mean of directions has the parameter's dtype; all else is float32.
    assert by_dtype == {jnp.bfloat16: 64 * 64, jnp.float32: (slots - 1) * 64 * 64}


def test_extreme_gradients_give_finite_directions():
    for size in (1e-30, 1e-18, 1e18, 1e30):
        for method in METHODS:
            tx = fnopt.scale_by_shampoo(method=method, precondition_frequency=1)
            for direction in _directions(tx, [size * g for g in _draws((3, 4), 2)]):
                assert jnp.all(jnp.isfinite(direction))


def test_a_direction_has_the_length_grafted():
    grads = [{"w": w, "b": w[0, 0]} for w in _draws((3, 4, 5))]
    rules = (("w", "stack in out"),)
    direction = fnopt.scale_by_shampoo(matrices=rules, precondition_frequency=1)
    length = fnopt.scale_by_adam()
    tx = fnopt.grafted(direction, length, rules, start=2)
    first, second, *_ = _directions(tx, grads)
    of_length = _directions(length, grads)
    of_direction = _directions(direction, grads)
    np.testing.assert_allclose(first["w"], of_length[0]["w"], 1e-6)
    for axes, got, towards, sized in (
        ((1, 2), second["w"], of_direction[1]["w"], of_length[1]["w"]),
        ((0,), second["b"], grads[1]["b"], of_length[1]["b"]),
    ):
        sizes = [np.linalg.norm(x, axis=axes, keepdims=True) for x in (sized, towards)]
        np.testing.assert_allclose(got, towards * sizes[0] / sizes[1], 1e-5, 1e-6)


@pytest.mark.parametrize("name", json.loads(recorded.FILE.read_text()))
def test_updates_are_those_of_the_authors_program(name):
    """Up to the ridge of 1e-6 that it starts its statistics with besides the relative one."""
    settings = recorded.SETTINGS[name.partition("-")[2]]
    length = fnopt.scale_by_rss(0.0, 1e-10, eps_in_sqrt=False)
    with jax.enable_x64(True):
        direction = fnopt.scale_by_shampoo(
            settings.get("beta2", 0.999),
            precondition_frequency=settings.get("preconditioning_compute_steps", 1),
            block_size=settings.get("block_size", 128),
            staggered=False,
            method="newton",
        )
        tx = fnopt.chain(
            fnopt.grafted(direction, length if "graft_type" in settings else fnopt.identity()),
            fnopt.trace(0.9, nesterov=True),
            fnopt.scale_by_learning_rate(1.0),
        )
        got = _directions(tx, list(map(jnp.asarray, recorded.gradients())))
    expected = json.loads(recorded.FILE.read_text())[name]
    np.testing.assert_allclose(got, expected, rtol=3e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["precondition_frequency", "block_size", "max_dim", "exponent_override"]
)
def test_what_is_no_number_of_updates_or_rows_is_refused(name):
    zero: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        fnopt.scale_by_shampoo(**zero)
    half: Any = {name: 1.5}
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        fnopt.shampoo(0.1, **half).init(jnp.ones((2, 2)))


def test_a_length_of_no_known_method_is_refused():
    unknown: Any = "lion"
    with pytest.raises(ValueError, match="graft_type must be one of"):
        fnopt.shampoo(0.1, graft_type=unknown)
