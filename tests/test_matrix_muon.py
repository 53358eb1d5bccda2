"""Muon and its relatives: coefficients, batches and stacks, narrow and complex leaves."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
import scipy.optimize
from laws import assert_close
from oracles import muon as oracles

import fnopt
from fnopt.matrix import coefficients
from fnopt.matrix.newton_schulz import newton_schulz, orthogonalize

METHODS = {
    "muon": fnopt.muon,
    "normuon": fnopt.normuon,
    "adamuon": fnopt.adamuon,
}
RNG = np.random.default_rng(0)


def with_values(values, columns=None):
    """A matrix that has these singular values."""
    n = len(values)
    u, _ = np.linalg.qr(RNG.normal(size=(n, n)))
    v, _ = np.linalg.qr(RNG.normal(size=(columns or n, columns or n)))
    return u @ np.diag(values) @ v[:n]


def values_after(rows, values):
    """The singular values after the iterations, without a normalization, in float64."""
    with jax.enable_x64(True):
        x = jnp.asarray(with_values(values, len(values) + 3))
        return np.linalg.svd(newton_schulz(x, None, rows), compute_uv=False)


# Coefficients.


def test_polar_express_has_the_numbers_of_its_paper():
    rows = coefficients.polar_express(10)
    np.testing.assert_allclose(rows[:8], oracles.safe(oracles.POLAR_EXPRESS), rtol=1e-7)
    assert rows[7:] == (coefficients.LIMIT,) * 3


@pytest.mark.parametrize("low, high", [(1e-3, 1.0), (0.03, 1.9), (0.5, 1.5)])
def test_polynomials_are_nearest_to_one(low, high):
    """As the solution of a linear program on a grid."""
    row, error = coefficients.nearest_to_one(low, high)
    x = np.geomspace(low, high, 2000)
    assert np.max(np.abs(coefficients.value(row, x) - 1)) == pytest.approx(error, rel=1e-5)
    powers, one = np.stack([x, x**3, x**5], axis=1), np.ones((len(x), 1))
    bounds = np.block([[powers, -one], [-powers, -one]])
    best = scipy.optimize.linprog(
        [0, 0, 0, 1], bounds, np.concatenate([one, -one]), bounds=[(None, None)] * 4
    )
    assert error == pytest.approx(best.fun, rel=1e-4)


@pytest.mark.parametrize("steps", [3, 5, 8])
def test_polar_express_keeps_singular_values_in_its_bounds(steps):
    """In the image of [0.001, 1] under the paper's polynomials, whose error its Theorem bounds."""
    rows = oracles.safe(oracles.POLAR_EXPRESS)[:steps]
    at = oracles.at_values(np.geomspace(1e-3, 1, 100_000), rows)
    values = values_after(coefficients.polar_express(steps), np.geomspace(1e-3, 1, 40))
    assert at.min() - 1e-9 <= values.min() and values.max() <= at.max() + 1e-9


def test_error_of_composed_polynomials_is_below_the_bound_of_the_theorem():
    """|1 - p(x)| <= (1 - l²)^(3^T) on [l, 1] after T polynomials of degree 5."""
    for low in (0.01, 0.1, 0.3):
        interval, rows = (low, 1.0), []
        for steps in range(1, 5):
            row, error = coefficients.nearest_to_one(*interval)
            rows.append(row)
            interval = 1 - error, 1 + error
            values = values_after(rows, np.geomspace(low, 1, 30))
            assert np.max(np.abs(1 - values)) <= error + 1e-9
            assert error <= (1 - low**2) ** 3**steps + 1e-12


@pytest.mark.parametrize("steps", [1, 4, 5, 7])
def test_cans_brings_singular_values_within_delta_of_one(steps):
    rows = coefficients.cans(steps)
    x = np.geomspace(1e-6, 1, 200_000)
    image = oracles.at_values(x, rows)
    assert np.max(image) == pytest.approx(1.3, abs=1e-6)
    low = x[np.flatnonzero(image < 0.7 - 1e-6)[-1]]  # the left end of its interval
    values = values_after(rows, np.geomspace(1.01 * low, 1, 40))
    assert values.min() >= 0.7 - 1e-6 and values.max() <= 1.3 + 1e-6
    # The farther left it reaches, the more the iterations are worth.
    assert low < 0.35 * 0.32 ** (steps - 1)


@pytest.mark.parametrize("name", ["jordan", "dion", "polar_express", "cans"])
def test_coefficients_by_name(name):
    values = values_after(coefficients.rows_for(name, 5), np.geomspace(0.01, 1, 40))
    assert values.min() > 0.65 and values.max() < 1.31


