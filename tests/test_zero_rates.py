"""A rate of 0, from the start or in the middle of a run, and an eps of 0."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import Case
from extremes import (
    OF_ANOTHER_TREE,
    cases,
    has_nan,
    is_finite,
    moved,
    start,
    steps,
    without_eps,
)

import fnopt

_OWN_RATE = "its optimizer inside has a rate of its own"
_VELOCITY = "it sums up steps, not gradients: the last ones go on"
_TOWARDS = "it goes towards a point that past gradients have set"
MOVES_AT_0 = {
    "adafactor-mask": "its weight decay is not times the rate, as optax's",
    "adafactor-momentum": "its weight decay is not times the rate, as optax's",
    "optimistic_adam-optimism": "its optimism is a rate of its own",
    "hypergradient_sgd": "it learns the rate, from 0",
    "hypergradient_adam": "it learns the rate, from 0",
    "schedule_free": _OWN_RATE,
    "Rprop": "torch holds every step above min_step_size",
}
GOES_ON_AT_0 = {
    **MOVES_AT_0,
    **dict.fromkeys(("heavy_ball", "sgdw", "lars", "rmsprop-momentum"), _VELOCITY),
    **dict.fromkeys(("rmsprop-nesterov", "rmsprop-all", "adafactor-momentum"), _VELOCITY),
    **dict.fromkeys(("rprop", "scale_by_rprop"), "its rate is the first size of a step, no more"),
    "quickprop": "it goes along a secant of its last step",
    **dict.fromkeys(("dadapt_adamw", "dadapt_sgd", "madgrad", "scale_by_madgrad"), _TOWARDS),
    **dict.fromkeys(("schedule_free_sgd", "schedule_free_adamw", "ASGD"), _TOWARDS),
}
AS_TORCH = dict.fromkeys(("Adam", "NAdam"), "their arithmetic is torch's, 0 / 0 too")
_SEARCHES = "it searches along gradients that are not those of its loss here, uphill"
STANDS = {
    **dict.fromkeys(("lbfgs", "bfgs", "lbfgsb", "nonlinear_cg", "barzilai_borwein"), _SEARCHES),
    **dict.fromkeys(("newton_cg", "trust_newton", "levenberg_marquardt"), _SEARCHES),
    "momo-bound": "its bound is above the loss",
    "ASGD": "it holds the last average of its rate",
}


MEMORY = {"barzilai_borwein": "the losses that it looks back on begin with -inf"}


def rated(excused: dict[str, str]) -> list[Any]:
    """The cases with a learning rate."""
    return [
        param
        for param in cases({**OF_ANOTHER_TREE, **excused})
        if param.values[0].rate_name in param.values[0].make()._fields
    ]


def at(case: Case, rate: float) -> Any:
    return case.make().replace(**{case.rate_name: rate})


@pytest.mark.parametrize("case", rated({**MOVES_AT_0, **MEMORY}))
def test_a_rate_of_0_leaves_parameters_in_place(case):
    for step in steps(case, [(at(case, 0.0), 1.0)] * 3):
        assert not moved(step.params, start())
        assert is_finite(step.state)


@pytest.mark.parametrize("case", rated({"schedule_free": _OWN_RATE, **STANDS}))
def test_a_rate_that_touches_0_spoils_nothing(case):
    """A warm-up from 0 and a restart: it stands at 0, and goes on after it."""
    rate = getattr(case.make(), case.rate_name)
    rate = rate if isinstance(rate, float) else 0.1
    tx, idle = at(case, rate), at(case, 0.0)
    done = steps(case, [(kind, 1.0) for kind in (idle, tx, tx, idle, tx, tx)])
    assert all(is_finite(step) for step in done)
    places = [start(), *(step.params for step in done)]
    stood = [not moved(new, old) for new, old in zip(places[1:], places, strict=False)]
    assert not any(stood[i] for i in (1, 2, 4, 5))
    if not {case.id, case.name} & set(MOVES_AT_0):
        assert stood[0]
    if not {case.id, case.name} & set(GOES_ON_AT_0):
        assert stood[3]


def _bowl(tx, count):
    """The parameters of a quadratic after some updates, and the last state."""

    @jax.jit
    def run(params):
        def body(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(lambda x: 0.5 * jnp.sum(x * x))(params)
            updates, state = tx.update(grads, state, params, value=value)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(body, (params, tx.init(params)), None, count)[0]

    return run(jnp.array([1.0, -2.0, 0.5]))


_AT_10 = lambda count: jnp.where(count == 10, 0.0, 0.01)  # noqa: E731
_FROM_0 = fnopt.linear_schedule(0.0, 0.1, 5)
_RESTARTS = fnopt.sgdr_schedule(
    [{"init_value": 0.0, "peak_value": 0.01, "warmup_steps": 3, "decay_steps": 10}] * 3
)


@pytest.mark.parametrize(
    "schedule", [_AT_10, fnopt.linear_schedule(0.0, 0.01, 5), _RESTARTS], ids=range(3)
)
def test_swats_does_not_switch_where_the_rate_comes_near_0(schedule):
    _, state = _bowl(fnopt.swats(schedule), 30)
    assert state.sgd_rate == 0
    assert np.isclose(state.max_lr, 0.01)


def test_swats_still_switches_at_the_end_of_a_constant_rate():
    _, state = _bowl(fnopt.swats(0.01, b2=0.5, eps=0.1), 30)
    assert state.sgd_rate > 0


@pytest.mark.parametrize(
    "tx",
    [
        fnopt.rprop(_FROM_0),
        fnopt.rprop(_FROM_0, variant="rprop+"),
        fnopt.dog(_FROM_0 * 10, init_step=("learning_rate", 0.1)),
        fnopt.momo(_FROM_0, adapt_lower_bound=True, lower_bound=-1.0),
        fnopt.momo_adam(_FROM_0, adapt_lower_bound=True, lower_bound=-1.0),
        fnopt.prodigy(_FROM_0 * 10, estim_lr0=1e-2),
        fnopt.mechanize(fnopt.sgd(_FROM_0), s_init=1e-2),
        fnopt.schedule_free_sgd(_FROM_0),
    ],
    ids=repr,
)
def test_a_warm_up_from_0_ends_in_descent(tx):
    params, _ = _bowl(tx, 60)
    assert jnp.sum(params**2) < 0.5 * 5.25


def test_dog_waits_with_its_first_step_for_a_gradient():
    tx, params = fnopt.dog(init_step=("learning_rate", 0.1)), jnp.ones(3)
    _, state = tx.update(0 * params, tx.init(params), params)
    updates, _ = tx.update(params, state, params)
    np.testing.assert_allclose(updates, -0.1 * params, 1e-6)


def test_madgrad_adds_eps_to_a_rate_above_0_alone():
    params = jnp.ones(3)
    for rate, expected in ((0.0, 0.0), (1e-3, 1e-3 + 1e-6)):
        tx = fnopt.madgrad(rate, momentum=0.0)
        updates, _ = tx.update(params, tx.init(params), params)
        # The sum of one squared gradient, of which the cube root is taken, is the rate.
        np.testing.assert_allclose(updates, -expected / (np.cbrt(expected) + 1e-6), 1e-4)


@pytest.mark.parametrize("case", cases({**OF_ANOTHER_TREE, **AS_TORCH}, 1))
def test_without_eps_what_is_divided_by_0_is_0(case):
    """0 / 0 is 0, and so is what remains of a gradient whose square is too small."""
    tx = without_eps(case.make())
    for size in (0.0, 1e-25):
        done = steps(case, [(tx, scale) for scale in (size, size, 1.0, size)])
        assert all(is_finite(step.updates) and not has_nan(step.state) for step in done)
    if "rests_at_zero_gradient" in case.not_applicable:
        return
    if "weight_decay" in tx._fields:
        tx = tx.replace(weight_decay=0.0)
    for step in steps(case, [(tx, 0.0)] * 2):
        assert all((leaf == 0).all() for leaf in step.updates)
