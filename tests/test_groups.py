"""Groups by path: who gets what, what is refused, and that a group is an optimizer of its own."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx
from xla_flags import compiled_as_usual

import fnopt
from fnopt.core.select import path_name
from fnopt.core.transform import as_transform
from fnopt.wrap.groups import GroupsState
from fnopt.wrap.split import Split

PARAMS = {
    "embed": {"table": jnp.full((4, 2), 0.5)},
    "layers": [{"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)} for _ in range(2)],
    "bias": jnp.ones(()),
}
ADAMW = fnopt.adamw(0.1, weight_decay=0.5)


def make(multiplier=0.25):
    return fnopt.groups(
        ("embed/*", "freeze"),
        (("*/bias", "*/scale"), {"weight_decay": 0.0}),
        ("layers/0/*", multiplier),
        ("*", {}),
        base=ADAMW,
    )


def grads_of(params=PARAMS):
    return jax.tree.map(lambda p: 0.1 + p * p, params)


def run(tx, params=PARAMS, steps=3):
    state = tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(grads_of(params), state, params)
        params = optax.apply_updates(params, updates)
    return params


def assert_close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), got, want)


def test_each_leaf_goes_as_its_rule_says():
    got = run(make())
    bare = run(ADAMW.replace(weight_decay=0.0))
    slow = run(ADAMW.replace(learning_rate=0.025))
    plain = run(ADAMW)
    expected = {
        "embed": PARAMS["embed"],
        "layers": [
            {"kernel": slow["layers"][0]["kernel"], "bias": bare["layers"][0]["bias"]},
            {"kernel": plain["layers"][1]["kernel"], "bias": bare["layers"][1]["bias"]},
        ],
        "bias": bare["bias"],
    }
    assert_close(got, expected)


@pytest.mark.beside_optax
def test_it_is_optaxs_partition():
    rules = {"bias": fnopt.sgd(0.1, momentum=0.9), "rest": fnopt.adam(0.01)}
    tx = fnopt.groups(("*/bias", rules["bias"]), ("*", rules["rest"]))

    def labels(params):
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "bias" if path[-1].key == "bias" else "rest", params
        )

    assert_close(run(tx), run(optax.partition(rules, labels)))


def test_frozen_leaves_have_no_state():
    state = make().init(PARAMS)
    assert all(leaf.shape != (4, 2) for leaf in jax.tree.leaves(state))
    size = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert size == 2 * (6 + 3) * 2  # mu and nu of two kernels and two biases; one has no axis


def test_frozen_leaves_may_be_anything_and_even_nan():
    params = {"steps": jnp.arange(3), "w": jnp.ones(2), "hurt": jnp.full(2, jnp.nan)}
    tx = fnopt.groups((("steps", "hurt"), "freeze"), ("*", 1.0), base=fnopt.sgd(0.1))
    updates, _ = tx.update(params, tx.init(params), params)
    assert_close(
        updates, {"steps": 0 * params["steps"], "w": jnp.full(2, -0.1), "hurt": 0 * jnp.ones(2)}
    )


def test_the_norm_of_all_is_clipped_outside_the_groups():
    inner = fnopt.groups(("*/bias", 2.0), ("*", {}), base=fnopt.sgd(1.0))
    grads = {"layer": {"kernel": jnp.full((2, 2), 2.0), "bias": jnp.full(1, 3.0)}}  # norm 5
    tx = fnopt.chain(fnopt.clip_by_global_norm(1.0), inner)
    updates, _ = tx.update(grads, tx.init(grads), grads)
    assert_close(updates, {"layer": {"kernel": jnp.full((2, 2), -0.4), "bias": jnp.full(1, -1.2)}})
    # Within a group the norm is the group's.
    tx = fnopt.groups(("*/bias", fnopt.clip_by_global_norm(1.0)), ("*", fnopt.identity()))
    updates, _ = tx.update(grads, tx.init(grads), grads)
    assert_close(updates, {"layer": {"kernel": grads["layer"]["kernel"], "bias": jnp.ones(1)}})


def test_a_sweep_and_a_gradient_go_over_multipliers():
    multipliers = (0.0, 0.5, 2.0)
    batch = jax.tree.map(lambda *leaves: jnp.array(leaves), *map(make, multipliers))
    together = jax.jit(jax.vmap(run))(batch)
    for i, multiplier in enumerate(multipliers):
        assert_close(jax.tree.map(lambda x: x[i], together), run(make(multiplier)))  # noqa: B023

    def loss(multiplier):
        return sum(map(jnp.sum, jax.tree.leaves(run(make(multiplier)))))

    slope = jax.grad(loss)(1.0)
    np.testing.assert_allclose(slope, (loss(1.01) - loss(0.99)) / 0.02, rtol=1e-2)


def test_schedules_multiply_and_stand_in():
    halving = fnopt.exponential_decay(1.0, 1, 0.5)
    tx = fnopt.groups(
        ("a", halving), ("b", {"learning_rate": halving, "multiplier": 3.0}), base=fnopt.sgd(1.0)
    )
    params = {"a": jnp.ones(()), "b": jnp.ones(())}
    state = tx.init(params)
    for i in range(3):
        told = fnopt.hyperparameters(tx, state)
        updates, state = tx.update(params, state, params)
        assert_close(updates, {"a": jnp.asarray(-(0.5**i)), "b": jnp.asarray(-3 * 0.5**i)})
        assert float(told["b.learning_rate"]) == 3 * 0.5**i


def test_what_a_method_needs_of_the_loss_is_of_its_group():
    def loss(params):
        return 0.5 * jnp.sum(params["a"] ** 2) + 1.5 * jnp.sum(params["b"] ** 2 * params["a"])

    tx = fnopt.groups(("b", fnopt.hutchinson_estimator_diag_hessian()), ("*", fnopt.identity()))
    params = {"a": jnp.full(2, 2.0), "b": jnp.ones(2)}
    updates, _ = tx.update(params, tx.init(params), params, value_fn=loss)
    assert_close(updates, {"a": params["a"], "b": jnp.full(2, 6.0)})


class Net(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(2, 3, rngs=rngs)])
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(2, 4, rngs=rngs, decode=False)


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.MultiHeadDotProductAttention(2)(linen.Dense(4)(x))
        return linen.BatchNorm(use_running_average=True)(x)


def trees():
    linen_params = jax.eval_shape(LinenNet().init, jax.random.key(0), jnp.ones((3, 2)))["params"]
    return {
        "nnx": nnx.state(Net(nnx.Rngs(0)), nnx.Param),
        "linen": linen_params,
    }


@pytest.mark.beside_optax
@pytest.mark.parametrize("kind", ["nnx", "linen"])
def test_networks_of_flax_decay_kernels_alone(kind):
    params = trees()[kind]
    names = {
        path_name(path): flag
        for path, flag in jax.tree_util.tree_leaves_with_path(fnopt.decay_mask(params))
    }
    assert {path.rpartition("/")[2] for path, flag in names.items() if flag} == {"kernel"}
    assert not any(flag for path, flag in names.items() if not path.endswith("kernel"))
    # The bias of the heads has two axes, and is told by its name.
    assert any("query/bias" in path for path in names)
    tx = fnopt.groups((("*/bias", "*/scale"), "freeze"), ("*/kernel", 1.0), base=fnopt.sgd(0.1))
    assert len(tx.table(params).splitlines()) == len(names) + 3


@pytest.mark.beside_optax
def test_decay_mask_is_a_mask():
    zero = jax.tree.map(jnp.zeros_like, PARAMS)
    tx = fnopt.add_decayed_weights(0.5, mask=fnopt.decay_mask)
    updates, _ = tx.update(zero, tx.init(PARAMS), PARAMS)
    assert_close(
        updates,
        {
            "embed": {"table": jnp.full((4, 2), 0.25)},
            "layers": [{"kernel": jnp.full((2, 3), 0.5), "bias": jnp.zeros(3)}] * 2,
            "bias": jnp.zeros(()),
        },
    )
    other = functools.partial(fnopt.decay_mask, names=("table",))
    assert other(PARAMS)["embed"] == {"table": False}
    # Within groups, too, where the leaves of others are hidden.
    grouped = fnopt.groups(("embed/*", "freeze"), ("*", {}), base=tx)
    updates, _ = grouped.update(zero, grouped.init(PARAMS), PARAMS)
    assert_close(updates["embed"], zero["embed"])
    assert_close(updates["layers"][0]["kernel"], jnp.full((2, 3), 0.5))


def test_the_table_says_who_gets_what():
    expected = """
