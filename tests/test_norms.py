"""Norms, and what is made of them, for numbers of every size."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from laws import assert_close
from xla_flags import compiled_as_usual

import fnopt
from fnopt.core import global_norm, norm, rms, scale_to_length
from fnopt.core.norms import norm_by_row

# Below 1e19 and above 1e-19 float32 holds the squares.
SIZES = [1e38, 7e29, 3e19, 2e16, 1.0, 5e-14, 4e-20, 6e-28, 2e-34]
SIZES_OF = {
    "float16": [6e4, 300.0, 1.0, 1e-3],
    "bfloat16": SIZES,
    "float32": SIZES,
    "float64": [1e307, 1e155, 1e100, 1.0, 1e-140, 1e-162, 1e-300],
    "complex64": SIZES,
    "complex128": [1e307, 1.0, 1e-200],
}
# In make test the far ends and the middle; the sizes between are slow.
OFTEN = [1e38, 3e19, 1.0, 4e-20, 2e-34]
SOME = [size if size in OFTEN else pytest.param(size, marks=pytest.mark.slow) for size in SIZES]
EACH_SIZE = [
    pytest.param(dtype, size, marks=() if i % 2 == 0 else pytest.mark.slow)
    for dtype, sizes in SIZES_OF.items()
    for i, size in enumerate(sizes)
]


def leaf(dtype, size, shape=(3, 5), seed=0):
    """Numbers with a norm of about ``size``, some of them far below it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 0, shape)
    if "complex" in dtype:
        x = x + 1j * rng.normal(size=shape)
    return jnp.asarray(0.9 * size * (x / np.linalg.norm(np.ravel(x))), dtype)


def by_numpy(x):
    return float(np.sqrt(np.sum(np.abs(np.asarray(x).astype(np.clongdouble)) ** 2)))


def apply(tx, updates, params=None):
    return tx.update(updates, tx.init(updates if params is None else params), params)[0]


@pytest.mark.parametrize("dtype, size", EACH_SIZE)
def test_a_norm_of_any_size_is_right(dtype, size):
    with jax.enable_x64("64" in dtype or "128" in dtype):
        x = leaf(dtype, size)
        rtol = 1e-13 if x.dtype.itemsize >= 8 and dtype != "complex64" else 1e-6
        for got in (norm(x), jax.jit(norm)(x), global_norm({"a": x[:1], "b": [x[1:], None]})):
            np.testing.assert_allclose(float(got), by_numpy(x), rtol)
        large = jnp.concatenate([x.reshape(-1), jnp.zeros(2**14 + 1, x.dtype)])  # has a branch
        np.testing.assert_allclose(float(norm(large)), by_numpy(x), rtol)
        np.testing.assert_allclose(float(rms(x)), by_numpy(x) / np.sqrt(x.size), rtol)
        for got, row in zip(norm(x, 1), x, strict=True):
            np.testing.assert_allclose(float(got), by_numpy(row), rtol)


@pytest.mark.parametrize("dtype, size", EACH_SIZE)
def test_slopes_of_a_norm_of_any_size_are_right(dtype, size):
    if dtype == "float16":
        pytest.skip("its slopes are rounded to it")
    with jax.enable_x64("64" in dtype or "128" in dtype):
        x = leaf(dtype, size)
        rtol = {"bfloat16": 1e-2, "float32": 1e-5, "complex64": 1e-5}.get(dtype, 1e-12)
        expected = np.conj(np.asarray(x).astype(np.clongdouble) / by_numpy(x))
        for got in (jax.grad(norm)(x), jax.jit(jax.grad(lambda x: global_norm([x])))(x)):
            np.testing.assert_allclose(
                np.complex128(got), np.complex128(expected), rtol, rtol * 1e-3
            )
        if not jnp.iscomplexobj(x):
            tangent = jnp.ones_like(x)
            slope = jax.jvp(norm, (x,), (tangent,))[1]
            np.testing.assert_allclose(float(slope), float(np.sum(expected.real)), rtol, rtol)


