"""L-BFGS-B beside SciPy's, the authors' code: the same minima, bounds and evaluations."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from laws import assert_same

import fnopt
from fnopt.curvature import projected_gradient
from fnopt.curvature.more_thuente import more_thuente

INF = np.inf
MOST = 200  # iterations


@dataclasses.dataclass(frozen=True, eq=False)
class Bounded:
    """A problem in a box.

    Attributes:
        loss: of a vector.
        start: the first vector.
        lower, upper: the bounds.
        active: how many bounds hold at the minimum.
    """

    loss: Callable[[Any], Any]
    start: Any
    lower: Any
    upper: Any
    active: int


def _rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def _hs25(x):
    i = np.arange(1, 100)
    u = 25 + (-50 * np.log(0.01 * i)) ** (2 / 3)
    return jnp.sum((-0.01 * i + jnp.exp(-((u - x[1]) ** x[2]) / x[0])) ** 2)


def _hs38(x):
    wood = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + 90 * (x[3] - x[2] ** 2) ** 2
    wood += (1 - x[2]) ** 2 + 10.1 * ((x[1] - 1) ** 2 + (x[3] - 1) ** 2)
    return wood + 19.8 * (x[1] - 1) * (x[3] - 1)


def _hs110(x):
    squares = jnp.log(x - 2) ** 2 + jnp.log(10 - x) ** 2
    return jnp.sum(squares) - jnp.prod(x) ** 0.2


_rng = np.random.default_rng(0)
_MATRIX, _TARGET = _rng.normal(size=(80, 50)), _rng.normal(size=80)


def _least_squares(x):
    return 0.5 * jnp.sum((_MATRIX @ x - _TARGET) ** 2)


def _logistic(x):
    margins = jnp.sign(_TARGET) * (_MATRIX @ x)
    return jnp.sum(jnp.logaddexp(0.0, -margins)) + 0.005 * jnp.sum(x * x)


def _cubic_and_line(x):
    return (x[0] + 1) ** 3 / 3 + x[1]


# Hock & Schittkowski, Test examples for nonlinear programming codes, 1981, by their numbers.
PROBLEMS = {
    "HS1": Bounded(_rosenbrock, [-2.0, 1.0], [-INF, -1.5], [INF, INF], 0),
    "HS2": Bounded(_rosenbrock, [-2.0, 1.5], [-INF, 1.5], [INF, INF], 1),
    "HS3": Bounded(
        lambda x: x[1] + 1e-5 * (x[1] - x[0]) ** 2, [10.0, 1.0], [-INF, 0.0], [INF, INF], 1
    ),
    "HS4": Bounded(_cubic_and_line, [1.125, 0.125], [1.0, 0.0], [INF, INF], 2),
    "HS5": Bounded(
        lambda x: jnp.sin(x[0] + x[1]) + (x[0] - x[1]) ** 2 - 1.5 * x[0] + 2.5 * x[1] + 1,
        [0.0, 0.0],
        [-1.5, -3.0],
        [4.0, 3.0],
        0,
    ),
    "HS25": Bounded(_hs25, [60.0, 20.0, 2.0], [0.1, 0.0, 0.0], [100.0, 25.6, 5.0], 0),
    "HS38": Bounded(_hs38, [-3.0, -1.0, -3.0, -1.0], [-10.0] * 4, [10.0] * 4, 0),
    "HS45": Bounded(
        lambda x: 2 - jnp.prod(x) / 120, [2.0] * 5, [0.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], 5
    ),
    "HS110": Bounded(_hs110, [9.0] * 10, [2.001] * 10, [9.999] * 10, 0),
    "bounded valley": Bounded(_rosenbrock, [-1.2, 1.0] * 10, [-2.0] * 20, [0.8] * 20, 1),
    "non-negative least squares": Bounded(
        _least_squares, np.ones(50), np.zeros(50), np.full(50, INF), 24
    ),
    "logistic regression": Bounded(
        _logistic, np.zeros(50), np.full(50, -0.3), np.full(50, 0.3), 21
    ),
}

OFTEN = ("HS2", "HS25", "HS45", "non-negative least squares")  # the others in make test-all


def solve(tx, problem):
    """Iterations until the gradient left by the bounds is small, or the loss does not fall."""

    @jax.jit
    def run(tx, x):
        def left(x, grad):
            return jnp.max(jnp.abs(projected_gradient(x, grad, tx.lower, tx.upper)))

        def goes_on(carry):
            x, state, _, stalls = carry
            return (left(x, state.grad) > 1e-7) & ~stalls & (state.count < MOST)

        def iterate(carry):
            x, state, evaluations, _ = carry
            updates, after = tx.update(state.grad, state, x, value=state.value, value_fn=loss)
            size = jnp.maximum(jnp.maximum(jnp.abs(state.value), jnp.abs(after.value)), 1.0)
            stalls = state.value - after.value <= 1e-13 * size
            x = optax.apply_updates(x, updates)
            return x, after, evaluations + tx.outcome(after).values, stalls

        x = jnp.clip(x, tx.lower, tx.upper)
        value, grad = jax.value_and_grad(loss)(x)
        state = tx.init(x)._replace(value=value, grad=grad)
        start = x, state, jnp.ones((), jnp.int32), jnp.zeros((), bool)
        x, state, evaluations, _ = jax.lax.while_loop(goes_on, iterate, start)
        return x, state.value, evaluations, left(x, state.grad)

    loss = problem.loss
    return run(tx, jnp.asarray(problem.start, float))


def box(problem) -> dict[str, Any]:
    return {name: jnp.asarray(getattr(problem, name), float) for name in ("lower", "upper")}


@pytest.mark.beside_optax  # the data are NumPy's
@pytest.mark.parametrize(
    "name",
    [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in PROBLEMS],
)
def test_minima_are_those_of_scipy_at_no_more_evaluations(name):
    optimize = pytest.importorskip("scipy.optimize", reason="compared with SciPy's L-BFGS-B")
    problem = PROBLEMS[name]
    with jax.enable_x64(True):
        value_and_grad = jax.jit(jax.value_and_grad(problem.loss))
        theirs = optimize.minimize(
            lambda x: [np.asarray(y) for y in value_and_grad(x)],
            np.array(problem.start, float),
            method="L-BFGS-B",
            jac=True,
            bounds=list(zip(problem.lower, problem.upper, strict=True)),
            options={"ftol": 1e-13, "gtol": 1e-7, "maxiter": MOST},
        )
        x, value, evaluations, left = solve(fnopt.lbfgsb(**box(problem)), problem)
        x, value, left = np.asarray(x), float(value), float(left)
    assert value == pytest.approx(theirs.fun, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(x, theirs.x, rtol=1e-5, atol=1e-5)
    assert left < 1e-5
    assert evaluations <= 1.1 * theirs.nfev + 1
    holds = (x <= np.asarray(problem.lower)) | (x >= np.asarray(problem.upper))
    assert np.sum(holds) == problem.active


def test_most_minima_have_a_bound_that_holds():
    assert sum(problem.active > 0 for problem in PROBLEMS.values()) > len(PROBLEMS) / 2


# What is asked of every update.


@functools.partial(jax.jit, static_argnums=2)
def one_step(tx, params, loss, state=None):
    state = tx.init(params) if state is None else state
    value, grad = jax.value_and_grad(loss)(params)
    updates, state = tx.update(grad, state, params, value=value, value_fn=loss)
    return optax.apply_updates(params, updates), state


def _far_squares(params):
    return sum(jnp.sum((x.astype("float32") - 3.0) ** 2) for x in jax.tree.leaves(params))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_stay_in_the_box_to_the_last_bit(dtype):
    """Wherever they start: also where the way to a bound is rounded."""
    lower = {"a": jnp.array([0.1, -INF, 0.3]), "b": -0.7}
    upper = {"a": jnp.array([0.2, 0.9, INF]), "b": 0.7}
    tx = fnopt.lbfgsb(lower=lower, upper=upper)
    rng = np.random.default_rng(0)
    # In half precision a number of that size has no neighbours as near as the bounds.
    for size in (1.0, 1e4 if dtype == "float32" else 0.1):
        params = {"a": jnp.asarray(size * rng.normal(size=3), dtype), "b": jnp.ones((2, 2), dtype)}
        state = tx.init(params)
        for _ in range(3):
            params, state = one_step(tx, params, _far_squares, state)
            for name in params:
                assert params[name].dtype == dtype
                assert np.all(params[name] >= jnp.asarray(lower[name], dtype))
                assert np.all(params[name] <= jnp.asarray(upper[name], dtype))
    np.testing.assert_allclose(params["b"], jnp.full((2, 2), 0.7, dtype))
    np.testing.assert_allclose(params["a"].astype("float32"), [0.2, 0.9, 3.0], rtol=1e-2)


def test_no_bound_is_an_infinite_one_or_none():
    params = [jnp.array([2.0, -1.0]), jnp.array(0.5)]
    runs = [
        one_step(fnopt.lbfgsb(lower=lower, upper=upper), params, _far_squares)
        for lower, upper in ((None, None), (-INF, INF), ([None, None], [INF, None]))
    ]
    for run in runs[1:]:
        assert_same(run, runs[0])


def test_a_start_outside_of_the_box_is_projected_and_evaluated_there():
    tx = fnopt.lbfgsb(lower=0.0, upper=1.0)
    params, state = one_step(tx, jnp.array([-5.0, 0.5]), _far_squares)
    np.testing.assert_array_equal(params, [1.0, 1.0])
    assert int(tx.outcome(state).values) == 2
    assert float(state.value) == 8.0
    np.testing.assert_array_equal(state.grad, [-4.0, -4.0])


def test_what_no_bound_frees_stays():
    tx = fnopt.lbfgsb(lower=jnp.array([1.0, 0.0]), upper=jnp.array([1.0, 5.0]))
    params, _ = one_step(tx, jnp.array([1.0, 0.0]), _far_squares)
    assert params[0] == 1.0 and params[1] > 0.0


def test_a_pair_of_negative_curvature_is_not_stored():
    params, state = one_step(fnopt.lbfgsb(lower=-1.0, upper=2.0), jnp.array(0.1), jnp.cos)
    assert float(params) > 0.15 and int(state.number_of_pairs) == 0


def test_where_the_loss_is_not_finite_a_step_is_too_long():
    def loss(x):
        return -jnp.sum(jnp.log(x)) + 10 * jnp.sum(x)

    tx, x = fnopt.lbfgsb(), jnp.array([1.0, 2.0])
    state = tx.init(x)
    for _ in range(15):
        x, state = one_step(tx, x, loss, state)
    np.testing.assert_allclose(x, 0.1, rtol=1e-3)


def test_where_nothing_is_lower_nothing_moves():
    """The kink's gradient promises what no step keeps; without memory it is tried once more."""
    params, state = one_step(fnopt.lbfgsb(), jnp.array(0.0), lambda x: jnp.abs(x) - 1e-9 * x)
    assert float(params) == 0.0
    assert int(state.number_of_pairs) == 0 and np.isfinite(float(state.value))


