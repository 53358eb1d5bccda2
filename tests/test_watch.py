"""What a run watches and goes by: the best that there is, which way it is better, its schedule."""

from __future__ import annotations

import logging
import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task
from test_stopping import ended, rising

import fnopt
from fnopt.train import (
    NonFiniteError,
    TrainState,
    accuracy,
    early_stopping,
    fit,
    make_train_step,
    maximized,
    minimized,
    objective,
    restore,
)
from fnopt.train.diagnosis import locate_nonfinite
from fnopt.train.keys import step_keys

NOTHING = np.zeros(4, np.float32), np.zeros(2, np.float32)


def upwards(stopping: Any = None, **options: Any) -> Any:
    """Steps of 0.5 up, two an epoch."""
    options = {"epochs": 3, "tx": fnopt.sgd(0.5), **options}
    return fit(
        options.pop("task", rising()), options.pop("tx"), NOTHING[0], batch_size=2,
        validation_data=NOTHING[1], early_stopping=stopping, **options,
    )  # fmt: skip


# The best, where there is one


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("restore_best", [True, False])
def test_without_an_evaluation_the_last_parameters_come_back(mode, restore_best):
    stopping = early_stopping(1, mode=mode, restore_best=restore_best)
    with pytest.warns(UserWarning, match="early stopping has seen no evaluation .none was due"):
        result = upwards(stopping, eval_every=100, monitor_mode=mode)
    assert float(result.state.params) == float(result.last.params) == 3.0


def never(outputs: Any, targets: Any) -> Any:
    return jnp.full(outputs.shape[:1], jnp.nan)


def constant_metric(value: float) -> Any:
    """The task whose metric is always this, inf or NaN among them."""

    def loss(params: jax.Array, batch: jax.Array, train: bool) -> Any:
        return -params + 0.0 * batch, {"figure": jnp.full_like(batch, value)}

    return objective(loss, params=jnp.zeros(()), has_aux=True)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.0])
def test_without_a_number_the_last_parameters_come_back(value, mode):
    number = not np.isnan(value) and value != (np.inf if mode == "min" else -np.inf)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = upwards(
            early_stopping(9), task=constant_metric(value), monitor="val_figure", monitor_mode=mode
        )
    # With a number the first is the best: after one epoch.
    assert float(result.state.params) == (1.0 if number else 3.0)
    assert [f"none of {3} evaluations" in str(w.message) for w in caught] == [True] * (not number)


def test_a_state_that_was_stopped_goes_on_and_says_so(caplog):
    first = ended(early_stopping(patience=2))
    assert float(first.last.params) == 6.0
    rest = upwards(tx=None, state=first.last, epochs=10)
    assert "it counts again from here, with the best so far" in caplog.text
    assert rest.ended == "early stopping" and len(rest.history) == 3  # two are allowed again
    assert float(rest.last.params) == 9.0 and float(rest.state.params) == 3.0
    with pytest.raises(TypeError, match="has its own early stopping"):
        upwards(early_stopping(), tx=None, state=first.last)


@pytest.mark.parametrize(("patience", "epochs"), [(2, 6), (4, 8), (3, 7), (1, 6), (99, 20)])
def test_more_patience_goes_on_with_a_run_that_was_stopped(patience, epochs, tmp_path, caplog):
    """As if it had been watched with that patience from the start."""
    ended(early_stopping(2), checkpoint_dir=tmp_path)
    again = ended(early_stopping(patience), checkpoint_dir=tmp_path, resume=True)
    assert (
        len(again.history) == 6 and "early stopping has ended this run, at step 12" in caplog.text
    )
    more = ended(early_stopping(patience), checkpoint_dir=tmp_path, resume="override")
    assert len(more.history) == epochs and float(more.state.params) == 3.0
    if patience >= 2:
        whole = ended(early_stopping(patience))
        assert len(whole.history) == epochs
        assert int(whole.last.stopping_state.bad) == int(more.last.stopping_state.bad)
    state = TrainState.create(rising(), fnopt.sgd(0.5), 0, stopping=early_stopping(50))
    assert not restore(tmp_path, state, override=True).stopping_state.stop


# Which way it is better


def share(outputs: Any, labels: Any) -> Any:
    return accuracy(outputs, labels)


