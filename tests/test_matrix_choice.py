"""Which leaves are matrices: by rules, by the program, by names, shapes and what lies beside."""

from __future__ import annotations

import functools
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen, nnx

import fnopt
from fnopt.matrix.choice import Matrices, as_matrices
from fnopt.matrix.view import MatrixView
from fnopt.train import objective

D, HEADS, WORDS = 16, 4, 50


def zeros(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def seen(params, matrices=None):
    """By path what a rule would say of each leaf, and what decided it; vectors left out."""
    every = as_matrices(matrices).seen(params)
    return {x.path: (x.how, x.why) for x in every if len(x.shape) > 1}


# What frameworks have.


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(D, rngs=rngs)
        self.attn = nnx.MultiHeadAttention(HEADS, D, rngs=rngs, decode=False)
        self.up = nnx.Linear(D, 64, use_bias=False, rngs=rngs)


class Model(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(WORDS, D, rngs=rngs)
        self.conv1 = nnx.Conv(3, 8, (3,), rngs=rngs)
        self.conv2 = nnx.Conv(3, 8, (3, 3), use_bias=False, rngs=rngs)
        self.conv3 = nnx.Conv(3, 8, (3, 3, 3), rngs=rngs)
        self.up = nnx.ConvTranspose(3, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.block = Block(rngs)
        self.layers = nnx.List([nnx.Linear(8, D, rngs=rngs), nnx.Linear(D, D, rngs=rngs)])
        self.lora = nnx.LoRALinear(8, D, lora_rank=2, rngs=rngs)
        self.einsum = nnx.Einsum("abc,cde->abde", (D, HEADS, 8), (HEADS, 8), rngs=rngs)
        self.bare = nnx.Einsum("abc,cde->abde", (D, HEADS, 8), rngs=rngs)
        self.gru = nnx.GRUCell(8, D, rngs=rngs)
        self.lm_head = nnx.Linear(D, WORDS, rngs=rngs)


def nnx_params(make):
    return nnx.state(nnx.eval_shape(lambda: make(nnx.Rngs(0))), nnx.Param)


ATTENTION = {
    **{f"{name}/kernel": ("in out out", "bias") for name in ("query", "key", "value")},
    **{f"{name}/bias": ("other", "name") for name in ("query", "key", "value")},
    "out/kernel": ("in in out", "bias"),
}


def within(prefix, expected, stack=""):
    return {
        f"{prefix}/{path}": (how if how == "other" else stack + how, why)
        for path, (how, why) in expected.items()
    }


def test_modules_of_nnx():
    assert seen(nnx_params(Model)) == {
        "bare/kernel": ("stack in out", "guess"),
        **within("block/attn", ATTENTION),
        "block/up/kernel": ("in out", "name"),
        "conv1/kernel": ("in in out", "bias"),
        "conv2/kernel": ("in in in out", "name"),
        "conv3/kernel": ("in in in in out", "bias"),
        "einsum/bias": ("other", "name"),
        "einsum/kernel": ("in out out", "bias"),
        "embed/embedding": ("embedding in out", "name"),
        "gru/dense_h/kernel": ("in out", "name"),
        "gru/dense_i/kernel": ("in out", "bias"),
        "layers/0/kernel": ("in out", "bias"),
        "layers/1/kernel": ("in out", "name"),
        "lm_head/kernel": ("head in out", "bias"),
        "lora/kernel": ("in out", "bias"),
        "lora/lora/lora_a": ("in out", "shape"),
        "lora/lora/lora_b": ("in out", "shape"),
        "up/kernel": ("in in in out", "bias"),
    }


def test_blocks_that_nnx_stacks():
    def make(rngs):
        # Of shapes alone: what vmap makes of a block.
        block = nnx.state(Block(rngs), nnx.Param)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (12, *x.shape)), block)

    assert seen(jax.eval_shape(lambda: {"trunk": make(nnx.Rngs(0))})) == {
        **within("trunk/attn", ATTENTION, "stack "),
        "trunk/attn/out/bias": ("other", "name"),
        "trunk/norm/bias": ("other", "name"),
        "trunk/norm/scale": ("other", "name"),
        # It has no bias; that it is stacked is told by the norm beside it.
        "trunk/up/kernel": ("stack in out", "name"),
    }


class LinenBlock(linen.Module):
    @linen.compact
    def __call__(self, x, _):
        y = linen.MultiHeadDotProductAttention(HEADS)(linen.LayerNorm()(x))
        y = linen.Conv(D, (3,))(y)
        return x + linen.Dense(D)(linen.Dense(32, use_bias=False)(y)), None


class LinenModel(linen.Module):
    @linen.compact
    def __call__(self, tokens):
        x = linen.Embed(WORDS, D)(tokens)
        stack = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "length": 6}
        x, _ = linen.scan(LinenBlock, **stack)(name="trunk")(x, None)
        x = linen.ConvTranspose(8, (3, 3))(linen.Conv(12, (3, 3))(x[..., None]))
        x = linen.DenseGeneral((HEADS, 5))(x.mean(-1))
        x = linen.DenseGeneral(D, axis=(-2, -1))(x)
        x = linen.RNN(linen.OptimizedLSTMCell(8))(x)
        return linen.Dense(WORDS, name="logits")(x)


