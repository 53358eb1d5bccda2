"""The learning rate range test: its losses, where it ends, what it suggests, and its picture."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task, nnx_task

import fnopt
from fnopt.data import Arrays
from fnopt.lab.end_labels import EndLabels
from fnopt.sweeps import learning_rate_range_test
from fnopt.sweeps.range_test import _losses
from fnopt.sweeps.range_test_result import range_test_result, smoothed_losses
from fnopt.train import objective

task = functools.cache(function_task)
X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5])).astype(np.float32)
TOP = float(np.linalg.eigvalsh(2 * X.T @ X / 64)[-1])
"""The largest curvature of the linear problem: steps of 2 / TOP and more diverge."""


@functools.cache
def linear():
    return objective(lambda w, x: x @ w, "squared_error", params=np.zeros(3, "f4"))


def run(tx=None, **options):
    options = {"low": 1e-3, "high": 1e3, "steps": 60, "batch_size": None, **options}
    return learning_rate_range_test(linear(), tx or fnopt.sgd(0.1), (X, Y), **options)


def by_hand(rates, momentum=0.0):
    """The losses after each step of gradient descent at these rates."""
    w, velocity, losses = np.zeros(3), np.zeros(3), []
    for rate in rates:
        velocity = momentum * velocity + 2 * X.T @ (X @ w - Y) / 64
        w = w - rate * velocity
        losses.append(np.mean((X @ w - Y) ** 2))
    return np.array(losses)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_losses_are_those_after_each_step_by_hand(momentum):
    test = run(fnopt.sgd(5.0, momentum=momentum), stop=np.inf, high=0.1)
    rates = 1e-3 * 100 ** (np.arange(60) / 59)
    np.testing.assert_allclose(test.rates, rates, rtol=1e-6)
    np.testing.assert_allclose(test.losses, by_hand(rates, momentum), rtol=2e-4, atol=1e-6)


def test_the_growth_ends_where_the_average_has_risen():
    test, whole = run(), by_hand(run().rates)
    # Of the loss before the first step, too.
    losses = np.concatenate([[np.mean(Y**2)], whole])
    average, best, ended = 0.0, np.inf, None
    for t, loss in enumerate(losses):
        average = 0.8 * average + 0.2 * loss
        mean = average / (1 - 0.8 ** (t + 1))
        best = min(best, mean)
        if mean > 4 * best:
            ended = t
            break
    assert ended is not None and 20 < ended < 59
    np.testing.assert_allclose(test.losses[:ended], whole[:ended], rtol=1e-3, atol=1e-6)
    assert np.isnan(test.losses[ended:]).all() and np.isnan(test.smoothed[ended:]).all()
    assert 2 / TOP < test.rates[ended]
    longer = run(stop=100.0)
    assert np.isfinite(longer.losses).sum() > ended
    np.testing.assert_array_equal(longer.losses[:ended], test.losses[:ended])


def test_a_loss_that_is_not_finite_ends_it_too():
    def outputs(w, x):
        return jnp.where(jnp.sum(w) < -1, jnp.nan, jnp.broadcast_to(w, x.shape))

    falling = objective(outputs, lambda outputs, y: jnp.sum(outputs, -1), params=np.zeros(3, "f4"))
    test = learning_rate_range_test(
        falling, fnopt.sgd(0.1), (X, Y), low=1e-3, high=1.0, steps=40, batch_size=None
    )
    finite = np.isfinite(test.losses)
    last = int(np.flatnonzero(finite)[-1])
    assert 5 < last < 39 and finite[: last + 1].all()
    total = np.cumsum(3 * test.rates)
    assert total[last] <= 1 < total[last + 1]
    assert test.suggestion is not None  # the loss is below 0, which is no rise


OPTIMIZERS = {
    "muon": fnopt.muon,
    "schedule_free": fnopt.schedule_free_adamw,
    "clipped": lambda rate: fnopt.chain(fnopt.clip_by_global_norm(1.0), fnopt.sgd(rate)),
    "lookahead": lambda rate: fnopt.lookahead(fnopt.adam(rate), 5, 0.5),
    "sam": lambda rate: fnopt.sam(fnopt.adam(rate), fnopt.sgd(0.01)),
    "accumulated": lambda rate: fnopt.MultiSteps(fnopt.adamw(rate, weight_decay=0.1), 2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_with_one_rate(name):
    tx = OPTIMIZERS[name](0.1)
    before = str(tx)
    test = learning_rate_range_test(task(), tx, blobs(), batch_size=16, low=1e-5, steps=50)
    assert np.isfinite(test.losses[:10]).all()
    assert test.suggestion is not None and 1e-5 < test.suggestion < 10
    assert str(tx) == before  # a value


def test_a_schedule_is_replaced():
    number = run(fnopt.adam(1.0))
    schedule = run(fnopt.adam(fnopt.cosine_decay_schedule(1e-3, 5)))
    np.testing.assert_array_equal(schedule.losses, number.losses)


def test_one_program_for_all_ranges():
    own = objective(lambda w, x: x @ w, "squared_error", params=np.zeros(3, "f4"))
    for low, high, stop, b1 in [(1e-5, 1.0, 4.0, 0.9), (1e-3, 10.0, 2.0, 0.5)]:
        learning_rate_range_test(own, fnopt.adam(1.0, b1=b1), (X, Y), low=low, high=high, stop=stop)
    assert _losses.of(own)._cache_size() == 1


def test_data_are_gone_through_as_often_as_it_takes():
    """In order, as augmented, and the same for the same key."""
    seen = []

    def augment(key, batch):
        return batch[0] + 1, batch[1]

    level = objective(lambda w, x: w * x, lambda outputs, y: outputs, params=np.float32(1))
    data = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    for arrays in (data, Arrays(data, shuffle=False, augment=augment)):
        test = learning_rate_range_test(
            level, fnopt.sgd(1.0), arrays, low=1e-12, high=1e-11, steps=9, batch_size=2, stop=np.inf
        )
        seen.append(test.losses)
    np.testing.assert_allclose(seen[1], [3.5, 5.5, 7.5, 1.5, 3.5, 5.5, 7.5, 1.5, 3.5], rtol=1e-5)
    # Of an epoch the first batch is that before the first step.
    assert seen[0][3:7].sum() == pytest.approx(4 * 3.5)
    again = [run(batch_size=16, key=key, steps=10).losses for key in (0, 0, 1)]
    np.testing.assert_array_equal(again[0], again[1])
    assert (again[0] != again[2]).any()


def test_a_network_with_dropout_and_batch_statistics():
    test = learning_rate_range_test(
        nnx_task(), fnopt.adam(1.0), blobs(200), low=1e-6, steps=60, batch_size=20
    )
    assert 1e-4 < test.suggestion < 0.5


# The suggestion


def test_a_suggestion_for_a_parabola():
    """Below what diverges, and not so small that a run gets nowhere."""
    for batch_size in (None, 16):
        test = run(steps=100, batch_size=batch_size)
        assert 0.01 / TOP < test.suggestion < 1.5 / TOP


def losses_by_rate(*points):
    """A broken line over the exponents of the rates 1e-6, …, 10."""
    exponents = np.linspace(-6, 1, 71)
    return 10.0**exponents, np.interp(exponents, *zip(*points, strict=True))


def test_the_smaller_of_two_rates_is_suggested():
    # Falls most from 1e-4 to 1e-3, least loss at 1e-1.
    test = range_test_result(
        *losses_by_rate((-6, 2), (-4, 2), (-3, 1), (-1, 0.5), (0, 8)), smoothing=0
    )
    assert 1e-4 <= test.steepest <= 1e-3 and test.tenth == pytest.approx(1e-2)
    assert test.suggestion == test.steepest
    assert test.reason.startswith("the loss falls most steeply there; a tenth of the rate of the")
    # Falls most just before the least loss.
    test = range_test_result(
        *losses_by_rate((-6, 2), (-3, 1.8), (-1.5, 1.5), (-1, 0.5), (0, 8)), smoothing=0
    )
    assert test.steepest > test.tenth == test.suggestion == pytest.approx(1e-2)
    assert test.reason.startswith("a tenth of the rate of the lowest loss")
    # Falls to the end.
    test = range_test_result(*losses_by_rate((-6, 2), (1, 1)), smoothing=0)
    assert test.suggestion is not None and "higher `high`" in test.reason


def test_no_suggestion_where_the_loss_falls_nowhere():
    for points in ([(-6, 1), (1, 1)], [(-6, 1), (1, 5)]):
        test = range_test_result(*losses_by_rate(*points), smoothing=2)
        assert test.suggestion is None and np.isnan([test.steepest, test.tenth]).all()
        assert "lower `low`" in test.reason and "suggestion=None" in repr(test)
    rates, losses = losses_by_rate((-6, 1), (1, 1))
    rng = np.random.default_rng(0)
    suggested = 0
    for _ in range(50):
        noisy = range_test_result(rates, losses + 0.1 * rng.normal(size=71), smoothing=2)
        suggested += noisy.suggestion is not None
    assert suggested <= 5
    test = range_test_result(rates, np.full_like(losses, np.nan), smoothing=2)
    assert test.suggestion is None
    with pytest.raises(ValueError, match="no loss is finite"):
        test.plot()


def test_smoothing_is_centred():
    line = np.arange(40.0)
    inside = slice(10, 30)
    np.testing.assert_allclose(smoothed_losses(line, 2.0)[inside], line[inside], atol=1e-4)
    np.testing.assert_array_equal(smoothed_losses(line, 0.0), line)
    line[30:] = np.nan
    smoothed = smoothed_losses(line, 2.0)
    assert np.isfinite(smoothed[:30]).all() and np.isnan(smoothed[30:]).all()
    spike = np.zeros(41)
    spike[20] = 1.0
    weights = smoothed_losses(spike, 2.0)
    assert weights.sum() == pytest.approx(1) and weights[18] == pytest.approx(weights[22])
    assert weights[22] / weights[20] == pytest.approx(np.exp(-0.5))


def test_losses_beyond_the_ceiling_do_not_hide_those_before():
    losses = np.concatenate([np.full(30, 2.0), np.linspace(2, 1, 30), [1.0, 1e4]])
    test = range_test_result(np.geomspace(1e-6, 10, 62), losses, smoothing=2)
    assert test.ceiling == 2.5  # half of 2 - 1 above 2
    assert np.nanargmin(test.smoothed) >= 57 and np.nanmax(test.smoothed) <= 2.5


# The picture


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_picture(tmp_path, theme):
    pytest.importorskip("matplotlib")
    test = run(batch_size=16)
    figure = test.plot(theme=theme, title="sgd", path=tmp_path / "r.png")
    assert (tmp_path / "r.png").stat().st_size > 10_000
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_title() == "sgd"
    finite = np.isfinite(test.losses)
    low, high = axes.get_ylim()
    assert low < np.nanmin(test.losses) and test.ceiling < high < np.nanmax(test.losses)
    losses, smoothed, suggestion = axes.lines
    np.testing.assert_allclose(losses.get_ydata(), test.losses[test.losses <= test.ceiling])
    np.testing.assert_allclose(smoothed.get_ydata(), test.smoothed[finite])
    assert suggestion.get_xdata()[0] == test.suggestion
    texts = [text.get_text() for text in axes.texts]
    assert texts == [f"suggestion {float(f'{test.suggestion:.2g}'):g}"]
    assert any(isinstance(artist, EndLabels) for artist in axes.get_children())


# Refusals


@pytest.mark.beside_optax
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"low": 0}, ValueError, r"low must lie in \(0, inf\), got 0"),
        ({"low": "small"}, TypeError, "low must be a number, got 'small'"),
        ({"high": 1e-9}, ValueError, "high must be above low=1e-07, got 1e-09"),
        ({"high": np.nan}, ValueError, r"high must lie in \(0, inf\), got nan"),
        ({"steps": 3}, ValueError, "steps must be at least 8, got 3"),
        ({"stop": 1}, ValueError, r"stop must lie in \(1, inf\], got 1"),
        ({"smoothing": -1}, ValueError, r"smoothing must lie in \[0, inf\)"),
        ({"batch_size": 100}, ValueError, "batch_size must be from 1 to the 64 examples"),
        ({"optimizer": optax.adam(0.1)}, ValueError, "is an optimizer of optax"),
        ({"optimizer": fnopt.lbfgs()}, ValueError, "must have one learning rate"),
        ({"optimizer": fnopt.clip(1.0)}, ValueError, "must have one learning rate"),
        (
            {"optimizer": fnopt.chain(fnopt.sgd(0.1), fnopt.sgd(0.2))},
            ValueError,
            "must have one learning rate",
        ),
        ({"optimizer": fnopt.adam}, TypeError, "call"),
        ({"data": [(X, Y)].__iter__()}, TypeError, "a stream of batches; give the arrays"),
        ({"key": "zero"}, TypeError, "key must be a PRNG key or an integer"),
    ],
)
def test_mistakes(change, error, words):
    arguments = {"optimizer": fnopt.sgd(0.1), "data": (X, Y), **change}
    optimizer, data = arguments.pop("optimizer"), arguments.pop("data")
    with pytest.raises(error, match=words) as refusal:
        learning_rate_range_test(linear(), optimizer, data, **arguments)
    assert len(str(refusal.value)) <= 400
