"""What rules for matrices do for all methods: trees, dtypes, layouts, errors."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import fnopt
from fnopt.core import Decay, Inner, Mask, Rate, zeros
from fnopt.matrix.by_shape import wide
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.rule import MatrixRule
from fnopt.train import fit, objective

RATE = 0.1


def orthogonal_factor(matrices):
    left, _, right = jnp.linalg.svd(matrices, full_matrices=False)
    return left @ right


class scale_by_orthogonal_trace(MatrixRule):
    """Orthogonal factors of sums of gradients, and the norms of these sums by output."""

    decay: Decay = 0.9
    matrices: MatricesField = None

    like_params = ("trace",)

    def init_matrices(self, param):
        return {"trace": zeros(param), "norms": jnp.zeros(param.shape[:2], param.dtype)}

    def update_matrices(self, grads, slots, params, ctx, **extra_args):
        traces = [g + self.decay * s.trace for g, s in zip(grads, slots, strict=True)]
        norms = [jnp.linalg.norm(trace, axis=-1) for trace in traces]
        pairs = zip(traces, norms, strict=True)
        return wide(orthogonal_factor, traces), [{"trace": t, "norms": n} for t, n in pairs]


class orthogonal(MatrixOptimizer):
    """Steps along orthogonal factors."""

    learning_rate: Rate
    decay: Decay = 0.9
    weight_decay: Rate = 0.0
    mask: Mask = None
    matrices: MatricesField = None
    other: Inner = None

    def direction(self):
        return (scale_by_orthogonal_trace(self.decay, self.matrices),)


def drawn(key, *shape):
    return jax.random.normal(jax.random.key(key), shape)


PARAMS = {
    "blocks": {"kernel": drawn(0, 3, 4, 6), "bias": drawn(1, 3, 6)},
    "conv": {"kernel": drawn(2, 2, 2, 3, 5), "bias": drawn(3, 5)},
    "last": [drawn(4, 6, 4), jnp.zeros((0, 3)), jnp.float32(1.0)],
}
RULES = (("last/0", "out in"), ("blocks/kernel", "stack in out"))


def run(tx, params, updates=2):
    """The last updates and state; the gradient is the parameter, then its square."""
    state = tx.init(params)
    last = None
    for power in range(1, 1 + updates):
        grads = jax.tree.map(lambda p: p**power, params)  # noqa: B023
        last, state = tx.update(grads, state, params)
    return last, state


def by_hand(matrix, decay=0.9):
    """The direction of one matrix, outputs first, after two updates."""
    trace = decay * matrix + matrix**2
    left, _, right = np.linalg.svd(np.asarray(trace, np.float64), full_matrices=False)
    return left @ right, trace


close = functools.partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6)


def test_every_matrix_goes_as_it_would_alone():
    updates, state = run(scale_by_orthogonal_trace(matrices=RULES), PARAMS)
    for i, kernel in enumerate(PARAMS["blocks"]["kernel"]):
        direction, trace = by_hand(kernel.T)
        close(updates["blocks"]["kernel"][i], direction.T)
        close(state.trace["blocks"]["kernel"][i], trace.T)
        close(state.norms["blocks"]["kernel"][i], np.linalg.norm(trace, axis=1))
    close(updates["last"][0], by_hand(PARAMS["last"][0])[0])
    kernel = PARAMS["conv"]["kernel"]
    direction, _ = by_hand(kernel.reshape(12, 5).T)
    close(updates["conv"]["kernel"], direction.T.reshape(kernel.shape))
    assert state.norms["conv"]["kernel"].shape == (1, 5)


def test_what_is_no_matrix_passes_and_has_no_slots():
    updates, state = run(scale_by_orthogonal_trace(matrices=RULES), PARAMS)
    for path in (("blocks", "bias"), ("conv", "bias"), ("last", 1), ("last", 2)):
        update, param, slot = (tree[path[0]][path[1]] for tree in (updates, PARAMS, state.trace))
        assert (update == param**2).all() and isinstance(slot, optax.MaskedNode)


def test_a_stack_is_as_many_leaves():
    stack = {"blocks": {"w": PARAMS["blocks"]["kernel"]}}
    leaves = {f"block_{i}": {"w": x} for i, x in enumerate(PARAMS["blocks"]["kernel"])}
    for tx in (scale_by_orthogonal_trace(), orthogonal(RATE)):
        together, apart = run(tx, stack)[0]["blocks"]["w"], run(tx, leaves)[0]
        for i in range(3):
            close(together[i], apart[f"block_{i}"]["w"])


def test_formulas_see_float32_and_leaves_keep_their_dtypes():
    seen = []

    class looks(scale_by_orthogonal_trace):
        def update_matrices(self, grads, slots, params, ctx, **extra_args):
            seen.extend(x.dtype for x in (*grads, *params, *(s.trace for s in slots)))
            return super().update_matrices(grads, slots, params, ctx, **extra_args)

    params = {"a": drawn(0, 4, 3).astype(jnp.bfloat16), "b": drawn(1, 4, 3)}
    updates, state = run(looks(), params)
    assert set(seen) == {jnp.dtype("float32")}
    for tree in (updates, state.trace, state.norms):
        assert [tree[k].dtype for k in "ab"] == [jnp.bfloat16, jnp.float32]
    close(updates["b"], by_hand(params["b"].T)[0].T)


def test_masked_and_frozen_leaves_are_left_out():
    params = {"a": drawn(0, 4, 3), "b": drawn(1, 4, 3)}
    tx = scale_by_orthogonal_trace()
    alone = run(tx, {"a": params["a"]})[0]
    updates, _ = run(fnopt.masked(tx, "a"), params)
    close(updates["a"], alone["a"])
    assert (updates["b"] == params["b"] ** 2).all()
    frozen, state = run(fnopt.groups(("b", "freeze"), ("*", tx)), params)
    close(frozen["a"], alone["a"])
    assert not frozen["b"].any() and len(jax.tree.leaves(state)) == 2


def test_optimizers_are_stacked_by_vmap():
    decays = jnp.array([0.5, 0.9])
    batch = jax.tree.map(
        lambda *x: jnp.stack(x), *(scale_by_orthogonal_trace(d, RULES) for d in decays)
    )
    together = jax.vmap(lambda tx: run(tx, PARAMS)[0])(batch)
    for i, decay in enumerate(decays):
        alone = run(scale_by_orthogonal_trace(float(decay), RULES), PARAMS)[0]
        jax.tree.map(lambda x, y: close(x[i], y), together, alone)  # noqa: B023


def test_slots_are_sharded_as_their_parameters():
    mesh = Mesh(np.array(jax.devices()), ("device",))
    n = mesh.size
    place = {
        "rows": ((n, 3), PartitionSpec("device")),
        "columns": ((2, n), PartitionSpec(None, "device")),
        "blocks": ((n, 4, 3), PartitionSpec("device")),
        "whole": ((4, 3), PartitionSpec()),
    }
    plain = {name: drawn(0, *shape) for name, (shape, _) in place.items()}
    spread = {name: NamedSharding(mesh, spec) for name, (_, spec) in place.items()}
    params = jax.device_put(plain, spread)
    tx = scale_by_orthogonal_trace(matrices=(("blocks", "stack in out"),))
    update = jax.jit(lambda state, params: tx.update(params, state, params))
    state = tx.init(params)
    for _ in range(2):
        for name, slot in state.trace.items():
            assert slot.sharding.is_equivalent_to(spread[name], slot.ndim), name
        updates, state = update(state, params)
    alone, _ = update(update(tx.init(plain), plain)[1], plain)
    jax.tree.map(close, updates, alone)


def test_labels_say_how_leaves_are_seen():
    plans = scale_by_orthogonal_trace(matrices=RULES).plan(PARAMS)
    kernel, other = plans["blocks"]["kernel"], plans["last"][0]
    assert kernel.leafwise and not kernel.elementwise and kernel.label != other.label
    assert plans["blocks"]["bias"].elementwise


def test_bad_results_are_refused():
    class forgets(scale_by_orthogonal_trace):
        def update_matrices(self, grads, slots, params, ctx, **extra_args):
            return grads

    class without_formula(MatrixRule):
        decay: Decay = 0.9

    with pytest.raises(TypeError, match="forgets: update_matrices must return a pair of lists"):
        run(forgets(matrices=RULES), PARAMS)
    with pytest.raises(TypeError, match="without_formula must define update_matrices"):
        without_formula()
    with pytest.raises(TypeError, match="tree must define direction"):
        type("tree", (MatrixOptimizer,), {})()


def test_gradients_alone_are_seen_as_parameters_are():
    tx = scale_by_orthogonal_trace(matrices=RULES)
    state = tx.init(PARAMS)
    with_params, _ = tx.update(PARAMS, state, PARAMS)
    without, _ = tx.update(PARAMS, state)
    jax.tree.map(close, with_params, without)


# Optimizers.


def test_what_is_no_matrix_gets_the_other_optimizer():
    for other in (None, fnopt.sgd(0.5)):
        tx = orthogonal(RATE, other=other, matrices=RULES)
        updates, _ = run(tx, PARAMS)
        adam = fnopt.adamw(RATE) if other is None else other
        expected, _ = run(adam, PARAMS)
        for path in (("blocks", "bias"), ("conv", "bias"), ("last", 2)):
            close(updates[path[0]][path[1]], expected[path[0]][path[1]])


@pytest.mark.parametrize("limit", [None, 100])
def test_packed_parameters_are_seen_by_their_own_names(limit):
    tx = orthogonal(RATE, matrices=RULES)
    expected, _ = run(tx, PARAMS)
    jax.tree.map(close, run(fnopt.packed(tx, limit), PARAMS)[0], expected)
    packing = fnopt.Packing.of(tx, PARAMS, limit)
    packed = packing.pack(PARAMS)
    jax.tree.map(close, packing.unpack(run(tx, packed)[0]), expected)
    with pytest.raises(ValueError, match="'none' in matrices matches no leaf"):
        orthogonal(RATE, matrices=(("none", "other"),)).init(packed)


def test_a_run_is_the_same_packed():
    params = {"in": {"kernel": drawn(0, 4, 8), "bias": jnp.zeros(8)}, "head": drawn(1, 8, 1)}
    data = drawn(2, 32, 4), drawn(3, 32, 1)

    def forward(params, x):
        return jnp.tanh(x @ params["in"]["kernel"] + params["in"]["bias"][None]) @ params["head"]

    task = objective(forward, "l2_loss", params=params)
    tx = fnopt.groups(("*/bias", 0.5), ("*", {}), base=orthogonal(RATE))
    runs = [
        fit(task, tx, data, epochs=2, batch_size=16, key=0, packed=packed)
        for packed in (True, False)
    ]
    jax.tree.map(close, *(result.state.params for result in runs))


def products(jaxpr):
    """The precisions of all products of a program."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(parameter):
                yield from products(getattr(parameter, "jaxpr", parameter))


def _is_program(x):
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")


METHODS = [
    name
    for name, kind in vars(fnopt).items()
    if isinstance(kind, type) and issubclass(kind, MatrixRule) and kind.family == "parts"
]


@pytest.mark.parametrize("name", METHODS)
def test_products_are_as_precise_as_single_precision_unless_a_method_needs_less(name):
    """GPUs and TPUs round the factors of products by default."""
    make, params = getattr(fnopt, name), {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}
    tx = make(**make.example)
    program = jax.make_jaxpr(tx.update)(params, tx.init(params), params)
    found = set(products(program.jaxpr))
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert found <= ({None} if tx.precision is None else {highest})
    assert found or name in ("scale_by_shape", "scale_to_param_norm", "keep_norm")
