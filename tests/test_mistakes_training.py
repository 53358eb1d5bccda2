"""Mistakes of first contact with training: each is answered with its cause and its cure.

A row has the call, the type of the error, and words of the cause and of the cure. Every message is
short, and no traceback longer than a screen.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import tempfile
import traceback
import types
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

import fnopt
import fnopt.train.models
from fnopt.data import Arrays, Batches, split
from fnopt.initialize import diagnose, load_pretrained, lsuv, save_pretrained
from fnopt.train import (
    DataError,
    NonFiniteError,
    Objective,
    TrainState,
    accuracy,
    averaged,
    early_stopping,
    ema_of_params,
    evaluate,
    fit,
    make_train_step,
    objective,
    predict,
    restore,
    train_step,
)

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

CROSS_ENTROPY = "softmax_cross_entropy_with_integer_labels"
FEATURES, CLASSES = 8, 4
X = np.random.default_rng(0).normal(size=(12, FEATURES)).astype(np.float32)
Y = np.arange(12) % CLASSES
DATA = X, Y
TX = fnopt.adamw(1e-3)


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(FEATURES, 6, rngs=rngs)
        self.head = nnx.Linear(6, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(nnx.relu(self.first(x)))


class LinenNet(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return linen.Dense(CLASSES, name="head")(x)


class Noisy(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return linen.Dense(CLASSES)(x + jax.random.normal(self.make_rng("noise"), x.shape))


class OfMode(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array, mode: str) -> jax.Array:
        return linen.Dense(CLASSES)(x)


MODEL = Net(nnx.Rngs(0))


def linear(params: Any, x: Any) -> Any:
    return x @ params["w"]


@functools.cache
def task() -> Objective:
    params = {"w": jnp.ones((FEATURES, CLASSES))}
    return objective(linear, CROSS_ENTROPY, params=params)


@functools.cache
def state() -> TrainState:
    return TrainState.create(task(), TX, 0)


@functools.cache
def result() -> Any:
    return fit(task(), TX, DATA, epochs=1, batch_size=4)


def run(data: Any = DATA, of: Any = None, tx: Any = TX, **options: Any) -> Any:
    return fit(of or task(), tx, data, **{"epochs": 1, "batch_size": 4} | options)


def consumed() -> TrainState:
    old = TrainState.create(task(), TX, 0)
    make_train_step(task())(old, DATA)
    return old


def squared(**options: Any) -> Objective:
    return objective(
        linear, "squared_error", params={"w": jnp.ones((FEATURES, CLASSES))}, **options
    )


def of_loss(loss: Any) -> Any:
    return run(of=objective(linear, loss, params={"w": jnp.ones((FEATURES, CLASSES))}))


def dense(inputs: Any) -> Any:
    return evaluate(nnx_task(), TrainState.create(nnx_task(), TX, 0), (inputs, Y))


@functools.cache
def nnx_task() -> Objective:
    return objective(MODEL, CROSS_ENTROPY)


def convolution(images: Any) -> Any:
    net = nnx.Sequential(nnx.Conv(1, 2, (3, 3), rngs=nnx.Rngs(0)))
    of = objective(net, "squared_error")
    return evaluate(of, TrainState.create(of, TX, 0), (images, images))


def linen_head(inputs: Any) -> Any:
    of = objective(LinenNet(), CROSS_ENTROPY)
    return evaluate(of, TrainState.create(of, TX, 0, DATA), (inputs, Y))


def equinox_head() -> Any:
    eqx = pytest.importorskip("equinox")
    of = objective(eqx.nn.MLP(FEATURES, CLASSES, 6, 1, key=jax.random.key(0)), CROSS_ENTROPY)
    return evaluate(of, TrainState.create(of, TX, 0), (X[:, :5], Y))


def torch() -> Any:
    return pytest.importorskip("torch")


def torch_optimizer() -> Any:
    return torch().optim.AdamW([torch().zeros(1, requires_grad=True)])


def torch_data() -> Any:
    return torch().utils.data.TensorDataset(torch().tensor(X), torch().tensor(Y))


def holed(array: Any, *rows: int) -> Any:
    array = np.array(array, np.float32)
    array[list(rows), 0] = np.nan
    return array


class Row(NamedTuple):
    call: Any
    error: type[Exception]
    cause: str
    cure: str


ROWS = {
    # What is to be minimized
    "model": Row(
        lambda: run(of=MODEL),
        TypeError,
        r"objective is a Flax NNX model \(Net\)",
        r"objective\(model, loss\)",
    ),
    "linen module": Row(
        lambda: run(of=LinenNet()),
        TypeError,
        "objective is a Flax Linen module",
        r"objective\(model, loss\)",
    ),
    "function": Row(
        lambda: run(of=linear),
        TypeError,
        "objective is the function linear",
        r"objective\(function, params=…\)",
    ),
    "class of model": Row(
        lambda: run(of=Net), TypeError, "objective is the class Net", r"objective\(Net\(…\), loss\)"
    ),
    "torch module": Row(
        lambda: run(of=torch().nn.Linear(8, 4)),
        TypeError,
        "objective is a PyTorch module",
        "write the model in Flax.*fnopt.pretrained.load_pretrained loads",
    ),
    "model, evaluate": Row(
        lambda: evaluate(MODEL, state(), DATA),
        TypeError,
        "objective is a Flax NNX model",
        r"objective\(model, loss\)",
    ),
    "model, make_train_step": Row(
        lambda: make_train_step(MODEL),
        TypeError,
        "objective is a Flax NNX model",
        r"objective\(model, loss\)",
    ),
    "model, create": Row(
        lambda: TrainState.create(MODEL, TX, 0),
        TypeError,
        "objective is a Flax NNX model",
        r"objective\(model, loss\)",
    ),
    "objective of class": Row(
        lambda: objective(nnx.Linear, "squared_error"),
        TypeError,
        "Linear is a class",
        r"an instance of it, Linear\(…\)",
    ),
    "objective of torch": Row(
        lambda: objective(torch().nn.Linear(8, 4), "squared_error"),
        TypeError,
        "got a PyTorch module",
        "write it in one of them.*fnopt.pretrained.load_pretrained loads",
    ),
    "objective of objective": Row(
        lambda: objective(task(), "squared_error"), TypeError, "got an objective", "ready for fit"
    ),
    "no loss": Row(
        lambda: objective(MODEL), TypeError, "needs a loss", r"loss\(outputs, targets\) or its name"
    ),
    "no params": Row(
        lambda: objective(linear, "l2_loss"), TypeError, "needs params=", "at the start"
    ),
    "nnx without parameters": Row(
        lambda: run(of=objective(nnx.Dropout(0.1, rngs=nnx.Rngs(0)), "squared_error")),
        ValueError,
        "has no parameters to train",
        "of type nnx.Param",
    ),
    "params of nnx": Row(
        lambda: objective(MODEL, "l2_loss", params={}),
        TypeError,
        "params= is for a function",
        "has its own",
    ),
    "params of another module": Row(
        lambda: run(
            of=objective(LinenNet(), CROSS_ENTROPY, params={"head": {"kernel": np.ones((9, 4))}})
        ),
        ValueError,
        r"params.head.bias is missing",
        r"give what module.init\(key, inputs\) returns",
    ),
    "argument of a call": Row(
        lambda: objective(OfMode(), CROSS_ENTROPY),
        TypeError,
        "missing a required argument: 'mode'",
        "a default value; a flag of training must be called one of train",
    ),
    "random stream": Row(
        lambda: run(of=objective(Noisy(), CROSS_ENTROPY)),
        ValueError,
        "random stream 'noise'",
        r"rngs=\('dropout', 'noise'\)",
    ),
    "key as inputs": Row(
        lambda: objective(MODEL, "squared_error", inputs="image", targets=lambda b: b["label"]),
        TypeError,
        r"inputs must be a function of a batch, got 'image' \(str\)",
        r"inputs=lambda batch: batch\['image'\]",
    ),
    "number of targets": Row(
        lambda: objective(MODEL, "squared_error", targets=1),
        TypeError,
        "targets must be a function of a batch, got 1",
        r"targets=lambda batch: batch\[1\]",
    ),
    "weight as number": Row(
        lambda: objective(MODEL, "squared_error", weights=0.5),
        TypeError,
        "weights must be a function of a batch, got 0.5",
        r"weights=lambda batch: batch\[…\]",
    ),
    # Losses and metrics
    "torch's name": Row(
        lambda: objective(MODEL, "cross_entropy"),
        ValueError,
        "optax has no loss 'cross_entropy'",
        f"'{CROSS_ENTROPY}' takes integer labels",
    ),
    "mse": Row(
        lambda: objective(MODEL, "MSELoss"),
        ValueError,
        "no loss 'MSELoss'",
        "the same is 'squared_error'",
    ),
    "bce": Row(
        lambda: objective(MODEL, "bce"), ValueError, "no loss 'bce'", "sigmoid_binary_cross_entropy"
    ),
    "l1": Row(
        lambda: objective(MODEL, "l1_loss"),
        ValueError,
        "no loss 'l1_loss'",
        r"abs\(outputs - targets\)",
    ),
    "keras' name": Row(
        lambda: objective(MODEL, "sparse_categorical_crossentropy"),
        ValueError,
        "no loss",
        f"the same is '{CROSS_ENTROPY}'",
    ),
    "loss with a slip": Row(
        lambda: objective(MODEL, "square_error"),
        ValueError,
        "no loss",
        "did you mean 'squared_error'",
    ),
    "accuracy as loss": Row(
        lambda: objective(MODEL, accuracy),
        TypeError,
        "better when it is larger",
        r"in metrics=\[…\]",
    ),
    "accuracy's name as loss": Row(
        lambda: objective(MODEL, "accuracy"), ValueError, "no gradient", r"metrics=\['accuracy'\]"
    ),
    "torch's loss": Row(
        lambda: objective(MODEL, torch().nn.CrossEntropyLoss()),
        TypeError,
        "CrossEntropyLoss of PyTorch",
        CROSS_ENTROPY,
    ),
    "torch's function": Row(
        lambda: objective(MODEL, torch().nn.functional.mse_loss),
        TypeError,
        "mse_loss of PyTorch",
        "squared_error",
    ),
    "number as loss": Row(
        lambda: objective(MODEL, 3),
        TypeError,
        r"got 3 \(int\)",
        r"loss\(outputs, targets\) or the name",
    ),
    "loss of three": Row(
        lambda: objective(MODEL, lambda model, x, y: 0.0),
        TypeError,
        "called as",
        r"takes \(model, x, y\)",
    ),
    "loss returns nothing": Row(
        lambda: of_loss(lambda o, t: None), TypeError, "returned None", "is there no return"
    ),
    "loss returns a pair": Row(
        lambda: of_loss(lambda o, t: (o.mean(-1), {})),
        TypeError,
        "returned 2 items",
        "has_aux=True",
    ),
    "loss without gradient": Row(
        lambda: of_loss(lambda o, t: jnp.argmax(o, -1) == t),
        TypeError,
        "loss is bool",
        "no gradient; return floating-point",
    ),
    "metric with a slip": Row(
        lambda: objective(MODEL, CROSS_ENTROPY, metrics=["acuracy"]),
        ValueError,
        "no metric 'acuracy'",
        "did you mean 'accuracy'",
    ),
    "metric twice": Row(
        lambda: objective(MODEL, CROSS_ENTROPY, metrics=["accuracy", accuracy]),
        ValueError,
        "two metrics are called 'accuracy'",
        "names of their own",
    ),
    "metric without a name": Row(
        lambda: objective(MODEL, CROSS_ENTROPY, metrics=[lambda o, t: t]),
        TypeError,
        "a lambda in metrics has no name",
        r"metrics=\{'name': function\}",
    ),
    "metrics is a number": Row(
        lambda: objective(MODEL, CROSS_ENTROPY, metrics=3),
        TypeError,
        r"metrics is 3 \(int\)",
        "metrics=",
    ),
    "metric is a number": Row(
        lambda: objective(MODEL, CROSS_ENTROPY, metrics={"a": 3}),
        TypeError,
        "metric 'a' is 3",
        "give a function",
    ),
    # Optimizers
    "class of optimizer": Row(
        lambda: run(tx=fnopt.adamw),
        TypeError,
        "tx is the class adamw",
        r"call the class, fnopt.adamw\(learning_rate\)",
    ),
    "optax's function": Row(
        lambda: run(tx=optax.adam), TypeError, "tx is the function adam", "call it"
    ),
    "partial": Row(
        lambda: run(tx=functools.partial(fnopt.sgd, 0.1)), TypeError, "a partial of sgd", "call it"
    ),
    "name of an optimizer": Row(
        lambda: run(tx="Adam"),
        TypeError,
        "tx is 'Adam'",
        r"fnopt.optimizer\('adam', learning_rate\)",
    ),
    "rate": Row(
        lambda: run(tx=0.1), TypeError, "tx is 0.1", "a learning rate is an argument of one"
    ),
    "schedule": Row(
        lambda: run(tx=fnopt.cosine_decay_schedule(0.1, 9)),
        TypeError,
        "tx is a schedule",
        "a learning rate is an argument of one",
    ),
    "torch optimizer": Row(
        lambda: run(tx=torch_optimizer()),
        TypeError,
        "tx is a PyTorch optimizer",
        r"fnopt.adamw\(learning_rate\)",
    ),
    "no optimizer": Row(lambda: run(tx=None), TypeError, "there is no optimizer", "give one"),
    "optimizer, create": Row(
        lambda: TrainState.create(task(), fnopt.sgd, 0),
        TypeError,
        "the class sgd",
        "call the class",
    ),
    "optimizer, replace": Row(
        lambda: state().replace(tx=fnopt.sgd), TypeError, "the class sgd", "call the class"
    ),
    "another optimizer": Row(
        lambda: state().replace(tx=fnopt.sgd(0.1)),
        ValueError,
        "the state has the slots of adamw",
        r"opt_state=tx.init\(state.params\)",
    ),
    "another optimizer in groups": Row(
        lambda: state().replace(tx=fnopt.groups(("w", fnopt.sgd(0.1)))),
        ValueError,
        "the state has the slots of adamw",
        r"opt_state=tx.init\(state.params\)",
    ),
    # The order of arguments
    "optimizer and data": Row(
        lambda: fit(task(), DATA, TX, epochs=1),
        TypeError,
        "tx and data are swapped",
        "the optimizer comes first",
    ),
    "optimizer and objective": Row(
        lambda: fit(TX, task(), DATA, epochs=1),
        TypeError,
        "objective is an optimizer",
        "the objective comes first",
    ),
    "as in keras": Row(
        lambda: fit(X, Y, epochs=1),
        TypeError,
        "missing 1 required positional argument: 'data'",
        r"Call fit\(objective, tx, data",
    ),
    "data instead of optimizer": Row(
        lambda: fit(task(), X, Y, epochs=1),
        TypeError,
        r"tx is an array of shape \(12, 8\)",
        "data are one argument",
    ),
    "two arguments of data": Row(
        lambda: fit(task(), TX, X, Y, epochs=1),
        TypeError,
        "takes 3 positional arguments but 4",
        r"data are one argument, \(inputs, targets\)",
    ),
    "no epochs": Row(
        lambda: fit(task(), TX, DATA),
        TypeError,
        "missing 1 required keyword-only argument: 'epochs'",
        "Call fit",
    ),
    "state and data": Row(
        lambda: evaluate(task(), DATA, state()),
        TypeError,
        "state is a tuple of 2 items",
        "in the wrong order",
    ),
    "state and objective": Row(
        lambda: evaluate(state(), task(), DATA),
        TypeError,
        "objective is a train state",
        "the objective comes first",
    ),
    "optimizer as data": Row(
        lambda: evaluate(task(), state(), TX),
        TypeError,
        "data is an optimizer",
        "in the wrong order",
    ),
    "two arguments of data, evaluate": Row(
        lambda: evaluate(task(), state(), X, Y),
        TypeError,
        r"batch_size is an array of shape \(12,\)",
        r"data are one argument, \(inputs, targets\)",
    ),
    "two arguments of data, predict": Row(
        lambda: predict(task(), state(), X, Y),
        TypeError,
        r"batch_size is an array of shape \(12,\)",
        "data are one argument",
    ),
    "two arguments of Arrays": Row(
        lambda: Arrays(X, Y),
        TypeError,
        r"^Arrays\(\) takes 2 positional arguments but 3",
        r"Call Arrays\(\(inputs, targets\)\)",
    ),
    "no batch": Row(
        lambda: make_train_step(task())(state()),
        TypeError,
        r"^step\(\) missing 1",
        r"Call step\(state, batch\)",
    ),
    "batch of two": Row(
        lambda: make_train_step(task())(state(), X, Y),
        TypeError,
        "takes 2 positional arguments but 3",
        "a batch is one argument",
    ),
    "optimizer of a step": Row(
        lambda: make_train_step(task(), TX),
        TypeError,
        "takes 1 positional argument but 2",
        "the optimizer is in the state",
    ),
    "option of a step": Row(
        lambda: make_train_step(task(), acumulate=2),
        TypeError,
        "no option 'acumulate'",
        "did you mean 'accumulate'",
    ),
    # Train states
    "optimizer and state": Row(
        lambda: run(state=state()),
        TypeError,
        r"either an optimizer or a state .*fit\(objective, None, data, state=state, epochs=…\)",
        r"another optimizer, state.replace\(tx=tx, opt_state=tx.init\(state.params\)\)",
    ),
    "params, evaluate": Row(
        lambda: evaluate(task(), state().params, DATA),
        TypeError,
        "state is a dict",
        r"TrainState.create\(objective, tx, key\)",
    ),
    "params, step": Row(
        lambda: make_train_step(task())(state().params, DATA),
        TypeError,
        "state is a dict",
        r".replace\(params=…\)",
    ),
    "params, train_step": Row(
        lambda: train_step(task(), state().params, DATA),
        TypeError,
        "state is a dict",
        r".replace\(params=…\)",
    ),
    "params, restore": Row(
        lambda: restore("nowhere", state().params),
        TypeError,
        "state is a dict",
        r".replace\(params=…\)",
    ),
    "params, fit": Row(
        lambda: run(tx=None, state=state().params),
        TypeError,
        "state is a dict",
        r".replace\(params=…\)",
    ),
    "nnx params": Row(
        lambda: evaluate(task(), nnx.state(MODEL, nnx.Param), DATA),
        TypeError,
        "parameters of a Flax NNX model",
        r".replace\(params=…\)",
    ),
    "result, evaluate": Row(
        lambda: evaluate(task(), result(), DATA),
        TypeError,
        "the result of a run",
        "give its .state",
    ),
    "result, fit": Row(
        lambda: run(tx=None, state=result()), TypeError, "the result of a run", "give its .state"
    ),
    "result, step": Row(
        lambda: make_train_step(task())(result(), DATA),
        TypeError,
        "the result of a run",
        "give its .state",
    ),
    "consumed, step": Row(
        lambda: make_train_step(task())(consumed(), DATA),
        ValueError,
        "was consumed by an earlier step",
        "the state that the step returned",
    ),
    "consumed, fit": Row(
        lambda: run(tx=None, state=consumed()),
        ValueError,
        "was consumed by an earlier step",
        "the state that the step returned",
    ),
    "consumed, evaluate": Row(
        lambda: evaluate(task(), consumed(), DATA),
        ValueError,
        "was consumed by an earlier step",
        "the state that the step returned",
    ),
    "assignment": Row(
        lambda: setattr(state(), "step", 5),
        AttributeError,
        "state.step cannot be assigned",
        r"state.replace\(step=…\)",
    ),
    "unknown field": Row(
        lambda: state().replace(parameters=1),
        TypeError,
        "no field 'parameters'",
        "did you mean 'params'",
    ),
    "metric of a history": Row(
        lambda: result().history.loss,
        AttributeError,
        "no attribute 'loss'",
        r"history\[name\].*loss",
    ),
    "name of a metric with a slip": Row(
        lambda: result().history["los"],
        KeyError,
        "^'los' was not recorded",
        r"did you mean 'loss'\? There are .*learning_rate",
    ),
    "metric of no name": Row(
        lambda: result().history["auc"], KeyError, "^'auc' was not recorded", "; there are epoch"
    ),
    "state of another model": Row(
        lambda: evaluate(nnx_task(), state(), DATA),
        ValueError,
        "parameters of another model .only the model has first",
        r"TrainState.create\(objective, tx, key\)",
    ),
    "state of another module": Row(
        lambda: evaluate(objective(LinenNet(), CROSS_ENTROPY), state(), DATA),
        ValueError,
        "parameters of another model",
        r"TrainState.create\(objective, tx, key",
    ),
    "params, predict": Row(
        lambda: predict(task(), state().params, X),
        TypeError,
        "state is a dict",
        r".replace\(params=…\)",
    ),
    "params, averaged": Row(
        lambda: averaged(task(), state().params),
        TypeError,
        "state is a dict",
        r".replace\(params=…\)",
    ),
    "params of a result": Row(
        lambda: result().params, AttributeError, "no attribute 'params'", "result.state.params"
    ),
    "metric of a result": Row(
        lambda: result().loss, AttributeError, "no attribute 'loss'", r"result.history\['loss'\]"
    ),
    "item of a result": Row(
        lambda: result()["loss"], TypeError, "no items", r"result.history\['loss'\]"
    ),
    # Numbers and keys
    "learning rate of fit": Row(
        lambda: run(lr=0.1),
        TypeError,
        "unexpected keyword argument 'lr'",
        "an argument of the optimizer",
    ),
    "verbose": Row(
        lambda: run(verbose=0),
        TypeError,
        "unexpected keyword argument 'verbose'",
        "progress=False is quiet",
    ),
    "seed": Row(
        lambda: run(seed=0), TypeError, "unexpected keyword argument 'seed'", "called key="
    ),
    "no such option": Row(
        lambda: run(flux=0),
        TypeError,
        "unexpected keyword argument 'flux'",
        r"help\(fnopt.train.fit\)",
    ),
    "shuffle": Row(
        lambda: run(shuffle=False),
        TypeError,
        "unexpected keyword argument 'shuffle'",
        r"fnopt.data.Arrays\(data, shuffle=False\)",
    ),
    "rate of a run": Row(
        lambda: run(learning_rate=0.1),
        TypeError,
        "unexpected keyword argument 'learning_rate'",
        r"an argument of the optimizer, fnopt.adamw\(learning_rate\)",
    ),
    "folder as log": Row(
        lambda: run(log=tempfile.gettempdir()),
        IsADirectoryError,
        "log is the folder",
        r"a file in it, such as .*run.txt",
    ),
    "dtype as precision": Row(
        lambda: run(precision=jnp.bfloat16),
        TypeError,
        "precision must be a name such as 'bfloat16'",
        "give precision='bfloat16'$",
    ),
    "number as precision": Row(
        lambda: run(precision=16), TypeError, "got 16$", "a name such as 'bfloat16'"
    ),
    "share of patience": Row(
        lambda: early_stopping(patience=2.5),
        ValueError,
        "patience is a number of evaluations",
        "an integer such as 3; got 2.5",
    ),
    "epochs": Row(
        lambda: run(epochs="10"), TypeError, "epochs must be an integer", r"got '10' \(str\)"
    ),
    "epochs as float": Row(
        lambda: run(epochs=10.0), TypeError, "epochs must be an integer", r"got 10.0 \(float\)"
    ),
    "batch_size 0": Row(
        lambda: run(batch_size=0),
        ValueError,
        "batch_size must be from 1 to the 12 examples",
        "None for all",
    ),
    "batch_size as text": Row(
        lambda: run(batch_size="32"),
        TypeError,
        "batch_size must be an integer",
        r"got '32' \(str\)",
    ),
    "key as float": Row(
        lambda: run(key=0.5),
        TypeError,
        "key must be a PRNG key or an integer, got 0.5",
        "an integer such as 0",
    ),
    "key as rngs": Row(
        lambda: run(key=nnx.Rngs(0)),
        TypeError,
        "got an object of type Rngs",
        "an integer such as 0",
    ),
    "two keys": Row(
        lambda: run(key=jax.random.split(jax.random.key(0))),
        TypeError,
        "got 2 keys",
        "an integer such as 0",
    ),
    "no key": Row(
        lambda: TrainState.create(task(), TX),
        TypeError,
        "missing 1 required positional argument: 'key'",
        "Call TrainState.create",
    ),
    "early stopping as number": Row(
        lambda: run(early_stopping=5),
        TypeError,
        r"early_stopping must be .* got 5",
        r"early_stopping=early_stopping\(patience=5\)",
    ),
    "early stopping as flag": Row(
        lambda: run(early_stopping=True),
        TypeError,
        "got True",
        r"early_stopping=early_stopping\(patience=5\)",
    ),
    "class of early stopping": Row(
        lambda: run(early_stopping=early_stopping),
        TypeError,
        "got the class early_stopping",
        r"early_stopping=early_stopping\(patience=5\)",
    ),
    "class of average": Row(
        lambda: run(average=ema_of_params),
        TypeError,
        "average is the class ema_of_params",
        r"call the class, average=ema_of_params\(…\)",
    ),
    # Callbacks
    "on_epoch of one argument": Row(
        lambda: run(on_epoch=lambda record: None),
        TypeError,
        r"on_epoch is called with \(state, record\)",
        r"takes \(record\).*Give it these two arguments",
    ),
    "on_step of three": Row(
        lambda: run(on_step=lambda step, metrics, state: None),
        TypeError,
        r"on_step is called with \(step, metrics\)",
        "missing a required argument: 'state'. Give it these two",
    ),
    "method of one argument": Row(
        lambda: run(callbacks=types.SimpleNamespace(on_epoch=[].append)),
        TypeError,
        r"on_epoch is called with \(state, record\), but append takes",
        "Give it these two arguments",
    ),
    "on_epoch as flag": Row(
        lambda: run(on_epoch=True),
        TypeError,
        "on_epoch must be a function or a list of functions",
        r"got True \(bool\); it is called with \(state, record\)",
    ),
    # Data
    "no data": Row(lambda: run(None), TypeError, "data is None", "data are arrays such as"),
    "name of data": Row(
        lambda: run("mnist"), TypeError, r"data is 'mnist' \(str\)", r"fnopt.data.load\(name\)"
    ),
    "number": Row(lambda: run(3.0), TypeError, "data is 3.0", "data are arrays such as"),
    "lists": Row(
        lambda: run((X.tolist(), Y.tolist())),
        TypeError,
        r"data\[0\] is a list of Python numbers",
        r"give np.array\(…\)",
    ),
    "a list of lists": Row(
        lambda: run([X.tolist(), Y.tolist()]),
        TypeError,
        "data is a list of 2 items",
        r"np.array\(inputs\), np.array\(targets\)",
    ),
    "list of inputs": Row(
        lambda: evaluate(task(), state(), X.tolist()),
        TypeError,
        "data is a list of 12 items",
        r"np.array\(…\)",
    ),
    "lists, step": Row(
        lambda: make_train_step(task())(state(), (X.tolist(), Y.tolist())),
        TypeError,
        r"batch\[0\] is a list of Python numbers",
        r"give np.array\(…\)",
    ),
    "list of examples": Row(
        lambda: run(list(zip(X, Y, strict=True)) * 9),
        TypeError,
        "data is a list of 108 items",
        "stack their arrays",
    ),
    "list of batches": Row(
        lambda: run([DATA] * 3),
        TypeError,
        "data is a list of 3 items",
        r"fnopt.data.Batches\(list\)",
    ),
    "torch dataset": Row(
        lambda: run(torch_data()),
        TypeError,
        "TensorDataset",
        r"torch.utils.data.DataLoader\(dataset",
    ),
    "three items": Row(
        lambda: run((X, Y, Y)), TypeError, "a batch is a tuple of 3 items", "inputs=lambda batch"
    ),
    "dict": Row(
        lambda: run({"x": X, "y": Y}),
        TypeError,
        r"a batch is a dict of \['x', 'y'\]",
        "inputs=lambda batch",
    ),
    "inputs alone": Row(
        lambda: run(X), TypeError, r"a batch is an array of shape \(4, 8\)", "inputs, targets"
    ),
    "lengths": Row(
        lambda: run((X, Y[:5])),
        ValueError,
        "must have the same number of examples",
        r"data\[0\]: 12, data\[1\]: 5",
    ),
    "no examples": Row(lambda: run((X[:0], Y[:0])), ValueError, "above 0", r"data\[0\]: 0"),
    "many lengths": Row(
        lambda: split([np.ones(n) for n in range(1, 99)], 0.5),
        ValueError,
        "the same number of examples",
        "and 94 more",
    ),
    "objects": Row(
        lambda: run((X.astype(object), Y)),
        TypeError,
        "an array of Python objects",
        r"np.asarray\(x, np.float32\)",
    ),
    "text": Row(
        lambda: run((X, Y.astype(str))), TypeError, r"data\[1\] is text", "encode it as integers"
    ),
    "iterator for two epochs": Row(
        lambda: run(iter([DATA, DATA]), epochs=2),
        ValueError,
        "data is an iterator, which can be read once only, but there are 2 epochs",
        "pass a function that returns it, or what it iterates over",
    ),
    "iterator in Batches": Row(
        lambda: run(Batches(iter([DATA, DATA])), epochs=2),
        ValueError,
        "data is an iterator",
        "pass a function that returns it",
    ),
    # Shapes
    "width, nnx": Row(
        lambda: dense(X[:, :5]),
        ValueError,
        r"layer first \(Linear with a kernel of shape \(8, 6\)\) received .* shape \(12, 5\)",
        "needs 8 features along the last axis",
    ),
    "width, linen": Row(
        lambda: linen_head(X[:, :5]),
        ValueError,
        r"layer head \(Dense .*inputs of shape \(12, 5\)",
        "needs 8 features along the last axis",
    ),
    "width, equinox": Row(
        equinox_head,
        ValueError,
        r"layer layers.0 \(Linear .*inputs of shape \(5,\)",
        "needs 8 features along the last axis",
    ),
    "images": Row(
        lambda: dense(X.reshape(12, 2, 4)),
        ValueError,
        r"inputs of shape \(12, 2, 4\)",
        r"flatten the inputs, x.reshape\(len\(x\), -1\)",
    ),
    "no channels": Row(
        lambda: convolution(np.ones((12, 5, 5), np.float32)),
        ValueError,
        r"layers.0 \(Conv",
        r"images\[..., None\]",
    ),
    # Labels
    "float labels": Row(
        lambda: run((X, Y.astype(np.float32))),
        TypeError,
        "needs integer labels.*they are float32",
        r"labels.astype\('int32'\)",
    ),
    "bool labels": Row(
        lambda: run((X, Y > 1)),
        TypeError,
        "needs integer labels.*they are bool",
        r"labels.astype\('int32'\)",
    ),
    "one-hot labels": Row(
        lambda: run((X, np.eye(4, dtype=np.float32)[Y])),
        ValueError,
        r"needs labels of shape \(4,\)",
        r"jnp.argmax\(labels, axis=-1\)",
    ),
    "column of labels": Row(
        lambda: run((X, Y[:, None])), ValueError, r"they have \(4, 1\)", r"Take labels\[..., 0\]"
    ),
    "integer labels": Row(
        lambda: of_loss("softmax_cross_entropy"),
        ValueError,
        "a probability for each class",
        "softmax_cross_entropy_with_integer_labels, or jax.nn.one_hot",
    ),
    "labels from 1": Row(
        lambda: run((X, Y + 1)),
        ValueError,
        r"must lie in \[0, 4\).*range from 1 to 4: 3 of 12 .*number 3, 7, 11",
        "Count them from 0, labels - 1",
    ),
    "labels of more classes": Row(
        lambda: run((X, 2 * Y)), ValueError, "range from 0 to 6", "Give the model 7 outputs"
    ),
    "negative labels": Row(
        lambda: run((X, Y - 1)),
        ValueError,
        "range from -1 to 2",
        r"give them weight 0 .* labels \+ 1",
    ),
    "labels, evaluate": Row(
        lambda: evaluate(task(), state(), (X, Y + 1), 5),
        ValueError,
        r"3 of 12 examples .*number 3, 7, 11",
        "labels - 1",
    ),
    "labels of validation": Row(
        lambda: run(validation_data=(X, Y + 1)),
        ValueError,
        "labels of validation_data",
        "labels - 1",
    ),
    "share of validation": Row(
        lambda: run(validation_data=0.2),
        TypeError,
        "validation_data is a share, 0.2",
        "validation_split=0.2",
    ),
    "name of validation data": Row(
        lambda: run(validation_data="test"),
        TypeError,
        "validation_data is 'test'",
        "give the arrays themselves",
    ),
    "inputs of predict": Row(
        lambda: predict(task(), state(), X.tolist()),
        TypeError,
        "inputs is a list of 12 items",
        r"np.array\(…\)",
    ),
    "labels of batches": Row(
        lambda: run(Batches([(X, Y + 1)])), ValueError, "labels of the first batch", "labels - 1"
    ),
    "labels of a later batch": Row(
        lambda: run(Batches([DATA, (X, Y + 1)])),
        NonFiniteError,
        "began in the loss of 3 of 12 examples",
        "labels of the batch .*labels - 1",
    ),
    # Weights and initialization
    "file, then tree": Row(
        lambda: load_pretrained("net.safetensors", MODEL),
        TypeError,
        "params is the path 'net.safetensors'",
        r"load_pretrained\(params, file\)",
    ),
    "file, then tree to save": Row(
        lambda: save_pretrained("net.safetensors", MODEL),
        TypeError,
        "params is the path 'net.safetensors'",
        r"save_pretrained\(params, file\)",
    ),
    "no parameters to diagnose": Row(
        lambda: diagnose(task(), DATA),
        TypeError,
        "missing 1 required positional argument: 'batch'",
        r"Call diagnose\(objective, params, batch\), where params=None takes",
    ),
    "no parameters of a function": Row(
        lambda: diagnose(linear, None, DATA), TypeError, "params is None", "give them"
    ),
    "model to diagnose": Row(
        lambda: diagnose(MODEL, None, DATA),
        TypeError,
        r"objective is a model \(Net\)",
        r"diagnose\(fnopt.train.objective\(model, loss\), params, batch\)",
    ),
    "model to scale": Row(
        lambda: lsuv(LinenNet(), state().params, X, key=0),
        TypeError,
        r"objective is a model \(LinenNet\)",
        r"fnopt.train.objective\(model, loss\)",
    ),
    "result to diagnose": Row(
        lambda: diagnose(task(), result(), DATA),
        TypeError,
        "params is the result of a run",
        r"diagnose\(objective, result.state.params, batch, model_state=result.state.model_state\)",
    ),
    "state to diagnose": Row(
        lambda: diagnose(task(), state(), DATA),
        TypeError,
        "params is a train state",
        r"state.params, batch, model_state=state.model_state",
    ),
    # What is not finite
    "NaN": Row(
        lambda: run((holed(X, 7, 9), Y)),
        NonFiniteError,
        r"batch.0. NaN or infinity is in 2 of 12 examples of the data \(number 7, 9\)",
        "fill such values in",
    ),
    "NaN in targets": Row(
        lambda: run((X, holed(X[:, :4], 2)), of=squared()),
        NonFiniteError,
        r"batch.1. NaN or infinity is in 1 of 12 examples of the data \(number 2\)",
        "Leave them out",
    ),
    "NaN in a batch": Row(
        lambda: run(Batches([DATA, (holed(X, 3), Y)])),
        NonFiniteError,
        r"1 of 12 examples of batch 1 of the epoch.*\(number 3\)",
        "Leave them out",
    ),
    "NaN by augmentation": Row(
        lambda: run(Arrays(DATA, augment=lambda key, batch: (batch[0] / 0, batch[1]))),
        NonFiniteError,
        "4 of 4 examples of batch 0",
        "Leave them out",
    ),
}


@pytest.fixture
def as_for_users():
    """jax's option of tracebacks, as users have it."""
    before = jax.config.jax_traceback_filtering  # pyright: ignore
    jax.config.update("jax_traceback_filtering", "auto")
    yield
    jax.config.update("jax_traceback_filtering", before)


