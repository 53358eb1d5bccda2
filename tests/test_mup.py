"""The maximal update parametrization: its tables, its axes, and the coordinate check."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import initialize as oracles

import fnopt
from fnopt import initialize as init


def shapes(width, inputs=3, outputs=2):
    """Of a net of dense layers with an embedding and a normalization."""

    def dense(*shape):
        return {
            "kernel": jax.ShapeDtypeStruct(shape, float),
            "bias": jax.ShapeDtypeStruct(shape[-1:], float),
        }

    return {
        "embed": {"embedding": jax.ShapeDtypeStruct((50, width), float)},
        "in": dense(inputs, width),
        "mid": dense(width, width),
        "norm": {"scale": jax.ShapeDtypeStruct((width,), float)},
        "conv": dense(3, 3, width, width),
        "out": dense(width, outputs),
        "temperature": jax.ShapeDtypeStruct((), float),
    }


KINDS = {
    "embed": {"embedding": "input"},
    "in": {"kernel": "input", "bias": "input"},
    "mid": {"kernel": "hidden", "bias": "input"},
    "norm": {"scale": "input"},
    "conv": {"kernel": "hidden", "bias": "input"},
    "out": {"kernel": "output", "bias": "scalar"},
    "temperature": "scalar",
}
EMBED = {"embed/*": "fan_out"}  # as Flax draws it


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("shared", [False, True], ids=["table 3", "table 8"])
@pytest.mark.parametrize("ratio", [4, 0.5, 1])
def test_the_rules_are_those_of_the_tables(optimizer, shared, ratio):
    made = init.mup(
        shapes(round(64 * ratio)),
        shapes(64),
        optimizer=optimizer,
        fan_mode=EMBED,
        output_multiplier=shared,
    )
    if ratio != 1:
        assert made.kinds == KINDS
    table = oracles.TABLE_8 if shared else oracles.TABLE_3
    trees = (made.factors, made.multipliers, made.forward)
    leaves = zip(*map(jax.tree.leaves, trees), strict=True)
    for (path, kind), (factor, rate, forward) in zip(
        jax.tree_util.tree_leaves_with_path(KINDS), leaves, strict=True
    ):
        if kind == "scalar" or ratio == 1:
            assert (factor, rate, forward) == (1, 1, 1)
            continue
        deviation, multiplier, of_rate = oracles.mup(kind, ratio, optimizer, table)
        # Kernels were drawn with 1 / fan_in, the embedding with 1 / fan_out, biases fixed.
        own = path[-1].key
        drawn = {"bias": 1, "scale": 1, "embedding": ratio**-0.5}.get(
            own, 1 if kind == "input" else ratio**-0.5
        )
        np.testing.assert_allclose(factor * drawn, deviation, rtol=1e-12, err_msg=str(path))
        np.testing.assert_allclose((rate, forward), (of_rate, multiplier), rtol=1e-12)


def test_rescaling_keeps_the_dtype_of_numpys_leaves():
    leaf = np.ones((8, 8), jnp.bfloat16)
    made = init.mup({"w": leaf}, {"w": np.ones((4, 4))}, fan_mode="fixed").rescale({"w": leaf})
    assert made["w"].dtype == jnp.bfloat16 and float(made["w"][0, 0]) == pytest.approx(
        0.5**0.5, 1e-2
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_shared_embedding_is_an_output(optimizer):
    """As an input it would have the same rate and deviation, but nothing to multiply by."""
    wide, base = ({"embedding": jnp.ones((50, width))} for width in (256, 64))
    options = {"optimizer": optimizer, "output_multiplier": True}
    read = init.mup(wide, base, fan_mode="fan_out", **options)
    shared = init.mup(wide, base, axes={"embedding": ((1,), (0,))}, **options)
    assert (shared.factors, shared.multipliers) == (read.factors, read.multipliers)
    assert shared.forward == {"embedding": 0.25} and read.forward == {"embedding": 1.0}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_two_tables_are_one_parametrization(optimizer):
    """As the paper's Lemma J.1 has it: the deviation, the multiplier and the rate hang together."""
    three, eight = (
        init.mup(shapes(256), shapes(64), optimizer=optimizer, output_multiplier=shared)
        for shared in (False, True)
    )
    kernel = lambda tree: tree["out"]["kernel"]  # noqa: E731
    c = kernel(eight.forward)
    assert kernel(three.factors) == pytest.approx(c * kernel(eight.factors))
    power = 1 if optimizer == "adam" else 2
    assert kernel(three.multipliers) == pytest.approx(c**power * kernel(eight.multipliers))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg", "fixed"])
