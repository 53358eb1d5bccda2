"""The laws that every public transform keeps, one function each; numbers are those of the design.

A law is a function of a case of the zoo. Most look at three updates on the mixed problem, of which
:func:`run` is the one compiled program, and :func:`usual` what it gives.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import itertools
import pickle
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.core
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import Case, numbers
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from problems import (
    MATRIX_BOWL,
    MIXED,
    NOISY_QUADRATIC,
    PARABOLA,
    ROSENBROCK,
    Problem,
    mixed_by_hand,
)
from zoo import CASES

import fnopt
import fnopt.train  # teaches flax's serialization what a schedule is
from fnopt.core import restrict
from fnopt.core.packed_trees import is_packed, unpacked
from fnopt.core.paths import path_name
from fnopt.matrix.choice import Matrices
from fnopt.matrix.kfac_blocks import blocks_of


class Law(NamedTuple):
    """A law, and whether it calls into libraries that need jax's default mode."""

    number: int
    holds_for: Callable[[Case], None]
    beside_optax: bool


LAWS: dict[str, Law] = {}


def law(number: int, beside_optax: bool = False, **instances: Any) -> Callable[..., Any]:
    """Enters a law; ``instances`` are names and second arguments of a law that comes in several."""

    def enter(check: Callable[..., None]) -> Callable[..., None]:
        for name, argument in instances.items():
            check_one = functools.partial(check, argument=argument)
            LAWS[f"{check.__name__}_{name}"] = Law(number, check_one, beside_optax)
        if not instances:
            LAWS[check.__name__] = Law(number, check, beside_optax)
        return check

    return enter


# What the laws share.


def start(problem: Problem = MIXED, dtype: Any = float) -> Any:
    """The first parameters of a problem on the device."""
    dtype = jnp.result_type(dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), problem.start)


def _squares(params: Any) -> Any:
    return 0.5 * sum(jnp.sum(leaf.real**2 + leaf.imag**2) for leaf in jax.tree.leaves(params))


def _layers(params: Any) -> list[Any]:
    """Outputs of any tree: those of a layer for each matrix with its bias, and all other leaves."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(params)]
    for block in blocks_of(Matrices(), params):
        weights = jnp.matrix_transpose(block.view.matrices(leaves[block.weight]))
        number, inputs, units = weights.shape
        data = np.cos(np.arange(number * 5 * inputs)).reshape(number, 5, inputs)
        outputs = jnp.asarray(data, weights.dtype) @ weights
        if block.bias is not None:
            outputs += jnp.broadcast_to(leaves[block.bias].reshape(number, 1, units), outputs.shape)
        leaves.append(outputs)
    return leaves


def extra(
    case: Case, value: Any, loss: Any = _squares, grad: Any = None, model: Any = None
) -> dict[str, Any]:
    """The extra arguments that a case needs."""
    if not case.needs:
        return {}
    known = {
        "value": value,
        "grad": grad,
        "value_fn": loss,
        "grad_fn": jax.grad(loss),
        "evaluation": fnopt.core.Evaluation.of_outputs(lambda params: params, loss),
        "key": jax.random.key(0),
        "max_logits": 2.0,
    }
    if "layers" in case.needs:
        layers = fnopt.core.Evaluation.of_outputs(*(model or (_layers, _squares)))
        known["layers"] = layers
    return {"evaluation" if name == "layers" else name: known[name] for name in case.needs}


def on_problem(case: Case, value: Any, grads: Any, problem: Problem = MIXED) -> dict[str, Any]:
    """The extra arguments that a case needs, on a problem."""
    return extra(case, value, problem.loss, grads, problem.model)


@functools.partial(jax.jit, static_argnums=0)
def value_and_grad(problem: Problem, params: Any) -> tuple[Any, Any]:
    return jax.value_and_grad(problem.loss)(params)


def step(
    tx: Any, params: Any, state: Any, case: Case, problem: Problem = MIXED, noise: Any = None
) -> tuple[Any, Any, Any]:
    """One update on a problem: the loss before it, the parameters and the state after it."""
    value, grads = value_and_grad(problem, params)
    if noise is not None:
        grads = jax.tree.map(lambda g, n: g + problem.noise * n, grads, noise)
    updates, state = tx.update(grads, state, params, **on_problem(case, value, grads, problem))
    return value, optax.apply_updates(params, updates), state


def run(tx: Any, params: Any, *, case: Case, problem: Problem = MIXED, steps: int = 3) -> Any:
    """All losses, all parameters after an update, the last state."""
    noise = draws(problem, steps) if problem.noise else None
    return _run(tx, params, noise, case=case, problem=problem, steps=steps)


@functools.partial(jax.jit, static_argnames=("case", "problem", "steps"))
def _run(tx: Any, params: Any, noise: Any, *, case: Case, problem: Problem, steps: int) -> Any:
    def body(carry, noise):
        value, params, state = step(tx, *carry, case, problem, noise)
        return (params, state), (value, params)

    (_, state), (values, path) = jax.lax.scan(body, (params, tx.init(params)), noise, steps)
    return values, path, state


@functools.cache
def draws(problem: Problem, steps: int) -> Any:
    """The noise of every step, drawn outside of the program, which is compiled faster so."""
    params = start(problem)
    keys = jax.random.split(jax.random.key(0), steps)
    draw = jax.vmap(lambda key: optax.tree.random_like(key, params, jax.random.normal))
    return jax.tree.map(np.asarray, draw(keys))


@functools.lru_cache(maxsize=1)
def usual(case: Case) -> Any:
    """What :func:`run` gives of a case's optimizer, computed once for all laws that compare."""
    with jax.numpy_dtype_promotion("strict"):
        return run(case.optimizer(), start(), case=case)


