"""Layers in loops: what is seen of them is what is seen of the same network written out."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import fnopt
from fnopt.initialize import diagnose, lsuv, mup
from fnopt.layers import Layers, Loop, backward, by_repetition, rows_by_unit
from fnopt.train import objective

KEY = jax.random.key(0)
DEPTH, WIDTH, EXAMPLES = 3, 8, 24


def squared(outputs):
    return jnp.mean(outputs**2)


def drawn(shapes, gain=1.0):
    keys = jax.random.split(KEY, len(shapes))
    return {
        name: gain * jax.random.normal(key, shape) / shape[-2] ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


BATCH = jax.random.normal(jax.random.key(1), (EXAMPLES, 3))
MLP = drawn(
    {
        "first": (3, WIDTH),
        "in": (DEPTH, WIDTH, 12),
        "out": (DEPTH, 12, WIDTH),
        "bias": (DEPTH, 1, 12),
        "last": (WIDTH, 2),
    }
)
STACKED = ("in", "out", "bias")


def block(x, w):
    """A residual block, rematerialized, with a jitted function and one with an own derivative."""
    hidden = jax.nn.relu(jax.jit(jnp.matmul)(x, w["in"]) + w["bias"])
    return x + jax.checkpoint(jnp.matmul)(hidden, w["out"])


def scanned(params, batch, **options):
    x = jnp.tanh(batch @ params["first"])
    stack = {name: params[name] for name in STACKED}
    x, _ = jax.lax.scan(lambda x, w: (block(x, w), None), x, stack, **options)
    return x @ params["last"]


def written_out(params, batch, order=range(DEPTH)):
    x = jnp.tanh(batch @ params["first"])
    for i in order:
        x = block(x, {name: params["blocks"][i][name] for name in STACKED})
    return x @ params["last"]


def unstacked(params):
    """The parameters of the network written out."""
    blocks = [{name: params[name][i] for name in STACKED} for i in range(DEPTH)]
    return {"first": params["first"], "blocks": blocks, "last": params["last"]}


def test_a_scanned_layer_is_found_with_its_path_and_its_stack():
    layers = Layers(lambda p, x: squared(scanned(p, x)), MLP, BATCH)
    stack = (Loop(DEPTH, stacked=True, axis=0),)
    seen = [(x.name, x.kind, x.function, x.units, x.loops, x.repetitions) for x in layers.layers]
    assert seen == [
        ("first", "dense", "tanh", (1,), (), 1),
        ("in", "dense", "relu", (1,), stack, DEPTH),
        ("out", "dense", "", (1,), stack, DEPTH),
        ("last", "dense", "", (1,), (), 1),
    ]
    assert layers.unseen == ()
    in_order = [(layers.name(use), use.depth, use.hidden) for use in layers.repetitions]
    expected = [("first", 1, True)]
    for i in range(DEPTH):
        expected += [(f"in[{i}]", 2 + 2 * i, True), (f"out[{i}]", 3 + 2 * i, True)]
    assert in_order == [*expected, ("last", 2 + 2 * DEPTH, False)]


def test_values_and_gradients_are_those_of_the_network_written_out():
    def of(function, params):
        layers = Layers(lambda p, x: squared(function(p, x)), params, BATCH)
        at = {x.preactivation: lambda value: value for x in layers.layers}
        return layers, jax.jit(functools.partial(backward, layers, at))(params, BATCH)

    layers, passed = of(scanned, MLP)
    plain, expected = of(written_out, unstacked(MLP))
    close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=1e-6)
    close(passed.loss, expected.loss)
    jax.tree.map(close, passed.grads, jax.grad(lambda p: squared(scanned(p, BATCH)))(MLP))
    assert len(layers.repetitions) == len(plain.layers)
    for use, other, delta in zip(
        layers.repetitions, plain.layers, expected.preactivation_grads, strict=True
    ):
        layer = layers.layers[use.layer]
        value = by_repetition(layer, passed.recorded[layer.preactivation])[layers.row(use)]
        close(value, expected.recorded[other.preactivation])
        rows = rows_by_unit(layer, passed.preactivation_grads[use.layer])[layers.row(use)]
        close(rows, delta)


def test_the_metrics_are_those_of_the_network_written_out():
    tx = fnopt.sgd(0.01)
    found = diagnose(lambda p, x: squared(scanned(p, x)), MLP, BATCH, optimizer=tx)
    params = unstacked(MLP)
    expected = diagnose(lambda p, x: squared(written_out(p, x)), params, BATCH, optimizer=tx)
    assert found.unseen == () and found.faults == expected.faults == ()
    assert [x.units for x in found.layers] == [WIDTH, *[12, WIDTH] * DEPTH, 2]
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        for name, value in ours._asdict().items():
            if name != "layer":
                other = getattr(theirs, name)
                if isinstance(value, float):
                    np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-6, err_msg=name)
                else:
                    assert value == other, name


@pytest.mark.parametrize(
    ("fault", "change"),
    [
        ("zero", lambda x: 0 * x),
        ("equal", lambda x: jnp.full_like(x, 0.1)),
        ("exploding", lambda x: 2000 * x),
    ],
)
def test_a_fault_in_one_repetition_is_named(fault, change):
    def loss(params, batch):
        x = jnp.tanh(batch @ params["first"])
        x, _ = jax.lax.scan(lambda x, w: (jax.nn.relu(x @ w), None), x, params["stack"])
        return squared(x @ params["last"])

    params = drawn({"first": (3, 32), "stack": (DEPTH, 32, 32), "last": (32, 2)}, gain=2**0.5)
    assert diagnose(loss, params, BATCH).faults == ()
    bad = params | {"stack": params["stack"].at[1].set(change(params["stack"][1]))}
    found = diagnose(loss, bad, BATCH)
    assert [(x.layer, x.fault) for x in found.faults] == [("stack[1]", fault)]
    assert "stack[1]: " in found.verdict


@pytest.mark.parametrize("orthonormal", [True, False])
def test_lsuv_scales_each_repetition(orthonormal):
    params = MLP | {"bias": 0.1 * MLP["bias"]}
    ours = lsuv(scanned, params, BATCH, key=KEY, tol_var=1e-3, orthonormal=orthonormal)
    np.testing.assert_array_equal(ours["bias"], params["bias"])
    spreads = [x.std for x in diagnose(lambda p, x: squared(scanned(p, x)), ours, BATCH).layers]
    np.testing.assert_allclose(spreads, 1, atol=1e-3)
    if orthonormal:
        for w in map(np.asarray, (*ours["in"], *ours["out"])):
            product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
            np.testing.assert_allclose(product / product[0, 0], np.eye(len(product)), atol=1e-5)
        first, second = (w / w[0, 0] for w in np.asarray(ours["in"][:2]))
        assert not np.allclose(first, second)
    else:
        plain = lsuv(
            written_out, unstacked(params), BATCH, key=KEY, tol_var=1e-3, orthonormal=False
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), unstacked(ours), plain
        )


def test_a_loop_that_goes_backwards():
    layers = Layers(lambda p, x: squared(scanned(p, x, reverse=True)), MLP, BATCH)
    names = [layers.name(use) for use in layers.repetitions]
    assert names[1] == f"in[{DEPTH - 1}]" and names[-2] == "out[0]"
    ours = lsuv(
        functools.partial(scanned, reverse=True), MLP, BATCH, key=KEY, tol_var=1e-3,
        orthonormal=False,
    )  # fmt: skip
    backwards = functools.partial(written_out, order=range(DEPTH)[::-1])
    plain = lsuv(backwards, unstacked(MLP), BATCH, key=KEY, tol_var=1e-3, orthonormal=False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3), unstacked(ours), plain)


def test_stacks_along_another_axis_and_loops_in_loops():
    def outputs(params, x):
        def group(x, w):
            return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, w)[0], None

        # (in, inner, outer, out) becomes (outer, inner, in, out).
        return jax.lax.scan(group, x, jnp.transpose(params["stack"], (2, 1, 0, 3)))[0]

    params = {"stack": 3 * jax.random.normal(KEY, (3, 4, 2, 3))}
    (layer,) = (layers := Layers(outputs, params, BATCH)).layers
    assert layer.loops == (Loop(2, True, 2), Loop(4, True, 1)) and layer.stack == (2, 4)
    assert [layers.name(use) for use in layers.repetitions] == [
        f"stack[{i}, {j}]" for i in range(2) for j in range(4)
    ]
    assert [use.depth for use in layers.repetitions] == list(range(1, 9))
    made = lsuv(outputs, params, BATCH, key=KEY, tol_var=1e-3)
    x = BATCH
    for i in range(2):
        for j in range(4):
            z = x @ made["stack"][:, j, i]
            np.testing.assert_allclose(jnp.var(z), 1, atol=2e-3)
            x = jnp.tanh(z)


def test_weights_that_are_chosen_by_a_counter_are_a_stack_too():
    """As of ``fori_loop``: they are looked at, but not scaled, since they are no slices."""

    def loss(params, x):
        def step(i, x):
            return jnp.tanh(x @ params["stack"][i])

        return squared(jax.lax.fori_loop(0, DEPTH, step, jnp.tanh(x @ params["first"])))

    params = drawn({"first": (3, WIDTH), "stack": (DEPTH, WIDTH, WIDTH)})
    layers = Layers(loss, params, BATCH)
    assert layers.layers[1].loops == (Loop(DEPTH, True, None),)
    assert [layers.is_leaf(layer) for layer in layers.layers] == [True, False]
    found = diagnose(loss, params, BATCH)
    assert [x.layer for x in found.layers] == ["first", *(f"stack[{i}]" for i in range(DEPTH))]


def test_a_layer_over_the_positions_of_a_sequence_is_one_layer():
    def outputs(params, batch):
        def cell(h, x):
            h = jnp.tanh(x @ params["in"] + h @ params["own"])
            return h, h

        h = jnp.zeros((EXAMPLES, WIDTH))
        return jax.lax.scan(cell, h, jnp.moveaxis(batch, 1, 0))[1] @ params["last"]

    params = drawn({"in": (3, WIDTH), "own": (WIDTH, WIDTH), "last": (WIDTH, 2)})
    batch = jax.random.normal(KEY, (EXAMPLES, 7, 3))
    layers = Layers(outputs, params, batch)
    shared = (Loop(7, stacked=False, axis=None),)
    seen = [(x.name, x.loops, x.depth, x.hidden) for x in layers.layers]
    assert seen == [("in", shared, 1, True), ("own", shared, 1, True), ("last", (), 2, False)]
    found = diagnose(lambda p, x: squared(outputs(p, x)), params, batch)
    assert [x.layer for x in found.layers] == ["in", "own", "last"] and not found.faults
    entering = batch @ params["in"]
    np.testing.assert_allclose(found.layers[0].std, jnp.std(entering), rtol=1e-5)
    made = lsuv(outputs, params, batch, key=KEY, tol_var=1e-3, where="in")
    np.testing.assert_allclose(jnp.var(batch @ made["in"]), 1, atol=2e-3)


def test_what_a_loop_hides_is_said_to_be_unseen():
    def loss(params, x):
        def step(x, w):
            x = jax.lax.cond(jnp.sum(w) > 0, lambda x: x @ w, lambda x: x, x)
            return x @ params["shared"], None

        return squared(jax.lax.scan(step, x, params["stack"])[0])

    params = drawn({"stack": (2, 3, 3), "shared": (3, 3)})
    layers = Layers(loss, params, BATCH)
    assert [x.name for x in layers.layers] == ["shared"] and layers.unseen == ("stack",)


class LinenBlock(linen.Module):
    @linen.compact
    def __call__(self, x, _):
        hidden = linen.relu(linen.BatchNorm(use_running_average=False)(linen.Dense(12)(x)))
        return x + linen.Dense(WIDTH)(hidden), None


class LinenResNet(linen.Module):
    @linen.compact
    def __call__(self, x, train=False):
        x = linen.Dense(WIDTH)(x)
        blocks = linen.scan(
            linen.remat(LinenBlock),
            variable_axes={"params": 1, "batch_stats": 0},
            split_rngs={"params": True},
            length=DEPTH,
        )
        return linen.Dense(2)(blocks()(x, None)[0])


@pytest.mark.beside_optax
def test_a_scanned_resnet_of_linen():
    task = objective(LinenResNet(), lambda outputs, batch: squared(outputs))
    batch = BATCH, jnp.zeros(EXAMPLES)
    params, _ = task.init(KEY, batch)
    scaled = lsuv(task, params, batch, key=KEY, tol_var=0.01)
    found = diagnose(task, scaled, batch, key=KEY)
    assert found.unseen == () and found.faults == (), found
    names = [x.layer for x in found.layers]
    assert len(names) == 2 + 2 * DEPTH and sum("[2]" in name for name in names) == 2
    np.testing.assert_allclose([x.std for x in found.layers], 1, atol=0.02)


class NNXBlock(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, WIDTH, rngs=rngs, decode=False)
        self.wide = nnx.Linear(WIDTH, 16, rngs=rngs)
        self.narrow = nnx.Linear(16, WIDTH, rngs=rngs)

    def __call__(self, x):
        x = x + self.attend(self.norm(x))
        return x + self.narrow(nnx.gelu(self.wide(x)))


class NNXTransformer(nnx.Module):
    def __init__(self, rngs):
        @nnx.split_rngs(splits=DEPTH)
        @nnx.vmap(in_axes=0, out_axes=0)
        def blocks(rngs):
            return NNXBlock(rngs)

        self.embed = nnx.Embed(11, WIDTH, rngs=rngs)
        self.blocks = blocks(rngs)
        self.head = nnx.Linear(WIDTH, 5, rngs=rngs)

    def __call__(self, tokens):
        @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
        def through(block, x):
            return block(x)

        return self.head(jnp.mean(through(self.blocks, self.embed(tokens)), axis=1))


@pytest.mark.beside_optax
def test_a_scanned_transformer_of_nnx():
    tokens = np.random.RandomState(0).randint(11, size=(16, 6))
    task = objective(NNXTransformer(nnx.Rngs(0)), "softmax_cross_entropy_with_integer_labels")
    batch = tokens, tokens[:, 0] % 5
    params, _ = task.init(KEY, None)
    found = diagnose(task, params, batch)
    assert found.unseen == () and found.faults == (), found
    blocks = ("query", "key", "value", "out", "wide", "narrow")
    assert [x.layer for x in found.layers[:7]] == [
        "embed/embedding",
        *(f"blocks/attend/{name}/kernel[0]" for name in blocks[:4]),
        *(f"blocks/{name}/kernel[0]" for name in blocks[4:]),
    ]
    assert len(found.layers) == 2 + len(blocks) * DEPTH
    assert [x.depth for x in found.layers if "query" in x.layer] == [
        2 + 4 * i for i in range(DEPTH)
    ]
    assert {x.function for x in found.layers if "wide" in x.layer} == {"other"}


@pytest.mark.parametrize("fan_mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg", "fixed"])
def test_mup_of_a_stack_is_that_of_its_layers(fan_mode):
    """The stack is as long at both widths, and counts in none of the ratios."""

    def shapes(width, *stack):
        block = {"kernel": jnp.zeros((*stack, width, width)), "bias": jnp.zeros((*stack, width))}
        return {"in": jnp.zeros((3, width)), "block": block, "out": jnp.zeros((width, 2))}

    stacked = mup(shapes(64, DEPTH), shapes(16, DEPTH), fan_mode=fan_mode)
    alone = mup(shapes(64), shapes(16), fan_mode=fan_mode)
    assert stacked.table() == alone.table()