def test_modules_of_linen_and_its_scan():
    tokens = jnp.zeros((2, 7), int)
    found = seen(jax.eval_shape(LinenModel().init, jax.random.key(0), tokens)["params"])
    lstm = {path: found.pop(path) for path in list(found) if "LSTM" in path}
    assert len(lstm) == 8 and set(lstm.values()) == {("in out", "name")}
    norm = {"scale": ("other", "name"), "bias": ("other", "name")}
    assert found == {
        "ConvTranspose_0/kernel": ("in in in out", "bias"),
        "Conv_0/kernel": ("in in in out", "bias"),
        "DenseGeneral_0/bias": ("other", "name"),
        "DenseGeneral_0/kernel": ("in out out", "bias"),
        "DenseGeneral_1/kernel": ("in in out", "bias"),
        "Embed_0/embedding": ("embedding in out", "name"),
        "logits/kernel": ("head in out", "bias"),
        **within("trunk/MultiHeadDotProductAttention_0", ATTENTION, "stack "),
        "trunk/MultiHeadDotProductAttention_0/out/bias": ("other", "name"),
        **within("trunk/LayerNorm_0", norm),
        "trunk/Conv_0/bias": ("other", "name"),
        "trunk/Conv_0/kernel": ("stack in in out", "name"),
        "trunk/Dense_0/bias": ("other", "name"),
        "trunk/Dense_0/kernel": ("stack in out", "bias"),
        "trunk/Dense_1/kernel": ("stack in out", "name"),
    }


class Equinox(eqx.Module):
    emb: eqx.nn.Embedding
    attn: eqx.nn.MultiheadAttention
    conv: eqx.nn.Conv2d
    transposed: eqx.nn.ConvTranspose2d
    mlp: eqx.nn.MLP
    gru: eqx.nn.GRUCell
    lin: eqx.nn.Linear
    own: jax.Array

    def __init__(self, key):
        self.emb = eqx.nn.Embedding(WORDS, D, key=key)
        self.attn = eqx.nn.MultiheadAttention(HEADS, D, key=key)
        self.conv = eqx.nn.Conv2d(3, 8, 3, key=key)
        self.transposed = eqx.nn.ConvTranspose2d(3, 8, 3, key=key)
        self.mlp = eqx.nn.MLP(8, 4, D, 2, key=key)
        self.gru = eqx.nn.GRUCell(8, D, key=key)
        self.lin = eqx.nn.Linear(8, D, use_bias=False, key=key)
        self.own = jnp.ones((8, 4))


def test_modules_of_equinox_have_outputs_first():
    params = eqx.filter_eval_shape(Equinox, jax.random.key(0))
    heads = ("query", "key", "value", "output")
    assert seen(eqx.filter(params, lambda x: hasattr(x, "shape"))) == {
        "emb/weight": ("embedding in out", "name"),
        **{f"attn/{name}_proj/weight": ("out in", "name") for name in heads},
        "conv/weight": ("out in in in", "bias"),
        "conv/bias": ("other", "name"),
        "transposed/weight": ("out in in in", "bias"),
        "transposed/bias": ("other", "name"),
        "mlp/layers/0/weight": ("out in", "bias"),
        "mlp/layers/1/weight": ("out in", "name"),
        "mlp/layers/2/weight": ("out in", "bias"),
        "gru/weight_ih": ("out in", "bias"),
        "gru/weight_hh": ("out in", "bias"),
        "lin/weight": ("out in", "name"),
        # Its name says nothing, and others here have outputs first.
        "own": ("out in", "guess"),
    }