def test_given_coefficients_are_the_last_rows_as_in_optax():
    rows = coefficients.DION
    assert_close(coefficients.rows_for(rows, 3), np.array(rows[2:]))
    assert_close(coefficients.rows_for("standard", 2), np.array(coefficients.JORDAN * 2))
    assert (
        fnopt.muon(0.1, rows[0]) == fnopt.muon(0.1, [rows[0]]) == fnopt.muon(0.1, np.array(rows[0]))
    )


@pytest.mark.parametrize(
    "given, words",
    [
        ({"ns_coeffs": "jordon"}, "muon: ns_coeffs: 'jordon' is no name; did you mean 'jordan'"),
        ({"ns_coeffs": (1.0, 2.0)}, "must be a name"),
        ({"ns_coeffs": "dion", "ns_steps": 6}, "muon: ns_steps must be at most 5"),
        ({"ns_steps": -1}, "muon: ns_steps must be at least 0"),
        ({"preconditioning": "none"}, "muon: preconditioning must be one of"),
        ({"other": fnopt.sgd(0.1), "adam_b1": 0.8}, "muon: adam_b1 is AdamW's"),
        (
            {
                "matrices": (("*", "in out"),),
                "muon_weight_dimension_numbers": optax.contrib.MuonDimensionNumbers(),
            },
            "say the same",
        ),
    ],
)
def test_mistakes_are_refused(given, words):
    with pytest.raises(ValueError) as refusal:
        fnopt.muon(0.1, **given)
    assert words in str(refusal.value)


# A batch is one by one, a stack is its matrices.


def draw(shape, dtype, rng):
    x = rng.normal(size=shape)
    x = x + 1j * rng.normal(size=shape) if jnp.issubdtype(dtype, jnp.complexfloating) else x
    return jnp.asarray(x).astype(dtype)


def updates_of(tx, params, steps=3):
    """What a transform makes at last of some gradients, which are drawn in the order of leaves."""
    rng, state, update = np.random.default_rng(1), tx.init(params), jax.jit(tx.update)
    updates = None
    for _ in range(steps):
        grads = jax.tree.map(lambda p: draw(p.shape, p.dtype, rng), params)
        updates, state = update(grads, state, params)
    return updates


@functools.cache
def leaves(shape, n):
    return {f"layer{i:02}": {"kernel": jnp.ones(shape)} for i in range(n)}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(4, 7), (5, 5)])
