"""What the laws leave out: chains, names, precision, masks, signatures, layers."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import halving, matrices
from laws import assert_close, assert_same, start
from problems import MIXED, mixed_by_hand

import fnopt
from fnopt.core import Rate, Rule

G = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([2.0, -1.0])}


def updates_of(tx, gradients, params=None, **extra_args):
    """What a transform makes of gradients that do not depend on it."""
    state = tx.init(gradients[0] if params is None else params)
    updates = []
    for gradient in gradients:
        update, state = tx.update(gradient, state, params, **extra_args)
        updates.append(update)
    return updates


def test_gradient_by_hand_is_that_of_the_mixed_problem():
    with jax.enable_x64(True):
        wanted = jax.value_and_grad(MIXED.loss)(start())
        assert_close(jax.tree.map(jnp.asarray, mixed_by_hand(MIXED.start)), wanted, 1e-12, 1e-12)


# A transform is optax's pair, and frozen.


def test_transform_is_a_pair():
    tx = fnopt.sgd(0.1)
    init, update = tx
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    assert (len(tx), tx[0], tx[1], tx[-1]) == (2, tx.init, tx.update, tx.update)
    assert_same(update(G, init(G))[0], tx.update(G, tx.init(G))[0])


def test_transform_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        fnopt.sgd(0.1).learning_rate = 0.2


def test_leaves_may_be_anything():
    """Trees of axes, gradients or names have the structure of the transform, unchecked."""
    tx = jax.tree.map(lambda _: "axis", fnopt.adam(0.1))
    assert (tx.learning_rate, tx.b1, tx.nesterov) == ("axis", "axis", False)


def test_equality_looks_at_arrays_and_kinds():
    batch = fnopt.sgd(jnp.array([0.1, 0.2]))
    assert batch == fnopt.sgd(np.array([0.1, 0.2], np.float32))
    assert batch != fnopt.sgd(jnp.array([0.1, 0.3]))
    assert fnopt.add_l2(0.1) != fnopt.add_decayed_weights(0.1)
    assert fnopt.sgd(0.1) != (None, None)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: fnopt.adam(-1e-3), ValueError, "adam: learning_rate must lie in [0, inf)"),
        (lambda: fnopt.adam(1e-3, b1=1.0), ValueError, "b1 must lie in [0, 1), got 1.0"),
        (lambda: fnopt.adam(1e-3, b1=1.0), ValueError, "the default is 0.9"),
        (lambda: fnopt.sgd("fast"), TypeError, "sgd: learning_rate must be a number, an array or"),
        (lambda: fnopt.sgd(True), TypeError, "got True (bool)"),
        (lambda: fnopt.sgd(None), TypeError, "got None (NoneType)"),
        (lambda: fnopt.sgd(float("nan")), ValueError, "got nan"),
        (lambda: fnopt.sgd(0.1, momentum=-0.5), ValueError, "sgd: momentum must lie in [0, 1)"),
        (lambda: fnopt.adam(0.1, nesterov=[1]), TypeError, "adam: nesterov must be True or False"),
        (lambda: fnopt.chain(fnopt.sgd(0.1), 3), TypeError, "expected a transform"),
        (
            lambda: fnopt.named_chain(("a", fnopt.sgd(0.1)), ("a", fnopt.sgd(0.1))),
            ValueError,
            "the names must differ",
        ),
    ],
)
def test_a_refusal_says_argument_value_and_range(make, error, words):
    with pytest.raises(error) as refusal:
        make()
    assert words in str(refusal.value)


def test_update_says_that_it_needs_parameters():
    tx = fnopt.adamw(0.1)
    with pytest.raises(ValueError, match="add_decayed_weights needs the parameters"):
        tx.update(G, tx.init(G))


def test_a_rule_is_told_how_to_annotate_its_fields():
    with pytest.raises(TypeError, match="rate is annotated float; annotate a number by its range"):
        type("typo", (fnopt.Rule,), {"__annotations__": {"rate": float}})


# Chains.


@pytest.mark.beside_optax
@pytest.mark.parametrize("chain", [fnopt.chain, optax.chain])
def test_foreign_and_own_parts_mix(chain):
    mixed = chain(optax.clip(1.5), fnopt.scale_by_adam(b1=0.8), optax.trace(0.5), fnopt.scale(-0.1))
    plain = optax.chain(
        optax.clip(1.5), optax.scale_by_adam(b1=0.8), optax.trace(0.5), optax.scale(-0.1)
    )
    gradients = [G, jax.tree.map(jnp.negative, G), G]
    assert_close(updates_of(mixed, gradients), updates_of(plain, gradients))
    assert jax.tree.structure(mixed.init(G)) == jax.tree.structure(plain.init(G))


def test_chain_hands_extra_arguments_to_foreign_parts():
    seen = []

    def update(updates, state, params=None, *, value, **extra_args):
        seen.append((value, params))
        return updates, state

    foreign = optax.GradientTransformationExtraArgs(lambda params: (), update)
    updates_of(fnopt.chain(foreign, fnopt.sgd(0.1)), [G], params=G, value=3.0)
    assert seen == [(3.0, G)]


@pytest.mark.beside_optax
def test_named_chain_has_the_state_of_optax():
    ours = fnopt.named_chain(("b", fnopt.trace(0.9)), ("a", fnopt.scale(-0.1)))
    theirs = optax.named_chain(("b", optax.trace(0.9)), ("a", optax.scale(-0.1)))
    assert_close(updates_of(ours, [G, G]), updates_of(theirs, [G, G]))
    state = ours.init(G)
    assert list(state) == ["b", "a"]
    assert list(jax.tree.map(lambda leaf: leaf, state)) == ["b", "a"]
    assert_same(state["b"].trace, jax.tree.map(jnp.zeros_like, G))


def test_chain_refuses_the_state_of_another():
    tx = fnopt.chain(fnopt.clip(1.0), fnopt.sgd(0.1))
    with pytest.raises(
        ValueError, match=r"chain: the state given to update .* it is \(EmptyState,\), but init"
    ):
        tx.update(G, tx.init(G)[:1])


def test_chain_rounds_once():
    """Between its parts a chain keeps the precision of the computation."""
    g = jnp.linspace(1, 2, 50, dtype=jnp.bfloat16)
    (update,) = updates_of(fnopt.chain(fnopt.scale(1 / 3), fnopt.scale(3.0)), [g])
    assert update.dtype == jnp.bfloat16
    assert_same(update, g)


# What the next update applies, by name.


def got(tx, state, **extra_args):
    """fnopt.hyperparameters, under jit."""
    names = jax.jit(fnopt.hyperparameters)(tx, state, **extra_args)
    return {name: float(value) for name, value in names.items()}


def test_hyperparameters_by_name():
    tx = fnopt.adamw(0.1, weight_decay=0.2)
    wanted = {"learning_rate": 0.1, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0}
    assert got(tx, tx.init(G)) == pytest.approx({**wanted, "weight_decay": 0.2})


@pytest.mark.parametrize("tx", [fnopt.sgd(halving(0.8)), fnopt.chain(fnopt.sgd(halving(0.8)))])
def test_hyperparameters_are_those_of_the_next_update(tx):
    state = tx.init(G)
    for _ in range(4):
        rate = got(tx, state)["learning_rate"]
        update, state = tx.update(G, state)
        assert_close(update, jax.tree.map(lambda g: -rate * g, G))  # noqa: B023
    assert rate == pytest.approx(0.8 * 0.5**1.5)


def test_learning_rates_of_a_chain_multiply():
    tx = fnopt.chain(fnopt.sgd(0.5), fnopt.reduce_on_plateau(factor=0.1, patience=0))
    state = tx.init(G)
    assert got(tx, state) == {"learning_rate": 0.5}
    assert got(tx, state, value=1.0) == {"learning_rate": 0.5}
    _, state = tx.update(G, state, value=1.0)
    assert got(tx, state, value=1.0)["learning_rate"] == pytest.approx(0.05)
    _, state = tx.update(G, state, value=1.0)
    assert got(tx, state)["learning_rate"] == pytest.approx(0.05)


def test_names_that_parts_share_are_told_apart():
    parts = fnopt.trace(0.5), fnopt.scale_by_rms(decay=0.25, eps=1.0), fnopt.trace(0.75)
    tx = fnopt.chain(*parts)
    rms = {"eps": 1.0, "initial_scale": 0.0}
    assert got(tx, tx.init(G)) == {
        "trace[0].decay": 0.5,
        "scale_by_rms.decay": 0.25,
        "trace[2].decay": 0.75,
        **rms,
    }
    tx = fnopt.named_chain(*zip("abc", parts, strict=True))
    assert got(tx, tx.init(G)) == {"a.decay": 0.5, "b.decay": 0.25, "c.decay": 0.75, **rms}


@pytest.mark.beside_optax
def test_hyperparameters_that_optax_injects_are_told():
    tx = fnopt.chain(optax.inject_hyperparams(optax.sgd)(0.25), fnopt.clip(1.0))
    assert got(tx, tx.init(G)) == {"learning_rate": 0.25, "max_delta": 1.0}


# Precision.


def test_hyperparameters_are_used_in_single_precision():
    """bfloat16 would round b2 = 0.999 to 1, and the first step of Adam to 0 / 0."""
    g = jnp.full(3, 0.5, jnp.bfloat16)
    (update,) = updates_of(fnopt.adam(0.25), [g])
    assert_same(update, jnp.full(3, -0.25, jnp.bfloat16))


@pytest.mark.parametrize("of_gradient", ["bfloat16", "float32"])
@pytest.mark.parametrize("of_params", ["bfloat16", "float32"])
def test_updates_come_in_the_dtype_of_the_gradient(of_gradient, of_params):
    params, gradient = jnp.ones(3, of_params), jnp.ones(3, of_gradient)
    tx = fnopt.adamw(0.1)
    update, state = tx.update(gradient, tx.init(params), params)
    assert update.dtype == of_gradient
    assert state[0].mu.dtype == of_params
    assert state[0].nu.dtype == jnp.float32  # squares need it


def test_a_narrow_slot_is_rounded_when_stored():
    g = jnp.linspace(1, 2, 50)
    first, second = updates_of(fnopt.trace(0.9, accumulator_dtype="bfloat16"), [g, g])
    assert_same(first, g)
    assert_close(second, g + 0.9 * g.astype(jnp.bfloat16).astype(jnp.float32), rtol=1e-7, atol=0)


def test_centered_rms_is_finite_where_optax_is_not():
    """The variance of gradients that hardly change is 0, not the root of a negative number."""
    gradient = jnp.geomspace(1e3, 1e4, 500)

    def all_finite(tx):
        update, state, finite = jax.jit(tx.update), tx.init(gradient), True
        for _ in range(300):
            direction, state = update(gradient, state)
            finite &= bool(np.all(np.isfinite(direction)))
        return finite

    assert all_finite(fnopt.scale_by_stddev())
    assert not all_finite(optax.scale_by_stddev())


# Masks.


def decayed(mask, params=G):
    """The leaves that a mask lets decay."""
    tx = fnopt.add_decayed_weights(1.0, mask)
    update, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
    return jax.tree.map(lambda leaf: bool(jnp.any(leaf != 0)), update)


@pytest.mark.parametrize("mask", [{"w": True, "b": False}, matrices])
def test_a_mask_is_a_tree_or_a_function(mask):
    assert decayed(mask) == {"w": True, "b": False}


def test_a_flag_stands_for_a_subtree():
    assert decayed(True) == {"w": True, "b": True}
    deep = {"body": G, "head": [G["b"]]}
    wanted = {"body": {"w": False, "b": False}, "head": [True]}
    assert decayed({"body": False, "head": True}, deep) == wanted


def test_a_mask_that_is_no_prefix_is_refused():
    with pytest.raises(ValueError):
        decayed({"w": True})


def test_a_mask_in_adamw_leaves_plain_adam_elsewhere():
    plain = updates_of(fnopt.adam(0.1), [G, G])[-1]
    masked = updates_of(fnopt.adamw(0.1, weight_decay=0.5, mask=matrices), [G, G], params=G)[-1]
    assert_close(masked["b"], plain["b"])
    assert_close(masked["w"], plain["w"] - 0.1 * 0.5 * G["w"])


def test_equal_masks_are_one_program():
    made = [fnopt.adamw(rate, mask={"w": True, "b": False}) for rate in (0.1, 0.2)]
    update = jax.jit(lambda tx: tx.update(G, tx.init(G), G)[0])
    for tx in made:
        update(tx)
    assert update._cache_size() == 1


# Momentum with the rate inside and outside the velocity.


def test_heavy_ball_and_momentum_differ_by_where_the_rate_stands():
    gradients = list(np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32))
    rates = [0.5 * 0.5 ** (t / 2) for t in range(6)]
    ours = {
        make: updates_of(make(halving(0.5), momentum=0.75), list(map(jnp.asarray, gradients)))
        for make in (fnopt.sgd, fnopt.heavy_ball)
    }
    for t in range(6):
        past = [(0.75 ** (t - i), rates[i], gradients[i]) for i in range(t + 1)]
        outside = -rates[t] * sum(share * g for share, _, g in past)
        inside = -sum(share * rate * g for share, rate, g in past)
        assert_close(ours[fnopt.sgd][t], outside)
        assert_close(ours[fnopt.heavy_ball][t], inside)
        assert (t > 0) == (not np.allclose(outside, inside))


@pytest.mark.parametrize("nesterov", [False, True])
def test_heavy_ball_is_momentum_at_a_constant_rate(nesterov):
    gradients = [G, jax.tree.map(jnp.square, G), G]
    heavy_ball = fnopt.heavy_ball(0.25, momentum=0.5, nesterov=nesterov)
    sgd = fnopt.sgd(0.25, momentum=0.5, nesterov=nesterov)
    assert_close(updates_of(heavy_ball, gradients), updates_of(sgd, gradients))


# Signatures.

SHARED_WITH_OPTAX = [
    name
    for name, thing in vars(fnopt).items()
    if isinstance(thing, type) and inspect.isfunction(vars(optax).get(name))
]


@pytest.mark.parametrize("name", SHARED_WITH_OPTAX)
def test_signature_is_that_of_optax(name):
    """The same names in the same order with the same defaults; fnopt's own come last."""

    def parameters(function):
        given = inspect.signature(function).parameters.values()
        return [(p.name, p.kind, same(p.default)) for p in given]

    def same(default):
        # A dtype goes by its name; where optax's default is a function, fnopt's None means it; and
        # transforms are compared by what they do, elsewhere.
        if inspect.isfunction(default) or isinstance(default, optax.GradientTransformation):
            return None
        return str(jnp.dtype(default)) if default is jnp.float32 else default

    theirs = parameters(getattr(optax, name))
    ours = parameters(getattr(fnopt, name))
    assert ours[: len(theirs)] == theirs
    assert all(default is not inspect.Parameter.empty for _, _, default in ours[len(theirs) :])


