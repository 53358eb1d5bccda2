"""Successive halving and Hyperband: brackets, who goes on, and whole runs of both."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from fnopt.sweeps.brackets import budget_bracket, halving_bracket, hyperband_brackets
from fnopt.sweeps.halving import best_run, promoted, ranks, run_bracket, run_hyperband

NAN, INF = float("nan"), float("inf")

# Li et al. 2018, table 1: n_i and r_i for R = 81 and eta = 3, from s = 4 to s = 0.
TABLE_1 = [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
]


def test_brackets_of_hyperband_are_those_of_the_paper():
    assert [list(map(tuple, bracket)) for bracket in hyperband_brackets(81)] == TABLE_1


@pytest.mark.parametrize("epochs", [1, 2, 3, 26, 27, 28, 100, 243, 1000])
@pytest.mark.parametrize("eta", [2, 3, 4, 10])
def test_brackets_of_hyperband_are_those_of_its_algorithm(epochs, eta):
    """Transcribed with fractions: floats take the logarithm of 243 to the base 3 for below 5."""
    most = max(s for s in range(20) if eta**s <= epochs)
    budget = (most + 1) * epochs
    brackets = hyperband_brackets(epochs, eta=eta)
    assert len(brackets) == most + 1
    for s, bracket in zip(range(most, -1, -1), brackets, strict=True):
        n = math.ceil(Fraction(budget, epochs) * Fraction(eta**s, s + 1))
        r = Fraction(epochs, eta**s)
        wanted = [(math.floor(Fraction(n, eta**i)), math.floor(r * eta**i)) for i in range(s + 1)]
        assert list(map(tuple, bracket)) == wanted
        assert bracket[-1].epochs == epochs and all(rung.epochs >= 1 for rung in bracket)
        # Each runs up anew in the paper's account; here a run goes on from where it was.
        assert sum(a * b for a, b in wanted) <= budget + 2 * eta * epochs


@pytest.mark.parametrize(("runs", "budget"), [(2, 2), (8, 48), (16, 1000), (13, 200), (100, 5000)])
def test_a_budget_is_shared_as_in_the_paper(runs, budget):
    """Jamieson & Talwalkar 2016, figure 3."""
    number = math.ceil(math.log2(runs))
    alive, total, spent = runs, 0, 0
    for rung in budget_bracket(runs, budget):
        pulls = budget // (alive * number)
        total += pulls
        spent += alive * pulls
        assert tuple(rung) == (alive, total)
        alive = max(1, alive // 2)
    assert alive == 1 and len(budget_bracket(runs, budget)) == number
    assert spent <= budget


def test_a_bracket_from_runs_and_epochs():
    assert list(map(tuple, halving_bracket(20, 100, first=5))) == [(20, 11), (6, 33), (2, 100)]
    assert list(map(tuple, halving_bracket(20, 100, first=12))) == [(20, 33), (6, 100)]
    assert list(map(tuple, halving_bracket(2, 100))) == [(2, 100)]  # none is left to halve
    assert list(map(tuple, halving_bracket(64, 2, eta=2))) == [(64, 1), (32, 2)]


def test_the_best_go_on_and_what_is_not_finite_does_not():
    assert ranks([3, 1, 2, 1]).tolist() == [1, 3, 2, 0]
    assert ranks([3, 1, 2, 1], "max").tolist() == [0, 2, 1, 3]
    assert ranks([NAN, INF, 1, -INF, NAN, 2]).tolist() == [2, 5, 1, 3, 0, 4]
    assert ranks([NAN, INF, 1, -INF, NAN, 2], "max").tolist() == [5, 2, 1, 3, 0, 4]
    assert promoted([5, 5, 5, 5], 2).tolist() == [0, 1]
    assert promoted([NAN, 4, INF], 2).tolist() == [1]
    assert promoted([NAN, NAN], 1).tolist() == []


class Recorded:
    """Losses of runs by epoch, and which of them were asked for."""

    def __init__(self, curves):
        self.curves, self.calls = np.asarray(curves), []

    def __call__(self, runs, epochs):
        self.calls.append((runs.tolist(), epochs))
        return self.curves[runs, epochs - 1]


def test_a_bracket_run_by_hand():
    curves = np.full((4, 4), NAN)
    curves[:, 0] = [4.0, 3.0, 2.0, 1.0]
    curves[[2, 3], 1] = [1.0, 0.9]
    curves[3, 3] = 0.5
    advance = Recorded(curves)
    result = run_bracket(advance, halving_bracket(4, 4, eta=2))
    assert advance.calls == [([0, 1, 2, 3], 1), ([2, 3], 2), ([3], 4)]
    assert [rung.promoted.tolist() for rung in result.rungs] == [[3, 2], [3], []]
    assert result.ranking.tolist() == [3, 2, 1, 0]
    assert result.best == 3
    assert result.epochs == 4 + 2 + 2
    worst = run_bracket(Recorded(-curves), halving_bracket(4, 4, eta=2), mode="max")
    assert worst.ranking.tolist() == result.ranking.tolist()


def test_a_run_that_came_further_is_before_a_better_one_that_did_not():
    """At the second rung its metric has become worse than that of those left behind."""
    result = run_bracket(Recorded([[2.0, 9.0], [3.0, 0.0]]), halving_bracket(2, 2, eta=2))
    assert result.ranking.tolist() == [0, 1]


def test_runs_that_diverge_leave_their_places_empty():
    curves = np.ones((9, 9))
    curves[:, 0] = [NAN] * 7 + [5.0, NAN]
    advance = Recorded(curves)
    result = run_bracket(advance, halving_bracket(9, 9))
    assert advance.calls[1:] == [([7], 3), ([7], 9)]
    assert result.best == 7
    ended = run_bracket(Recorded(np.full((9, 9), NAN)), halving_bracket(9, 9))
    assert len(ended.rungs) == 1 and ended.ranking.tolist() == list(range(9))


@pytest.mark.parametrize("seed", range(5))
def test_hyperband_finds_the_best_of_curves_that_do_not_cross(seed):
    rng = np.random.default_rng(seed)
    brackets = hyperband_brackets(27)
    number = sum(bracket[0].runs for bracket in brackets)
    levels = rng.permutation(number).astype(float)
    curves = levels[:, None] + 10 / np.arange(1, 28)[None]
    advance = Recorded(curves)
    results = run_hyperband(advance, brackets)
    best = int(np.argmin(levels))
    assert best_run(results) == best
    first = [runs for runs, _ in advance.calls if len(runs) in {b[0].runs for b in brackets}]
    assert sorted({run for runs in first for run in runs}) == list(range(number))
    for result in results:  # of each bracket the best of its own runs
        runs = result.rungs[0].runs
        assert result.best == runs[np.argmin(levels[runs])]
    # No run is trained backwards, and none goes on that was left behind.
    had = np.zeros(number, int)
    for runs, epochs in advance.calls:
        assert (had[runs] < epochs).all()
        had[runs] = epochs
    assert sum(result.epochs for result in results) == had.sum()


def test_the_best_run_of_hyperband_is_the_best_ever_seen():
    """A loss that rises again is not the worse for it."""
    curves = np.ones((20, 3))
    curves[2, 0] = 0.1
    assert best_run(run_hyperband(Recorded(curves), hyperband_brackets(3))) == 2
    with pytest.raises(ValueError, match="all of them diverged"):
        best_run(run_hyperband(Recorded(np.full((20, 3), NAN)), hyperband_brackets(3)))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: hyperband_brackets(0), ValueError, "epochs must be at least 1, got 0"),
        (lambda: hyperband_brackets(9.5), TypeError, "epochs must be an integer, got 9.5"),
        (lambda: hyperband_brackets(9, eta=1), ValueError, "eta must be at least 2, got 1"),
        (lambda: halving_bracket(4, 4, first=5), ValueError, r"first must lie in \[1, epochs\]"),
        (lambda: budget_bracket(1, 10), ValueError, "runs must be at least 2"),
        (lambda: budget_bracket(8, 23), ValueError, "budget must be at least 24"),
        (lambda: ranks([1.0], "least"), ValueError, "mode must be one of"),
        (
            lambda: run_bracket(lambda runs, epochs: runs[1:], halving_bracket(4, 4)),
            ValueError,
            r"advance returned values of shape \(3,\) for 4 runs",
        ),
        (
            lambda: run_bracket(lambda runs, epochs: runs, halving_bracket(4, 4), runs=[1, 2]),
            ValueError,
            "the first rung has 4 runs, and runs has 2 numbers",
        ),
    ],
)
def test_mistakes(make, error, words):
    with pytest.raises(error, match=words) as refusal:
        make()
    assert len(str(refusal.value)) <= 400
