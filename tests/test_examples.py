"""Every example runs, if only for a moment."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fnopt.data import Text, austen, fashion_mnist

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.beside_optax


def example(path):
    return runpy.run_path(str(EXAMPLES / path))


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/README.md")))
def test_a_page_says_how_to_run_each_program(name):
    got = (EXAMPLES / name / "README.md").read_text()
    for program in (EXAMPLES / name).glob("*.py"):
        command = f"python examples/{name}/{program.name}"
        assert command in got and f"``{command}``" in program.read_text(), program


def test_digits_in_linen(tmp_path, capsys):
    pytest.importorskip("sklearn")
    assert example("digits/linen.py")["main"](epochs=5, out=str(tmp_path)) > 0.95
    assert len(records(tmp_path / "digits_linen.jsonl")) == 5
    assert "the first eight are taken for [" in capsys.readouterr().out


def stripes(examples):
    """Pictures that are bright at their label's rows, as bytes."""
    rng = np.random.RandomState(0)
    labels = rng.randint(10, size=examples).astype(np.int32)
    images = rng.randint(60, size=(examples, 28, 28, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 7] += 150
    return images, labels


def small_2c2d(program):
    # The kernels' gradients are slow as these tests compile them.
    return program["TwoConvTwoDense"](nnx.Rngs(0), channels=(4, 4), hidden=32)


def test_fashion_mnist_on_stripes(tmp_path, capsys):
    program = example("fashion_mnist/train.py")
    model = small_2c2d(program)
    reached = program["run"](model, stripes(256), stripes(50), 2, 5e-3, 32, 0, str(tmp_path))
    assert reached > 0.3  # a guess is 0.1
    got = capsys.readouterr().out.splitlines()
    assert got[0].startswith("adam(learning_rate=0.005")
    assert "87.65 %" in got[2] and "89.11 %" in got[3]
    assert [record["epoch"] for record in records(tmp_path / "fashion_mnist.jsonl")] == [1, 2]


def test_the_network_of_fashion_mnist_is_that_of_deepobs():
    model = example("fashion_mnist/train.py")["TwoConvTwoDense"](nnx.Rngs(0))
    shapes = {
        jax.tree_util.keystr(path): x.shape
        for path, x in jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(nnx.state(model)))[0]
    }
    assert shapes == {
        "['conv1']['kernel']": (5, 5, 1, 32),
        "['conv1']['bias']": (32,),
        "['conv2']['kernel']": (5, 5, 32, 64),
        "['conv2']['bias']": (64,),
        "['dense1']['kernel']": (3136, 1024),
        "['dense1']['bias']": (1024,),
        "['dense2']['kernel']": (1024, 10),
        "['dense2']['bias']": (10,),
    }
    kernel = np.asarray(model.dense1.kernel[...])
    # Cut off at two deviations, which leaves 0.8796 of the deviation.
    assert abs(kernel.std() / 0.05 - 0.8796) < 2e-3 and np.abs(kernel).max() <= 0.1
    for layer in (model.conv1, model.conv2, model.dense1, model.dense2):
        np.testing.assert_array_equal(layer.bias[...], np.float32(0.05))


def test_fashion_mnist_on_clothes(tmp_path):
    try:
        train, test = fashion_mnist()
    except FileNotFoundError:
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    train, test = (tuple(x[:640] for x in pair) for pair in (train, test))
    program = example("fashion_mnist/train.py")
    model = small_2c2d(program)
    assert program["run"](model, train, test, 2, 5e-3, 32, 0, str(tmp_path)) > 0.4


RHYME = "the cat sat on the mat and the rat sat on the cat. "


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("float32", "bfloat16_params")]


