"""Wrong inputs of optimizers and what is answered: one sentence or two, with cause and cure."""

from __future__ import annotations

import dataclasses
import re
import traceback
from typing import Any, NamedTuple

import flax.linen
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import fnopt
import fnopt.compat.torch
from fnopt.core import Composed, Decay, Inner, Joint, Rule, Schedule, Transform, Wrapper, zeros
from fnopt.core.ranges import Integer
from fnopt.initialize import unfreeze_gradually
from fnopt.registry import exported
from fnopt.train import objective

pytestmark = pytest.mark.beside_optax

PARAMS = {"w": jnp.ones(3), "b": jnp.ones(2)}
ADAM, ADAMW, MOMENTUM = fnopt.adam(1e-3), fnopt.adamw(1e-3), fnopt.sgd(0.1, momentum=0.9)
GROUPS = fnopt.groups(("w", "freeze"), ("*", {}), base=ADAMW)
OTHER_GROUPS = fnopt.groups(("w", "freeze"), ("b", 0.1), base=ADAMW)
SCHEDULE = fnopt.linear_schedule(1.0, 0.0, 10)
OBJECTIVE = objective(lambda params, x: x, "squared_error", params=PARAMS)
VARIABLES = {"params": PARAMS, "batch_stats": PARAMS}


def updated(tx: Any, state: Any = None, params: Any = PARAMS) -> Any:
    state = tx.init(PARAMS) if state is None else state
    return tx.update(PARAMS, state, params)


class kept(Rule):
    """One slot; the rules below have a mistake each."""

    decay: Decay = 0.9

    def init_leaf(self, param):
        return {"trace": zeros(param)}


class without_state_field(kept):
    State = optax.ScaleByLionState

    def update_leaf(self, grad, slots, param, ctx):
        return grad, {"mu": grad}


class update_alone(kept):
    def update_leaf(self, grad, slots, param, ctx):
        return grad


class forgets_a_slot(kept):
    def update_leaf(self, grad, slots, param, ctx):
        return grad, {}


class adds_a_slot(kept):
    def update_leaf(self, grad, slots, param, ctx):
        return grad, {"trace": grad, "nu": grad}


class reshapes_a_slot(forgets_a_slot):
    def init_leaf(self, param):
        return {"trace": jnp.zeros(())}

    def update_leaf(self, grad, slots, param, ctx):
        return grad, {"trace": grad}


class float_slot(forgets_a_slot):
    def init_leaf(self, param):
        return {"size": 0.0}


class array_slot(forgets_a_slot):
    def init_leaf(self, param):
        return zeros(param)


class uncounted(kept):
    def update_leaf(self, grad, slots, param, ctx):
        return grad / ctx.t, {"trace": grad}


class without_params(kept):
    def update_leaf(self, grad, slots, param, ctx):
        return grad + 0.1 * param, {"trace": grad}


class own_init(forgets_a_slot):
    def __init__(self, rate):
        self.rate = rate


class own_init_of_field(forgets_a_slot):
    def __init__(self, decay):
        self.decay = decay


class unannotated(forgets_a_slot):
    rate = 0.1


class together(Joint):
    shared = ("total",)

    def init_shared(self, params):
        return {"total": jnp.zeros(())}


class shares_another(together):
    def init_shared(self, params):
        return {"sum": jnp.zeros(())}

    def update_leaves(self, grads, slots, params, shared, ctx, **extra_args):
        return grads, [{} for _ in grads], shared


class shares_a_float(shares_another):
    def init_shared(self, params):
        return {"total": 0.0}


class directions_alone(together):
    def update_leaves(self, grads, slots, params, shared, ctx, **extra_args):
        return grads


class forgets_the_shared(together):
    def update_leaves(self, grads, slots, params, shared, ctx, **extra_args):
        return grads, [{} for _ in grads], {}


class forgets_a_leaf(together):
    def update_leaves(self, grads, slots, params, shared, ctx, **extra_args):
        return grads[:1], [{} for _ in grads], shared


