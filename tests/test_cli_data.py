"""What the command line trains on and with: data sets, a user's arrays, a user's model."""

from __future__ import annotations

import json
import sys

import jax
import numpy as np
import pytest

from fnopt.cli import main
from fnopt.cli.data import Data, load_file
from fnopt.cli.model import default_model, make_objective
from fnopt.cli.optimizer import make_optimizer
from fnopt.cli.train import batch_size_of
from fnopt.train import TrainState, evaluate

pytestmark = pytest.mark.beside_optax


def run(*arguments):
    main(list(map(str, arguments)))


@pytest.mark.parametrize(
    ("dataset", "metric", "at_least", "at_most"),
    [
        ("breast_cancer", "accuracy", 0.93, 1),
        pytest.param("diabetes", "loss", 0.3, 0.75, marks=pytest.mark.slow),
    ],
)
def test_tables_are_trained_on(capsys, tmp_path, dataset, metric, at_least, at_most):
    pytest.importorskip("sklearn")
    options = ["--epochs", 25, "--batch-size", 32, "--no-plot", "--out", tmp_path]
    run("train", "--dataset", dataset, *options)
    *_, reached, _, files = capsys.readouterr().out.splitlines()
    assert reached.startswith((f"validation {metric} 0.", f"validation {metric} 1."))
    assert files == f"log: {tmp_path / f'{dataset}.jsonl'}"
    lines = (tmp_path / f"{dataset}.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == 25 and at_least <= records[-1][f"val_{metric}"] <= at_most
    assert {path.name for path in tmp_path.iterdir()} == {f"{dataset}.jsonl"}


def classes_of(x, classes):
    y = np.arange(len(x)) % classes
    return Data("name", "title", (x, y), (x, y), None, classes, "", False)


def test_pictures_go_through_a_convolutional_network():
    images = np.random.RandomState(0).randint(256, size=(6, 28, 28, 1)).astype(np.uint8)
    data = classes_of(images, 10)
    task = make_objective(data, None, None, 0)
    state = TrainState.create(task, make_optimizer("sgd", "constant", None, 1), 0)
    outputs, _ = task.forward(state.params, state.model_state, data.train, key=None, train=False)
    assert outputs.shape == (6, 10) and "accuracy" in evaluate(task, state, data.train)
    # Bytes become numbers in [0, 1] on their way in.
    as_floats = (images / 255).astype(np.float32), data.train[1]
    again, _ = task.forward(state.params, state.model_state, as_floats, key=None, train=False)
    np.testing.assert_allclose(outputs, again, rtol=1e-5, atol=1e-5)
    assert sum(x.ndim == 4 for x in jax.tree.leaves(state.params)) == 2


def test_pictures_without_an_axis_of_colours_and_small_ones_have_a_network_too():
    for shape, convolutions in (((6, 16, 16), True), ((6, 8, 8, 3), False), ((6, 3, 2), False)):
        images = np.zeros(shape, np.uint8)
        model, inputs = default_model(classes_of(images, 2), 0)
        assert hasattr(model, "convolutions") == convolutions
        assert model(inputs((images, None))).shape == (6, 2)


def test_features_of_a_file_are_scaled():
    x = np.random.RandomState(0).normal(5, [1, 100, 0], (50, 3)).astype(np.float32)
    _, inputs = default_model(classes_of(x, 2), 0)
    scaled = np.asarray(inputs((x, None)))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 0], atol=1e-4)


def test_what_is_not_installed_is_named_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv("FNOPT_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"^fnopt: no .*apt-get install dataset-fashion-mnist"):
        run("train", "--dataset", "fashion_mnist", "--out", tmp_path)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SystemExit, match=r"^fnopt: wine comes with scikit-learn: pip install"):
        run("train", "--dataset", "wine", "--out", tmp_path)


@pytest.mark.parametrize(
    ("dataset", "match"),
    [("digit", "no data set 'digit' to train on; did you mean 'digits'"), ("austen", "'austen'")],
)
def test_a_data_set_that_is_none_is_refused(tmp_path, dataset, match):
    with pytest.raises(SystemExit, match=match):
        run("train", "--dataset", dataset, "--out", tmp_path)


# A user's own arrays.

