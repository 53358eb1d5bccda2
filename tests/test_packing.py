"""Packed trees: what lies where, and that whatever takes a tree takes them."""

from __future__ import annotations

import copy
import pickle
import sys

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import Case
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from laws import LAWS, assert_close, assert_same

import fnopt
import fnopt.train  # teaches flax's serialization what a packed tree is
from fnopt import Packed, Packing
from fnopt.core import Rule, divide, norm, zeros
from fnopt.core.packed_trees import packing_in, unpacked

HOME = sys.modules[__name__]


def params(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {"kernel": (3, 4), "bias": (4,), "scale": (), "head": (4, 2)}
    return {
        name: jax.random.normal(key, shape, dtype)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def grads(i=1):
    return jax.tree.map(lambda p: jnp.sin(3 * p + i), params())


def updates_of(tx, given, steps=3, state=None, lay=lambda tree: tree):
    """The updates of some steps on given parameters, and the last state."""
    state, found = tx.init(lay(given)) if state is None else state, []
    update = jax.jit(tx.update)
    for i in range(steps):
        updates, state = update(lay(grads(i)), state, lay(given))
        found.append(unpacked(updates))
    return found, unpacked(state)


# Layouts

DTYPES = ("float32", "bfloat16", "float16", "complex64", "int32")
leaves = st.builds(
    lambda shape, dtype: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from(DTYPES).map(jnp.dtype),
)
trees = st.recursive(
    leaves | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(trees, st.sampled_from([0, 4, 8, 24, None]))
def test_a_tree_comes_back_from_the_fewest_buffers(tree, limit):
    packing = Packing.of(None, tree, limit)
    packed = packing.pack(tree)
    flat = jax.tree.leaves(tree)
    assert_same(packing.unpack(packed), tree)
    for leaf, back in zip(flat, jax.tree.leaves(packed.unpack()), strict=True):
        assert leaf.dtype == back.dtype and leaf.shape == back.shape
    small = [
        leaf
        for leaf in flat
        if jnp.issubdtype(leaf.dtype, jnp.inexact)
        and leaf.size
        and (limit is None or leaf.nbytes <= limit)
    ]
    by_dtype = [sum(leaf.dtype == dtype for leaf in small) for dtype in map(jnp.dtype, DTYPES)]
    assert len(packing.buffers) == sum(n > 1 for n in by_dtype)
    assert len(packed.entries) == len(flat) - sum(n - 1 for n in by_dtype if n > 1)
    for path, leaf in zip(packing.paths, flat, strict=True):
        entry, offset, shape = packing.place(path) if packing.paths.count(path) == 1 else (0, 0, 0)
        if shape == leaf.shape:
            here = np.asarray(packed.entries[entry])
            here = here if offset is None else here[offset : offset + leaf.size]
            np.testing.assert_array_equal(here.reshape(shape), leaf)


def test_the_limit_is_the_greatest_size_that_is_packed():
    tree = {"a": jnp.ones(4), "b": jnp.ones(4), "c": jnp.ones(5)}
    sizes = {limit: len(Packing.of(None, tree, limit).pack(tree).entries) for limit in (15, 16, 20)}
    assert sizes == {15: 3, 16: 2, 20: 1}
    big = {"a": jnp.ones(2**14), "b": jnp.ones(2**14), "c": jnp.ones(2**14 + 1)}
    assert len(Packing.of(None, big).pack(big).entries) == 2  # 64 KiB unless said otherwise


def test_one_leaf_lies_by_itself():
    packing = Packing.of(None, {"w": jnp.ones(3), "n": jnp.ones(3, jnp.bfloat16)})
    assert packing.buffers == () and packing.place("w").offset is None


def test_leaves_of_one_treatment_share_a_buffer():
    tx = fnopt.adamw(1e-3, mask=fnopt.decay_mask)
    tree = {f"layer_{i}": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)} for i in range(3)}
    packing = Packing.of(tx, tree)
    together = [{packing.paths[i].split("/")[1] for i in buffer} for buffer in packing.buffers]
    assert together == [{"bias"}, {"kernel"}]
    groups = fnopt.groups(("layer_0/*", 0.5), ("*", {}), base=fnopt.adam(1e-3))
    first = Packing.of(groups, tree)
    assert {packing.place(f"layer_{i}/bias").entry for i in range(3)} == {0}
    assert first.place("layer_0/bias").entry != first.place("layer_1/bias").entry
    # A method for matrices keeps no slots that could be packed.
    assert Packing.of(fnopt.sm3(1e-3), {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 2))}).buffers == ()
    assert Packing.of(optax.adam(1e-3), tree).buffers == ()


