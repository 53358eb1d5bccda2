"""What only Scion, Muown, Dion2 and QK-Clip have: balls, rows, shares and heads."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close, assert_same

import fnopt
from fnopt.matrix.balls import steepest
from fnopt.matrix.newton_schulz import orthogonalize

CONVERGING = {"ns_coeffs": (15 / 8, -10 / 8, 3 / 8), "ns_steps": 40}


def normal(shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def like(tree, seed=0):
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten([normal(leaf.shape, seed + i) for i, leaf in enumerate(leaves)])


NETWORK = {
    "embed": {"embedding": jnp.zeros((7, 4))},
    "conv": {"kernel": jnp.zeros((3, 3, 2, 4)), "bias": jnp.zeros(4)},
    "dense": {"kernel": jnp.zeros((4, 6)), "scale": jnp.zeros(())},
    "attention": {"out": {"kernel": jnp.zeros((2, 3, 5))}},
    "lm_head": {"kernel": jnp.zeros((4, 7))},
}


def spectral(w):
    m, n = w.shape
    return np.sqrt(n / m) * np.linalg.norm(w, 2)


NORMS = {
    "spectral": spectral,
    "column": lambda w: np.sqrt(np.mean(w * w, axis=0)).max(),
    "row": lambda w: np.sqrt(w.shape[1]) * np.linalg.norm(w, axis=1).max(),
    "largest": lambda w: np.abs(w).max(),
    "sign": lambda w: w.shape[1] * np.abs(w).max(),
}


def lengths(tree):
    """The length of every leaf of the network in the norm of its layer; papers' layout by hand."""
    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)
    conv = tree["conv"]["kernel"].reshape(18, 4).T
    return {
        "embedding": NORMS["largest"](tree["embed"]["embedding"].T),
        "convolution": 9 * np.sqrt(2 / 4) * np.linalg.norm(conv, 2),
        "bias": np.sqrt(np.mean(tree["conv"]["bias"] ** 2)),
        "dense": spectral(tree["dense"]["kernel"].T),
        "scale": np.abs(tree["dense"]["scale"]),
        "out": spectral(tree["attention"]["out"]["kernel"].reshape(6, 5).T),
        "head": NORMS["sign"](tree["lm_head"]["kernel"].T),
    }


GIVEN = {
    "radius": 2.0,
    "embedding_radius": 3.0,
    "head_radius": 5.0,
    "matrices": (("attention/out/kernel", "in in out"),),
    **CONVERGING,
}
OF_LEAF = {"embedding": 3.0, "head": 5.0} | dict.fromkeys(
    ("convolution", "bias", "dense", "scale", "out"), 2.0
)


def test_a_scion_step_has_the_length_of_its_radius_in_the_norm_of_its_layer():
    tx = fnopt.scale_by_scion(**GIVEN)
    directions, _ = tx.update(like(NETWORK), tx.init(NETWORK))
    assert lengths(directions) == pytest.approx(OF_LEAF, rel=1e-4)


def test_constrained_scion_stays_within_its_balls_and_unconstrained_leaves_them():
    largest = {}
    for unconstrained in (False, True):
        tx = fnopt.scion(0.3, **GIVEN, unconstrained=unconstrained)
        params, state, update = NETWORK, tx.init(NETWORK), jax.jit(tx.update)
        for _ in range(20):  # the same gradient drives them against the border
            updates, state = update(like(NETWORK), state, params)
            params = jax.tree.map(jnp.add, params, updates)
        largest[unconstrained] = lengths(params)
    for name, radius in OF_LEAF.items():
        assert 0.9 * radius < largest[False][name] < 1.0001 * radius, name
        assert largest[True][name] > 3 * radius, name


@pytest.mark.parametrize("name", NORMS)
def test_no_matrix_of_length_one_is_steeper(name):
    w = normal((1, 3, 5))
    if name == "spectral":
        found = orthogonalize([w], np.array([(15 / 8, -10 / 8, 3 / 8)] * 40), 1e-12)[0]
        found *= np.sqrt(3 / 5)
    else:
        found = steepest(w, name, 1e-12)
    w, found = np.asarray(w[0]), np.asarray(found[0])
    assert NORMS[name](found) == pytest.approx(1, rel=1e-4)
    others = np.random.default_rng(0).normal(size=(200, 3, 5))
    others[100:] = found + 0.1 * others[100:]
    assert all(np.sum(w * x) / NORMS[name](x) < np.sum(w * found) for x in others)