@functools.partial(jax.jit, static_argnames="case")
def stepped(tx: Any, params: Any, state: Any, *, case: Case) -> tuple[Any, Any]:
    """Parameters and state after one update, compiled once for a case."""
    return step(tx, params, state, case)[1:]


def last(path: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[-1], path)


def assert_close(got: Any, expected: Any, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Same structure, same leaves up to rounding."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=jax.tree_util.keystr(path))


def assert_same(got: Any, expected: Any) -> None:
    """Same structure, same leaves bit for bit."""
    assert_close(got, expected, rtol=0, atol=0)


def avals(tree: Any) -> Any:
    """Structure, and shape, dtype and weakness of every leaf."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, str(leaf.dtype), leaf.weak_type) for leaf in leaves]


def scaled(tx: Any, factor: float) -> Any:
    """The transform with every number, those of its schedules too, times a factor just below 1."""
    return jax.tree.map(lambda leaf: leaf * factor if isinstance(leaf, float) else leaf, tx)


def _constant(value: float) -> Callable[[Any], Any]:
    return lambda count: value


# 1: types.


@law(1)
def init_is_abstract(case: Case) -> None:
    """``init`` can be evaluated for its shapes alone, and they are those of the real state."""
    tx, params = case.make(), start()
    assert avals(jax.eval_shape(tx.init, params)) == avals(tx.init(params))


@law(1, **{d: d for d in ("float16", "bfloat16", "float32", "float64", "complex64")})
def keeps(case: Case, argument: str) -> None:
    """State and updates have, after an update, the types of the first state and the gradients."""
    with jax.enable_x64(argument == "float64"):
        tx, params = case.make(), start(dtype=argument)
        state = tx.init(params)
        update = functools.partial(tx.update, **extra(case, jnp.ones(())))
        updates, new_state = jax.eval_shape(update, params, state, params)
        assert avals(updates) == avals(params)
        assert avals(new_state) == avals(state)


# 2: transformations.


@law(2)
def jit_equals_eager(case: Case) -> None:
    """A compiled scan gives what a loop in Python gives."""
    tx, params = case.optimizer(), start()
    state = tx.init(params)
    values, path, end = usual(case)
    for i in range(len(values)):
        value, params, state = step(tx, params, state, case)
        assert_close((value, params), jax.tree.map(lambda leaf: leaf[i], (values, path)))  # noqa: B023
    assert_close(state, end)


@law(2)
def lives_in_cond(case: Case) -> None:
    """An update under ``cond`` happens or does not."""
    tx, params = case.optimizer(), start()

    @jax.jit
    def maybe(flag):
        carry = params, tx.init(params)
        return jax.lax.cond(flag, lambda c: step(tx, *c, case)[1:], lambda c: c, carry)

    assert_same(maybe(False), (params, tx.init(params)))
    _, path, _ = usual(case)
    assert_close(maybe(True)[0], jax.tree.map(lambda leaf: leaf[0], path))


def stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


# 3: an optimizer is a value.


@law(3)
def compiles_once(case: Case) -> None:
    """One program serves the next step, a copy, another instance, 20 settings; 20 schedules two."""
    tx, params = case.make(), start()
    given = extra(case, jnp.ones(()))
    traces = 0

    @jax.jit
    def update(tx, state):
        nonlocal traces
        traces += 1
        return tx.update(params, state, params, **given)[1]

    state = tx.init(params)
    for other in (tx, tx, copy.copy(tx), case.make(), *(scaled(tx, 1 - i / 99) for i in range(20))):
        state = update(other, state)
    assert (traces, update._cache_size()) == (1, 1)
    if case.rate_name in tx._fields:
        schedules = [fnopt.cosine_decay_schedule(0.1 / i, 90 + i) for i in range(1, 21)]
        state = tx.replace(**{case.rate_name: schedules[0]}).init(params)
        for schedule in schedules:
            state = update(tx.replace(**{case.rate_name: schedule}), state)
        assert (traces, update._cache_size()) == (2, 2)


@law(3)
def vmap_equals_loop(case: Case) -> None:
    """Optimizers under ``vmap``, each with its own start, give what they give one by one."""
    factors = (1.0, 0.9)
    txs = [scaled(case.optimizer(), factor) for factor in factors]
    starts = [jax.tree.map(lambda leaf: leaf * factor, start()) for factor in factors]  # noqa: B023
    batch = jax.tree.map(lambda *leaves: jnp.array(leaves), *txs)
    together = jax.vmap(functools.partial(run, case=case), axis_size=2)(batch, stacked(starts))
    assert_close(together, stacked([run(*pair, case=case) for pair in zip(txs, starts)]))  # noqa: B905


@law(3)
def has_hypergradients(case: Case) -> None:
    """The derivative of a run by every number is the finite difference."""
    with jax.enable_x64(True):
        leaves, structure = jax.tree.flatten(case.optimizer())
        numbers = [leaf for leaf in leaves if isinstance(leaf, float)]

        @jax.jit
        @jax.value_and_grad
        def loss(numbers):
            given = iter(numbers)
            mixed = [next(given) if isinstance(leaf, float) else leaf for leaf in leaves]
            tx, params = structure.unflatten(mixed), start(MATRIX_BOWL)
            _, path, _ = run(tx, params, case=case, problem=MATRIX_BOWL)
            return MATRIX_BOWL.loss(last(path))

        for i, (number, slope) in enumerate(zip(numbers, loss(numbers)[1], strict=True)):
            above, below = (
                loss([*numbers[:i], number * factor, *numbers[i + 1 :]])[0]
                for factor in (1 + 1e-4, 1 - 1e-4)
            )
            np.testing.assert_allclose(slope * number, (above - below) / 2e-4, rtol=1e-5, atol=1e-8)


# 4: trees.


class Pair(NamedTuple):
    left: Any
    right: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    inner: Any


def any_tree() -> Any:
    """A tree with all that a tree can hold."""
    ones = jnp.ones((3,))
    return {
        "scalar": jnp.asarray(0.5),
        "empty": jnp.zeros((0, 3)),
        "none": None,
        "nested": [(2 * ones, {"deep": 3 * ones})],
        "pair": Pair(4 * ones, None),
        "registered": Registered((5 * ones,)),
        "frozen": flax.core.freeze({"x": jnp.ones((2, 1, 2))}),
    }


@law(4)
def takes_any_tree(case: Case) -> None:
    """The containers make no difference: the leaves go as in a plain list."""
    tx, given = case.make(), extra(case, jnp.ones(()))
    tree = any_tree()
    leaves = jax.tree.leaves(tree)

    @jax.jit
    def update(state, state_of_leaves):
        return tx.update(tree, state, tree, **given), tx.update(
            leaves, state_of_leaves, leaves, **given
        )

    with warnings.catch_warnings():
        # A leaf of three axes in one of no name: a method of matrices has to guess.
        warnings.filterwarnings("ignore", message=".* was guessed")
        state, state_of_leaves = tx.init(tree), tx.init(leaves)
    for _ in range(2):
        (updates, state), (of_leaves, state_of_leaves) = update(state, state_of_leaves)
        assert jax.tree.structure(updates) == jax.tree.structure(tree)
        assert_same(jax.tree.leaves(updates), of_leaves)
        assert all(np.all(np.isfinite(update)) for update in of_leaves)


@law(4)
def takes_frozen_leaves(case: Case) -> None:
    """Under ``optax.masked`` a frozen leaf keeps its gradient and has no slot; the rest goes on."""
    tx, given = case.make(), extra(case, jnp.ones(()))
    free = {"w": jnp.ones((2, 3)), "b": jnp.full((3,), 2.0)}
    params = {**free, "frozen": jnp.full((5,), 3.0)}
    masked = optax.masked(tx, {"w": True, "b": True, "frozen": False})

    @jax.jit
    def update(state, state_of_free):
        return masked.update(params, state, params, **given), tx.update(
            free, state_of_free, free, **given
        )

    state, state_of_free = masked.init(params), tx.init(free)
    assert all(leaf.shape != (5,) for leaf in jax.tree.leaves(state))
    for _ in range(2):
        (updates, state), (of_free, state_of_free) = update(state, state_of_free)
        assert_same(updates, {**of_free, "frozen": params["frozen"]})


# 5: guests and hosts.


@law(5)
def ignores_unknown_arguments(case: Case) -> None:
    """An extra argument that a transform does not know changes nothing."""
    tx, params = case.make(), start()
    given = extra(case, jnp.ones(()))
    plain = tx.update(params, tx.init(params), params, **given)
    assert_same(tx.update(params, tx.init(params), params, **given, unknown=object()), plain)


def _in_optax(make_host: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def use(case: Case, tx: Any, params: Any) -> Any:
        host = make_host(tx, params)
        update = jax.jit(functools.partial(step, host, case=case))
        state = host.init(params)
        for _ in range(3):
            _, params, state = update(params, state)
        return params

    return use


def _in_multi_steps(case: Case, tx: Any, params: Any) -> Any:
    host = optax.MultiSteps(tx, every_k_schedule=2)
    state = host.init(params)

    @jax.jit
    def update(grads, state, params, value):
        return host.update(grads, state, params, **on_problem(case, value, grads))

    for _ in range(3):
        value, grads = value_and_grad(MIXED, params)
        for _ in range(2):
            updates, state = update(grads, state, params, value)
            params = optax.apply_updates(params, updates)
    return params


def _in_inject_hyperparams(case: Case, tx: Any, params: Any) -> Any:
    def is_number(argument: Any) -> bool:
        return isinstance(argument, (float, fnopt.Schedule))

    make = case.factory
    static = {name for name, argument in case.kwargs.items() if not is_number(argument)}
    # optax takes an integer for a number to inject, be it an axis or a rank.
    static |= {name for name, spec in make._specs.items() if spec.static}
    inject = optax.inject_hyperparams(make, sorted(static))
    injected = case.followed_by_step(inject(**case.kwargs))
    return _in_optax(lambda tx, params: injected)(case, tx, params)


def _in_nnx(case: Case, tx: Any, params: Any) -> Any:
    with_paths, structure = jax.tree_util.tree_flatten_with_path(params)
    # With the names of the leaves, and in their order.
    names = [path_name(path) for path, _ in with_paths]
    assert names == sorted(names)
    model = nnx.Dict({n: nnx.Param(leaf) for n, (_, leaf) in zip(names, with_paths, strict=True)})
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    def loss_of_model(model):
        return MIXED.loss(structure.unflatten([model[name][...] for name in names]))

    def of_state(function):
        return lambda state: function(structure.unflatten(jax.tree.leaves(state)))

    assert MIXED.model is not None
    loss, outputs = of_state(MIXED.loss), of_state(MIXED.model[0])

    value_and_grad_of_model = nnx.jit(nnx.value_and_grad(loss_of_model))
    for _ in range(3):
        value, grads = value_and_grad_of_model(model)
        given = extra(case, value, loss, model=(outputs, MIXED.model[1]))
        optimizer.update(model, grads, **given)
    return structure.unflatten([model[name][...] for name in names])


def _in_train_state(case: Case, tx: Any, params: Any) -> Any:
    state = TrainState.create(apply_fn=None, params=params, tx=tx)

    @jax.jit
    def train(state):
        return state.apply_gradients(grads=value_and_grad(MIXED, state.params)[1])

    for _ in range(3):
        state = train(state)
    return state.params


@law(
    5,
    beside_optax=True,
    chain=_in_optax(lambda tx, params: optax.chain(optax.identity(), tx)),
    masked=_in_optax(lambda tx, params: optax.masked(tx, jax.tree.map(lambda _: True, params))),
    multi_steps=_in_multi_steps,
    inject_hyperparams=_in_inject_hyperparams,
    nnx_optimizer=_in_nnx,
    train_state=_in_train_state,
)
def lives_inside(case: Case, argument: Callable[..., Any]) -> None:
    """A host gives what plain use gives."""
    tx, params = case.optimizer(), start()
    assert_close(argument(case, tx, params), last(usual(case)[1]))


# 6: where the state lies, and that it comes back.


@law(6)
def is_sharded_as_parameters(case: Case) -> None:
    """Slots lie as their parameters do, when made and after a compiled update, and say the same.

    Those of another shape, as of one side of a matrix, are made on all devices wherever these
    divide an axis; where they are after an update the compiler decides, unless told.
    """
    mesh = Mesh(np.array(jax.devices()), ("device",))
    n = mesh.size
    place = {
        (n, n): NamedSharding(mesh, PartitionSpec("device")),
        (2 * n, 2 * n): NamedSharding(mesh, PartitionSpec(None, "device")),
        (5,): NamedSharding(mesh, PartitionSpec()),
    }
    # Of full rank: what a method does with a singular value of 0 is decided by roundings.
    rng = np.random.default_rng(0)
    plain, grads = ([jnp.asarray(rng.normal(size=x), jnp.float32) for x in place] for _ in "pg")
    params, sharded = (jax.device_put(x, list(place.values())) for x in (plain, grads))
    tx, given = case.make(), extra(case, jnp.ones(()))
    update = jax.jit(lambda grads, state, params: tx.update(grads, state, params, **given))
    state = tx.init(params)
    first = jax.tree.leaves(state)
    updates, state = update(sharded, state, params)
    for made, leaf in zip(first, jax.tree.leaves(state), strict=True):
        if not (leaf.ndim and leaf.size and jnp.issubdtype(leaf.dtype, jnp.inexact)):
            continue
        if leaf.shape in place:
            assert made.sharding.is_equivalent_to(place[leaf.shape], leaf.ndim)
            assert leaf.sharding.is_equivalent_to(place[leaf.shape], leaf.ndim)
        else:
            assert made.sharding.is_fully_replicated == all(size % n for size in made.shape)
    # A leaf that is sharded is packed with no other.
    assert_close(*map(unpacked, ((updates, state), update(grads, tx.init(plain), plain))))


def _by_pickle(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten(pickle.loads(pickle.dumps(list(map(np.asarray, leaves)))))


def _by_flax(tree: Any) -> Any:
    emptied = jax.tree.map(jnp.zeros_like, tree)
    return flax.serialization.from_bytes(emptied, flax.serialization.to_bytes(tree))


@law(6, pickle=_by_pickle, flax=_by_flax)
def resumes_bit_for_bit_by(case: Case, argument: Callable[..., Any]) -> None:
    """Saved, restored and handed to another instance, a state goes on as if nothing had been."""
    tx, params = case.optimizer(), start()
    saved = stepped(tx, params, tx.init(params), case=case)
    expected = stepped(tx, *saved, case=case)
    assert_same(stepped(case.optimizer(), *argument(saved), case=case), expected)


def _updated(
    tx: Any, grads: Any, state: Any, params: Any, value: Any, *, case: Case
) -> tuple[Any, Any]:
    """An update on the mixed problem, of which parameters and gradients may be packed."""
    given = on_problem(case, value, unpacked(grads))
    if is_packed(params):
        given = restrict(given, params.packing.pack, params.packing.unpack)
    return tx.update(grads, state, params, **given)


_compiled_update = functools.partial(jax.jit, static_argnames="case")(_updated)


@law(6, parameters="parameters", slots="slots")
def packs(case: Case, argument: str) -> None:
    """With parameters and gradients packed, or the slots alone, updates and slots are the same.

    They differ by roundings: XLA multiplies by the reciprocal of a number or divides by it, and
    contracts a product and a sum or does not, according to how many arrays need it.
    """
    tx, params = case.optimizer(), start()
    packing = fnopt.Packing.of(tx, params)
    lay = packing.pack if argument == "parameters" else lambda tree: tree
    other = tx if argument == "parameters" else fnopt.packed(tx)
    alone = all(plan.leafwise for plan in jax.tree.leaves(tx.plan(params)))
    rtol, atol = (1e-6, 1e-7) if alone else (1e-5, 1e-6)  # else a sum has another order
    update = _compiled_update if case.needs else _updated
    state, laid = tx.init(params), other.init(lay(params))
    for _ in range(2):
        value, grads = value_and_grad(MIXED, params)
        updates, state = update(tx, grads, state, params, value, case=case)
        got, laid = update(other, lay(grads), laid, lay(params), value, case=case)
        assert is_packed(got) == (argument == "parameters")
        assert_close(unpacked(got), updates, rtol, atol)
        # Empty nodes within the slots of a group may lie elsewhere.
        assert_close(*(jax.tree.leaves(unpacked(x)) for x in (laid, state)), rtol, atol)
        params = optax.apply_updates(params, updates)


# 7: agreement.


@law(7)
def agrees_with_oracle(case: Case) -> None:
    """Updates agree with the paper's, by default and for hyperparameters drawn at random."""
    with jax.enable_x64(True):
        leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, start()))
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]

        def raveled(leaves):
            return np.concatenate([np.ravel(leaf) for leaf in leaves])

        def by_hand(theta):
            if not case.by_leaf:
                parts = zip(np.split(theta, ends), leaves, strict=True)
                theta = [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in parts]
            return mixed_by_hand(structure.unflatten(list(map(np.asarray, theta))))

        def gradient(theta):
            found = jax.tree.leaves(by_hand(theta)[1])
            return found if case.by_leaf else raveled(found)

        for seed in range(3):
            tx = case.draw(seed)
            given = {**case.kwargs, **numbers(tx)}
            if case.rate is not None:
                given["rate"] = case.rate
            if "value" in case.needs:
                given["loss"] = lambda theta: by_hand(theta)[0]
            first = leaves if case.by_leaf else raveled(leaves)
            oracle = case.oracle(gradient, first, **given)
            _, path, _ = run(case.followed_by_step(tx), start(), case=case, steps=case.updates)
            path = [np.asarray(leaf) for leaf in jax.tree.leaves(path)]
            for i, expected in enumerate(itertools.islice(oracle, case.updates)):
                got = raveled([leaf[i] for leaf in path])
                expected = raveled(expected) if case.by_leaf else expected
                np.testing.assert_allclose(got, expected, 1e-6, 1e-9, err_msg=f"seed {seed}, {i}")


