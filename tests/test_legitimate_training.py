"""Input of training that checks must let pass."""

from __future__ import annotations

import copy
import functools
import sys

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnopt
from fnopt.cli.step_log import StepLog
from fnopt.data import Arrays
from fnopt.train import accuracy, fit, objective
from fnopt.train.history import History

pytestmark = pytest.mark.beside_optax

X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)
CLASSES = "softmax_cross_entropy_with_integer_labels"


def linear(params, x):
    return x @ params


def run(data, loss=CLASSES, classes=3, **options):
    metrics = options.pop("metrics", None)
    task = objective(linear, loss, params=np.zeros((2, classes), np.float32), metrics=metrics)
    return fit(task, fnopt.sgd(0.1), data, epochs=1, batch_size=4, progress=False, **options)


@pytest.mark.parametrize("dtype, classes", [(np.uint8, 256), (np.int8, 200)])
def test_labels_of_a_narrow_dtype(dtype, classes):
    run((X, np.arange(8).astype(dtype)), classes=classes)


def test_labels_that_a_loss_leaves_out():
    def loss(outputs, labels):
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.maximum(labels, 0))
        return jnp.where(labels < 0, 0.0, losses)

    run((X, np.array([0, 1, 2, -1] * 2)), loss, metrics=[accuracy])


def test_labels_of_examples_that_are_never_drawn():
    labels = np.array([0, 1, 2, -1] * 2)
    run(Arrays((X, labels), weights=(labels >= 0).astype(np.float32)))
    with pytest.raises(ValueError, match=r"number 3, 7"):
        run(Arrays((X, labels), weights=np.ones(8)))


def test_batches_with_a_number_in_them():
    def batches():
        yield {"x": X, "labels": np.arange(8) % 3, "temperature": np.float32(1)}

    task = objective(
        linear, CLASSES, params=np.zeros((2, 3), np.float32),
        inputs=lambda batch: batch["x"], targets=lambda batch: batch["labels"],
    )  # fmt: skip
    assert fit(task, fnopt.sgd(0.1), batches, epochs=2, progress=False).ended == "epochs"


def test_wrappers_that_give_an_argument_themselves():
    def scaled(outputs, targets, scale):
        return scale * jnp.sum((outputs - targets) ** 2, -1)

    @functools.wraps(scaled)
    def loss(outputs, targets):
        return scaled(outputs, targets, 2.0)

    def of_rng(params, rng, x):
        return linear(params, x)

    @functools.wraps(of_rng)
    def model(params, x):
        return of_rng(params, None, x)

    task = objective(model, loss, params=np.zeros((2, 3), np.float32))
    data = X, np.zeros((8, 3), np.float32)
    assert fit(task, fnopt.sgd(0.1), data, epochs=1, batch_size=8, progress=False).ended == "epochs"


def test_a_stream_that_can_only_be_written_to(monkeypatch):
    class Tee:
        def __init__(self):
            self.text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

    tee = Tee()
    monkeypatch.setattr(sys, "stderr", tee)
    task = objective(linear, "squared_error", params=np.zeros((2, 3), np.float32))
    fit(task, fnopt.sgd(0.1), (X, np.zeros((8, 3), np.float32)), epochs=1, batch_size=4)
    assert tee.text.startswith("epoch 1/1  loss")


def test_a_terminal_that_is_closed_does_not_end_a_run():
    progress_bar = pytest.importorskip("fnopt.train.progress_bar")

    class Closed:
        encoding = "utf-8"

        def write(self, text):
            raise OSError(5, "Input/output error")

        def flush(self):
            raise OSError(5, "Input/output error")

        def isatty(self):
            return True

    bar = progress_bar.TerminalBar(Closed(), with_stdout=False)
    bar.start(lambda with_bar: [])
    bar.leave([])
    bar.stop()


@pytest.mark.parametrize("name", ["step", "epoch", "seconds"])
def test_a_metric_of_a_name_that_every_record_has_is_refused(name):
    with pytest.raises(ValueError, match=f"reports {name}; rename"):
        objective(linear, "squared_error", params=X, metrics={name: accuracy})


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    path = tmp_path / "steps.jsonl"
    path.write_text('{"step": 10, "loss": 1.0}\n{"step": 20, "lo')
    log = StepLog(10, path, True)
    log(30, {"loss": np.ones(10)})
    assert [text[:12] for text in path.read_text().splitlines()] == ['{"step": 10,', '{"step": 30,']


def test_a_history_contains_its_metrics():
    history = History([{"epoch": 1, "step": 2, "loss": 0.5}])
    assert "loss" in history and "val_loss" not in history
    assert list(history) == ["epoch", "loss", "step"]


def test_a_copied_result_predicts():
    result = run((X, np.arange(8) % 3))
    np.testing.assert_array_equal(copy.copy(result).predict(X), result.predict(X))