def test_equal_layouts_are_equal_and_compile_once():
    traces = []

    @jax.jit
    def total(packed):
        traces.append(0)
        return sum(jnp.sum(x) for x in jax.tree.leaves(packed))

    for _ in range(3):
        packing = Packing.of(fnopt.adam(1e-3), params())
        total(packing.pack(params()))
    other = Packing.of(fnopt.adam(1e-3), params(), 16)
    assert packing == Packing.of(None, params()) != other and hash(packing) != hash(other)
    assert len(traces) == 1 and total._cache_size() == 1


# Transformations


def loss(tree):
    hidden = jnp.tanh(jnp.ones((2, 3)) @ tree["kernel"] + tree["bias"][None])
    return jnp.sum((tree["scale"] * hidden @ tree["head"]) ** 2)


def test_the_gradient_arrives_packed_by_concatenation():
    packing = Packing.of(None, params())
    packed = packing.pack(params())
    grad = jax.grad(lambda p: loss(packing.unpack(p)))
    assert isinstance(grad(packed), Packed) and grad(packed).packing == packing
    assert_close(packing.unpack(grad(packed)), jax.grad(loss)(params()), 1e-6, 1e-6)
    jaxpr = str(jax.make_jaxpr(grad)(packed))
    assert "concatenate" in jaxpr and " pad[" not in jaxpr


def test_they_go_through_the_transformations():
    packing = Packing.of(None, params())
    packed = packing.pack(params())
    shapes = jax.eval_shape(packing.pack, params())
    assert shapes.packing == packing and [x.shape for x in shapes.entries] == [(25,)]
    assert jax.eval_shape(packing.unpack, shapes)["kernel"].shape == (3, 4)
    many = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), params())
    in_vmap = jax.vmap(packing.pack)(many)
    assert_same(in_vmap, packing.pack(many))
    assert_same(jax.vmap(packing.unpack)(in_vmap), many)
    doubled, _ = jax.lax.scan(
        lambda p, _: (jax.tree.map(lambda x: 2 * x, p), None), packed, length=3
    )
    assert_same(doubled.unpack(), jax.tree.map(lambda x: 8 * x, params()))


def test_hessian_vector_products():
    packing = Packing.of(None, params())

    def product(loss, at, along):
        return jax.jvp(jax.grad(loss), (at,), (along,))[1]

    packed = product(
        lambda p: loss(packing.unpack(p)), packing.pack(params()), packing.pack(grads())
    )
    assert_close(packed.unpack(), product(loss, params(), grads()), 1e-5, 1e-5)


def test_sharded_leaves_lie_by_themselves_and_replicated_ones_together():
    mesh = Mesh(np.array(jax.devices()), ("device",))
    n = mesh.size
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("device",), ()))
    tree = {
        "a": jax.device_put(jnp.arange(float(n)), split),
        "b": jax.device_put(jnp.arange(2.0 * n), split),
        "c": jax.device_put(jnp.ones(3), whole),
        "d": jax.device_put(jnp.ones((2, 2)), whole),
        "e": jnp.ones(3),
        "f": jnp.ones(2),
    }
    packing = Packing.of(fnopt.adam(1e-3), tree)
    named = [tuple(packing.paths[i] for i in buffer) for buffer in packing.buffers]
    assert named == [("c", "d"), ("e", "f")]
    sharded = {name: tree[name] for name in "abcd"}
    tx = fnopt.packed(fnopt.adam(1e-3))
    state = tx.init(sharded)
    for _ in range(2):
        updates, state = jax.jit(tx.update)(sharded, state, sharded)
        mu = state[0].mu
        assert mu.entries[mu.packing.place("a").entry].sharding.is_equivalent_to(split, 1)
        assert updates["a"].sharding.is_equivalent_to(split, 1)
    assert_close(updates["d"], updates["d"][:1, :1] * jnp.ones((2, 2)))