def test_rescaled_weights_have_the_variance_of_the_table(mode):
    """Whatever the initializer divides by, relative to its own variance at the base width."""

    def drawn(shape):
        """Of one standard deviation everywhere, as the initializer has it."""
        fan_in, fan_out = oracles.fans(shape)
        divisor = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        divisor |= {"fan_geo_avg": np.sqrt(fan_in * fan_out), "fixed": 9.0}
        return np.full(shape, divisor[mode] ** -0.5)

    def net(width):
        sides = {"in": (3, 5, width), "mid": (3, width, width), "out": (width, 7)}
        return {name: drawn(shape) for name, shape in sides.items()}

    base, wide = net(10), net(40)
    made = init.mup(wide, base, fan_mode=mode).rescale(wide)
    for name, kind in {"in": "input", "mid": "hidden", "out": "output"}.items():
        deviation = oracles.mup(kind, 4.0, "adam")[0]
        np.testing.assert_allclose(made[name].flat[0], deviation * base[name].flat[0], rtol=1e-12)


def test_other_axes_are_told_by_patterns():
    def attention(width):
        heads = width // 16
        return {
            "query": {"kernel": np.zeros((width, heads, 16)), "bias": np.zeros((heads, 16))},
            "out": {"kernel": np.zeros((heads, 16, width)), "bias": np.zeros(width)},
            "stacked": {"kernel": np.zeros((7, width, width)), "bias": np.zeros((7, width))},
        }

    with pytest.raises(ValueError, match=r"axis 0 of out/kernel is neither input nor output"):
        init.mup(attention(128), attention(32), axes={"*/query/kernel": ((0,), (1, 2))})
    axes = {"query/kernel": ((0,), (1, 2)), "out/kernel": ((0, 1), (-1,))}
    made = init.mup(attention(128), attention(32), axes=axes)
    assert {name: layer["kernel"] for name, layer in made.kinds.items()} == dict.fromkeys(
        ("query", "out", "stacked"), "hidden"
    )
    assert {layer["bias"] for layer in made.kinds.values()} == {"input"}
    assert {layer["kernel"] for layer in made.multipliers.values()} == {0.25}
    np.testing.assert_allclose([layer["kernel"] for layer in made.factors.values()], 1.0)


def test_both_widths_may_grow_by_their_own_ratio():
    made = init.mup({"w": np.zeros((256, 128))}, {"w": np.zeros((32, 64))}, optimizer="sgd")
    assert made.kinds == {"w": "hidden"} and made.multipliers == {"w": 2 / 8}


