"""The evaluation that a step hands to its optimizer, and what it computes before its branch."""

from __future__ import annotations

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task, nnx_task
from test_step_options import copies
from xla_flags import compiled_as_usual

import fnopt
import fnopt.compat.torch
from fnopt.core import Evaluation, Outcome, evaluation_of, restrict
from fnopt.train import TrainState, make_train_step, objective, train_step
from fnopt.train.keys import step_keys

pytestmark = pytest.mark.beside_optax

ASCENT = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.05))


class capture(fnopt.Transform):
    """Keeps in its state what a function makes of evaluation and parameters."""

    function: fnopt.core.Static[object]

    def init(self, params):
        return jax.tree.map(jnp.zeros_like, self.function(None, params))

    def update(self, updates, state, params=None, *, evaluation, **extra_args):
        return jax.tree.map(jnp.zeros_like, updates), self.function(evaluation, params)


def captured(function, task, batch, precision=None, **options):
    """What the function gives within a step, and the metrics of the step."""
    state = TrainState.create(task, capture(function), 0, precision=precision)
    state, metrics = make_train_step(task, precision=precision, **options)(state, batch)
    return state.opt_state, metrics


def network(params, x, key=None):
    hidden = jnp.tanh(x @ params["w"])
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.5, hidden.shape)
    return hidden @ params["v"]


