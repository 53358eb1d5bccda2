"""Eager arrays cut from buffers: the right values, by few programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnopt import Packing
from fnopt.core import buffers


def params():
    rows = {f"row_{i}": jnp.arange(5.0) + i for i in range(30)}
    return rows | {"square": jnp.arange(9.0).reshape(3, 3)}


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_eager_leaves_of_one_shape_are_cut_by_one_program():
    packing = Packing.of(None, params())
    packed = packing.pack(params())
    before = buffers._part._cache_size()
    assert_same(packing.unpack(packed), params())
    assert buffers._part._cache_size() - before <= 2


@pytest.mark.parametrize("kind", ["numpy", "more axes", "constants of a program"])
def test_what_is_unpacked_eagerly_is_what_was_packed(kind):
    packing, tree = Packing.of(None, params()), params()
    if kind == "more axes":
        tree = jax.tree.map(lambda x: jnp.stack([x, x + 1]), tree)
    packed = packing.pack(tree)
    if kind == "numpy":
        packed = jax.tree.map(np.asarray, packed)
    unpack = jax.jit(lambda: packing.unpack(packed)) if kind[0] == "c" else packed.unpack
    assert_same(unpack(), tree)