# Copies


@pytest.mark.parametrize("by", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies(by):
    packing = Packing.of(None, params())
    assert by(packing) == packing and hash(by(packing)) == hash(packing)
    assert_same(by(packing.pack(params())).unpack(), params())
    tx = fnopt.packed(fnopt.adam(1e-3), limit=100)
    assert by(tx) == tx
    assert_same(by(tx.init(params())), tx.init(params()))


def test_flax_restores_by_name_into_any_layout():
    tx = fnopt.adam(1e-3)
    _, state = updates_of(tx, params())
    stored = flax.serialization.to_bytes(state)
    for limit in (0, 20, None):
        other = fnopt.packed(tx, limit=limit)
        restored = flax.serialization.from_bytes(other.init(params()), stored)
        assert_same(unpacked(restored), state)
        assert flax.serialization.to_bytes(restored) == stored


# Errors


def answers(call, *words, kind=ValueError):
    with pytest.raises(kind) as error:
        call()
    assert all(word in str(error.value) for word in words), str(error.value)
    assert len(str(error.value)) <= 400


@pytest.mark.parametrize("limit", [True, "64k", 1.5, 65536.0])
def test_a_limit_that_is_no_number_of_bytes_is_refused(limit):
    for what, make in (
        ("packed", lambda: fnopt.packed(fnopt.adam(1e-3), limit=limit)),
        ("Packing.of", lambda: Packing.of(None, params(), limit)),
    ):
        answers(make, what, "limit", repr(limit), "at least 0", kind=TypeError)


def test_a_negative_limit_is_refused():
    answers(lambda: fnopt.packed(fnopt.adam(1e-3), limit=-1), "packed: limit", "-1", "at least 0")
    answers(lambda: Packing.of(None, params(), -1), "Packing.of: limit", "-1", "at least 0")
    assert Packing.of(None, params(), np.int64(16)) == Packing.of(None, params(), 16)


def test_trees_of_other_parameters_are_refused_by_path():
    packing, tree = Packing.of(None, params()), params()
    lacking = {name: leaf for name, leaf in tree.items() if name != "bias"}
    answers(lambda: packing.pack(lacking), "['bias']", "Packing.of(tx, params)")
    answers(lambda: packing.pack(list(tree.values())), "['bias']", "Packing.of(tx, params)")
    crooked = tree | {"head": jnp.ones((4, 3))}
    answers(lambda: packing.pack(crooked), "['head']", "(4, 3)", "(4, 2)", "Packing.of")
    other = Packing.of(None, tree, 16)
    answers(lambda: packing.unpack(other.pack(tree)), "another layout", "packed.packing.unpack")
    answers(lambda: packing.pack(other.pack(tree)), "another layout", "packed.packing.unpack")
    with pytest.raises(KeyError, match="no leaf has the path 'neck'; there are bias"):
        packing.place("neck")


def test_leaves_that_an_optimizer_treats_differently_are_not_packed_for_it():
    packed = Packing.of(None, params()).pack(params())
    tx = fnopt.adamw(1e-3, mask=fnopt.decay_mask)
    answers(lambda: tx.init(packed), "in one buffer", "differently", "Packing.of(tx, params)")


def test_packed_and_unpacked_trees_may_meet():
    tx = fnopt.sgd(0.1, momentum=0.9)
    packing, tree = Packing.of(tx, params()), params()
    packed = packing.pack(tree)
    (expected,), _ = updates_of(tx, tree, steps=1)
    for updates, own in ((packing.pack(grads(0)), tree), (grads(0), packed)):
        for one in (tx, fnopt.packed(tx)):
            found, _ = one.update(updates, one.init(packed), own)
            # As the parameters are, which they are added to.
            assert jax.tree.structure(found) == jax.tree.structure(own)
            assert_close(unpacked(found), expected)


# Where optimizers go


def decayed(tree):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, tree)