def test_a_stack_is_its_matrices(name, shape):
    tx = METHODS[name](0.1, weight_decay=0.1)
    stacked = {"blocks": {"kernel": jnp.ones((12, *shape))}}
    of_stack = updates_of(tx, stacked)["blocks"]["kernel"]
    of_leaves = jax.tree.leaves(updates_of(tx, leaves(shape, 12)))
    assert_close(of_stack, jnp.stack(of_leaves), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_is_one_by_one(name):
    """Of two shapes, one of them transposed too."""
    tx = METHODS[name](0.1)
    shapes = [(4, 7), (7, 4), (3, 3), (4, 7), (3, 3)]
    rng = np.random.default_rng(2)
    grads = [draw(shape, "float32", rng) for shape in shapes]
    params = [jnp.ones(shape) for shape in shapes]
    together, _ = tx.update(grads, tx.init(params), params)
    alone = [tx.update([g], tx.init([p]), [p])[0][0] for g, p in zip(grads, params, strict=True)]
    assert_close(together, alone, rtol=1e-4, atol=1e-6)


def test_leaves_of_other_layouts_are_the_same_matrix():
    """torch's weight, Flax's kernel and its transpose by a rule."""
    g = draw((4, 7), "float32", np.random.default_rng(3))
    params = {"kernel": g}, {"weight": g.T}, {"w": g.T}
    rules = None, None, (("w", "out in"),)
    for name, make in METHODS.items():
        steps = []
        for p, own in zip(params, rules, strict=True):
            tx = make(0.1, matrices=own)
            steps.append(jax.tree.leaves(tx.update(p, tx.init(p), p)[0])[0])
        assert_close(steps[1].T, steps[0], rtol=1e-4, atol=1e-6), name
        assert_close(steps[2].T, steps[0], rtol=1e-4, atol=1e-6), name


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_parameters_are_computed_in_float32(name):
    tx = METHODS[name](0.1, mu_dtype="float32")
    g = draw((6, 9), "bfloat16", np.random.default_rng(4))
    narrow, _ = tx.update([g], tx.init([g]), [jnp.ones_like(g)])
    wide = g.astype(jnp.float32)
    exact, _ = tx.update([wide], tx.init([wide]), [jnp.ones_like(wide)])
    assert narrow[0].dtype == jnp.bfloat16
    assert bool(jnp.all(narrow[0] == exact[0].astype(jnp.bfloat16)))


def test_bfloat16_iterations_stay_near_one():
    x = draw((3, 24, 40), "float32", np.random.default_rng(5))
    rows = coefficients.rows_for("polar_express", 6)
    (narrow,) = orthogonalize([x], rows, 1e-8, jnp.bfloat16)
    assert narrow.dtype == jnp.float32
    values = np.linalg.svd(narrow, compute_uv=False)
    assert values.min() > 0.9 and values.max() < 1.1
    assert bool(jnp.any(narrow != orthogonalize([x], rows, 1e-8)[0]))


@pytest.mark.parametrize("kind", ["frobenius", "spectral", "schatten", "aol"])
def test_complex_matrices_get_their_unitary_factor(kind):
    x = draw((2, 5, 8), "complex64", np.random.default_rng(6))
    rows = coefficients.rows_for("polar_express", 8)
    with jax.numpy_dtype_promotion("standard"):  # as in an update
        (got,) = orthogonalize([x], rows, 1e-8, preconditioning=kind)
    u, _, v = np.linalg.svd(x, full_matrices=False)
    # Rows that are scaled one by one have another factor.
    wanted = got @ got.conj().mT @ got if kind == "aol" else u @ v
    assert_close(got, jnp.asarray(wanted), rtol=1e-3, atol=1e-3)
    assert_close(got @ got.conj().mT, jnp.tile(jnp.eye(5, dtype=x.dtype), (2, 1, 1)), atol=1e-3)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_gradients_of_any_size_have_a_direction(size):
    g = draw((4, 6), "float32", np.random.default_rng(7))
    tx = fnopt.scale_by_muon(eps=0.0)
    assert_close(tx.update(size * g, tx.init(g))[0], tx.update(g, tx.init(g))[0], rtol=1e-3)


# Other leaves, sizes, dual norms.


def test_other_leaves_get_the_other_optimizer():
    params = {"embed": {"kernel": jnp.ones((5, 3))}, "layer": {"kernel": jnp.ones((3, 4))}}
    params["head"] = {"kernel": jnp.ones((4, 2))}
    grads = jax.tree.map(jnp.ones_like, params)
    tx = fnopt.muon(0.1, other=fnopt.sgd(7.0))
    updates, _ = tx.update(grads, tx.init(params), params)
    assert bool(jnp.all(updates["embed"]["kernel"] == -7.0))
    assert bool(jnp.all(updates["head"]["kernel"] == -7.0))
    assert float(jnp.abs(updates["layer"]["kernel"]).max()) < 0.2


@pytest.mark.parametrize("name", ["normuon", "adamuon"])
def test_directions_have_the_root_mean_square_that_is_asked_for(name):
    g = draw((9, 4), "float32", np.random.default_rng(8))
    tx = getattr(fnopt, f"scale_by_{name}")(consistent_rms=0.3)
    assert float(fnopt.core.rms(tx.update(g, tx.init(g))[0])) == pytest.approx(0.3, rel=1e-5)


def test_rows_of_normuon_become_as_large():
    """From the second moment of rows, which are outputs however the leaf lies."""
    rng = np.random.default_rng(9)
    g = draw((4, 9), "float32", rng) * jnp.geomspace(1e-3, 1.0, 9)[None]  # inputs, outputs
    tx = fnopt.scale_by_normuon()
    sizes = jnp.linalg.norm(tx.update(g, tx.init(g))[0], axis=0)
    assert float(sizes.max() / sizes.min()) == pytest.approx(1, rel=1e-3)


def test_dual_norm_is_one_number_for_each_matrix_of_a_stack():
    tx = fnopt.scale_by_muon(adaptive=True)
    stack = (
        draw((2, 4, 6), "float32", np.random.default_rng(10)) * jnp.array([1, 100.0])[:, None, None]
    )
    tree = {"blocks": {"kernel": stack}}
    got = tx.update(tree, tx.init(tree))[0]["blocks"]["kernel"]
    for i in range(2):
        alone = {"kernel": stack[i]}
        assert_close(got[i], tx.update(alone, tx.init(alone))[0]["kernel"], rtol=1e-4)


def test_the_iteration_is_a_loop_in_the_program():
    """However many iterations, there are three products."""
    x = jnp.ones((2, 8, 8))
    for steps in (2, 9):
        rows = coefficients.rows_for("jordan", steps)
        program = jax.jit(lambda x, rows=rows: orthogonalize([x], rows, 1e-8)[0]).lower(x).as_text()
        assert program.count("dot_general") == 3