X = np.random.RandomState(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A current folder with a file ``data.npz``."""
    monkeypatch.chdir(tmp_path)
    np.savez("data.npz", x=X, y=Y)
    return tmp_path


def test_arrays_of_a_file_are_trained_on(capsys, folder):
    np.savez(
        "parts.npz", x_train=X, y_train=Y, x_val=X[:9], y_val=Y[:9], x_test=X[:5], y_test=Y[:5]
    )
    run("train", "--data", "parts.npz", "--epochs", 2, "--batch-size", 20, "--no-plot")
    begins, *_, reached, _, files = capsys.readouterr().out.splitlines()
    assert begins == ("parts.npz: 2 classes, 3 features, 40 examples to train on, 9 to validate on")
    assert "validation accuracy" in reached and ", test accuracy" in reached
    assert files == "log: out/parts.jsonl"


@pytest.mark.parametrize(
    ("arrays", "task", "classes", "targets"),
    [
        ({"x": X, "y": Y}, None, 2, (32,)),
        ({"X": X, "Y": Y > 0}, None, 2, (32,)),
        ({"x": X, "y": Y[:, None]}, None, 2, (32,)),
        ({"x": X, "y": Y.astype(np.float32)}, "classification", 2, (32,)),
        ({"x": X, "y": Y}, "regression", None, (32, 1)),
        ({"x": X, "y": X[:, 0]}, None, None, (32, 1)),
        ({"x": X, "y": X[:, :2]}, None, None, (32, 2)),
        ({"x_train": X, "y_train": Y, "x_test": X[:7], "y_test": Y[:7]}, None, 2, (40,)),
    ],
)
def test_the_task_follows_from_the_targets(folder, arrays, task, classes, targets):
    np.savez("data.npz", **arrays)
    data = load_file(folder / "data.npz", task)
    assert data.classes == classes and data.train[1].shape == targets and data.test is None
    assert data.outputs == (classes or targets[-1])
    assert data.train[1].dtype == (np.int32 if classes else np.float32)


def test_integers_stay_for_a_model_of_the_user_and_become_floats_for_that_of_fnopt(folder):
    np.savez("data.npz", x=np.arange(120).reshape(40, 3), y=Y)
    data = load_file(folder / "data.npz", None)
    assert data.train[0].dtype.kind == "i"
    assert default_model(data, 0)[1](data.train).dtype == np.float32


def test_what_is_held_out_is_a_fifth_of_each_class_the_same_every_time(folder):
    first, second = (load_file(folder / "data.npz", None) for _ in range(2))
    assert len(first.validation[0]) == 8
    assert abs(int(first.validation[1].sum()) - Y.sum() / 5) <= 1
    np.testing.assert_array_equal(first.validation[0], second.validation[0])


NAN = np.where(np.arange(40)[:, None] == 7, np.nan, X)
MISTAKES = {
    "no x and y": ({"a": X, "b": Y}, "has the arrays a, b; it must have the arrays x and y, or"),
    "nothing": ({}, "has no arrays; it must have"),
    "no y": ({"x": X}, "has x, but no y; it has the array x"),
    "lengths": ({"x": X, "y": Y[:9]}, "differ in their number of examples: shapes (40, 3)"),
    "one number": ({"x": X, "y": 3}, "shapes (40, 3) and ()"),
    "one axis": ({"x": X[:, 0], "y": Y}, "x in data.npz has shape (40,); it must have a row for"),
    "no rows": ({"x": X[:0], "y": Y[:0]}, "x in data.npz is empty: its shape is (0, 3)"),
    "text": ({"x": X, "y": np.array(["a"] * 40)}, "y in data.npz is text, not numbers; encode"),
    "dates": ({"x": X.astype("M8[s]"), "y": Y}, "is of dtype datetime64[s], not numbers"),
    "objects": ({"x": np.array([[1], "a"], object), "y": Y}, "an array of Python objects; give it"),
    "NaN": ({"x": NAN, "y": Y}, "x in data.npz has NaN or inf in 1 of 40 rows, first in row 7;"),
    "one-hot": ({"x": X, "y": np.eye(2, dtype=int)[Y]}, "Give one-hot labels as y.argmax(1)"),
    "negative": ({"x": X, "y": Y - 1}, "has the class -1; classes are whole numbers from 0 on"),
    "numbers": ({"x": X, "y": Y * 99}, "up to 99 of 32 examples: numbers rather than classes?"),
    "few": ({"x": X[:4], "y": Y[:4]}, "has 4 examples, too few to hold some out; give at least 10"),
    "parts": ({"x": X, "y": Y, "x_val": X[:, :2], "y_val": Y}, "in the shape of an example: (3,)"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_that_cannot_be_learnt_from_is_refused_in_a_sentence(folder, mistake):
    arrays, message = MISTAKES[mistake]
    np.savez("data.npz", **arrays)
    with pytest.raises(SystemExit) as error:
        run("train", "--data", "data.npz")
    assert message in str(error.value) and len(str(error.value)) < 200


def test_a_run_that_does_not_stay_finite_ends_in_a_sentence(folder):
    with pytest.raises(SystemExit, match=r"training stopped at step 1.* or --clip-norm are the"):
        run("train", "--data", "data.npz", "--optimizer", "sgd", "--lr", 1e30)


def test_fractions_are_no_classes(folder):
    np.savez("data.npz", x=X, y=X[:, 0])
    with pytest.raises(SystemExit, match=r"y in data\.npz are not whole numbers, as classes are"):
        run("train", "--data", "data.npz", "--task", "classification")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npz", None, "--data: there is no file none.npz"),
        (".", None, "--data: . is a folder, not an .npz file"),
        ("a.csv", b"1,2\n", r"a.csv is no .npz file; write one by numpy.savez\('data.npz', x=x"),
        ("bad.npz", b"PK\x03\x04", "bad.npz is no .npz file"),
        ("empty.npz", b"", "empty.npz is no .npz file, or a damaged one"),
        ("x.npy", X, "x.npy is one array; --data takes an .npz file of two"),
    ],
)
def test_a_file_that_is_no_npz_is_refused_in_a_sentence(folder, name, content, message):
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    elif content is not None:
        np.save(name, content)
    with pytest.raises(SystemExit, match=f"^fnopt: {message}"):
        run("train", "--data", name)


# A user's own model.

MODELS = """
import equinox
from flax import linen, nnx

def make(input_shape, outputs, rngs, width=4):
    return nnx.Sequential(
        nnx.Linear(input_shape[0], width, rngs=rngs), nnx.Linear(width, outputs, rngs=rngs)
    )

class OfLinen(linen.Module):
    outputs: int

    @linen.compact
    def __call__(self, x):
        return linen.Dense(self.outputs)(x)

def of_equinox(input_shape, outputs, key):
    return equinox.nn.Linear(input_shape[0], outputs, key=key)

class WithState(equinox.Module):
    linear: equinox.nn.Linear
    norm: equinox.nn.BatchNorm

    def __init__(self, key):
        self.linear = equinox.nn.Linear(3, 2, key=key)
        self.norm = equinox.nn.BatchNorm(2, "batch", mode="batch")

    def __call__(self, x, state):
        return self.norm(self.linear(x), state)

def with_state(key):
    return equinox.nn.make_with_state(WithState)(key)

def sized(size): pass
def nothing(): pass
def raises(input_shape): return input_shape.shape
number = 3
"""


@pytest.fixture
def models(folder, monkeypatch):
    """A module of models in the current folder, which is forgotten afterwards."""
    pytest.importorskip("equinox")
    (folder / "own_models.py").write_text(MODELS)
    (folder / "wrong.py").write_text("def f(:\n")
    (folder / "needs.py").write_text("import no_such_library\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield folder
    sys.modules.pop("own_models", None)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("own_models:make", "NNXObjective"),
        ("own_models.py:make", "NNXObjective"),
        ("own_models:OfLinen", "LinenObjective"),
        ("own_models:of_equinox", "EquinoxObjective"),
        ("own_models:with_state", "EquinoxObjective"),
    ],
)
def test_a_function_of_the_user_makes_the_model(models, spec, kind):
    data = load_file(models / "data.npz", None)
    task = make_objective(data, spec, None, 0)
    assert type(task).__name__ == kind
    state = TrainState.create(task, make_optimizer("sgd", "constant", None, 1), 0, data.train)
    assert set(evaluate(task, state, data.validation)) == {"loss", "accuracy"}


@pytest.mark.parametrize(("option", "size"), [(None, 64), ("all", 99), (8, 8)])
def test_a_step_takes_64_examples_or_all_if_there_are_fewer(option, size):
    assert batch_size_of(option, 99) == size
    assert batch_size_of(None, 20) == 20


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("own_models", "--model must be MODULE:FUNCTION, such as models:make or models.py:make"),
        ("nowhere:make", "there is no module 'nowhere' here or among those installed"),
        ("nowhere.py:make", "there is no file nowhere.py"),
        ("own_models:mak", "own_models has no 'mak'; did you mean 'make'?"),
        ("own_models:number", "is of type int: 3; it must be a function that returns a model"),
        (
            "own_models:sized",
            "takes 'size', which is none of input_shape, outputs, seed,",
        ),
        ("own_models:nothing", "returned None; it must return a Flax NNX, Linen or Equinox model"),
        ("own_models:raises", "raised AttributeError: 'tuple' object has no attribute 'shape' ("),
        ("wrong:f", "wrong raised SyntaxError: "),
        ("needs:f", "needs raised ModuleNotFoundError: No module named 'no_such_library' ("),
    ],
)
def test_a_model_that_cannot_be_made_is_refused_in_a_sentence(models, spec, message):
    with pytest.raises(SystemExit) as error:
        run("train", "--data", "data.npz", "--model", spec)
    assert message in str(error.value) and str(error.value).count("\n") == 0
