"""L-BFGS and BFGS beside SciPy's and optax's, and what becomes of pairs that are not good."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from laws import assert_close

import fnopt

HAGER_ZHANG = fnopt.scale_by_hager_zhang_linesearch(initial_guess_strategy="one")


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@functools.partial(jax.jit, static_argnames="loss")
def solve(tx, x, loss, ftol, gtol):
    """Where an optimizer stops by SciPy's conditions, and its number of evaluations."""

    def update(carry):
        x, state, value, grad, count, _ = carry
        updates, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=loss)
        outcome = tx.outcome(state)
        size = jnp.maximum(jnp.maximum(jnp.abs(value), jnp.abs(outcome.value)), 1)
        stop = (value - outcome.value <= ftol * size) | (jnp.max(jnp.abs(outcome.grad)) <= gtol)
        new = optax.apply_updates(x, updates), state, outcome.value, outcome.grad
        return *new, count + outcome.values, stop

    start = x, tx.init(x), *jax.value_and_grad(loss)(x), 1, False
    end = jax.lax.while_loop(lambda carry: ~carry[-1], update, start)
    return end[0], end[-2]


METHODS = {
    "lbfgs": fnopt.lbfgs(),
    "lbfgs, Hager-Zhang": fnopt.lbfgs(linesearch=HAGER_ZHANG),
    "bfgs": fnopt.bfgs(),
}


@pytest.mark.parametrize("name", METHODS)
def test_rosenbrock_is_solved_in_as_few_evaluations_as_by_scipy(name):
    minimize = pytest.importorskip("scipy.optimize", reason="compared with SciPy's").minimize
    with jax.enable_x64(True):
        start = jnp.tile(jnp.array([-1.2, 1.0]), 50)
        method = "L-BFGS-B" if name.startswith("lbfgs") else "BFGS"
        loss_and_grad = jax.jit(jax.value_and_grad(rosenbrock))
        options = {"gtol": 1e-8, "maxiter": 10**4} | ({"ftol": 1e-15} if method != "BFGS" else {})
        theirs = minimize(
            lambda x: jax.tree.map(np.asarray, loss_and_grad(x)),
            start,
            jac=True,
            method=method,
            options=options,
        )
        x, count = solve(METHODS[name], start, rosenbrock, 1e-15, 1e-8)
        np.testing.assert_allclose(x, theirs.x, atol=1e-5)
        np.testing.assert_allclose(x, 1, atol=1e-5)
        assert int(count) <= 1.2 * theirs.nfev


@pytest.mark.beside_optax
def test_lbfgs_is_that_of_optax_downhill():
    def loss(x):
        return rosenbrock(jnp.concatenate([x["a"], x["b"][None]]))

    tx, peer = fnopt.lbfgs(memory_size=3), optax.lbfgs(memory_size=3)
    with jax.enable_x64(True):
        x = {"a": jnp.array([-1.2, 1.0]), "b": jnp.array(0.3)}
        state, state_of_peer = tx.init(x), peer.init(x)
        assert jax.tree.structure(state) == jax.tree.structure(state_of_peer)

        @jax.jit
        def both(x, state, state_of_peer):
            value, grad = jax.value_and_grad(loss)(x)
            given = {"value": value, "grad": grad, "value_fn": loss}
            ours, state = tx.update(grad, state, x, **given)
            theirs, state_of_peer = peer.update(grad, state_of_peer, x, **given)
            return ours, theirs, state, state_of_peer

        for _ in range(10):
            ours, theirs, state, state_of_peer = both(x, state, state_of_peer)
            assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
            assert_close(state, state_of_peer, rtol=1e-6, atol=1e-9)
            x = optax.apply_updates(x, ours)


PARTS = [fnopt.scale_by_lbfgs(3), fnopt.scale_by_bfgs()]
each_part = pytest.mark.parametrize("tx", PARTS, ids=lambda tx: type(tx).__name__)


def run(tx, path, gradient):
    """The directions at the points of a path, and the last state."""
    state, directions = tx.init(path[0]), []
    for x in path:
        direction, state = tx.update(gradient(x), state, x)
        directions.append(direction)
    return directions, state


