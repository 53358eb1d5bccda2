"""What the wrappers and parts that matrix methods brought have of their own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close, assert_same

import fnopt

KEY = jax.random.key(0)
PARAMS = {
    "blocks": {"kernel": jax.random.normal(KEY, (4, 3, 5))},
    "dense": {"kernel": 3 * jax.random.normal(KEY, (5, 2)), "bias": jnp.ones(2)},
}


def loss(params):
    return sum(jnp.sum(jnp.cos(leaf) + leaf**2 / 3) for leaf in jax.tree.leaves(params))


def path(tx, params, steps, loss=loss):
    """The parameters after every update, and the last state."""

    @jax.jit
    def run(tx, params):
        def body(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), params

        (_, state), every = jax.lax.scan(body, (params, tx.init(params)), None, steps)
        return every, state

    return run(tx, params)


def end(every):
    return jax.tree.map(lambda leaf: leaf[-1], every)


# Norms held fixed.


@pytest.mark.parametrize(
    "inner",
    [
        fnopt.scale_by_muon(),
        fnopt.scale_by_adam(),
        fnopt.chain(fnopt.scale_by_adam(), fnopt.add_decayed_weights(0.1)),
    ],
    ids=["MuonH", "AdamH", "decay"],
)
def test_hyperball_keeps_the_norm_of_every_matrix_and_of_its_steps(inner):
    tx = fnopt.hyperball(inner, 0.02, other=fnopt.adam(0.1))
    every, _ = path(tx, PARAMS, 20)
    for got, first, axes in (
        (every["blocks"]["kernel"], PARAMS["blocks"]["kernel"], (-2, -1)),  # one for each block
        (every["dense"]["kernel"], PARAMS["dense"]["kernel"], (-2, -1)),
    ):
        norms = jnp.linalg.norm(first, axis=axes)
        np.testing.assert_allclose(
            jnp.linalg.norm(got, axis=axes), jnp.stack([norms] * 20), rtol=3e-7
        )
        before = jnp.concatenate([first[None], got[:-1]])
        # A step along the sphere is 0.02 long; what of it points along the weights is lost.
        share = np.asarray(jnp.linalg.norm(got - before, axis=axes)) / np.asarray(norms)
        assert np.all(share < 0.0201) and np.all(share > 0.001)
    adam, _ = path(fnopt.adam(0.1), PARAMS["dense"]["bias"], 20)
    np.testing.assert_allclose(every["dense"]["bias"], adam, rtol=1e-5)


def test_a_matrix_without_gradient_rests_beside_others():
    tx = fnopt.hyperball(fnopt.trace(0.9), 0.1)
    grads = jax.tree.map(jnp.zeros_like, PARAMS)
    grads["blocks"]["kernel"] = grads["blocks"]["kernel"].at[1].set(1.0)
    updates, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    moved = jnp.any(updates["blocks"]["kernel"] != 0, axis=(1, 2))
    np.testing.assert_array_equal(moved, [False, True, False, False])
    assert not jnp.any(updates["dense"]["kernel"])


def test_a_matrix_that_starts_at_0_stays_there():
    params = {"kernel": jnp.zeros((2, 3))}
    tx = fnopt.hyperball(fnopt.trace(0.9), 0.1)
    updates, _ = tx.update({"kernel": jnp.ones((2, 3))}, tx.init(params), params)
    np.testing.assert_array_equal(updates["kernel"], 0)


def test_the_norm_kept_is_the_first_one_after_any_number_of_roundings():
    params = {"kernel": PARAMS["dense"]["kernel"].astype(jnp.bfloat16)}
    tx = fnopt.chain(fnopt.sgd(0.3), fnopt.keep_norm())
    every, _ = path(tx, params, 200)
    norms = jnp.linalg.norm(every["kernel"].astype(jnp.float32), axis=(1, 2))
    first = jnp.linalg.norm(params["kernel"].astype(jnp.float32))
    np.testing.assert_allclose(norms, jnp.full(200, first), rtol=4e-3)


def test_a_stack_of_matrices_is_as_many_leaves():
    stack = {"blocks": PARAMS["blocks"]}
    apart = {f"block{i}": {"kernel": x} for i, x in enumerate(PARAMS["blocks"]["kernel"])}
    tx = fnopt.hyperball(fnopt.scale_by_muon(), 0.05)
    together, _ = path(tx, stack, 3)
    one_by_one, _ = path(tx, apart, 3)
    for i in range(4):
        np.testing.assert_allclose(
            together["blocks"]["kernel"][:, i],
            one_by_one[f"block{i}"]["kernel"],
            rtol=1e-5,
            atol=1e-6,
        )


def test_the_direction_has_the_norm_of_the_weights_of_its_own_matrix():
    tx = fnopt.scale_to_param_norm()
    grads = jax.tree.map(lambda leaf: 1e20 * jnp.ones_like(leaf), PARAMS)
    directions, _ = tx.update(grads, tx.init(PARAMS), PARAMS)
    for got, expected in (
        (directions["blocks"]["kernel"], PARAMS["blocks"]["kernel"]),
        (directions["dense"]["kernel"], PARAMS["dense"]["kernel"]),
    ):
        norm = jnp.linalg.norm(got, axis=(-2, -1))
        np.testing.assert_allclose(norm, jnp.linalg.norm(expected, axis=(-2, -1)), rtol=1e-6)
    assert_same(directions["dense"]["bias"], grads["dense"]["bias"])


# Decay.


def test_cautious_decay_is_decay_where_signs_agree_and_none_where_they_differ():
    params, grads = jnp.array([2.0, 2.0, -2.0, -2.0, 2.0]), jnp.array([1.0, -1.0, 1.0, -1.0, 0.0])
    cautious, plain = fnopt.add_cautious_weight_decay(0.5), fnopt.add_decayed_weights(0.5)
    got, _ = cautious.update(grads, cautious.init(params), params)
    decayed, _ = plain.update(grads, plain.init(params), params)
    agree = np.array([True, False, False, True, True])
    np.testing.assert_array_equal(got, np.where(agree, decayed, grads))


def test_the_sign_of_tiny_and_of_complex_numbers_counts():
    tx = fnopt.add_cautious_weight_decay(0.5)
    tiny, params = jnp.array([-1e-30, 1e-30]), jnp.array([1e-30, 1e-30])
    got, _ = tx.update(tiny, tx.init(params), params)
    np.testing.assert_allclose(got, [-1e-30, 1.5e-30], rtol=1e-6)
    params, grads = jnp.array([1j, 1j, 1.0 + 1j]), jnp.array([1j, -1j, 1.0 - 0.5j])
    got, _ = tx.update(grads, tx.init(params), params)
    np.testing.assert_allclose(got, [1.5j, -1j, 1.5 + 0j], atol=1e-6)


def test_adamc_at_its_peak_is_adamw_and_its_decay_falls_as_the_square_of_the_rate():
    adamw, _ = path(fnopt.adamw(0.1, weight_decay=0.3), PARAMS, 5)
    same, _ = path(fnopt.adamc(0.1, 0.1, weight_decay=0.3), PARAMS, 5)
    assert_close(same, adamw, rtol=1e-6)
    # Without gradients there is decay alone.
    tx = fnopt.adamc(0.05, 0.1, weight_decay=0.3, normalized="dense/kernel", mask="*/kernel")
    still = jax.tree.map(jnp.zeros_like, PARAMS)
    updates, _ = tx.update(still, tx.init(PARAMS), PARAMS)
    shares = jax.tree.map(lambda u, p: float(jnp.mean(u / p)), updates, PARAMS)
    assert shares["dense"]["kernel"] == pytest.approx(-0.3 * 0.05**2 / 0.1)
    assert shares["blocks"]["kernel"] == pytest.approx(-0.3 * 0.05)
    assert shares["dense"]["bias"] == 0


# Averages and outer steps.

TENSORS = {"a": jnp.arange(1.0, 4.0), "b": jnp.ones((2, 2))}


def test_without_lookahead_ema_nesterov_is_the_optimizer():
    tx = fnopt.ema_nesterov(fnopt.adam(0.1), 0.0)
    every, state = path(tx, TENSORS, 5)
    assert_close(every, path(fnopt.adam(0.1), TENSORS, 5)[0], rtol=1e-6)
    assert_close(tx.eval_params(state, end(every)), end(every), rtol=1e-6)


def test_ema_nesterov_ends_on_its_points_where_the_lookahead_ends():
    """As the authors' program, which moves the weights ahead before each gradient."""
    ahead = fnopt.join_schedules([0.0, 0.8, 0.0], [2, 7])
    tx = fnopt.ema_nesterov(fnopt.sgd(0.1), ahead, 0.9)
    every, state = path(tx, TENSORS, 9)
    weights, mean, previous = TENSORS["a"], jnp.zeros(3), TENSORS["a"]
    for t in range(9):
        weights = weights + (0.8 if 2 <= t < 7 else 0.0) * mean
        weights = weights - 0.1 * jax.grad(lambda x: loss([x]))(weights)
        mean = 0.9 * mean + 0.1 * (weights - previous)
        previous = weights
        if t < 6 or t == 8:
            here = jax.tree.map(lambda leaf: leaf[t], every)["a"]  # noqa: B023
            np.testing.assert_allclose(
                here, weights + (0.8 if 1 <= t < 6 else 0.0) * mean, rtol=1e-5
            )
    np.testing.assert_allclose(tx.eval_params(state, end(every))["a"], weights, rtol=1e-5)


