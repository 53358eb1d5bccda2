"""Races: paths are the optimizers' own, in few programs, and the same for the same key."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt
import fnopt.lab
from fnopt.core import Evaluation
from fnopt.core.transform import as_transform
from fnopt.lab import Entrant, Problem, Race, beale, noisy, race
from fnopt.lab.race_arguments import as_entrants
from fnopt.lab.race_program import paths_of
from fnopt.lab.race_rates import rate_of, with_rate
from fnopt.lab.race_runs import _rank

STEPS = 12
ENTRANTS = {
    "sgd": fnopt.sgd(0.01),
    "slow sgd": fnopt.sgd(0.001),
    "heavy ball": fnopt.heavy_ball(0.003),
    "adam": fnopt.adam(fnopt.exponential_decay(0.1, 5, 0.5)),
    "clipped": fnopt.chain(fnopt.clip_by_global_norm(1.0), fnopt.rmsprop(0.05)),
    "quickprop": fnopt.quickprop(0.003),
    "newton": fnopt.newton(linesearch=None),
    "lbfgs": fnopt.lbfgs(),
    "sam": fnopt.sam(
        fnopt.sgd(0.01), fnopt.chain(fnopt.normalize(), fnopt.sgd(0.1)), opaque_mode=True
    ),
    "schedule free": fnopt.schedule_free_sgd(0.05),
    "optax": optax.adam(0.1),
}
STARTS = np.array([(1.0, 1.0), (2.0, 0.0), (0.5, -0.5)])
PROGRAMS = 10
"""Both of sgd are one."""


@pytest.fixture(scope="module")
def double():
    """A race in double precision."""
    with jax.enable_x64(True):
        return race(ENTRANTS, beale, starts=STARTS, steps=STEPS)


def by_hand(tx: Any, start: Any, steps: int = STEPS, problem: Problem = beale) -> Any:
    """The points of a loop over ``tx.update``, as the optimizer is evaluated."""
    evaluation, tx = Evaluation.of_loss(problem), as_transform(tx)

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(problem)(params)
        extra = {"value": value, "grad": grad, **evaluation.extra_args()}
        updates, state = tx.update(grad, state, params, **extra)
        params = optax.apply_updates(params, updates)
        return params, state, tx.eval_params(state, params)

    params = jnp.asarray(start, jnp.result_type(float))
    state, points = tx.init(params), [params]
    for _ in range(steps):
        params, state, point = step(params, state)
        points.append(point)
    return np.stack(points)


@pytest.mark.beside_optax
@pytest.mark.parametrize("name", ENTRANTS)
def test_a_path_is_the_optimizer_s_own(double, name):
    """To 1e-6, from the start to the last point; the values are the function's there."""
    with jax.enable_x64(True):
        for number, start in enumerate(STARTS[: 1 if name in ("newton", "lbfgs") else None]):
            path = double[name].paths[0, number]
            np.testing.assert_allclose(path, by_hand(ENTRANTS[name], start), rtol=1e-6, atol=1e-12)
            np.testing.assert_allclose(double[name].values[0, number], jax.vmap(beale)(path))


def compiled(caplog: Any) -> list[str]:
    """The programs that were compiled, by name."""
    text = "\n".join(record.getMessage() for record in caplog.records)
    return re.findall(r"Finished XLA compilation of (\S+)", text)


def test_a_structure_is_one_program(caplog):
    """Eight optimizers at 16 rates; what was compiled serves the next race, with other numbers."""
    rates = np.geomspace(1e-4, 1e-1, 16)

    def optimizers(x):
        adams = [fnopt.adam(x, b1=b1) for b1 in (0.3, 0.5, 0.7, 0.9)]
        return adams + [fnopt.heavy_ball(x, momentum=decay) for decay in (0.3, 0.5, 0.7, 0.9)]

    before = paths_of._cache_size()
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        first = race(optimizers(0.1), beale, learning_rates=rates, steps=200)
        assert compiled(caplog).count("jit(paths_of)") == first.programs == 2
        assert paths_of._cache_size() - before == 2
        caplog.clear()
        again = race(optimizers(0.2), beale, learning_rates=2 * rates, steps=200, key=1)
        assert compiled(caplog) == [] and again.programs == 2
        race(optimizers(0.2), noisy(beale, 0.1), learning_rates=rates, steps=200)
        noise = compiled(caplog).count("jit(paths_of)")
        race(optimizers(0.2), noisy(beale, 0.2), learning_rates=rates, steps=200)
        assert compiled(caplog).count("jit(paths_of)") == noise == 2
    assert first.entrants[1].paths.shape == (16, 1, 201, 2)
    # Its rates are those of the same optimizer alone.
    for number in (0, 7, 15):
        alone = by_hand(fnopt.heavy_ball(rates[number], momentum=0.7), beale.start, 200)[-1]
        last = first["heavy_ball(momentum=0.7)"].paths[number, 0, -1]
        np.testing.assert_allclose(last, alone, rtol=1e-4)