def network_task(**kwargs):
    params = {"w": 0.3 * jnp.ones((8, 4)), "v": jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)}
    loss = "softmax_cross_entropy_with_integer_labels"
    return objective(network, loss, params=params, **kwargs)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("accumulate", "precision"), [(1, None), (4, None), (1, "bfloat16"), (4, "bfloat16")]
)
def test_the_loss_of_the_outputs_is_the_value(accumulate, precision, weighted):
    def function(evaluation, params):
        if evaluation is None:
            names = ("value", "of_outputs", "of_pair", "of_examples")
            return {name: jnp.float32(0) for name in names}
        losses, shares = evaluation.losses_of_outputs(evaluation.outputs(params))
        return {
            "of_examples": jnp.sum(losses * shares),
            "value": evaluation.value(params),
            "of_outputs": evaluation.loss_of_outputs(evaluation.outputs(params)),
            "of_pair": evaluation.value_and_grad(params)[0],
        }

    x, y = blobs(48)
    weights = np.random.RandomState(1).rand(48).astype(np.float32)
    weights[:12] = 0  # the first of four micro-batches has no weight
    task = network_task(weights=(lambda batch: batch[2]) if weighted else None)
    batch = (x, y, weights) if weighted else (x, y)
    values, metrics = captured(function, task, batch, precision, accumulate=accumulate)
    for value in values.values():
        np.testing.assert_allclose(value, metrics["loss"], rtol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_gauss_newton_product_through_the_outputs_is_the_explicit_one(accumulate):
    direction = {"w": jnp.linspace(-1, 1, 32).reshape(8, 4), "v": jnp.ones((4, 3))}

    def product(evaluation, params):
        if evaluation is None:
            return params
        outputs, pushed = jax.jvp(evaluation.outputs, (params,), (direction,))
        hessian = jax.jvp(jax.grad(evaluation.loss_of_outputs), (outputs,), (pushed,))[1]
        return jax.vjp(evaluation.outputs, params)[1](hessian)[0]

    task, (x, y) = network_task(), blobs(48)
    got, _ = captured(product, task, (x, y), accumulate=accumulate)

    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    flat, unravel = jax.flatten_util.ravel_pytree(state.params)
    keys = step_keys(state).forward
    parts = 48 // accumulate

    def outputs(flat):
        if accumulate == 1:
            return network(unravel(flat), x, keys)
        drawn = [jax.random.fold_in(keys, i) for i in range(accumulate)]
        return jnp.concatenate(
            [network(unravel(flat), x[i * parts : (i + 1) * parts], k) for i, k in enumerate(drawn)]
        )

    def loss(outputs):
        return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()

    jacobian = jax.jacobian(outputs)(flat).reshape(-1, flat.size)
    hessian = jax.hessian(loss)(outputs(flat)).reshape(jacobian.shape[0], jacobian.shape[0])
    expected = jacobian.T @ hessian @ jacobian @ jax.flatten_util.ravel_pytree(direction)[0]
    np.testing.assert_allclose(
        jax.flatten_util.ravel_pytree(got)[0], expected, rtol=1e-3, atol=1e-6
    )


def test_a_loss_without_examples_has_no_losses_of_examples():
    def function(evaluation, params):
        return params if evaluation is None else evaluation.losses_of_outputs(jnp.ones((48, 3)))[0]

    params = {"w": jnp.ones((8, 4)), "v": jnp.ones((4, 3))}
    task = objective(network, lambda outputs, y: jnp.mean(outputs), params=params)
    with pytest.raises(ValueError, match=r"needs the loss of each example.*without their mean"):
        captured(function, task, blobs(48))


def test_an_evaluation_of_functions_of_ones_own():
    x = jnp.asarray([1.0, 2.0, 3.0])

    def losses(outputs):
        return outputs**2, jnp.full(3, 0.5)

    model = Evaluation.of_outputs(jnp.sin, lambda out: jnp.sum(out**2) / 2, losses)
    residuals = Evaluation.of_residuals(lambda x: {"a": jnp.sin(x)})
    expected = jnp.sin(x) * jnp.cos(x)
    for evaluation in (model, residuals):
        np.testing.assert_allclose(evaluation.grad(x), expected, rtol=1e-6)
        value = evaluation.loss_of_outputs(evaluation.outputs(x))
        np.testing.assert_allclose(value, evaluation.value(x), rtol=1e-6)
    np.testing.assert_allclose(jnp.sum(losses(model.outputs(x))[0]) / 2, model.value(x), rtol=1e-6)
    part = residuals.restricted(lambda tree: tree[:2], lambda part: jnp.concatenate([part, x[2:]]))
    np.testing.assert_allclose(part.residuals(x[:2])["a"], jnp.sin(x), rtol=1e-6)
    np.testing.assert_allclose(part.grad(x[:2]), expected[:2], rtol=1e-6)


class reports(fnopt.Transform):
    """Says of its update that it evaluated so many times, and where it leads."""

    values: fnopt.core.Number

    def init(self, params):
        return optax.ScaleState()

    def update(self, updates, state, params=None, **extra_args):
        return updates, state

    def outcome(self, state):
        return Outcome(value=7.0, grad=self.values, values=self.values, products=2)


def test_the_last_of_a_chain_says_where_it_leads_and_all_count():
    def outcome(*parts):
        tx = fnopt.chain(*parts)
        return tx.outcome(tx.init(jnp.ones(2)))

    assert fnopt.adam(0.1).outcome(fnopt.adam(0.1).init(jnp.ones(2))) is None
    both = outcome(reports(1.0), reports(3.0))
    assert (both.value, both.grad) == (7.0, 3.0)
    assert [float(x) for x in both[2:]] == [4, 0, 4]
    scaled = outcome(reports(1.0), fnopt.scale(0.5))
    assert (scaled.value, scaled.grad) == (None, None) and float(scaled.values) == 1
    wrapped = fnopt.masked(reports(1.0), mask=True)
    inner = wrapped.outcome(wrapped.init(jnp.ones(2)))
    assert (inner.value, inner.values) == (None, 1.0)


def test_functions_by_hand_make_an_evaluation():
    def loss(params):
        return jnp.sum(jnp.abs(params) ** 4)

    x = jnp.asarray([1 + 2j, 3j])
    expected = jnp.conj(jax.grad(loss)(x))  # the direction of ascent
    for names in ({"value_fn": loss}, {"obj_fn": loss}, {"value_fn": None, "obj_fn": loss}):
        evaluation = evaluation_of(names)
        np.testing.assert_allclose(evaluation.grad(x), expected)
        np.testing.assert_allclose(evaluation.value_and_grad(x)[1], expected)
        assert evaluation.value is loss and evaluation.outputs is None
    gradient = jax.grad(loss)
    assert evaluation_of({"value_fn": loss, "grad_fn": gradient}).grad is gradient
    assert evaluation_of({"grad_fn": gradient}) == Evaluation(grad=gradient)
    assert evaluation_of({}) == Evaluation()
    whole = Evaluation(value=loss)
    assert evaluation_of({"evaluation": whole, "value_fn": abs}) is whole


def test_a_restricted_evaluation_is_one_of_the_part():
    def loss(params):
        return params["a"] ** 2 * params["b"]

    params = {"a": jnp.float32(3), "b": jnp.float32(2)}
    evaluation = evaluation_of({"value_fn": loss})
    outputs = Evaluation(
        value=evaluation.value,
        grad=evaluation.grad,
        value_and_grad=evaluation.value_and_grad,
        outputs=lambda params: params["a"] * jnp.ones(2),
        loss_of_outputs=jnp.sum,
    )
    args = {"grad": params, "key": 1, **outputs.extra_args()}
    seen = restrict(args, lambda tree: tree["a"], lambda part: {**params, "a": part})
    part = seen["evaluation"]
    assert seen["grad"] is params["a"] and seen["key"] == 1
    assert float(part.value(jnp.float32(5))) == float(seen["value_fn"](jnp.float32(5))) == 50
    assert float(part.grad(jnp.float32(5))) == float(seen["grad_fn"](jnp.float32(5))) == 20
    assert [float(x) for x in part.value_and_grad(jnp.float32(5))] == [50, 20]
    assert float(part.loss_of_outputs(part.outputs(jnp.float32(5)))) == 10
    assert "key" in inspect.signature(seen["value_fn"]).parameters  # optax looks for it
    assert restrict({"key": 1}, abs, abs) == {"key": 1}


# K-FAC reads the layers of the outputs, of which these have none.
@pytest.mark.parametrize("name", sorted({*fnopt.optimizers()} - {"kfac"}))
def test_what_does_not_say_so_does_not_evaluate(name):
    """An update that evaluates within the branch of a step is slow on a CPU."""
    make = getattr(fnopt, name)
    numbers = {"learning_rate": 1e-2} if "learning_rate" in make._fields else {}
    required = {"dpsgd": dict(l2_norm_clip=1.0, noise_multiplier=1.0, seed=0)}
    tx = make(**numbers | make.example | required.get(name, {}))
    called = []

    def evaluate(params):
        called.append(params)
        return jnp.float32(1)

    def gradient(params):
        called.append(params)
        return params

    params = jnp.ones((4, 3))
    grads = jnp.ones((2, 4, 3)) if name == "dpsgd" else params
    evaluation = Evaluation(
        evaluate, gradient, lambda p: (evaluate(p), gradient(p)), gradient, jnp.sum
    )
    extra_args = {"value": jnp.float32(1), "grad": params, "key": jax.random.key(0)}
    jax.eval_shape(
        lambda: tx.update(grads, tx.init(params), params, **extra_args, **evaluation.extra_args())
    )
    assert tx.evaluates in (None, bool(called))  # None: it is looked at in the traced update


# Before the branch


BEFORE = {
    "sam": fnopt.sam(fnopt.sgd(0.1, momentum=0.9), ASCENT, opaque_mode=True),
    "sam in a chain": fnopt.chain(
        fnopt.sam(fnopt.adam(0.1), ASCENT, sync_period=3, opaque_mode=True), fnopt.scale(0.5)
    ),
    "hutchinson": fnopt.chain(fnopt.hutchinson_estimator_diag_hessian(), fnopt.sgd(0.1)),
}
METHODS = BEFORE | {
    "sophia": fnopt.sophia(0.1),
    "lbfgs": optax.lbfgs(),
    "torch's lbfgs": fnopt.compat.torch.LBFGS(max_iter=3, line_search_fn="strong_wolfe"),
}


def evaluates(program, loops):
    """Whether a traced program calls an evaluation; in its loops and branches too, if asked."""
    for equation in program.eqns:
        if "fnopt_evaluation" in str(equation.params.get("name", "")):
            return True
        if equation.primitive.name in ("while", "scan", "cond") and not loops:
            continue
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, (tuple, list)) else [parameter]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns") and evaluates(inner, loops):
                    return True
    return False


