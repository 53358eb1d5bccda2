"""least_squares: NIST's problems, bounds, derivatives of the solution, mistakes."""

# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import jax
import jax.numpy as jnp
import nist
import numpy as np
import pytest
import scipy.optimize

import fnopt
from fnopt.solve import LeastSquaresResult

UNSOLVED = {"MGH10": "from its first start, far away, in 1000 iterations"}
"""The problems of NIST that are not solved from both starts."""


@pytest.mark.beside_optax
def test_nist_problems_are_solved_to_six_digits():
    """Each from both starting points, in every parameter; by one program."""
    with jax.enable_x64(True):
        starts, xs, ys, known = map(jnp.asarray, nist.padded())

        @jax.jit
        def solve_all(starts):
            def one(problem):
                index, starts = problem
                args = index, xs[index], ys[index], known[index]

                def solve(start):
                    return fnopt.least_squares(
                        nist.residuals, start, args, tol=0.0, maxiter=1000, ftol=0.0, xtol=1e-12,
                        jac=False,
                    ).x  # fmt: skip

                return jax.lax.map(solve, starts)

            return jax.lax.map(one, (jnp.arange(len(starts)), starts))

        unsolved = set()
        for regression, found in zip(nist.REGRESSIONS, solve_all(starts), strict=True):
            found = np.asarray(found[:, : regression.certified.size])
            error = np.abs(found / regression.certified - 1)
            if np.max(error) > 1e-6:
                unsolved.add(regression.name)
        assert len(nist.REGRESSIONS) == 27 and unsolved == set(UNSOLVED)


def rosenbrock(x):
    return jnp.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])


def powell(x):
    return jnp.stack(
        [
            x[0] + 10 * x[1],
            5**0.5 * (x[2] - x[3]),
            (x[1] - 2 * x[2]) ** 2,
            10**0.5 * (x[0] - x[3]) ** 2,
        ]
    )


def exponential(x):
    t = np.linspace(0, 3, 15)
    return x[0] * jnp.exp(-x[1] * t) + x[2] - (2 * np.exp(-0.7 * t) - 0.5)


def linear(x):
    matrix = np.random.default_rng(1).normal(size=(12, 5))
    return matrix @ x - np.arange(12.0)


INF = np.inf
BOUNDED = [
    (rosenbrock, [-1.0, 1.0], [-INF, 1.5], [0.5, INF]),
    (rosenbrock, [2.0, 2.0], [1.5, -INF], [INF, INF]),
    (rosenbrock, [-0.5, 0.1], [-0.5, -INF], [0.8, 0.3]),
    (powell, [3.0, 1.0, 0.5, 1.0], [0.5, -INF, -INF, -INF], [INF, INF, INF, 0.2]),
    (exponential, [1.0, 1.0, 0.5], [0.0, 0.0, 0.0], [INF, INF, INF]),
    (exponential, [1.0, 0.2, -0.1], [-INF, -INF, -0.2], [1.8, 0.5, INF]),
    (linear, [0.0] * 5, [-1.0, 0.0, 0.0, -0.5, 0.0], [0.5, 2.0, 0.1, 0.5, 3.0]),
    (linear, [0.0] * 5, [0.0] * 5, [INF] * 5),
]


def test_bounded_problems_end_where_scipys_do():
    with jax.enable_x64(True):
        for fun, *vectors in BOUNDED:
            x0, lower, upper = (np.array(vector) for vector in vectors)
            expected = scipy.optimize.least_squares(
                fun, np.clip(x0, lower, upper), bounds=(lower, upper), xtol=1e-15, ftol=1e-15,
                gtol=1e-12, max_nfev=2000,
            )  # fmt: skip
            result = fnopt.least_squares(
                fun, np.array(x0), bounds=(np.array(lower), np.array(upper))
            )
            assert result.success, (fun, result)
            assert result.cost <= expected.cost * (1 + 1e-6) + 1e-12, (fun, result, expected)
            np.testing.assert_allclose(result.x, expected.x, rtol=1e-4, atol=1e-4)
            assert result.optimality < 1e-4
            assert np.all(result.x >= lower) and np.all(result.x <= upper)
            assert_kkt(result, lower, upper)


def assert_kkt(result, lower, upper):
    """What is held pushes against its bound, and the rest has no slope."""
    x, grad, mask = map(np.asarray, (result.x, result.grad, result.active_mask))
    assert np.array_equal(mask, np.where(x >= upper, 1, np.where(x <= lower, -1, 0)))
    assert np.all(np.abs(grad[mask == 0]) < 1e-4)
    assert np.all(mask * grad <= 1e-4)


def test_the_result_has_scipys_fields():
    with jax.enable_x64(True):
        start = np.array([-1.2, 1.0])
        result = fnopt.least_squares(rosenbrock, start)
        assert isinstance(result, LeastSquaresResult)
        theirs = scipy.optimize.least_squares(rosenbrock, start)
        for name in ("x", "fun", "jac", "grad", "active_mask"):
            got, expected = getattr(result, name), theirs[name]
            np.testing.assert_allclose(got, expected, atol=1e-6)
            assert got.shape == expected.shape
        assert result.success and "converged" in result.message
        assert result.cost < 1e-15 and result.optimality < 1e-7
        assert result.nfev >= 2 * result.nit and result.njev > result.nit
        assert "cost=" in repr(result) and "LeastSquaresResult" in repr(result)
        assert fnopt.least_squares(rosenbrock, start, jac=False).jac is None