def test_programs_of_all_kinds(double):
    assert double.programs == PROGRAMS and len(double.entrants) == len(ENTRANTS)


def test_the_same_key_gives_the_same_bits():
    def paths(key):
        return race(["sgd"], noisy(beale, 0.5), starts=2, steps=STEPS, key=key)["sgd"].paths

    first, again, other = paths(3), paths(jax.random.key(3)), paths(4)
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()  # the starts are drawn, too


def test_starts_are_drawn_from_the_domain():
    problem = Problem("wide", jnp.sum, ((-1.0, 3.0), (10.0, 20.0)), (0.0, 15.0))
    starts = race(["sgd"], problem, starts=500, steps=1).entrants[0].paths[0, :, 0]
    assert (starts.min(axis=0) >= [-1, 10]).all() and (starts.max(axis=0) <= [3, 20]).all()
    np.testing.assert_allclose(starts.min(axis=0), [-1, 10], atol=0.1)
    np.testing.assert_allclose(starts.max(axis=0), [3, 20], atol=0.1)


def flat(point):
    return 0 * jnp.sum(point)


def test_noise_is_normal_and_the_same_for_all_at_one_step_and_start():
    """Where there is no slope, a step of gradient descent is the rate times the noise."""
    problem = noisy(Problem("flat", flat, ((-1, 1), (-1, 1)), (0, 0)), 0.5)
    optimizers = {"sgd": fnopt.sgd(0.1), "other": fnopt.chain(fnopt.trace(0.0), fnopt.scale(-0.1))}
    result = race(optimizers, problem, starts=4, steps=2000)
    assert result.programs == 2
    draws = [np.diff(entrant.paths[0], axis=1) / -0.1 for entrant in result.entrants]
    np.testing.assert_allclose(draws[0], draws[1], atol=1e-4)
    np.testing.assert_allclose(draws[0].mean(axis=1), 0.0, atol=0.05)
    np.testing.assert_allclose(draws[0].std(axis=1), 0.5, rtol=0.06)
    flattened = draws[0].transpose(0, 2, 1).reshape(8, -1)  # starts and coordinates differ
    np.testing.assert_allclose(np.corrcoef(flattened), np.eye(8), atol=0.1)
    assert (result["sgd"].values == 0).all()  # values have no noise


def test_what_is_evaluated_in_a_step_has_the_noise_of_its_gradient():
    """A step of SAM without slope: both its gradients are the noise, the same."""
    problem = noisy(Problem("flat", flat, ((-1, 1), (-1, 1)), (0, 0)), 1.0)
    ascent = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.5))
    optimizers = [fnopt.sgd(0.1), fnopt.sam(fnopt.sgd(0.1), ascent, opaque_mode=True)]
    plain, sam = (entrant.paths for entrant in race(optimizers, problem, steps=5).entrants)
    np.testing.assert_allclose(plain, sam, atol=1e-6)
    assert np.abs(plain).max() > 0.01


RATES = np.array([0.001, 0.01, 10.0])


@pytest.fixture(scope="module")
def band():
    """Rates of which the last is too large for gradient descent."""
    falling = fnopt.linear_schedule(0.6, 0.2, STEPS - 1)
    optimizers = {
        "sgd": fnopt.sgd(0.5),
        "falling": fnopt.sgd(falling),
        "of optax": fnopt.sgd(lambda count: 0.5 / (1 + count)),
        "in a chain": fnopt.chain(fnopt.clip(1e9), fnopt.sgd(0.5)),
        "wrapped": fnopt.cautious(fnopt.sgd(0.5)),
        "optax": optax.sgd(0.01),
    }
    with jax.numpy_dtype_promotion("standard"):
        return race(optimizers, beale, steps=STEPS, learning_rates=RATES)


