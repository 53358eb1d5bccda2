"""Problems of the lab: values, gradients and minima against formulas and the literature."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnopt import lab
from fnopt.lab import problems

PROBLEMS = problems()
E, PI = np.e, np.pi


def quadratic(x, y, condition=50.0, angle=PI / 6):
    """As a product with its matrix."""
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = axes @ np.diag([1.0, condition]) @ axes.T
    return (matrix[0, 0] * x * x + 2 * matrix[0, 1] * x * y + matrix[1, 1] * y * y) / 2


FORMULAS = {
    "beale": lambda x, y: sum(
        (c - x * (1 - y**i)) ** 2 for i, c in enumerate((1.5, 2.25, 2.625), start=1)
    ),
    "rosenbrock": lambda x, y: (10 * (y - x * x)) ** 2 + (1 - x) ** 2,
    "himmelblau": lambda x, y: (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2,
    "rastrigin": lambda x, y: (
        20 + x * x - 10 * np.cos(2 * PI * x) + y * y - 10 * np.cos(2 * PI * y)
    ),
    "ackley": lambda x, y: (
        20
        + E
        - 20 * np.exp(-0.2 * np.sqrt((x * x + y * y) / 2))
        - np.exp((np.cos(2 * PI * x) + np.cos(2 * PI * y)) / 2)
    ),
    "matyas": lambda x, y: 0.26 * (x * x + y * y) - 0.48 * x * y,
    "saddle": lambda x, y: 0.5 * x**2 + 0.25 * y**4 - 0.5 * y**2,
    "long_valley": lambda x, y: (np.sqrt(1 + x * x) - 1) / 10 + 2 * y * y,
    "plateau": lambda x, y: 1 - np.exp(-(x * x + y * y) / 2),
    "ill_conditioned_quadratic": quadratic,
}
"""The functions as they are published, in NumPy."""

PUBLISHED = {
    "beale": ((1.0, 1.0), 14.203125),  # Moré, Garbow & Hillstrom's start
    "rosenbrock": ((-1.2, 1.0), 24.2),
    "himmelblau": ((-0.270845, -0.923039), 181.617),  # the top of its hill
    "rastrigin": ((4.5, 4.5), 80.5),
    "ackley": ((1.0, 1.0), 3.62538494),
    "matyas": ((10.0, -10.0), 100.0),
    "saddle": ((0.0, 0.0), 0.0),
}


def points_of(problem, number=200):
    (left, right), (bottom, top) = problem.domain
    return np.random.default_rng(0).uniform((left, bottom), (right, top), (number, 2))


def test_there_are_ten_by_name():
    assert {*PROBLEMS} == {*FORMULAS}
    for name, problem in PROBLEMS.items():
        assert problem.name == name
        assert problem in (getattr(lab, name), lab.ill_conditioned_quadratic())
        if name != "ill_conditioned_quadratic":
            assert re.search(r"References:\n\s+\S+.*\*", problem.__doc__ or "")


@pytest.mark.parametrize("name", PROBLEMS)
def test_values_gradients_and_minima(name):
    """Against the formula, its differences, and its smallest value on a grid of the domain."""
    problem, formula = PROBLEMS[name], FORMULAS[name]
    points = points_of(problem)
    x, y = points.T
    with jax.enable_x64(True):
        both = jax.jit(jax.vmap(jax.value_and_grad(problem)))
        values, grads = map(np.asarray, both(points))
        at_minima, slopes = map(np.asarray, both(np.asarray(problem.minima)))
    np.testing.assert_allclose(values, formula(x, y), rtol=1e-11, atol=1e-13)

    step = 1e-5
    differences = np.stack(
        [
            formula(x + step, y) - formula(x - step, y),
            formula(x, y + step) - formula(x, y - step),
        ],
        axis=1,
    )
    size = 1 + np.abs(grads).max()
    np.testing.assert_allclose(grads, differences / (2 * step), rtol=1e-6, atol=1e-8 * size)

    np.testing.assert_allclose(at_minima, problem.minimum, atol=1e-14)
    np.testing.assert_allclose(slopes, 0.0, atol=1e-12)
    grid = formula(*np.meshgrid(*(np.linspace(*side, 801) for side in problem.domain)))
    assert grid.min() >= problem.minimum - 1e-12
    # The start is in the domain, and no minimum.
    (left, right), (bottom, top) = problem.domain
    assert left < problem.start[0] < right and bottom < problem.start[1] < top
    assert formula(*problem.start) > problem.minimum + 0.1


def test_published_values():
    """Of the formulas, with which the problems have just been compared."""
    for name, (point, value) in PUBLISHED.items():
        np.testing.assert_allclose(FORMULAS[name](*point), value, rtol=5e-6, atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_derivatives_are_finite_where_they_are_hardest(name):
    problem = PROBLEMS[name]
    points = np.float32([*problem.minima, (0, 0), (1e-30, 0), (1e-6, -1e-6), problem.start])
    for derivative in (jax.grad(problem), jax.hessian(problem)):
        assert np.isfinite(jax.jit(jax.vmap(derivative))(points)).all()


def test_hessians_that_are_known():
    with jax.enable_x64(True):

        def eigenvalues(problem, point=(0.0, 0.0)):
            return np.linalg.eigvalsh(jax.jit(jax.hessian(problem))(jnp.asarray(point)))

        np.testing.assert_allclose(eigenvalues(lab.matyas), [0.04, 1.0])
        np.testing.assert_allclose(eigenvalues(lab.saddle), [-1.0, 1.0])
        np.testing.assert_allclose(eigenvalues(lab.saddle, (0.0, 1.0)), [1.0, 2.0])
        turned = lab.ill_conditioned_quadratic(condition=300.0, angle=45.0)
        np.testing.assert_allclose(eigenvalues(turned), [1.0, 300.0])
        hessian = np.asarray(jax.jit(jax.hessian(turned))(jnp.zeros(2)))
        np.testing.assert_allclose(hessian @ [1.0, 1.0], [1.0, 1.0])  # the valley's direction
        straight = lab.ill_conditioned_quadratic(condition=300.0, angle=0.0)
        hessian = jax.jit(jax.hessian(straight))(jnp.zeros(2))
        np.testing.assert_allclose(hessian, np.diag([1.0, 300.0]), atol=1e-12)
        # Turning it turns its start, and changes no value there.
        values = [float(p(jnp.asarray(p.start))) for p in (turned, straight)]
        np.testing.assert_allclose(values, (9 + 300) / 2)


def test_equal_quadratics_are_one_program():
    once, again = (lab.ill_conditioned_quadratic(10.0, 20.0) for _ in range(2))
    assert once == again and hash(once) == hash(again)
    assert once != lab.ill_conditioned_quadratic(11.0, 20.0)


def test_noisy_versions():
    noisy = lab.noisy(lab.beale, 0.5)
    assert (noisy.name, noisy.noise, noisy.minima) == ("noisy_beale", 0.5, lab.beale.minima)
    assert lab.noisy(noisy, 2.0).name == "noisy_beale" and lab.noisy(noisy, 0.0) == lab.beale


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lab.noisy(lab.beale, -1.0), ValueError, r"scale must be in \[0, inf\), got -1"),
        (lambda: lab.noisy(lab.beale, np.nan), ValueError, "scale must be"),
        (lambda: lab.noisy("beale", 1.0), TypeError, "must be a Problem, such as fnopt.lab.beale"),
        (
            lambda: lab.ill_conditioned_quadratic(0.5),
            ValueError,
            r"condition must be a number in \[1, inf\), got 0.5",
        ),
        (lambda: lab.ill_conditioned_quadratic(angle=np.inf), ValueError, "angle must be finite"),
    ],
)
def test_numbers_out_of_range_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