def test_ema_nesterov_evaluates_the_points_it_looks_ahead_from():
    tx = fnopt.ema_nesterov(fnopt.sgd(0.1), 0.5, 0.0)
    every, state = path(tx, TENSORS, 1)
    plain = end(path(fnopt.sgd(0.1), TENSORS, 1)[0])
    assert_close(tx.eval_params(state, end(every)), plain, rtol=1e-6)
    moved = jax.tree.map(lambda x, x0: x + 0.5 * (x - x0), plain, TENSORS)
    assert_close(end(every), moved, rtol=1e-6)


def test_primal_averaging_of_gradient_descent_is_nesterov_momentum():
    """Defazio et al. 2025, the formulation it generalizes: mu_x = mu_y = mu.

    With a rate of 1 - mu times that of torch's Nesterov, y moves as its parameters do.
    """
    mu, rate = 0.8, 0.05
    tx = fnopt.primal_averaging(fnopt.sgd(rate / (1 - mu)), mu, mu)
    averaged, _ = path(tx, TENSORS, 8)
    momentum, _ = path(fnopt.sgd(rate, momentum=mu, nesterov=True), TENSORS, 8)
    assert_close(averaged, momentum, rtol=1e-5)


def test_primal_averaging_evaluates_the_average():
    tx = fnopt.primal_averaging(fnopt.sgd(0.1), 0.6, 0.9)
    every, state = path(tx, TENSORS, 4)
    x = z = y = TENSORS["a"]
    for t in range(4):
        z = z - 0.1 * jax.grad(lambda x: loss([x]))(y)
        x = 0.9 * x + 0.1 * z
        y = 0.6 * x + 0.4 * z
        np.testing.assert_allclose(every["a"][t], y, rtol=1e-6)
    np.testing.assert_allclose(tx.eval_params(state, end(every))["a"], x, rtol=1e-6)
    # The optimizer's points in single precision, where the parameters are coarse.
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), TENSORS)
    state = fnopt.primal_averaging(fnopt.sgd(0.1), state_dtype="float32").init(half)
    assert state.z["a"].dtype == jnp.float32