def test_parts_of_very_different_sizes_each_have_their_norm():
    """Rows, examples, and the members of a batch are scaled one by one."""
    sizes = np.array([1e37, 1.0, 0.0, 1e-37], np.float32)
    x = sizes[:, None] * jnp.array([[0.6, -0.8]])
    for got in (norm(x, 1), jax.vmap(norm)(x), norm_by_row([x[:, :1], x[:, 1:]])):
        np.testing.assert_allclose(got, sizes, 1e-6)
    _, scanned = jax.lax.scan(lambda carry, row: (carry, norm(row)), 0, x)
    np.testing.assert_allclose(scanned, sizes, 1e-6)
    slopes = jax.vmap(jax.grad(norm))(x)
    np.testing.assert_allclose(slopes[jnp.array([0, 1, 3])], 3 * [[0.6, -0.8]], 1e-6)
    np.testing.assert_array_equal(slopes[2], 0.0)


def test_the_sums_that_accelerators_take_are_the_same(monkeypatch):
    """Without a branch, three sums of which one is chosen."""

    def default_of(*args, default, **_):
        return default(*args)

    x = leaf("float32", 1.0)
    sizes = np.float32(SIZES)
    expected = [norm(size * x) for size in sizes]
    monkeypatch.setattr(jax.lax, "platform_dependent", default_of)
    jax.clear_caches()
    try:
        assert "cond" not in str(jax.make_jaxpr(norm)(x))
        np.testing.assert_allclose([norm(size * x) for size in sizes], expected, 1e-6)
        np.testing.assert_allclose(jax.vmap(lambda size: norm(size * x))(sizes), expected, 1e-6)
    finally:
        jax.clear_caches()


@pytest.mark.parametrize(
    "x, expected",
    [
        ([], 0.0),
        ([0.0, 0.0], 0.0),
        ([np.inf, 1.0], np.inf),
        ([1e30, -np.inf], np.inf),
        ([np.nan, 1.0], np.nan),
        ([np.nan, 1e-30], np.nan),
        ([np.nan, np.inf], np.nan),
        ([3e38, 3e38], np.inf),
    ],
    ids=str,
)
def test_a_norm_that_is_no_number_is_seen(x, expected):
    x = jnp.array(x, jnp.float32)
    for got in (norm(x), global_norm([x, jnp.ones(2)]) if expected else norm(x)):
        np.testing.assert_equal(float(got), expected)


@pytest.mark.parametrize("size", [*SOME, 0.0])
@pytest.mark.parametrize("shape", [(), (5,), (2**14 + 1,)])
@pytest.mark.parametrize("in_branch", [False, True])
def test_a_norm_of_a_constant_is_right(size, shape, in_branch):
    """What XLA knows while it compiles it computes otherwise."""
    x = size * jnp.ones(shape) / np.sqrt(max(np.prod(shape), 1))
    unit_of = fnopt.normalize()

    def of_constant(flag):
        def act():
            return global_norm([x, x - x]), unit_of.update(x, unit_of.init(x))[0]

        return jax.lax.cond(flag, act, lambda: (jnp.ones(()), x)) if in_branch else act()

    length, direction = jax.jit(of_constant)(True)
    np.testing.assert_allclose(length, size, 1e-5)
    np.testing.assert_allclose(norm(direction), float(size > 0), 1e-5)


def test_nothing_has_a_norm_of_0():
    for nothing in ({}, [], None, {"a": None}, {"a": jnp.zeros((0, 3))}):
        assert global_norm(nothing) == 0.0 and global_norm(nothing).dtype == jnp.float32
    slopes = jax.grad(global_norm)({"a": jnp.zeros((0, 3)), "b": jnp.zeros(2)})
    assert_close(slopes, {"a": jnp.zeros((0, 3)), "b": jnp.zeros(2)})