def labels(tree):
    return jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "other", tree)


OPTIMIZERS = {
    "mask": fnopt.adamw(1e-2, weight_decay=0.1, mask=decayed),
    "groups": fnopt.groups(
        ("head", {"learning_rate": fnopt.cosine_decay_schedule(0.1, 9)}),
        ("kernel", {"multiplier": 0.5}),
        ("scale", "freeze"),
        ("*", {}),
        base=fnopt.sgd(0.1, momentum=0.9),
    ),
    "partition": fnopt.partition(
        {"matrix": fnopt.adam(1e-2), "other": fnopt.sgd(0.1, 0.5)}, labels
    ),
    "selective": fnopt.selective_transform(fnopt.adam(1e-2), freeze_mask=decayed),
    "freeze": fnopt.freeze(decayed),
    "MultiSteps": fnopt.MultiSteps(fnopt.adam(1e-2), 2),
    "chain": fnopt.chain(fnopt.clip_by_global_norm(0.5), fnopt.adam(1e-2)),
    "lamb": fnopt.lamb(1e-2),
    "galore": fnopt.galore(1e-2, rank=1),
    "adafactor": fnopt.adafactor(1e-2),
    "schedule_free": fnopt.schedule_free_sgd(0.1),
    "foreign": fnopt.chain(optax.clip(0.5), fnopt.trace(0.9)),
}


SLOW = {"adafactor", "galore", "schedule_free", "selective", "foreign"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in OPTIMIZERS],
)
def test_optimizers_packed(name):
    tx = OPTIMIZERS[name]
    expected = updates_of(tx, params())
    packing = Packing.of(tx, params())
    for found in (
        updates_of(fnopt.packed(tx), params()),
        updates_of(fnopt.packed(tx, limit=None), params()),
        updates_of(tx, params(), lay=packing.pack),
    ):
        for part in (0, 1):
            pairs = (jax.tree.leaves(run[part]) for run in (found, expected))
            assert_close(*pairs, 1e-5, 1e-6)


INNER = fnopt.adam(1e-2)


@pytest.mark.beside_optax
@pytest.mark.parametrize(
    "around",
    [
        lambda tx: fnopt.MultiSteps(tx, 2),
        lambda tx: optax.MultiSteps(tx, 2).gradient_transformation(),
        lambda tx: optax.chain(optax.clip(0.5), tx),
        lambda tx: optax.masked(tx, decayed),
        lambda tx: optax.partition({"matrix": tx, "other": optax.sgd(0.1)}, labels),
        lambda tx: fnopt.masked(tx, decayed),
        lambda tx: fnopt.chain(fnopt.clip_by_global_norm(0.1), tx),
        lambda tx: fnopt.partition({"matrix": tx, "other": fnopt.sgd(0.1)}, labels),
        lambda tx: fnopt.groups(("*", tx)),
        lambda tx: fnopt.selective_transform(tx, freeze_mask=decayed),
        lambda tx: fnopt.apply_if_finite(tx, 3),
        lambda tx: fnopt.packed(tx, limit=20),
    ],
)
def test_what_is_around_packed(around):
    expected = updates_of(around(INNER), params())
    found = updates_of(around(fnopt.packed(INNER)), params())
    for part in (0, 1):
        pairs = (jax.tree.leaves(run[part]) for run in (found, expected))
        assert_close(*pairs, 1e-5, 1e-6)


def test_hyperparameters_are_injected():
    inject = optax.inject_hyperparams(lambda learning_rate: fnopt.packed(fnopt.adam(learning_rate)))
    found, state = updates_of(inject(learning_rate=1e-2), params())
    assert_close(found, updates_of(INNER, params())[0], 1e-5, 1e-6)
    assert state.hyperparams["learning_rate"] == np.float32(1e-2)


