"""What ends a run before its time, and that it keeps what it had come to."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import CLASSES, FEATURES, blobs, function_task, nnx_task
from test_train import same
from xla_flags import compiled_as_usual

import fnopt
from fnopt.train import DataError, NonFiniteError, fit, objective

# Flax mixes dtypes and ranks freely, so these run in jax's default mode.
pytestmark = pytest.mark.beside_optax

linear = functools.cache(function_task)  # one program for all runs
TX = fnopt.sgd(0.1)


def run(data: Any = None, **options: Any) -> Any:
    """5 steps an epoch."""
    options = {"epochs": 3, **options}
    return fit(linear(), TX, blobs() if data is None else data, batch_size=10, **options)


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint(number, tmp_path):
    def interrupt(step, metrics):
        if step == 7:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    cut = run(on_step=interrupt, steps_per_call=1, checkpoint_dir=tmp_path, checkpoint_every=None)
    assert signal.getsignal(number) is before
    assert cut.interrupted and cut.ended == "interrupted"
    assert int(cut.state.step) == 7 and len(cut.history) == 1
    assert cut.checkpoint == tmp_path / "step_00000007" and cut.checkpoint.is_dir()
    rest, whole = run(checkpoint_dir=tmp_path, resume=True), run()
    assert same(rest.state, whole.state) and rest.ended == whole.ended == "epochs"
    np.testing.assert_array_equal(rest.history["loss"], whole.history["loss"])


def test_a_second_signal_ends_the_process():
    program = (
        "import os, signal; from fnopt.train.interrupts import interrupts\n"
        "with interrupts() as came:\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print(came[0].name, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('still there')\n"
    )
    got = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert got.stdout == "SIGTERM\n" and got.returncode == 128 + signal.SIGTERM


# What is not finite


def test_the_batch_in_which_a_nan_lay_is_named(tmp_path):
    x, y = blobs()
    x[7, 3] = np.nan
    with pytest.raises(NonFiniteError, match=r"It began in batch\.0\. NaN.*number 7\)") as caught:
        run((x, y), checkpoint_dir=tmp_path)
    error = caught.value
    assert error.where == ("batch.0",) and int(error.state.step) == error.step
    assert (tmp_path / f"step_{error.step:08d}").is_dir()


def broken(**where: Any) -> Any:
    """A linear function of three parts, one of which may be made infinite."""

    def function(params: Any, x: jax.Array) -> jax.Array:
        outputs = x @ params["w"] + where.get("outputs", 0.0)
        # Its value is 0 and its derivative at 0 infinite.
        bent = jnp.sqrt(jnp.abs(params["bent"])) if "gradient" in where else params["bent"]
        return outputs + bent + params["b"]

    def loss(outputs: jax.Array, labels: jax.Array) -> jax.Array:
        losses = jnp.mean(outputs**2, axis=-1)
        return losses + jnp.where(labels == 2, where.get("loss", 0.0), 0.0)

    zeros = jnp.zeros(CLASSES)
    params = {"w": jnp.zeros((FEATURES, CLASSES)), "b": zeros, "bent": zeros}
    return objective(function, loss, params=params)


@pytest.mark.parametrize(
    ("task", "tx", "where"),
    [
        (broken(outputs=np.inf), TX, ("outputs",)),
        (broken(gradient=True), TX, ("gradient.bent",)),
        (broken(), optax.sgd(np.inf), ("the update",)),
    ],
)
def test_the_leaf_in_which_it_began_is_named(task, tx, where):
    with pytest.raises(NonFiniteError, match=f"stopped at step 0.*It began in {where[0]}") as error:
        fit(task, tx, blobs(), epochs=1, batch_size=10)
    assert error.value.where == where


def test_the_examples_whose_loss_is_not_finite_are_counted():
    x, y = blobs()
    with pytest.raises(NonFiniteError) as error:
        fit(broken(loss=np.nan), TX, (x, y), epochs=1, batch_size=None)
    bad = int(np.sum(y == 2))
    assert f"the loss of {bad} of 50 examples (number " in str(error.value)


def test_parameters_that_were_not_finite_are_named():
    state = fnopt.train.TrainState.create(linear(), TX, 0)
    params = {**state.params, "w": state.params["w"] * np.nan}
    with pytest.raises(NonFiniteError) as error:
        fit(linear(), None, blobs(), epochs=1, state=state.replace(params=params))
    assert error.value.where == ("params.w",)


# Data that come in batches


def batches(count: int = 5) -> list[Any]:
    x, y = blobs(10 * count)
    return [(x[i : i + 10], y[i : i + 10]) for i in range(0, 10 * count, 10)]


class Loader:
    """What can be iterated again, and says how long it is."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        return iter(self.batches)