@pytest.mark.parametrize("name", ROWS)
def test_a_mistake_is_answered_with_cause_and_cure(name, as_for_users):
    row = ROWS[name]
    with pytest.raises(row.error) as caught:
        row.call()
    message = f"{caught.value}"
    assert re.search(row.cause, message), message
    assert re.search(row.cure, message), message
    assert len(message) <= 400
    lines = "".join(traceback.format_exception(caught.value)).splitlines()
    assert len(lines) <= 30, "\n".join(lines)


@pytest.mark.parametrize(
    "metrics",
    ["accuracy", accuracy, ["accuracy"], [accuracy], (accuracy,), {"accuracy": "accuracy"}],
)
def test_metrics_are_taken_by_name_function_or_list(metrics):
    of = objective(linear, CROSS_ENTROPY, params={"w": jnp.ones((8, 4))}, metrics=metrics)
    assert of.metric_fns == {"accuracy": accuracy}


def test_a_loss_of_optax_is_a_metric_by_its_name():
    of = squared(metrics=["huber_loss", optax.l2_loss])
    assert of.metric_fns == {"huber_loss": optax.losses.huber_loss, "l2_loss": optax.l2_loss}


@pytest.mark.parametrize("flag", ["is_train", "inference", "use_running_average"])
@pytest.mark.parametrize("train", [True, False])
def test_other_names_of_the_flag_of_training_are_known(flag, train):
    scope: dict[str, Any] = {}
    exec(f"def f(params, x, {flag}):\n    return {flag}", scope)
    of = objective(scope["f"], "l2_loss", params=1.0)
    flag_value, _ = of.forward(1.0, {}, DATA, key=None, train=train)
    assert flag_value is (train if flag == "is_train" else not train)