def test_an_outer_step_after_each_of_rate_1_is_the_inner_optimizer():
    tx = fnopt.outer_step(fnopt.adam(0.1), 1, fnopt.sgd(1.0))
    every, state = path(tx, TENSORS, 6)
    assert_close(every, path(fnopt.adam(0.1), TENSORS, 6)[0], rtol=1e-6)
    assert_close(tx.eval_params(state, end(every)), end(every), rtol=1e-6)


def test_an_outer_step_back_is_lookahead():
    outer = fnopt.outer_step(fnopt.adam(0.1), 3, fnopt.scale(-0.5))
    every, state = path(outer, TENSORS, 7)
    ahead = fnopt.lookahead(fnopt.adam(0.1), 3, 0.5)
    expected, other = path(ahead, TENSORS, 7)
    assert_close(every, expected, rtol=1e-6)
    assert_close(outer.eval_params(state, end(every)), other.slow, rtol=1e-6)


def test_the_slow_parameters_are_evaluated_between_outer_steps():
    tx = fnopt.outer_step(fnopt.sgd(0.1), 3)
    every, state = path(tx, TENSORS, 5)
    assert int(state.steps_since_sync) == 2
    synced = jax.tree.map(lambda leaf: leaf[2], every)
    assert_close(tx.eval_params(state, end(every)), synced, rtol=1e-6)
    # The outer optimizer counts its own steps.
    outer = fnopt.adam(0.1)
    _, state = path(fnopt.outer_step(fnopt.sgd(0.1), 2, outer), TENSORS, 5)
    assert int(outer.count(state.outer_state)) == 2


