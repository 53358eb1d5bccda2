"""minimize: one compiled loop around any method, its result, and derivatives of the solution."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import jaxprs_in_params
from jax.flatten_util import ravel_pytree

import fnopt
from fnopt.core import Outcome, Rate, Transform, evaluation_of, required
from fnopt.curvature.bounds import Bounds
from fnopt.curvature.operators import hessian
from fnopt.solve import OptimizeResult
from fnopt.solve.checks import as_box
from fnopt.solve.methods import as_method

START = np.array([-1.2, 1.0], np.float32)


def rosenbrock(x, a=1.0):
    return (a - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


class full_newton(Transform):
    """Newton's step without any care."""

    learning_rate: Rate = 1.0
    evaluates = True

    def init(self, params):
        return optax.EmptyState()

    def update(self, updates, state, params=None, **extra_args):
        evaluation = evaluation_of(extra_args)
        required(self, "value_fn", evaluation.value)
        grad, unravel = ravel_pytree(updates)
        step = jnp.linalg.solve(hessian(evaluation, params).dense(), grad)
        return unravel(-self.learning_rate * step), state


class descent_in_box(Transform):
    """Gradient descent, projected."""

    learning_rate: Rate = 1.0
    lower: Bounds = None
    upper: Bounds = None

    def init(self, params):
        return optax.EmptyState()

    def update(self, updates, state, params=None, **extra_args):
        def move(x, g, low, high):
            return jnp.clip(x - self.learning_rate * g, low, high) - x

        return jax.tree.map(move, params, updates, self.lower, self.upper), state


class Known(NamedTuple):
    value: Any
    grad: Any


class knowing_descent(Transform):
    """Gradient descent that evaluates where it goes to, and says what it found there."""

    learning_rate: Rate = 1.0
    evaluates = True

    def init(self, params):
        return Known(jnp.zeros(()), params)

    def update(self, updates, state, params=None, **extra_args):
        moves = jax.tree.map(lambda g: -self.learning_rate * g, updates)
        there = jax.tree.map(jnp.add, params, moves)
        return moves, Known(*evaluation_of(extra_args).value_and_grad(there))

    def outcome(self, state):
        return Outcome(state.value, state.grad, jnp.int32(1), jnp.int32(1), jnp.int32(2))


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def bowl(x, centre=2.0):
    return jnp.sum((x - centre) ** 2)


# Solutions.


def test_newton_solves_a_quadratic_in_one_step(double):
    matrix = jnp.diag(10.0 ** jnp.arange(5.0))
    result = fnopt.minimize(
        lambda x: x @ matrix @ x / 2 - x.sum(), np.ones(5), method=full_newton()
    )
    np.testing.assert_allclose(result.x, 0.1 ** np.arange(5), rtol=1e-12)
    assert result.success and (result.nit, result.nfev, result.njev, result.nhev) == (1, 2, 2, 0)
    assert float(jnp.max(jnp.abs(result.jac))) <= 1e-5


def test_x_may_be_a_tree(double):
    def loss(x):
        return rosenbrock(jnp.stack([x["a"], x["b"][1][0]])) + jnp.sum(x["none"] ** 2)

    start = {"a": -1, "b": (None, np.ones(1)), "none": np.zeros((0, 2))}
    result = fnopt.minimize(loss, start, method=full_newton())
    assert result.success and result.x["none"].shape == (0, 2) and result.x["b"][0] is None
    np.testing.assert_allclose([result.x["a"], result.x["b"][1][0]], 1, rtol=1e-6)
    assert result.x["a"].dtype == np.float64  # integers are converted


FIRST_ORDER = "adam", "sgd", "lion", "rprop", "prodigy", "sm3", "schedule_free_adamw", "momo"


@pytest.mark.beside_optax
@pytest.mark.parametrize("method", FIRST_ORDER)
def test_methods_by_name_get_nearer(method):
    result = fnopt.minimize(bowl, np.zeros(2, np.float32), method=method, maxiter=30)
    assert result.fun < 7.999 and np.isfinite(result.x).all()


@pytest.mark.parametrize(
    "name, method",
    [
        ("BFGS", "bfgs"),
        ("L-BFGS-B", "lbfgsb"),
        ("CG", "nonlinear_cg"),
        ("Newton-CG", "newton_cg"),
        ("trust-ncg", "newton_cg"),
        ("trust-krylov", "newton_cg"),
        ("trust-exact", "trust_newton"),
        ("Adam", "adam"),
        ("barzilai-borwein", "barzilai_borwein"),
    ],
)
def test_scipy_s_names_are_known(name, method):
    assert type(as_method("minimize", name)) is getattr(fnopt, method)