def test_a_linen_module_begins_with_its_own_parameters():
    module = LinenNet()
    variables = module.init(jax.random.key(3), X)
    for params in (variables, variables["params"]):
        of = objective(module, CROSS_ENTROPY, params=params)
        begun = TrainState.create(of, TX, 0, DATA)
        np.testing.assert_array_equal(
            begun.params["head"]["kernel"], variables["params"]["head"]["kernel"]
        )
        assert begun.model_state == {}


def test_batch_statistics_come_with_the_variables():
    class Normed(linen.Module):
        @linen.compact
        def __call__(self, x, use_running_average):
            return linen.BatchNorm(use_running_average)(x)

    variables = Normed().init(jax.random.key(0), X, True)
    moved = {**variables, "batch_stats": jax.tree.map(lambda x: x + 1, variables["batch_stats"])}
    of = objective(Normed(), "squared_error", params=moved)
    for batch in (None, (X, X)):
        begun = TrainState.create(of, TX, 0, batch)
        np.testing.assert_array_equal(
            begun.model_state["batch_stats"]["BatchNorm_0"]["mean"], np.ones(FEATURES)
        )
    alone = objective(Normed(), "squared_error", params=moved["params"])
    begun = TrainState.create(alone, TX, 0, (X, X))
    assert not begun.model_state["batch_stats"]["BatchNorm_0"]["mean"].any()


