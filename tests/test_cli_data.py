"""The command line's data sets: what is trained on each, and what is said of one that lacks."""

from __future__ import annotations

import json
import sys

import jax
import numpy as np
import pytest

from fnopt import cli
from fnopt.train import TrainState, evaluate

pytestmark = pytest.mark.beside_optax


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["fnopt", *map(str, arguments)])
    cli.main()


@pytest.mark.parametrize(
    ("dataset", "metric", "at_least", "at_most"),
    [
        ("breast_cancer", "accuracy", 0.93, 1),
        ("wine", "accuracy", 0.9, 1),
        ("diabetes", "loss", 0.3, 0.75),
    ],
)
def test_tables_are_trained_on(monkeypatch, capsys, tmp_path, dataset, metric, at_least, at_most):
    pytest.importorskip("sklearn")
    run(
        monkeypatch,
        *("train", "--dataset", dataset, "--epochs", 25, "--batch-size", 32, "--out", tmp_path),
    )
    *_, reached, _, files = capsys.readouterr().out.splitlines()
    assert reached.startswith(f"test {metric} 0.") or reached.startswith(f"test {metric} 1.")
    assert str(tmp_path / f"{dataset}.png") in files
    records = [
        json.loads(line) for line in (tmp_path / f"{dataset}.jsonl").read_text().splitlines()
    ]
    assert len(records) == 25 and at_least <= records[-1][f"test_{metric}"] <= at_most
    assert {path.name for path in tmp_path.iterdir()} == {f"{dataset}.png", f"{dataset}.jsonl"}


def test_pictures_go_through_a_convolutional_network():
    images = np.random.RandomState(0).randint(256, size=(6, 28, 28, 1)).astype(np.uint8)
    labels = np.arange(4, 10)
    task, metric = cli.make_objective("fashion_mnist", images, labels, 0)
    state = TrainState.create(task, cli.make_optimizer("sgd", "constant", None, 1), 0)
    outputs, _ = task.forward(
        state.params, state.model_state, (images, labels), key=None, train=False
    )
    assert outputs.shape == (6, 10) and metric in evaluate(task, state, (images, labels))
    # Bytes become numbers in [0, 1] on their way in.
    as_floats = (images / 255).astype(np.float32), labels
    again, _ = task.forward(state.params, state.model_state, as_floats, key=None, train=False)
    np.testing.assert_allclose(outputs, again, rtol=1e-5, atol=1e-5)
    assert sum(x.ndim == 4 for x in jax.tree.leaves(state.params)) == 2


def test_what_is_not_installed_is_told_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv("FNOPT_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^fnopt: no .*apt-get install dataset-fashion-mnist"):
        run(monkeypatch, "train", "--dataset", "fashion_mnist", "--out", tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SystemExit, match=r"^fnopt: wine comes with scikit-learn: pip install"):
        run(monkeypatch, "train", "--dataset", "wine", "--out", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "match"),
    [("digit", "no data set 'digit' to train on; did you mean 'digits'"), ("austen", "'austen'")],
)
def test_a_data_set_that_is_none_is_refused(monkeypatch, tmp_path, dataset, match):
    with pytest.raises(SystemExit, match=match):
        run(monkeypatch, "train", "--dataset", dataset, "--out", tmp_path)
