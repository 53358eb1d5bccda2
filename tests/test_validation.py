"""The data that a run is evaluated on, and the names of their metrics."""

from __future__ import annotations

import functools
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models import blobs, function_task
from test_damage import STORED, stored_run
from test_loaders import Loader

import fnopt
from fnopt.data import Arrays, Batches, split
from fnopt.train import (
    DataError,
    accuracy,
    early_stopping,
    evaluate,
    fit,
    maximized,
    minimized,
    objective,
)

TX = fnopt.sgd(0.3)
shared_task = functools.cache(function_task)
VALIDATION, NOISY = blobs(20, seed=1), blobs(30, seed=2)


def run(task: Any = None, data: Any = None, **options: Any) -> Any:
    options = {"epochs": 2, "batch_size": 25, **options}
    return fit(task or shared_task(), TX, blobs() if data is None else data, **options)


def recorded(result: Any) -> list[str]:
    """The names of the metrics of evaluations in the history."""
    training = run(epochs=1).history.records[0]
    return [name for name in result.history.records[0] if name not in training]


# Names in the history


@pytest.mark.beside_optax
def test_every_set_is_recorded_under_its_name():
    sets = {"noisy": NOISY, "batches": Batches([VALIDATION])}
    result = run(validation_data=VALIDATION, evaluation_sets=sets)
    metrics = ("accuracy", "loss")
    assert recorded(result) == [f"{name}_{x}" for name in ("val", *sets) for x in metrics]
    for name, data in (("val", VALIDATION), ("noisy", NOISY), ("batches", VALIDATION)):
        expected = evaluate(shared_task(), result.state, data)
        for metric, value in expected.items():
            np.testing.assert_allclose(
                result.history[f"{name}_{metric}"][-1], value, rtol=1e-5, atol=1e-7
            )
    alone = run(evaluation_sets={"noisy": NOISY}, eval_every=2)
    assert recorded(alone) == ["noisy_accuracy", "noisy_loss"]
    assert alone.history.evaluations[-1]["noisy_loss"] == alone.history["noisy_loss"][-1]
    # Evaluating changes nothing.
    assert jnp.all(alone.state.params["w"] == result.state.params["w"])


def test_test_data_is_an_alias_for_one_version():
    with pytest.warns(DeprecationWarning, match="test_data= is now validation_data=") as caught:
        old = run(test_data=VALIDATION)
    assert caught[0].filename == __file__
    new = run(validation_data=VALIDATION)
    assert recorded(old) == ["test_accuracy", "test_loss"]
    np.testing.assert_array_equal(old.history["test_loss"], new.history["val_loss"])
    with pytest.warns(DeprecationWarning) as caught:
        old = run(test_data=VALIDATION, early_stopping=early_stopping(9))
        run(test_data=VALIDATION, monitor="test_accuracy")
    assert len(caught) == 2
    assert float(old.state.stopping_state.best) == np.float32(old.history["test_loss"].min())


def test_a_run_stored_before_goes_on_with_validation_data(tmp_path):
    shutil.unpack_archive(STORED, tmp_path)
    rest = stored_run(
        tmp_path, resume=True, test_data=None, validation_data=blobs(20), monitor="val_accuracy"
    )
    assert "test_accuracy" in rest.history.evaluations[0]
    assert "val_accuracy" in rest.history.evaluations[-1]
    assert not any("test_loss" in record for record in rest.history.records[1:])


# The watched metric


def share(outputs: Any, labels: Any) -> Any:
    return accuracy(outputs, labels)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"validation_data": VALIDATION}, "val_loss"),
        ({"evaluation_sets": {"noisy": NOISY, "other": VALIDATION}}, "noisy_loss"),
        ({"validation_data": VALIDATION, "evaluation_sets": {"noisy": NOISY}}, "val_loss"),
        ({"validation_data": VALIDATION, "monitor": "val_accuracy"}, "val_accuracy"),
        (
            {"validation_data": VALIDATION, "evaluation_sets": {"noisy": NOISY},
             "monitor": "noisy_accuracy"},
            "noisy_accuracy",
        ),
    ],
)  # fmt: skip
def test_the_metric_is_watched_by_its_name_in_the_history(options, name, tmp_path):
    stopping = early_stopping(9)
    result = run(
        **options, epochs=3, early_stopping=stopping, checkpoint_dir=tmp_path, keep=1, keep_best=1
    )
    metrics = result.history[name]
    best = np.argmax(metrics) if name.endswith("accuracy") else np.argmin(metrics)
    assert result.state.stopping.mode == ("max" if name.endswith("accuracy") else "min")
    assert float(result.state.stopping_state.best) == np.float32(metrics[best])
    assert float(result.last.metric) == np.float32(metrics[-1])
    assert (tmp_path / f"step_{2 * (1 + best):08d}").is_dir()


