"""Curves with bands and labels beside them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from scipy.optimize import minimize

from fnopt.core.ticks import plain_number
from fnopt.lab import plot_curves
from fnopt.lab.end_labels import EndLabels
from fnopt.lab.ends import spread

RUNS = np.random.RandomState(0).rand(7, 30) + 1


def labels(figure):
    """The texts beside the axes, as the picture is drawn."""
    figure.draw_without_rendering()
    (artist,) = [x for x in figure.axes[0].get_children() if isinstance(x, EndLabels)]
    return artist.texts


def lines(figure):
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) > 2]


def band(figure):
    (drawn,) = figure.axes[0].collections
    vertices = drawn.get_paths()[0].vertices
    return vertices[:, 1].min(), vertices[:, 1].max()


def test_spread_is_the_nearest_without_overlap():
    rng = np.random.RandomState(1)
    for size in (1, 2, 5, 8):
        targets, heights = rng.rand(size) * 10, rng.rand(size) + 1
        got = spread(targets, heights, 0, 12)
        order = np.argsort(targets)
        gap = (heights[order][1:] + heights[order][:-1]) / 2
        edges = [
            {"type": "ineq", "fun": lambda y, o=order, g=gap: np.diff(y[o]) - g},
            {"type": "ineq", "fun": lambda y: np.append(y, 12 - y)},
        ]
        options = {"ftol": 1e-12, "maxiter": 500}
        by_scipy = minimize(
            lambda y, t=targets: ((y - t) ** 2).sum(), got + 0.1, constraints=edges, options=options
        ).x
        np.testing.assert_allclose(got, by_scipy, atol=1e-4)


def test_of_equal_heights_the_first_label_is_highest():
    assert spread([3, 3, 3], [2, 2, 2], 0, 10).tolist() == [5, 3, 1]
    assert spread([3, 3], [4, 4], 0, 2).tolist() == [2, 0]  # no room


@pytest.mark.parametrize(
    ("name", "edges", "middle"),
    [
        ("quartiles", lambda x: np.quantile(x, [0.25, 0.75], axis=0), np.median),
        ("range", lambda x: (x.min(0), x.max(0)), np.median),
        ("deviation", lambda x: (x.mean(0) - x.std(0), x.mean(0) + x.std(0)), np.mean),
    ],
)
def test_bands(name, edges, middle):
    figure = plot_curves({"a": RUNS}, band=name)
    low, high = edges(RUNS)
    np.testing.assert_allclose(band(figure), (low.min(), high.max()))
    np.testing.assert_allclose(lines(figure)[0].get_ydata(), middle(RUNS, axis=0))


def test_runs_as_thin_lines():
    figure = plot_curves({"a": RUNS}, band="runs")
    assert len(lines(figure)) == 8 and not figure.axes[0].collections


def test_labels_lie_beside_the_axes_and_none_upon_another(tmp_path):
    ends = {f"a rather long label of number {n}": np.full(30, 1.0 + n / 100) for n in range(9)}
    figure = plot_curves(ends, references={"two": 2.0}, path=tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").stat().st_size > 10_000
    boxes = [text.get_window_extent() for text in labels(figure)]
    assert len(boxes) == 10
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert box.x0 > figure.axes[0].bbox.x1 and box.x1 < figure.bbox.x1


def test_labels_follow_limits_that_change_later():
    figure = plot_curves({"a": np.linspace(1, 2, 30), "b": np.linspace(1, 3, 30)})
    before = [text.get_position()[1] for text in labels(figure)]
    figure.axes[0].set_ylim(0, 30)
    after = [text.get_position()[1] for text in labels(figure)]
    assert after[0] < before[0] and after[1] < before[1]


def test_a_curve_that_is_no_longer_finite_leaves_the_others_to_be_seen():
    away = np.where(np.arange(30) < 20, 4.0 ** np.arange(30), np.nan)
    for yscale in ("linear", "log"):
        figure = plot_curves({"stays": np.linspace(2, 1, 30), "leaves": away}, yscale=yscale)
        low, high = figure.axes[0].get_ylim()
        assert high < 4 and low > 0
        assert [text.get_text() for text in labels(figure)] == ["stays", "leaves"]
    stopped = np.where(np.arange(30) < 20, 1.5, np.nan)
    figure = plot_curves({"stays": np.linspace(2, 1, 30), "stops": stopped})
    (cross,) = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert (cross.get_xdata(), cross.get_ydata()) == (19, 1.5)


def test_a_value_that_a_logarithm_has_not_is_no_end():
    falls = np.where(np.arange(30) < 20, 0.5 ** np.arange(30), 0.0)
    figure = plot_curves({"to 0": falls}, yscale="log")
    assert not [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    wide = np.stack([np.full(30, 1e-3), np.full(30, 1.0)])  # less a deviation it is below 0
    low, high = plot_curves({"a": wide}, band="deviation", yscale="log").axes[0].get_ylim()
    assert 0 < low and 1 < high < 2


def test_a_curve_far_above_the_others_is_seen_whole():
    figure = plot_curves({"low": np.ones(30), "high": np.linspace(1, 1e6, 30)})
    assert figure.axes[0].get_ylim()[1] > 1e6


def test_runs_that_end_are_counted():
    some = RUNS.copy()
    some[:2, 12:] = np.inf
    figure = plot_curves({"adam": some})
    assert [text.get_text() for text in labels(figure)] == ["adam (5 of 7 runs)"]
    np.testing.assert_allclose(lines(figure)[0].get_ydata()[12:], np.median(RUNS[2:, 12:], axis=0))


def test_logarithmic_axes_have_plain_numbers():
    sizes = 2.0 ** np.arange(10)
    figure = plot_curves({"v": (sizes, 1 / sizes)}, xscale="log", yscale="log")
    figure.draw_without_rendering()
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        words = [tick.get_text() for tick in axis.get_ticklabels()]
        assert all(word.strip("0.125") == "" for word in words) and len(words) > 3


def test_plain_numbers():
    got = [plain_number(value) for value in (0, 0.05, 1000, 1e-5, 2e-12, 1e9)]
    assert got == ["0", "0.05", "1000", "1e-5", "2e-12", "1e9"]


def test_steps_count_from_1_on_a_logarithmic_axis():
    (line,) = lines(plot_curves({"a": np.ones(30)}, xscale="log"))
    assert line.get_xdata()[0] == 1
    (line,) = lines(plot_curves({"a": np.ones(30)}))
    assert line.get_xdata()[0] == 0


def test_few_points_are_marked_and_points_have_no_line():
    few, many, alone = lines(
        plot_curves(
            {"few": np.ones(5), "many": np.ones(50), "alone": np.ones(50)}, points=["alone"]
        )
    )
    assert (few.get_marker(), many.get_marker(), alone.get_marker()) == ("o", "", "o")
    assert (few.get_linestyle(), alone.get_linestyle()) == ("-", "None")


def test_a_point_between_gaps_is_seen():
    gaps = np.where(np.isin(np.arange(50), [10, 12]), np.nan, 1.0)
    assert [line.get_marker() for line in lines(plot_curves({"a": gaps}))] == ["o"]
    ends = np.where(np.arange(50) < 30, 1.0, np.nan)
    assert [line.get_marker() for line in lines(plot_curves({"a": ends}))] == [""]


def test_more_curves_than_colors_are_dashed():
    drawn = lines(plot_curves({str(n): np.ones(30) for n in range(10)}))
    assert [line.get_linestyle() for line in drawn] == ["-"] * 8 + ["--"] * 2


def test_on_axes_of_the_caller():
    from matplotlib.figure import Figure

    figure = Figure()
    left, _ = figure.subplots(1, 2)
    assert plot_curves({"a": np.ones(30)}, axes=left, ylim=(0, 5)) is figure
    assert left.get_ylim() == (0, 5)


@pytest.mark.parametrize(
    ("curves", "options", "error"),
    [
        ({}, {}, "there are no curves"),
        ({"a": np.ones((2, 3, 4))}, {}, "of 'a' have the shape"),
        ({"a": ([1, 2], [1, 2, 3])}, {}, "'a' has x of shape"),
        ({"a": [np.nan, np.nan]}, {}, "'a' has no value that can be drawn$"),
        ({"a": [-1, -2]}, {"yscale": "log"}, "no value that can be drawn on these axes"),
        ({"a": [1]}, {"band": "all"}, "band must be one of"),
        ({"a": [1]}, {"xscale": "square"}, "xscale must be one of"),
        ({"a": [1]}, {"theme": "blue"}, "theme must be one of"),
        ({"a": [1]}, {"points": ["b"]}, "points names 'b'"),
    ],
)
def test_mistakes(curves, options, error):
    with pytest.raises(ValueError, match=error):
        plot_curves(curves, **options)
