"""What a rule, or a function that a user gives, must return; and how it is told otherwise."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

import fnopt
from fnopt.core import Joint, Rule, Static

PARAMS = {"layer": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}}


class MeanState(NamedTuple):
    mean: Any


class mistaken(Rule):
    """Returns what its function makes of the gradient."""

    of_grad: Static[Any] = lambda g: g
    of_slot: Static[Any] = lambda m: m
    result: Static[Any] = lambda direction, new: (direction, new)
    first: Static[Any] = lambda p: {"mean": jnp.zeros_like(p)}

    State = MeanState

    def init_leaf(self, param):
        return self.first(param)

    def update_leaf(self, grad, slots, param, ctx):
        return self.result(self.of_grad(grad), {"mean": self.of_slot(slots.mean)})


class mistaken_together(Joint):
    """The same, of all leaves."""

    of_grad: Static[Any] = lambda g: g
    of_slot: Static[Any] = lambda m: m
    result: Static[Any] = lambda *result: result

    State = MeanState

    def init_leaf(self, param):
        return {"mean": jnp.zeros_like(param)}

    def update_leaves(self, grads, slots, params, shared, ctx, **extra_args):
        rows = [{"mean": self.of_slot(s.mean)} for s in slots]
        return self.result(list(map(self.of_grad, grads)), rows, {})


def of_matrix(change):
    return lambda x: change(x) if x.ndim == 2 else x


def refused(tx, error, *words, params=PARAMS, within=lambda tx: tx):
    host = within(tx)
    for jitted in (False, True):
        with pytest.raises(error) as refusal:
            state = host.init(params)
            update = jax.jit(host.update) if jitted else host.update
            update(params, state, params)
        for word in words:
            assert word in str(refusal.value)


WITHIN = {
    "alone": lambda tx: tx,
    "chain": lambda tx: fnopt.chain(fnopt.clip(1.0), tx),
    "lookahead": lambda tx: fnopt.lookahead(tx, 2, 0.5),
    "partition": lambda tx: fnopt.partition({"a": tx}, "a"),
    "multi_steps": lambda tx: fnopt.MultiSteps(tx, 1),
}


@pytest.mark.parametrize("within", WITHIN)
@pytest.mark.parametrize("kind", [mistaken, mistaken_together])
@pytest.mark.parametrize(
    "change, shape",
    [
        (jnp.sum, "()"),
        (lambda g: jnp.max(g, 0), "(3,)"),
        (lambda g: g.T, "(3, 2)"),
        (lambda g: g[:1], "(1, 3)"),
        (lambda g: g[None], "(1, 2, 3)"),
        (lambda g: 0.0, "()"),
    ],
    ids=["sum", "rows", "transposed", "a row", "a batch", "a number"],
)
def test_a_direction_of_another_shape_is_refused(kind, change, shape, within):
    words = [kind.__name__, "['layer']['w']", f"has shape {shape}", "its gradient has shape (2, 3)"]
    refused(kind(of_grad=of_matrix(change)), ValueError, *words, within=WITHIN[within])


@pytest.mark.parametrize("kind", [mistaken, mistaken_together])
def test_a_direction_of_another_kind_is_refused(kind):
    words = kind.__name__, "['layer']['w']"
    for change, said in (
        (
            lambda g: jax.lax.complex(g, g),
            "is complex (complex64), but its gradient is real (float32)",
        ),
        (lambda g: jnp.sign(g).astype(jnp.int32), "has dtype int32"),
        (lambda g: g > 0, "has dtype bool"),
    ):
        refused(kind(of_grad=of_matrix(change)), TypeError, *words, said)


@pytest.mark.parametrize("kind", [mistaken, mistaken_together])
def test_a_slot_that_changes_is_refused(kind):
    words = kind.__name__, "['layer']['w']", "state.mean"
    tx = kind(of_slot=of_matrix(jnp.sum))
    refused(tx, ValueError, *words, "has shape ()", "has shape (2, 3)")
    refused(kind(of_slot=of_matrix(lambda m: 0.0)), ValueError, *words, "has shape ()")
    refused(
        kind(of_slot=of_matrix(lambda m: jax.lax.complex(m, m))), TypeError, *words, "is complex"
    )


def test_a_slot_keeps_its_structure_and_its_kind():
    tx = mistaken(first=lambda p: {"mean": (p, p)}, of_slot=lambda m: (m[0],))
    refused(tx, ValueError, "mistaken", "state.mean", "has 1 arrays", "has 2")
    tx = mistaken(first=lambda p: {"mean": jnp.zeros((), jnp.int32)}, of_slot=lambda m: m / 2)
    refused(tx, TypeError, "mistaken", "state.mean", "int32", "float32")


def test_the_names_of_slots_are_those_of_the_state():
    refused(mistaken(first=lambda p: {"men": p}), ValueError, "mistaken", "['men']", "['mean']")
    refused(mistaken(first=lambda p: p), TypeError, "mistaken", "init_leaf must return a dict")
    for new, error in (({}, ValueError), ({"mean": 0, "extra": 0}, ValueError), (None, TypeError)):
        tx = mistaken(result=lambda direction, _, new=new: (direction, new))
        refused(tx, error, "mistaken", "the next slots of updates['layer']['b']")


def test_what_update_leaf_returns_is_a_pair():
    for result in (lambda direction, new: direction, lambda direction, new: (direction, new, {})):
        refused(
            mistaken(result=result), TypeError, "mistaken: update_leaf must return a pair", "['b']"
        )


@pytest.mark.parametrize(
    "result, error, said",
    [
        (lambda d, rows, new: (d, rows), TypeError, "update_leaves must return three things"),
        (lambda d, rows, new: (d[:1], rows, new), ValueError, "a list of directions, one for each"),
        (lambda d, rows, new: (d * 2, rows, new), ValueError, "of the 2 leaves"),
        (lambda d, rows, new: (d[0], rows, new), ValueError, "a list of directions"),
        (lambda d, rows, new: (d, rows[:1], new), ValueError, "a list of rows of slots"),
        (lambda d, rows, new: (d, [{}, {}], new), ValueError, "the next slots of updates"),
        (lambda d, rows, new: (d, rows, {"d": 1.0}), ValueError, "what is shared next"),
        (lambda d, rows, new: (d, rows, None), TypeError, "what is shared next"),
    ],
)
def test_what_direct_all_returns_is_told(result, error, said):
    refused(mistaken_together(result=result), error, "mistaken_together", said)


def function(change):
    return optax.stateless(lambda updates, params: change(updates))


@pytest.mark.parametrize("within", list(WITHIN)[1:])
@pytest.mark.parametrize(
    "change, error, said",
    [
        (
            lambda updates: jax.tree.map(jnp.sum, updates),
            ValueError,
            ["['layer']['b']", "has shape ()", "has shape (3,)"],
        ),
        (lambda updates: {"layer": {"w": updates["layer"]["w"]}}, ValueError, ["['layer']['b']"]),
        (lambda updates: jax.tree.leaves(updates), ValueError, ["differ in structure"]),
        (
            lambda updates: jax.tree.map(lambda g: jax.lax.complex(g, g), updates),
            TypeError,
            ["['b']", "complex"],
        ),
        (lambda updates: jax.tree.map(lambda g: g > 0, updates), TypeError, ["['b']", "bool"]),
    ],
    ids=["shapes", "a leaf less", "a list", "complex", "flags"],
)
def test_what_a_function_of_the_user_returns_is_told(change, error, said, within):
    refused(function(change), error, "stateless", *said, within=WITHIN[within])


class halved(fnopt.Transform):
    """A transform written by hand that returns half of each matrix."""

    def init(self, params):
        return optax.EmptyState()

    def update(self, updates, state, params=None, **extra_args):
        return jax.tree.map(of_matrix(lambda g: g[:1]), updates), state


def test_a_part_of_a_chain_is_told():
    words = "halved", "['layer']['w']", "(1, 3)", "(2, 3)"
    refused(halved(), ValueError, *words, within=lambda tx: fnopt.chain(tx, fnopt.sgd(0.1)))


def test_examples_and_pairs_may_be_reduced():
    """Gradients of examples become one, lookahead's pairs are pairs."""
    grads = jax.tree.map(lambda p: jnp.ones((4, *p.shape)), PARAMS)
    for mean in (function(lambda g: jax.tree.map(lambda x: x.mean(0), g)), None):
        tx = fnopt.chain(
            mean or fnopt.differentially_private_aggregate(1e3, 0.0, 0), fnopt.sgd(0.5)
        )
        for params in (PARAMS, None):
            updates, _ = tx.update(grads, tx.init(PARAMS), params)
            assert jnp.allclose(updates["layer"]["b"], -0.5)