@pytest.mark.parametrize("name", METHODS)
def test_evaluations_stand_before_the_branch_of_the_step(name):
    """Those in a loop or a branch of the method stay there: they would be no faster."""
    task, batch = network_task(), blobs(16)
    state = TrainState.create(task, METHODS[name], 0)
    program = jax.make_jaxpr(lambda s, b: train_step(task, s, b))(state, batch).jaxpr
    branch = [equation for equation in program.eqns if equation.primitive.name == "cond"][-1]
    before, inside = (
        [evaluates(p, loops) for loops in (False, True)]
        for p in (
            program,
            max((b.jaxpr for b in branch.params["branches"]), key=lambda b: len(b.eqns)),
        )
    )
    assert before == ([True, True] if name in BEFORE else [False, True])
    assert inside == ([False, False] if name in BEFORE else [False, True])


@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_evaluations_is_the_update_by_hand(name):
    task, batch = function_task(), jax.tree.map(jnp.asarray, blobs(16))
    state = TrainState.create(task, METHODS[name], 0)
    step = make_train_step(task)

    def loss(params):
        return task.loss(task.forward(params, {}, batch, key=None, train=True)[0], batch)

    params, tx = jax.tree.map(jnp.array, state.params), METHODS[name]
    opt_state = tx.init(params)
    for _ in range(3):
        value, grads = jax.value_and_grad(loss)(params)
        evaluation = evaluation_of({"value_fn": loss})
        updates, opt_state = tx.update(
            grads, opt_state, params, value=value, grad=grads, **evaluation.extra_args()
        )
        params = optax.apply_updates(params, updates)
        state, metrics = step(state, batch)
        np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6), state.params, params
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_evaluations_that_is_not_finite_leaves_the_state(name):
    task, (x, y) = nnx_task(0.0), blobs(16)
    state = TrainState.create(task, METHODS[name], 0)
    step = make_train_step(task)
    state, _ = step(state, (x, y))
    before = jax.tree.map(np.array, jax.tree.leaves((state.params, state.opt_state)))
    state, metrics = step(state, (x * np.nan, y))
    after = jax.tree.leaves((state.params, state.opt_state))
    assert not np.isfinite(metrics["update_norm"])
    assert (int(state.step), int(state.skipped)) == (1, 1)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def sized(state):
    """The shapes of the matrices among the parameters."""
    return {str(list(x.shape)).replace(" ", "") for x in jax.tree.leaves(state.stored.params)}