class without_parts(Composed):
    pass


class one_part(Composed):
    def parts(self):
        return fnopt.scale(1.0)


class a_class_as_part(Composed):
    def parts(self):
        return (fnopt.sgd,)


class Around(NamedTuple):
    inner_state: Any


class without_methods(Wrapper):
    inner: Inner


class without_wrapped(Wrapper):
    State = Around

    def init(self, params):
        return Around(())

    def update(self, updates, state, params=None, **extra_args):
        return updates, Around(self.check(state))


class without_state(without_wrapped):
    State = None
    inner: Inner


class inner_state_alone(without_wrapped):
    inner: Inner

    def init(self, params):
        return self.inner.init(params)


class without_init(Transform):
    pass


class without_formula(Schedule):
    pass


class Dense(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return flax.linen.Dense(2)(x)


class Normalized(nnx.Module):
    def __init__(self):
        self.linear = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(2, rngs=nnx.Rngs(0))


class WithArray(nnx.Module):
    def __init__(self):
        self.bias = jnp.ones(2)


class OfIntegers(nnx.Module):
    def __init__(self):
        self.table = nnx.Param(jnp.arange(2))


class Tensors:
    """As a model of torch: called as a function, with parameters of its own."""

    def state_dict(self):
        return {}

    def parameters(self):
        yield from ()

    def __call__(self, inputs):
        return inputs


def deleted() -> Any:
    state = ADAM.init(PARAMS)
    for leaf in jax.tree.leaves(state):
        leaf.delete()
    return state


def train_state() -> TrainState:
    return TrainState.create(apply_fn=None, params=PARAMS, tx=ADAM)


class Row(NamedTuple):
    """A wrong input, and patterns of the cause and of the cure."""

    name: str
    call: Any
    error: type[Exception]
    cause: str
    cure: str


OF_CALLS = [
    Row("lr", lambda: fnopt.adam(lr=1e-3), TypeError,
        "adam has no argument 'lr'", "did you mean learning_rate=0.001.*fnopt.compat.torch"),
    Row("betas", lambda: fnopt.adam(1e-3, betas=(0.9, 0.99)), TypeError,
        "no argument 'betas'", "b1=0.9, b2=0.99"),
    Row("betas_by_position", lambda: fnopt.adam(1e-3, (0.9, 0.99)), TypeError,
        r"b1 is one number, got \(0.9, 0.99\)", "write b1=0.9, b2=0.99"),
    Row("etas_by_position", lambda: fnopt.rprop(1e-3, [0.5, 1.2]), TypeError,
        "eta_minus is one number", "write eta_minus=0.5, eta_plus=1.2"),
    Row("alpha", lambda: fnopt.rmsprop(1e-3, alpha=0.99), TypeError, "'alpha'", "decay=0.99"),
    Row("rho", lambda: fnopt.rmsprop(1e-3, rho=0.9), TypeError, "'rho'", "did you mean decay=0.9"),
    Row("etas", lambda: fnopt.rprop(1e-3, etas=(0.5, 1.2)), TypeError,
        "'etas'", "eta_minus=0.5, eta_plus=1.2"),
    Row("misspelt", lambda: fnopt.sgd(0.1, momentun=0.9), TypeError,
        "'momentun'", "did you mean 'momentum'"),
    Row("dampening", lambda: fnopt.sgd(0.1, dampening=0.1), TypeError,
        "'dampening'", "fnopt.compat.torch.SGD"),
    Row("lr_decay", lambda: fnopt.adagrad(0.1, lr_decay=0.1), TypeError, "lr_decay", "a schedule"),
    Row("maximize", lambda: fnopt.adam(0.1, maximize=True), TypeError, "maximize", "negate"),
    Row("foreach", lambda: fnopt.adam(0.1, foreach=True), TypeError, "foreach", "leave it out"),
    Row("fused", lambda: fnopt.adam(0.1, fused=True), TypeError, "fused", "leave it out"),
    Row("amsgrad", lambda: fnopt.adam(0.1, amsgrad=True), TypeError, "amsgrad", "fnopt.amsgrad"),
    Row("weight_decay", lambda: fnopt.adam(0.1, weight_decay=0.1), TypeError,
        "no argument 'weight_decay'", "fnopt.adamw.*fnopt.add_l2"),
    Row("missing", lambda: fnopt.adam(), TypeError, "needs learning_rate", r"fnopt.adam\(1e-3\)"),
    Row("missing_two", lambda: fnopt.cosine_decay_schedule(), TypeError,
        "needs init_value and decay_steps", r"fnopt.cosine_decay_schedule\(init_value=…"),
    Row("positions", lambda: fnopt.adam(1, 2, 3, 4, 5, 6, 7, 8), TypeError,
        "takes 6 arguments by position .* got 8", "by name"),
    Row("params_first", lambda: fnopt.adam((x for x in ()), 1e-3), TypeError,
        "learning_rate must be a number.*generator", r"tx.init\(params\)"),
    Row("params_and_rate", lambda: fnopt.compat.torch.Adam(PARAMS, lr=1e-3), TypeError,
        "Adam got lr twice", r"tx.init\(params\)"),
    Row("tree_as_rate", lambda: fnopt.adam(PARAMS), TypeError,
        "learning_rate must be a number", r"tx.init\(params\)"),
    Row("torch_model", lambda: fnopt.adam(Tensors()), TypeError,
        "must be a number", r"tx.init\(params\)"),
    Row("string", lambda: fnopt.adam("1e-3"), TypeError, "got '1e-3'", "without quotes: 0.001"),
    Row("none", lambda: fnopt.adam(1e-3, b1=None), TypeError, "got None", "the default, 0.9"),
    Row("bool", lambda: fnopt.adam(True), TypeError, r"got True \(bool\)", "must be a number"),
    Row("range", lambda: fnopt.adam(1e-3, b1=1.0), ValueError, "got 1.0", r"must lie in \[0, 1\)"),
    Row("momentum", lambda: fnopt.sgd(0.1, momentum=9), ValueError,
        r"momentum must lie in \[0, 1\), got 9", "share of the old that is kept, such as 0.9"),
    Row("glob_in_tree", lambda: fnopt.adamw(1e-3, mask={"w": "*/kernel"}), TypeError,
        r"got '\*/kernel' within a tree", r"write the glob alone: mask='\*/kernel'"),
    Row("sign", lambda: fnopt.adam(-1e-3), ValueError, "got -0.001", "give it without a sign"),
    Row("flag", lambda: fnopt.sgd(0.1, nesterov=0.9), TypeError,
        r"got 0.9 \(float\)", "must be True or False"),
    Row("integer", lambda: fnopt.galore(0.1, rank=SCHEDULE), TypeError,
        "rank must be an integer", "integer, got linear_schedule"),
    Row("array_for_integer", lambda: unfreeze_gradually(["*"], ADAM, jnp.ones(9)), TypeError,
        r"every must be an integer, got Array\(\[1.*\.\.\.", r"\(ArrayImpl\)"),
    Row("schedule_for_number", lambda: fnopt.linear_schedule(SCHEDULE, 1.0, 2), TypeError,
        "init_value must be a number", "a schedule cannot stand here"),
    Row("function_for_number", lambda: fnopt.apply_every(lambda count: 1), TypeError,
        "k must be a number", "a schedule cannot stand here"),
    Row("schedule_class", lambda: fnopt.adam(fnopt.linear_schedule), TypeError,
        "learning_rate: linear_schedule is a class", r"call it: fnopt.linear_schedule\(init_value"),
    Row("schedule_function", lambda: fnopt.adam(optax.cosine_decay_schedule), TypeError,
        "cannot be called with the count alone", r"call it first, as cosine_decay_schedule\("),
    Row("plotted_class", lambda: fnopt.plot(fnopt.linear_schedule, 9), TypeError,
        "is a class", "call it"),
    Row("plotted_text", lambda: fnopt.plot("cosine", 9), TypeError,
        "plot: 'cosine' is no schedule", r"such as fnopt.cosine_decay_schedule.*schedules\(\)"),
    Row("text_in_schedule", lambda: fnopt.join_schedules(["cosine"], []), TypeError,
        "join_schedules: schedules.*got 'cosine'", "a schedule, a number or a function"),
    Row("milestones", lambda: fnopt.piecewise_constant_schedule(0.1, [30, 60]), TypeError,
        r"must be a dict.* got \[30, 60\]", "such as {30: 0.1, 60: 0.1}"),
    Row("factor", lambda: fnopt.exponential_decay(0.1, 10, -0.5), ValueError,
        "decay_rate must lie in .*got -0.5", "without a sign"),
    Row("in_optimizer", lambda: fnopt.optimizer("adam", lr=0.1), TypeError,
        "no argument 'lr'", "learning_rate"),
    Row("assigned", lambda: setattr(ADAM, "b1", 0.8), dataclasses.FrozenInstanceError,
        "adam does not change", r"tx = tx.replace\(b1=0.8\)"),
    Row("assigned_unknown", lambda: setattr(ADAM, "lr", 0.8), dataclasses.FrozenInstanceError,
        "no argument 'lr'", "field of the class"),
    Row("replaced", lambda: ADAM.replace(lr=0.8), TypeError, "'lr'", "did you mean learning_rate"),
    Row("group", lambda: fnopt.groups(("*", {"lr": 0.1}), base=ADAM), ValueError,
        "'lr', which is no number of base", "did you mean learning_rate"),
]  # fmt: skip

OF_CLASSES = [
    Row("in_chain", lambda: fnopt.chain(fnopt.adamw), TypeError,
        "adamw is a class", r"call it: fnopt.adamw\(1e-3\)"),
    Row("in_groups", lambda: fnopt.groups(("*", fnopt.sgd)), TypeError,
        "sgd is a class", r"call it: fnopt.sgd\(0.1\)"),
    Row("as_base", lambda: fnopt.groups(("*", {}), base=fnopt.adamw), TypeError,
        "base: adamw is a class", "call it"),
    Row("in_partition", lambda: fnopt.partition({"a": fnopt.adamw}, "a"), TypeError,
        "adamw is a class", "call it"),
    Row("init", lambda: fnopt.adamw.init(PARAMS), TypeError,
        "init was called on a class", r"tx = fnopt.adam\(1e-3\), then tx.init\(params\)"),
    Row("in_optax", lambda: optax.chain(fnopt.adamw).init(PARAMS), TypeError,
        "init was called on a class", "call the class first"),
    Row("hyperparameters", lambda: fnopt.hyperparameters(fnopt.adam, ()), TypeError,
        "adam is a class", "call it"),
    Row("list", lambda: fnopt.chain([ADAM, MOMENTUM]), TypeError,
        "one by one, got a list", r"write chain\(\*transforms\)"),
    Row("generator", lambda: fnopt.chain(tx for tx in (ADAM,)), TypeError,
        "got a generator", r"chain\(\*transforms\)"),
    Row("number", lambda: fnopt.chain(ADAM, 0.1), TypeError, "got 0.1", r"fnopt.scale\(0.1\)"),
    Row("schedule", lambda: fnopt.chain(ADAM, SCHEDULE), TypeError,
        "expected a transform.*got linear_schedule", "fnopt.scale_by_schedule"),
    Row("function", lambda: fnopt.chain(optax.adam), TypeError, "got <function adam", "call it"),
    Row("assignment", lambda: fnopt.groups([("*", ADAM)]), TypeError,
        "got ", r"an assignment is a pair.*write groups\(\*assignments, …\)"),
    Row("assignments", lambda: fnopt.groups({"*": ADAM}), TypeError,
        r"got {'\*': adam", r"write groups\(\*assignments.items\(\), …\)"),
    Row("treatment", lambda: fnopt.groups(("w", "frozen"), ("*", {}), base=ADAM), TypeError,
        "got 'frozen'", "did you mean 'freeze'"),
]  # fmt: skip

OF_PARAMS = [
    Row("none", lambda: ADAM.init(None), TypeError, "init got None", r"tx.init\(params\)"),
    Row("nnx_model", lambda: fnopt.sgd(0.1).init(Normalized()), TypeError,
        r"an NNX model \(Normalized\), where model.norm.mean is no parameter but a variable of the"
        " kind BatchStat", r"pass nnx.state\(model, nnx.Param\)"),
    Row("nnx_model_with_keys", lambda: ADAM.init(nnx.Dropout(0.5, rngs=nnx.Rngs(0))), TypeError,
        "an NNX model.*of the kind Rng", r"pass nnx.state\(model, nnx.Param\)"),
    Row("nnx_model_with_arrays", lambda: ADAM.init(WithArray()), TypeError,
        "an NNX model.*model.bias is no parameter but of the type", r"pass nnx.state\(model, "),
    Row("nnx_model_of_integers", lambda: ADAM.init(OfIntegers()), TypeError,
        "an NNX model .* no floating-point arrays", r"pass nnx.state\(model, nnx.Param\)"),
    Row("nnx_state", lambda: fnopt.sgd(0.1).init(nnx.state(Normalized())), TypeError,
        r"params\['norm'\]\['mean'\] is no parameter but a variable of the kind BatchStat",
        r"nnx.state\(model, nnx.Param\)"),
    Row("nnx_keys", lambda: ADAM.init(nnx.state(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))), TypeError,
        "of the kind Rng", r"nnx.state\(model, nnx.Param\)"),
    Row("linen_module", lambda: fnopt.sgd(0.1).init(Dense()), TypeError,
        "a Linen module", r"model.init\(key, inputs\)\['params'\]"),
    Row("linen_variables", lambda: fnopt.sgd(0.1).init(VARIABLES), TypeError,
        r"params\['batch_stats'\]", r"pass variables\['params'\]"),
    Row("train_state", lambda: ADAM.init(train_state()), TypeError, "a train state", "its params"),
    Row("integers", lambda: ADAM.init({"w": jnp.arange(3)}), TypeError, r"\['w'\].*int32", "Keep"),
    Row("text", lambda: ADAM.init({"w": "x"}), TypeError, r"\['w'\] is 'x'", "Leave it out"),
    Row("objective", lambda: ADAM.init(OBJECTIVE), TypeError,
        "init got an objective, not its parameters", r"TrainState.create\(objective, tx, key\)"),
    Row("long_leaf", lambda: ADAM.init({"w": "x" * 1000}), TypeError, r"\['w'\]", "Leave it out"),
    Row("missing", lambda: ADAM.init(), TypeError,
        "adam: init: missing a required argument: 'params'", r"Call tx.init\(params\)"),
    Row("one_too_many", lambda: ADAM.init(PARAMS, jax.random.key(0)), TypeError,
        "adam: init: too many positional arguments", r"Call tx.init\(params\)"),
    Row("misspelt", lambda: ADAM.init(param=PARAMS), TypeError,
        "adam: init: missing a required argument", r"Call tx.init\(params\)"),
    Row("generator", lambda: ADAM.init(x for x in ()), TypeError, "a generator", "to arrays first"),
]  # fmt: skip

