"""Paths of runs in planes: the mathematics, the recorder, the picture."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models import blobs, nnx_task

pytest.importorskip("matplotlib")

import fnopt
from fnopt.lab import PathRecorder, filter_normalized_directions, plot_path
from fnopt.lab.flat import layout_of, vector_of
from fnopt.lab.path_picture import _percent, loss_in_plane
from fnopt.lab.plane import plane_along, principal_plane
from fnopt.train import TrainState, early_stopping, evaluation_on, fit, objective

# The plane


def paths(shapes, parameters, seed=0):
    rng = np.random.RandomState(seed)
    scales = 0.5 ** np.arange(parameters)
    return [(3 + rng.randn(points, parameters) * scales).astype("f4") for points in shapes]


@pytest.mark.parametrize(("shapes", "parameters"), [((30,), 5), ((6,), 300), ((8, 5), 40)])
def test_principal_directions_are_those_of_the_svd(shapes, parameters, monkeypatch):
    monkeypatch.setattr("fnopt.lab.plane.BLOCK", 7)  # several blocks
    some = paths(shapes, parameters)
    plane = principal_plane(some)
    points = np.concatenate(some).astype(float)
    _, singular, right = np.linalg.svd(points - points.mean(0), full_matrices=False)
    signs = np.sign((plane.directions * right[:2]).sum(1))
    np.testing.assert_allclose(plane.directions * signs[:, None], right[:2], atol=1e-5)
    np.testing.assert_allclose(plane.shares, singular[:2] ** 2 / (singular**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(plane.origin, np.mean([path[-1] for path in some], 0), rtol=1e-6)
    at = plane.coordinates(points)
    np.testing.assert_allclose(at, (points - plane.origin) @ plane.directions.T, atol=1e-5)
    starts, ends = (np.mean([path[i] for path in some], 0) for i in (0, -1))
    assert plane.coordinates(np.stack([starts, ends]))[0, 0] <= 0
    assert at[np.abs(at[:, 1]).argmax(), 1] >= 0


def test_a_path_in_a_plane_is_reached_exactly():
    corner = np.array([[2, 1], [1, 0.5], [0, 0]]) @ np.eye(2, 9) + 1
    plane = principal_plane([corner, corner[::-1] * [1, 2, *[1] * 7]])
    at = plane.coordinates(corner)
    np.testing.assert_allclose(plane.origin + at @ plane.directions, corner, atol=1e-12)
    assert abs(plane.shares.sum() - 1) < 1e-12


def test_a_straight_path_has_one_direction_and_a_random_one():
    line = np.linspace(1, 0, 5)[:, None] * np.ones(4)
    plane = principal_plane([line])
    np.testing.assert_allclose(plane.shares, [1, 0])
    np.testing.assert_allclose(plane.directions @ plane.directions.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(plane.coordinates(line)[:, 1], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("path", "error"),
    [(np.ones((3, 1)), "two parameters or more"), (np.ones((3, 4)), "all its 3 points are the sa")],
)
def test_paths_without_a_plane(path, error):
    with pytest.raises(ValueError, match=error):
        principal_plane([path])


def test_coordinates_along_directions_that_are_not_orthogonal():
    two = np.array([[1.0, 0, 0, 0], [1, 2, 0, 0]])
    points = np.array([[0, 0, 5.0, 0], [3, 4, 5, 0]])
    plane = plane_along([points], two)
    np.testing.assert_allclose(plane.coordinates(points), [[-1, -2], [0, 0]], atol=1e-12)
    assert plane.shares[0] == pytest.approx(9 / 25)


# Filters


class Conv(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 3, (2, 2), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.head = nnx.Linear(12, 4, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        return self.head(x.reshape(x.shape[0], -1))


def norms(leaf, axes):
    return np.sqrt((np.asarray(leaf, float) ** 2).sum(axes))


def test_filters_are_output_channels_and_the_rest_is_0():
    task = objective(Conv(nnx.Rngs(0)), "squared_error")
    batch = np.random.RandomState(0).rand(5, 2, 2, 2).astype("f4"), np.zeros((5, 4), "f4")
    params = task.init(jax.random.key(0), batch)[0]
    directions = filter_normalized_directions(task, params, batch, 1)
    named = [
        dict(zip(layout_of(tree).paths, jax.tree.leaves(tree), strict=True))
        for tree in (params, *directions)
    ]
    of_params = named[0]
    assert len(of_params) == 6
    for direction in named[1:]:
        for name, leaf in direction.items():
            if "kernel" in name:
                axes = tuple(range(leaf.ndim - 1))
                np.testing.assert_allclose(
                    norms(leaf, axes), norms(of_params[name], axes), rtol=1e-5
                )
            else:
                assert not np.asarray(leaf).any(), name
    one, other = (np.concatenate([np.ravel(x) for x in n.values()]) for n in named[1:])
    assert abs(one @ other) < 0.5 * np.linalg.norm(one) * np.linalg.norm(other)


def test_filters_of_embeddings_stacked_and_transposed_layers():
    def loss(params, batch):
        x = params["table"][batch]

        def layer(x, w):
            return jnp.tanh(x @ w), None

        x, _ = jax.lax.scan(layer, x, params["blocks"])
        return jnp.mean((x @ params["tied"].T) ** 2)

    rng = np.random.RandomState(0)
    params = {"table": rng.randn(5, 3), "blocks": rng.randn(2, 3, 3), "tied": rng.randn(4, 3)}
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), params)
    one, _ = filter_normalized_directions(loss, params, jnp.arange(5))
    for name, axes in {"table": 1, "blocks": 1, "tied": 1}.items():
        np.testing.assert_allclose(norms(one[name], axes), norms(params[name], axes), rtol=1e-5)
        assert np.abs(one[name] - params[name]).max() > 0.1


def test_weights_derived_from_a_leaf_have_units_along_the_last_axis():
    def loss(params, batch):
        kernel = params["v"] / jnp.linalg.norm(params["v"], axis=0, keepdims=True)
        return jnp.mean((batch @ kernel * params["g"][None]) ** 2)

    params = {"v": jnp.array([[3.0, 0], [4, 2]]), "g": jnp.ones(2)}
    one, _ = filter_normalized_directions(loss, params, jnp.eye(2))
    np.testing.assert_allclose(norms(one["v"], 0), [5, 2], rtol=1e-5)
    assert not one["g"].any()


def test_without_layers_there_are_no_filters():
    with pytest.raises(ValueError, match="multiplies no parameters with data"):
        filter_normalized_directions(lambda w, x: jnp.mean(w**2), jnp.ones(3), jnp.ones(2))


# The recorder and the picture


class Kept:
    """Keeps the trees of the parameters."""

    every = 4

    def __init__(self):
        self.trees = []

    def on_state(self, state):
        self.trees.append(jax.tree.map(np.array, state.params))


TASK = nnx_task()


@functools.cache
def recorded(rate=0.1):
    """A run with batch normalization and dropout: its task, its path, and trees of the same."""
    recorder, kept = PathRecorder(every=4), Kept()
    fit(
        TASK, fnopt.heavy_ball(rate), blobs(), epochs=1, batch_size=5,
        callbacks=[kept, recorder], progress=False,
    )  # fmt: skip
    return TASK, recorder, kept.trees


def test_the_recorder_copies_the_parameters_of_the_steps():
    _, recorder, trees = recorded()
    assert recorder.steps == [0, 4, 8, 10]
    for number, tree in enumerate(trees):
        jax.tree.map(np.testing.assert_array_equal, recorder.params(number), tree)
    assert recorder.points[0].dtype == np.float32
    assert recorder.state.opt_state is None


def test_the_last_record_is_the_end_of_the_run_and_not_the_best():
    task = objective(lambda w, x: x * w, "squared_error", params=jnp.float32(0))
    data, recorder = (np.ones(4, "f4"), np.ones(4, "f4")), PathRecorder()
    result = fit(
        task, fnopt.sgd(1.5), data, epochs=5, batch_size=4, validation_data=data,
        early_stopping=early_stopping(patience=1), callbacks=[recorder], progress=False,
    )  # fmt: skip
    returned = np.asarray(result.state.params)
    assert recorder.points[-1] != returned and recorder.points[1] == returned
    assert "with ``early_stopping``" in PathRecorder.__doc__


def test_the_vector_of_several_dtypes_and_back():
    params = {"a": jnp.ones((2, 3), jnp.bfloat16), "b": [jnp.arange(4.0)], "c": jnp.float32(7)}
    vector, layout = vector_of(params), layout_of(params)
    assert vector.dtype == np.float32 and vector.tolist() == [*[1] * 6, 0, 1, 2, 3, 7]
    again = layout.tree(vector)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), again) == jax.tree.map(
        lambda x: (x.shape, x.dtype), params
    )


def test_the_loss_at_points_of_the_plane_is_that_of_their_parameters():
    task, recorder, _ = recorded()
    plane = principal_plane([np.stack(recorder.points)])
    value = evaluation_on(task, recorder.state, blobs()).value
    x, y = np.array([-1.0, 0, 2]), np.array([0.0, 0.5])
    losses = loss_in_plane(value, recorder.layout, plane, x, y, chunk=4)
    assert losses.shape == (2, 3)
    for row, column in np.ndindex(2, 3):
        point = plane.origin + x[column] * plane.directions[0] + y[row] * plane.directions[1]
        model = task.model(recorder.layout.tree(point), recorder.state.model_state)
        logits = np.asarray(model(blobs()[0]), float)
        correct = logits[np.arange(50), blobs()[1]]
        by_hand = np.mean(np.log(np.exp(logits).sum(1)) - correct)
        assert losses[row, column] == pytest.approx(by_hand, rel=1e-5)
    # The origin is the end of the run.
    end = float(evaluation_on(task, recorder.state, blobs()).value(recorder.params(-1)))
    assert losses[0, 1] == pytest.approx(end, rel=1e-6)


@pytest.mark.parametrize("directions", ["principal", "random"])
def test_the_picture_of_a_path(directions, tmp_path):
    task, recorder, _ = recorded()
    figure = recorder.plot(
        task, blobs(), directions=directions, resolution=5, theme="dark", path=tmp_path / "p.png"
    )
    assert (tmp_path / "p.png").stat().st_size > 10_000
    axes = figure.axes[0]
    path = axes.lines[0].get_xydata()
    assert len(path) == len(recorder.steps) and np.abs(path[-1]).max() < 1e-4
    assert axes.get_xlabel().startswith(f"{directions} direction 1 (")
    end = float(evaluation_on(task, recorder.state, blobs()).value(recorder.params(-1)))
    assert [text.get_text() for text in _texts(axes)] == [f"loss {end:.3g}"]
    if directions == "random":
        assert axes.get_xlim()[0] <= -1 and axes.get_xlim()[1] >= 1


def _texts(axes):
    from fnopt.lab.end_labels import EndLabels

    (labels,) = [x for x in axes.get_children() if isinstance(x, EndLabels)]
    return labels.texts


@pytest.mark.parametrize(
    ("share", "words"),
    [(1.0, "100 %"), (0.9997, "100 %"), (0.997, "99.7 %"), (0.995, "99.5 %"), (0.9944, "99 %"),
     (0.61, "61 %"), (0.0234, "2.3 %"), (0.0, "0 %")],
)  # fmt: skip
def test_shares_of_the_variance_in_percent(share, words):
    assert _percent(share) == words


def test_several_runs_in_one_plane():
    task, slow, _ = recorded()
    _, fast, _ = recorded(0.4)
    figure = plot_path({"slow": slow, "fast": fast}, task, blobs(), resolution=4)
    lines = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xydata()) > 2]
    assert len(lines) == 2
    np.testing.assert_allclose(lines[0][0], lines[1][0], atol=1e-5)  # one start
    assert [text.get_text().split(":")[0] for text in _texts(figure.axes[0])] == ["slow", "fast"]


@pytest.mark.slow
def test_a_level_plane_and_a_loss_that_is_not_finite_are_drawn():
    task = objective(lambda w, x: jnp.log(x @ w), "squared_error", params=jnp.ones(2))
    data = np.eye(2, dtype="f4"), np.full(2, 2, "f4")
    recorder = PathRecorder()
    fit(task, fnopt.sgd(0.5), data, epochs=3, batch_size=1, callbacks=[recorder], progress=False)
    figure = recorder.plot(task, data, resolution=9)
    figure.draw_without_rendering()


def test_mistakes():
    task, recorder, _ = recorded()
    with pytest.raises(ValueError, match=r"PathRecorder\.plot: nothing is recorded yet"):
        PathRecorder().plot(task, blobs())
    with pytest.raises(ValueError, match="plot_path: nothing is recorded yet in 'b'"):
        plot_path({"a": recorder, "b": PathRecorder()}, task, blobs())
    with pytest.raises(ValueError, match="directions must be one of"):
        recorder.plot(task, blobs(), directions="first")
    with pytest.raises(ValueError, match="there are no recorders"):
        plot_path({}, task, blobs())
    with pytest.raises(ValueError, match="every must be at least 1"):
        PathRecorder(0)
    other = PathRecorder()
    small = objective(lambda w, x: x @ w, "squared_error", params=jnp.ones(3))
    other.on_state(TrainState.create(small, fnopt.sgd(0.1), 0))
    with pytest.raises(ValueError, match="the model of 'b' is not that of 'a'"):
        plot_path({"a": recorder, "b": other}, task, blobs())
    with pytest.raises(ValueError, match="other shapes than those recorded before"):
        other.on_state(TrainState.create(task, fnopt.sgd(0.1), 0))
    with pytest.raises(TypeError, match="the parameter n is of int32"):
        layout_of({"n": jnp.arange(3)})