def test_an_ensemble_of_equinox():
    keys = jax.random.split(jax.random.key(0), 5)
    params = eqx.filter_vmap(lambda key: eqx.nn.MLP(8, 3, D, 1, key=key))(keys)
    found = seen(eqx.filter(params, eqx.is_array))
    weights = {path: how for path, how in found.items() if path.endswith("weight")}
    assert set(weights.values()) == {("stack out in", "bias")}


def gpt2(order, name="weight"):
    """A block of GPT-2: of Hugging Face's for torch ("in out"), or with linear layers."""

    def dense(inputs, outputs):
        shape = (inputs, outputs) if order == "in out" else (outputs, inputs)
        return {name: zeros(*shape), "bias": zeros(outputs)}

    attn = {"c_attn": dense(D, 3 * D), "c_proj": dense(D, D)}
    mlp = {"c_fc": dense(D, 4 * D), "c_proj": dense(4 * D, D)}
    return {
        "wte": {name: zeros(WORDS, D)},
        "wpe": {name: zeros(20, D)},
        "h": {"0": {"ln_1": {name: zeros(D), "bias": zeros(D)}, "attn": attn, "mlp": mlp}},
        "lm_head": {name: zeros(WORDS, D)},
    }


@pytest.mark.parametrize("order, square, head", [
    ("out in", ("out in", "name"), ("head out in", "name")),
    # Weights that are the other way round leave those without a bias, and squares, uncertain.
    ("in out", ("in out", "guess"), ("head in out", "guess")),
])  # fmt: skip
def test_gpt2_with_either_order(order, square, head):
    assert seen(gpt2(order)) == {
        "h/0/attn/c_attn/weight": (order, "bias"),
        "h/0/attn/c_proj/weight": square,
        "h/0/mlp/c_fc/weight": (order, "bias"),
        "h/0/mlp/c_proj/weight": (order, "bias"),
        "lm_head/weight": head,
        "wpe/weight": ("embedding in out", "name"),
        "wte/weight": ("embedding in out", "name"),
    }


OTHERS = {
    "haiku": (
        {
            "linear": {"w": zeros(8, D), "b": zeros(D)},
            "mlp/~/linear_0": {"w": zeros(D, 8)},
            "conv2_d": {"w": zeros(3, 3, 8, D), "b": zeros(D)},
            "embed": {"embeddings": zeros(WORDS, 8)},
        },
        {
            "linear/w": ("in out", "bias"),
            "mlp/~/linear_0/w": ("in out", "name"),
            "conv2_d/w": ("in in in out", "bias"),
            "embed/embeddings": ("embedding in out", "name"),
        },
    ),
    "torch": (
        {
            "layers.0.self_attn.in_proj_weight": zeros(48, D),
            "layers.0.self_attn.in_proj_bias": zeros(48),
            "layers.0.linear1.weight": zeros(32, D),
            "rnn.weight_ih_l0": zeros(64, 8),
            "rnn.bias_ih_l0": zeros(64),
            "up.weight": zeros(8, 4, 3, 3),  # a transposed convolution
            "up.bias": zeros(4),
            "conv.weight": zeros(4, 8, 3, 3),
        },
        {
            "layers.0.self_attn.in_proj_weight": ("out in", "bias"),
            "layers.0.linear1.weight": ("out in", "name"),
            "rnn.weight_ih_l0": ("out in", "bias"),
            "up.weight": ("in out in in", "bias"),
            "conv.weight": ("out in in in", "name"),
        },
    ),
    "lists": (
        [zeros(8, D), zeros(D), zeros(D, 3), zeros(3)],
        {"0": ("in out", "bias"), "2": ("in out", "bias")},
    ),
    "pairs": (
        [(zeros(D, 8), zeros(D)), (zeros(3, D), zeros(3))],
        {"0/0": ("out in", "bias"), "1/0": ("out in", "bias")},
    ),
    "arrays": ([zeros(8, D), zeros(D, 3)], {"0": ("in out", "shape"), "1": ("in out", "shape")}),
    "one": (zeros(8, D), {"": ("in out", "shape")}),
    "numbered": (
        {"w1": zeros(8, D), "b1": zeros(D), "w2": zeros(D, 3), "b2": zeros(3)},
        {"w1": ("in out", "bias"), "w2": ("in out", "bias")},
    ),
    "letters": (
        {"a": zeros(8, D), "b": zeros(D, 3)},  # b is no bias here
        {"a": ("in out", "shape"), "b": ("in out", "shape")},
    ),
    "scan": (
        {"layers": {"w": zeros(12, D, D), "ln": {"scale": zeros(12, D)}}},
        {"layers/w": ("stack in out", "name"), "layers/ln/scale": ("other", "name")},
    ),
    "scan by name": ({"blocks": {"w": zeros(12, D, 8)}}, {"blocks/w": ("stack in out", "name")}),
    "empty": ({"w": zeros(0, 3)}, {"w": ("other", "shape")}),
}