@each_part
def test_a_pair_of_negative_curvature_is_left_out(tx):
    curvature = jnp.array([1.0, -2.0, 3.0])
    path = [jnp.ones(3), jnp.array([1.0, 2.0, 1.0]), jnp.array([2.0, 2.0, 1.0])]
    directions, _ = run(tx, path, lambda x: curvature * x)
    # The second pair alone is there: s = e₁, y = e₁.
    np.testing.assert_allclose(directions[-1], curvature * path[-1], rtol=1e-6)
    grad = curvature * path[1]
    np.testing.assert_allclose(directions[1], grad / np.linalg.norm(grad), rtol=1e-6)
    for direction, x in zip(directions, path, strict=True):
        assert jnp.vdot(direction, curvature * x) > 0


@each_part
def test_where_nothing_moves_the_pairs_are_forgotten(tx):
    curvature = jnp.array([1.0, 10.0])
    path = [jnp.array([1.0, 1.0]), jnp.array([0.5, 0.7]), jnp.array([0.5, 0.7])]
    (_, fitted, again), _ = run(tx, path, lambda x: curvature * x)
    grad = curvature * path[-1]
    np.testing.assert_allclose(again, grad / jnp.linalg.norm(grad), rtol=1e-6)
    assert not np.allclose(fitted, again)


@each_part
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_storage_changes_directions_by_rounding_alone(tx, dtype):
    curvature = jnp.array([0.5, 1.0, 4.0])
    path = [jnp.array(x) for x in ([1.0, 1.0, 1.0], [0.5, 0.75, 0.25], [0.25, 0.5, -0.125])]
    wide, _ = run(tx, path, lambda x: curvature * x)
    small = [x.astype(dtype) for x in path]
    narrow, state = run(tx, small, lambda x: curvature.astype(dtype) * x)
    assert all(x.dtype == dtype for x in narrow)
    for a, b in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(a.astype("float32"), b, rtol=0.02, atol=0.01)
    # Sums of products are wider than what is stored.
    numbers = jax.tree.leaves([getattr(state, name) for name in tx.shared])
    assert {x.dtype.name for x in numbers} <= {"float32", "int32"}


def test_pairs_are_sharded_as_parameters():
    n = len(jax.devices())
    place = NamedSharding(Mesh(np.array(jax.devices()), ("device",)), PartitionSpec("device"))
    x = jax.device_put(jnp.ones((n, 3)), place)
    tx = fnopt.scale_by_lbfgs(2)
    _, state = jax.jit(tx.update)(x, tx.init(x), x)
    rows = NamedSharding(place.mesh, PartitionSpec(None, "device"))
    for history in (state.diff_params_memory, state.diff_updates_memory):
        assert history.sharding.is_equivalent_to(rows, 3)


@pytest.mark.parametrize("method", [fnopt.lbfgs, fnopt.bfgs], ids=lambda m: m.__name__)
def test_a_complex_quadratic_is_solved(method):
    goal = jnp.array([1 + 2j, -1j])

    def loss(z):
        return jnp.sum(jnp.array([1.0, 5.0]) * jnp.abs(z - goal) ** 2) + z.real[0] * z.imag[1]

    tx = method(linesearch=HAGER_ZHANG)
    z = jnp.zeros(2, jnp.complex64)
    state = tx.init(z)

    @jax.jit
    def step(z, state):
        updates, state = tx.update(jnp.conj(jax.grad(loss)(z)), state, z, value_fn=loss)
        return z + updates, state

    for _ in range(15):
        z, state = step(z, state)
    np.testing.assert_allclose(jax.grad(loss)(z), 0, atol=1e-4)


def test_starts_under_vmap_are_solved_at_once():
    starts = jax.random.normal(jax.random.key(0), (20, 4))
    x, counts = jax.vmap(lambda x: solve(METHODS["bfgs"], x, rosenbrock, 1e-7, 1e-4))(starts)
    assert np.all(jax.vmap(rosenbrock)(x) < 4)  # there is a second minimum, of 3.7
    assert len(set(counts.tolist())) > 5