@law(7, beside_optax=True)
def agrees_with_optax(case: Case) -> None:
    """Ten updates agree with those of optax's function of the same name, in double precision.

    In single precision optax's bias corrections are off by more than a rounding.
    """
    with jax.enable_x64(True):
        peer = case.peer(*case.args, **case.kwargs)
        tx, params = case.make(), start()
        state, state_of_peer = tx.init(params), peer.init(params)

        @jax.jit
        def both(params, state, state_of_peer):
            value, grads = jax.value_and_grad(MIXED.loss)(params)
            given = on_problem(case, value, grads)
            ours, state = tx.update(grads, state, params, **given)
            theirs, state_of_peer = optax.with_extra_args_support(peer).update(
                grads, state_of_peer, params, **given
            )
            moved = jax.tree.map(lambda p, u: p - 0.1 * jnp.tanh(u), params, ours)
            return ours, theirs, moved, state, state_of_peer

        for _ in range(10):
            ours, theirs, params, state, state_of_peer = both(params, state, state_of_peer)
            assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


# 8: descent.


class Goal(NamedTuple):
    """What the loss must fall to, as a share of the first, in how many steps."""

    problem: Problem
    share: float
    steps: int


_GOALS = (
    Goal(PARABOLA, 1e-4, 300),
    Goal(ROSENBROCK, 1e-2, 5000),
    Goal(MATRIX_BOWL, 1e-3, 500),
    Goal(NOISY_QUADRATIC, 1e-2, 500),
)