def test_labels_of_examples_without_weight_do_not_matter():
    weights = np.ones(12, np.float32)
    weights[::4] = 0
    params = {"w": jnp.ones((FEATURES, CLASSES))}
    of = objective(linear, CROSS_ENTROPY, params=params, weights=lambda batch: batch[2])
    result = fit(of, TX, (X, np.where(weights > 0, Y, -1), weights), epochs=1, batch_size=4)
    assert len(result.history) == 1
    with pytest.raises(ValueError, match=r"3 of 9 examples"):
        fit(of, TX, (X, Y + 1, weights), epochs=1, batch_size=4)


def test_an_error_of_the_users_model_keeps_its_type_and_line(as_for_users):
    def broken(params, x):
        raise KeyError("layer 7")

    with pytest.raises(KeyError) as caught:
        run(of=objective(broken, "squared_error", params=1.0))
    assert any("inputs of shape (4, 8)" in note for note in caught.value.__notes__)
    frames = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert frames[-1] == "broken" and len(frames) < 8


def test_a_layer_that_cannot_take_validation_data_is_named_with_them():
    with pytest.raises(ValueError, match=r"layer first .*shape \(12, 5\)") as caught:
        run(of=nnx_task(), validation_data=(X[:, :5], Y))
    assert caught.value.__notes__ == ["This was an evaluation of validation_data."]


