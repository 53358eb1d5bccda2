"""What resembles a mistake of parameters and is none: leaves that are masked, modules, states."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

import fnopt

pytestmark = pytest.mark.beside_optax

ADAM = fnopt.adam(1e-3)
CLIP = fnopt.clip_by_global_norm(1.0)
BODY_AND_HEAD = {"body": jnp.ones(2), "head": jnp.ones(2)}
VARIABLES = {"params": BODY_AND_HEAD, "batch_stats": {"mean": jnp.zeros(2)}}
PARAMS_ALONE = {"params": True, "batch_stats": False}
HEAD_ALONE = {"params": {"body": False, "head": True}, "batch_stats": False}
LABELS = {"params": "a", "batch_stats": "b"}
ADAM_OR_ZERO: dict[Any, Any] = {"a": ADAM, "b": optax.set_to_zero()}
ADAM_OR_NONE: dict[Any, Any] = {"a": ADAM, "b": fnopt.set_to_zero()}


def kind(x: Any) -> str:
    return type(x).__name__


class Block(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(2, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


@pytest.fixture(scope="module")
def block():
    return Block(nnx.Rngs(0))


def is_param(tree: Any) -> Any:
    def is_variable(x: Any) -> bool:
        return isinstance(x, nnx.Variable)

    return jax.tree.map(lambda x: isinstance(x, nnx.Param), tree, is_leaf=is_variable)


@pytest.mark.parametrize(
    "tx",
    [
        fnopt.masked(ADAM, PARAMS_ALONE),
        fnopt.chain(CLIP, fnopt.masked(ADAM, PARAMS_ALONE)),
        fnopt.chain(CLIP, fnopt.masked(ADAM, HEAD_ALONE)),
        fnopt.MultiSteps(fnopt.masked(ADAM, PARAMS_ALONE), 2),
        fnopt.partition(ADAM_OR_ZERO, LABELS),
        fnopt.chain(CLIP, fnopt.partition(ADAM_OR_NONE, LABELS)),
        fnopt.chain(CLIP, optax.multi_transform(ADAM_OR_ZERO, LABELS)),
        fnopt.MultiSteps(optax.masked(ADAM, PARAMS_ALONE), 2),
    ],
    ids=kind,
)
def test_variables_that_are_masked_out_are_accepted(tx):
    tx.update(VARIABLES, tx.init(VARIABLES), VARIABLES)


@pytest.mark.parametrize(
    "tx",
    [
        ADAM,
        fnopt.adamw(1e-3, mask="params/head"),
        fnopt.chain(CLIP, ADAM),
        fnopt.chain(fnopt.masked(CLIP, True), ADAM),
        fnopt.MultiSteps(ADAM, 2),
        fnopt.groups(("*", {}), base=ADAM),
        fnopt.noisy_sgd(0.1, key=0),
    ],
    ids=kind,
)
def test_variables_that_would_be_trained_are_refused(tx):
    with pytest.raises(TypeError, match="is no parameter but of the collection 'batch_stats'"):
        tx.init(VARIABLES)


def test_the_whole_state_of_a_module_is_accepted_where_a_mask_leaves_parameters(block):
    masked = fnopt.masked(ADAM, is_param)
    masked.init(nnx.state(block))
    masked.init(block)
    fnopt.chain(CLIP, masked).init(nnx.state(block.norm))


def test_a_module_of_parameters_alone_is_a_tree_of_parameters():
    model: Any = nnx.Linear(2, 1, rngs=nnx.Rngs(0))

    def loss(model: Any) -> jax.Array:
        return jnp.sum(model(jnp.ones((1, 2))) ** 2)

    def step(tx: Any) -> float:
        updates, _ = tx.update(jax.grad(loss)(model), tx.init(model), model)
        return float(loss(optax.apply_updates(model, updates)))

    assert step(fnopt.adam(0.1)) == pytest.approx(step(optax.adam(0.1)), rel=1e-4)


class ModelState(NamedTuple):
    """Parameters that are called a state."""

    w: Any


def test_parameters_that_are_called_a_state_are_not_taken_for_one():
    tx = fnopt.named_chain(("first", ADAM))
    params, wider = ModelState(jnp.ones(2)), ModelState(jnp.ones(3))
    with pytest.raises(ValueError, match=r"has shape \(3,\)"):
        tx.update(wider, tx.init(params), params)
    with pytest.raises(TypeError, match=r"the gradients are a state \({first: \(ScaleBy"):
        tx.update(tx.init({"w": wider.w}), {"w": wider.w}, {"w": wider.w})


def test_a_whole_equinox_module_in_update_is_answered_with_its_filter():
    eqx = pytest.importorskip("equinox")
    model: Any = eqx.nn.MLP(2, 1, 2, 1, key=jax.random.key(0))
    params = eqx.filter(model, eqx.is_inexact_array)
    gradients = eqx.filter_grad(lambda model: jnp.sum(model(jnp.ones(2))))(model)
    for tx in (ADAM, fnopt.sgd(0.1)):
        with pytest.raises(ValueError, match=r"pass eqx.filter\(model, eqx.is_inexact_array\)"):
            tx.update(gradients, tx.init(params), model)
        tx.update(gradients, tx.init(params), params)


def test_an_optimizer_in_a_users_function_leaves_the_answers_of_the_outer_one():
    def mask(params: Any) -> Any:
        ADAM.init(params)
        with pytest.raises(TypeError):
            ADAM.init({"w": "text"})
        return True

    inner = fnopt.adam(1e-3)
    tx = fnopt.chain(fnopt.masked(fnopt.clip(1.0), mask), inner)
    params = {"w": jnp.ones(2)}
    state = tx.init(params)
    with pytest.raises(ValueError, match="chain: the state given to update is of another"):
        tx.update(params, (state[0], fnopt.sgd(0.1).init(params)), params)
    with pytest.raises(ValueError, match="adam: the state given to update is of another"):
        inner.update(params, fnopt.sgd(0.1).init(params), params)