def test_every_rate_of_a_band_is_run(band):
    for name in ("sgd", "falling", "of optax", "in a chain", "wrapped"):
        np.testing.assert_array_equal(band[name].learning_rates, RATES)
        assert band[name].paths.shape == (3, 1, STEPS + 1, 2)
    for number, rate in enumerate(RATES[:2]):
        plain = by_hand(fnopt.sgd(rate), beale.start)
        np.testing.assert_allclose(band["sgd"].paths[number, 0], plain, rtol=1e-5)
        np.testing.assert_allclose(band["in a chain"].paths[number, 0], plain, rtol=1e-5)


@pytest.mark.beside_optax
def test_a_rate_in_place_of_a_schedule_is_its_largest_value(band):
    falling = fnopt.linear_schedule(0.01, 0.01 / 3, STEPS - 1)
    np.testing.assert_allclose(
        band["falling"].paths[1, 0], by_hand(fnopt.sgd(falling), beale.start), rtol=1e-5
    )
    halved = fnopt.sgd(lambda count: 0.01 / (1 + count))
    np.testing.assert_allclose(
        band["of optax"].paths[1, 0], by_hand(halved, beale.start), rtol=1e-5
    )


def test_what_has_no_rate_runs_as_it_is(band):
    assert band["optax"].learning_rates is None
    assert band["optax"].paths.shape == (1, 1, STEPS + 1, 2)
    plain = by_hand(fnopt.sgd(0.01), beale.start)
    np.testing.assert_allclose(band["optax"].paths[0, 0], plain, rtol=1e-5)


ASCENT = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.05))


@pytest.mark.parametrize(
    ("tx", "rate"),
    [
        (fnopt.sgd(0.25), 0.25),
        (fnopt.sgd(fnopt.linear_schedule(0.0, 0.25, 4)), 0.25),
        (fnopt.sgd(fnopt.linear_schedule(0.0, 0.25, 8)), 0.125),  # so far in five steps
        (fnopt.chain(fnopt.clip(1.0), fnopt.scale_by_learning_rate(0.25)), 0.25),
        (fnopt.lookahead(fnopt.sgd(0.25), 6, 0.5), 0.25),
        (fnopt.sam(fnopt.sgd(0.25), ASCENT, opaque_mode=True), 0.25),
        (fnopt.newton(0.25, linesearch=None), 0.25),
        (fnopt.newton(0.25), None),
        (fnopt.lbfgs(), None),
        (fnopt.chain(fnopt.sgd(0.5), fnopt.scale_by_learning_rate(0.5)), None),
        (fnopt.groups(("*", {}), base=fnopt.sgd(0.25)), 0.25),
        (
            fnopt.groups(("a", fnopt.sgd(0.5)), ("*", {"learning_rate": 0.1}), base=fnopt.sgd(0.1)),
            None,
        ),
        (fnopt.sgd(jnp.array([0.25, 0.5])), None),
        (fnopt.sign_sgd(0.25), 0.25),
        (as_transform(optax.sgd(0.25)), None),
    ],
    ids=lambda x: type(x).__name__,
)
def test_the_rate_of_an_optimizer(tx, rate):
    """One, and of what has a line search none; with another it is the same but for that."""
    assert rate_of(tx, 5) == rate
    if rate is not None:
        other = with_rate(tx, 0.5, 5)
        assert rate_of(other, 5) == 0.5 and other != tx
        assert rate_of(with_rate(other, rate, 5), 5) == rate


def test_a_run_that_diverges_goes_on_and_is_never_the_best(band):
    assert not np.isfinite(band["sgd"].values[2]).all()
    assert np.isfinite(band["sgd"].values[:2]).all()
    assert band["sgd"].best == 1 and band["sgd"].optimizer == fnopt.sgd(0.01)
    row = next(line for line in repr(band).splitlines() if line.startswith("sgd "))
    assert re.search(rf"0\.01 +{band['sgd'].values[1, 0, -1]:.3g} ", row)


