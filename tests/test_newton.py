"""Newton's method: what it solves in how many steps, saddle points, trust regions, bad trials."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fnopt
from fnopt.core import Evaluation
from fnopt.curvature import conjugate_gradient, hessian
from fnopt.curvature.subproblem import trust_region_subproblem
from fnopt.curvature.trust_region import next_radius, reduction_ratio


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@functools.partial(jax.jit, static_argnums=(1, 4))
def iterate(tx, loss, x, state, steps):
    """The parameters and the state after updates, and every loss and norm of the gradient."""
    evaluation = Evaluation.of_loss(loss)

    def step(carry, _):
        x, state = carry
        value, grad = evaluation.value_and_grad(x)
        updates, state = tx.update(
            grad, state, x, value=value, grad=grad, **evaluation.extra_args()
        )
        return (optax.apply_updates(x, updates), state), (value, optax.tree.norm(grad))

    return jax.lax.scan(step, (x, state), length=steps)


def solve(tx, loss, x, steps):
    """As iterate, from the first state."""
    (x, state), (values, norms) = iterate(tx, loss, x, tx.init(x), steps)
    return x, state, values, norms


METHODS = {
    "newton": fnopt.newton(),
    "trust_newton": fnopt.trust_newton(),
    "newton_cg": fnopt.newton_cg(),
}
each = pytest.mark.parametrize("tx", METHODS.values(), ids=METHODS)


# Quadratics and the data set.


def quadratic(condition, size, seed=0):
    """A convex quadratic, and where its minimum is."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    matrix = jnp.asarray(basis * np.geomspace(1, condition, size) @ basis.T)
    goal = jnp.asarray(rng.normal(size=size))
    return lambda x: (x - goal) @ (matrix @ (x - goal)) / 2, goal


@pytest.mark.parametrize("condition", [1e3, 1e12])
@pytest.mark.parametrize("tx", [fnopt.newton(), fnopt.trust_newton(1.0, float("inf"))], ids=repr)
def test_a_convex_quadratic_of_any_conditioning_takes_one_step(double, tx, condition):
    loss, goal = quadratic(condition, 12)
    x, state, values, norms = solve(tx, loss, jnp.zeros(12), 2)
    assert values[1] < 1e-15 * values[0]
    assert norms[1] < 1e-12 * norms[0]
    np.testing.assert_allclose(x, goal, atol=1e-15 * condition)
    assert tx.outcome(state).products == 12


def test_scaled_coordinates_lose_no_digit(double):
    """Cholesky's factorization, unlike eigenvalues, does not see units of the coordinates."""
    units = jnp.geomspace(1e-9, 1e9, 6)
    goal = 1 / units
    loss = lambda x: jnp.sum((units * (x - goal)) ** 2) + jnp.sum(units * (x - goal)) ** 2  # noqa: E731
    x, *_ = solve(fnopt.newton(), loss, jnp.zeros(6), 1)
    np.testing.assert_allclose(x, goal, rtol=1e-12)


@pytest.fixture(scope="module")
def wine():
    """The loss of multinomial logistic regression, with a ridge so that there is one minimum."""
    data = pytest.importorskip("sklearn.datasets").load_wine()
    features = (data.data - data.data.mean(0)) / data.data.std(0)

    def loss(params):
        logits = jnp.asarray(features) @ params["kernel"] + params["bias"][None]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(data.target))
        return jnp.mean(losses) + 1e-3 / 2 * optax.tree.norm(params, squared=True)

    return loss


@pytest.mark.parametrize(
    ("tx", "most"),
    [(METHODS["newton"], 12), (METHODS["trust_newton"], 12), (METHODS["newton_cg"], 30)],
    ids=METHODS,
)
def test_logistic_regression_converges(double, wine, tx, most):
    start = {"kernel": jnp.zeros((13, 3)), "bias": jnp.zeros(3)}
    _, state, values, norms = solve(tx, wine, start, most + 1)
    assert norms[-1] <= 1e-10
    assert np.all(np.diff(values) <= 1e-15)
    assert optax.tree.norm(tx.outcome(state).grad) <= 1e-10


# Curvature that is not positive.


def saddle(x):
    return x[0] ** 2 - x[1] ** 2 + x[1] ** 4 / 4


