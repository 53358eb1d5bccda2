"""What resembles a mistake of parameters and is none: leaves that are masked, modules, states."""

from __future__ import annotations

from typing import Any

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