def test_starts_together_are_starts_one_by_one():
    tx = fnopt.lbfgsb(lower=-2.0, upper=jnp.array([0.5, INF]))

    def run(x):
        def step(carry, _):
            return one_step(tx, carry[0], _rosenbrock, carry[1]), None

        return jax.lax.scan(step, (x, tx.init(x)), None, 30)[0]

    starts = jnp.asarray(np.random.default_rng(0).uniform(-2.0, 2.0, size=(4, 2)))
    together = jax.jit(jax.vmap(run))(starts)[0]
    alone = jax.jit(run)
    np.testing.assert_allclose(together, [alone(x)[0] for x in starts], atol=1e-3)
    np.testing.assert_allclose(together, jnp.full((4, 2), jnp.array([0.5, 0.25])), atol=1e-3)


def test_no_matrix_of_all_parameters_is_made():
    n = 20_000
    tx = fnopt.lbfgsb(lower=0.0, memory_size=5)
    params = jnp.ones(n)
    state = jax.eval_shape(tx.init, params)
    compiled = one_step.lower(tx, params, _far_squares, state).compile()
    memory: Any = compiled.memory_analysis()
    assert memory.temp_size_in_bytes < 60 * 5 * n * params.dtype.itemsize


# What is refused.


@pytest.mark.parametrize(
    "kwargs, error, words",
    [
        ({"lower": float("nan")}, ValueError, r"lower must lie in \[-inf, inf\], got nan"),
        ({"lower": "zero"}, TypeError, "lower must be a number or an array, got 'zero'"),
        ({"upper": {"w": 1j}}, TypeError, r"upper\['w'\] must be a number"),
        ({"memory_size": 0}, ValueError, "memory_size.* must be at least 1, got 0"),
        ({"curv_rtol": 1.0}, ValueError, r"curv_rtol must lie in \(0, 1\)"),
    ],
)
def test_bad_arguments_are_refused(kwargs, error, words):
    with pytest.raises(error, match=f"lbfgsb: {words}"):
        fnopt.lbfgsb(**kwargs)


