"""Gradients whose square is too large or too small for single precision, and infinite ones."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import Case
from extremes import OF_ANOTHER_TREE, cases, has_nan, is_finite, start, steps
from laws import extra

import fnopt

_SIZES = (1e-30, 1e-25, 2e19, 1e25, 1e30)
_PRODUCT = "its rate grows by the product of two gradients, at no bound"
_FAR = "one step carries it so far that the square of the distance is too large"
OVERFLOWS = {
    **dict.fromkeys(("dadapt_sgd-near", "dadapt_sgd-scheduled", "dog-learning_rate"), _FAR),
    "Adafactor": "its arithmetic is torch's",
    "hypergradient_sgd": _PRODUCT,
    "scale_by_param_block_norm": "it is the gradient times the parameters, which grow with it",
    "scale_by_param_block_rms": "it is the gradient times the parameters, which grow with it",
}


@pytest.mark.parametrize("case", cases({**OF_ANOTHER_TREE, **OVERFLOWS}))
def test_finite_gradients_give_finite_updates(case):
    """And a state without NaN, while they are extreme and after it."""
    tx = case.make()
    for size in _SIZES:
        for scales in ((size, size, 1.0, size, 1.0), (1.0, -size, size, 1.0, 1.0)):
            for step in steps(case, [(tx, scale) for scale in scales]):
                assert is_finite(step.updates), (size, scales)
                assert not has_nan(step.state), (size, scales)


@pytest.mark.parametrize(
    "tx",
    [
        fnopt.qhadam(0.1, nu2=1.0),
        fnopt.qhadam(0.1, nu2=0.0),
        fnopt.cocob(),
        fnopt.stable_adamw(0.1),
        fnopt.came(0.1),
        fnopt.yogi(0.1),
        fnopt.rmsprop(0.1, centered=True),
        fnopt.adafactor(0.1, min_dim_size_to_factor=2),
        fnopt.madgrad(0.0),
        fnopt.momo(adapt_lower_bound=True),
        fnopt.mars(0.1, max_norm=float("inf")),
        fnopt.came(0.1, clipping_threshold=float("inf")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("sizes", [(3e19, 3e19, 1.0), (-1e22, 1e22, 1e20), (1e-21, 1e28, 1e-28)])
def test_no_number_is_lost_to_a_square(tx, sizes):
    params = {"w": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3), "b": jnp.ones(2)}
    update, state = jax.jit(tx.update), tx.init(params)
    for size in sizes:
        grads = jax.tree.map(lambda x: size * (x + 0.1), params)  # noqa: B023
        updates, state = update(grads, state, params, value=jnp.float32(1.0))
        assert is_finite(updates)
        assert not has_nan(state)


def _finite(update, init, case: Case, bad: float) -> list[bool]:
    """Which updates are finite if the second gradient holds one that is not."""
    params = [jnp.asarray(leaf) for leaf in start()]
    state, done = init(params), []
    for i in range(5):
        grads = [x.at[(0,) * x.ndim].set(bad if i == 1 else 1.0) for x in params]
        updates, state = update(grads, state, params, **extra(case, jnp.ones(()), grad=grads))
        done.append(is_finite(updates))
        params = [
            p + jnp.where(jnp.isfinite(u), u, 0) for p, u in zip(params, updates, strict=True)
        ]
    return done


def _with_peer():
    for param in cases(OF_ANOTHER_TREE):
        case = param.values[0]
        if case.peer is not None and "agrees_with_optax" not in case.not_applicable:
            fast = case.id in ("acprop", "adam")
            marks = [] if fast else [pytest.mark.slow]
            yield pytest.param(case, id=case.id, marks=[pytest.mark.beside_optax, *marks])


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("case", list(_with_peer()))
def test_a_single_infinite_gradient_harms_no_more_than_in_optax(case, bad):
    peer = optax.with_extra_args_support(case.peer(*case.args, **case.kwargs))
    tx = case.make()
    ours = _finite(jax.jit(tx.update) if not case.needs else tx.update, tx.init, case, bad)
    theirs = _finite(peer.update, peer.init, case, bad)
    assert all(mine or not other for mine, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("make", [fnopt.acprop, functools.partial(fnopt.acprop, b1=0.5)])
def test_acprop_goes_on_after_an_infinite_gradient(make):
    tx, params = make(0.1), jnp.ones(3)
    state = tx.init(params)
    for value in (1.0, jnp.inf, 1.0, 2.0):
        updates, state = tx.update(jnp.array([1.0, value, 2.0]), state, params)
        assert jnp.isfinite(updates[0]) and jnp.isfinite(updates[2])
        assert jnp.isfinite(updates[1]) or jnp.isinf(value)
    assert not has_nan(state)


@pytest.mark.parametrize("make", [fnopt.adagrad, fnopt.sm3])
def test_a_nan_gradient_is_seen_in_its_update(make):
    tx, params = make(0.1), jnp.ones(2)
    updates, _ = tx.update(jnp.array([jnp.nan, 1.0]), tx.init(params), params)
    assert jnp.isnan(updates[0])


def test_the_square_of_a_large_gradient_fades():
    """A factored square that is too large is capped, so that it is forgotten."""
    tx, params = fnopt.came(0.1, b2=0.5), jnp.ones((2, 3))
    state, update = tx.init(params), jax.jit(tx.update)
    _, state = update(1e25 * params, state, params)
    for _ in range(300):
        updates, state = update(params, state, params)
    assert jnp.all(updates < -0.01)