T = np.linspace(0.0, 2.0, 9)


def of_curve(x, y):
    return {"curve": x["size"] * jnp.exp(-x["rate"] * T) - y, "prior": 0.1 * x["rate"]}


def curves(n):
    sizes = np.linspace(1.0, 3.0, n)[:, None]
    return jnp.asarray(sizes * np.exp(-0.5 * T) + 0.1 * np.sin(9 * T))


START = {"size": 1.0, "rate": 0.0}


def test_trees_and_data_go_under_vmap():
    with jax.enable_x64(True):
        ys = curves(5)
        results = jax.vmap(lambda y: fnopt.least_squares(of_curve, START, y))(ys)
        assert results.x["size"].shape == (5,) and np.all(results.success)
        for i, y in enumerate(ys):
            one = fnopt.least_squares(of_curve, START, y)
            np.testing.assert_allclose(results.x["rate"][i], one.x["rate"], rtol=1e-8)
        assert one.jac["curve"]["rate"].shape == T.shape


@pytest.mark.parametrize("bounds", [None, ({"size": -jnp.inf, "rate": 0.6}, None)])
def test_the_derivative_of_the_solution_is_the_implicit_one(bounds):
    """By hand: the whole Hessian of half the sum of squares, not the Gauss-Newton matrix."""
    with jax.enable_x64(True):
        y = curves(1)[0]

        def solution(y):
            found = fnopt.least_squares(of_curve, START, y, bounds=bounds, tol=1e-13, ftol=0.0).x
            return jnp.stack([found["rate"], found["size"]])

        def cost(x, y):
            leaves = jax.tree.leaves(of_curve({"rate": x[0], "size": x[1]}, y))
            return sum(jnp.sum(r**2) for r in leaves) / 2

        x = solution(y)
        hessian = jax.hessian(cost)(x, y)
        mixed = jax.jacobian(jax.grad(cost), argnums=1)(x, y)
        if bounds is None:
            expected = -np.linalg.solve(hessian, mixed)
        else:
            assert x[0] == 0.6
            expected = np.stack([0 * mixed[0], -mixed[1] / hessian[1, 1]])
        jacobian = jax.jacrev if bounds is None else jax.jacfwd
        np.testing.assert_allclose(jacobian(solution)(y), expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(
    "method", ["lm", fnopt.levenberg_marquardt(solver="cg"), fnopt.gauss_newton(damping=1e-6)]
)
def test_methods_that_take_residuals_solve(method):
    result = fnopt.least_squares(rosenbrock, jnp.array([-1.2, 1.0]), method=method)
    np.testing.assert_allclose(result.x, 1.0, rtol=1e-3)


def test_a_program_serves_other_data():
    traces = seen = 0

    def residuals(x, y):
        nonlocal traces
        traces += 1
        return x - y

    for y in (1.0, 2.0, 3.0):
        result = fnopt.least_squares(residuals, jnp.zeros(2), jnp.full(2, y))
        np.testing.assert_allclose(result.x, y, rtol=1e-5)
        seen = seen or traces
    assert traces == seen


def test_a_function_that_becomes_nan_ends_with_the_best_point():
    def residuals(x):
        return jnp.where(x > 1.0, x, jnp.nan)

    result = fnopt.least_squares(residuals, 3.0, method=fnopt.gauss_newton(0.5))
    assert not result.success and result.status == 3 and 1.0 < result.x <= 2.0
    # Levenberg-Marquardt rejects such points and comes as near as it likes.
    result = fnopt.least_squares(residuals, 3.0)
    assert 1.0 < result.x < 1.1 and np.isfinite(result.cost)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fnopt.least_squares(3, 1.0), TypeError, "residuals must be a function of x"),
        (lambda: fnopt.least_squares(jnp.log, -1.0), ValueError, "the loss at x0 is nan"),
        (lambda: fnopt.least_squares(jnp.abs, 1j), TypeError, "x0 is complex, and"),
        (
            lambda: fnopt.least_squares(lambda x: x, 1.0, bounds=(2.0, 1.0)),
            ValueError,
            "the lower bound of params is above the upper one",
        ),
        (
            lambda: fnopt.least_squares(lambda x: x, 1.0, bounds=(0.0, 1.0), method="adam"),
            ValueError,
            "adam takes no bounds; method='levenberg_marquardt' does",
        ),
        (
            lambda: fnopt.least_squares(lambda x: x, 1.0, gtol=1e-3),
            TypeError,
            "no argument 'gtol': tol is the tolerance of the gradient",
        ),
        (
            lambda: fnopt.least_squares(lambda x: x > 0, 1.0),
            TypeError,
            "residuals must return real floating numbers, got bool[]",
        ),
        (
            lambda: fnopt.least_squares(lambda x: x[:0], jnp.ones(2)),
            ValueError,
            "residuals must return at least one number",
        ),
        (lambda: fnopt.least_squares(lambda x: x, 1.0, xtol=-1), ValueError, "xtol must be one"),
    ],
)
def test_mistakes_are_answered(call, error, words):
    with pytest.raises(error) as refusal:
        call()
    assert words in " ".join(str(refusal.value).split())