def test_a_slope_of_a_slope_is_right():
    x = jnp.array([0.6, 0.8])
    expected = np.array([[0.64, -0.48], [-0.48, 0.36]])
    for size in (1e-18, 1e-12, 1.0, 1e12, 1e18):
        np.testing.assert_allclose(jax.hessian(norm)(size * x) * size, expected, 1e-4, 1e-6)


# What is made of norms: right for each of these sizes of its input.


def unit(size):
    return {"w": size * jnp.array([[0.6, 0.0]]), "b": size * jnp.array([-0.8])}


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("size", SOME)
def test_clips_and_normalizes_updates_of_any_size(size, jitted):
    bound = 1e-3 * size if size < 1 else 1e-3
    for tx, length in (
        (fnopt.clip_by_global_norm(bound), bound),
        (fnopt.clip_by_global_norm(1.5 * size), size),
        (fnopt.normalize(), 1.0),
        (fnopt.normalize_by_update_norm(-2.0, eps=0.0), -2.0),
        (fnopt.normalize_by_update_norm(1.0, eps=3 * size), 0.25),
    ):
        step = jax.jit(tx.update) if jitted else tx.update
        got = step(unit(size), tx.init(unit(size)))[0]
        assert_close(got, unit(np.float32(length)), rtol=2e-6, atol=0)