def in_order(count: int = 5, **options: Any) -> Any:
    """Steps by hand over the batches."""
    step = fnopt.train.make_train_step(linear())
    state = fnopt.train.TrainState.create(linear(), TX, 0)
    for _ in range(options.get("epochs", 3)):
        for batch in batches(count):
            state, _ = step(state, batch)
    return state


def test_an_iterable_is_gone_through_anew_in_each_epoch(tmp_path):
    expected = in_order()
    for data in (Loader(batches()), lambda: iter(batches())):
        for steps_per_call in (1, 4, None):
            result = run(data, steps_per_call=steps_per_call)
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
                result.state.params,
                expected.params,
            )
            assert result.history["step"].tolist() == [5, 10, 15]
            assert result.history["epoch"].tolist() == [1, 2, 3]
    # In the middle of an epoch it is gone on with.
    whole = result

    def interrupt(step, metrics):
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run(data, on_step=interrupt, steps_per_call=1, checkpoint_dir=tmp_path).interrupted
    rest = run(data, checkpoint_dir=tmp_path, resume=True)
    assert same(rest.state, whole.state)
    np.testing.assert_array_equal(rest.history["loss"], whole.history["loss"])


def test_a_stream_compiles_one_step_and_aliases_its_state():
    from fnopt.train.loop import run_stream_step

    task = nnx_task()
    fit(task, fnopt.adam(0.1), Loader(batches()), epochs=2)
    assert run_stream_step.of(task)._cache_size() == 1
    state = fnopt.train.TrainState.create(task, fnopt.adam(0.1), 0)
    text = compiled_as_usual(
        run_stream_step.of(task).lower(state, jnp.bool_(True), batches()[0])
    ).as_text()
    assert text[: text.index("entry")].count("alias)") == len(jax.tree.leaves(state)) + 1


def raising() -> Any:
    yield from batches()[:3]
    raise OSError("the wire is cut")


@pytest.mark.parametrize("steps_per_call", [1, 2, None])
def test_a_loader_that_raises_loses_nothing(steps_per_call, tmp_path):
    with pytest.raises(
        DataError, match=r"raised OSError\('the wire is cut'\) at batch 3 \(epoch 1"
    ) as caught:
        run(raising, steps_per_call=steps_per_call, checkpoint_dir=tmp_path)
    error = caught.value
    assert (error.batch, error.epoch, int(error.state.step)) == (3, 1, 3)
    assert isinstance(error.__cause__, OSError)
    # It goes on once the wire is mended.
    rest = run(Loader(batches()), checkpoint_dir=tmp_path, resume=True)
    assert same(rest.state, run(Loader(batches())).state)


class Once:
    """An iterator of a class of its own, which cannot be told from one that begins again."""

    def __init__(self, batches: Any) -> None:
        self.batches = iter(batches)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return next(self.batches)


@pytest.mark.parametrize(
    ("data", "says", "steps"),
    [
        (
            Loader([*batches(2), (np.zeros((4, FEATURES), np.float32), np.zeros(4, np.int32))] * 2),
            r"batch 2 has another shape.*batch\[0\]: \(10, 8\) float32 before, \(4, 8\) float32 now"
            r".*drop_last=True",
            2,
        ),
        (Loader([*batches(2), batches()[0][:1]]), r"batch\[1\]: \(10,\) int32 before, missing", 2),
        (Once(batches()), "gave no batch; an iterator can be read once", 5),
        (Loader([]), "the data has no batch", None),
        (lambda: 1 / 0, r"raised ZeroDivisionError.* at batch 0", None),
    ],
)
def test_what_data_may_not_do(data, says, steps):
    with pytest.raises(DataError, match=says) as caught:
        run(data)
    assert (caught.value.state and int(caught.value.state.step)) == steps


def test_a_nan_in_a_stream_ends_it_at_its_step(tmp_path):
    good = batches()
    bad = [*good[:3], (good[3][0] * np.nan, good[3][1]), good[4]]
    with pytest.raises(NonFiniteError, match=r"step 3, which .*It began in batch\.0") as caught:
        run(Loader(bad), checkpoint_dir=tmp_path, steps_per_call=5)
    assert int(caught.value.state.step) == 3
    resumed = run(Loader(good), checkpoint_dir=tmp_path, resume=True).state
    assert same(resumed, run(Loader(good)).state)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["tree"], meta_fields=["augment"])