@pytest.mark.slow
@pytest.mark.beside_optax
@pytest.mark.parametrize("method", sorted(fnopt.optimizers()))
def test_every_method_gets_nearer_or_says_what_it_needs(method):
    needs = {
        "dpsgd": (TypeError, r"dpsgd needs .*fnopt.dpsgd\("),
        "gauss_newton": (ValueError, r"no outputs.*fnopt.least_squares\("),
        "levenberg_marquardt": (ValueError, r"no outputs.*fnopt.least_squares\("),
        "natural_gradient": (ValueError, r"no outputs.*fnopt.least_squares\("),
        "sophia_g": (ValueError, "needs the outputs of the model"),
    }
    start = np.zeros(2, np.float32)
    if method in needs:
        error, words = needs[method]
        with pytest.raises(error, match=words):
            fnopt.minimize(bowl, start, method=method)
    else:
        result = fnopt.minimize(bowl, start, method=method, maxiter=30)
        assert result.fun < 8 and np.isfinite(result.x).all()


@pytest.mark.slow
@pytest.mark.parametrize("bounds", [None, (-1.5, [0.5, 2.0])])
def test_the_usual_methods_agree_with_scipy(double, bounds):
    from scipy.optimize import minimize

    upper = None if bounds is None else np.array(bounds[1])
    pairs = None if bounds is None else [(-1.5, u) for u in upper]
    theirs = minimize(jax.jit(rosenbrock), START, jac=jax.jit(jax.grad(rosenbrock)), bounds=pairs)
    box = None if bounds is None else (-1.5, upper)
    ours = fnopt.minimize(rosenbrock, START.astype(float), bounds=box)
    assert ours.success and theirs.success
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-4)
    assert int(ours.nfev) <= 1.5 * theirs.nfev


@pytest.mark.beside_optax
def test_optax_and_schedules_are_methods():
    for method in (optax.adam(0.3), fnopt.adam(fnopt.cosine_decay_schedule(0.5, 200))):
        result = fnopt.minimize(bowl, np.zeros(2, np.float32), method=method)
        assert result.success and np.allclose(result.x, 2, atol=1e-3)


def test_one_precision_is_enough():
    result = fnopt.minimize(rosenbrock, START, method=full_newton())
    assert result.x.dtype == result.fun.dtype == np.float32
    assert result.success and np.allclose(result.x, 1, atol=1e-3)


# Why it stops.


def test_it_stops_at_once_at_a_solution():
    result = fnopt.minimize(bowl, np.full(2, 2, np.float32), method=fnopt.sgd(0.1))
    assert result.success and (result.nit, result.nfev) == (0, 1)


def test_it_stops_after_maxiter_at_the_best_point():
    result = fnopt.minimize(bowl, np.zeros(1, np.float32), method=fnopt.sgd(1.1), maxiter=3)
    assert not result.success and (result.status, result.nit) == (1, 3)
    assert result.message == "stopped: maxiter iterations are done"
    assert (result.x, result.fun, result.jac) == (0, 4, -4)  # sgd left it
    assert fnopt.minimize(bowl, np.zeros(1, np.float32), method="sgd", maxiter=0).nfev == 1


def test_it_goes_on_while_the_gradient_falls_though_rounding_hides_the_loss(double):
    # Every step leaves nine tenths of the way, and the loss is 1e20 to the last digit.
    slow = fnopt.trust_newton(0.1)
    result = fnopt.minimize(lambda x: 1e20 + 0.5 * x**2, 1.0, method=slow, tol=1e-5)
    assert result.success and result.nit > 100


def test_it_stops_where_nothing_moves():
    result = fnopt.minimize(bowl, np.zeros(2, np.float32), method=fnopt.sgd(0.0))
    assert not result.success and result.status == 2 and result.nit == 20
    assert "no further progress" in result.message and result.nfev == 1


def test_it_stops_at_a_small_reduction():
    solve = lambda ftol: fnopt.minimize(  # noqa: E731
        bowl, np.zeros(1, np.float32), method=fnopt.sgd(0.1), tol=0, ftol=ftol
    )
    result, exact = solve(1e-3), solve(None)
    assert result.success and result.status == 4 and result.nit < exact.nit
    assert "within ftol" in result.message


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_halfway_ends_at_the_best_point(bad):
    def loss(x):
        return jnp.where(x[0] > 1, bad, bowl(x))

    result = fnopt.minimize(loss, np.zeros(1, np.float32), method=fnopt.sgd(0.25))
    assert not result.success and result.status == 3
    assert "not finite" in result.message
    assert (result.x, result.fun, result.nit) == (1, 1, 2)