@law(8, **{goal.problem.name: goal for goal in _GOALS})
def descends(case: Case, argument: Goal) -> None:
    """The loss falls far, at the rate the zoo gives."""
    problem, share, steps = argument
    tx = case.optimizer(rate=case.rates[problem.name])
    values, _, _ = run(tx, start(problem), case=case, problem=problem, steps=steps)
    assert jnp.mean(values[-10:]) < share * values[0]


@law(8)
def rests_at_zero_gradient(case: Case) -> None:
    """Without gradient and decay nothing moves, and nothing is NaN."""
    tx, params = case.make(), start()
    if "weight_decay" in tx._fields:
        tx = tx.replace(weight_decay=0.0)
    zero = jax.tree.map(jnp.zeros_like, params)
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(zero, state, params, **extra(case, jnp.ones(())))
        assert_same(updates, zero)


# 9: what is taken and what is refused.


@law(9)
def takes_any_number(case: Case) -> None:
    """A NumPy scalar and an array on the device are the number they hold."""
    tx = case.make()
    for name in numbers(tx):
        value = float(np.float32(case.range_of(name).high))
        plain = tx.replace(**{name: value})
        for kind in (np.float32, np.float64, np.asarray, jnp.asarray):
            made = tx.replace(**{name: kind(value)})
            assert type(getattr(made, name)) is float
            assert made == plain


