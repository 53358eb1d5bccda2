"""PSGD with Kronecker factors: draws, whitening, what is skipped, memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from laws import assert_close, assert_same

import fnopt
from fnopt.matrix.psgd_factors import annealed, norm_lower_bound, whitened

MODES = ["one_diag", "smart_one_diag", "all_diag"]
RNG = np.random.default_rng(0)


def normal(*shape, dtype="float32"):
    """Normal numbers, a million times smaller in the last row than in the first."""
    return jnp.asarray(RNG.normal(size=shape) * np.geomspace(1, 1e-2, shape[-2])[:, None], dtype)


@jax.jit
def update(tx, grads, state):
    return tx.update(grads, state)


def after(tx, updates, grads):
    """The last updates and the state after so many, of which each has another sign and size."""
    state, directions = tx.init(grads), grads
    for i in range(updates):
        size = jnp.float32((-0.7) ** i)
        directions, state = update(tx, jax.tree.map(lambda g: size * g, grads), state)  # noqa: B023
    return directions, state


# One draw serves all matrices of a shape.


def test_stack_equals_separate_leaves():
    stack = normal(5, 4, 6)
    tx = fnopt.scale_by_psgd_kron(matrices=(("*", "stack in out"),))
    directions, state = after(tx, 4, {"w": stack})
    one = fnopt.scale_by_psgd_kron()
    alone, states = after(one, 4, {f"w{i}": leaf for i, leaf in enumerate(stack)})
    assert_close(directions["w"], jnp.stack(list(alone.values())), 1e-5, 1e-6)
    assert_close(state.left["w"], jnp.concatenate(list(states.left.values())), 1e-5, 1e-6)
    assert_close(state.right["w"], jnp.concatenate(list(states.right.values())), 1e-5, 1e-6)


@pytest.mark.parametrize("mode", [None, *(pytest.param(x, marks=pytest.mark.slow) for x in MODES)])
def test_batch_equals_one_by_one(mode):
    shapes = (4, 6), (6, 4), (6, 6)
    grads = {f"w{i}": normal(*shape) for i, shape in enumerate(shapes)}
    tx = fnopt.scale_by_psgd_kron(memory_save_mode=mode)
    together, _ = after(tx, 4, grads)
    for name, grad in grads.items():
        assert_close(together[name], after(tx, 4, {name: grad})[0][name], 1e-5, 1e-6)


def test_transposed_matrix_has_the_transposed_direction():
    grads = {"w": normal(4, 6)}
    tx = fnopt.scale_by_psgd_kron()
    turned = {"w": grads["w"].T}
    assert_close(after(tx, 4, grads)[0]["w"].T, after(tx, 4, turned)[0]["w"], 1e-5, 1e-6)


def test_draws_are_those_of_the_seed():
    grads = {"w": normal(4, 6)}
    first = after(fnopt.scale_by_psgd_kron(), 3, grads)
    assert_same(after(fnopt.scale_by_psgd_kron(seed=0), 3, grads), first)
    assert_same(after(fnopt.scale_by_psgd_kron(seed=jax.random.key(0)), 3, grads), first)
    other = after(fnopt.scale_by_psgd_kron(seed=1), 3, grads)[1]
    assert not np.array_equal(other.left["w"], first[1].left["w"])


# What is skipped.


def test_fits_all_matrices_at_the_same_random_updates():
    grads = {"v": normal(3, 4), "w": normal(2, 2)}
    tx = fnopt.scale_by_psgd_kron(preconditioner_update_probability=0.3)
    state, fits = tx.init(grads), []
    for _ in range(100):
        before, (_, state) = state, update(tx, grads, state)
        moved = [bool((state.left[name] != before.left[name]).any()) for name in grads]
        assert moved[0] == moved[1]
        fits.append(moved[0])
    assert 15 < sum(fits) < 45  # 30, give or take three standard deviations


def _primitives(jaxpr, within=False):
    """Each primitive of a program, and whether it is within a conditional."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name, within
        inner = within or equation.primitive.name == "cond"
        for sub in jaxprs_in_params(equation.params):
            yield from _primitives(sub, inner)


def test_fit_is_within_a_conditional_with_a_solve_for_each_side_of_a_shape():
    shapes = (3, 4), (4, 3), (3, 4), (4, 4)
    grads = {f"w{i}": normal(*shape) for i, shape in enumerate(shapes)}
    tx = fnopt.scale_by_psgd_kron()
    program = jax.make_jaxpr(tx.update)(grads, tx.init(grads)).jaxpr
    found = list(_primitives(program))
    assert found.count(("triangular_solve", True)) == 2 * 2
    assert found.count(("triangular_solve", False)) == 0


def test_usual_probability_falls_from_1_to_a_few_hundredths():
    values = [float(annealed(jnp.float32(t))) for t in (1, 500, 501, 1501, 4010, 1e6)]
    np.testing.assert_allclose(values, [1, 1, 1, np.exp(-1), 0.03, 0.03], 1e-5)