@dataclasses.dataclass
class Ordered:
    """Arrays with an order and an augmentation of their own, as fnopt.data has them."""

    tree: Any
    augment: Any = None

    def batch(self, key: Any, step: Any, indices: Any) -> Any:
        batch = jax.tree.map(lambda x: x[indices], self.tree)
        key = jax.random.fold_in(jax.random.fold_in(key, 7), step)
        return batch if self.augment is None else self.augment(key, batch)

    def order(self, key: Any, epoch_step: Any, batch_size: int) -> Any:
        return jnp.arange(50 // batch_size * batch_size).reshape(-1, batch_size)


def test_arrays_bring_their_order_and_augmentation():
    plain = run(Ordered(blobs()))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        plain.state.params,
        in_order().params,
    )

    def noisy(key, batch):
        x, y = batch
        return x + 0.1 * jax.random.normal(key, x.shape), y

    first, second = (run(Ordered(blobs(), noisy), steps_per_call=n) for n in (1, None))
    assert same(first.state, second.state) and not same(first.state, plain.state)

    def nan(key, batch):
        return batch[0] * jnp.nan, batch[1]

    with pytest.raises(NonFiniteError, match=r"began in batch\.0"):
        run(Ordered(blobs(), nan))


# What is told while it runs


def test_evaluation_every_few_steps():
    result = run(validation_data=blobs(20), eval_every=4)
    evaluations = result.history.evaluations
    assert [(e["epoch"], e["step"]) for e in evaluations] == [(1, 4), (2, 8), (3, 12)]
    assert int(result.state.evaluations) == 3
    # An epoch has the last of them.
    last = [e["val_loss"] for e in evaluations]
    assert result.history["val_loss"].tolist() == last
    assert same(result.state.params, run().state.params)


def test_the_log_grows_line_by_line(tmp_path):
    log, seen = tmp_path / "new" / "log.jsonl", []
    run(log=log, on_epoch=lambda state, record: seen.append(log.read_text().count("\n")),
        validation_data=blobs(20), eval_every=4)  # fmt: skip
    assert seen == [2, 4, 6]
    got = [json.loads(line) for line in log.read_text().splitlines()]
    assert ["loss" in line for line in got] == [False, True] * 3


def test_steps_are_reported_with_their_metrics():
    got = []
    result = run(on_step=lambda step, metrics: got.append((step, metrics)), steps_per_call=2)
    assert [step for step, _ in got] == [2, 4, 5, 7, 9, 10, 12, 14, 15]
    losses = np.concatenate([metrics["loss"] for _, metrics in got])
    np.testing.assert_allclose(losses.reshape(3, 5).mean(1), result.history["loss"], rtol=1e-6)


def test_tensorboard_is_told_every_record(tmp_path, monkeypatch):
    with monkeypatch.context() as without:
        for name in ("tensorboardX", "torch.utils.tensorboard", "tensorflow"):
            without.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=r"tensorboard= needs one of.*fnopt\[tensorboard\]"):
            run(tensorboard=tmp_path)
    got = []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            got.append(("begin", folder, purge_step))

        def add_scalar(self, name, value, step):
            got.append((name, value, step))

        def flush(self):
            pass

        def close(self):
            got.append("end")

    module = types.SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    result = run(tensorboard=tmp_path)
    assert got[0] == ("begin", str(tmp_path), None) and got[-1] == "end"
    assert [x[1:] for x in got if x[0] == "loss"] == [
        (record["loss"], record["step"]) for record in result.history.records
    ]
    got.clear()
    fit(linear(), None, blobs(), epochs=1, batch_size=10, state=result.last, tensorboard=tmp_path)
    # It hides events from the step of purging on, and that of the last record is to stay.
    assert got[0] == ("begin", str(tmp_path), int(result.last.step) + 1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"eval_every": 0, "validation_data": blobs(9)}, "eval_every must be at least 1, got 0"),
        ({"eval_every": 2}, "eval_every needs an evaluation; give validation_data"),
        ({"early_stopping": fnopt.train.early_stopping()}, "early_stopping needs an evaluation"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
        (
            {"checkpoint_every": "step"},
            "checkpoint_every must be a number of steps, 'epoch' or None, got 'step'",
        ),
        ({"keep": 0}, "keep must be at least 1"),
        ({"keep_best": -1}, "keep_best must be at least 0"),
        ({"resume": "yes", "checkpoint_dir": "x"}, "resume must be True, False or 'override'"),
    ],
)
def test_bad_arguments_are_named(options, says):
    with pytest.raises(ValueError, match=f"fit: {says}"):
        run(**options)


def test_a_run_that_skips_whatever_the_scale_ends():
    hopeless = objective(
        lambda params, x: params * x, "l2_loss", params=jnp.ones(()), inputs=lambda b: b * jnp.inf,
        targets=lambda b: b,
    )  # fmt: skip
    with pytest.raises(NonFiniteError, match=r"the last \d+ steps, each skipped") as caught:
        fit(
            hopeless, fnopt.sgd(0.1), np.ones(64, np.float32), epochs=90, batch_size=8,
            precision="float16",
        )  # fmt: skip
    assert int(caught.value.state.step) == 0
    assert 100 <= int(caught.value.state.skipped) < 64 / 8 * 90