@pytest.mark.parametrize("params, expected", OTHERS.values(), ids=OTHERS)
def test_other_trees(params, expected):
    assert seen(params) == expected


MISLEADING = {
    "a key that is no attention": ("key/kernel", (3, 4, 5), "stack in out", "guess"),
    "heads of attention": ("attention_heads/w", (8, 4), "in out", "name"),
    "a list of layers": ("layers/0/kernel", (3, 4, 8), "stack in out", "guess"),
    "a list of convolutions": ("layers/0/kernel", (3, 3, 4, 8), "in in in out", "name"),
    "a large one with four axes": ("mix/kernel", (64, 32, 4, 8), "in in in out", "guess"),
    "a stacked norm": ("blocks/ln_1/weight", (12, 8), "other", "name"),
    "normal is no norm": ("normal/weight", (12, 8), "out in", "name"),
    "a member": ("member/weight", (12, 8), "out in", "name"),
    "a table of positions": ("pos_embedding", (1, 12, 8), "embedding in in out", "name"),
    "a token": ("cls_token", (1, 1, 8), "embedding in in out", "name"),
    "patches": ("patch_embed/proj/kernel", (4, 4, 3, 8), "embedding in in in out", "name"),
    "biases in a table": ("relative_bias_table", (12, 8), "other", "name"),
    "a transposed convolution": ("convtranspose/weight", (8, 4, 3, 3), "out in in in", "guess"),
}


@pytest.mark.parametrize("path, shape, how, why", MISLEADING.values(), ids=MISLEADING)
def test_names_that_mislead(path, shape, how, why):
    params = zeros(*shape)
    for part in reversed(path.split("/")):
        params = {part: params} if part != "0" else [params]
    assert seen(params) == {path: (how, why)}


def test_attention_is_told_by_what_lies_beside():
    heads = {name: {"kernel": zeros(D, HEADS, 5)} for name in ("query", "key", "value")}
    found = seen({"attn": {**heads, "out": {"kernel": zeros(HEADS, 5, D)}}})
    assert found["attn/key/kernel"] == ("in out out", "name")
    assert found["attn/out/kernel"] == ("in in out", "name")


# Rules.


def test_the_first_rule_that_matches_wins():
    params = {"a": {"w": zeros(12, D, 8)}, "b": {"w": zeros(D, 8), "bias": zeros(8)}}
    rules = (("a/*", "stack out in"), ("*/bias", "other"), (("b/*", "c"), "embedding"))
    assert seen(params, rules) == {
        "a/w": ("stack out in", "rule"),
        "b/w": ("embedding in out", "rule"),
    }
    both = (("a/*", "stack out in"), ("*", "other"))
    other = "other", "rule"
    assert seen(params, both) == {"a/w": ("stack out in", "rule"), "b/w": other}
    assert seen(params, both[::-1]) == {"a/w": other, "b/w": other}
    by_function = ((lambda path, leaf: leaf.ndim == 3, "stack in out"),)
    assert seen(params, by_function)["a/w"] == ("stack in out", "rule")
    assert seen(params, dict(rules)) == seen(params, rules)


def test_rules_print_as_they_are_written():
    rules = (("a/*", "stack out in"), (("b", "c"), "other"))
    assert repr(as_matrices(rules)) == repr(rules)
    assert repr(as_matrices([["a", "out  in"]])) == "(('a', 'out in'),)"
    assert as_matrices(rules) == as_matrices(list(rules))
    assert hash(as_matrices(rules)) == hash(as_matrices(list(rules)))


