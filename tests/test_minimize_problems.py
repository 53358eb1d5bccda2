"""Moré, Garbow & Hillstrom's problems: that they are the published ones, and that minimize solves them."""  # noqa: E501

import jax
import jax.numpy as jnp
import mgh
import numpy as np
import pytest
import scipy.optimize

import fnopt

BY_NAME = {problem.name: problem for problem in mgh.PROBLEMS}

# The Euclidean norm of the residuals at the start, as MINPACK's test programs print it; some for
# other dimensions than the paper's example, or derived by hand.
FIRST_NORMS = {
    "Rosenbrock": 4.919350,
    "Freudenstein and Roth": 20.01250,
    "Helical valley": 50,
    "Bard": 6.456136,
    "Meyer": 41153.47,
    "Box three-dimensional": 32.11158,
    "Powell singular": 14.66288,
    "Kowalik and Osborne": 0.07289151,
    "Brown and Dennis": 2815.438,
    "Jennrich and Sampson": 64.58565,
    "Osborne 1": 0.9375640,
    "Osborne 2": 1.446865,
    "Watson": 5.477226,
    "Brown almost-linear": 16.53022,
    "Chebyquad": 0.1965139,
}
# Where the paper prints the point of a minimum of which the value is 0.
SOLUTIONS = {
    "Rosenbrock": [1, 1],
    "Freudenstein and Roth": [5, 4],
    "Brown badly scaled": [1e6, 2e-6],
    "Beale": [3, 0.5],
    "Helical valley": [1, 0, 0],
    "Gulf research and development": [50, 25, 1.5],
    "Box three-dimensional": [1, 10, 1],
    "Powell singular": [0, 0, 0, 0],
    "Wood": [1, 1, 1, 1],
    "Biggs EXP6": [1, 10, 1, 5, 4, 3],
    "Extended Rosenbrock": np.ones(10),
    "Extended Powell singular": np.zeros(12),
    "Variably dimensioned": np.ones(10),
    "Brown almost-linear": np.ones(10),
}


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def test_there_are_35_problems_and_the_start_values_are_the_published_ones():
    assert len(mgh.PROBLEMS) == len(BY_NAME) == 35
    starts = {name: BY_NAME[name].x0 for name in FIRST_NORMS}

    @jax.jit  # one program for all, as compiling is what takes the time
    def norms(starts):
        return {name: jnp.linalg.norm(BY_NAME[name].residuals(x0)) for name, x0 in starts.items()}

    first = {name: float(norm) for name, norm in norms(starts).items()}
    assert first == pytest.approx(FIRST_NORMS, rel=2e-6)


def test_functions_and_gradients_vanish_at_the_published_solutions():
    assert all(BY_NAME[name].minima[0] == 0 for name in SOLUTIONS)
    solutions = {name: np.asarray(x, float) for name, x in SOLUTIONS.items()}

    @jax.jit
    def values_and_grads(solutions):
        return {name: jax.value_and_grad(BY_NAME[name].fun)(x) for name, x in solutions.items()}

    for name, (value, grads) in values_and_grads(solutions).items():
        assert value == pytest.approx(0, abs=1e-18), name
        np.testing.assert_allclose(grads, 0, atol=1e-9, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("problem", mgh.PROBLEMS, ids=lambda problem: problem.name)
def test_least_squares_of_scipy_find_a_published_minimum(problem):
    residuals, jacobian = jax.jit(problem.residuals), jax.jit(jax.jacobian(problem.residuals))
    tight = dict(xtol=1e-15, ftol=1e-15, gtol=1e-14)
    end = scipy.optimize.least_squares(
        residuals, problem.x0, jacobian, x_scale="jac", max_nfev=5000, **tight
    )
    value, grads = jax.value_and_grad(problem.fun)(jnp.asarray(end.x))
    nearest = min(problem.minima, key=lambda minimum: abs(value - minimum))
    assert value == pytest.approx(nearest, rel=2e-5, abs=1e-12)
    scale = np.linalg.norm(jacobian(end.x)) * max(float(value), 1e-16) ** 0.5
    assert np.max(np.abs(grads)) <= 1e-4 * scale


# Valleys, scales, singular Hessians at the minimum, sums of exponentials; 2 to 12 unknowns.
QUICK = {
    "Rosenbrock",
    "Powell badly scaled",
    "Beale",
    "Helical valley",
    "Bard",
    "Box three-dimensional",
    "Powell singular",
    "Wood",
    "Kowalik and Osborne",
    "Watson",
    "Penalty I",
    "Chebyquad",
}
SLOW = [pytest.param(p, marks=() if p.name in QUICK else pytest.mark.slow) for p in mgh.PROBLEMS]


@pytest.mark.parametrize("problem", SLOW, ids=lambda problem: problem.name)
def test_minimize_solves_them_by_default(problem):
    result = fnopt.minimize(problem.fun, problem.x0, tol=1e-6)
    first = float(np.sum(np.square(problem.residuals(jnp.asarray(problem.x0)))))
    # The six digits that are printed, or a millionth of the way down.
    near = [
        abs(float(result.fun) - minimum)
        <= 1e-6 * min(first - minimum, 1 + minimum) + 2e-5 * minimum
        for minimum in problem.minima
    ]
    assert any(near), result