@law(9, fnopt=fnopt.constant_schedule, optax=optax.constant_schedule, functions=_constant)
def takes_schedules_of(case: Case, argument: Callable[..., Any]) -> None:
    """Every number may be a schedule or any function; a constant one changes nothing."""
    tx, params = case.make(), start()
    scheduled = tx.replace(**{name: argument(value) for name, value in numbers(tx).items()})
    state, state_of_scheduled = tx.init(params), scheduled.init(params)
    for _ in range(2):
        given = extra(case, jnp.ones(()))
        expected, state = tx.update(params, state, params, **given)
        got, state_of_scheduled = scheduled.update(params, state_of_scheduled, params, **given)
        assert_close(got, expected)


@law(9)
def refuses_bad_numbers(case: Case) -> None:
    """A number out of range, and what is no number, is refused by its name and with its value."""
    tx = case.make()
    for name in numbers(tx):
        for value in case.range_of(name).refused:
            with pytest.raises(ValueError) as error:
                tx.replace(**{name: value})
            for word in (case.name, name, repr(value), "must lie in"):
                assert word in str(error.value)
        for value in ("fast", True, [0.1], 1j):
            with pytest.raises(TypeError) as error:
                tx.replace(**{name: value})
            for word in (case.name, name, repr(value)):
                assert word in str(error.value)