@pytest.mark.beside_optax
def test_dimension_numbers_of_optax():
    numbers = optax.contrib.MuonDimensionNumbers
    params = {"a": zeros(12, D, 8), "b": {"w": zeros(8, D), "bias": zeros(8)}}
    for_all = seen(params, numbers(-1, -2))
    assert for_all == {"a": ("stack out in", "rule"), "b/w": ("out in", "rule")}
    tree = {"a": numbers([0, 1], [2]), "b": None}
    assert seen(params, tree) == {"a": ("in in out", "rule"), "b/w": ("other", "rule")}
    assert hash(as_matrices(tree)) == hash(as_matrices(tree))

    def by_axes(params):
        return jax.tree.map(lambda x: numbers() if x.ndim == 2 else None, params)

    assert seen(params, by_axes) == {"a": ("other", "rule"), "b/w": ("in out", "rule")}
    with pytest.raises(ValueError, match=r"must name axes of 'a', which has shape \(12, 16, 8\)"):
        seen(params, numbers(1, 3))
    with pytest.raises(ValueError, match="the dimension numbers are no prefix of the parameters"):
        seen(params, {"a": numbers()})
    with pytest.raises(TypeError, match="expected MuonDimensionNumbers or None, got 3"):
        seen(params, {"a": 3, "b": None})


PARAMS = {"blocks": {"kernel": zeros(12, D, 8)}, "head": {"kernel": zeros(8, 4), "bias": zeros(4)}}


@pytest.mark.parametrize("rules, error, words", [
    ("in out", TypeError, 'must be pairs of a pattern of paths and words for the axes, as (("blo'),
    (("*", "in out"), TypeError, "must be pairs of a pattern of paths"),
    ((("*", "in uot"),), ValueError, "has the word 'uot'; did you mean 'out'?"),
    ((("*", "in in"),), ValueError, "of which one at least is in and one out"),
    ((("*", ""),), ValueError, "must be words for the axes"),
    ((("*", "other in out"),), ValueError, "must be words for the axes"),
    (((3, "in out"),), TypeError, "a pattern is a glob of paths, a tuple of globs, or a function"),
    ((("block/*", "in out"),), ValueError, "'block/*' in matrices matches no leaf; the nearest"
     " paths are 'blocks/kernel'"),
    ((("*/kernel", "in out"),), ValueError, "'in out' has 2 words for 'blocks/kernel', which has 3"
     " axes, (12, 16, 8); give one for each: in, out or stack"),
])  # fmt: skip
def test_bad_rules_are_refused(rules, error, words):
    with pytest.raises(error) as refusal:
        fnopt.muon(0.1, matrices=rules).table(PARAMS)
    assert words in str(refusal.value) and len(str(refusal.value)) <= 400


def test_a_kind_alone_needs_axes_that_are_known():
    params = {"norm": {"scale": zeros(12, 8), "bias": zeros(8)}}
    assert seen({"w": zeros(3)}, (("*", "embedding"),)) == {}
    with pytest.raises(ValueError, match=r"whose axes .12, 8. are not known; give words for them"):
        seen(params, (("norm/*", "hidden"),))


def test_a_view_is_of_all_axes():
    view = MatrixView(("in", "stack", "out", "in"), (2, 3, 4, 5))
    leaf = jnp.arange(120.0).reshape(2, 3, 4, 5)
    matrices = view.matrices(leaf)
    assert matrices.shape == view.matrix_shape == (3, 4, 10)
    assert (matrices[1, 2] == leaf[:, 1, 2, :].ravel()).all()
    assert (view.leaf(matrices) == leaf).all()
    assert str(view) == "2 × 3 × 4 × 5 → 3 matrices of 4 × 10"


# Guesses.


def warnings_of(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(w.message) for w in caught]


GUESSED = {"mix": {"kernel": jnp.ones((3, 4, 5))}, "also": {"kernel": jnp.ones((3, 4, 5))}}


def test_a_guess_is_warned_of_once_and_says_the_rule():
    tx = fnopt.muon(0.1)
    (message,) = warnings_of(lambda: tx.init(GUESSED))
    assert "'also/kernel' (3, 4, 5) and 1 more lie was guessed" in message
    assert 'matrices=(("also/kernel", "stack in out"), …)' in message
    with pytest.warns(UserWarning):
        state = tx.init(GUESSED)
    assert warnings_of(lambda: tx.update(GUESSED, state, GUESSED)) == []
    said = tx.replace(matrices=(("*", "stack in out"),))
    assert warnings_of(lambda: said.init(GUESSED)) == []
    grouped = fnopt.groups(("also/*", 0.1), ("*", {}), base=tx)
    assert len(warnings_of(lambda: grouped.init(GUESSED))) == 2  # one for each group
    # What gets the other optimizer does not matter.
    assert warnings_of(lambda: tx.init({"head": GUESSED["mix"]})) == []