OF_UPDATES = [
    Row("swapped", lambda: ADAMW.update(ADAMW.init(PARAMS), PARAMS, PARAMS), TypeError,
        r"the gradients are a state \(\(ScaleByAdamState", r"tx.update\(grads, state, params\)"),
    Row("swapped_params", lambda: ADAMW.update(PARAMS, PARAMS, ADAMW.init(PARAMS)), TypeError,
        "the parameters are a state", r"tx.update\(grads, state, params\)"),
    Row("grads_alone", lambda: ADAMW.update(PARAMS), TypeError,
        "adamw: update: missing.*'state'", r"Call tx.update\(grads, state, params\)"),
    Row("hyperparameters_alone", lambda: fnopt.hyperparameters(ADAMW), TypeError,
        r"hyperparameters\(\) missing.*'state'", r"Call fnopt.hyperparameters\(tx, opt_state\)"),
    Row("hyperparameters_of_train_state", lambda: fnopt.hyperparameters(train_state()), TypeError,
        r"hyperparameters\(\) missing.*'state'", r"\(state.tx, state.opt_state\)"),
    Row("count_alone", lambda: ADAMW.count(), TypeError,
        "adamw: count: missing.*'state'", r"Call tx.count\(state\)"),
    Row("without_params", lambda: updated(ADAMW, params=None), ValueError,
        "needs the parameters", r"call update\(updates, state, params\)"),
    Row("other_optimizer", lambda: updated(ADAM, MOMENTUM.init(PARAMS)), ValueError,
        r"of another optimizer: it is \(TraceState, EmptyState\), but init makes \(ScaleByAdam",
        r"Call tx.init\(params\)"),
    Row("other_length", lambda: updated(ADAMW, ADAM.init(PARAMS)), ValueError,
        "of another optimizer", r"tx.init\(params\)"),
    Row("none", lambda: ADAM.update(PARAMS, None, PARAMS), ValueError,
        "it is None", r"tx.init\(params\)"),
    Row("scheduled", lambda: updated(ADAM.replace(learning_rate=SCHEDULE), ADAM.init(PARAMS)),
        ValueError, "but init makes .*ScaleByScheduleState", "a schedule instead of a number"),
    Row("of_groups", lambda: updated(ADAMW, GROUPS.init(PARAMS)), ValueError,
        "adamw.*it is GroupsState", r"tx.init\(params\)"),
    Row("to_groups", lambda: updated(GROUPS, ADAMW.init(PARAMS)), ValueError,
        "groups.*init makes GroupsState", r"tx.init\(params\)"),
    Row("other_groups", lambda: updated(OTHER_GROUPS, GROUPS.init(PARAMS)), ValueError,
        "it is GroupsState.*but init makes GroupsState", r"tx.init\(params\)"),
    Row("count", lambda: ADAM.count(GROUPS.init(PARAMS)), ValueError,
        "given to count is of another optimizer", r"tx.init\(params\)"),
    Row("rule_count", lambda: fnopt.scale_by_adam().count(ADAM.init(PARAMS)), ValueError,
        "given to count is of another optimizer", r"tx.init\(params\)"),
    Row("hyperparameters", lambda: OTHER_GROUPS.hyperparameters(GROUPS.init(PARAMS)), ValueError,
        "given to hyperparameters is of another optimizer", r"tx.init\(params\)"),
    Row("eval_params", lambda: GROUPS.eval_params(ADAMW.init(PARAMS), PARAMS), ValueError,
        "given to eval_params is of another optimizer", r"tx.init\(params\)"),
    Row("other_grads", lambda: ADAM.update({"w": PARAMS["w"]}, ADAM.init(PARAMS), PARAMS),
        ValueError, r"only params has \['b'\]", "take the gradients of all these parameters"),
    Row("other_params", lambda: ADAM.update(
            {"w": PARAMS["w"]}, ADAM.init(PARAMS), {"w": PARAMS["w"]}), ValueError,
        r"only state.mu has \['b'\]", r"for these call tx.init\(params\)"),
    Row("other_shape", lambda: ADAM.update(jax.tree.map(lambda x: x[:1], PARAMS),
            ADAM.init(PARAMS), PARAMS), ValueError,
        r"\['b'\] has shape \(1,\)", r"its parameter has shape \(2,\)"),
    Row("train_state", lambda: updated(ADAM, train_state()), ValueError,
        "is a train state", "pass its opt_state"),
    Row("donated", lambda: updated(ADAM, deleted()), RuntimeError,
        "the arrays of state are deleted", "donate_argnums.*returned"),
]  # fmt: skip