def test_factors_stay_without_a_gradient():
    """Else they grow by a tenth at each update, and the first gradient after a pause is lost."""
    zero, grads = {"w": jnp.zeros((3, 4))}, {"w": normal(3, 4)}
    tx = fnopt.scale_by_psgd_kron(b1=0.0, preconditioner_update_probability=1.0)
    state = tx.init(zero)
    _, idle = jax.lax.fori_loop(0, 500, lambda _, carry: tx.update(zero, carry[1]), (zero, state))
    assert_same((idle.left, idle.right), (state.left, state.right))
    assert jnp.isfinite(tx.update(grads, idle)[0]["w"]).all()


# What it computes.


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_norm_is_bounded_from_below(size):
    x = RNG.normal(size=(20, size, max(size // 2, 1)))
    gram = jnp.asarray(x @ x.swapaxes(1, 2), jnp.float32)
    bound, norm = norm_lower_bound(gram)[:, 0, 0], np.linalg.norm(gram, 2, axis=(1, 2))
    assert (bound <= norm * (1 + 1e-5)).all()
    assert (bound >= norm / np.sqrt(2)).all()


def test_direction_is_clipped_by_matrix():
    grads = {"w": jnp.stack([normal(3, 4), 1e4 * normal(3, 4)])}
    given = {"preconditioner_update_probability": 0.0, "matrices": (("*", "stack in out"),)}
    free = fnopt.scale_by_psgd_kron(clip_update_rms=None, **given)
    tx = fnopt.scale_by_psgd_kron(clip_update_rms=1.1, **given)
    (clipped, _), (plain, _) = (tx.update(grads, tx.init(grads)) for tx in (tx, free))
    assert_close(plain, grads)
    assert_close(clipped["w"][0], grads["w"][0])
    np.testing.assert_allclose(fnopt.core.rms(clipped["w"][1]), 1.1, 1e-5)


@pytest.mark.parametrize(
    "options, per_parameter",
    [
        ({}, 4 + 2 * 4),
        ({"precond_dtype": "bfloat16", "mu_dtype": "bfloat16"}, 2 + 2 * 2),
        ({"memory_save_mode": "one_diag"}, 4 + 4 + 4 / 64),
        ({"memory_save_mode": "smart_one_diag"}, 4 + 2 * 4),
        ({"memory_save_mode": "all_diag"}, 4 + 2 * 4 / 64),
        ({"max_size_triangular": 63}, 4 + 2 * 4 / 64),
    ],
)
def test_memory_of_a_square_matrix(options, per_parameter):
    params = {"w": jnp.ones((64, 64))}
    state = jax.eval_shape(fnopt.scale_by_psgd_kron(**options).init, params)
    slots = [state.mu, state.left, state.right]
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(slots))
    assert size == per_parameter * 64 * 64


def test_longer_side_is_diagonal_to_save_memory():
    params = {"w": jnp.ones((8, 32))}  # inputs by outputs
    for mode in ("one_diag", "smart_one_diag"):
        state = fnopt.scale_by_psgd_kron(memory_save_mode=mode).init(params)
        assert (state.left["w"].shape, state.right["w"].shape) == ((1, 32), (1, 8, 8))


@pytest.mark.parametrize("words", ["3", "one"])
def test_unknown_mode_is_refused(words):
    with pytest.raises(ValueError, match="memory_save_mode must be one of"):
        fnopt.psgd_kron(0.1, memory_save_mode=words)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("mode", [None, "all_diag"])
def test_whitens(dtype, mode):
    """Gradients with a Kronecker-structured covariance have the identity's after it."""
    rows, columns, samples = 4, 6, 4000

    def mixing(size):
        if mode == "all_diag":
            return np.diag(np.geomspace(0.3, 3, size))
        q, r = (np.linalg.qr(RNG.normal(size=(size, size)))[0] for _ in range(2))
        return q @ np.diag(np.geomspace(0.3, 3, size)) @ r

    left, right = (jnp.asarray(mixing(size), dtype) for size in (rows, columns))

    def draw(key, count):
        return left @ jax.random.normal(key, (count, rows, columns), dtype) @ right.T

    def covariance(x):
        x = x.reshape(x.shape[0], -1)
        return np.asarray(x.T @ x.conj() / x.shape[0])

    tx = fnopt.scale_by_psgd_kron(
        b1=0.0,
        preconditioner_update_probability=1.0,
        precond_lr=fnopt.exponential_decay(0.1, 1000, 0.5),
        memory_save_mode=mode,
        matrices=(("*", "out in"),),
    )
    grads = draw(jax.random.key(1), 6000)
    state, _ = jax.lax.scan(
        lambda state, grad: (tx.update(grad, state)[1], None), tx.init(grads[0]), grads
    )
    fresh = draw(jax.random.key(2), samples)
    many = [jnp.repeat(x, samples, axis=0) for x in (state.left, state.right)]
    white = whitened(fresh, *many)
    eigenvalues = np.linalg.eigvalsh(covariance(fresh))
    assert eigenvalues[-1] / eigenvalues[0] > 5e3
    np.testing.assert_allclose(covariance(white), np.eye(rows * columns), atol=0.25)