def task_with(metric: Any) -> Any:
    task = function_task()
    task.metric_fns = {"share": metric}
    return task


def trained(metric: Any, tx: Any = None, **options: Any) -> Any:
    return fit(
        task_with(metric), tx or fnopt.sgd(0.1), blobs(), epochs=3, batch_size=10,
        validation_data=blobs(20, seed=1), **{"monitor": "val_share", **options},
    )  # fmt: skip


@pytest.mark.beside_optax
@pytest.mark.parametrize("metric", [accuracy, maximized(share), partial(maximized(share))])
def test_a_metric_tells_which_way_it_is_better(metric, tmp_path):
    result = trained(metric, early_stopping=early_stopping(9), checkpoint_dir=tmp_path, keep=1)
    best = 5 * (1 + int(np.argmax(result.history["val_share"])))
    assert result.state.stopping.mode == "max"
    assert float(result.state.stopping_state.best) == result.history["val_share"].max()
    assert (tmp_path / f"step_{best:08d}").is_dir()


@pytest.mark.beside_optax
@pytest.mark.parametrize("monitor_mode", ["min", "max"])
def test_a_plain_function_is_told_by_monitor_mode(monitor_mode):
    result = trained(share, early_stopping=early_stopping(9), monitor_mode=monitor_mode)
    assert result.state.stopping.mode == monitor_mode
    assert trained(share, early_stopping=early_stopping(9, mode=monitor_mode)).state is not None


def plateau(mode: str) -> Any:
    return fnopt.chain(
        fnopt.sgd(0.1), fnopt.reduce_on_plateau(patience=1, monitor="metric", mode=mode)
    )


@pytest.mark.beside_optax
@pytest.mark.parametrize(
    ("metric", "options", "says"),
    [
        (share, {}, r"larger or a smaller 'val_share' is better is not known.*monitor_mode='max'"),
        (share, {"early_stopping": early_stopping(9)}, "is not known.*fnopt.train.maximized"),
        (accuracy, {"early_stopping": early_stopping(9, mode="min")},
         "early_stopping has mode='min', but a larger 'val_share' is better; give it mode='max'"),
        (accuracy, {"tx": plateau("min")}, "reduce_on_plateau has mode='min', but a larger"),
        (minimized(share), {"tx": plateau("max")}, "reduce_on_plateau has mode='max', but a small"),
        (share, {"monitor_mode": "max", "early_stopping": early_stopping(9, mode="min")},
         "early_stopping has mode='min', but a larger"),
        (share, {"monitor": "val_shara"}, "monitor='val_shara'; did you mean 'val_share'"),
        (share, {"monitor": "val_loss", "early_stopping": early_stopping(9, mode="max")},
         "early_stopping has mode='max', but a smaller 'val_loss' is better"),
    ],
)  # fmt: skip
def test_directions_agree_or_are_refused(metric, options, says):
    with pytest.raises(ValueError, match=says):
        trained(metric, **options)


@pytest.mark.beside_optax
def test_a_plateau_and_a_stop_that_agree_are_taken():
    trained(accuracy, tx=plateau("max"), early_stopping=early_stopping(9, mode="max"))
    trained(accuracy, tx=plateau("min"), early_stopping=early_stopping(9), monitor_mode="min")


# (n,) and (n, 1)


@pytest.mark.parametrize("labels", [np.zeros((5, 1), int), np.zeros((5, 3), int), np.zeros(1, int)])
def test_accuracy_refuses_labels_of_another_shape(labels):
    outputs = jnp.eye(5, 3)
    assert accuracy(outputs, jnp.arange(5)).shape == (5,)
    with pytest.raises(ValueError, match=r"accuracy: labels must have shape \(5,\)"):
        accuracy(outputs, labels)


def hits(outputs: Any, labels: Any) -> Any:
    return jnp.argmax(outputs, axis=-1) == labels


def errors(outputs: Any, targets: Any) -> Any:
    return jnp.abs(outputs - targets)