def test_a_kernel_of_torch_is_the_convolution_that_flax_transposes():
    grads = {"conv1": {"kernel": normal((3, 3, 2, 4))}}
    of_torch = {"conv1": {"weight": grads["conv1"]["kernel"].transpose(3, 2, 0, 1)}}
    tx = fnopt.scale_by_scion(**CONVERGING)
    flax, torch = (tx.update(tree, tx.init(tree))[0]["conv1"] for tree in (grads, of_torch))
    np.testing.assert_allclose(flax["kernel"].transpose(3, 2, 0, 1), torch["weight"], rtol=1e-4)


def test_an_embedding_that_is_the_head_too_can_be_said_to_be_one():
    grads = {"embed": normal((7, 4))}
    tx = fnopt.scale_by_scion(head_radius=8.0, matrices=(("embed", "head out in"),))
    directions, _ = tx.update(grads, tx.init(grads))
    assert_close(directions, {"embed": 8.0 * jnp.sign(grads["embed"]) / 4})
    with pytest.raises(ValueError, match="matches no leaf"):
        fnopt.scion(0.1, matrices=(("embd", "head"),)).init(grads)


# Dion2.


def test_dion2_with_all_rows_orthogonalizes_the_sum_of_trace():
    params = {"wide": normal((4, 6)), "tall": normal((6, 4), 1)}
    tx = fnopt.scale_by_dion2(1.0, 0.9, adjust_lr=None, **CONVERGING)
    momentum = fnopt.trace(0.9)
    state, sums = tx.init(params), momentum.init(params)
    for seed in range(3):
        grads = like(params, seed)
        directions, state = tx.update(grads, state, params)
        traced, sums = momentum.update(grads, sums)
    for name in params:
        u, _, vt = np.linalg.svd(traced[name], full_matrices=False)
        np.testing.assert_allclose(directions[name], u @ vt, atol=1e-4)


@pytest.mark.parametrize("shape", [(10, 6), (6, 10)])
def test_dion2_moves_the_largest_of_the_shorter_side_and_keeps_the_momentum_of_the_others(shape):
    tx = fnopt.scale_by_dion2(0.4, 0.5, **CONVERGING)
    params = {"kernel": jnp.zeros(shape)}  # the side of 6 may be the rows or the columns
    first, second = (like(params, seed) for seed in (0, 1))
    _, state = tx.update(first, tx.init(params))
    directions, after = tx.update(second, state)
    short = 0 if shape[0] == 6 else 1
    momentum = jnp.moveaxis(state.mu["kernel"] + second["kernel"], short, 0)
    moved = np.abs(np.moveaxis(directions["kernel"], short, 0)).max(axis=1) > 1e-6
    assert moved.sum() == 3  # of 6: the ceiling of 2.4
    sizes = jnp.sum(jnp.abs(momentum), axis=1)
    assert sizes[moved].min() > sizes[~moved].max()
    kept = jnp.where(moved[:, None], 0.5, 1.0) * momentum
    np.testing.assert_allclose(np.moveaxis(after.mu["kernel"], short, 0), kept, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.1, -0.5, float("nan")])
def test_a_share_of_rows_is_above_0_and_at_most_1(share):
    with pytest.raises(ValueError, match=r"dion2: fraction: must lie in \(0, 1\]"):
        fnopt.dion2(0.01, fraction=share)


def test_a_share_of_rows_is_no_schedule():
    with pytest.raises(TypeError, match="fraction: must be a number"):
        fnopt.dion2(0.01, fraction=fnopt.linear_schedule(0.1, 1.0, 10))


# Muown.


def test_muown_moves_lengths_of_rows_by_adam_alone():
    """The oracle sees two rows; here those that point across their gradient keep their length."""
    w = jnp.array([[3.0, 0.0, 0.0], [0.0, 0.5, 0.0]]).T  # two rows, as (inputs, outputs)
    g = jnp.array([[0.0, 1.0, 2.0], [0.0, 2.0, 1.0]]).T
    tx = fnopt.muown(0.1, other=fnopt.sgd(0.1))
    updates, _ = tx.update({"w": g}, tx.init({"w": w}), {"w": w})
    after = np.linalg.norm(w + updates["w"], axis=0)
    # Adam's first step is the rate, against the gradient along the row: 0 and 2.
    np.testing.assert_allclose(after, [3.0, 0.4], rtol=1e-5)
    assert np.abs(updates["w"][1:, 0]).max() > 1e-3  # the first row turns