def test_runs_that_diverge_to_both_sides_warn_of_nothing():
    def cliff(point):
        return point[0] ** 4 * jnp.sign(point[1])

    problem = Problem("cliff", cliff, ((-1, 1), (-1, 1)), (0, 0), ((0, 0),), 0.0)
    result = race([fnopt.sgd(10.0)], problem, starts=[(1, 1), (1, -1)], steps=4)
    assert (result["sgd"].values[0, :, -1] == [np.inf, -np.inf]).all()
    assert "diverged" in repr(result) and "nan" not in repr(result)


def test_tuning_takes_the_rate_of_the_smallest_median_of_last_values():
    result = race([fnopt.sgd(5.0)], beale, starts=3, steps=STEPS, learning_rates="tune")
    entrant = result.entrants[0]
    last = np.where(np.isfinite(entrant.values), entrant.values, np.inf)[:, :, -1]
    assert entrant.best == np.argmin(np.sort(last)[:, 1]) and len(entrant.learning_rates) == 16
    np.testing.assert_allclose(entrant.learning_rates[[0, -1]], [1e-4, 10.0])
    assert entrant.optimizer == fnopt.sgd(entrant.learning_rates[entrant.best])


def test_a_start_that_diverges_at_every_rate_does_not_hide_the_best():
    def bowl(point):  # the second coordinate alone decides whether a run diverges
        return point[0] ** 2 + jnp.where(point[1] > 0.5, jnp.inf, 0.0)

    problem = Problem("edge", bowl, ((-1, 1), (-1, 1)), (0, 0), ((0.0, 0.0),), 0.0)
    starts = [(1.0, 1.0), (0.5, 0.0), (-1.0, 0.0)]
    rates = [1e-4, 0.3, 1.2]
    result = race(["sgd"], problem, starts=starts, steps=9, learning_rates=rates)
    assert result["sgd"].best == 1 and result["sgd"].optimizer.learning_rate == 0.3
    row = repr(result).splitlines()[-1].split()
    assert row[:2] == ["sgd", "0.3"] and float(row[2]) < 1e-4  # medians over the starts too


@pytest.mark.parametrize(
    "last, best",
    [
        ([[1, np.inf, np.inf], [9, np.inf, np.nan], [3, -np.inf, np.inf]], 0),  # the finite mean
        ([[1, 2, np.inf], [1, 2, 9], [1, 2, 8]], 2),
        ([[np.nan], [2], [1]], 2),
        ([[np.nan], [np.inf]], 0),
    ],
)
def test_of_equal_medians_the_best_diverges_less_often_then_has_the_lowest_mean(last, best):
    ranks = [_rank(np.array(values, np.float32)) for values in last]
    assert ranks.index(min(ranks)) == best


def test_labels():
    def names(*optimizers):
        return [*as_entrants("race", optimizers)]

    adam = fnopt.adam(0.1)
    assert names("sgd", adam) == ["sgd", "adam"]
    assert names(adam, fnopt.adam(0.1, b1=0.5)) == ["adam(b1=0.9)", "adam(b1=0.5)"]
    falling = fnopt.linear_schedule(0.1, 0.0, 10)
    assert names(fnopt.sgd(falling), fnopt.sgd(0.02154434690031882)) == [
        "sgd(learning_rate=linear_schedule)", "sgd(learning_rate=0.0215443)",
    ]  # fmt: skip
    boxes = [fnopt.lbfgsb(lower=np.full(2, x)) for x in (0.0, 1.0)]
    assert names(*boxes) == ["lbfgsb(lower=array([0., 0.]))", "lbfgsb(lower=array([1., 1.]))"]
    assert names(adam, adam, fnopt.sgd(0.1)) == ["adam", "adam #2", "sgd"]
    clipped = fnopt.chain(fnopt.clip_by_global_norm(1.0), adam)
    assert names(clipped) == ["clip_by_global_norm + adam"]
    assert names("L-BFGS") == ["lbfgs"]
    theirs = [optax.adam(0.1), optax.sgd(0.1), optax.adam(0.2)]
    assert names(adam, *theirs) == ["adam", "optax #2", "optax #3", "optax #4"]
    assert names(fnopt.chain(fnopt.normalize(), theirs[0])) == ["normalize + optax #1"]
    assert as_entrants("race", {"a": "sgd"})["a"] == fnopt.sgd(0.1)  # its usual rate


