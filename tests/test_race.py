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
from fnopt.core import Evaluation
from fnopt.lab import Problem, beale, noisy, race
from fnopt.lab.race_program import paths_of

STEPS = 12
ENTRANTS = {
    "sgd": fnopt.sgd(0.01),
    "slow sgd": fnopt.sgd(0.001),
    "heavy ball": fnopt.heavy_ball(0.003),
    "adam": fnopt.adam(fnopt.exponential_decay(0.1, 5, 0.5)),
    "clipped": fnopt.chain(fnopt.clip_by_global_norm(1.0), fnopt.rmsprop(0.05)),
    "quickprop": fnopt.quickprop(0.003),
    "newton": fnopt.newton(),
    "lbfgs": fnopt.lbfgs(),
    "sam": fnopt.sam(
        fnopt.sgd(0.01), fnopt.chain(fnopt.normalize(), fnopt.sgd(0.1)), opaque_mode=True
    ),
    "optax": optax.adam(0.1),
}
STARTS = np.array([(1.0, 1.0), (2.0, 0.0), (0.5, -0.5)])
PROGRAMS = 9
"""Both of sgd are one."""


@pytest.fixture(scope="module")
def double():
    """A race in double precision."""
    with jax.enable_x64(True):
        return race(ENTRANTS, beale, starts=STARTS, steps=STEPS)


def by_hand(tx: Any, start: Any, steps: int = STEPS, problem: Problem = beale) -> Any:
    """The points of a loop over ``tx.update``."""
    evaluation = Evaluation.of_loss(problem)

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(problem)(params)
        extra = {"value": value, "grad": grad, **evaluation.extra_args()}
        updates, state = optax.with_extra_args_support(tx).update(grad, state, params, **extra)
        return optax.apply_updates(params, updates), state

    params = jnp.asarray(start, jnp.result_type(float))
    state, points = tx.init(params), [params]
    for _ in range(steps):
        params, state = step(params, state)
        points.append(params)
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
        assert double[name].values[0, :, -1].mean() < double[name].values[0, :, 0].mean()


def compiled(caplog: Any) -> list[str]:
    """The programs that were compiled, by name."""
    text = "\n".join(record.getMessage() for record in caplog.records)
    return re.findall(r"Finished XLA compilation of (\S+)", text)


def test_a_structure_is_one_program(caplog):
    """Eight optimizers at 16 rates; what was compiled serves the next race, with other numbers."""
    rates = np.geomspace(1e-4, 1e-1, 16)

    def optimizers(x):
        plain = [fnopt.adam(x), fnopt.adam(x, b1=0.5), fnopt.adam(x, b2=0.9), fnopt.sgd(x)]
        return [
            *plain, fnopt.heavy_ball(x), fnopt.heavy_ball(x, momentum=0.5), fnopt.rmsprop(x),
            fnopt.rmsprop(x, decay=0.5),
        ]  # fmt: skip

    before = paths_of._cache_size()
    with jax.log_compiles(True), caplog.at_level("WARNING"):
        first = race(optimizers(0.1), beale, learning_rates=rates, steps=200)
        assert compiled(caplog).count("jit(paths_of)") == first.programs == 4
        assert paths_of._cache_size() - before == 4
        caplog.clear()
        again = race(optimizers(0.2), beale, learning_rates=2 * rates, steps=200, key=1)
        assert compiled(caplog) == [] and again.programs == 4
        race(optimizers(0.2), noisy(beale, 0.1), learning_rates=rates, steps=200)
        noise = compiled(caplog).count("jit(paths_of)")
        race(optimizers(0.2), noisy(beale, 0.2), learning_rates=rates, steps=200)
        assert compiled(caplog).count("jit(paths_of)") == noise == 4
    assert first.entrants[1].paths.shape == (16, 1, 201, 2)
    # Its rates are those of the same optimizer alone.
    with jax.enable_x64(False):
        for number in (0, 7, 15):
            alone = by_hand(fnopt.rmsprop(rates[number]), beale.start, 200)[-1]
            np.testing.assert_allclose(
                first["rmsprop(decay=0.9)"].paths[number, 0, -1], alone, rtol=1e-4
            )


def test_programs_of_all_kinds(double):
    assert double.programs == PROGRAMS and len(double.entrants) == len(ENTRANTS)


def test_the_same_key_gives_the_same_bits():
    def paths(key):
        optimizers = [fnopt.sgd(0.01), fnopt.noisy_sgd(0.01, key=0)]
        entrants = race(optimizers, noisy(beale, 0.5), starts=2, steps=STEPS, key=key).entrants
        return np.stack([entrant.paths for entrant in entrants])

    first, again, other = paths(3), paths(3), paths(4)
    np.testing.assert_array_equal(first, again)
    assert (first[:, :, :, 1:] != other[:, :, :, 1:]).all()
    assert (first[:, :, :, 0] != other[:, :, :, 0]).all()  # the starts are drawn, too


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