@pytest.mark.beside_optax
def test_outer_steps_take_optimizers_of_optax():
    theirs = fnopt.outer_step(optax.adam(0.1), 2, optax.sgd(0.7, momentum=0.9, nesterov=True))
    ours = fnopt.outer_step(fnopt.adam(0.1), 2)
    assert_close(path(theirs, TENSORS, 6)[0], path(ours, TENSORS, 6)[0], rtol=1e-5)


@pytest.mark.parametrize(
    "period, error, words",
    [(0, ValueError, "at least 1, got 0"), (2.5, TypeError, "must be an integer, got 2.5")],
)
def test_outer_step_refuses_a_bad_period(period, error, words):
    with pytest.raises(error, match=f"outer_step: sync_period.*{words}"):
        fnopt.outer_step(fnopt.sgd(0.1), period)


@pytest.mark.parametrize(
    "make",
    [
        lambda inner: fnopt.outer_step(inner, 2),
        fnopt.primal_averaging,
        fnopt.ema_nesterov,
    ],
)
def test_what_is_frozen_inside_stays_frozen(make):
    inner = fnopt.selective_transform(fnopt.sgd(0.1), freeze_mask={"a": True, "b": False})
    tx = make(inner)
    assert tx.frozen(TENSORS) == {"a": True, "b": False}
    every, _ = path(tx, TENSORS, 3)
    np.testing.assert_array_equal(every["a"][-1], TENSORS["a"])


# PowerCool.


@pytest.mark.parametrize(
    "rate, c",
    [
        (0.3, 4.976805410800738e-05),
        (1 / 320, 5.184172302917436e-07),
        (0.0375, 3.3169534699576625e-06),
    ],
    ids=["embedding", "head", "muon"],
)
def test_power_cool_is_the_rate_of_the_record(rate, c):
    """Its groups' constants c, of the README of result 20: min(rate, c (3105 - t)**1.2)."""
    decay = (rate / c) ** (1 / 1.2)
    schedule = fnopt.power_cool_schedule(rate, 3105 - decay, decay)
    counts = np.array([0, 500, 800, 1600, 1800, 2500, 3000, 3104, 3105, 4000])
    expected = np.minimum(rate, c * np.maximum(3105 - counts, 0.0) ** 1.2)
    np.testing.assert_allclose(jax.vmap(schedule)(counts), expected, rtol=1e-3, atol=1e-9)