OF_RULES = [
    Row("no_formula", kept, TypeError, "kept must define", r"update_leaf\(self, grad, slots, "),
    Row("state_lacks", lambda: updated(without_state_field()), ValueError,
        r"slots \['trace'\], but State \(ScaleByLionState\) has \['mu'\]", "leave State out"),
    Row("update_alone", lambda: updated(update_alone()), TypeError,
        "must return a pair", r'return direction, {"trace": …}'),
    Row("forgotten", lambda: updated(forgets_a_slot()), ValueError,
        r"next slots of updates\['b'\] lack \['trace'\]", 'return {"trace": …}'),
    Row("unknown", lambda: updated(adds_a_slot()), ValueError,
        r"have \['nu'\], which init_leaf does not", 'return {"trace": …}'),
    Row("reshaped", lambda: updated(reshapes_a_slot()), ValueError,
        r"next slot 'trace' of updates\['b'\] has shape \(2,\)", r"before.*has shape \(\)"),
    Row("float_slot", lambda: updated(float_slot()), TypeError,
        r"returns 0.0 \(float\) as 'size'", r"jnp.asarray\(0.0, jnp.float32\)"),
    Row("array_slot", lambda: updated(array_slot()), TypeError,
        "init_leaf must return a dict", r'{"trace": zeros\(param\)}'),
    Row("uncounted", lambda: updated(uncounted()), TypeError,
        "ctx.t is None", "counts = True in the class"),
    Row("without_params", lambda: updated(without_params(), params=None), TypeError,
        "param is None", "needs_params = True in the class"),
    Row("own_init", lambda: own_init(0.1), dataclasses.FrozenInstanceError,
        "no argument 'rate'", "rate: Scalar = 0.1, instead of an own __init__"),
    Row("own_init_of_field", lambda: own_init_of_field(0.1), dataclasses.FrozenInstanceError,
        "decay is a field", "needs no __init__"),
    Row("unannotated", lambda: unannotated(rate=0.2), TypeError,
        "a class attribute", "write rate: Scalar"),
    Row("annotated", lambda: type("r", (Rule,), {"__annotations__": {"rate": float}}), TypeError,
        "r.rate is annotated float", r"as Scalar, Rate, Decay.*Static\[float\]"),
    Row("state_is_a_dict", lambda: type("r", (kept,), {"State": {"trace": 1}}), TypeError,
        "r.State must be a named tuple class", "leave it out"),
    Row("joint_no_formula", together, TypeError, "must define", r"update_leaves\(self, grads"),
    Row("joint_shares_another", lambda: updated(shares_another()), ValueError,
        r"init_shared returns \['sum'\]", r"shared names \['total'\]; give both the same"),
    Row("joint_shares_a_float", lambda: updated(shares_a_float()), TypeError,
        "returns 0.0", "jnp.asarray"),
    Row("joint_directions_alone", lambda: updated(directions_alone()), TypeError,
        "must return three things", "directions, the next slots and what is shared"),
    Row("joint_forgets", lambda: updated(forgets_the_shared()), ValueError,
        "what is shared next", r"must have \['total'\]"),
    Row("joint_forgets_a_leaf", lambda: updated(forgets_a_leaf()), ValueError,
        "got 1", "one for each of the 2 leaves"),
    Row("no_parts", without_parts, TypeError, "must define", r"parts\(self\)"),
    Row("one_part", lambda: updated(one_part()), TypeError,
        "must return a tuple of transforms, got scale", r"\(transform,\), with a comma"),
    Row("class_as_part", lambda: updated(a_class_as_part()), TypeError,
        "in what parts returns: sgd is a class", r"call it: fnopt.sgd\(0.1\)"),
    Row("wrapper_no_methods", lambda: without_methods(ADAM), TypeError,
        "must define", r"init\(self, params\) and update"),
    Row("wrapper_no_inner", lambda: without_wrapped().plan(PARAMS), TypeError,
        "no field that is a transform", "write inner: Inner"),
    Row("wrapper_no_state", lambda: updated(without_state(ADAM)), TypeError,
        "must define State", "field 'inner_state'"),
    Row("wrapper_inner_state", lambda: updated(inner_state_alone(ADAM)), ValueError,
        "init makes .*, which update does not take", "init must return State"),
    Row("wrapper_of_class", lambda: inner_state_alone(fnopt.adam), TypeError,
        "inner: adam is a class", "call it"),
    Row("no_init", without_init, TypeError, "must define init and update", "as a Rule"),
    Row("no_at", without_formula, TypeError, "must define", r"at\(self, count\)"),
]  # fmt: skip