def test_a_part_of_a_tree_is_seen_as_in_the_whole():
    """The bias that tells the order is in another group."""
    params = {"weight": jnp.ones((4, 6)), "bias": jnp.ones(6)}  # inputs first
    assert seen(params) == {"weight": ("in out", "bias")}
    base = fnopt.muon(0.1)
    tx = fnopt.groups(("bias", fnopt.sgd(0.1)), ("*", {}), base=base)
    inner = fnopt.masked(base, {"weight": True, "bias": False})
    for outer in (tx.for_params(params).base, inner.for_params(params).inner):
        part = {"weight": params["weight"], "bias": optax.MaskedNode()}
        assert seen(part, outer.matrices) == {"weight": ("in out", "bias")}
        assert seen(part) == {"weight": ("out in", "name")}
    # A part of an optimizer too, which treats 4 outputs and 6 inputs otherwise than 6 and 4.
    rule = fnopt.scale_by_shape()
    alone = fnopt.masked(rule, {"weight": True, "bias": False})
    whole, _ = rule.update(params, rule.init(params), params)
    masked, _ = alone.update(params, alone.init(params), params)
    assert (masked["weight"] == whole["weight"]).all()
    assert masked["weight"][0, 0] > 1


def test_patterns_may_match_in_another_part():
    params = {"a": {"w": jnp.ones((3, 4))}, "b": {"w": jnp.ones((3, 4))}}
    rules = (("a/*", "out in"), ("b/*", "in out"))
    tx = fnopt.groups(("a/*", 0.1), ("*", {}), base=fnopt.muon(0.1, matrices=rules))
    tx.update(params, tx.init(params), params)
    alone = fnopt.masked(fnopt.scale_by_muon(matrices=rules), "a/*")
    alone.update(params, alone.init(params), params)
    with pytest.raises(ValueError, match=r"'c/.' in matrices matches no leaf"):
        fnopt.scale_by_muon(matrices=(("c/*", "other"),)).init(params)


# The table.


def test_the_table_says_what_each_leaf_gets():
    tx = fnopt.muon(0.02, other=fnopt.adam(1e-3, b1=0.8))
    assert tx.table(PARAMS).splitlines() == [
        "leaf           seen as                              kind    by     gets",
        "blocks/kernel  12 × 16 × 8 → 12 matrices of 8 × 16  hidden  name   muon",
        "head/bias      4                                    other   shape  adam",
        "head/kernel    8 × 4                                head    bias   adam",
        "muon: 1,536 parameters in 12 matrices",
        "adam: 36 parameters",
        repr(tx)[:79] + "…",
        repr(tx.other)[:79] + "…",
    ]


def test_a_table_has_80_columns():
    params = nnx_params(lambda rngs: Block(rngs))
    deep = functools.reduce(lambda tree, name: {name: tree}, ["transformer", "encoder"], params)
    for table in (fnopt.matrices_table(deep), fnopt.muon(0.1).table(deep)):
        assert max(map(len, table.splitlines())) <= 80
        assert "…" in table and "/attn/query/kernel" in table


# The program.

BATCH = (jnp.zeros((2, 7), int), jnp.zeros((2, 7), int))


def test_the_program_of_a_model_of_nnx():
    class Tokens(nnx.Module):
        def __init__(self, rngs):
            self.names = nnx.Embed(WORDS, D, rngs=rngs)
            self.attn = nnx.MultiHeadAttention(HEADS, D, rngs=rngs, decode=False)
            self.mix = nnx.Einsum("btc,cde->btde", (D, HEADS, 8), rngs=rngs)
            self.last = nnx.Linear(HEADS * 8, WORDS, rngs=rngs)

        def __call__(self, tokens):
            x = self.mix(self.attn(self.names(tokens)))
            return self.last(jax.nn.relu(x.reshape(2, 7, -1)))

    task = objective(Tokens(nnx.Rngs(0)), "softmax_cross_entropy_with_integer_labels")
    rules = fnopt.matrices_of(task, batch=BATCH)
    params = task.init(jax.random.key(0), BATCH)[0]
    attention = {path: (how, "program") for path, (how, _) in ATTENTION.items()}
    assert seen(params, rules) == {
        **within("attn", attention),
        "last/kernel": ("head in out", "program"),
        "mix/kernel": ("in out out", "program"),
        "names/embedding": ("embedding in out", "program"),
    }
    tx = fnopt.muon(0.1, matrices=rules)
    assert hash(rules) == hash(fnopt.matrices_of(task, params, BATCH))
    assert rules == fnopt.matrices_of(task, params, BATCH)
    assert tx.replace(matrices=eval(repr(rules))).table(params).count("rule") == 12