@each
def test_a_saddle_point_is_left(double, tx):
    x, *_ = solve(tx, saddle, jnp.array([1e-3, 1e-9]), 25)
    np.testing.assert_allclose(x, [0, np.sqrt(2)], atol=1e-7)


def test_a_trust_region_leaves_a_saddle_point_without_a_gradient(double):
    """The hard case: the gradient has no part along the lowest eigenvector."""
    for start in ([0.0, 0.0], [0.3, 0.0]):
        x, *_ = solve(METHODS["trust_newton"], saddle, jnp.array(start), 25)
        np.testing.assert_allclose(jnp.abs(x), [0, np.sqrt(2)], atol=1e-7)


@each
def test_an_indefinite_start_leads_to_a_minimum(double, tx):
    loss = lambda x: jnp.sum(jnp.cos(x)) + 0.01 * jnp.sum(x * x)  # noqa: E731
    x, _, _, norms = solve(tx, loss, jnp.array([0.5, -0.1, 1.0]), 25)
    assert norms[-1] < 1e-9
    assert np.all(np.linalg.eigvalsh(jax.hessian(loss)(x)) > 0)


def test_newtons_direction_has_magnitudes_of_curvatures(double):
    loss = lambda x: 2 * x[0] ** 2 - 4 * x[1] ** 2 + 1e-30 * x[2] ** 2  # noqa: E731
    tx, x = fnopt.scale_by_newton(damping=1.0), jnp.ones(3)
    direction, _ = tx.update(jnp.array([5.0, 9.0, 2.0]), tx.init(x), x, value_fn=loss)
    np.testing.assert_allclose(direction, [1, 1, 2], rtol=1e-6)