@pytest.mark.beside_optax
@pytest.mark.parametrize(
    ("loss", "outputs", "targets"),
    [
        ("sigmoid_binary_cross_entropy", (4, 1), (4,)),
        ("huber_loss", (4,), (4, 1)),
        ("squared_error", (4, 1), (4,)),
        ("softmax_cross_entropy", (4, 4), (4,)),
        ("cosine_distance", (4,), (4, 1)),
        ("softmax_cross_entropy_with_integer_labels", (4, 3), (4, 1)),
        ("softmax_cross_entropy_with_integer_labels", (4, 4), (4, 4)),
        ("multiclass_hinge_loss", (3, 3), (3, 1)),
        (optax.l2_loss, (1, 1), (1,)),
        (errors, (4, 1), (4,)),
        (errors, (4,), (4, 1)),
        (errors, (4, 4), (4,)),
        (hits, (4, 3), (4, 1)),
    ],
)
def test_what_compares_every_example_with_every_other_is_refused(loss, outputs, targets):
    integers = "integer" in str(loss) or "multiclass" in str(loss)
    batch = jnp.zeros(outputs), jnp.zeros(targets, int if integers else jnp.float32)
    task = objective(lambda params, x: x, loss, params={})
    with pytest.raises(
        ValueError, match=r"(give both one shape|Take labels|take jnp.argmax|jax.nn.one_hot)"
    ):
        task.losses(batch[0], batch)
    by_metric = objective(
        lambda params, x: x, lambda o, t: jnp.zeros(o.shape[0]), params={},
        metrics={"m": task.loss_fn},
    )  # fmt: skip
    with pytest.raises(ValueError, match="metric 'm'"):
        by_metric.metrics(batch[0], batch)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets"),
    [
        (errors, (4,), (4,)),
        (errors, (4, 1), (4, 1)),
        (errors, (4, 3), (4, 1)),
        (errors, (4, 4), (4, 4)),
        (lambda o, t: errors(o[:, 0], t), (4, 1), (4,)),
        (lambda o, t: errors(o, t[:, 0]), (4,), (4, 1)),
        (lambda o, t: o @ o.T, (4, 3), (4,)),
        (lambda o, t: jnp.mean(o) + 0 * t[0], (4, 3), (4,)),
    ],
)
def test_other_shapes_are_taken(loss, outputs, targets):
    batch = jnp.zeros(outputs), jnp.zeros(targets)
    objective(lambda params, x: x, loss, params={}).losses(batch[0], batch)


# Other numbers in a state


def test_another_optimizer_of_the_kind_is_the_same_program():
    task = rising()
    step = make_train_step(task)
    state = TrainState.create(
        task, fnopt.adam(fnopt.cosine_decay_schedule(0.1, 10)), 0,
        average=fnopt.train.ema_of_params(0.9), stopping=early_stopping(3),
    )  # fmt: skip
    batch = jnp.zeros(4)
    state, _ = step(state, batch)
    for rate in (0.2, np.float32(0.3), jnp.float32(0.4)):
        tx = fnopt.adam(fnopt.cosine_decay_schedule(rate, 20))
        state = state.replace(
            tx=tx, average=fnopt.train.ema_of_params(0.5), stopping=early_stopping(9, mode="min"),
            step=0, evaluations=0,
        )  # fmt: skip
        state, metrics = step(state, batch)
        assert float(metrics["learning_rate"]) > 0.15
        assert tx.learning_rate(0) > 0  # not taken over by the step
    assert step._cache_size() == 1  # pyright: ignore
    assert not any(x.weak_type for x in jax.tree.leaves(state.replace(tx=tx).tx))


# A schedule that ends before the run


def resumed(tmp_path: Any, tx: Any, epochs: int, **options: Any) -> Any:
    return fit(
        rising(), tx, NOTHING[0], epochs=epochs, batch_size=2, checkpoint_dir=tmp_path, **options
    )


def cosine(steps: int, rate: float = 0.5, b1: float = 0.9) -> Any:
    return fnopt.adam(fnopt.cosine_decay_schedule(rate, steps), b1=b1)


