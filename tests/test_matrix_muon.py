"""Muon and its relatives: coefficients, batches and stacks, narrow and complex leaves."""

from __future__ import annotations

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
from fnopt.matrix.newton_schulz import newton_schulz

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


def updates_of(tx, params, steps=3):
    """What a transform makes of some gradients, in the order of the leaves."""
    state = tx.init(params)
    update = jax.jit(tx.update)
    rng = np.random.default_rng(1)
    for _ in range(steps):
        grads = jax.tree.map(
            lambda p: (
                jnp.asarray(rng.normal(size=p.shape) + 1j * rng.normal(size=p.shape)).astype(
                    p.dtype
                )
                if jnp.iscomplexobj(p)
                else jnp.asarray(rng.normal(size=p.shape), p.dtype)
            ),
            params,
        )
        updates, state = update(grads, state, params)
    return updates


def leaves(shape, n, dtype=jnp.float32):
    return {f"layer{i:02}": {"kernel": jnp.ones(shape, dtype)} for i in range(n)}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 5)])
def test_a_stack_is_its_matrices(name, shape):
    tx = METHODS[name](0.1, weight_decay=0.1)
    stacked = {"blocks": {"kernel": jnp.ones((12, *shape))}}
    of_stack = updates_of(tx, stacked)["blocks"]["kernel"]
    of_leaves = updates_of(tx, leaves(shape, 12))
    # The gradients are drawn in one order, so that they are the same.
    assert_close(of_stack, jnp.stack(jax.tree.leaves(of_leaves)), rtol=1e-4, atol=1e-6)
