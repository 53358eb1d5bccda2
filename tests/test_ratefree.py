"""What holds for methods that find their own rate, beside the contract."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from laws import assert_close, assert_same

import fnopt


def _loss(x):
    return 0.5 * jnp.sum(x * x)


def _steps(tx, x, number, **given):
    state = tx.init(x)
    for _ in range(number):
        updates, state = tx.update(jax.grad(_loss)(x), state, x, **given)
        x = optax.apply_updates(x, updates)
    return x, state


def test_polyaks_scaling_scales_the_step():
    x = jnp.array([1.0, 2.0])
    whole, half = (
        fnopt.polyak_sgd(scaling=s).update(x, fnopt.polyak_sgd(scaling=s).init(x), x, value=2.5)[0]
        for s in (1.0, 0.5)
    )
    assert_close(half, 0.5 * whole)


@pytest.mark.parametrize("name", ["polyak_sgd", "momo", "momo_adam"])
def test_the_loss_is_needed(name):
    tx, x = getattr(fnopt, name)(), jnp.ones(2)
    with pytest.raises(ValueError, match=r"value=…"):
        tx.update(x, tx.init(x), x)


def test_a_kind_is_refused_by_name():
    with pytest.raises(ValueError, match="sps"):
        fnopt.polyak_sgd(variant="spsmax").update(jnp.ones(2), fnopt.polyak_sgd().init(jnp.ones(2)))
    with pytest.raises(ValueError, match="'heuristik'; did you mean 'heuristic'"):
        fnopt.dog(init_step=("heuristik", 1e-6))
    with pytest.raises(ValueError, match=r"init_step must lie in \(0, inf\), got -1"):
        fnopt.dog(init_step=("distance", -1.0))
    for given in ("distance", 1e-6, ("distance",), {"distance": 1.0, "heuristic": 1.0}):
        with pytest.raises(TypeError, match="init_step"):
            fnopt.dog(init_step=given)


@pytest.mark.parametrize("name", ["dadapt_adamw", "dadapt_lion", "prodigy"])
def test_betas_are_two_and_in_range(name):
    make = getattr(fnopt, name)
    with pytest.raises(ValueError, match=r"betas\[1\] must lie in \[0, 1\), got 1.5"):
        make(betas=(0.9, 1.5))
    for given in (0.9, (0.9,), (0.9, "fast")):
        with pytest.raises(TypeError, match="betas"):
            make(betas=given)


@pytest.mark.parametrize("name", ["dadapt_adamw", "dadapt_sgd", "dadapt_lion", "prodigy"])
def test_an_estimate_outlives_a_start_without_gradients(name):
    tx, x = getattr(fnopt, name)(), jnp.array([1.0, -2.0])
    state = tx.init(x)
    _, state = tx.update(jnp.zeros(2), state, x)
    assert float(state.estim_lr) == pytest.approx(1e-6)
    for _ in range(50):
        updates, state = tx.update(jax.grad(_loss)(x), state, x)
        x = optax.apply_updates(x, updates)
    assert 1e-6 < float(state.estim_lr) < jnp.inf


def test_an_estimate_in_half_precision_grows():
    tx, x = fnopt.dadapt_adamw(), jnp.array([1.0, -2.0], jnp.float16)
    _, state = _steps(tx, x, 50)
    assert state.estim_lr.dtype == jnp.float32 and float(state.estim_lr) > 1e-3


def test_mechanic_keeps_slots_and_scales_apart():
    """What the contract says of slots, for the start and the inner state; scales are replicated."""
    mesh = Mesh(np.array(jax.devices()), ("device",))
    params = jax.device_put(jnp.ones((mesh.size, 3)), NamedSharding(mesh, PartitionSpec("device")))
    tx = fnopt.mechanize(fnopt.adam(1.0))
    state = tx.init(params)
    for held in (state, jax.jit(tx.update)(params, state, params)[1]):
        for leaf in jax.tree.leaves(held):
            if leaf.shape == params.shape:
                assert leaf.sharding.is_equivalent_to(params.sharding, leaf.ndim)
    marked = optax.tree.map_params(tx, lambda _: "slot", state)
    assert marked.x0 == "slot" and marked.s is state.s


def test_mechanic_starts_from_the_weights_it_is_first_given():
    tx, x = fnopt.mechanize(fnopt.sgd(1.0)), jnp.array([1.0, 2.0])
    _, state = tx.update(x, tx.init(jnp.zeros(2)), x)
    assert_same(state.x0, x)


def test_the_average_is_that_of_the_optimizers_points():
    tx, x = fnopt.schedule_free_sgd(0.1), jnp.array([1.0, -2.0])
    state, points = tx.init(x), []
    for _ in range(5):
        updates, state = tx.update(jax.grad(_loss)(x), state, x)
        x = optax.apply_updates(x, updates)
        points.append(state.z)
        assert_close(fnopt.schedule_free_eval_params(state, x), sum(points) / len(points))
    in_chain = (optax.EmptyState(), state)
    assert_same(
        fnopt.schedule_free_eval_params(in_chain, x), fnopt.schedule_free_eval_params(state, x)
    )
    with pytest.raises(ValueError, match="needs the state of schedule_free; found 0"):
        fnopt.schedule_free_eval_params(in_chain[:1], x)


def test_the_rate_of_a_schedule_free_optimizer_is_told_once():
    tx, x = fnopt.schedule_free_adamw(0.1, warmup_steps=4), jnp.ones(2)
    _, state = _steps(tx, x, 2)
    assert float(fnopt.hyperparameters(tx, state)["learning_rate"]) == pytest.approx(0.05)
    tx = fnopt.schedule_free(fnopt.sgd(0.1), 0.1)
    assert float(fnopt.hyperparameters(tx, tx.init(x))["learning_rate"]) == pytest.approx(0.1)


ASCENT = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.05))


def test_sam_takes_every_way_of_giving_the_gradient():
    tx, x = fnopt.sam(fnopt.sgd(0.1), ASCENT, opaque_mode=True), jnp.array([1.0, -2.0])
    expected, _ = _steps(tx, x, 3, grad_fn=jax.grad(_loss))
    ways = (
        {"grad_fn": lambda place, step: jax.grad(_loss)(place)},
        {"grad_fn": jax.grad(lambda place, step: _loss(place))},
        {"grad_fn": lambda place, step=None: jax.grad(_loss)(place)},
        {"grad_fn": jax.jit(jax.grad(_loss))},
        {"value_fn": _loss},
    )
    for given in ways:
        assert_close(_steps(tx, x, 3, **given)[0], expected)
    with pytest.raises(ValueError, match="grad_fn=…"):
        tx.update(x, tx.init(x), x)


def test_transparent_and_opaque_sam_are_one_method():
    x = jnp.array([1.0, -2.0])
    for period in (1, 2, 3):
        whole = fnopt.sam(fnopt.adam(0.1), ASCENT, sync_period=period, opaque_mode=True)
        one = fnopt.sam(fnopt.adam(0.1), ASCENT, sync_period=period)
        expected, _ = _steps(whole, x, 4, grad_fn=jax.grad(_loss))
        assert_close(_steps(one, x, 4 * period)[0], expected)


def test_sam_refuses_a_period_below_one():
    with pytest.raises(ValueError, match="sync_period must be an integer, 1 or above, got 0"):
        fnopt.sam(fnopt.sgd(0.1), ASCENT, sync_period=0)
    with pytest.raises(ValueError, match="num_betas must be an integer, 1 or above, got 0"):
        fnopt.mechanize(fnopt.sgd(0.1), num_betas=0)
