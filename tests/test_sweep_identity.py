"""What a sweep is: another is refused by name, the same is recognized; the better direction."""

import functools
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from models import CROSS_ENTROPY, FEATURES, LinenNet, NNXNet, blobs

import fnopt
from fnopt.data import Arrays
from fnopt.sweeps import hyperband, population_based_training, store, successive_halving, sweep
from fnopt.sweeps.identity import difference, identity
from fnopt.sweeps.prepare import prepare
from fnopt.train import accuracy, early_stopping, objective
from fnopt.train.plain import dumps

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

DATA, VALIDATION = blobs(72), blobs(30, seed=1)


def number_times(x):
    return lambda outputs, targets: x * (outputs[:, 0] - targets) ** 2


def outputs_of(params, x):
    return x @ params


def with_loss(loss=None, model=outputs_of, **options):
    loss = loss or number_times(1)
    return objective(model, loss, params=jnp.ones((FEATURES, 1)), **options)


def noise(scale):
    return lambda key, batch: (batch[0] + scale * jax.random.normal(key, batch[0].shape), batch[1])


TABLE = np.full(FEATURES, 2.0, np.float32)
"""What differs, the arguments of a sweep, those of another, and words of the refusal."""
OTHERS = {
    "number of optax": (
        lambda: dict(optimizers=[optax.sgd(0.1)]), lambda: dict(optimizers=[optax.sgd(0.001)]),
        "of optimizer 0 is …", "step_size=-0.001",
    ),
    "later optimizer": (
        lambda: dict(optimizers=[fnopt.sgd(0.1), optax.sgd(0.1)]),
        lambda: dict(optimizers=[fnopt.sgd(0.1), optax.sgd(0.2)]), "of optimizer 1 is …",
    ),
    "code of a schedule": (
        lambda: dict(optimizers=[fnopt.sgd(lambda t: 0.1)]),
        lambda: dict(optimizers=[fnopt.sgd(lambda t: 0.001)]),
        "optimizer 0 (sgd) computes something else",
    ),
    "shuffle": (
        lambda: dict(data=Arrays(DATA)), lambda: dict(data=Arrays(DATA, shuffle=False)),
        "shuffle of the data is True there, and False here",
    ),
    "weights": (
        lambda: dict(data=Arrays(DATA, weights=np.ones(72))), lambda: dict(data=Arrays(DATA)),
        "data is",
    ),
    "augment": (
        lambda: dict(data=Arrays(DATA, augment=noise(1.0))),
        lambda: dict(data=Arrays(DATA, augment=noise(2.0))),
        "augment of the data is", "(scale=2.0) here",
    ),
    "code of augment": (
        lambda: dict(data=Arrays(DATA, augment=lambda key, batch: batch)),
        lambda: dict(data=Arrays(DATA, augment=lambda key, batch: (2 * batch[0], batch[1]))),
        "augment of the data computes",
    ),
    "loss": (
        lambda: dict(objective=with_loss()),
        lambda: dict(objective=with_loss(number_times(5))),
        "loss of the objective is", "(x=5) here",
    ),
    "code of the loss": (
        lambda: dict(objective=with_loss(lambda o, t: 1 * (o[:, 0] - t) ** 2)),
        lambda: dict(objective=with_loss(lambda o, t: 5 * (o[:, 0] - t) ** 2)), "the loss computes",
    ),
    "metric": (
        lambda: dict(objective=with_loss(metrics={"m": number_times(1)})),
        lambda: dict(objective=with_loss(metrics={"m": number_times(2)})),
        "metrics of the objective is",
    ),
    "code of a metric": (
        lambda: dict(objective=with_loss(metrics={"m": lambda o, t: o[:, 0]})),
        lambda: dict(objective=with_loss(metrics={"m": lambda o, t: -o[:, 0]})),
        "the metric 'm' computes",
    ),
    "inputs": (
        lambda: dict(objective=with_loss(inputs=lambda batch: batch[0])),
        lambda: dict(objective=with_loss(inputs=lambda batch: batch[0] / 2)), "inputs computes",
    ),
    "targets": (
        lambda: dict(objective=with_loss(targets=lambda batch: batch[1])),
        lambda: dict(objective=with_loss(targets=lambda batch: -batch[1])), "targets computes",
    ),
    "weights of examples": (
        lambda: dict(objective=with_loss(weights=lambda batch: batch[1] + 1.0)),
        lambda: dict(objective=with_loss(weights=lambda batch: batch[1] + 2.0)), "weights computes",
    ),
    "code of the model": (
        lambda: dict(objective=with_loss(model=lambda params, x: x @ params)),
        lambda: dict(objective=with_loss(model=lambda params, x: 2 * x @ params)),
        "the model computes",
    ),
    "array in the model": (
        lambda: dict(objective=with_loss(model=jax.jit(lambda p, x: x * (0 + TABLE) @ p))),
        lambda: dict(objective=with_loss(model=jax.jit(lambda p, x: x * (1 + TABLE) @ p))),
        "the model computes",
    ),
    "better direction": (
        lambda: dict(monitor="val_m", monitor_mode="min", validation_data=VALIDATION),
        lambda: dict(monitor="val_m", monitor_mode="max", validation_data=VALIDATION),
        "monitor_mode is 'min' there, and 'max' here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_functions_tell_one_sweep_from_another(what, tmp_path):
    usual = dict(
        objective=with_loss(metrics={"m": number_times(1)}), optimizers=[fnopt.sgd(0.1)],
        data=DATA, epochs=1,
    )  # fmt: skip
    make, changed, *words = OTHERS[what]
    first = described(**{**usual, **make()})
    folder = store.Store(tmp_path, resume=True)
    folder.open(lambda: first)
    folder.open(lambda: described(**{**usual, **make()}))  # the same functions, made again
    with pytest.raises(ValueError) as refusal:
        folder.open(lambda: described(**{**usual, **changed()}))
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    assert len(str(refusal.value)) < 400 + len(str(tmp_path))


def described(objective, optimizers, data, **options):
    """The identity of a sweep, without its training."""
    prepared = prepare(objective, optimizers, data, seeds=2, batch_size=16, **options)
    return identity(*prepared, "best")


def same_everywhere():
    """Sweeps that must be recognized in another process, as text."""
    mask = functools.partial(jax.tree.map, lambda x: x.ndim > 1)
    masked = optax.adamw(optax.cosine_decay_schedule(0.1, 10), mask=mask)
    chained = fnopt.chain(optax.clip(1.0), fnopt.sgd(lambda t: 0.1 / (1 + t)))
    augmented = Arrays(DATA, augment=noise(1.0), weights=np.ones(72))
    usual = dict(epochs=2, validation_data=VALIDATION)
    return [
        dumps(described(of_nnx, [masked], DATA, early_stopping=early_stopping(3), **usual)),
        dumps(described(lambda seed: of_linen(), [chained], augmented, **usual)),
        dumps(described(of_linen(), ["adamw"], DATA, precision="bfloat16", **usual)),
    ]


def of_nnx(seed):
    return objective(NNXNet(nnx.Rngs(seed)), CROSS_ENTROPY, metrics=[accuracy])


def of_linen():
    return objective(LinenNet(), CROSS_ENTROPY, metrics=[accuracy])


def test_a_sweep_is_recognized():
    assert same_everywhere() == same_everywhere()


@pytest.mark.slow
def test_a_sweep_is_recognized_in_another_process():
    here = same_everywhere()
    script = (
        "import json, test_sweep_identity; print(json.dumps(test_sweep_identity.same_everywhere()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    there = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout.splitlines()[-1]) == here == same_everywhere()


def test_a_sweep_is_recognized_on_other_devices():
    usual = dict(objective=with_loss(), optimizers=[fnopt.sgd(lambda t: 0.1)], data=DATA)
    mesh = jax.make_mesh((2,), ("runs",), devices=jax.devices()[:2])
    assert described(epochs=1, **usual) == described(epochs=1, mesh=mesh, **usual)


def test_operations_of_another_version_are_not_compared(tmp_path):
    one, other = (
        described(with_loss(loss), [fnopt.sgd(0.1)], DATA, epochs=1)
        for loss in (lambda o, t: o[:, 0], lambda o, t: -o[:, 0])
    )
    assert "the loss computes" in difference(one, other)
    one["environment"]["jax"] = "0.0"
    assert difference(one, other) == ""


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_better_direction_of_a_metric_is_given(mode):
    task = with_loss(metrics={"m": number_times(1)})
    options = dict(validation_data=VALIDATION, monitor="val_m", epochs=2, progress=False)
    with pytest.raises(ValueError, match=r"^sweep: .*'val_m' is better.* monitor_mode='max' or"):
        sweep(task, [fnopt.sgd(0.1)], DATA, **options)
    result = sweep(task, [fnopt.sgd(0.1)], DATA, monitor_mode=mode, **options)
    assert result.mode == mode
    halves = successive_halving(task, [fnopt.sgd(0.1)], DATA, monitor_mode=mode, **options)
    assert halves.sweep.mode == mode
    hyper = hyperband(task, [fnopt.sgd(0.1)] * 4, DATA, eta=2, monitor_mode=mode, **options)
    assert hyper.sweep.mode == mode
    population = population_based_training(
        task, [fnopt.sgd(0.1), fnopt.sgd(0.2)], DATA, monitor_mode=mode,
        hyperparameters={"learning_rate": (1e-3, 1)}, **options,
    )  # fmt: skip
    assert population.sweep.mode == mode
