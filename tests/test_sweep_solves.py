"""Many minimizations as one program."""

import jax.numpy as jnp
import numpy as np
import pytest

import fnopt
from fnopt.sweeps import grid
from fnopt.sweeps.solves import _solve_all, solves

STARTS = jnp.array([[-1.2, 1.0], [0.0, 0.5], [2.0, 2.0]])


def rosenbrock(x, a=1.0):
    return (a - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2


def test_each_solve_is_the_one_alone():
    sets = jnp.array([1.0, 1.5])
    methods = [*grid(fnopt.heavy_ball, learning_rate=[1e-4, 1e-3], momentum=0.9), "lbfgs"]
    before = _solve_all._cache_size()
    found = solves(rosenbrock, STARTS, methods=methods, data_sets=sets, maxiter=40)
    assert found.programs == _solve_all._cache_size() - before == 2
    for entrant, result in zip(found.entrants, found.results, strict=True):
        assert result.fun.shape == (3, 2) and result.x.shape == (3, 2, 2)
        for i, j in ((0, 1), (2, 0)):
            alone = fnopt.minimize(rosenbrock, STARTS[i], (sets[j],), entrant.tx, maxiter=40)
            np.testing.assert_allclose(result.x[i, j], alone.x, rtol=1e-3, atol=1e-4)
            assert int(result.nit[i, j]) == int(alone.nit)
    best = found.best()
    assert best.method.label == "lbfgs" and best.fun.shape == (2,)
    np.testing.assert_allclose(best.x, [[1, 1], [1.5, 2.25]], atol=0.02)
    solves(rosenbrock, STARTS + 0.1, methods=methods, data_sets=sets + 0.1, maxiter=40)
    assert _solve_all._cache_size() - before == 2


def test_without_data_sets_there_is_no_axis_of_them():
    trees = {"x": jnp.array([0.0, 3.0])}
    found = solves(lambda p: (p["x"] - 2) ** 2, trees)
    assert found.results[0].fun.shape == (2,) and found.entrants[0].label == "newton_cg"
    assert found.best().x["x"] == pytest.approx(2.0)


def test_limits_are_numbers_of_any_library():
    def bowl(x, a):
        return jnp.sum((x - a) ** 2)

    one = solves(bowl, STARTS, 1.0, tol=float(np.float32(1e-3)), maxiter=9)
    before = _solve_all._cache_size()
    for tol in (np.float32(1e-3), jnp.float32(1e-3), np.array(1e-3, np.float32)):
        found = solves(bowl, STARTS, (1.0,), tol=tol, maxiter=jnp.int32(9))
        np.testing.assert_array_equal(found.results[0].x, one.results[0].x)
    solves(bowl, STARTS, (1.0,), tol=0.1, maxiter=8)
    assert _solve_all._cache_size() == before  # other numbers are the same program


def test_the_table_has_quantiles_over_the_starts():
    def line(x, slope):
        return jnp.where(x > 0, slope * x, jnp.nan)

    methods = [*grid(fnopt.sgd, learning_rate=[0.01, 0.1]), "lbfgs"]
    starts = jnp.array([0.5, 1.0, -1.0, 2.0])
    found = solves(line, starts, methods=methods, data_sets=jnp.array([1.0, 2.0]), maxiter=3)
    table = found.quantiles((0.5, 0.0))
    assert table["method"] == ["sgd"] * 4 + ["lbfgs"] * 2 and table["data_set"] == [0, 1] * 3
    assert table["learning_rate"] == [0.01, 0.01, 0.1, 0.1, None, None]
    np.testing.assert_allclose(table["q0"][0], 0.47, rtol=1e-5)  # three steps of 0.01 from 0.5
    np.testing.assert_allclose(table["median"][0], (0.97 + 1.97) / 2, rtol=1e-5)
    assert table["lowest"] == table["q0"] and set(table["starts"]) == {4}
    assert table["converged"][0] == 0 and table["nit"][0] == 3
    assert repr(found) == repr(found.quantiles())
    with pytest.raises(ValueError, match=r"Solves.quantiles: shares must lie in \[0, 1\]"):
        found.quantiles((1.5,))


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: solves(rosenbrock, jnp.zeros((0, 2))), ValueError, "starts must have a first"),
        (lambda: solves(rosenbrock, 1.0), ValueError, "starts must have a first axis"),
        (lambda: solves(rosenbrock, STARTS, methods=[]), ValueError, "solves: methods is empty"),
        (lambda: solves(rosenbrock, STARTS, methods="lbgs"), ValueError,
         "solves: no method 'lbgs'; did you mean 'lbfgs'?"),
        (lambda: solves(rosenbrock, STARTS, tol="low"), TypeError, "solves: tol must be a number"),
        (lambda: solves(rosenbrock, STARTS, tol=jnp.ones(2)), ValueError,
         "solves: tol must be one number"),
        (lambda: solves(rosenbrock, STARTS, maxiter=[3]), TypeError,
         "solves: maxiter must be an integer, got [3] (list)"),
        (lambda: solves(rosenbrock, STARTS[0]), TypeError,
         "at a start of shape (); starts has a first axis of the starts"),
        (lambda: solves(lambda x: x[0], STARTS, data_sets=jnp.ones(2)), TypeError,
         "it is called as fun(x, data)"),
        (lambda: solves(rosenbrock, STARTS, data_sets={"a": jnp.ones(2), "b": jnp.ones(3)}),
         ValueError, "data_sets must have a first axis of the same length"),
    ],
)  # fmt: skip
def test_a_mistake_is_named(make, error, words):
    with pytest.raises(error) as refusal:
        make()
    assert words in str(refusal.value)