def test_the_step_of_muown_is_right_where_it_is_small():
    """A difference of weights in float32 would have no digit left."""
    params, grads = {"w": normal((6, 4))}, {"w": normal((6, 4), 1)}

    def direction(step_size):
        tx = fnopt.scale_by_muown(step_size)
        return tx.update(grads, tx.init(params), params)[0]["w"]

    np.testing.assert_allclose(direction(1e-7), direction(0.0), rtol=1e-4, atol=1e-5)


def test_rows_of_zeros_stay_zero_under_muown():
    params = {"w": normal((3, 2)).at[:, 1].set(0.0)}
    tx = fnopt.muown(0.1)
    state = tx.init(params)
    for seed in range(3):
        updates, state = tx.update(like(params, seed), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    assert np.all(params["w"][:, 1] == 0) and np.all(np.isfinite(params["w"]))


@pytest.mark.parametrize(
    "tx",
    [fnopt.scion(0.1), fnopt.dion2(0.1, fraction=0.5), fnopt.muown(0.1)],
    ids=lambda tx: type(tx).__name__,
)
def test_a_stack_of_matrices_is_as_many_leaves(tx):
    stacked = {"blocks": {"kernel": normal((3, 4, 6))}}
    parts = {f"layer{i}": {"kernel": stacked["blocks"]["kernel"][i]} for i in range(3)}
    states = [tx.init(tree) for tree in (stacked, parts)]
    for seed in range(2):
        grads = like(stacked, seed)
        apart = {f"layer{i}": {"kernel": grads["blocks"]["kernel"][i]} for i in range(3)}
        together, states[0] = tx.update(grads, states[0], stacked)
        each, states[1] = tx.update(apart, states[1], parts)
        rows = jnp.stack([each[f"layer{i}"]["kernel"] for i in range(3)])
        np.testing.assert_allclose(together["blocks"]["kernel"], rows, rtol=2e-5, atol=2e-6)


# QK-Clip.

HEADS, WIDTH = 3, 4


def attention_logits(params, x):
    """The logits of every head, (heads, positions, positions)."""
    q = jnp.einsum("ti,ihd->htd", x, params["query"]["kernel"]) + params["query"]["bias"][:, None]
    k = jnp.einsum("ti,ihd->htd", x, params["key"]["kernel"]) + params["key"]["bias"][:, None]
    return jnp.einsum("hsd,htd->hst", q, k) / np.sqrt(WIDTH)


def attention():
    return {
        name: {"kernel": 2 * normal((5, HEADS, WIDTH), i), "bias": normal((HEADS, WIDTH), i + 3)}
        for i, name in enumerate(("query", "key", "value"))
    }


def test_logits_of_clipped_weights_are_at_most_the_threshold():
    params, x = attention(), normal((8, 5), 9)
    largest = jnp.max(attention_logits(params, x), axis=(1, 2))
    threshold = float(jnp.sort(largest)[1])  # one head is above it
    tx = fnopt.qk_clip(threshold=threshold)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = jax.jit(tx.update)(zero, tx.init(params), params, max_logits=largest)
    clipped = jax.tree.map(jnp.add, params, updates)
    after = jnp.max(attention_logits(clipped, x), axis=(1, 2))
    np.testing.assert_allclose(after, jnp.minimum(largest, threshold), rtol=1e-5)
    assert_same(updates["value"], zero["value"])
    calm = np.asarray(largest <= threshold)
    assert calm.sum() == 2
    assert np.all(updates["query"]["kernel"][:, calm] == 0)


def test_qk_clip_after_a_step_clips_the_weights_it_leads_to():
    params = {"layer": attention()}
    largest = {"layer": jnp.array([400.0, 100.0, 10.0])}
    grads = like(params)
    step = fnopt.muon(0.02)
    plain, _ = step.update(grads, step.init(params), params)
    tx = fnopt.chain(step, fnopt.qk_clip())
    updates, _ = tx.update(grads, tx.init(params), params, max_logits=largest)
    factor = np.array([0.5, 1.0, 1.0])[:, None]
    for name in ("query", "key"):
        for leaf in ("kernel", "bias"):
            stepped = params["layer"][name][leaf] + plain["layer"][name][leaf]
            got = params["layer"][name][leaf] + updates["layer"][name][leaf]
            np.testing.assert_allclose(got, factor * np.asarray(stepped), rtol=1e-5, atol=1e-6)
    assert_same(updates["layer"]["value"], plain["layer"]["value"])


def clip_of(params, logits, **given):
    """The weights after a step of 0 and the clip."""
    tx = fnopt.qk_clip(**given)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params, max_logits=logits)
    return jax.tree.map(jnp.add, params, updates)