def test_a_plateau_goes_by_the_named_set():
    """The set with wrong labels gets worse, the other better."""
    noisy = NOISY[0], (NOISY[1] + 1) % 3
    for monitor, scale in (("noisy_loss", 0.25), ("val_loss", 1.0)):
        plateau = fnopt.reduce_on_plateau(0.5, patience=0, monitor="metric")
        result = fit(
            function_task(), fnopt.chain(fnopt.sgd(0.1), plateau), blobs(), epochs=4,
            batch_size=25, validation_data=VALIDATION, evaluation_sets={"noisy": noisy},
            monitor=monitor,
        )  # fmt: skip
        assert float(result.state.opt_state[1].scale) == scale


@pytest.mark.parametrize(
    ("data", "monitor", "name"),
    [
        ({"validation_data": VALIDATION}, "accuracy", "val_accuracy"),
        ({"validation_data": VALIDATION}, "loss", "val_loss"),
        ({"evaluation_sets": {"noisy": NOISY}}, "accuracy", "noisy_accuracy"),
    ],
)
def test_a_short_name_is_taken_for_one_version(data, monitor, name):
    with pytest.warns(
        DeprecationWarning, match=f"is now monitor='{name}', the name in the hist"
    ) as caught:
        result = run(**data, monitor=monitor, early_stopping=early_stopping(9))
    assert caught[0].filename == __file__
    best = float(result.state.stopping_state.best)
    assert best in result.history[name].astype(np.float32)


def with_error(name: str = "error") -> Any:
    """A task whose metric comes with the loss, so that its name is known late."""

    def loss(params: Any, batch: Any, train: bool) -> Any:
        losses = (batch[0] @ params["w"] - 1.0) ** 2
        return jnp.mean(losses, axis=1), {name: jnp.max(losses, axis=1)}

    return objective(loss, params={"w": jnp.zeros((8, 2))}, has_aux=True)


def test_a_metric_that_comes_with_the_loss_is_watched_by_either_name():
    options: dict[str, Any] = {"validation_data": VALIDATION, "monitor_mode": "min"}
    run(with_error(), monitor="val_error", **options)
    with pytest.warns(DeprecationWarning, match="monitor='val_error'"):
        run(with_error(), monitor="error", **options)
    with pytest.raises(ValueError, match="monitor='val_eror'; did you mean 'val_error'"):
        run(with_error(), monitor="val_eror", **options)


def test_names_that_would_be_recorded_twice_are_refused():
    """A metric called as another set's loss is."""
    metrics = {"noisy_loss": minimized(share), "accuracy": maximized(accuracy)}
    task = function_task()
    task.metric_fns = metrics
    run(task, validation_data=VALIDATION, monitor="val_noisy_loss")
    with pytest.raises(ValueError, match="would record 'noisy_loss', the name of another metric"):
        run(task, evaluation_sets={"noisy": NOISY})


# What is refused


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"test_data": VALIDATION, "validation_data": VALIDATION},
            "former name of val",
        ),
        ({"evaluation_sets": {"test": NOISY}}, "'test' in evaluation_sets is reserved; take anoth"),
        ({"evaluation_sets": {"train": NOISY}}, "'train' in evaluation_sets is reserved"),
        ({"evaluation_sets": {"val": NOISY}}, "reserved.*or give validation_data="),
        ({"evaluation_sets": {"two words": NOISY}}, "'two words'.* must be an identifier"),
        ({"evaluation_sets": {3: NOISY}}, "the name 3 .* must be an identifier"),
        (
            {"evaluation_sets": {"accuracy": NOISY}},
            "'accuracy' in evaluation_sets is that of",
        ),
        ({"evaluation_sets": {"loss": NOISY}}, "'loss' in evaluation_sets is that of a metric"),
        ({"validation_data": VALIDATION, "monitor": "val_acuracy"}, "did you mean 'val_accuracy'"),
        ({"validation_data": VALIDATION, "monitor": "acuracy"}, "did you mean 'val_accuracy'"),
        ({"validation_data": VALIDATION, "monitor": "noisy_loss"}, "known: val_accuracy, val_loss"),
        ({"monitor": "val_loss"}, "monitor='val_loss' needs an evaluation; give validation_data"),
        ({"early_stopping": early_stopping()}, "early_stopping needs an evaluation; give val"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        run(**options)


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ((NOISY,), "must be a dict of data by name, such as {'noisy': data}, got tuple"),
        ({"noisy": None}, r"evaluation_sets\['noisy'\] is None; leave it out"),
    ],
)
def test_sets_without_a_name_or_data_are_refused(sets, says):
    with pytest.raises(TypeError, match=says):
        run(evaluation_sets=sets)