def test_the_schedule_of_a_longer_run_is_the_codes(tmp_path, caplog):
    resumed(tmp_path, cosine(4), epochs=2)
    with caplog.at_level(logging.INFO, "fnopt"):
        rest = resumed(tmp_path, cosine(8, b1=0.5), epochs=4, resume=True)
    assert float(rest.last.tx.learning_rate.decay_steps) == 8
    assert float(rest.last.tx.b1) == np.float32(0.9)  # other numbers are the checkpoint's
    assert "decay_steps is 4.0 there, 8.0 here; the code's (the run has another" in caplog.text
    assert "resumed at step 4, epoch 2 of 4: adam(learning_rate=cosine" in caplog.text
    assert rest.history["learning_rate"][-1] > 0


def test_of_a_run_of_the_same_length_it_is_the_checkpoints(tmp_path):
    def stop(state: Any, record: Any) -> bool:
        return True

    resumed(tmp_path, cosine(8), epochs=4, on_epoch=stop)
    rest = resumed(tmp_path, cosine(8, 0.1), epochs=4, resume=True)
    assert float(rest.last.tx.learning_rate.init_value) == 0.5


def test_a_rate_of_0_before_the_end_is_said(tmp_path):
    resumed(tmp_path, cosine(4), epochs=2)
    with pytest.warns(UserWarning, match=r"rate is 0 for the last 4 of 4 steps.*ends before"):
        resumed(tmp_path, cosine(4), epochs=4, resume=True)
    with pytest.warns(UserWarning, match=r"is 0 for the last 16 of 20 steps: .*for all steps"):
        upwards(tx=fnopt.chain(fnopt.clip(1.0), cosine(4)), epochs=10)


@pytest.mark.parametrize(
    "tx",
    [
        cosine(6),
        cosine(5),  # the last step alone
        fnopt.sgd(0.0),
        fnopt.sgd(fnopt.warmup_constant_schedule(0.0, 0.1, 3)),
        fnopt.sgd(fnopt.cosine_decay_schedule(0.1, 2, alpha=0.1)),
        fnopt.MultiSteps(cosine(2), 3),
        optax.sgd(optax.cosine_decay_schedule(0.1, 2)),
    ],
)
@pytest.mark.beside_optax
def test_nothing_is_said_where_the_schedule_lasts(tx):
    upwards(tx=tx)


# Where a step went wrong


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_failed_step_is_made_again_with_its_own_draws(accumulate, seed):
    """Outputs that are infinite for one in some draws of dropout only."""

    def function(params: Any, x: Any, key: Any = None) -> Any:
        if key is None:
            return x * params
        rare = jax.random.uniform(key) < 0.15
        return x * params + jnp.where(rare, jnp.inf, 0.0)

    task = objective(function, "squared_error", params=jnp.ones(()))
    data = np.ones(8, np.float32), np.ones(8, np.float32)
    with pytest.raises(NonFiniteError) as caught:
        fit(task, fnopt.sgd(0.0), data, epochs=200, batch_size=8, key=seed, accumulate=accumulate)
    where = caught.value.where
    assert where[0] == "outputs"
    if accumulate > 1:
        parts = step_keys(caught.value.state).forward
        draws = [float(jax.random.uniform(jax.random.fold_in(parts, i))) for i in range(4)]
        first = next(i for i, x in enumerate(draws) if x < 0.15)
        assert where[1] == f"micro-batch {first + 1} of 4"


def test_gradients_that_are_not_computed_are_not_blamed():
    params = {"still": jnp.zeros(()), "trained": jnp.ones(())}

    def loss(params: Any, batch: Any) -> Any:
        return jnp.sqrt(params["still"]) + params["trained"] * batch  # a slope of infinity at 0

    task = objective(loss, params=params)
    tx = fnopt.groups(("still", "freeze"), ("**", optax.sgd(np.inf)))
    state = TrainState.create(task, tx, 0)
    assert locate_nonfinite(task, state, jnp.ones(4)) == ("the update",)


def test_a_loss_scale_that_overflows_is_seen():
    task = objective(lambda params, x: params * x, "squared_error", params=jnp.ones(()))
    precision = fnopt.train.Precision(compute="float16", loss_scale=2.0**30)
    data = 100 * np.ones(8, np.float32), np.ones(8, np.float32)
    with pytest.raises(NonFiniteError) as caught:
        fit(task, fnopt.sgd(0.1), data, epochs=1, batch_size=8, precision=precision)
    assert caught.value.where == ("gradient",)