@pytest.mark.parametrize("size", SOME)
def test_layerwise_methods_take_leaves_of_any_size(size):
    ones = {"w": jnp.ones((1, 2)), "b": jnp.ones(1)}
    lengths = {"w": np.sqrt(2), "b": 1.0}

    def along(share):
        return {
            "w": share * lengths["w"] * jnp.array([[1.0, 0.0]]),
            "b": share * lengths["b"] * jnp.array([-1.0]),
        }

    for tx, share in (
        (fnopt.scale_by_trust_ratio(), 1.0),
        (fnopt.lars(1.0, trust_coefficient=0.5), -0.5),
        (fnopt.adaptive_grad_clip(1e-12, eps=0.0, axis=(0,)), None),
        (fnopt.clip_by_block_rms(1e-12 * size), None),
    ):
        got = jax.jit(tx.update)(unit(size), tx.init(ones), ones)[0]
        if share is not None:
            assert_close(got, along(np.float32(share)), rtol=2e-6, atol=0)
        elif isinstance(tx, fnopt.clip_by_block_rms):
            bound = np.float32(1e-12 * size)
            expected = {"w": bound * np.sqrt(2) * jnp.array([[1.0, 0]]), "b": -bound * jnp.ones(1)}
            assert_close(got, expected, rtol=3e-6, atol=0)
        elif size > 1e-10:
            expected = {"w": 1e-12 * jnp.array([[1.0, 0]]), "b": -1e-12 * jnp.ones(1)}
            assert_close(got, expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize("size", SOME)
def test_sums_clipped_examples_of_any_size(size):
    grads = {"w": size * jnp.array([[0.6], [0.0]]), "b": size * jnp.array([-0.8, 0.0])}
    bound = 0.5 * size if size < 1 else 0.5
    got, clipped = fnopt.per_example_global_norm_clip(grads, bound)
    assert_close(got, {"w": bound * jnp.array([0.6]), "b": jnp.asarray(-bound * 0.8)}, 2e-6, 0)
    assert clipped == 1


def test_clips_what_has_no_norm_that_can_be_represented():
    largest = jnp.full(3, 3.4e38)
    for tx in (fnopt.clip_by_global_norm(2.0), fnopt.chain(fnopt.normalize(), fnopt.scale(2.0))):
        assert_close(apply(tx, largest), jnp.full(3, 2 / np.sqrt(3)), rtol=1e-6)


@pytest.mark.parametrize(
    "size",
    [1e30, 1e-30, *(pytest.param(x, marks=pytest.mark.slow) for x in (1e21, 1.0, 1e-16, 1e-22))],
)
def test_slopes_go_through_normalized_updates_of_any_size(size):
    """Of a unit vector they are those of a projection, over the norm; of LARS's too."""
    x, ones = size * jnp.array([0.6, 0.8]), jnp.ones(2)
    expected = np.array([[0.64, -0.48], [-0.48, 0.36]])
    for tx, length in (
        (fnopt.normalize(), 1.0),
        (fnopt.clip_by_global_norm(size / 4), size / 4),
        (fnopt.scale_by_trust_ratio(), np.sqrt(2)),
    ):
        for jacobian in (jax.jacrev, jax.jacfwd):
            slopes = jacobian(lambda x, tx=tx: apply(tx, x, ones))(x)
            got = np.float64(slopes) * (size / length)
            np.testing.assert_allclose(got, expected, 1e-4, 1e-6)


def test_a_wider_leaf_beside_does_not_spoil_a_narrow_one():
    with jax.enable_x64(True):
        for size in (1e-200, 1e-60, 1e60, 1e200):
            updates = {"narrow": jnp.zeros(2, jnp.float32), "wide": jnp.array([3.0, -4.0]) * size}
            for tx in (fnopt.normalize(), fnopt.clip_by_global_norm(size)):
                length = 1.0 if isinstance(tx, fnopt.normalize) else size
                expected = {**updates, "wide": length * jnp.array([0.6, -0.8])}
                assert_close(apply(tx, updates), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("size", [1e-15, 1e-25, 1e-35, 1e15, 1e25])
def test_cautious_sees_the_sign_of_products_that_cannot_be_represented(dtype, size):
    grad = size * jnp.array([1.0, -2.0, 3.0, 0.5], dtype)
    trace = fnopt.trace(0.9).init(grad)._replace(trace=size * jnp.array([5.0, 5, 5, -9], dtype))
    tx = fnopt.cautious(fnopt.sgd(0.1, momentum=0.9))
    state = tx.init(grad)
    moved = state._replace(inner_state=(trace, *state.inner_state[1:]))
    expected, _ = tx.update(grad / size, jax.tree.map(lambda x: x / size, moved))
    assert np.any(expected != 0) and np.any(expected == 0)
    assert_close(tx.update(grad, moved)[0] / size, expected, 1e-5, 0)


# What it costs.


def test_norms_of_sharded_leaves():
    mesh = Mesh(np.array(jax.devices()), ("device",))
    n = mesh.size
    place = NamedSharding(mesh, PartitionSpec("device"))
    plain = [jnp.linspace(1.0, 2.0, 3 * n).reshape(n, 3), jnp.ones((2 * n,))]
    for size in (1e25, 1.0, 1e-25):
        tree = [size * x for x in plain]
        spread = jax.device_put(tree, place)
        assert_close(jax.jit(global_norm)(spread) / size, global_norm(plain), rtol=1e-6)
        clipped = jax.jit(fnopt.clip_by_global_norm(0.5 * size).update)(spread, ())[0]
        assert all(x.sharding.is_equivalent_to(place, x.ndim) for x in clipped)


def test_a_norm_copies_nothing():
    x = jax.ShapeDtypeStruct((512, 1024), jnp.float32)
    compiled = compiled_as_usual(jax.jit(lambda x, y: global_norm([x, y])).lower(x, x))
    assert compiled.memory_analysis().temp_size_in_bytes < 1e5


def test_leaves_of_one_shape_are_traced_once(monkeypatch):
    traced = []
    squares = fnopt.core.norms._squares
    monkeypatch.setattr(
        "fnopt.core.norms._squares", lambda *given: traced.append(1) or squares(*given)
    )
    x = jnp.ones((7, 11))
    jax.make_jaxpr(lambda xs: [norm(x) for x in xs])([x, 2 * x, 3 * x])
    once = len(traced)
    jax.make_jaxpr(lambda xs: [norm(x) for x in xs])([x] * 9)
    assert once == len(traced) > 0


def test_a_length_needs_no_leaves():
    assert scale_to_length([], 1.0) == []
    tx = fnopt.normalize()
    assert tx.update({}, tx.init({}))[0] == {}