# Counts.


def test_it_is_compiled_once():
    traced = []

    def loss(x, shift):
        traced.append(x)
        return bowl(x - shift["by"])

    for start, shift, rate, tol in ((0, 1.0, 0.1, 1e-3), (1, 2.0, 0.2, 1e-2), (2, 3.0, 0.1, 1.0)):
        method, x0 = fnopt.sgd(rate), np.full(3, start, np.float32)
        result = fnopt.minimize(loss, x0, {"by": shift}, method, tol=tol, maxiter=100 + start)
        assert result.success
        once = once if start else len(traced)  # noqa: F821
    assert len(traced) == once == 1


@pytest.mark.parametrize("method", [fnopt.sgd(0.25), knowing_descent(0.25)])
def test_evaluations_are_those_that_are_done(method):
    calls = []

    @jax.custom_jvp
    def counted(x):
        jax.debug.callback(lambda: calls.append("value"))
        return bowl(x)

    @counted.defjvp
    def counted_jvp(primals, tangents):
        jax.debug.callback(lambda: calls.append("gradient"))
        return jax.jvp(bowl, primals, tangents)

    result = fnopt.minimize(counted, np.zeros(1, np.float32), method=method)
    jax.effects_barrier()
    assert result.success and result.nfev == result.njev == result.nit + 1
    assert calls == ["gradient"] * int(result.nfev)
    assert result.nhev == (2 * result.nit if isinstance(method, knowing_descent) else 0)


# Transformations of jax.


def test_many_starts_at_once_are_as_one_by_one():
    starts = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    rates = np.linspace(0.5, 1, 100, dtype=np.float32)

    def solve(x, rate):
        return fnopt.minimize(rosenbrock, x, method=full_newton(rate))

    many = jax.vmap(solve)(starts, rates)
    assert many.x.shape == (100, 2) and many.message.shape == (100,)
    for i in range(0, 100, 7):
        one = solve(starts[i], rates[i])
        # Rounding differs between the programs.
        assert abs(int(one.nit) - int(many.nit[i])) <= 1 and one.message == many.message[i]
        np.testing.assert_allclose(one.x, many.x[i], atol=2e-3)
    assert np.unique(many.nit).size > 3


def test_data_may_differ_as_well():
    centres = jnp.arange(4.0)
    many = jax.vmap(lambda c: fnopt.minimize(bowl, jnp.zeros(2), c, fnopt.sgd(0.25)))(centres)
    np.testing.assert_allclose(many.x[:, 0], centres, atol=1e-3)
    assert many.nit[0] == 0 and many.nit[3] > 5  # those that have stopped stay as they are


def test_it_works_under_jit():
    @jax.jit
    def solve(x):
        result = fnopt.minimize(rosenbrock, x, method=full_newton())
        with pytest.raises(TypeError, match=r"take\s+result.status"):
            result.message  # noqa: B018
        assert "x=float32[2]" in repr(result)
        return result, result.success

    result, success = solve(START)
    assert success and isinstance(result, OptimizeResult) and "converged" in result.message


def test_a_start_that_is_not_finite_has_a_status_under_jit():
    result = jax.jit(lambda x: fnopt.minimize(lambda x: jnp.log(x), x, method="sgd"))(-1.0)
    assert not result.success and (result.status, result.nit) == (3, 0)


# Derivatives of the solution.


def ridge(x, strength, data):
    matrix, target = data
    return jnp.sum((matrix @ x - target) ** 2) / 2 + strength * jnp.sum(jnp.cosh(x) - 1)


@pytest.fixture
def problem(double):
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(rng.normal(size=6))


def solution(strength, data):
    result = fnopt.minimize(ridge, np.zeros(3), (strength, data), full_newton(), tol=1e-12)
    return result.x


def by_hand(x, strength, data):
    matrix, _ = data
    curvature = matrix.T @ matrix + strength * np.diag(np.cosh(x))
    inverse = np.linalg.inv(curvature)
    return -inverse @ np.sinh(x), inverse @ matrix.T