TABLE = {
    "calls": OF_CALLS,
    "classes": OF_CLASSES,
    "params": OF_PARAMS,
    "updates": OF_UPDATES,
    "rules": OF_RULES,
}
ROWS = [
    pytest.param(row, id=f"{topic}-{row.name}") for topic, rows in TABLE.items() for row in rows
]


@pytest.fixture(scope="module", autouse=True)
def filtering():
    """jax's option as users have it: frames of libraries are left out."""
    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "auto")
    yield
    jax.config.update("jax_traceback_filtering", before)


@pytest.mark.parametrize("row", ROWS)
def test_a_mistake_is_answered(row: Row):
    with pytest.raises(row.error) as refusal:
        row.call()
    text = str(refusal.value)
    assert re.search(row.cause, text), text
    assert re.search(row.cure, text), text
    assert len(text) <= 400 and "\n" not in text
    assert type(refusal.value) is row.error
    lines = "".join(traceback.format_exception(refusal.value)).count("\n")
    assert lines <= 24, lines


def test_names_are_their_own():
    names = [param.id for param in ROWS]
    assert len(set(names)) == len(names)


def test_what_looks_alike_is_accepted():
    """Beside the mistakes: variables that groups freeze, a chain of nothing, flags of NumPy."""
    frozen = fnopt.groups(("batch_stats/*", "freeze"), ("*", {}), base=fnopt.sgd(0.1))
    fnopt.chain(frozen, fnopt.scale(0.5)).init(VARIABLES)
    fnopt.sgd(0.1).init({"params": PARAMS})
    fnopt.sgd(0.1).init({"params": PARAMS, "own": PARAMS})
    ADAM.init(nnx.state(Normalized(), nnx.Param))
    assert fnopt.adamw(0.1, mask=["*/kernel", "w"]) == fnopt.adamw(0.1, mask=("*/kernel", "w"))
    listed = fnopt.groups((["w"], 0.1), ("*", {}), base=ADAM)
    assert listed == fnopt.groups((("w",), 0.1), ("*", {}), base=ADAM)
    assert fnopt.chain().update(PARAMS, ())[0] == PARAMS
    assert fnopt.sgd(0.1, nesterov=jnp.bool_(True).item()).nesterov is True
    assert fnopt.adam(lambda count: 0.1 / (1 + count)).learning_rate(0) == pytest.approx(0.1)


INTEGERS = [
    (name, field, spec.least)
    for name, make in exported().items()
    for field, spec in make._specs.items()
    if isinstance(spec, Integer)
]


@pytest.mark.parametrize(("name", "field", "least"), INTEGERS)
def test_an_integer_out_of_its_range_is_refused_where_it_is_given(name, field, least):
    make = getattr(fnopt, name)
    given = {**make.example, **({"learning_rate": 0.1} if "learning_rate" in make._fields else {})}
    given |= {"inner": fnopt.sgd(0.1)} if "inner" in make._fields else {}
    for value, says in (
        (least - 1, f"at least {least}"),
        (1.5, "an integer"),
        (True, "an integer"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"{name}: {field} must be {says}"):
            make(**given | {field: value})


def test_there_are_such_integers():
    assert len(INTEGERS) > 30