path             shape   parameters  pattern           gets
bias             ()               1  */bias, */scale   base, weight_decay=0.0
embed/table      (4, 2)           8  embed/*           frozen
layers/0/bias    (3,)             3  */bias, */scale   base, weight_decay=0.0
layers/0/kernel  (2, 3)           6  layers/0/*        base, multiplier=0.25
layers/1/bias    (3,)             3  */bias, */scale   base, weight_decay=0.0
layers/1/kernel  (2, 3)           6  *                 base
total                            27                    frozen: 8
"""
    params = jax.eval_shape(lambda: PARAMS)
    lines = make().table(params).splitlines()
    assert [line.split() for line in lines[:-1]] == [
        line.split() for line in expected.strip().splitlines()
    ]
    assert lines[-1] == f"base: {ADAMW!r}"


def init(*assignments, base=ADAMW, params=PARAMS):
    return fnopt.groups(*assignments, base=base).init(params)


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest_paths():
    with pytest.raises(ValueError, match=r"'\*/kernal' matches no leaf.*'layers/0/kernel'"):
        init(("*/kernal", "freeze"), ("*", 1.0))
    with pytest.raises(ValueError, match=r"'embbed/\*' matches no leaf; .*are 'embed/table'"):
        init(("embbed/*", "freeze"), ("*", 1.0))
    with pytest.raises(ValueError, match=r"huge.*matches no leaf.*'bias'"):

        def huge(path, leaf):
            return leaf.size > 100

        init((huge, "freeze"), ("*", 1.0))


def test_a_pattern_that_comes_too_late_is_refused():
    with pytest.raises(ValueError, match=r"'\*/bias' comes too late.*bias, layers/0/bias"):
        init(("*", 1.0), ("*/bias", "freeze"))


def test_a_leaf_without_a_pattern_is_refused_by_its_path():
    with pytest.raises(ValueError, match=r"no pattern matches 'embed/table'.*'\*'"):
        init(("layers/*", 1.0), ("bias", 1.0))


@pytest.mark.parametrize(
    ("assignments", "base", "error", "words"),
    [
        ([("*", 0.5)], None, ValueError, "'*' changes base; pass groups(…, base=…)"),
        ([("*", "frozen")], ADAMW, TypeError, "'frozen'"),
        ([("*", None)], ADAMW, TypeError, "None"),
        (["*"], ADAMW, TypeError, "a pair (pattern, treatment), got '*'"),
        ([("*", {"wd": 0.0})], ADAMW, ValueError, "'wd', which is no number of base (adamw)"),
        ([("*", {"nesterov": True})], ADAMW, TypeError, "True"),
        ([("*", {"nesterov": 1.0})], ADAMW, ValueError, "use a transform, as base.replace(…)"),
        ([("*", {"weight_decay": -1.0})], ADAMW, ValueError, "weight_decay must lie in [0, inf)"),
    ],
    ids=lambda x: str(x)[:20],
)
def test_bad_assignments_are_refused(assignments, base, error, words):
    with pytest.raises(error) as caught:
        fnopt.groups(*assignments, base=base)
    assert words in str(caught.value)


def test_the_first_pattern_wins_and_globs_mean_whole_paths():
    tx = fnopt.groups(("bias", "freeze"), ("layers/?/bias", 2.0), ("*", {}), base=fnopt.sgd(1.0))
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert float(updates["bias"]) == 0
    assert_close(updates["layers"][0], {"kernel": -jnp.ones((2, 3)), "bias": -2 * jnp.ones(3)})


def test_it_prints_as_itself():
    tx = make()
    assert eval(repr(tx), vars(fnopt).copy()) == tx
    assert "('embed/*', 'freeze')" in repr(tx)


def test_hyperparameters_are_those_applied():
    params = {"a": jnp.ones(2), "b": jnp.ones(2), "c": jnp.ones(2), "d": jnp.ones(2)}
    tx = fnopt.groups(
        ("a", "freeze"), ("b", 0.5), ("c", {"momentum": 0.5}), ("d", fnopt.sgd(3.0)),
        base=fnopt.sgd(0.1, momentum=0.9),
    )  # fmt: skip
    told = fnopt.hyperparameters(tx, tx.init(params))
    assert {name: float(value) for name, value in told.items()} == pytest.approx(
        {
            "learning_rate": 0.1,
            "b.learning_rate": 0.05,
            "b.momentum": 0.9,
            "c.learning_rate": 0.1,
            "c.momentum": 0.5,
            "d.learning_rate": 3.0,
        }
    )


def test_patterns_that_are_functions_have_names_of_their_own():
    tx = fnopt.groups(
        (lambda path, leaf: path == "a", 0.5), (lambda path, leaf: True, 2.0), base=fnopt.sgd(0.1)
    )
    told = fnopt.hyperparameters(tx, tx.init({"a": jnp.ones(2), "b": jnp.ones(2)}))
    assert [float(value) for value in told.values()] == pytest.approx([0.05, 0.2])


BODY, HEAD = ["body/bias", "body/kernel"], ["head"]
SGD = fnopt.sgd(0.1)
UNBIASED = fnopt.groups(("*/bias", "freeze"), ("*", SGD))
HEADLESS = fnopt.groups(("head", "freeze"), ("*", {}), base=SGD)


@pytest.mark.parametrize(
    "tx, still",
    [
        (fnopt.adam(0.1), []),
        (optax.sgd(0.1), []),
        (fnopt.set_to_zero(), BODY + HEAD),
        (fnopt.groups(("body/*", "freeze"), ("*", SGD)), BODY),
        (fnopt.groups(("head", SGD), ("*", UNBIASED)), ["body/bias"]),
        (fnopt.chain(fnopt.clip(1.0), HEADLESS), HEAD),
        (fnopt.chain(HEADLESS, fnopt.add_decayed_weights(0.1)), []),  # which moves them
        (fnopt.masked(fnopt.set_to_zero(), {"body": True, "head": False}), BODY),
        (fnopt.selective_transform(SGD, freeze_mask={"body": True, "head": False}), BODY),
    ],
)
def test_what_is_frozen_is_told_and_stays(tx, still):
    params = {"body": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": jnp.ones(3)}
    flags = as_transform(tx).frozen(params)
    assert jax.tree.structure(flags) == jax.tree.structure(params)
    paths = jax.tree_util.tree_leaves_with_path(flags)
    assert [path_name(path) for path, flag in paths if flag] == still
    updates, _ = tx.update(jax.tree.map(lambda x: 2 * x, params), tx.init(params), params)
    for flag, update in zip(jax.tree.leaves(flags), jax.tree.leaves(updates), strict=True):
        assert bool((update == 0).all()) is flag


@pytest.mark.parametrize(
    "before, still",
    [
        (fnopt.clip_by_global_norm(1.0), []),
        (optax.clip_by_global_norm(1.0), []),
        (fnopt.chain(fnopt.clip(1.0), fnopt.normalize()), []),
        (fnopt.prodigy(1.0), []),
        (fnopt.groups(("body/*", SGD), ("*", fnopt.clip_by_global_norm(1.0))), []),
        (fnopt.masked(fnopt.normalize(), {"body": True, "head": False}), HEAD),
        (fnopt.masked(fnopt.normalize(), {"body": False, "head": True}), []),
        (fnopt.masked(fnopt.normalize(), True), []),
        (fnopt.partition({"a": fnopt.normalize()}, "a"), []),
        (fnopt.adamw(0.1), HEAD),
        (fnopt.groups(("body/*", SGD), ("*", fnopt.lion(0.1))), HEAD),
        (fnopt.masked(fnopt.add_decayed_weights(0.1), {"body": True, "head": False}), HEAD),
        (fnopt.partition({"a": SGD}, "a"), HEAD),
    ],
)
def test_a_gradient_that_others_depend_on_before_the_freezing_is_needed(before, still):
    params = {"body": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": jnp.ones(3)}
    flags = fnopt.chain(before, fnopt.freeze({"body": False, "head": True})).frozen(params)
    paths = jax.tree_util.tree_leaves_with_path(flags)
    assert [path_name(path) for path, flag in paths if flag] == still


STILL = fnopt.groups(("body/*", "freeze"), ("*", fnopt.sgd(0.1, momentum=0.9)))
ASCENT = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.05))
STILL_ASCENT = fnopt.chain(fnopt.groups(("body/*", "freeze"), ("*", fnopt.identity())), ASCENT)
MEASURE = fnopt.snapshot("size", optax.tree.norm)
ODD = lambda count, **_: count % 2 == 1  # noqa: E731

HAND_ON = [
    fnopt.chain(fnopt.clip(1.0), STILL),
    fnopt.chain(STILL, fnopt.scale(0.5)),
    fnopt.chain(STILL, fnopt.clip_by_global_norm(1.0)),
    fnopt.chain(STILL, fnopt.reduce_on_plateau()),
    fnopt.chain(STILL, fnopt.scale_by_tree(0.5), fnopt.apply_every(2)),
    fnopt.chain(STILL, MEASURE),
    fnopt.chain(STILL, fnopt.masked(fnopt.add_decayed_weights(0.1), {"body": False, "head": True})),
    fnopt.named_chain(("groups", STILL), ("scale", fnopt.scale(0.5))),
    fnopt.lookahead(STILL, 2, 0.5),
    fnopt.MultiSteps(STILL, 2),
    fnopt.kahan(STILL),
    fnopt.cautious(STILL),
    fnopt.conditionally_mask(STILL, ODD),
    fnopt.masked(STILL, True),
    fnopt.partition({"all": STILL}, "all"),
    fnopt.selective_transform(fnopt.sgd(0.1), freeze_mask="body/*"),
    fnopt.groups(("*", STILL)),
    fnopt.groups(("body/*", "freeze"), ("*", fnopt.flatten(fnopt.sgd(0.1)))),
    fnopt.split_real_and_imaginary(STILL),
    fnopt.schedule_free(STILL, 0.1),
    fnopt.sam(STILL, STILL_ASCENT),
    fnopt.sam(STILL, STILL_ASCENT, opaque_mode=True),
    fnopt.lookahead(fnopt.kahan(fnopt.chain(STILL, fnopt.reduce_on_plateau())), 2, 0.5),
]
READ_ALL = [
    fnopt.chain(fnopt.clip_by_global_norm(1.0), STILL),
    fnopt.chain(MEASURE, STILL),
    fnopt.apply_if_finite(STILL, 3),
    fnopt.mechanize(STILL),
    fnopt.MultiSteps(STILL, 2, should_skip_update_fn=fnopt.skip_not_finite),
    fnopt.conditionally_transform(STILL, ODD),
    fnopt.sam(STILL, ASCENT),
    fnopt.sam(STILL, ASCENT, opaque_mode=True),
]


@pytest.mark.parametrize(
    "tx, free",
    [*((tx, True) for tx in HAND_ON), *((tx, False) for tx in READ_ALL)],
    ids=lambda x: type(x).__name__,
)
def test_a_frozen_gradient_is_computed_only_where_it_is_read(tx, free):
    """Through every wrapper: the compiled step has no product of a frozen kernel's shape."""
    params = {"body": {"kernel": jnp.ones((7, 5))}, "head": jnp.ones((5, 2))}
    flags = as_transform(tx).frozen(params)
    assert flags == {"body": {"kernel": free}, "head": False}

    def loss(params, x):
        params = jax.tree.map(
            lambda still, p: jax.lax.stop_gradient(p) if still else p, flags, params
        )
        return jnp.sum(jnp.tanh(x @ params["body"]["kernel"]) @ params["head"])

    @jax.jit
    def step(params, state, x):
        value, grads = jax.value_and_grad(loss)(params, x)
        more = {"value": value, "grad_fn": lambda params: jax.grad(loss)(params, x)}
        updates, state = tx.update(grads, state, params, **more)
        return optax.apply_updates(params, updates), state

    state, x = tx.init(params), jnp.linspace(-1.0, 2.0, 21).reshape(3, 7)
    text = compiled_as_usual(step.lower(params, state, x)).as_text()
    assert bool(re.search(r"f32\[7,5\]\S* dot\(", text)) != free
    before = params
    for _ in range(3):
        params, state = step(params, state, x)
    if free:
        assert (params["body"]["kernel"] == before["body"]["kernel"]).all()
        assert (params["head"] != before["head"]).any()