def test_optimizers_are_stacked():
    rates = jnp.array([1e-2, 2e-2])

    @jax.jit
    def run(rate):
        tx = fnopt.packed(fnopt.adam(rate))
        return tx.update(grads(), tx.init(params()), params())[0]

    together = jax.vmap(run)(rates)
    for i, rate in enumerate((1e-2, 2e-2)):
        assert_close(jax.tree.map(lambda x: x[i], together), run(rate), 1e-5, 1e-6)  # noqa: B023


def test_nnx_optimizer():
    class Net(nnx.Module):
        def __init__(self):
            self.layers = nnx.List([nnx.Linear(2, 2, rngs=nnx.Rngs(i)) for i in range(2)])

        def __call__(self, x):
            return self.layers[1](jnp.tanh(self.layers[0](x)))

    def train(tx):
        model = Net()
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @nnx.jit
        def step(model, optimizer):
            grads = nnx.grad(lambda model: jnp.sum(model(jnp.ones((3, 2))) ** 2))(model)
            optimizer.update(model, grads)

        for _ in range(3):
            step(model, optimizer)
        return jax.tree.leaves(nnx.state(model, nnx.Param)), len(
            jax.tree.leaves(nnx.state(optimizer, nnx.optimizer.OptState))
        )

    (found, few), (expected, many) = train(fnopt.packed(INNER)), train(INNER)
    assert_close(found, expected, 1e-5, 1e-6)
    assert few < many


@pytest.mark.parametrize("wide", [False, True])
def test_dtypes(wide):
    tree = params(jnp.bfloat16)
    if wide:
        tree["head"], tree["bias"] = tree["head"].astype("float32"), tree["bias"].astype("float32")
    tx = fnopt.adamw(1e-2)
    packing = Packing.of(tx, tree)
    assert len(packing.buffers) == 1 + wide
    given = jax.tree.map(lambda p: jnp.sin(3 * p), tree)
    expected, _ = jax.jit(tx.update)(given, tx.init(tree), tree)
    wrapped = fnopt.packed(tx)
    found, _ = jax.jit(wrapped.update)(given, wrapped.init(tree), tree)
    assert jax.tree.map(jnp.result_type, found) == jax.tree.map(jnp.result_type, expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a.astype("float32"), b.astype("float32"), 1e-2, 1e-6)


def test_tools_of_optax_read_a_packed_state():
    tx = fnopt.packed(INNER)
    state = tx.init(params())
    assert optax.tree.get(state, "count") == 0
    assert isinstance(optax.tree.get(state, "mu"), Packed)
    marked = optax.tree.map_params(tx, lambda x: x + 1, state)
    assert_same(marked[0].mu.unpack(), jax.tree.map(jnp.ones_like, params()))
    assert marked[0].count == state[0].count


def test_the_layout_is_that_of_the_state():
    tx = fnopt.packed(INNER)
    state = tx.init(params())
    assert packing_in(state) == Packing.of(INNER, params())
    lacking = {name: leaf for name, leaf in grads().items() if name != "bias"}
    answers(lambda: tx.update(lacking, state, lacking), "updates", "['bias']")
    # The state of the wrapper, given to the optimizer itself with a tree.
    answers(lambda: INNER.update(grads(), state, params()), "packed")


# The law


class by_norm(Rule):
    """A rule that says of itself what is not so: it needs the norm of a leaf."""

    elementwise = True

    def init_leaf(self, param):
        return {"trace": zeros(param)}

    def update_leaf(self, grad, slots, param, ctx):
        return divide(grad, norm(grad), eps=1e-6), {"trace": grad}


class by_row(Rule):
    """Another one, which needs the index along an axis."""

    elementwise = True

    def init_leaf(self, param):
        return {"trace": zeros(param)}

    def update_leaf(self, grad, slots, param, ctx):
        row = jnp.arange(1, 1 + jnp.size(grad), dtype=grad.dtype).reshape(grad.shape)
        return row * grad, {"trace": row * grad}


@pytest.mark.parametrize("name", ["by_norm", "by_row"])
@pytest.mark.parametrize("kind", ["parameters", "slots"])
def test_a_rule_that_is_wrong_about_itself_fails_the_law(name, kind):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        LAWS[f"packs_{kind}"].holds_for(Case(name, "", rate=0.1, home=HOME))
