"""Races on many problems, as few programs: each is the race alone."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnopt
from fnopt.lab import Problem, beale, ill_conditioned_quadratic, noisy, race, rosenbrock
from fnopt.lab.race_program import as_tree, paths_of
from fnopt.sweeps import races

STEPS = 20
OPTIMIZERS = {"sgd": fnopt.sgd(0.003), "slow": fnopt.sgd(0.001), "adam": fnopt.adam(0.1)}


def squares(data, point):
    return jnp.mean((data @ point - 1) ** 2)


def fit_of(seed):
    """A least-squares problem on data of its own."""
    data = jax.random.normal(jax.random.key(seed), (8, 2))
    return Problem("fit", jax.tree_util.Partial(squares, data), ((-2, 2), (-2, 2)), (-1.0, 1.0))


def test_each_race_is_the_one_alone():
    """Problems of two structures, one noisy: two structures of optimizers on each, 8 programs."""
    problems = {
        "round": ill_conditioned_quadratic(2.0),
        "beale": beale,
        "long": ill_conditioned_quadratic(50.0, angle=70.0),
        "noisy": noisy(beale, 0.3),
        "data": fit_of(0),
        "other data": fit_of(1),
    }
    before = paths_of._cache_size()
    options = {"starts": 5, "steps": STEPS, "learning_rates": [1e-3, 1e-2], "key": 3}
    found = races(OPTIMIZERS, problems, **options)
    assert found.programs == paths_of._cache_size() - before == 8
    assert found.names == tuple(problems) and len(found) == 6
    for name, problem in problems.items():
        alone = race(OPTIMIZERS, problem, **options)
        for ours, theirs in zip(found[name].entrants, alone.entrants, strict=True):
            np.testing.assert_allclose(ours.paths, theirs.paths, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-4, atol=1e-6)
            assert (ours.name, ours.best) == (theirs.name, theirs.best)
    before = paths_of._cache_size()
    other = {name: problems[name] for name in ("long", "round")}
    races(OPTIMIZERS, other, **{**options, "key": 4})
    assert paths_of._cache_size() == before  # other numbers are the same program


def test_a_race_on_other_numbers_compiles_nothing():
    race(["sgd"], ill_conditioned_quadratic(5.0), steps=STEPS)
    before = paths_of._cache_size()
    race(["sgd"], ill_conditioned_quadratic(7.0, angle=10.0), steps=STEPS)
    assert paths_of._cache_size() == before


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Power:
    exponent: int

    def __call__(self, point):
        return sum((jnp.sum(point**2) for _ in range(self.exponent)), start=jnp.zeros(()))


def test_integers_of_a_function_are_no_leaves():
    assert not jax.tree.leaves(as_tree(Power(3))) and not jax.tree.leaves(as_tree(squares))
    assert (
        as_tree(fit_of(0).function) is not None
        and len(jax.tree.leaves(as_tree(fit_of(0).function))) == 1
    )
    problems = [Problem("power", Power(n), ((-1, 1), (-1, 1)), (0.5, 0.5)) for n in (1, 2)]
    found = races(["sgd"], problems, steps=2)
    assert found.names == ("power", "power #2") and found.programs == 2
    assert found["power #2"]["sgd"].values[0, 0, 0] == 1.0


def test_quantiles_are_those_over_the_starts():
    starts = np.array([(1.0, 1.0), (2.0, 0.5), (0.5, 0.0), (3.0, 1.0)])
    found = races(OPTIMIZERS, beale, starts=starts, steps=200)
    steps, last = found.quantiles(), found.quantiles("value", shares=(0.1, 0.5))
    assert steps["problem"] == ["beale"] * 3 and steps["optimizer"] == list(OPTIMIZERS)
    for row, entrant in enumerate(found.races[0].entrants):
        heights = entrant.values[0]
        near = heights <= 0.01 * heights[:, :1]
        first = [int(np.argmax(each)) if each.any() else np.inf for each in near]
        assert steps["near"][row] == np.isfinite(first).sum()
        median = np.sort(first)[1:3].mean()
        assert steps["median"][row] == (median if np.isfinite(median) else None)
        np.testing.assert_allclose(last["median"][row], np.median(heights[:, -1]), rtol=1e-6)
        np.testing.assert_allclose(last["q10"][row], np.quantile(heights[:, -1], 0.1), rtol=1e-5)
    assert steps["near"][2] > 0 and "q25" not in last.columns
    assert repr(found) == repr(steps)


def test_starts_that_diverge_are_the_worst():
    found = races([fnopt.sgd(1e-3)], rosenbrock, starts=[(0.9, 0.8), (30.0, 30.0), (40.0, 9.0)])
    table = found.quantiles("value")
    assert table["diverged"] == [2] and table["median"] == [np.inf] and table["q25"] == [np.inf]
    assert found.quantiles("steps")["median"] == [None]


def test_where_no_minimum_is_known_the_table_is_of_values():
    found = races(OPTIMIZERS, [fit_of(0), fit_of(1)], steps=STEPS)
    table = found.quantiles()
    assert table.title == "last value, 1 start, 20 steps" and table["near"] == [None] * 6
    assert found.quantiles("steps")["median"] == [None] * 6


@pytest.mark.parametrize("number", [1, 2, 4])
def test_the_picture_has_a_panel_for_each_problem(tmp_path, number):
    problems = {f"{i}": ill_conditioned_quadratic(2.0 + i) for i in range(number)}
    found = races(["sgd", "adam"], problems, starts=4, steps=STEPS)
    figure = found.plot(tmp_path / "races.png", theme="dark", title="Valleys")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == list(problems)
    line = panels[-1].get_lines()[0].get_ydata()
    median = np.median(found.races[-1]["sgd"].values[0], axis=0)
    np.testing.assert_allclose(line[: len(median)][:3], median[:3], rtol=1e-5)
    assert (tmp_path / "races.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: races(["sgd"], []), ValueError, "races: problems is empty"),
        (lambda: races(["sgd"], [beale, 3]), TypeError, "races: problem must be a Problem"),
        (lambda: races(["sgdd"], beale), ValueError, "races: no method 'sgdd'"),
        (lambda: races([], beale), ValueError, "races: optimizers is empty"),
        (lambda: races(["sgd"], beale, starts=0), ValueError, "races: starts"),
        (lambda: races(["sgd"], beale, steps=1).quantiles(shares=(2,)), ValueError, "in [0, 1]"),
        (lambda: races(["sgd"], beale, steps=1).quantiles("stps"), ValueError, "'steps'"),
        (lambda: races(["sgd"], beale, steps=1)["baele"], KeyError, "did you mean 'beale'"),
    ],
)
def test_a_mistake_is_named(make, error, words):
    with pytest.raises(error) as refusal:
        make()
    assert words in str(refusal.value)