def test_an_error_names_the_set():
    with pytest.raises(ValueError, match=r"fit: evaluation_sets\['noisy'\] is an iterator"):
        run(evaluation_sets={"noisy": iter([NOISY])})
    with pytest.raises(DataError, match=r"batch 1 of evaluation_sets\['noisy'\] has another shape"):
        run(evaluation_sets={"noisy": Loader([NOISY, (NOISY[0][:, :3], NOISY[1])])})


# A share held out


@pytest.mark.beside_optax
def test_the_same_examples_are_held_out_whatever_the_key():
    training, held_out = split(blobs(50), 0.2, key=0)
    for key in (0, 1):
        result = run(validation_split=0.2, key=key, batch_size=20)
        expected = fit(
            shared_task(), TX, training, epochs=2, batch_size=20, validation_data=held_out,
            key=key,
        )  # fmt: skip
        assert jnp.all(result.state.params["w"] == expected.state.params["w"])
        np.testing.assert_array_equal(result.history["val_loss"], expected.history["val_loss"])


def test_a_resumed_run_holds_out_the_same(tmp_path):
    options: dict[str, Any] = {"validation_split": 0.2, "batch_size": 20}
    whole = run(**options, epochs=4)
    run(**options, epochs=2, checkpoint_dir=tmp_path)
    rest = run(**options, epochs=4, checkpoint_dir=tmp_path, resume=True, key=5)
    np.testing.assert_array_equal(whole.history["val_loss"], rest.history["val_loss"])


def test_weights_and_augmentation_stay_with_the_training_part():
    x, y = blobs(50)
    weights = np.arange(50.0)

    def augment(key: jax.Array, batch: Any) -> Any:
        return batch[0] + 1.0, batch[1]

    result = run(data=Arrays((x, y), weights=weights, augment=augment), validation_split=0.2,
                 batch_size=20)  # fmt: skip
    (training, kept), (held_out, _) = split(((x, y), weights), 0.2, key=0)
    expected = run(data=Arrays(training, weights=kept, augment=augment), validation_data=held_out,
                   batch_size=20)  # fmt: skip
    assert jnp.all(result.state.params["w"] == expected.state.params["w"])
    np.testing.assert_array_equal(result.history["val_loss"], expected.history["val_loss"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"validation_split": 1.5}, r"must lie in \(0, 1\), such as 0.1, got 1.5"),
        ({"validation_split": 0}, r"must lie in \(0, 1\), .* got 0; None holds out nothing"),
        ({"validation_split": float("nan")}, r"must lie in \(0, 1\)"),
        ({"validation_split": 0.001}, "0.001 of 50 examples leaves a part empty; give more data"),
        ({"validation_split": 0.6}, "leaves 20 of 50 examples .* fewer than batch_size=25; hold"),
        ({"validation_split": 0.1, "validation_data": VALIDATION}, "validation_split or validatio"),
        ({"validation_split": 0.1, "test_data": VALIDATION}, "validation_split or test_data"),
        (
            {"validation_split": 0.1, "data": Loader([blobs()])},
            "data are Loader; give validat",
        ),
        (
            {"validation_split": 0.1, "data": Batches([blobs()])},
            "data are Batches; give valid",
        ),
    ],
)
def test_a_share_that_cannot_be_held_out_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        run(**options)


@pytest.mark.parametrize("share", ["0.1", True, (0.8, 0.2)])
def test_a_share_is_a_number(share):
    with pytest.raises(TypeError, match="validation_split must be a share such as"):
        run(validation_split=share)


@pytest.mark.beside_optax
def test_the_best_checkpoint_is_the_best_in_what_is_watched_now(tmp_path):
    """The loss of earlier epochs, above 1, is no accuracy."""
    options = {"validation_data": VALIDATION, "checkpoint_dir": tmp_path, "keep": 1}
    task = objective(
        lambda params, x: x @ params["w"],
        "softmax_cross_entropy_with_integer_labels",
        metrics={"accuracy": accuracy},
        params={"w": 9.0 * np.eye(8, 3, dtype=np.float32)},
    )
    run(task, **options)
    result = run(task, epochs=6, resume=True, monitor="val_accuracy", **options)
    assert result.history["val_loss"][:2].max() > 1
    assert result.best.value == result.history["val_accuracy"].max() and result.best.checkpoint