@law(9)
def refuses_integers(case: Case) -> None:
    """A leaf of integers is refused by its path."""
    with pytest.raises(TypeError, match=r"\['layer'\]\['count'\].*int32"):
        case.make().init({"layer": {"count": jnp.arange(3), "w": jnp.ones(3)}})


@law(9)
def refuses_bad_trees(case: Case) -> None:
    """Gradients of another structure or shape than the parameters are refused by the path."""
    tx, given = case.make(), extra(case, jnp.ones(()))
    params = {"layer": {"w": jnp.ones((3, 1)), "b": jnp.ones(3)}}
    state = tx.init(params)
    lacking = {"layer": {"w": jnp.ones((3, 1))}}
    crooked = {"layer": {"w": jnp.ones((3, 2)), "b": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"\['layer'\]\['b'\]"):
        tx.update(lacking, state, params, **given)
    with pytest.raises(ValueError, match=r"\['layer'\]\['w'\].*\(3, 2\).*\(3, 1\)"):
        tx.update(crooked, state, params, **given)


@law(9)
def refuses_to_reshape_slots(case: Case) -> None:
    """Without parameters to compare with, gradients of another shape than the slots are refused."""
    tx = case.make()
    state = tx.init({"layer": {"w": jnp.ones((3, 1))}})
    if any(leaf.shape == (3, 1) for leaf in jax.tree.leaves(state)):
        with pytest.raises(ValueError, match=r"\['layer'\]\['w'\]|needs the parameters"):
            tx.update({"layer": {"w": jnp.ones((3, 2))}}, state, **extra(case, jnp.ones(())))


@law(9)
def refuses_a_foreign_state(case: Case) -> None:
    """A state that another transform made is refused."""
    tx, params = case.make(), start()
    wrong = Pair(params, params)
    for state in (wrong, (wrong,)):
        with pytest.raises(ValueError, match="the state given to update"):
            tx.update(params, state, params, **extra(case, jnp.ones(())))


# 10: values.


@functools.cache
def _zoo() -> list[tuple[Case, Any]]:
    return [(case, case.make()) for case in CASES]


@law(10)
def copies_are_equal(case: Case) -> None:
    """Equal to every kind of copy, with the same hash; unequal to every other case of the zoo."""
    tx = case.make()
    copies = copy.copy(tx), copy.deepcopy(tx), pickle.loads(pickle.dumps(tx)), tx.replace()
    for other in (*copies, jax.tree.map(lambda leaf: leaf, tx)):
        assert other == tx and not other != tx and hash(other) == hash(tx)
        assert type(other) is type(tx)
    assert [other.id for other, made in _zoo() if made == tx] == [case.id]
    if jax.tree.leaves(tx):
        assert scaled(tx, 0.9) != tx


@law(10)
def survives_tree_tools(case: Case) -> None:
    """In a state that holds the transform, ``optax.tree`` finds and sets what is meant."""

    class Run(NamedTuple):
        seen: Any
        tx: Any

    tx = case.make()
    for held in ({"seen": 0, "tx": tx}, Run(0, tx)):
        changed = optax.tree.set(held, seen=5)
        assert optax.tree.get(changed, "seen") == 5
        assert optax.tree.get(changed, "tx") == tx
    for name in numbers(tx):
        value = case.range_of(name).low
        assert optax.tree.set(tx, **{name: value}) == tx.replace(**{name: value})
        assert optax.tree.get(tx, name) == getattr(tx, name)


@law(10)
def shows_what_is_a_parameters(case: Case) -> None:
    """``optax.tree.map_params`` finds the slots, which are all of the state but its scalars."""
    tx = case.make()
    state = tx.init([jnp.ones((2, 3)), jnp.ones(3)])
    marked = optax.tree.map_params(tx, lambda _: "slot", state)
    for mark, leaf in zip(jax.tree.leaves(marked), jax.tree.leaves(state), strict=True):
        slot = leaf.ndim and jnp.issubdtype(leaf.dtype, jnp.inexact)  # a key is none
        assert mark == "slot" if slot else mark is leaf


@law(10)
def survives_flax_serialization(case: Case) -> None:
    """flax's serialization brings back an equal transform, by its state dict and by bytes."""
    tx = case.make()
    other = scaled(tx, 0.9)
    stored = flax.serialization.to_state_dict(tx)
    assert flax.serialization.from_state_dict(other, stored) == tx
    assert flax.serialization.from_bytes(other, flax.serialization.to_bytes(tx)) == tx


@law(10)
def prints_as_itself(case: Case) -> None:
    """What it prints evaluates to an equal transform."""
    tx = case.make()
    assert eval(repr(tx), vars(fnopt) | vars(case.home)) == tx
