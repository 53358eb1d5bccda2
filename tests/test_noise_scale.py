"""The gradient noise scale: against what is known exactly, its uncertainty, its batch size."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, nnx_task

import fnopt
from fnopt.lab import gradient_noise
from fnopt.sweeps import gradient_noise_scale
from fnopt.sweeps.noise_scale import _measured, _sizes
from fnopt.sweeps.noise_scale_result import _uncertainty, noise_scale_result
from fnopt.train import TrainState, objective

DIM, SIGMA = 4, 1.5
MEAN = np.array([0.6, -0.8, 1.0, 0.0])
TRACE, SQUARED_NORM = 4 * DIM * SIGMA**2, 4 * float(MEAN @ MEAN)
"""Of gradients 2 (w - y) at w = 0, with y normal around ``MEAN``: 36 and 8."""
SCALE = TRACE / SQUARED_NORM


@functools.cache
def mean_task():
    def squares(outputs, y):
        return jnp.sum((outputs - y) ** 2, -1)

    return objective(
        lambda w, x: jnp.broadcast_to(w, (len(x), DIM)), squares, params=jnp.zeros(DIM)
    )


def targets(seed, examples=256):
    y = MEAN + SIGMA * np.random.default_rng(seed).normal(size=(examples, DIM))
    return np.zeros(examples, np.float32), y.astype(np.float32)


def state():
    return TrainState.create(mean_task(), fnopt.sgd(0.1), 0)


def test_the_estimate_is_that_of_the_lab():
    wanted = gradient_noise(mean_task(), state(), targets(0), batch_size=4, key=3)
    found = gradient_noise_scale(mean_task(), state(), targets(0), batch_sizes=[4, 16], key=3)
    np.testing.assert_allclose(found.noise, wanted, rtol=1e-4)
    assert found.scale == pytest.approx(wanted.scale, rel=1e-4)


def by_hand(seed, small, examples=256):
    """The estimate from the gradients of batches, -2 times the means of their targets."""
    grads = -2 * targets(seed, examples)[1].astype(float).reshape(-1, small, DIM).mean(1)
    return noise_scale_result((grads**2).sum(1)[:, None], grads @ grads.sum(0), (small,), examples)


@pytest.mark.parametrize("small", [1, 4])
def test_the_interval_holds_the_true_scale(small):
    """In about 95 of 100 data sets, and the standard error is that of the estimates."""
    found = [by_hand(seed, small) for seed in range(1000)]
    low, high = np.array([each.interval for each in found]).T
    scales, errors = np.array([(each.scale, each.error) for each in found]).T
    assert ((low < scales) & (scales < high)).all()
    assert 0.925 <= np.mean((low <= SCALE) & (SCALE <= high)) <= 0.975
    assert np.median(scales) == pytest.approx(SCALE, rel=0.05)
    assert np.median(errors) == pytest.approx(np.std(scales), rel=0.25)


def test_the_program_computes_what_is_computed_by_hand():
    """For one example a batch their order does not matter."""
    found, wanted = (
        gradient_noise_scale(mean_task(), jnp.zeros(DIM), targets(0), batch_sizes=1),
        by_hand(0, 1),
    )
    assert found.scale == pytest.approx(wanted.scale, rel=1e-4)
    assert found.error == pytest.approx(wanted.error, rel=1e-3)
    np.testing.assert_allclose(found.interval, wanted.interval, rtol=1e-3)


def test_more_data_are_surer():
    few, many = by_hand(0, 1, 200), by_hand(0, 1, 3200)
    assert few.error / many.error == pytest.approx(4, rel=0.4)
    assert abs(many.scale - SCALE) < 4 * many.error < 2


def test_uncertainty_is_that_of_leaving_out_each_batch():
    y = targets(1, 40)[1].astype(float)
    grads = -2 * y.reshape(10, 4, DIM).mean(1)

    def estimates(grads):
        number = len(grads)
        mean, of_mean = (grads**2).sum(1).mean(), (grads.mean(0) ** 2).sum()
        trace = 4 * (mean - of_mean) * number / (number - 1)
        return np.array([of_mean - trace / (4 * number), trace])

    left_out = np.array([estimates(np.delete(grads, i, 0)) for i in range(10)])
    covariance = 0.9 * (left_out - left_out.mean(0)).T @ (left_out - left_out.mean(0))
    squares, total = (grads**2).sum(1)[:, None], grads.sum(0)
    found = noise_scale_result(squares, grads @ total, (4,), 40)
    np.testing.assert_allclose(found.noise, estimates(grads), rtol=1e-9)
    (s, t), r = found.noise, found.scale
    gradient = np.array([-t / s**2, 1 / s])  # of the quotient
    assert found.error == pytest.approx(math.sqrt(gradient @ covariance @ gradient))
    # At the ends of the interval t - r s is 1.96 of its standard errors away from 0.
    for r in found.interval:
        direction = np.array([-r, 1.0])
        error = math.sqrt(direction @ covariance @ direction)
        assert abs(direction @ [s, t]) / error == pytest.approx(1.96, rel=1e-3)


def test_norms_of_larger_batches_are_means_of_theirs():
    # 37 batches of 6 are left of 225 examples, of which 2 groups of 18.
    found = gradient_noise_scale(
        mean_task(), state(), targets(2, 225), batch_sizes=(6, 12, 108), key=5
    )
    assert found.batch_sizes.tolist() == [6, 12, 108]
    order = jax.random.permutation(jax.random.key(5), 225)
    grads = -2 * targets(2, 225)[1][np.asarray(order)].astype(float)
    for size, norm, error in zip(
        found.batch_sizes, found.squared_norms, found.squared_norm_errors, strict=True
    ):
        number = 222 // size
        means = grads[: number * size].reshape(number, size, DIM).mean(1)
        squares = (means**2).sum(1)
        assert norm == pytest.approx(squares.mean(), rel=1e-4)
        assert error == pytest.approx(squares.std(ddof=1) / math.sqrt(number), rel=1e-3)


def test_measured_norms_follow_the_formula():
    found = gradient_noise_scale(mean_task(), state(), targets(3, 8192), batch_sizes=(2, 8, 32))
    wanted = SQUARED_NORM + TRACE / found.batch_sizes
    assert (np.abs(found.squared_norms - wanted) < 4 * found.squared_norm_errors).all()


@pytest.mark.parametrize(
    ("scale", "examples", "batch_size"),
    [(0.2, 100, 1), (5.0, 100, 4), (6.0, 100, 8), (100.0, 1000, 128), (1e6, 1000, 1000)],
)
def test_the_suggested_batch_size(scale, examples, batch_size):
    """Of two batches with the gradients (1 + d, 0) and (1 - d, 0)."""
    d = math.sqrt(scale / (2 + scale))  # tr = 2 d**2, |G|**2 = 1 - d**2
    grads = np.array([1 + d, 1 - d])
    found = noise_scale_result(grads[:, None] ** 2, 2 * grads, (1,), examples)
    assert found.scale == pytest.approx(scale)
    assert found.batch_size == batch_size
    assert ("fewer than the noise scale" in found.reason) == (scale > examples)


def test_a_gradient_that_cannot_be_told_from_noise():
    y = np.random.default_rng(2).normal(size=(64, DIM)).astype("f4")
    data = np.zeros(64, "f4"), y
    found = gradient_noise_scale(mean_task(), state(), data, batch_sizes=1)
    assert math.isnan(found.scale) and math.isnan(found.error) and found.batch_size is None
    assert found.interval[0] > 5 and found.interval[1] == math.inf
    assert "give more data" in found.reason and "batch_size=None" in repr(found)
    with pytest.raises(ValueError, match="there is no noise scale; give more data"):
        found.plot()
    two = noise_scale_result(np.ones((2, 1)), np.ones(2), (1,), 2)
    assert math.isnan(two.error) and two.interval == (0.0, math.inf)


def test_fieller_of_nothing_that_is_resolved():
    noise = gradient_noise(mean_task(), state(), targets(0), batch_size=1)
    _, interval = _uncertainty(noise._replace(squared_norm=1.0, trace=1.0), np.eye(2))
    assert interval == (0.0, math.inf)


def test_parameters_alone_are_enough():
    params = jnp.asarray(MEAN / 2, jnp.float32)
    found = gradient_noise_scale(mean_task(), params, targets(0))
    moved = state().replace(params=params)
    assert found.noise == gradient_noise_scale(mean_task(), moved, targets(0)).noise
    assert found.noise.squared_norm < 0.5 * SQUARED_NORM


def test_a_network_with_dropout_and_batch_statistics():
    task = nnx_task()
    start = TrainState.create(task, fnopt.adam(0.1), 0)
    found = gradient_noise_scale(task, start, blobs(512), train=True)
    assert found.batch_sizes.tolist() == [16, 64, 256]
    assert 0 < found.interval[0] < found.scale < found.interval[1] < 1000
    assert found.batch_size in {2**i for i in range(10)}


def test_one_program():
    def squares(outputs, y):
        return jnp.sum((outputs - y) ** 2, -1)

    own = objective(lambda w, x: jnp.broadcast_to(w, (len(x), DIM)), squares, params=jnp.zeros(DIM))
    for seed in range(3):
        gradient_noise_scale(own, jnp.full(DIM, 0.1 * seed), targets(seed), key=seed)
    assert _measured.of(own)._cache_size() == 1


def test_sizes_of_few_data():
    sizes = [_sizes(None, number) for number in (2, 20, 300, 512)]
    assert sizes == [(1,), (2, 8), (16, 64), (16, 64, 256)]


@pytest.mark.parametrize("shuffle", [True, False])
def test_data_may_be_arrays_as_of_a_run(shuffle):
    """Their batches are drawn at random either way: the noise is that of such batches."""
    data = fnopt.data.Arrays(targets(0), shuffle=shuffle)
    for params in (jnp.zeros(DIM), state()):
        found = gradient_noise_scale(mean_task(), params, data, key=1)
        assert found.noise == gradient_noise_scale(mean_task(), params, targets(0), key=1).noise
    assert gradient_noise(mean_task(), state(), data) == gradient_noise(
        mean_task(), state(), targets(0)
    )


def test_weights_and_augmentation_of_arrays_are_those_of_the_batches():
    x, y = targets(0)
    weights = np.arange(256) < 2
    data = fnopt.data.Arrays((x, y), weights=weights)
    noise = gradient_noise_scale(mean_task(), state(), data, batch_sizes=1).noise
    apart = y[0] - y[1]
    assert noise.trace == pytest.approx(float(apart @ apart), rel=0.05)  # 4 times the variance

    def louder(key, batch):
        return batch[0], 3 * batch[1]

    data = fnopt.data.Arrays((x, y), augment=louder)
    plain, loud = (
        gradient_noise_scale(mean_task(), state(), each, batch_sizes=1).noise
        for each in ((x, y), data)
    )
    assert loud.trace == pytest.approx(9 * plain.trace, rel=1e-3)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_picture(tmp_path, theme):
    pytest.importorskip("matplotlib")
    found = gradient_noise_scale(mean_task(), state(), targets(0, 1024), batch_sizes=(4, 16, 64))
    figure = found.plot(theme=theme, path=tmp_path / "n.png", title="mean")
    assert (tmp_path / "n.png").stat().st_size > 10_000
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [text.get_text() for text in axes.texts] == [f"noise scale {found.scale:.2g}"]
    lines = [line.get_xdata() for line in axes.lines]
    assert any(len(x) == 2 and x[0] == found.scale for x in lines)


@pytest.mark.beside_optax
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"batch_sizes": []}, ValueError, "batch_sizes must be ascending"),
        ({"batch_sizes": [8, 4]}, ValueError, "batch_sizes must be ascending"),
        ({"batch_sizes": [4, 6]}, ValueError, "each a multiple of the first"),
        ({"batch_sizes": [0]}, ValueError, "batch_sizes must be at least 1, got 0"),
        ({"batch_sizes": [2.5]}, TypeError, "batch_sizes must be an integer"),
        ({"batch_sizes": [4, 32]}, ValueError, "50 examples are fewer than two batches of 32"),
        ({"batch_sizes": 50}, ValueError, "50 examples are fewer than two batches of 50"),
        ({"state": "w"}, TypeError, "state is text"),
        ({"state": {"w": jnp.zeros(DIM)}}, ValueError, "parameters like those of the obj"),
        ({"data": iter([targets(0)])}, TypeError, "a stream of batches; give the arrays"),
        ({"data": None}, TypeError, "data"),
        ({"objective": optax.adam(0.1)}, TypeError, "objective"),
    ],
)
def test_mistakes(change, error, words):
    arguments = {
        "objective": mean_task(),
        "state": jnp.zeros(DIM),
        "data": targets(0, 50),
        **change,
    }
    with pytest.raises(error, match=words) as refusal:
        gradient_noise_scale(**arguments)
    assert len(str(refusal.value)) <= 400