def test_heads_of_torch_are_parts_of_the_rows_and_stacks_have_logits_of_their_own():
    queries = {"*query*": 1.0}
    logits = jnp.array([200.0, 50.0])
    weight = clip_of({"query": {"weight": jnp.ones((6, 5))}}, logits, exponents=queries)
    np.testing.assert_allclose(weight["query"]["weight"][:, 0], [0.5] * 3 + [1.0] * 3, rtol=1e-6)
    bias = clip_of({"query": jnp.ones(4)}, logits, exponents=queries)
    np.testing.assert_allclose(bias["query"], [0.5, 0.5, 1.0, 1.0], rtol=1e-6)
    stack = jnp.array([[200.0, 50.0], [50.0, 400.0]])
    kernel = clip_of({"query": jnp.ones((2, 5, 2, 3))}, stack, exponents=queries)["query"]
    np.testing.assert_allclose(kernel[:, 0, :, 0], [[0.5, 1.0], [1.0, 0.25]], rtol=1e-6)


def test_logits_are_found_by_the_path_of_their_module_or_as_flax_sows_them():
    params = {"blocks": [{"attention": attention()} for _ in range(2)]}
    logits = [jnp.array([400.0, 1.0, 1.0]), jnp.array([1.0, 1.0, 1600.0])]
    by_path = {f"blocks/{i}/attention": own for i, own in enumerate(logits)}
    sown = {"blocks": [{"attention": {"max_logits": (own,)}} for own in logits]}
    clipped = clip_of(params, by_path)
    assert_same(clip_of(params, sown), clipped)
    factors = np.array([[0.5, 1.0, 1.0], [1.0, 1.0, 0.25]])
    for block, before, factor in zip(clipped["blocks"], params["blocks"], factors, strict=True):
        got, start = (x["attention"]["key"]["kernel"] for x in (block, before))
        np.testing.assert_allclose(got, factor[:, None] * np.asarray(start), rtol=1e-5)


def test_shared_keys_stay_where_queries_take_the_whole_factor():
    """Kimi K2's Algorithm 1 for rotary parts: the exponents are 1 and none."""
    params = {"query_rotary": jnp.ones((5, 2, 3)), "key_rotary": jnp.ones((5, 3))}
    clipped = clip_of(params, jnp.array([200.0, 1.0]), exponents={"query_rotary": 1.0})
    np.testing.assert_allclose(clipped["query_rotary"][0, :, 0], [0.5, 1.0], rtol=1e-6)
    assert_same(clipped["key_rotary"], params["key_rotary"])


@pytest.mark.parametrize(
    "given, logits, match",
    [
        ({}, None, r"qk_clip needs the largest attention logit.*max_logits="),
        ({}, {"other/attention": jnp.ones(3)}, r"no array of max_logits belongs to 'a/key/bias'"),
        ({}, jnp.ones(2), r"'a/key/bias' has shape \(3, 4\), which does not fit"),
        ({"exponents": {"*/qury/*": 0.5}}, jnp.ones(3), r"matches no leaf; the nearest.*query"),
    ],
)
def test_qk_clip_refuses_what_it_cannot_place(given, logits, match):
    with pytest.raises(ValueError, match=match):
        clip_of({"a": attention()}, logits, **given)


@pytest.mark.parametrize("exponents", ["query", (), (("query",),), {"query": "half"}, 0.5])
def test_exponents_are_pairs_of_patterns_and_numbers(exponents):
    with pytest.raises(TypeError, match="qk_clip: exponents"):
        fnopt.qk_clip(exponents)
