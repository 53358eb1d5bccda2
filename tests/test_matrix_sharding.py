"""Matrix methods where parameters are cut over eight devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import fnopt
from fnopt.matrix.spread import spread_like

STACK = "stack/kernel"
SHAPES = {"kernel": (24, 24), STACK: (8, 8, 8), "bias": (24,)}


@pytest.fixture(scope="module")
def mesh():
    return Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "model"))


def randoms(seed):
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(rng.normal(size=shape), jnp.float32) for k, shape in SHAPES.items()}


def placed(tree, mesh):
    specs = {
        "kernel": PartitionSpec("data", "model"),
        STACK: PartitionSpec(("data", "model")),
        "bias": PartitionSpec(),
    }
    return {k: jax.device_put(x, NamedSharding(mesh, specs[k])) for k, x in tree.items()}


def on_a_device(state):
    """Bytes of the state on the first device."""
    first = jax.devices()[0]
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(state)
        for shard in leaf.addressable_shards
        if shard.device == first
    )


@pytest.mark.parametrize(
    "name",
    [
        "soap",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("muon", "normuon", "scion", "dion2", "shampoo", "kl_soap", "psgd_kron")
        ),
    ],
)
def test_a_run_on_eight_devices_is_that_on_one(name, mesh):
    """Five updates, every slot staying where ``init`` has put it."""
    tx = getattr(fnopt, name)(0.01, matrices=((STACK, "stack in out"), ("bias", "other")))
    params = randoms(0)
    state = tx.init(params)
    cut = placed(params, mesh)
    cut_state = tx.init(cut)
    everywhere = NamedSharding(mesh, PartitionSpec())
    where = jax.tree.map(
        lambda x: x.sharding if len(x.sharding.device_set) == 8 else everywhere, cut_state
    )
    one = jax.jit(tx.update)
    eight = jax.jit(tx.update, out_shardings=(jax.tree.map(lambda x: x.sharding, cut), where))
    whole = sum(x.nbytes for x in jax.tree.leaves(state))
    small = sum(x.nbytes for x in jax.tree.leaves(state) if x.size < 8 or x.shape == (24,))
    assert on_a_device(cut_state) <= (whole - small) / 8 + small
    for seed in range(1, 6):
        grads = randoms(seed)
        updates, state = one(grads, state, params)
        cut_updates, cut_state = eight(placed(grads, mesh), cut_state, cut)
        for k in SHAPES:
            np.testing.assert_allclose(cut_updates[k], updates[k], rtol=1e-3, atol=1e-5)
    assert jax.tree.map(lambda x: x.sharding, cut_state) == where


def test_slots_are_cut_where_the_devices_of_their_parameter_divide_them(mesh):
    def spec(names, shape):
        param = jax.device_put(jnp.zeros((8, 8)), NamedSharding(mesh, PartitionSpec(*names)))
        return spread_like(param, jnp.zeros(shape)).sharding.spec

    assert spec(["data"], (4, 6, 6)) == PartitionSpec(("data",))
    assert spec(["data"], (1, 8, 8)) == PartitionSpec(None, ("data",))
    assert spec([None, "model"], (3, 5, 2)) == PartitionSpec(None, None, ("model",))
    assert spec(["data", "model"], (4, 8, 8)) == PartitionSpec(None, ("data", "model"))
    assert spec([("model", "data")], (8, 3)) == PartitionSpec(("model", "data"))
    assert spec(["data"], (1, 3, 3)) == spec([], (8, 8)) == PartitionSpec()
    assert spec(["data"], (4, 0, 4)) == PartitionSpec(("data",))


def test_slots_of_what_is_on_one_device_stay_there():
    slot = jnp.zeros((8, 8))
    assert spread_like(jnp.zeros((8, 8)), slot) is slot
    assert spread_like(np.zeros((8, 8)), slot) is slot
