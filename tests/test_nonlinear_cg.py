"""Conjugate gradients and Barzilai and Borwein's method: what they find, at what cost."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt

VARIANTS = ("polak_ribiere", "hager_zhang", "fletcher_reeves", "hestenes_stiefel", "dai_yuan")


@functools.partial(jax.jit, static_argnums=(2, 3))
def run(tx, params, loss, steps):
    """The losses and the numbers of evaluations of every step, and the last parameters."""

    def step(carry, _):
        params, state, value, grad = carry
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=loss)
        params, outcome = optax.apply_updates(params, updates), tx.outcome(state)
        return (params, state, outcome.value, outcome.grad), (outcome.value, outcome.values)

    value, grad = jax.value_and_grad(loss)(params)
    end, path = jax.lax.scan(step, (params, tx.init(params), value, grad), None, steps)
    return *path, end[0]


def rosenbrock(params):
    return (1 - params["x"]) ** 2 + 100 * (params["y"] - params["x"] ** 2) ** 2


CURVATURES = np.geomspace(1.0, 100.0, 6)


def quadratic(x):
    return 0.5 * jnp.sum(jnp.asarray(CURVATURES, x.dtype) * x * x)


@pytest.mark.parametrize("variant", VARIANTS)
def test_on_a_quadratic_it_ends_after_as_many_steps_as_there_are_parameters(variant):
    """All formulas are those of linear conjugate gradients there, if the line search is exact."""
    with jax.enable_x64(True):
        search = fnopt.scale_by_hager_zhang_linesearch(
            max_linesearch_steps=60, delta=1e-9, sigma=1e-8
        )
        tx = fnopt.nonlinear_cg(variant=variant, linesearch=search)
        values, _, _ = run(tx, jnp.ones(6), quadratic, 6)
        assert values[4] > 1e-5 and values[5] < 1e-12


@pytest.mark.parametrize("variant", ["polak_ribiere", "hager_zhang"])
def test_conjugate_gradients_solve_rosenbrock(variant):
    start = {"x": jnp.float32(-1.2), "y": jnp.float32(1.0)}
    values, evaluations, _ = run(fnopt.nonlinear_cg(variant=variant), start, rosenbrock, 60)
    reached = int(np.argmax(np.asarray(values) < 1e-8))
    assert 0 < reached and np.sum(evaluations[:reached]) < 170


def test_a_direction_that_does_not_descend_is_the_gradient_instead():
    tx = fnopt.scale_by_nonlinear_cg("fletcher_reeves")
    state = tx.init(jnp.zeros(2))
    _, state = tx.update(jnp.array([1.0, 0.0]), state)
    updates, state = tx.update(jnp.array([-3.0, 0.0]), state)  # 9 times the last, the other way
    np.testing.assert_array_equal(updates, [-3.0, 0.0])
    updates, _ = tx.update(jnp.array([-3.0, 1.0]), state)
    np.testing.assert_allclose(updates, [-3 - 10 / 3, 1.0], rtol=1e-6)


def test_complex_parameters_are_twice_as_many_real_ones():
    grads = [jnp.array([1 + 2j, -0.5j]), jnp.array([0.3 - 1j, 2 + 0j]), jnp.array([0.1j, -1 + 1j])]
    for tx in (fnopt.scale_by_nonlinear_cg("hager_zhang"), fnopt.scale_by_barzilai_borwein()):
        params = jnp.array([0.5 + 1j, 2 - 1j])
        apart = jnp.stack([params.real, params.imag])
        state, state_apart = tx.init(params), tx.init(apart)
        for grad in grads:
            updates, state = tx.update(grad, state, params)
            parts = jnp.stack([grad.real, grad.imag])
            updates_apart, state_apart = tx.update(parts, state_apart, apart)
            np.testing.assert_allclose(updates.real, updates_apart[0], rtol=1e-5)
            np.testing.assert_allclose(updates.imag, updates_apart[1], rtol=1e-5)
            params, apart = params - 0.1 * updates, apart - 0.1 * updates_apart


@pytest.mark.parametrize("variant", ["long", "short"])
def test_barzilai_and_borwein_solve_a_quadratic_without_a_line_search(variant):
    tx, x = fnopt.barzilai_borwein(variant=variant, linesearch=None), jnp.ones(6)
    step = jax.jit(lambda x, state: tx.update(jax.grad(quadratic)(x), state, x))
    state = tx.init(x)
    for _ in range(80):
        updates, state = step(x, state)
        x = optax.apply_updates(x, updates)
    assert quadratic(x) < 1e-10


def test_barzilai_and_borwein_let_the_loss_rise_and_solve_rosenbrock():
    start = {"x": jnp.float32(-1.2), "y": jnp.float32(1.0)}
    values, evaluations, _ = run(fnopt.barzilai_borwein(), start, rosenbrock, 100)
    assert values[-1] < 1e-6 and np.sum(evaluations) < 150
    assert np.any(np.diff(values) > 0)
    monotone = fnopt.scale_by_nonmonotone_linesearch(memory_size=1)
    values, _, _ = run(fnopt.barzilai_borwein(linesearch=monotone), start, rosenbrock, 100)
    assert np.all(np.diff(values) <= 1e-6 * np.abs(values[1:]))


def test_along_negative_curvature_the_step_is_the_quotient_of_the_lengths():
    tx = fnopt.scale_by_barzilai_borwein()
    state = tx.init(jnp.array([0.0]))
    _, state = tx.update(jnp.array([1.0]), state, jnp.array([0.0]))
    updates, _ = tx.update(jnp.array([2.0]), state, jnp.array([-0.5]))
    np.testing.assert_allclose(updates, [0.5 * 2.0])


def test_where_nothing_has_moved_the_step_stays():
    tx, x, grad = fnopt.scale_by_barzilai_borwein(), jnp.array([3.0]), jnp.array([4.0])
    first, state = tx.update(grad, tx.init(x), x)
    second, _ = tx.update(grad, state, x)
    np.testing.assert_allclose((first, second), 1.0)  # 1 / |g| times g


def test_the_line_search_shortens_a_step_that_leaves_the_domain():
    def loss(x):
        return x - jnp.log(x)

    tx = fnopt.chain(fnopt.scale(-8.0), fnopt.scale_by_nonmonotone_linesearch())
    values, evaluations, _ = run(tx, jnp.array(1.5), loss, 1)
    assert np.isfinite(values[0]) and values[0] < loss(1.5) and evaluations[0] > 1


def test_a_line_search_without_descent_does_not_move():
    tx = fnopt.chain(fnopt.scale(1.0), fnopt.scale_by_nonmonotone_linesearch())
    _, evaluations, x = run(tx, jnp.ones(6), quadratic, 2)
    np.testing.assert_array_equal(x, jnp.ones(6))
    np.testing.assert_array_equal(evaluations, [0, 0])
