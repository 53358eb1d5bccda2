"""Successive halving and Hyperband: brackets, who goes on, and whole runs of both."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from fnopt.sweeps.brackets import Rung, budget_bracket, halving_bracket, hyperband_brackets
from fnopt.sweeps.halving import final_ranking, promoted, ranks, run_brackets

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


def test_brackets_of_hyperband_may_begin_with_several_epochs():
    """As those of the paper with an epoch of three."""
    brackets = [list(map(tuple, bracket)) for bracket in hyperband_brackets(81, min_epochs=3)]
    assert brackets == [
        [(n, 3 * epochs) for n, epochs in map(tuple, bracket)] for bracket in hyperband_brackets(27)
    ]


def test_a_bracket_from_runs_and_epochs():
    assert list(map(tuple, halving_bracket(20, 100, min_epochs=5))) == [(20, 11), (6, 33), (2, 100)]
    assert list(map(tuple, halving_bracket(20, 100, min_epochs=12))) == [(20, 33), (6, 100)]
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


def one(advance, bracket, **options):
    """The result of a single bracket."""
    (result,) = run_brackets(advance, [bracket], **options)
    return result


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
    result = one(advance, halving_bracket(4, 4, eta=2))
    assert advance.calls == [([0, 1, 2, 3], 1), ([2, 3], 2), ([3], 4)]
    assert [rung.promoted.tolist() for rung in result.rungs] == [[3, 2], [3], []]
    assert result.ranking.tolist() == [3, 2, 1, 0]
    assert result.best_number == 3
    assert result.epochs == 4 + 2 + 2
    worst = one(Recorded(-curves), halving_bracket(4, 4, eta=2), mode="max")
    assert worst.ranking.tolist() == result.ranking.tolist()


def test_a_run_that_came_further_is_before_a_better_one_that_did_not():
    """At the second rung its metric has become worse than that of those left behind."""
    result = one(Recorded([[2.0, 9.0], [3.0, 0.0]]), halving_bracket(2, 2, eta=2))
    assert result.ranking.tolist() == [0, 1]


def test_runs_that_diverge_leave_their_places_empty():
    curves = np.ones((9, 9))
    curves[:, 0] = [NAN] * 7 + [5.0, NAN]
    advance = Recorded(curves)
    result = one(advance, halving_bracket(9, 9))
    assert advance.calls[1:] == [([7], 3), ([7], 9)]
    assert result.best_number == 7
    ended = one(Recorded(np.full((9, 9), NAN)), halving_bracket(9, 9))
    assert len(ended.rungs) == 1 and ended.ranking.tolist() == list(range(9))


@pytest.mark.parametrize("seed", range(5))
def test_hyperband_finds_the_best_of_curves_that_do_not_cross(seed):
    rng = np.random.default_rng(seed)
    brackets = hyperband_brackets(27)
    number = sum(bracket[0].runs for bracket in brackets)
    levels = rng.permutation(number).astype(float)
    curves = levels[:, None] + 10 / np.arange(1, 28)[None]
    advance = Recorded(curves)
    results = run_brackets(advance, brackets)
    assert final_ranking(results)[0] == int(np.argmin(levels))
    for bracket, result in zip(brackets, results, strict=True):
        rungs = [(len(rung.runs), rung.epochs) for rung in result.rungs]
        assert rungs == list(map(tuple, bracket))
        runs = result.rungs[0].runs  # of each bracket the best of its own runs
        assert result.best_number == runs[np.argmin(levels[runs])]
    assert sorted(np.concatenate([result.rungs[0].runs for result in results])) == [*range(number)]
    # All brackets go at once. No run is trained backwards, and none after it was left behind.
    assert [epochs for _, epochs in advance.calls] == [1, 3, 9, 27]
    assert advance.calls[0][0] == [*range(number)]
    had, before = np.zeros(number, int), 0
    for runs, epochs in advance.calls:
        assert (had[runs] == before).all()
        had[runs] = before = epochs
    assert sum(result.epochs for result in results) == had.sum()


def test_of_several_brackets_those_that_came_furthest_are_first():
    """A loss that rises again counts as it is in the end; those never finite are the last."""
    curves = np.ones((8, 3))
    curves[2, 0] = 0.1  # goes on, and is one of equals at last
    curves[6] = [0.9, NAN, 0.7]
    curves[1] = NAN
    ranking = final_ranking(run_brackets(Recorded(curves), hyperband_brackets(3))).tolist()
    assert sorted(ranking) == list(range(5))
    brackets = [(Rung(6, 1), Rung(2, 3)), (Rung(2, 3),)]
    results = run_brackets(Recorded(curves), brackets)
    assert [rung.promoted.tolist() for rung in results[0].rungs] == [[2, 0], []]
    ranking = final_ranking(results).tolist()
    assert ranking == [6, 0, 2, 7, 3, 4, 5, 1]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: hyperband_brackets(0), ValueError, "epochs must be at least 1, got 0"),
        (lambda: hyperband_brackets(9.5), TypeError, "epochs must be an integer, got 9.5"),
        (lambda: hyperband_brackets(9, eta=1), ValueError, "eta must be at least 2, got 1"),
        (
            lambda: halving_bracket(4, 4, min_epochs=5),
            ValueError,
            r"min_epochs must lie in \[1, epochs\]",
        ),
        (
            lambda: hyperband_brackets(9, min_epochs=10),
            ValueError,
            r"lie in \[1, epochs\] = \[1, 9\]",
        ),
        (lambda: budget_bracket(1, 10), ValueError, "runs must be at least 2"),
        (lambda: budget_bracket(8, 23), ValueError, "budget must be at least 24"),
        (lambda: ranks([1.0], "least"), ValueError, "mode must be one of"),
        (
            lambda: one(lambda runs, epochs: runs[1:], halving_bracket(4, 4)),
            ValueError,
            r"advance returned values of shape \(3,\) for 4 runs",
        ),
    ],
)
def test_mistakes(make, error, words):
    with pytest.raises(error, match=words) as refusal:
        make()
    assert len(str(refusal.value)) <= 400