def test_optax_is_met_often():
    assert len(SHARED_WITH_OPTAX) > 20


# Layers.

PACKAGE = Path(fnopt.__file__).parent
# What may import more than the core and itself; the rest are families.
USERS_OF_ALL = {"__init__", "__main__", "train", "data", "sweeps", "lab", "cli", "compat"}
USERS_OF_TRAIN = {"train", "sweeps", "lab", "cli"}
USERS_OF_FLAX = {"train", "cli"}
# What a package may import beside the core and itself. What is no matrix gets Adam's step, and some
# matrix methods are Adam in a basis of their own; the layers of a model tell which leaves are
# matrices, and K-FAC draws targets as curvature does. Curvature may look at layers, and at what a
# first-order method estimates; the solvers know methods by name.
BESIDE_THE_CORE = {
    "matrix": {"first_order", "wrap", "layers", "curvature"},
    "curvature": {"layers", "first_order"},
    "solve": {"curvature", "registry"},
    "initialize": {"wrap", "layers", "pretrained"},
}


def imports_of(path):
    """The modules that a file imports, anywhere in it, by their full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_go_down(path):
    layer = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports_of(path):
        package, _, rest = module.partition(".")
        imported = rest.split(".")[0]
        if package == "flax":
            assert layer in USERS_OF_FLAX, module
        if package == "fnopt" and imported == "train":
            assert layer in USERS_OF_TRAIN, module
        if package == "fnopt" and layer not in USERS_OF_ALL:
            assert imported in {"core", layer, *BESIDE_THE_CORE.get(layer, ())}, module


MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported_modules(name):
    """The modules of the package that a module of it imports, anywhere in it."""
    for module in imports_of(MODULES[name]):
        # ``from package import thing``: a module of that name, or something in the package.
        found = module if module in MODULES else module.rpartition(".")[0]
        if found in MODULES and found != name:
            yield found


def cycles(graph):
    """The sets of nodes that reach each other."""

    def reached(start):
        seen, ahead = set(), [start]
        while ahead:
            new = set(graph[ahead.pop()]) - seen
            seen |= new
            ahead += new
        return seen

    reach = {node: reached(node) for node in graph}
    sets = {frozenset(x for x in reach[node] if node in reach[x]) for node in graph}
    return sorted(map(set, sets - {frozenset()}), key=sorted)


def test_no_modules_import_each_other():
    assert cycles({"a": ["b"], "b": ["c"], "c": ["a", "d"], "d": []}) == [{"a", "b", "c"}]
    graph = {name: list(imported_modules(name)) for name in MODULES}
    assert "fnopt.core.transform" in graph["fnopt.core"]
    assert "fnopt.train.run" in graph["fnopt.train.fit"]
    assert cycles(graph) == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_module_is_too_long(name):
    # Of the face a part is generated, a line for each method.
    by_hand = MODULES[name].read_text().partition("# From here on written by `make generate`")[0]
    assert len(by_hand.splitlines()) <= 300


def test_the_face_is_light():
    """``import fnopt`` brings neither flax nor matplotlib, and its face holds names alone."""
    code = "import sys, fnopt; print(*{'flax', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    body = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert all(isinstance(node, (ast.ImportFrom, ast.Expr)) for node in body)


def test_a_real_accumulator_of_complex_parameters_is_refused():
    tx = fnopt.adam(0.1, mu_dtype="float32")
    params = {"w": jnp.ones(2, jnp.complex64)}
    with pytest.raises(TypeError, match=r"updates\['w'\] is complex, but its state.mu is float32"):
        tx.update(params, tx.init(params))


@pytest.mark.parametrize(
    "tx", [fnopt.adam(0.1), fnopt.adamw(0.1), fnopt.rmsprop(0.1, eps_in_sqrt=False)], ids=repr
)
def test_a_weight_without_gradient_leaves_hypergradients_finite(tx):
    def train(tx):
        params = jnp.ones(2)
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(params * jnp.array([1.0, 0.0]), state, params)
            params = optax.apply_updates(params, updates)
        return jnp.sum(params**2)

    slopes = jax.grad(train)(tx)
    assert all(np.isfinite(slope) for slope in jax.tree.leaves(slopes))
    assert float(slopes.learning_rate) < 0


@pytest.mark.parametrize(("dtype", "size"), [("bfloat16", 1.0), ("float16", 1e-3)])
def test_squares_of_half_precision_gradients_do_not_stand_still(dtype, size):
    tx, grad = fnopt.scale_by_adam(), jnp.full((), size, dtype)

    def one(state, _):
        update, state = tx.update(grad, state)
        return state, update

    _, updates = jax.lax.scan(one, tx.init(grad), length=3000)
    np.testing.assert_allclose(updates[-1].astype(np.float32), 1.0, atol=0.03)


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (
            lambda p: fnopt.adam(0.1).update(p, None, p),
            ValueError,
            "state given to update is of another optimizer: it is None",
        ),
        (lambda p: fnopt.named_chain(fnopt.sgd(0.1)), TypeError, "pairs of a name and a transform"),
        (
            lambda p: fnopt.add_decayed_weights(0.1, {"v": True}).update(p, optax.EmptyState(), p),
            ValueError,
            "mask is no tree of flags for the parameters",
        ),
    ],
)
def test_what_is_given_wrong_is_named(make, error, says):
    with pytest.raises(error, match=says):
        make({"w": jnp.ones(2)})


@pytest.mark.beside_optax
def test_multi_steps_of_optax_go_into_a_chain():
    tx = fnopt.chain(optax.MultiSteps(optax.sgd(0.1), 2))
    params = jnp.ones(2)
    updates, state = tx.update(params, tx.init(params), params)
    np.testing.assert_array_equal(updates, 0.0)
    np.testing.assert_allclose(tx.update(params, state, params)[0], -0.1)


def test_a_rule_receives_the_count_and_what_is_to_be_known_of_a_leaf():
    seen = []

    class noted(Rule):
        rate: Rate
        State = optax.EmptyState

        def precompute(self, t):
            return 2 * t

        def update_leaf(self, grad, slots, param, ctx):
            seen.append(ctx)
            return grad, {}

    tx = noted(fnopt.linear_schedule(0.1, 0.0, 10))
    params = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(3)}
    grads = {"a": jnp.ones(2), "b": jnp.ones(3)}
    tx.update(grads, tx.init(params), params)
    assert [(c.path, str(c.dtype)) for c in seen] == [
        ("updates['a']", "bfloat16"),
        ("updates['b']", "float32"),
    ]
    assert all(c.t == 1 and c.t.dtype == jnp.float32 and c.precomputed == 2 for c in seen)

    # A number is no schedule, so there is no count; and without parameters the gradient's dtype.
    noted(0.1).update(grads, noted(0.1).init(params))
    assert seen[-2].t is seen[-2].precomputed is None and str(seen[-2].dtype) == "float32"