@pytest.mark.parametrize("precision", ["bfloat16_stochastic", *SLOW])
def test_the_language_model_on_a_rhyme(precision, tmp_path, capsys):
    run = example("char_lm/train.py")["run"]
    text, sizes = Text(RHYME * 120), (16, 32, 1, 2)
    bits = run(text, sizes, 3, None, precision, 1e-2, 8, 0, str(tmp_path))
    assert bits < 1.5  # log2 of its 13 symbols is 3.7
    assert len(records(tmp_path / f"char_lm_{precision}.jsonl")) == 3
    *_, got, sample = capsys.readouterr().out.splitlines()
    assert got.startswith(f"{precision}: validation accuracy ") and len(sample) == 16
    example("char_lm/plot.py")["main"](str(tmp_path), window=5)
    assert (tmp_path / "char_lm.png").stat().st_size > 10_000


def test_the_language_model_knows_nothing_of_what_comes():
    model = example("char_lm/train.py")["Transformer"](5, 8, 16, 2, 2, nnx.Rngs(0))
    tokens = jnp.array([[0, 1, 2, 3, 4, 0, 1, 2]])
    before, after = model(tokens), model(tokens.at[0, 5:].set(3))
    np.testing.assert_allclose(before[0, :5], after[0, :5], atol=1e-6)
    assert np.abs(before[0, 5:] - after[0, 5:]).max() > 1e-3


def test_the_language_model_on_novels(tmp_path):
    try:
        austen()
    except FileNotFoundError:
        pytest.skip("Debian's package r-cran-janeaustenr is not installed")
    main = example("char_lm/train.py")["main"]
    bits = main(examples=160, batch_size=8, width=32, layers=1, length=32, out=str(tmp_path))
    assert bits < 6  # log2 of its 81 symbols is 6.3


def test_regression(tmp_path, capsys):
    pytest.importorskip("sklearn")
    reached = example("regression/train.py")["main"](epochs=15, out=str(tmp_path))
    assert reached.keys() == {"least squares", "sgd", "adamw", "lion", "prodigy"}
    assert all(0.3 < error < 0.9 for error in reached.values())
    assert len(list(tmp_path.iterdir())) == 4
    assert "least squares" in capsys.readouterr().out


def test_the_spectrum_along_training(tmp_path, capsys):
    pytest.importorskip("sklearn")
    main = example("curvature/spectrum.py")["main"]
    assert main(epochs=10, every=5, width=4, steps=6, out=str(tmp_path)) > 0
    assert "3 spectra" in capsys.readouterr().out
    assert (tmp_path / "spectrum.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_race_of_readme(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    example("race/race.py")["main"](tmp_path, steps=5, seconds=0.4)
    assert {path.name for path in tmp_path.iterdir()} == {"race_light.gif", "race_dark.gif"}
    assert "lbfgs" in capsys.readouterr().out


@pytest.mark.slow
def test_the_pictures_of_runs(tmp_path, capsys):
    pytest.importorskip("sklearn")
    main = example("pictures/pictures.py")["main"]
    main(epochs=2, seeds=2, width=4, resolution=3, examples=20, themes=("dark",), out=str(tmp_path))
    assert "pictures" in capsys.readouterr().out
    drawn = {path.name for path in tmp_path.iterdir()}
    committed = {path.name[4:] for path in (EXAMPLES.parent / "docs/pictures").glob("lab_*.png")}
    assert drawn == {name for name in committed if name.endswith("_dark.png")}
    assert all(path.stat().st_size > 10_000 for path in tmp_path.iterdir())


def test_a_sweep_and_descent_on_its_learning_rate(tmp_path, capsys):
    pytest.importorskip("sklearn")
    main = example("sweep/sweep.py")["main"]
    options = dict(epochs=2, seeds=2, rates=(1e-3, 1e-2), decays=(0.01,), rounds=3, width=8)
    best, tuned = main(**options, out=str(tmp_path))
    assert best in (1e-3, 1e-2) and best / 100 < tuned < best
    names = {path.name for path in tmp_path.iterdir()}
    pictures = {f"sweep_{name}.png" for name in ("values", "curves", "range_test", "noise_scale")}
    assert names == pictures | {"sweep_tune.png", "sweep.csv", "sweep.json"}
    got = capsys.readouterr().out
    assert got.startswith("Sweep(\n    4 runs, 2 entrants, 1 program") and "RangeTest(" in got