def test_the_program_of_functions():
    params = {
        "scan": zeros(12, D, D),
        "second": zeros(D, 12, D),  # stacked along another axis
        "conv": zeros(8, 1, 3, 3),
        "experts": zeros(5, 64, 9),
        "tied": zeros(WORDS, 9),
        "scale": zeros(D, 8),
        "both": zeros(9, 9),
        "folded": zeros(9, 3, 3),
    }

    def loss(params, batch):
        images, tokens = batch
        x = images.reshape(3, -1)
        x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w.T), None), x, params["scan"])
        second = jnp.moveaxis(params["second"], 1, 0)
        x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, second)
        y = jax.lax.conv(x.reshape(3, 1, 4, 4), params["conv"], (1, 1), "VALID")
        y = jax.nn.relu(y).reshape(3, 32)
        y = jnp.einsum("eb,ebd->ebd", jnp.ones((5, 3)), jnp.stack([jnp.tile(y, (1, 2))] * 5))
        z = jnp.einsum("ebd,edf->ebf", y, params["experts"]).sum(0)
        z = z + params["tied"][tokens]
        z = jnp.tanh(z @ params["both"] @ params["folded"].reshape(9, 9).T)
        return jnp.sum(z @ params["tied"].T) + jnp.sum(params["scale"])

    batch = jnp.ones((3, 4, 4)), jnp.zeros(3, int)
    assert seen(params, fnopt.matrices_of(loss, params, batch)) == {
        "scan": ("stack out in", "program"),
        "second": ("in stack out", "program"),
        "conv": ("out in in in", "program"),
        "experts": ("stack in out", "program"),
        "tied": ("embedding in out", "program"),
        "scale": ("other", "program"),
        "both": ("in out", "program"),
        "folded": ("out in in", "program"),
    }


def test_what_the_program_does_not_tell_is_left_to_names():
    params = {
        "normed": {"kernel": zeros(4, 6)},
        "g": zeros(1, 6),
        "looped": {"kernel": zeros(6, 6)},
    }

    def loss(params, batch):
        kernel = params["normed"]["kernel"]
        x = batch @ (params["g"] * kernel / jnp.linalg.norm(kernel, axis=0, keepdims=True))
        body = lambda i, x: x @ params["looped"]["kernel"]  # noqa: E731
        return jnp.sum(jax.lax.while_loop(lambda x: jnp.sum(x) > 0, lambda x: body(0, x), x))

    found = seen(params, fnopt.matrices_of(loss, params, jnp.ones((2, 4))))
    assert found == {
        "normed/kernel": ("in out", "name"),
        "g": ("in out", "shape"),
        "looped/kernel": ("in out", "name"),
    }


def test_rules_come_before_the_program():
    params = {"a": zeros(4, 6), "b": zeros(6, 2)}

    def loss(params, batch):
        return jnp.sum(jnp.tanh(batch @ params["a"]) @ params["b"])

    rules = fnopt.matrices_of(loss, params, jnp.ones((2, 4)), matrices=(("a", "other"),))
    assert seen(params, rules) == {"a": ("other", "rule"), "b": ("head in out", "program")}
    with pytest.raises(ValueError, match="'c' in matrices matches no leaf"):
        fnopt.matrices_of(loss, params, jnp.ones((2, 4)), matrices=(("c", "other"),))
    with pytest.raises(ValueError, match="the loss multiplies no parameters with anything"):
        fnopt.matrices_of(lambda p, batch: jnp.sum(p["a"]), params, jnp.ones(2))
    with pytest.raises(TypeError, match="must be an objective"):
        fnopt.matrices_of("loss", params, jnp.ones(2))


def test_no_rules_are_rules():
    assert as_matrices(()) == as_matrices([]) == as_matrices(None) == Matrices()