def test_derivatives_are_the_implicit_ones(problem):
    x = solution(0.5, problem)
    by_strength, by_target = by_hand(x, 0.5, problem)
    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jacobian(solution)(0.5, problem), by_strength, atol=1e-6)
        ours = jacobian(solution, 1)(0.5, problem)[1]
        np.testing.assert_allclose(ours, by_target, atol=1e-6)

    # The start and the method do not matter; the loss moves by its own dependence alone.
    def loss(strength, start, rate):
        args = strength, problem
        return fnopt.minimize(ridge, start, args, full_newton(rate), tol=1e-12).fun

    slopes = jax.grad(loss, (0, 1, 2))(0.5, jnp.ones(3), 0.9)
    np.testing.assert_allclose(slopes[0], np.sum(np.cosh(x) - 1), atol=1e-6)
    assert not np.any(slopes[1]) and slopes[2] == 0


@pytest.mark.parametrize("around", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_what_the_function_closes_over_is_differentiated(problem, around):
    wanted = jax.jacfwd(solution)(0.5, problem)

    @around
    def closed(strength, index):
        def loss(x):
            return ridge(x, strength, problem) + 0.0 * index[0].astype(float)

        return fnopt.minimize(loss, np.zeros(3), method=full_newton(), tol=1e-12).x

    index = jnp.arange(2)
    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jacobian(closed)(0.5, index), wanted, atol=1e-9)


