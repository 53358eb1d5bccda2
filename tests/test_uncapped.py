"""Limits that may be left out: None, inf or 0 where a paper, its program or optax has no limit."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt

_PARAMS = {"w": jnp.linspace(0.5, 2.0, 6).reshape(2, 3), "b": jnp.ones(3)}


def _updates(tx, size=1.0, count=3):
    """The updates of a short run."""
    state, params, done = tx.init(_PARAMS), _PARAMS, []
    for _ in range(count):
        grads = jax.tree.map(lambda x: size * x, params)
        value = 0.5 * optax.tree.norm(params, squared=True)
        updates, state = tx.update(grads, state, params, value=value)
        params = optax.apply_updates(params, updates)
        done.append(updates)
    return done


def _same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-5), _updates(a), _updates(b))


@pytest.mark.parametrize("none", [None, math.inf])
@pytest.mark.parametrize(
    "make, name",
    [
        (fnopt.mars, "max_norm"),
        (fnopt.came, "clipping_threshold"),
        (fnopt.stable_adamw, "clipping_threshold"),
        (fnopt.adafactor, "clipping_threshold"),
    ],
)
def test_no_clipping_is_clipping_far_away(make, name, none):
    _same(make(0.1, **{name: none}), make(0.1, **{name: 1e9}))


def test_parts_take_an_infinite_bound():
    _same(fnopt.clip_by_block_rms(math.inf), fnopt.identity())
    _same(fnopt.rprop(0.1, max_step_size=math.inf), fnopt.rprop(0.1, max_step_size=1e9))
    _same(fnopt.rprop(0.1, min_step_size=0.0), fnopt.rprop(0.1, min_step_size=1e-30))
    _same(fnopt.asgd(0.1, t0=math.inf), fnopt.asgd(0.1))
    _same(fnopt.adopt(0.1, clip_value_fn=math.inf), fnopt.adopt(0.1, use_clipping=False))


@pytest.mark.parametrize("make", [fnopt.momo, fnopt.momo_adam])
@pytest.mark.parametrize("adapt", [False, True])
def test_momo_without_a_cap(make, adapt):
    given = {"adapt_lower_bound": adapt, "lower_bound": -0.1}
    _same(make(math.inf, **given), make(1e9, **given))
    with pytest.raises(ValueError, match=r"learning_rate must be finite .* got inf and 0\.1"):
        make(math.inf, weight_decay=0.1)


def test_polyak_without_a_cap():
    _same(fnopt.polyak_sgd(math.inf), fnopt.polyak_sgd(1e9))
    _same(fnopt.polyak_sgd(math.inf), optax.polyak_sgd(math.inf))


@pytest.mark.parametrize("make", [fnopt.schedule_free_sgd, fnopt.schedule_free_adamw])
def test_no_warm_up_is_none(make):
    _same(make(0.1, warmup_steps=0), make(0.1))


@pytest.mark.parametrize(
    "given, said",
    [
        (math.inf, "infinite rate"),
        (-0.1, "without a sign"),
        (math.nan, r"got nan$"),
        (-math.inf, "without a sign"),
    ],
)
def test_a_refused_rate_is_told_why(given, said):
    with pytest.raises(ValueError, match=said):
        fnopt.sgd(given)


@pytest.mark.parametrize("given, advised", [(1.0, True), (-0.1, False), (math.inf, True)])
def test_a_refused_decay_is_told_why(given, advised):
    with pytest.raises(ValueError, match="must lie in") as error:
        fnopt.adam(0.1, b1=given)
    assert ("the share of the old that is kept, such as 0.9" in str(error.value)) == advised
