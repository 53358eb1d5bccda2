"""What the laws do not see of momentum, averaging and correction."""

from __future__ import annotations

import unittest
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import fnopt


def descend(tx, params, gradients):
    """All parameters on the way, and the last state."""
    state, path = tx.init(params), []
    for gradient in gradients:
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        path.append(params)
    return path, state


GRADIENTS = [jnp.asarray(g) for g in np.random.default_rng(0).normal(size=(9, 3)).astype("f4")]
START = jnp.array([1.0, -2.0, 0.5])

# Averaged gradient descent.


@pytest.mark.parametrize("t0", [0, 4, 9])
def test_asgd_averages_the_path_from_t0_on(t0):
    path, state = descend(fnopt.asgd(0.1, t0=t0), START, GRADIENTS)
    expected = np.mean(path[t0:], axis=0) if t0 < 9 else path[-1]
    np.testing.assert_allclose(fnopt.asgd_eval_params(state, START), expected, rtol=1e-5)


def test_asgd_keeps_its_average_in_single_precision():
    start = START.astype("bfloat16")
    state = fnopt.asgd().init(start)
    assert state.average.dtype == "float32"
    assert fnopt.asgd_eval_params((state,), start).dtype == "bfloat16"


# Kahan summation.


def accumulate(tx, dtype, steps, start=1.0):
    """The parameter, and what is lost of it, after equal gradients of -1."""

    @jax.jit
    def go(x):
        def step(carry, _):
            x, state = carry
            updates, state = tx.update(-jnp.ones_like(x), state, x)
            return (optax.apply_updates(x, updates), state), None

        return jax.lax.scan(step, (x, tx.init(x)), None, steps)[0]

    x, state = go(jnp.asarray(start, dtype))
    lost = state.compensation if isinstance(tx, fnopt.kahan) else jnp.zeros_like(x)
    return float(x), float(lost)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_kahan_accumulates_what_else_stands_still(dtype):
    plain, compensated = fnopt.sgd(1e-4), fnopt.kahan(fnopt.sgd(1e-4))
    assert accumulate(plain, dtype, 4000) == (1.0, 0.0)
    x, lost = accumulate(compensated, dtype, 4000)
    assert abs(x + lost - 1.4) < 0.02
    assert abs(lost) <= float(jnp.finfo(dtype).eps) / 2


