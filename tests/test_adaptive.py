"""What Adam's relatives are beside the laws: one another's special cases, and exact where single
precision is not.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import assert_close

import fnopt

GRADIENTS = [jnp.array([1.0, -2.0, 0.5]) * factor for factor in (1.0, -0.3, 2.0, 0.7, 0.1)]
PARAMS = jnp.array([1.0, 2.0, 3.0])


def updates_of(tx, gradients=GRADIENTS):
    state, updates = tx.init(PARAMS), []
    for gradient in gradients:
        update, state = tx.update(gradient, state, PARAMS)
        updates.append(update)
    return updates


@pytest.mark.parametrize(
    "one, other",
    [
        (fnopt.nadam(0.1), fnopt.adam(0.1, nesterov=True)),
        (fnopt.nadamw(0.1, weight_decay=0.1), fnopt.adamw(0.1, weight_decay=0.1, nesterov=True)),
        (fnopt.adamaxw(0.1, weight_decay=0.0), fnopt.adamax(0.1)),
        (fnopt.ademamix(0.1, alpha=0.0), fnopt.adam(0.1)),
        (fnopt.ademamix(0.1, weight_decay=0.1, alpha=0.0), fnopt.adamw(0.1, weight_decay=0.1)),
        (fnopt.qhadam(0.1, 0.9, nu1=1.0), fnopt.adam(0.1)),
        (fnopt.qhadam(0.1, nu1=0.0, eps=0.0), fnopt.laprop(0.1, b1=0.0, eps=0.0)),
        (fnopt.qhm(0.1, nu=0.0), fnopt.sgd(0.1)),
        (fnopt.qhm(1.0, 0.9, nu=1.0), fnopt.sgd(0.1, 0.9)),
        (fnopt.qhm(1.0, 0.9, nu=0.9), fnopt.sgd(0.1, 0.9, nesterov=True)),
        (fnopt.laprop(0.1, b1=0.0, eps=0.0), fnopt.adam(0.1, b1=0.0, eps=0.0)),
        # Bounds that never bind, and bounds that meet.
        (fnopt.adabound(0.1, gamma=1e-9), fnopt.adam(0.1)),
        (fnopt.adabound(0.1, gamma=1e9), fnopt.qhm(0.1, 0.9, nu=1.0)),
        (fnopt.amsgrad(0.1, b2=0.0), fnopt.adabound(0.1, b2=0.0, gamma=1e-9, amsbound=True)),
        (
            fnopt.simplified_ademamix(0.1, b1=0.0, alpha=1.0),
            fnopt.adam(0.2, b1=0.0, b2=0.95),
        ),
    ],
    ids=lambda tx: str(tx)[:50],
)
def test_one_is_the_special_case_of_the_other(one, other):
    assert_close(updates_of(one), updates_of(other))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_rectification_is_exact_in_single_precision(compiled):
    """At b2 = 0.999 it is the difference of two numbers near 2000."""
    rule = fnopt.scale_by_radam()
    precompute = jax.jit(type(rule).precompute) if compiled else type(rule).precompute
    for t in (6, 7, 10, 30, 199, 201, 1000, 10_000):
        # A number that comes as an argument is exact as the single that it is.
        b2 = float(np.float32(0.999)) if compiled else 0.999
        limit = 2 / (1 - b2) - 1
        length = limit - 2 * t * b2**t / (1 - b2**t)
        square = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        *_, certain, rate = precompute(rule, jnp.float32(t))
        assert certain
        np.testing.assert_allclose(rate, np.sqrt(square), rtol=5e-6)


def test_radam_descends_along_the_mean_at_first():
    tx = fnopt.scale_by_radam(b1=0.0)
    assert_close(updates_of(tx), GRADIENTS)


def test_adopt_takes_the_first_gradient_as_a_scale():
    first, second, *_ = updates_of(fnopt.adopt(1.0, b1=0.0))
    assert not first.any()
    np.testing.assert_allclose(second, [0.3, -0.3, 0.3], rtol=1e-6)


def test_adan_weighs_differences_as_the_paper():
    """The second direction by hand, where every average is its newest term."""
    tx = fnopt.scale_by_adan(b1=0.0, b2=0.92, b3=0.0, eps=0.0)
    _, update, *_ = updates_of(tx)
    before, now = GRADIENTS[:2]
    average = 0.08 * (now - before) / (1 - 0.92**2)
    np.testing.assert_allclose(
        update, (now + 0.92 * average) / jnp.abs(now + 0.92 * (now - before)), rtol=1e-5
    )