def by_numbers(problem, values, ends):
    """A race of one optimizer with these values from each start, and these last points."""
    paths = np.zeros((1, *np.shape(values), 2))
    paths[0, :, -1] = ends
    entrants = [
        Entrant(name, fnopt.sgd(0.25), rates, paths, np.array([values], float))
        for name, rates in (("gradient descent", np.array([0.25])), ("none", None))
    ]
    return Race(problem, tuple(entrants), 2)


def test_a_race_prints_as_a_table():
    values = [[100.0, 50.0, 1.0, 0.5], [10.0, 9.0, 8.0, 0.1], [10.0, 9.0, 8.0, 0.3]]
    result = by_numbers(beale, values, [(3.0, 0.5), (3.0, 1.5), (3.0, 2.5)])
    assert repr(result).splitlines() == [
        "beale: 3 steps from 3 starts, medians over the starts",
        "optimizer         rate  last value  distance  steps to 1%",
        "gradient descent  0.25         0.3         1            3",
        "none                           0.3         1            3",
    ]
    single = repr(by_numbers(beale, [[2.0, np.nan, np.inf, np.nan]], [(np.nan, 0.0)]))
    assert single.startswith("beale: 3 steps from 1 start\n")
    assert "gradient descent  0.25    diverged         -            -" in single
    paths = np.full((2, 1, 3, 2), np.nan)
    none = Entrant("sgd", fnopt.sgd(5.0), np.array([5.0, 9.0]), paths, paths[..., 0])
    assert repr(Race(beale, (none,), 1)).splitlines()[1:] == [
        "optimizer  rate  last value  distance  steps to 1%",
        "sgd           -    diverged         -            -",
    ]
    below = Problem("low", flat, ((-1, 1), (-1, 1)), (0, 0), minimum=0.0)
    row = repr(by_numbers(below, [[-1.0, -2.0, -3.0, -3.0]], [(0.0, 0.0)])).splitlines()[-1]
    assert row.split() == ["none", "-3", "2"]
    unknown = Problem("hill", flat, ((-1, 1), (-1, 1)), (0, 0))
    assert "distance" not in repr(by_numbers(unknown, [[1.0, 0.0]], [(0.0, 0.0)]))
    assert len(repr(result["none"])) < 200


BOX = (-1.0, 1.0), (-1.0, 1.0)


def of(function):
    """A race on a function."""
    return race(["adam"], Problem("mine", function, BOX, (0.0, 0.0)), steps=2)


