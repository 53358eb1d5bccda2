"""Schedules, sizes of steps and noise of gradients: what is recorded, and its pictures."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from models import blobs, function_task

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex

import fnopt
from fnopt.lab import (
    GradientNoiseRecorder,
    StepSizeRecorder,
    gradient_noise,
    plot_schedule,
    themed,
)
from fnopt.lab.end_labels import EndLabels
from fnopt.lab.noise import _estimates, _norms
from fnopt.lab.step_size_picture import plot_step_sizes
from fnopt.lab.style import THEMES
from fnopt.train import TrainState, evaluation_on, fit, objective

task = functools.cache(function_task)


def run(tx, **options):
    options = {"epochs": 3, "batch_size": 10, "progress": False, **options}
    return fit(task(), tx, blobs(), **options)


def words(axes):
    return [
        text.get_text()
        for artist in axes.get_children()
        if isinstance(artist, EndLabels)
        for text in artist.texts
    ]


# Schedules


@pytest.mark.beside_optax
def test_schedules_of_fnopt_and_of_optax(tmp_path):
    cosine = fnopt.cosine_decay_schedule(0.1, 20)
    figure = plot_schedule(
        {"ours": cosine, "optax": optax.linear_schedule(0.1, 0.0, 20), "constant": 0.05},
        30,
        theme="dark",
        path=tmp_path / "s.png",
    )
    assert (tmp_path / "s.png").stat().st_size > 5_000
    ours, linear, constant = (line.get_ydata() for line in figure.axes[0].lines)
    np.testing.assert_allclose(ours, [float(cosine(step)) for step in range(30)], rtol=1e-6)
    np.testing.assert_allclose(linear, np.maximum(0, 0.1 * (1 - np.arange(30) / 20)), atol=1e-7)
    assert set(constant) == {np.float32(0.05)}
    assert words(figure.axes[0]) == ["ours", "optax", "constant"]


def test_a_schedule_without_a_label_is_called_as_it_prints():
    figure = plot_schedule(fnopt.exponential_decay(1.0, 5, 0.5), np.array([1, 10]), yscale="log")
    assert words(figure.axes[0])[0].startswith("exponential_decay(")
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 10]
    with pytest.raises(TypeError, match="is no schedule but text"):
        plot_schedule("cosine", 10)


# Sizes of steps


def test_sizes_of_steps_are_those_of_the_parameters():
    class Kept:
        every = 1

        def __init__(self):
            self.w = []

        def on_state(self, state):
            self.w.append(np.array(state.params["w"], float))

    recorder, kept = StepSizeRecorder(every=4), Kept()
    run(recorder.watch(fnopt.adam(0.1)), callbacks=[recorder, kept])
    assert recorder.steps == [4, 8, 12, 15] and recorder.paths == ("b", "w")
    for step, rms, ratio in zip(recorder.steps, recorder.rms, recorder.ratio, strict=True):
        moved = kept.w[step] - kept.w[step - 1]
        assert rms[1] == pytest.approx(np.sqrt((moved**2).mean()), rel=1e-4)
        norms = np.linalg.norm(moved), np.linalg.norm(kept.w[step - 1])
        assert ratio[1] == pytest.approx(norms[0] / norms[1], rel=1e-4)


def test_watching_does_not_change_the_run():
    recorder = StepSizeRecorder(every=4)
    watched = run(recorder.watch(fnopt.adam(0.1)), callbacks=recorder)
    alone = run(fnopt.adam(0.1))
    np.testing.assert_array_equal(watched.state.params["w"], alone.state.params["w"])
    np.testing.assert_array_equal(watched.history["learning_rate"], alone.history["learning_rate"])


def test_the_pictures_of_sizes(tmp_path):
    recorder = StepSizeRecorder(every=4)
    run(recorder.watch(fnopt.adam(0.1)), callbacks=recorder)
    figure = recorder.plot(path=tmp_path / "lines.png")
    assert words(figure.axes[0]) == ["b", "w"]
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), [x[1] for x in recorder.ratio])
    assert words(recorder.plot("rms", where="w").axes[0]) == ["w"]
    rows = {f"layer {n}": np.array([1.0, 0.1, np.inf]) * (n + 1) for n in range(12)}
    figure = plot_step_sizes([5, 10, 15], rows, "size", "", "dark", tmp_path / "map.png")
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(rows)
    assert axes.collections[0].get_array().shape == (12, 3)
    assert axes.get_xlim() == (0, 15)


def test_an_infinite_ratio_is_left_out_and_the_size_of_that_step_drawn():
    recorder = StepSizeRecorder()
    tx = recorder.watch(fnopt.sgd(0.1))
    fit(
        mean_task(), tx, targets(0), epochs=1, batch_size=16,
        callbacks=[recorder], progress=False,
    )  # fmt: skip
    assert np.isinf(recorder.ratio[0]).all() and np.isfinite(recorder.ratio[1:]).all()
    assert "A ratio that is infinite" in recorder.plot.__doc__

    def drawn(quantity):
        return np.isfinite(recorder.plot(quantity).axes[0].lines[0].get_ydata()).tolist()

    assert drawn("ratio")[-3:] == [True] * 3 and sum(drawn("ratio")) == 3
    assert drawn("rms") == [True] * 4


def test_mistakes_about_sizes():
    recorder = StepSizeRecorder()
    with pytest.raises(ValueError, match="the optimizer does not measure its steps; give fit"):
        run(fnopt.sgd(0.1), callbacks=recorder)
    with pytest.raises(ValueError, match="nothing is recorded yet"):
        recorder.plot()
    run(recorder.watch(fnopt.sgd(0.1)), callbacks=recorder)
    with pytest.raises(ValueError, match="is the path of no leaf; there are b, w"):
        recorder.plot(where="kernel")
    with pytest.raises(ValueError, match="quantity must be one of"):
        recorder.plot("size")
    with pytest.raises(ValueError, match="no leaf has moved"):
        plot_step_sizes([1], {"w": np.zeros(1)}, "", "", "light", None)


# Noise of gradients


def targets(seed, examples=64):
    """A mean of squares whose gradients are normal: of mean -2 and covariance 4 * diag(1, 9)."""
    rng = np.random.RandomState(seed)
    y = rng.normal(size=(examples, 2)) * [1, 3] + [1, 0]
    return np.zeros(examples, "f4"), y.astype("f4")


@functools.cache
def mean_task():
    def squares(outputs, y):
        return jnp.sum((outputs - y) ** 2, -1)

    return objective(lambda w, x: jnp.broadcast_to(w, (len(x), 2)), squares, params=jnp.zeros(2))


def test_noise_by_hand():
    """With single examples the estimates are those of the sample: variance and its share of it."""
    state = TrainState.create(mean_task(), fnopt.sgd(0.1), 0)
    grads = -2 * targets(0)[1].astype(float)
    trace = grads.var(0, ddof=1).sum()
    noise = gradient_noise(mean_task(), state, targets(0), batch_size=1)
    assert noise.trace == pytest.approx(trace, rel=1e-5)
    assert noise.squared_norm == pytest.approx((grads.mean(0) ** 2).sum() - trace / 64, rel=1e-4)
    assert noise.scale == pytest.approx(noise.trace / noise.squared_norm)


def test_sums_of_narrow_gradients_are_wide():
    """In bfloat16 a sum of ones stays at 256."""

    def outputs(w, x):
        return w.astype("float32") * x

    task = objective(outputs, "squared_error", params=jnp.zeros((), "bfloat16"))
    x, y = np.ones(512, np.float32), np.full(512, -0.5, np.float32)
    state = TrainState.create(task, fnopt.sgd(0.1), 0)
    noise = gradient_noise(task, state, (x, y), batch_size=1)
    assert noise.squared_norm == pytest.approx(1.0) and noise.trace == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("batch_size", [2, 8])
def test_noise_is_estimated_without_bias(batch_size):
    """Over many sets of data its mean is the truth: the trace is 40 and the squared norm 4."""
    state = TrainState.create(mean_task(), fnopt.sgd(0.1), 0)
    sums = _norms(mean_task(), False)  # one program for all
    estimates = []
    for seed in range(400):
        batches = [x.reshape(-1, batch_size, *x.shape[1:]) for x in targets(seed)]
        noise = _estimates(sums(state, tuple(batches)), batches)
        estimates.append((noise.trace, noise.squared_norm))
    mean, error = np.mean(estimates, 0), np.std(estimates, 0) / 20
    assert (np.abs(mean - [40, 4]) < 3.5 * error).all() and (error < [1.2, 0.4]).all()
    # What is not corrected is above it by the noise of all the data.
    assert np.abs(mean[1] + 40 / 64 - 4) > 3 * error[1]


def test_noise_along_a_run(tmp_path):
    recorder = GradientNoiseRecorder(mean_task(), targets(0), every=2, batch_size=4)
    state = TrainState.create(mean_task(), fnopt.sgd(0.01), 0)
    recorder.record(state)
    fit(
        mean_task(), None, targets(0), epochs=4, batch_size=16, state=state,
        callbacks=[recorder], progress=False,
    )  # fmt: skip
    assert [(record.epoch, record.step) for record in recorder.records] == [(0, 0), (2, 8), (4, 16)]
    first, *_, last = [record.noise for record in recorder.records]
    assert first.trace == pytest.approx(last.trace, rel=1e-4)  # constant along the run
    assert first.squared_norm > last.squared_norm > 0
    figure = recorder.plot(batch_size=16, theme="dark", path=tmp_path / "n.png")
    assert (tmp_path / "n.png").stat().st_size > 10_000
    above, below = figure.axes
    assert words(above) == ["batch size 16", "noise scale"] and len(words(below)) == 2
    np.testing.assert_allclose(
        above.lines[1].get_ydata(), [record.noise.scale for record in recorder.records]
    )


def test_mistakes_about_noise():
    state = TrainState.create(mean_task(), fnopt.sgd(0.1), 0)
    with pytest.raises(ValueError, match="64 examples are 1 batches of 64"):
        gradient_noise(mean_task(), state, targets(0), batch_size=64)
    with pytest.raises(TypeError, match="gradient_noise"):
        gradient_noise(mean_task(), None, targets(0))
    recorder = GradientNoiseRecorder(mean_task(), targets(0))
    with pytest.raises(ValueError, match="nothing is recorded yet"):
        recorder.plot()
    level = np.zeros(64, "f4"), np.zeros((64, 2), "f4")
    recorder = GradientNoiseRecorder(mean_task(), level)
    assert np.isnan(recorder.record(state).noise.scale)
    with pytest.raises(ValueError, match="the gradient is smaller than the noise"):
        recorder.plot()


@pytest.mark.parametrize(("every", "each"), [(1, "each epoch"), (3, "every 3 epochs")])
def test_a_run_that_diverges_at_once_has_no_record_of_noise(every, each):
    from fnopt.curvature import SpectrumRecorder

    noise = GradientNoiseRecorder(mean_task(), targets(0), every=every)
    for recorder in (noise, SpectrumRecorder(lambda state: state, every=every)):
        says = f"no epoch with a record was completed; fit.* makes one after {each}$"
        with pytest.raises(ValueError, match=says):
            recorder.plot()


# One run


def test_a_recorder_is_for_one_run():
    from fnopt.curvature import SpectrumRecorder, hessian
    from fnopt.lab import PathRecorder

    def matrix(state):
        return hessian(evaluation_on(mean_task(), state, targets(0)), state.params)

    sizes = StepSizeRecorder(every=4)
    tx = sizes.watch(fnopt.sgd(0.01))
    options = {"batch_size": 16, "progress": False}
    recorders = [
        PathRecorder(every=4),
        sizes,
        GradientNoiseRecorder(mean_task(), targets(0), batch_size=16),
        SpectrumRecorder(matrix, steps=2, samples=1),
    ]
    first = fit(mean_task(), tx, targets(0), epochs=1, callbacks=recorders, **options)
    # One that goes on:
    fit(mean_task(), None, targets(0), epochs=1, state=first.state, callbacks=recorders, **options)
    path, _, *others = recorders
    assert path.steps == [0, 4, 8] and sizes.steps == [4, 8]
    assert [[record.step for record in other.records] for other in others] == [[4, 8], [4, 8]]
    for recorder in recorders:
        name = type(recorder).__name__
        says = rf"{name}: it has recorded a run up to step 8.*take a new recorder for each run"
        with pytest.raises(ValueError, match=says):
            fit(mean_task(), tx, targets(0), epochs=1, callbacks=recorder, **options)
    assert path.steps == [0, 4, 8]


# Other pictures


def test_a_picture_without_a_theme_gets_one(tmp_path):
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2)
    line = left.axhline(1, color="black")
    colored = left.plot([1, 2], color="tab:blue", label="a")[0]
    words = left.text(0, 1, "words", color="black")
    left.legend()
    mesh = right.pcolormesh(np.eye(3), cmap="Greys")
    bar = figure.colorbar(mesh)
    figure.suptitle("title")
    assert themed(figure, "dark") is figure
    ink, background = THEMES["dark"].ink, THEMES["dark"].background
    assert line.get_color() == words.get_color() == ink
    assert colored.get_color() == "tab:blue" and mesh.get_cmap().name == "Greys_r"
    assert to_hex(left.get_facecolor()) == to_hex(figure.get_facecolor()) == background
    assert left.get_legend().get_texts()[0].get_color() == figure._suptitle.get_color() == ink
    assert bar.ax.yaxis.get_ticklabels()[0].get_color() == ink
    themed(figure, "light")
    assert line.get_color() == THEMES["light"].ink and mesh.get_cmap().name == "Greys"
    plt.close(figure)
    with pytest.raises(ValueError, match="theme must be one of"):
        themed(figure, "blue")