@pytest.mark.parametrize("name", METHODS)
def test_a_step_with_evaluations_works_in_place(name):
    task, batch = nnx_task(0.0), jax.tree.map(jnp.asarray, blobs(16))
    state = TrainState.create(task, METHODS[name], 0)
    state = state.packed()
    compiled = compiled_as_usual(make_train_step(task).lower(state, batch))
    text, leaves = compiled.as_text(), jax.tree.leaves(state)
    aliases = re.search(r"input_output_alias=\{(.*?)\}, entry", text).group(1)
    assert aliases.count("alias") == len(leaves)
    assert compiled.memory_analysis().alias_size_in_bytes >= sum(x.nbytes for x in leaves)
    if "sam" in name:  # the others keep copies of their own: points, signs
        assert sized(state) and not sized(state) & set(copies(text))


def test_an_update_is_traced_once():
    traced = []

    def update(updates, state, params=None, **extra_args):
        traced.append(None)
        return updates, state

    own = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    for tx in (own, fnopt.chain(own, fnopt.sgd(0.1)), fnopt.sam(own, ASCENT, opaque_mode=True)):
        traced.clear()
        task, batch = function_task(), blobs(16)
        make_train_step(task).lower(TrainState.create(task, tx, 0), batch)
        assert len(traced) == 1