@pytest.mark.parametrize(
    "tx, free",
    [
        (fnopt.scale_by_galore(2, base_optimizer=STILL), True),
        (fnopt.chain(STILL, fnopt.add_decayed_weights(0.1)), False),  # which moves the frozen
        (fnopt.chain(STILL, optax.scale(0.5)), False),  # of which nothing is known
        (fnopt.conditionally_mask(STILL, ODD, forward_extra_args=True), False),
        (fnopt.schedule_free(STILL, 0.1, state_dtype="bfloat16"), False),  # rounds what it moves
        (fnopt.lookahead(STILL, 2, 0.5), True),
        (fnopt.chain(STILL, fnopt.adamw(0.1)), False),
        (fnopt.chain(STILL, fnopt.adamw(0.1, mask="head")), True),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_part_that_may_move_what_is_frozen_needs_its_gradient(tx, free):
    params = {"body": {"kernel": jnp.ones((7, 5))}, "head": jnp.ones((5, 2))}
    assert as_transform(tx).frozen(params) == {"body": {"kernel": free}, "head": False}


# Methods for matrices, which are joined over the groups.


def drawn(*shape):
    return jax.random.normal(jax.random.key(sum(shape)), shape)


MATRICES = {
    "a": {"w": drawn(4, 6), "bias": drawn(6)},
    "b": {"w": drawn(6, 4), "c": drawn(4, 4)},
    "blocks": {"w": drawn(3, 4, 6)},
    "head": drawn(6, 2),
}
MUON = fnopt.muon(0.1, weight_decay=0.1, matrices=(("blocks/*", "stack in out"),))
JOINED = {
    "multipliers": fnopt.groups(("a/*", 0.1), ("b/*", 0.5), ("*", {}), base=MUON),
    "numbers": fnopt.groups(("b/*", {"weight_decay": 0.0}), ("*", {}), base=MUON),
    "parts": fnopt.groups(
        ("b/*", fnopt.chain(fnopt.clip(0.5), fnopt.scale_by_muon())),
        ("*", fnopt.chain(fnopt.scale_by_muon(), fnopt.scale(0.1))),
    ),
    "masks": fnopt.groups(
        ("a/*", fnopt.masked(MUON, "*/w")), ("*", fnopt.chain(MUON, fnopt.clip(1.0)))
    ),
}


def one_by_one(tx, grads, state, params):
    """The updates of groups whose transforms are called one after the other."""
    tx = tx.for_params(params)
    split, states, updates = Split(tx.patterns, params), [], grads
    for i, (own, inner) in enumerate(zip(tx.transforms(), state.inner_states, strict=True)):
        part, inner = own.update(split.part(i, grads), inner, split.part(i, params))
        updates = split.joined(i, part, updates)
        states.append(inner)
    return updates, GroupsState(tuple(states))


@pytest.mark.parametrize("tx", JOINED.values(), ids=JOINED)
def test_matrices_of_all_groups_are_one_batch(tx):
    state = tx.init(MATRICES)
    _, state = tx.update(MATRICES, state, MATRICES)

    def loops(update):
        return jax.jit(update).lower(MATRICES, state, MATRICES).as_text().count("stablehlo.while")

    apart = functools.partial(one_by_one, tx)
    alone = loops(lambda grads, _, params: MUON.update(grads, MUON.init(params), params))
    assert loops(tx.update) == alone == 2 < loops(apart)
    grads = jax.tree.map(jnp.sin, MATRICES)
    got, want = tx.update(grads, state, MATRICES), apart(grads, state, MATRICES)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_other_numbers_are_another_batch():
    tx = fnopt.groups(("a/*", {"beta": 0.9}), ("*", {}), base=MUON)
    state = tx.init(MATRICES)
    text = jax.jit(tx.update).lower(MATRICES, state, MATRICES).as_text()
    assert text.count("stablehlo.while") == 3
    got, want = tx.update(MATRICES, state, MATRICES), one_by_one(tx, MATRICES, state, MATRICES)
    jax.tree.map(np.testing.assert_array_equal, got, want)


def test_packed_matrices_of_all_groups_are_one_batch():
    tx = JOINED["multipliers"]
    expected, _ = tx.update(MATRICES, tx.init(MATRICES), MATRICES)
    packing = fnopt.Packing.of(tx, MATRICES)
    packed = packing.pack(MATRICES)
    state = tx.init(packed)
    updates, _ = tx.update(packed, state, packed)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, packing.unpack(updates), expected)
    text = jax.jit(tx.update).lower(packed, state, packed).as_text()
    assert text.count("stablehlo.while") == 2


def test_a_sweep_over_multipliers_is_joined_too():
    def update(multiplier):
        tx = fnopt.groups(("a/*", multiplier), ("*", {}), base=MUON)
        return tx.update(MATRICES, tx.init(MATRICES), MATRICES)[0]

    multipliers = jnp.array([0.1, 0.5])
    text = jax.jit(jax.vmap(update)).lower(multipliers).as_text()
    assert text.count("stablehlo.while") == 2
    together = jax.vmap(update)(multipliers)
    for i, multiplier in enumerate((0.1, 0.5)):
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        jax.tree.map(close, jax.tree.map(lambda x: x[i], together), update(multiplier))  # noqa: B023


def test_schedules_and_extra_arguments_go_through_a_joined_batch():
    schedule = fnopt.exponential_decay(0.1, 2, 0.5)
    base = MUON.replace(learning_rate=schedule, beta=fnopt.exponential_decay(0.9, 2, 0.9))
    tx = fnopt.groups(("a/*", 0.5), ("*", {}), base=base)
    state = tx.init(MATRICES)
    for _ in range(2):
        more = {"value": jnp.float32(1.0), "grad": MATRICES}
        got = tx.update(MATRICES, state, MATRICES, **more)
        want = one_by_one(tx, MATRICES, state, MATRICES)
        jax.tree.map(np.testing.assert_array_equal, got, want)
        state = got[1]
    assert tx.count(state) == 2