def test_a_function_is_said_to_be_called_with_parameters_first():
    swapped = objective(lambda x, params: x @ params, "l2_loss", params=jnp.ones((FEATURES, 3)))
    with pytest.raises(TypeError, match="dot_general") as caught:
        run(of=swapped)
    (note,) = caught.value.__notes__
    assert "a function called with (params, inputs), which received inputs of shape (4, 8)" in note


def test_a_layer_of_the_users_own_is_not_taken_for_one_of_a_library():
    class Own(nnx.Module):
        def __init__(self):
            self.w = nnx.Param(jnp.ones((3, 3)))

        def __call__(self, x):
            return x @ self.w[...]

    with pytest.raises(TypeError, match="dot_general") as caught:
        run((X, X), of=objective(Own(), "squared_error"))
    assert any("inputs of shape (4, 8)" in note for note in caught.value.__notes__)


def test_an_error_of_a_loader_keeps_state_and_history(as_for_users):
    def loader():
        yield DATA
        raise RuntimeError("disk")

    with pytest.raises(DataError, match="disk") as caught:
        run(loader)
    assert int(caught.value.state.step) == 1 and caught.value.history is not None


def test_tensors_of_torch_are_a_batch():
    tensors = torch().tensor(X), torch().tensor(Y)
    made = make_train_step(task())
    first = made(TrainState.create(task(), TX, 0), tensors)[1]
    assert first == made(TrainState.create(task(), TX, 0), DATA)[1]