REFUSED = {
    "optimizer": ({"optimizer": "lamb"}, ValueError, "optimizer: no 'lamb'.*known: adam, sgd"),
    "fan_mode": ({"fan_mode": "fan"}, ValueError, "fan_mode: no 'fan'"),
    "no leaf": ({"fan_mode": {"emb/*": "fixed"}}, ValueError, r"'emb/\*' matches no path"),
    "no axes": ({"axes": {"in/kernel": (0, 1)}}, TypeError, "axes of in/kernel, which has 2"),
    "axis 5": ({"axes": {"in/kernel": ((0,), (5,))}}, TypeError, "axes of in/kernel, which has 2"),
    "one axis": ({"axes": {"in/kernel": ((0,), (0, 1))}}, ValueError, "input and output"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_arguments_are_refused(name):
    given, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        init.mup(shapes(128), shapes(64), **given)


def test_other_trees_are_refused_by_the_path():
    other = shapes(64)
    del other["mid"]["bias"]
    with pytest.raises(ValueError, match=r"only params has \['mid'\]\['bias'\]"):
        init.mup(shapes(128), other)
    with pytest.raises(ValueError, match=r"in/kernel has shape \(3, 128\), but \(3,\)"):
        init.mup({"in/kernel": np.zeros((3, 128))}, {"in/kernel": np.zeros(3)})
    with pytest.raises(ValueError, match="w is empty at one of the widths"):
        init.mup({"w": np.zeros((0, 3))}, {"w": np.zeros((2, 3))})
    with pytest.raises(ValueError, match=r"factors and params differ"):
        init.mup(shapes(128), shapes(64)).rescale(other)


# The coordinate check.

WIDTHS = (64, 512)
ALL_WIDTHS = (64, 128, 256, 512, 1024)
X = jax.random.normal(jax.random.key(1), (8, 10))
Y = jax.random.normal(jax.random.key(2), (8, 1))


def draw(width, key):
    keys = jax.random.split(key, 3)
    sides = [(10, width), (width, width), (width, 1)]
    return {
        name: init.variance_scaling(1.0, "fan_in", "normal")(key, shape)
        for name, key, shape in zip(("in", "mid", "out"), keys, sides, strict=True)
    }


def activations(params, forward):
    entering = {"in": X @ params["in"]}
    entering["mid"] = jnp.tanh(entering["in"]) @ params["mid"]
    entering["out"] = forward * jnp.tanh(entering["mid"]) @ params["out"]
    return entering


def changes(width, optimizer, form):
    """Root mean square by which what enters each layer's units changes in four updates.

    The loss is linear in the outputs, so that those of the start, which are of another size at
    each width in all parametrizations but for their limit, do not matter.
    """
    key = jax.random.key(0)
    net, base = (jax.eval_shape(functools.partial(draw, n), key) for n in (width, 64))
    made = init.mup(net, base, optimizer=optimizer, output_multiplier=form == "table 8")
    forward, multipliers, rescale = made.forward["out"], made.multipliers, made.rescale
    if form == "standard":
        forward, multipliers, rescale = 1.0, 1.0, lambda params: params
    rule = fnopt.scale_by_adam() if optimizer == "adam" else fnopt.identity()
    rate = {"adam": 0.003, "sgd": 0.03}[optimizer]
    tx = fnopt.chain(rule, fnopt.scale_by_tree(multipliers), fnopt.scale_by_learning_rate(rate))

    def loss(params):
        return jnp.mean(activations(params, forward)["out"] * Y)

    @jax.jit
    @jax.vmap
    def run(key):
        params = rescale(draw(width, key))

        def step(carry, _):
            updates, state = tx.update(jax.grad(loss)(carry[0]), carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        after = jax.lax.scan(step, (params, tx.init(params)), length=4)[0][0]
        moved = jax.tree.map(
            jnp.subtract, activations(after, forward), activations(params, forward)
        )
        return jax.tree.map(lambda x: jnp.mean(x**2), moved)

    squares = run(jax.random.split(key, 2))
    return jax.tree.map(lambda square: float(jnp.sqrt(jnp.mean(square))), squares)


@functools.cache
def slopes(optimizer, form, widths=WIDTHS):
    """By which power of the width the changes grow, layer by layer."""
    found = [changes(width, optimizer, form) for width in widths]
    return {
        name: np.polyfit(np.log(widths), np.log([one[name] for one in found]), 1)[0]
        for name in found[0]
    }


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(
    ("form", "widths"),
    [
        ("table 3", WIDTHS),
        pytest.param("table 3", ALL_WIDTHS, marks=pytest.mark.slow),
        pytest.param("table 8", ALL_WIDTHS, marks=pytest.mark.slow),
    ],
)
def test_activations_change_alike_at_all_widths(optimizer, form, widths):
    assert all(abs(slope) < 0.1 for slope in slopes(optimizer, form, widths).values())


@pytest.mark.parametrize("widths", [WIDTHS, pytest.param(ALL_WIDTHS, marks=pytest.mark.slow)])
def test_in_the_standard_parametrization_they_do_not(widths):
    adam, sgd = (slopes(optimizer, "standard", widths) for optimizer in ("adam", "sgd"))
    assert adam["mid"] > 0.7 and adam["out"] > 0.9  # they grow with the width
    assert sgd["in"] < -0.3 and sgd["out"] > 0.8  # and the first layer learns less and less