# The subproblem.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1e-6, 0.1, 1.0, 100.0]), st.booleans())
def test_the_step_of_the_subproblem_is_optimal(seed, radius, hard):
    """Theorem 4.1 of Nocedal & Wright, which is sufficient too."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(seed)
        basis, _ = np.linalg.qr(rng.normal(size=(5, 5)))
        values = np.sort(rng.normal(size=5)) * 10.0 ** rng.integers(-2, 3)
        along = rng.normal(size=5)
        if hard:
            basis, along[0] = np.eye(5), 0.0
        matrix, grad = basis * values @ basis.T, basis @ along
        step, decrease = map(np.asarray, _solved(matrix, grad, radius))
    length = np.linalg.norm(step)
    assert length <= radius * (1 + 1e-12)
    size = np.linalg.norm(grad) + np.abs(values).max() * radius
    shift = -step @ (grad + matrix @ step) / (step @ step)
    assert shift >= -1e-9 * size / radius
    assert shift + values[0] >= -1e-9 * size / radius
    assert length > radius * (1 - 1e-9) or abs(shift) * length < 1e-9 * size
    np.testing.assert_allclose(matrix @ step + shift * step, -grad, atol=1e-8 * size)
    np.testing.assert_allclose(
        decrease, -(grad @ step + step @ matrix @ step / 2), atol=1e-9 * size * length
    )


_solved = jax.jit(trust_region_subproblem)


# Conjugate gradients.


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-3, 3), st.sampled_from([0.01, 1.0, np.inf]))
def test_conjugate_gradients_lower_the_quadratic(seed, shift, radius):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(6, 6))
    matrix = (matrix + matrix.T) / 2 + shift * np.eye(6)
    b, start = rng.normal(size=(2, 6))
    with jax.enable_x64(True):
        found = _conjugate(matrix, b, radius, start)
    x = np.asarray(found.x)
    assert np.linalg.norm(x) <= radius * (1 + 1e-12)
    decrease = b @ x - x @ matrix @ x / 2
    np.testing.assert_allclose(found.decrease, decrease, rtol=1e-8, atol=1e-10)
    assert decrease > 0
    if found.bounded:
        np.testing.assert_allclose(np.linalg.norm(x), radius, rtol=1e-9)
    elif not found.negative and found.products < 31:
        np.testing.assert_allclose(matrix @ x, b, atol=1e-5 * np.linalg.norm(b))
    assert not found.negative or np.linalg.eigvalsh(matrix)[0] <= 1e-12


@jax.jit
def _conjugate(matrix, b, radius, start):
    return conjugate_gradient(matrix.dot, b, max_steps=30, rtol=1e-6, radius=radius, start=start)


def test_conjugate_gradients_take_an_operator():
    matrix = hessian(lambda x: x[0] ** 2 + x[0] * x[1] + 3 * x[1] ** 2, jnp.ones(2))
    b = jnp.array([1.0, 2.0])
    solved = conjugate_gradient(matrix, b, max_steps=2)
    np.testing.assert_allclose(matrix @ solved.x, b, rtol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_conjugate_gradients_end_at_a_boundary_much_shorter_than_the_gradient(sign):
    b = jnp.array([3e19, 4e19])
    found = conjugate_gradient(lambda x: sign * x, b, max_steps=3, radius=1e-5)
    assert found.bounded
    np.testing.assert_allclose(found.x, [6e-6, 8e-6], rtol=1e-5)


def test_conjugate_gradients_start_where_they_ended(double):
    matrix, b = jnp.diag(jnp.arange(1.0, 9.0)), jnp.ones(8)
    cold = conjugate_gradient(matrix.dot, b, max_steps=20, rtol=1e-8)
    warm = conjugate_gradient(matrix.dot, b, max_steps=20, rtol=1e-8, start=cold.x)
    worse = conjugate_gradient(matrix.dot, b, max_steps=20, rtol=1e-8, start=-cold.x)
    assert (cold.products, warm.products, worse.products) == (8, 1, 9)
    np.testing.assert_allclose(worse.x, cold.x)
    few = conjugate_gradient(matrix.dot, b, max_steps=3)
    assert few.products == 3 and not few.negative
    np.testing.assert_allclose(few.residual, np.linalg.norm(b - matrix @ few.x))


# Ratio and radius.


def test_a_ratio_of_rounding_errors_is_that_of_slopes(double):
    value, tiny = jnp.asarray(1.0), jnp.asarray(1e-20)
    assert reduction_ratio(value, value, tiny) == pytest.approx(1, abs=1e-4)
    slopes = -2 * tiny, 0 * tiny  # of a quadratic, at its minimum
    for new_value in (value, value * (1 + 1e-14)):
        assert reduction_ratio(value, new_value, tiny, *slopes) == pytest.approx(1)
    assert reduction_ratio(value, value * (1 + 1e-10), tiny, *slopes) < -1e3
    assert reduction_ratio(value, value, 0 * tiny, 0 * tiny, 0 * tiny) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_rejected(bad):
    one, bad = jnp.ones(()), jnp.asarray(bad)
    ratios = [reduction_ratio(one, bad, one), reduction_ratio(one, one / 2, bad)]
    ratios += [reduction_ratio(one, one / 2, one, -one, bad)]
    assert ratios == [-np.inf] * 3
    assert next_radius(2 * one, ratios[0], bad) == 0.5
    assert next_radius(bad if bad > 0 else one, ratios[0], 8 * one) in (0.25, 2.0)


def test_the_radius_follows_the_ratio():
    two, length = jnp.asarray(2.0), jnp.asarray(0.8)
    assert next_radius(two, jnp.asarray(0.2), length) == pytest.approx(0.2)
    assert next_radius(two, jnp.asarray(0.5), two) == 2
    assert next_radius(two, jnp.asarray(0.9), length) == 2
    assert next_radius(two, jnp.asarray(0.9), two) == 4
    assert next_radius(two, jnp.asarray(0.9), two, 3.0) == 3


# Trials outside of where the loss is finite.


def barrier(x):
    """NaN at a negative number."""
    return x[0] - 10 * jnp.log(x[0]) + x[1] ** 2


@each
def test_a_trial_that_is_not_finite_is_rejected(double, tx):
    x, state, values, norms = solve(tx, barrier, jnp.array([60.0, 1.0]), 40)
    assert np.all(np.isfinite(values)) and norms[-1] < 1e-9
    np.testing.assert_allclose(x, [10, 0], atol=1e-7)
    assert not any(np.any(np.isnan(leaf)) for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize(
    "tx",
    [fnopt.trust_newton(1.0, float("inf")), fnopt.newton_cg(1.0, float("inf"), rtol=1e-3)],
    ids=repr,
)
def test_a_rejected_step_is_0_and_leaves_a_smaller_radius(tx):
    x = jnp.array([60.0, 1.0])
    evaluation = Evaluation.of_loss(barrier)
    value, grad = evaluation.value_and_grad(x)
    updates, state = tx.update(grad, tx.init(x), x, value=value, evaluation=evaluation)
    assert not np.any(updates)
    assert state.ratio == -np.inf and 1 < state.trust_radius < 100
    outcome = tx.outcome(state)
    assert outcome.value == value and outcome.values == outcome.grads == 1
    np.testing.assert_array_equal(outcome.grad, grad)
    assert outcome.products <= 2


def test_a_rate_shortens_the_step_and_what_is_predicted(double):
    loss, _ = quadratic(10.0, 3)
    x = jnp.zeros(3)
    whole, _, values, _ = solve(fnopt.trust_newton(1.0, 10.0), loss, x, 1)
    part, state, *_ = solve(fnopt.trust_newton(0.3, 10.0), loss, x, 1)
    np.testing.assert_allclose(part, 0.3 * whole)
    assert state.ratio == pytest.approx(1) and state.value < values[0]
    _, state, *_ = solve(fnopt.trust_newton(2.5, 10.0), loss, x, 1)
    assert state.ratio == -np.inf  # the model itself says that the loss rises


# Newton-CG's options.


def test_damping_follows_the_ratio():
    tx = fnopt.newton_cg(1.0, 1e4, damping=1e-3, warm_start=0.9, rtol=1e-3)
    x = jnp.array([60.0, 1.0])
    for loss, factor in ((lambda x: jnp.sum(x * x), 2 / 3), (barrier, 3 / 2)):
        _, state, *_ = solve(tx, loss, x, 1)
        assert state.own.damping == pytest.approx(factor * 1e-3)
        assert np.all(np.abs(state.own.direction) > 0.9)  # kept also of a rejected trial


def test_gauss_newton_needs_outputs_and_has_no_negative_curvature(double):
    inputs, targets = jnp.linspace(-1, 1, 8), jnp.linspace(-2, 1, 8)
    evaluation = Evaluation.of_outputs(
        lambda x: jnp.tanh(x[0] * inputs + x[1]) * x[2],
        lambda outputs: jnp.sum((outputs - targets) ** 2),
    )
    tx, x = (
        fnopt.newton_cg(1.0, float("inf"), curvature="gauss_newton", rtol=1e-9),
        jnp.full(3, 0.1),
    )
    state = tx.init(x)
    first = evaluation.value(x)
    for _ in range(10):
        value, grad = evaluation.value_and_grad(x)
        updates, state = tx.update(grad, state, x, value=value, evaluation=evaluation)
        x = x + updates
    assert evaluation.value(x) < 0.05 * first
    with pytest.raises(ValueError, match=r"outputs.*Evaluation.of_outputs"):
        tx.update(grad, state, x, value=value, value_fn=evaluation.value)


@each
def test_many_starts_at_once(double, tx):
    starts = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
    many = jax.vmap(lambda x: solve(tx, saddle, x, 20)[0])(starts)
    np.testing.assert_allclose(jnp.abs(many), np.broadcast_to([0, np.sqrt(2)], (4, 2)), atol=1e-6)


def test_newton_cg_has_no_square_matrix():
    n = 3000
    loss = lambda x: jnp.sum(jnp.cosh(x)) + jnp.sum(x) ** 2  # noqa: E731
    tx, x = fnopt.newton_cg(), jnp.ones(n)
    update = jax.jit(lambda x, state: tx.update(jax.grad(loss)(x), state, x, value_fn=loss))
    memory = update.lower(x, tx.init(x)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 100 * n * 4


@pytest.mark.parametrize("tx", [*METHODS.values(), fnopt.scale_by_newton()], ids=repr)
def test_what_is_missing_is_named(tx):
    x = jnp.ones(2)
    with pytest.raises(ValueError, match="value_fn"):
        tx.update(x, tx.init(x), x)
    with pytest.raises(ValueError, match="needs the parameters"):
        tx.update(x, tx.init(x), value_fn=jnp.sum)


def test_bad_limits_are_refused():
    with pytest.raises(ValueError, match="max_cg_steps must be at least 1"):
        fnopt.newton_cg(max_cg_steps=0)
    with pytest.raises(ValueError, match="curvature must be one of"):
        fnopt.newton_cg(curvature="fisher")