def test_bounds_that_do_not_fit_are_refused():
    params = {"w": jnp.ones(3)}
    crossed = fnopt.lbfgsb(lower=1.0, upper={"w": jnp.array([2.0, 0.0, 2.0])})
    with pytest.raises(ValueError, match=r"the lower bound of params\['w'\] is above the upper"):
        crossed.init(params)
    with pytest.raises(ValueError, match=r"upper bound of params\['w'\] has shape \(2,\)"):
        fnopt.lbfgsb(upper={"w": jnp.ones(2)}).init(params)
    with pytest.raises(ValueError, match="lbfgsb: lower and params differ in structure"):
        fnopt.lbfgsb(lower={"v": 0.0}).init(params)
    with pytest.raises(TypeError, match=r"fnopt\.split_real_and_imaginary"):
        fnopt.lbfgsb().init(jnp.ones(2, complex))
    tx = fnopt.lbfgsb()
    with pytest.raises(ValueError, match=r"lbfgsb needs a function .* value_fn=…"):
        tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="lbfgsb needs the parameters"):
        tx.update(params, tx.init(params), value_fn=_far_squares)


# The gradient that the bounds leave, and the line search.


def test_the_projected_gradient_is_the_way_to_the_projection():
    params = {"x": jnp.array([0.0, 0.0, 1.0, 1.0, 0.5, 0.9]), "free": jnp.array(3.0)}
    grads = {"x": jnp.array([1.0, -1.0, 1.0, -1.0, 1e-12, -0.3]), "free": jnp.array(2.0)}
    upper = {"x": 1.0, "free": None}
    left = projected_gradient(params, grads, {"x": 0.0, "free": -INF}, upper)
    np.testing.assert_allclose(left["x"], [0.0, -1.0, 1.0, 0.0, 1e-12, -0.1], rtol=1e-6)
    assert left["free"] == 2.0