def test_kahan_is_exact_where_the_digits_suffice():
    # A 1024th is an eighth of what bfloat16 can tell apart at 1.
    for steps in (1, 5, 12, 100):
        x, lost = accumulate(fnopt.kahan(fnopt.sgd(1 / 1024)), "bfloat16", steps)
        assert x + lost == 1 + steps / 1024


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("compiled", [False, True])
def test_kahan_loses_what_it_says(dtype, compiled):
    """Of steps far larger than the parameter too, and among subnormal numbers."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-6, 2, size=(2, 500))
    x, g = (jnp.asarray(size * rng.choice([-1, 1], 500), dtype) for size in sizes)
    tx = fnopt.kahan(fnopt.sgd(1.0))

    def step(x, g):
        updates, state = tx.update(g, tx.init(x), x)
        return optax.apply_updates(x, updates), state.compensation

    new, lost = (np.asarray(a, "f8") for a in (jax.jit(step) if compiled else step)(x, g))
    exact = np.asarray(x, "f8") - np.asarray(g, "f8")
    spacing = np.maximum(np.abs(exact) * float(jnp.finfo(dtype).eps), 2.0**-24)
    assert np.all(np.abs(new - exact) <= spacing)
    error = np.asarray(jnp.asarray(exact - new, "float32").astype(dtype), "f8")
    np.testing.assert_allclose(lost, error, rtol=1e-2, atol=2.0**-24 if dtype == "float16" else 0)


# Cautious optimizers.


def test_cautious_leaves_the_decay_after_it_alone():
    decay = (fnopt.scale(-1.0), fnopt.add_decayed_weights(0.1 * 0.01), fnopt.scale(-1.0))
    tx = fnopt.chain(fnopt.cautious(fnopt.adam(0.1)), *decay)
    updates, _ = tx.update(jnp.zeros(3), tx.init(START), START)
    np.testing.assert_allclose(updates, -0.001 * START, rtol=1e-6)
    inside = fnopt.cautious(fnopt.adamw(0.1, weight_decay=0.01))
    assert not np.any(inside.update(jnp.zeros(3), inside.init(START), START)[0])


# Lookahead.


def test_lookahead_keeps_the_slow_parameters_in_its_state():
    tx = fnopt.lookahead(fnopt.sgd(0.1), 3, 0.5)
    path, state = descend(tx, START, GRADIENTS)
    np.testing.assert_allclose(optax.tree.get(state, "slow"), path[-1], rtol=1e-5)
    expected = START - 0.05 * sum(GRADIENTS)
    np.testing.assert_allclose(path[-1], expected, rtol=1e-5)


@pytest.mark.beside_optax
@pytest.mark.parametrize("reset", [False, True])
def test_lookahead_of_pairs_is_that_of_optax(reset):
    given = fnopt.sgd(0.1, momentum=0.9), 2, 0.3, reset
    pair = fnopt.LookaheadParams.init_synced(START)
    ours, _ = descend(fnopt.lookahead(*given), pair, GRADIENTS)
    theirs, _ = descend(optax.lookahead(*given), pair, GRADIENTS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), ours, theirs)
    plain, _ = descend(fnopt.lookahead(*given), START, GRADIENTS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b.fast, 1e-5, 1e-6), plain, ours)


def test_lookahead_refuses_pairs_for_a_state_without():
    tx, pair = fnopt.lookahead(fnopt.sgd(0.1), 3, 0.5), fnopt.LookaheadParams.init_synced(START)
    for of_state, of_update in ((START, pair), (pair, START)):
        with pytest.raises(ValueError, match="LookaheadParams"):
            tx.update(START, tx.init(of_state), of_update)
    with pytest.raises(ValueError, match="sync_period must be at least 1, got 0"):
        fnopt.lookahead(fnopt.sgd(0.1), 0, 0.5)


def test_lookahead_begins_anew_where_it_has_synchronized():
    tx = fnopt.lookahead(fnopt.scale_by_madgrad(0.1), 1, 0.5, reset_state=True)
    path, state = descend(tx, START, GRADIENTS[:2])
    np.testing.assert_allclose(state.fast_state.x0, path[-1], rtol=1e-6)


def _optaxs() -> Iterator[unittest.TestCase]:
    try:
        from optax._src import lookahead_test
    except ImportError:
        return
    yield from unittest.defaultTestLoader.loadTestsFromTestCase(lookahead_test.LookaheadTest)


@pytest.mark.beside_optax
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("case", [pytest.param(c, id=c.id().split(".")[-1]) for c in _optaxs()])
def test_lookahead_passes_optaxs(case, monkeypatch):
    from optax._src import lookahead

    monkeypatch.setattr(lookahead, "lookahead", fnopt.lookahead)
    case.debug()


# Noise.


def test_noise_is_drawn_anew_by_step_and_leaf_and_key():
    def draws(tx):
        state, zero = tx.init((START, START)), (jnp.zeros(3), jnp.zeros(3))
        drawn = []
        for _ in range(2):
            updates, state = tx.update(zero, state)
            drawn += updates
        return np.stack(drawn)

    tx = fnopt.add_noise(1.0, 0.0, 0)
    assert len(np.unique(draws(tx))) == 12
    assert len(np.unique([draws(tx), draws(tx.replace(key=1))])) == 24
    np.testing.assert_array_equal(draws(tx.replace(key=jax.random.key(0))), draws(tx))
    np.testing.assert_array_equal(draws(fnopt.add_noise(1.0, 0.0)), draws(tx))
    assert tx.init(START).rng_key.dtype == "uint32"


def test_noise_takes_a_seed_by_its_old_name():
    with pytest.warns(DeprecationWarning, match='use "key"'):
        assert fnopt.add_noise(1.0, 0.5, seed=3) == fnopt.add_noise(1.0, 0.5, 3)
    with pytest.warns(DeprecationWarning, match='use "key"'):
        assert fnopt.noisy_sgd(1.0, seed=3) == fnopt.noisy_sgd(1.0, key=3)
    with pytest.raises(ValueError, match="key or seed, not both"):
        fnopt.noisy_sgd(1.0, key=3, seed=3)


# The rest.


def test_optimistic_adam_is_deprecated():
    with pytest.warns(DeprecationWarning, match="use `optimistic_adam_v2` instead"):
        fnopt.optimistic_adam(0.1)


def test_swats_switches_for_good_and_minds_its_schedule_after():
    tx = fnopt.swats(fnopt.linear_schedule(0.1, 0.0, 20), b2=0.5, eps=0.1)
    state, params, rates = tx.init(START), START, []
    for _ in range(21):
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
        rates.append(float(state.sgd_rate))
    switch = int(np.argmax(np.array(rates) > 0))
    assert 0 < switch < 15
    assert not any(rates[:switch]) and len(set(rates[switch:])) == 1
    assert not np.any(updates)


def test_a_hypergradient_shows_its_rate():
    tx = fnopt.hypergradient_sgd(0.1, hypergrad_lr=0.01)
    _, state = descend(tx, START, [START, START])
    rate = fnopt.hyperparameters(tx, state)["learning_rate"]
    np.testing.assert_allclose(rate, 0.1 + 0.01 * np.sum(np.square(START)), rtol=1e-6)


def test_betas_are_in_range():
    for betas, message in (((0.5, 1.0), r"\[0, 1\), got 1.0"), ((), "at least, got none")):
        with pytest.raises(ValueError, match=message):
            fnopt.aggmo(0.1, betas)


def test_windows_are_sharded_as_their_parameters():
    mesh = Mesh(np.array(jax.devices()), ("device",))
    place = NamedSharding(mesh, PartitionSpec("device"))
    params = jax.device_put(jnp.ones((mesh.size, 3)), place)
    tx = fnopt.grokfast_ma(4)
    first = tx.init(params)
    _, state = jax.jit(tx.update)(params, first)
    for window in (first.window, state.window):
        assert {shard.data.shape for shard in window.addressable_shards} == {(4, 1, 3)}