def test_second_derivatives_are_those_of_differences(problem):
    slope = jax.grad(lambda strength: jnp.sum(solution(strength, problem) ** 2))
    difference = (slope(0.5 + 1e-4) - slope(0.5 - 1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(slope)(0.5), difference, rtol=1e-6)


def names_in(jaxpr):
    """The primitives of a program, those within others included, but not how a solve is done."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        if equation.primitive.name != "custom_linear_solve":
            for inner in jaxprs_in_params(equation.params):
                yield from names_in(inner)


def test_a_gradient_costs_one_linear_solve(problem):
    def loss(strength):
        args = strength, problem
        return fnopt.minimize(ridge, np.zeros(3), args, fnopt.sgd(0.05)).x.sum()

    counts = []
    for function in (loss, jax.grad(loss)):
        names = list(names_in(jax.make_jaxpr(function)(0.5).jaxpr))
        counts.append([names.count(name) for name in ("while", "scan", "custom_linear_solve")])
    assert counts == [[1, 0, 0], [1, 0, 1]]


def test_large_problems_are_solved_by_products(double):
    weights = jnp.linspace(1.0, 3.0, 600)

    def solve(shift):
        loss = lambda x: jnp.sum(weights * (x - shift) ** 2) + jnp.sum(x) ** 2 / 600  # noqa: E731
        return fnopt.minimize(loss, jnp.zeros(600), method=fnopt.sgd(0.12), tol=1e-8).x

    program = jax.make_jaxpr(jax.grad(lambda shift: solve(shift).sum()))(1.0)
    assert "600,600" not in str(program)
    matrix = 2 * np.diag(weights) + 2 / 600
    by_hand = np.linalg.solve(matrix, 2 * np.asarray(weights))
    np.testing.assert_allclose(jax.jacfwd(solve)(1.0), by_hand, atol=1e-8)


def test_complex_variables_have_derivatives(double):
    def solve(shift):
        loss = lambda z: jnp.abs(z - shift * (1 + 2j)) ** 2 + jnp.real(z * z) / 2  # noqa: E731
        return fnopt.minimize(loss, 0j, method=fnopt.sgd(0.2), tol=1e-10).x

    # 3 x = 2 shift, and y = 4 shift
    for shift in (1.0, 2.0):
        np.testing.assert_allclose(solve(shift), (2 / 3 + 4j) * shift, atol=1e-8)
    derivative = jax.jvp(solve, (1.0,), (1.0,))[1]
    np.testing.assert_allclose(derivative, 2 / 3 + 4j, atol=1e-8)
    np.testing.assert_allclose(jax.grad(lambda shift: solve(shift).imag)(1.0), 4, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_derivatives_in_half_precision(dtype):
    def solve(shift):
        start = {"x": jnp.zeros(2, dtype), "y": jnp.zeros((), jnp.float32)}
        loss = lambda p: (  # noqa: E731
            jnp.sum((p["x"] - shift) ** 2).astype(jnp.float32) + (p["y"] - 1) ** 2
        )
        return fnopt.minimize(loss, start, bounds=(-9, 9)).x["x"].sum()

    assert jax.grad(solve)(jnp.asarray(3, dtype)) == 2


# Bounds.


def test_bounds_hold_and_have_derivatives(double):
    matrix = jnp.array([[2.0, 1.0], [1.0, 3.0]])

    def solve(target, upper):
        loss = lambda x: x @ matrix @ x / 2 - target @ x  # noqa: E731
        bounds = None, jnp.stack([upper, jnp.inf])
        return fnopt.minimize(loss, np.full(2, 5.0), (), descent_in_box(0.2), bounds, 1e-9)

    target = jnp.array([5.0, 1.0])
    result = solve(target, 1.0)  # x = 1 is held, y = (1 - x) / 3
    assert result.success and float(result.jac[0]) < -1
    np.testing.assert_allclose(result.x, [1.0, 0.0], atol=1e-8)
    for jacobian in (jax.jacfwd, jax.jacrev):
        by_target, by_upper = jacobian(lambda *a: solve(*a).x, (0, 1))(target, 1.0)
        np.testing.assert_allclose(by_target, [[0, 0], [0, 1 / 3]], atol=1e-8)
        np.testing.assert_allclose(by_upper, [1, -1 / 3], atol=1e-8)
    slope = jax.grad(lambda upper: solve(target, upper).fun)(1.0)
    np.testing.assert_allclose(slope, result.jac[0], atol=1e-6)  # the multiplier of the bound


def test_bounds_may_be_a_method_s_own_or_scipy_s():
    from scipy.optimize import Bounds as SciPyBounds

    start = np.full(2, 5, np.float32)
    for method, bounds in (
        (descent_in_box(0.3, upper=1.0), None),
        (descent_in_box(0.3), SciPyBounds(ub=[1, 1])),
        (descent_in_box(0.3), (-1, np.ones(2))),
    ):
        result = fnopt.minimize(bowl, start, method=method, bounds=bounds)
        assert result.success and np.all(result.x == 1)


@pytest.mark.parametrize(
    ("solve", "bounds"),
    [
        (fnopt.minimize, [(None, 1.0), (0.0, None), (0.0, 0.5)]),
        (fnopt.minimize, np.array([(-np.inf, 1.0), (0.0, np.inf), (0.0, 0.5)])),
        (fnopt.minimize, ([None, 0.0, 0.0], [1.0, None, 0.5])),
        (fnopt.least_squares, ([-np.inf, 0.0, 0.0], [1.0, np.inf, 0.5])),
    ],
)
def test_bounds_of_a_vector_may_be_those_of_scipy(solve, bounds):
    lower, upper = as_box(solve.__name__, bounds, jnp.zeros(3))
    np.testing.assert_array_equal(lower, [-np.inf, 0, 0])
    np.testing.assert_array_equal(upper, [1, np.inf, 0.5])


def test_two_pairs_and_a_pair_of_two_are_told_apart():
    pairs, start = [(0.0, 1.0), (0.0, 2.0)], jnp.zeros(2)
    np.testing.assert_array_equal(as_box("minimize", pairs, start), [[0, 0], [1, 2]])
    np.testing.assert_array_equal(as_box("least_squares", pairs, start), [[0, 1], [0, 2]])
    slope = jax.grad(
        lambda u: fnopt.minimize(bowl, start, 3.0, descent_in_box(0.3), [(None, u), (0, 1)]).x[0]
    )
    assert slope(0.5) == 1


# The result.


def test_aux_is_that_of_the_solution():
    def loss(x, centre):
        return bowl(x, centre), {"double": 2 * x}

    solve = lambda c: fnopt.minimize(  # noqa: E731
        loss, jnp.zeros(1), c, fnopt.sgd(0.5), has_aux=True
    ).aux["double"][0]
    assert solve(3.0) == pytest.approx(6) and jax.grad(solve)(3.0) == pytest.approx(2)


def test_a_result_is_short():
    start = {"w": np.zeros(2, np.float32)}
    one = fnopt.minimize(lambda x: bowl(x["w"]), start, (), fnopt.sgd(0.5))
    assert repr(one).splitlines() == [
        "OptimizeResult(",
        "    success=True,",
        "    message='converged: the gradient is within tol',",
        "    fun=0, nit=1, nfev=2, njev=2, nhev=0,",
        "    x={'w': [2., 2.]},",
        ")",
    ]
    many = jax.vmap(lambda c: fnopt.minimize(bowl, jnp.zeros(2), c, fnopt.sgd(0.25), maxiter=12))(
        jnp.arange(0, 8e4, 2e4)
    )
    assert "nfev=12345," in repr(dataclasses.replace(one, nfev=jnp.int32(12345)))
    text = repr(many)
    assert "success: 1 of 4" in text and "x=float32[4, 2]" in text and "nit=0 to 12" in text
    assert max(map(len, text.splitlines())) <= 80