def on_line(xp, line, t):
    """A line whose slope at 0 is mostly below 0."""
    a, b, c, d, e, _ = line
    return (
        -abs(a) * t
        - 0.01 * t
        + 0.05 * abs(b) * t**2
        + 0.3 * (c * xp.sin(2 * t) + d * xp.cos(t))
        + e
    )


@pytest.mark.beside_optax
def test_a_line_search_is_that_of_scipy():
    optimize = pytest.importorskip("scipy.optimize._dcsrch", reason="compared with SciPy's dcsrch")
    rng = np.random.default_rng(1)
    lines, steps = rng.normal(size=(60, 6)), 10 ** rng.uniform(-3, 2, size=60)
    slope_of = jax.grad(lambda t, line: on_line(jnp, line, t))

    @jax.jit
    @jax.vmap
    def search(line, step):
        def along(t):
            value, slope = jax.value_and_grad(lambda t: on_line(jnp, line, t))(t)
            return value, slope, slope

        return *more_thuente(along, step, *along(0.0), max_step=50.0), along(0.0)[2]

    with jax.enable_x64(True):
        points, evaluations, accepted, slopes = search(jnp.asarray(lines), jnp.asarray(steps))
        slope_of = jax.jit(slope_of)
        met = 0
        for i in np.flatnonzero(slopes < 0):
            count = 0

            def value(t, line=lines[i]):
                nonlocal count
                count += 1
                return float(on_line(np, line, t))

            theirs = optimize.DCSRCH(
                value, lambda t, i=i: float(slope_of(t, lines[i])), 1e-3, 0.9, 0.1, 0.0, 50.0
            )
            first = on_line(np, lines[i], 0.0), float(slopes[i])
            step, *_ = theirs(min(steps[i], 50.0), *first, maxiter=20)
            if step is not None:  # it ends without one where the interval is short
                met += 1
                assert accepted[i] and evaluations[i] == count
                assert points.step[i] == pytest.approx(step, rel=1e-6)
    assert met > 40
