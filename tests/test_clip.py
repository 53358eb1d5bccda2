"""Clipping by value and by the global norm, against NumPy in double precision and optax."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fnopt

ELEMENT = st.integers(-40, 40).map(lambda quarters: quarters / 4)
BOUND = st.integers(1, 40).map(lambda quarters: quarters / 4)
SHAPE = st.lists(st.integers(0, 3), max_size=3).map(tuple)
DTYPE = st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16])
some_trees = settings(max_examples=50, deadline=None)


@st.composite
def _leaf(draw: Any) -> np.ndarray:
    shape = draw(SHAPE)
    size = int(np.prod(shape))
    elements = draw(st.lists(ELEMENT, min_size=size, max_size=size))
    return np.array(elements, draw(DTYPE)).reshape(shape)


# Trees of leaves of mixed shapes and dtypes; empty ones, and None in them, included.
TREE = st.recursive(
    _leaf() | st.none(),
    lambda tree: (
        st.lists(tree, max_size=3) | st.dictionaries(st.sampled_from("abc"), tree, max_size=3)
    ),
    max_leaves=5,
)


def apply(tx: Any, updates: Any) -> Any:
    return tx.update(updates, tx.init(updates))[0]


def assert_close(got: Any, want: Any) -> None:
    """Same structure, shapes and dtypes; equal to one rounding of each leaf's dtype."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_allclose(
            np.complex128(one), np.complex128(other), rtol=2 * float(jnp.finfo(one.dtype).eps)
        )


def numpy_norm(tree: Any) -> float:
    return np.sqrt(sum((np.float64(leaf) ** 2).sum() for leaf in jax.tree.leaves(tree)))


@some_trees
@given(TREE, st.just(0.0) | BOUND)
def test_clip_bounds_every_element(updates, bound):
    want = jax.tree.map(lambda x: np.clip(np.float64(x), -bound, bound).astype(x.dtype), updates)
    assert_close(apply(fnopt.clip(bound), updates), want)


@some_trees
@given(TREE, BOUND)
def test_clip_by_global_norm_scales_all_to_the_norm(updates, bound):
    share = min(1.0, bound / (numpy_norm(updates) or 1.0))
    want = jax.tree.map(lambda x: (np.float64(x) * share).astype(x.dtype), updates)
    assert_close(apply(fnopt.clip_by_global_norm(bound), updates), want)


@pytest.mark.beside_optax
@pytest.mark.parametrize("name", ["clip", "clip_by_global_norm"])
def test_is_optaxs_of_that_name(name):
    @some_trees
    @given(TREE, BOUND)
    def check(updates, bound):
        # Of optax's, the scale itself is rounded to a narrow leaf's dtype: compare wide.
        updates = jax.tree.map(np.float32, updates)
        theirs = apply(getattr(optax, name)(bound), updates)
        assert_close(apply(getattr(fnopt, name)(bound), updates), theirs)

    check()


@pytest.mark.parametrize("tx", [fnopt.clip(1.0), fnopt.clip_by_global_norm(1.0)], ids=repr)
def test_zero_stays_zero_and_small_updates_stay_bit_for_bit(tx):
    updates = {"a": jnp.zeros((2, 3)), "b": jnp.zeros((), jnp.bfloat16)}
    assert_close(apply(tx, updates), updates)
    updates = {"a": jnp.array([0.1, -0.3]), "b": jnp.array(0.7, jnp.bfloat16)}
    got = apply(tx, updates)
    jax.tree.map(np.testing.assert_array_equal, got, updates)


def test_the_norm_of_narrow_updates_is_computed_wide():
    # In bfloat16 a sum of ones stands still at 256, and in float16 300**2 is infinite.
    ones = jnp.ones(10_000, jnp.bfloat16)
    np.testing.assert_array_equal(
        apply(fnopt.clip_by_global_norm(50.0), ones), jnp.full_like(ones, 0.5)
    )
    large = jnp.array([300.0, -400.0], jnp.float16)
    np.testing.assert_array_equal(apply(fnopt.clip_by_global_norm(5.0), large), [3, -4])


def test_the_norm_is_that_of_magnitudes_and_of_the_widest_leaf():
    with jax.enable_x64(True):
        updates = {"c": jnp.array([3 + 4j]), "f": jnp.array([12.0], jnp.float32)}
        got = apply(fnopt.clip_by_global_norm(6.5), updates)
        assert_close(got, {"c": jnp.array([1.5 + 2j]), "f": jnp.array([6.0], jnp.float32)})


@pytest.mark.parametrize(
    ("clip", "rate"), [(fnopt.clip, 1.0), (fnopt.clip_by_global_norm, 0.6)], ids=["clip", "norm"]
)
def test_the_bound_may_be_scheduled(clip, rate):
    tx = clip(fnopt.linear_schedule(1.0, 3.0, 2))
    updates = jnp.array([3.0, -4.0])
    state = tx.init(updates)
    for bound in (1.0, 2.0, 3.0, 3.0):
        told = fnopt.hyperparameters(tx, state)
        got, state = tx.update(updates, state)
        assert list(told.values()) == [bound]
        np.testing.assert_allclose(got[0], rate * bound, rtol=1e-6)


@pytest.mark.parametrize(
    ("size", "least", "most"),
    [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (1.0, 0.0, 0.6), (2.0, 0.6, 0.6)],
    ids=["zero", "below", "at the bound", "above"],
)
def test_derivatives_are_right_and_finite_everywhere(size, least, most):
    by_bound, by_updates = jax.grad(lambda tx, updates: apply(tx, updates)[0], (0, 1))(
        fnopt.clip_by_global_norm(1.0), size * jnp.array([0.6, -0.8])
    )
    assert np.isfinite(by_updates).all()
    assert least - 1e-6 <= by_bound.max_norm <= most + 1e-6
