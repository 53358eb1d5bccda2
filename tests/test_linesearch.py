"""Line searches: their conditions, those of optax, and what happens where they fail."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_close

import fnopt
from fnopt.core import Evaluation
from fnopt.curvature.hager_zhang import hager_zhang
from fnopt.curvature.line import Point

SEARCHES = {
    "hager_zhang": fnopt.scale_by_hager_zhang_linesearch(),
    "zoom": fnopt.scale_by_zoom_linesearch(20),
    "backtracking": fnopt.scale_by_backtracking_linesearch(20, store_grad=True),
}
each_search = pytest.mark.parametrize("name", SEARCHES)


def downhill(name):
    return fnopt.chain(fnopt.scale(-1.0), SEARCHES[name])


@functools.partial(jax.jit, static_argnames="loss")
def step(tx, x, state, loss):
    updates, state = tx.update(jax.grad(loss)(x), state, x, value_fn=loss)
    return optax.apply_updates(x, updates), state


@each_search
def test_a_loss_of_minus_infinity_is_too_far(name):
    tx, x = downhill(name), jnp.array(0.5)
    x, _ = step(tx, x, tx.init(x), lambda x: jnp.where(x < -0.2, -jnp.inf, x**2))
    assert -0.2 <= x < 0.5


# Lines whose slope at 0 is -1: waves in a valley, a wall behind which the loss is not finite, a
# valley far away, a narrow one, and one that rounding hides.
LINES = {
    "waves": lambda t, a: a * (t - 1 / (2 * a)) ** 2 + 0.05 * (jnp.cos(9 * t) - 1),
    "wall": lambda t, a: -jnp.log(1 - a * t) / a - 2 * t,
    "far": lambda t, a: -(t / (t**2 + a**2)) * a**2,
    "narrow": lambda t, a: jnp.exp(100 * a * t) / (100 * a) - 2 * t,
    "rounding": lambda t, a: 1e6 + a * (t - 1 / (2 * a)) ** 2,
}


@pytest.mark.parametrize("line", LINES)
def test_a_step_satisfies_the_conditions(line):
    numbers = {"delta": 0.1, "sigma": 0.5, "epsilon": 1e-6}

    def search(a, first):
        def along(t):
            value, slope = jax.value_and_grad(LINES[line])(t, a)
            return Point(t, value, slope, slope)

        origin = along(jnp.zeros(()))
        return origin, *hager_zhang(along, first, origin, max_steps=50, **numbers)

    a, first = map(jnp.ravel, jnp.meshgrid(jnp.geomspace(0.05, 20, 9), jnp.geomspace(1e-3, 1e3, 7)))
    origin, point, count, _ = jax.jit(jax.vmap(search))(a, first)
    np.testing.assert_allclose(origin.slope, -1, rtol=1e-5)
    assert np.all(np.isfinite(point.value)) and np.all(count < 50)
    near = point.value <= origin.value + 1e-6 * np.abs(origin.value)
    lower = point.value <= origin.value + 0.1 * point.step * origin.slope
    lower |= near & (point.slope <= -0.8 * origin.slope)
    assert np.all(lower) and np.all(point.slope >= 0.5 * origin.slope)
    assert np.mean(count) < 12


@pytest.mark.beside_optax
@pytest.mark.parametrize("name", ["zoom", "backtracking"])
def test_steps_are_those_of_optax(name):
    theirs = {
        "zoom": optax.scale_by_zoom_linesearch(20),
        "backtracking": optax.scale_by_backtracking_linesearch(20, store_grad=True),
    }[name]
    peer = optax.chain(optax.scale(-1.0), theirs)

    def loss(x):
        return jnp.sum((x["a"] ** 2 - x["b"]) ** 2) + jnp.sum((1 - x["b"]) ** 4)

    with jax.enable_x64(True):
        tx, x = downhill(name), {"a": jnp.array([-1.2, 1.0]), "b": jnp.array(2.5)}
        state, state_of_peer = tx.init(x), peer.init(x)

        @jax.jit
        def both(x, state, state_of_peer):
            value, grad = jax.value_and_grad(loss)(x)
            given = {"value": value, "grad": grad, "value_fn": loss}
            ours, state = tx.update(grad, state, x, **given)
            expected, state_of_peer = peer.update(grad, state_of_peer, x, **given)
            return ours, expected, state, state_of_peer

        for _ in range(6):
            ours, expected, state, state_of_peer = both(x, state, state_of_peer)
            assert_close(ours, expected, rtol=1e-9, atol=1e-12)
            assert_close(state[1], state_of_peer[1], rtol=1e-9, atol=1e-12)
            x = optax.apply_updates(x, ours)


def barrier(x):
    return jnp.sum(x - jnp.log(x), dtype=jnp.float32)


@each_search
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_loss_that_is_not_finite_beyond_a_wall_is_minimized(name, dtype):
    tx, x = downhill(name), jnp.asarray([0.01, 3.0], dtype)
    state, losses = tx.init(x), [barrier(x)]
    for _ in range(25):
        x, state = step(tx, x, state, barrier)
        losses.append(barrier(x))
    assert x.dtype == dtype
    assert np.all(np.isfinite(losses)) and np.all(np.diff(losses) < 1e-6)
    np.testing.assert_allclose(x, 1, atol=0.1)


def steep(x):
    return jnp.sum(1e4 * x - jnp.log(x))


@each_search
def test_a_search_that_fails_moves_nothing_and_the_next_goes_on(name):
    search = SEARCHES[name]
    limit = "max_backtracking_steps" if name == "backtracking" else "max_linesearch_steps"
    tx = fnopt.chain(fnopt.scale(-1.0), search.replace(**{limit: 3}))
    x = jnp.ones(2)
    state = tx.init(x)
    moved, state = step(tx, x, state, steep)
    np.testing.assert_array_equal(moved, x)
    outcome = tx.outcome(state)
    assert_close(tuple(outcome[:2]), jax.value_and_grad(steep)(x))
    assert 0 < state[1].learning_rate < 1
    for _ in range(60):
        x, state = step(tx, x, state, steep)
    assert steep(x) < 1e-2 * steep(moved)


@each_search
def test_a_direction_uphill_or_not_finite_moves_nothing(name):
    x = jnp.array([3.0, 1.0])
    for direction in (jnp.array([jnp.nan, 1.0]), jnp.array([1.0, -jnp.inf])):
        tx = SEARCHES[name]
        updates, state = tx.update(direction, tx.init(x), x, value_fn=barrier)
        np.testing.assert_array_equal(updates, 0)
        assert np.all(np.isfinite(state.grad))


@each_search
def test_what_is_evaluated_is_counted(name):
    calls = []

    def counted(function):
        def call(x):
            jax.debug.callback(lambda: calls.append(1))
            return function(x)

        return call

    def loss(x):
        return jnp.sum((x - 1) ** 2)

    evaluation = Evaluation(counted(loss), jax.grad(loss), counted(jax.value_and_grad(loss)))
    tx, x = downhill(name), jnp.array([0.0, 5.0])
    value, grad = jax.value_and_grad(loss)(x)
    for given in ({"value": value, "grad": grad}, {}):
        calls.clear()
        _, state = tx.update(grad, tx.init(x), x, evaluation=evaluation, **given)
        jax.effects_barrier()
        outcome = tx.outcome(state)
        assert int(outcome.values) == len(calls)


@each_search
def test_complex_parameters_are_pairs_of_real_ones(name):
    def loss(z):
        return jnp.sum(jnp.abs(z - (1 + 2j)) ** 4)

    def loss_of_parts(parts):
        return loss(jax.lax.complex(*parts))

    tx, z = downhill(name), jnp.array([0.5 - 1j, 3j])
    parts = [z.real, z.imag]
    grad = jnp.conj(jax.grad(loss)(z))
    updates, state = tx.update(grad, tx.init(z), z, value_fn=loss)
    of_parts, state_of_parts = tx.update(
        jax.grad(loss_of_parts)(parts), tx.init(parts), parts, value_fn=loss_of_parts
    )
    assert_close([updates.real, updates.imag], of_parts)
    assert_close([state[1].grad.real, state[1].grad.imag], state_of_parts[1].grad, rtol=1e-3)


@each_search
def test_what_is_missing_is_named(name):
    tx, x = SEARCHES[name], jnp.ones(2)
    with pytest.raises(ValueError, match=r"needs a function of the parameters.*value_fn="):
        tx.update(-x, tx.init(x), x)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(-x, tx.init(x), value_fn=barrier)


def test_after_a_zoom_that_failed_the_next_begins_shorter():
    tx, x = fnopt.scale_by_zoom_linesearch(6), jnp.float32(1)
    given = {"value": x**2, "grad": 2 * x, "value_fn": lambda x: x**2}
    updates, state = tx.update(x, tx.init(x), x, **given)  # uphill
    assert updates == 0
    assert state.learning_rate == 0.5**state.info.num_linesearch_steps < 1