MISTAKES: dict[str, tuple[Any, type[Exception], str]] = {
    "name": (lambda: race(["adamm"], beale), ValueError, "no method 'adamm'; did you mean 'adam'"),
    "single": (lambda: race("adam", beale), TypeError, r"a single one is \[optimizer\]"),
    "single_value": (lambda: race(fnopt.sgd(0.1), beale), TypeError, "must be a list"),
    "empty": (lambda: race([], beale), ValueError, r'name at least one, as in \["adam"\]'),
    "number": (lambda: race([0.1], beale), TypeError, "expected a transform, of fnopt or of optax"),
    "class": (lambda: race([fnopt.adam], beale), TypeError, "adam is a class"),
    "needs_more": (lambda: race(["dpsgd"], beale), TypeError, r"a value, fnopt.dpsgd\(l2_norm"),
    "problem": (lambda: race(["adam"], "beale"), TypeError, "such as fnopt.lab.beale, got 'beale'"),
    "function": (lambda: race(["adam"], flat), TypeError, "must be a Problem"),
    "steps": (
        lambda: race(["adam"], beale, steps=0),
        ValueError,
        "steps must be at least 1, got 0",
    ),
    "float": (lambda: race(["adam"], beale, steps=2.0), TypeError, "steps must be an integer"),
    "starts": (
        lambda: race(["adam"], beale, starts=np.ones((2, 3))),
        ValueError,
        r"starts must have shape \(starts, 2\), or \(2,\) for one, got \(2, 3\)",
    ),
    "no_starts": (lambda: race(["adam"], beale, starts=[]), ValueError, r"got \(0,\)"),
    "zero_starts": (lambda: race(["adam"], beale, starts=0), ValueError, "at least 1, got 0"),
    "words": (lambda: race(["adam"], beale, starts="middle"), TypeError, "starts.*an integer"),
    "nan": (lambda: race(["adam"], beale, starts=[1, np.nan]), ValueError, "must be finite"),
    "rate": (
        lambda: race(["adam"], beale, learning_rates=[0.1, 0.0]),
        ValueError,
        r"learning_rates must be in \(0, inf\), got 0",
    ),
    "rates": (lambda: race(["adam"], beale, learning_rates=[]), ValueError, r"got \(0,\)"),
    "word": (lambda: race(["adam"], beale, learning_rates="best"), ValueError, '"tune" or None'),
    "no_rates": (lambda: race(["adam"], beale, learning_rates={}), TypeError, "an array of rates"),
    "zero": (
        lambda: race(
            [fnopt.sgd(fnopt.linear_schedule(0.0, 1.0, 9))], beale, steps=1, learning_rates=[1.0]
        ),
        ValueError,
        "the learning rate of sgd is at most 0 in 1 steps",
    ),
    "no_function": (lambda: of(3.0), TypeError, r"Problem: function must be .* got 3\.0"),
    "start": (
        lambda: Problem("mine", flat, BOX, (0.0, 0.0, 0.0)),  # pyright: ignore
        ValueError,
        r"Problem: start must be \(x, y\), finite numbers, got \(0\.0, 0\.0, 0\.0\)",
    ),
    "no_start": (lambda: Problem("mine", flat, BOX, None), ValueError, "start .* got None"),  # pyright: ignore
    "box": (
        lambda: Problem("mine", flat, ((1, -1), (-1, 1)), (0.0, 0.0)),
        ValueError,
        r"domain must be .* left < right and bottom < top, got \(\(1, -1\)",
    ),
    "interval": (lambda: Problem("mine", flat, (-1, 1), (0, 0)), ValueError, "got .-1, 1."),  # pyright: ignore
    "endless": (
        lambda: Problem("mine", flat, ((-1, np.inf), (-1, 1)), (0, 0)),
        ValueError,
        "domain must be .* finite",
    ),
    "vector": (lambda: of(lambda point: point), TypeError, r"returns .*shape=\(2,\).*a scalar"),
    "whole": (lambda: of(lambda point: 3), TypeError, "returns .*int.*return a scalar float"),
    "nothing": (lambda: of(lambda point: None), TypeError, "returns None; it must take one array"),
    "two": (
        lambda: of(lambda x, y: x + y),
        TypeError,
        "'mine' fails with TypeError, .*argument: 'y'.; it",
    ),
    "lookup": (
        lambda: by_numbers(beale, [[1.0]], [(0.0, 0.0)])["non"],
        KeyError,
        "no entrant 'non'; did you mean 'none'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_answered_with_the_cure(name):
    call, error, words = MISTAKES[name]
    with pytest.raises(error, match=words) as refusal:
        call()
    assert len(str(refusal.value)) <= 400


def test_the_error_of_a_function_is_shown():
    with pytest.raises(TypeError, match="must take one array") as refusal:
        of(lambda point: {}["key"])
    assert isinstance(refusal.value.__cause__, KeyError)


def test_one_start_may_be_a_point():
    result = race(["sgd"], beale, starts=(2.0, 1.0), steps=1)
    np.testing.assert_array_equal(result["sgd"].paths[:, :, 0], [[(2.0, 1.0)]])


@pytest.mark.slow
@pytest.mark.beside_optax
@pytest.mark.parametrize("name", sorted(fnopt.optimizers()))
def test_every_optimizer_races_or_says_what_it_needs(name):
    needs = {
        "dpsgd": (TypeError, r"dpsgd needs .*fnopt.dpsgd\("),
        "gauss_newton": (ValueError, "no outputs"),
        "levenberg_marquardt": (ValueError, "no outputs"),
        "natural_gradient": (ValueError, "no outputs"),
        "sophia_g": (ValueError, "needs the outputs of the model"),
    }
    if name in needs:
        error, words = needs[name]
        with pytest.raises(error, match=words):
            race([name], beale, steps=3)
    else:
        entrant = race([name], noisy(fnopt.lab.matyas, 0.01), steps=30)[name]
        assert entrant.values[0, 0, -1] < entrant.values[0, 0, 0]
