"""What wrappers must keep: exact means, untouched states, frozen leaves."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same

import fnopt


def _gradients(number: int) -> list[Any]:
    """Gradients whose means are exact in single precision."""
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.integers(-8, 8, shape), jnp.float32)  # noqa: E731
    return [{"w": draw(3, 2), "b": draw(2)} for _ in range(number)]


_PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}


@pytest.mark.parametrize("k", [1, 2, 4])
def test_k_batches_are_one_exactly(k):
    """The mean of k batches makes the step that their mean would, bit for bit, and one alone."""
    inner = fnopt.sgd(0.5, momentum=0.5)  # which does not round
    tx = fnopt.MultiSteps(inner, k)
    state, plain = tx.init(_PARAMS), inner.init(_PARAMS)
    for _ in range(3):
        grads = _gradients(k)
        for grad in grads:
            updates, state = tx.update(grad, state, _PARAMS)
            if not tx.has_updated(state):
                assert_same(updates, jax.tree.map(jnp.zeros_like, grad))
        mean = jax.tree.map(lambda *leaves: sum(leaves) / k, *grads)
        wanted, plain = inner.update(mean, plain, _PARAMS)
        # The running mean divides by 3 on its way to 4.
        assert_close(updates, wanted, rtol=0 if k < 4 else 1e-6, atol=0)
        assert_close(state.inner_opt_state, plain, rtol=0 if k < 4 else 1e-6, atol=0)


def test_equal_batches_are_one_exactly():
    """The running mean of equal gradients is the gradient, whatever k."""
    grad = {"w": jnp.full((3, 2), 0.1), "b": jnp.full(2, 1 / 3)}
    tx = fnopt.MultiSteps(fnopt.identity(), 7)
    state = tx.init(_PARAMS)
    for _ in range(7):
        updates, state = tx.update(grad, state)
    assert_same(updates, grad)


def test_half_precision_gathers_in_single():
    """A thousand small gradients add up where bfloat16 itself would stand still."""
    param = jnp.ones((), jnp.bfloat16)
    tx = fnopt.MultiSteps(fnopt.identity(), 1000, use_grad_mean=False)
    grad = jnp.full_like(param, 2**-8)

    def body(state, _):
        updates, state = tx.update(grad, state)
        return state, updates

    _, updates = jax.lax.scan(body, tx.init(param), length=1000)
    assert updates.dtype == jnp.bfloat16
    np.testing.assert_allclose(updates[-1].astype(float), 1000 / 256, rtol=2**-8)


def test_the_number_of_batches_sweeps_in_one_program():
    """k is a leaf: a stack of wrappers with different k runs under ``vmap``."""
    txs = [fnopt.MultiSteps(fnopt.sgd(0.1), k) for k in (1, 2, 3)]

    def run(tx):
        def body(carry, grad):
            params, state = carry
            updates, state = tx.update(grad, state, params)
            return (params + updates, state), params + updates

        start = jnp.zeros(())
        return jax.lax.scan(body, (start, tx.init(start)), jnp.arange(1.0, 7.0))[1]

    together = jax.vmap(run)(jax.tree.map(lambda *leaves: jnp.stack(leaves), *txs))
    assert_close(together, jnp.stack([run(tx) for tx in txs]))


@pytest.mark.parametrize(
    "skip", [fnopt.skip_not_finite, functools.partial(fnopt.skip_large_updates, max_squared_norm=9)]
)
def test_a_skipped_batch_leaves_no_trace(skip):
    """Between good batches, bad ones change nothing but ``skip_state``."""
    tx = fnopt.MultiSteps(fnopt.trace(0.9), 2, should_skip_update_fn=skip)
    one = jnp.ones(2)
    state = tx.init(one)
    _, state = tx.update(one, state)
    for bad in (jnp.array([1.0, jnp.nan]), jnp.array([jnp.inf, 0.0])):
        updates, after = tx.update(bad, state)
        assert_same(updates, jnp.zeros(2))
        assert bool(after.skip_state["should_skip"])
        assert_same(after._replace(skip_state=state.skip_state), state)
        state = after
    updates, state = tx.update(one, state)
    assert_same(updates, one)


def test_gathering_never_runs_the_optimizer_on_a_part():
    """An update that would be NaN on a partial mean is not computed, nor let through as 0 NaN."""
    root = optax.stateless(lambda updates, params: jax.tree.map(jnp.sqrt, updates))
    tx = fnopt.MultiSteps(root, 2)
    state = tx.init(jnp.zeros(()))
    first, state = tx.update(jnp.array(-1.0), state)
    second, state = tx.update(jnp.array(9.0), state)
    assert (float(first), float(second)) == (0.0, 2.0)


def test_skipping_functions_agree_with_optax():
    for grads in (_gradients(1)[0], {"w": jnp.array([jnp.inf, jnp.nan, 1.0])}):
        for ours, theirs in (
            (fnopt.skip_not_finite, optax.skip_not_finite),
            (
                functools.partial(fnopt.skip_large_updates, max_squared_norm=1.0),
                functools.partial(optax.transforms.skip_large_updates, max_squared_norm=1.0),
            ),
        ):
            assert_close(ours(grads, 0, None), theirs(grads, 0, None))


def test_apply_if_finite_leaves_the_state_and_gives_up():
    """Bad gradients change the counters alone, until there were too many in a row."""
    tx = fnopt.apply_if_finite(fnopt.adam(0.1), 2)
    params = jnp.ones(2)
    _, state = tx.update(params, tx.init(params), params)
    bad = jnp.array([1.0, jnp.inf])
    for i in (1, 2):
        updates, after = tx.update(bad, state, params)
        assert_same(updates, jnp.zeros(2))
        assert_same(after.inner_state, state.inner_state)
        assert (int(after.notfinite_count), int(after.total_notfinite)) == (i, i)
        state = after
    updates, _ = tx.update(bad, state, params)
    assert not np.all(np.isfinite(updates))


def test_masked_out_leaves_may_be_anything():
    """A frozen leaf of integers or of a key is passed over and has no slot."""
    params = {"w": jnp.ones(2), "steps": jnp.arange(3)}
    tx = fnopt.masked(fnopt.adam(0.1), {"w": True, "steps": False})
    state = tx.init(params)
    updates, _ = tx.update(params, state, params)
    assert updates["steps"] is params["steps"]
    assert all(leaf.shape != (3,) for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("mask", [{"w": False, "b": True}, lambda p: {"w": False, "b": True}])
def test_frozen_leaves_stay_and_have_no_slots(mask):
    tx = fnopt.selective_transform(fnopt.adamw(0.1, weight_decay=0.1), freeze_mask=mask)
    grad, state = _gradients(1)[0], tx.init(_PARAMS)
    assert all(leaf.shape != (2,) for leaf in jax.tree.leaves(state))
    updates, state = tx.update(grad, state, _PARAMS)
    assert_same(updates["b"], jnp.zeros(2))
    alone = fnopt.adamw(0.1, weight_decay=0.1)
    wanted, _ = alone.update(grad["w"], alone.init(_PARAMS["w"]), _PARAMS["w"])
    assert_same(updates["w"], wanted)
    frozen, _ = fnopt.freeze(mask).update(grad, fnopt.freeze(mask).init(_PARAMS))
    assert_same(frozen, {**grad, "b": jnp.zeros(2)})


def test_groups_show_their_numbers_by_label():
    tx = fnopt.partition({"w": fnopt.sgd(0.1), "b": fnopt.adam(0.2)}, {"w": "w", "b": "b"})
    got = fnopt.hyperparameters(tx, tx.init(_PARAMS))
    assert (got["w.learning_rate"], got["b.learning_rate"], got["b1"]) == (0.1, 0.2, 0.9)


def test_a_label_without_a_transform_is_refused():
    tx = fnopt.partition({"slow": fnopt.sgd(0.1)}, {"w": "slow", "b": "slwo"})
    with pytest.raises(ValueError, match=r"'slwo'.*slow"):
        tx.init(_PARAMS)
    with pytest.raises(ValueError, match="no tree of labels"):
        fnopt.partition({"slow": fnopt.sgd(0.1)}, {"w": "slow"}).init(_PARAMS)


def test_flatten_takes_mixed_dtypes():
    params = {
        "a": jnp.ones(2, jnp.bfloat16),
        "b": jnp.ones((2, 2)),
        "c": jnp.ones(1, jnp.complex64),
    }
    tx = fnopt.flatten(fnopt.scale(2.0))
    updates, _ = tx.update(params, tx.init(params), params)
    assert_same(updates, jax.tree.map(lambda leaf: leaf * 2, params))


def test_complex_leaves_are_clipped_by_parts():
    tx = fnopt.split_real_and_imaginary(fnopt.clip(1.0))
    z = jnp.array([3 - 0.5j])
    updates, _ = tx.update(z, tx.init(z), z)
    assert_same(updates, jnp.array([1 - 0.5j]))


@pytest.mark.parametrize("long_side", [True, False])
def test_galore_at_full_rank_turns_the_gradient_alone(long_side):
    """At full rank P P^T G = G on the short side; the slots of a low rank are small."""
    grad = jax.random.normal(jax.random.key(0), (6, 4))
    tx = fnopt.scale_by_galore(base_optimizer=fnopt.identity(), long_side=long_side)
    updates, _ = tx.update(grad, tx.init(grad))
    assert_close(updates, grad)
    low = fnopt.galore(0.1, rank=2, long_side=long_side).init(grad)[0]
    assert low.base_optimizer_state.mu.shape == ((2, 4) if long_side else (6, 2))


def test_galore_refuses_a_bad_rank_and_bad_axes():
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        fnopt.scale_by_galore(rank=0)
    with pytest.raises(TypeError, match="rank must be an integer"):
        fnopt.scale_by_galore(rank=2.5)  # pyright: ignore[reportArgumentType]
    axes = fnopt.GaLoreDimensionNumbers(0, 1)
    with pytest.raises(ValueError, match=r"every axis.*\(2, 3, 4\)"):
        fnopt.scale_by_galore(weight_dimension_numbers=axes).init(jnp.ones((2, 3, 4)))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tx: fnopt.masked(tx, {"w": True, "b": False}),
        lambda tx: fnopt.partition({"in": tx, "out": fnopt.set_to_zero()}, {"w": "in", "b": "out"}),
        lambda tx: fnopt.selective_transform(tx, freeze_mask={"w": False, "b": True}),
        lambda tx: fnopt.groups(("w", tx), ("b", "freeze")),
    ],
)
def test_a_part_sees_the_loss_as_a_function_of_itself(wrap):
    """What takes gradients of its own gets those of its leaves, at the others as they are."""

    def loss(params):
        return jnp.sum((params["w"] * params["b"]) ** 2) / 2

    params = {"w": jnp.array([1.0, 2.0]), "b": jnp.array([2.0, 3.0])}
    sam = fnopt.sam(
        fnopt.sgd(0.1), fnopt.chain(fnopt.normalize(), fnopt.sgd(0.5)), opaque_mode=True
    )
    grads = jax.grad(loss)(params)
    alone = {"w": params["w"]}
    wanted, _ = sam.update(
        {"w": grads["w"]}, sam.init(alone), alone, value_fn=lambda w: loss({**params, **w})
    )
    tx = wrap(sam)
    for given in ({"value_fn": loss}, {"grad_fn": jax.grad(loss)}):
        updates, _ = tx.update(grads, tx.init(params), params, **given)
        np.testing.assert_allclose(updates["w"], wanted["w"], rtol=1e-6)


@pytest.mark.parametrize(
    "inner, words",
    [
        (fnopt.lamb(0.1), "scale_by_trust_ratio does not act on each element of b alone"),
        (fnopt.chain(fnopt.clip(1.0), fnopt.adafactor(0.1)), "scale_by_factored_rms does not act"),
        (fnopt.cautious(fnopt.adam(0.1)), "cautious does not act"),
        (
            optax.sgd(0.1),
            "chain does not act .*; for transformations of optax use optax.flat",
        ),
        (fnopt.adamw(0.1, mask=fnopt.decay_mask), "adamw tells leaves apart, .* treat w/kernel"),
        (fnopt.adamw(0.1, mask="*/kernel"), "adamw tells leaves apart, .* groups"),
        (fnopt.groups(("b", "freeze"), ("*", fnopt.sgd(0.1))), "groups tells leaves apart"),
    ],
)
def test_flatten_refuses_what_is_not_elementwise(inner, words):
    params = {"w": {"kernel": jnp.ones((2, 3))}, "b": jnp.ones(2)}
    tx = fnopt.flatten(inner)
    with pytest.raises(ValueError, match=f"flatten: {words}"):
        tx.init(params)
    with pytest.raises(ValueError, match=f"flatten: {words}"):
        tx.update(params, inner.init(params), params)


def test_flatten_within_a_group_is_the_group():
    params = {"w": {"kernel": jnp.ones((2, 3))}, "b": jnp.full(2, 2.0), "c": jnp.ones(())}
    plain, flat = (
        fnopt.groups(("*/kernel", fnopt.adamw(0.1)), ("*", wrap(fnopt.adam(0.1))))
        for wrap in (lambda tx: tx, fnopt.flatten)
    )
    expected, _ = plain.update(params, plain.init(params), params)
    updates, _ = flat.update(params, flat.init(params), params)
    assert_close(updates, expected)


def test_flatten_hands_on_the_loss():
    def loss(params):
        return jnp.sum(params["w"] ** 2) + jnp.sum(params["b"] ** 4)

    params = {"w": jnp.ones((2, 3)), "b": jnp.full(2, 2.0)}
    sam = fnopt.sam(
        fnopt.sgd(0.1), fnopt.chain(fnopt.normalize(), fnopt.sgd(0.5)), opaque_mode=True
    )
    grads = jax.grad(loss)(params)
    plain, _ = sam.update(grads, sam.init(params), params, value_fn=loss)
    tx = fnopt.flatten(sam)
    flat, _ = tx.update(grads, tx.init(params), params, value_fn=loss)
    for a, b in zip(jax.tree.leaves(flat), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_mask_of_words_is_refused():
    for make in (fnopt.freeze, lambda mask: fnopt.adamw(1e-3, mask=mask)):
        with pytest.raises(TypeError, match=r"True and False, a glob .*got 'a' within a tree"):
            make({"w": "a"})


def test_a_mask_is_a_glob_of_paths_too():
    params = {"in": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(3)}
    flags = {"in": {"kernel": False, "bias": True}, "scale": True}
    globs = ("*/bias", "*/scale")
    for make in (
        fnopt.freeze,
        lambda mask: fnopt.masked(fnopt.scale(2.0), mask),
        lambda mask: fnopt.adamw(0.1, weight_decay=0.5, mask=mask),
        lambda mask: fnopt.lars(0.1, 0.5, mask, trust_ratio_mask=mask),
        lambda mask: fnopt.selective_transform(fnopt.sgd(0.1), freeze_mask=mask),
        lambda mask: fnopt.groups(
            ("in/*", {}), ("*", 2.0), base=fnopt.adamw(0.1, weight_decay=0.5, mask=mask)
        ),
    ):
        tx, by_flags = make(globs), make(flags)
        expected, _ = by_flags.update(params, by_flags.init(params), params)
        updates, _ = tx.update(params, tx.init(params), params)
        assert_same(updates, expected)
    tx = fnopt.adamw(0.1, mask="*/kernel")
    assert eval(repr(tx), vars(fnopt)) == tx and hash(tx) == hash(fnopt.adamw(0.2, mask="*/kernel"))


def test_a_glob_that_matches_nothing_is_refused_where_all_leaves_are_seen():
    params = {"in": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "out": jnp.ones(3)}
    tx = fnopt.adamw(0.1, mask=("*/kernels",))
    with pytest.raises(ValueError, match=r"mask \('\*/kernels',\) matches no leaf.*'in/kernel'"):
        tx.init(params)
    fnopt.groups(("out", fnopt.adamw(0.1, mask="*/kernel")), ("*", fnopt.sgd(0.1))).init(params)