def test_an_iterator_is_good_for_one_epoch(tmp_path):
    for epochs in (1, 2):  # the second run is resumed, and has one left
        last = run(iter([DATA]), epochs=epochs, checkpoint_dir=tmp_path, resume=epochs > 1)
    assert len(last.history) == 2


def test_callbacks_that_cannot_be_asked_for_their_arguments_pass():
    seen = []

    @functools.wraps(seen.append)
    def wrapper(*args):
        seen.append(len(args))

    run(on_epoch=[wrapper, jax.tree_util.Partial(wrapper)], on_step=[wrapper, max_of_two])
    assert set(seen) == {2}


def test_the_networks_need_no_share_of_dropout():
    rngs = nnx.Rngs(0)
    for net in (
        fnopt.train.models.MLP(8, (4,), 2, rngs=rngs),
        fnopt.train.models.ConvNet((4, 4, 1), (2,), 4, 2, rngs=rngs).dense,
    ):
        assert net.layers[0].layers[-1].rate == 0


@jax.jit
def max_of_two(step, metrics):
    return step


@pytest.mark.parametrize("name", ["model", "best"])
def test_an_attribute_error_inside_of_a_property_stays(name):
    broken = dataclasses.replace(
        result(),
        objective=types.SimpleNamespace(model=lambda params, model_state: params.kernel),
        history=types.SimpleNamespace(),
    )
    inner = {"model": "'dict' object has no attribute 'kernel'", "best": "no attribute 'in_order'"}
    with pytest.raises(AttributeError, match=inner[name]):
        getattr(broken, name)


def test_a_warning_points_to_the_line_of_the_program():
    rate = fnopt.join_schedules([0.1, 0.0], [2])
    with pytest.warns(UserWarning, match="the learning rate is 0 for the last") as caught:
        run(tx=fnopt.sgd(rate), epochs=9)
    assert [warning.filename for warning in caught] == [__file__]
