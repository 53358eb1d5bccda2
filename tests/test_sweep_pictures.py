"""The pictures of a sweep: which is drawn, and that it shows the data."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hand_sweep import grid_sweep, run, sweep_of

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex

import fnopt
from fnopt.lab.end_labels import EndLabels
from fnopt.lab.style import COLORS, THEMES
from fnopt.sweeps import Entrant
from fnopt.sweeps.pictures import axes_for, kind_for
from fnopt.sweeps.scales import name_ticks, places

RATES = tuple(10.0**n for n in range(-4, 1))
DECAYS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)


def loss(label, seed, learning_rate, weight_decay=0.0):
    """Lowest at a rate of 0.01 and no decay; all seeds diverge at 1, of adamw seed 2 at 0.1 too."""
    if learning_rate == 1 or (learning_rate == 0.1 and seed == 2 and label == "adamw"):
        return None
    return 0.1 + (math.log10(learning_rate) + 2) ** 2 / 4 + weight_decay + seed / 20


def example(seeds=(0, 1, 2), **axes):
    return grid_sweep(loss, seeds, learning_rate=RATES, **axes)


def drawn(draws=24):
    """A random draw, in which no value is there twice."""
    rng = np.random.default_rng(0)
    runs = []
    for i, (rate, decay) in enumerate(10 ** rng.uniform(-4, -0.5, (draws, 2))):
        entrant = Entrant("adamw", None, {"learning_rate": rate, "weight_decay": decay})
        ends = {"diverged_at": 5} if rate > 0.1 else {}
        runs.append(run(i, entrant, [2.0, 0.1 + decay], **ends))
    return sweep_of(*runs)


def labels(figure):
    return [
        text.get_text()
        for artist in figure.axes[0].get_children()
        if isinstance(artist, EndLabels)
        for text in artist.texts
    ]


def lines(figure):
    """The places and values of the medians."""
    return [line.get_xydata() for line in figure.axes[0].lines if line.get_markersize() == 4]


def crosses(figure):
    return [line for line in figure.axes[0].lines if line.get_marker() == "x"]


def ring(figure):
    (best,) = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "none"]
    return float(best.get_xdata()[0]), float(best.get_ydata()[0])


def texts(figure):
    """The texts in the cells, by their places."""
    return {text.get_position(): text.get_text() for text in figure.axes[0].texts}


# Which picture


@pytest.mark.parametrize(
    ("sweep", "kind", "shown"),
    [
        (lambda: example(), "values", ("learning_rate", None)),
        (lambda: example(labels=("adamw", "sgd")), "values", ("learning_rate", "optimizer")),
        (lambda: example(weight_decay=(0.0, 0.01)), "values", ("learning_rate", "weight_decay")),
        (lambda: example(weight_decay=DECAYS), "heat map", ("learning_rate", "weight_decay")),
        (lambda: example(labels=("a", "b"), weight_decay=DECAYS), "values",
         ("learning_rate", "optimizer")),
        (drawn, "heat map", ("learning_rate", "weight_decay")),
        (lambda: grid_sweep(lambda *_, **__: 1.0, b1=(0.8, 0.9), nesterov=(True, False)),
         "values", ("b1", "nesterov")),
        (lambda: grid_sweep(lambda *_, **__: 1.0, b1=(0.8, 0.9), b2=(0.8, 0.9, 0.99)),
         "values", ("b2", "b1")),
        (lambda: grid_sweep(lambda *_, **__: 1.0, schedule=("cosine", "linear")),
         "values", ("schedule", None)),
    ],
)  # fmt: skip
def test_the_picture_suits_what_varies(sweep, kind, shown):
    runs = sweep().runs
    assert kind_for(runs, None) == kind and axes_for(runs, kind, None) == shown


def test_where_nothing_is_set_curves_are_drawn():
    sweep = sweep_of(*(run(i, Entrant(name, None, {}), [2, 1 + i]) for i, name in enumerate("ab")))
    assert kind_for(sweep.runs, None) == "curves" and labels(sweep.plot()) == ["a", "b"]
    assert labels(grid_sweep(lambda *_, **__: 1.0, learning_rate=(0.1,)).plot()) == ["adamw"]


# Values


def test_the_line_is_the_median_the_band_the_quartiles_and_what_diverged_is_marked():
    figure = example().plot()
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and axes.get_yscale() == "log"
    (line,) = lines(figure)
    np.testing.assert_allclose(line[:, 0], RATES)
    # At 0.1 one of three seeds diverged: the median is the worse of the others.
    np.testing.assert_allclose(line[:, 1], [1.15, 0.4, 0.15, 0.4, np.nan])
    band = axes.collections[0].get_paths()[0].vertices
    at_the_first = band[np.isclose(band[:, 0], 1e-4), 1]
    np.testing.assert_allclose([at_the_first.min(), at_the_first.max()], [1.125, 1.175])
    assert np.isclose(band[np.isclose(band[:, 0], 0.1), 1].max(), axes.get_ylim()[1])
    (cross,) = crosses(figure)
    np.testing.assert_allclose(cross.get_xdata(), [0.1, 1.0])
    assert ring(figure) == pytest.approx((0.01, 0.15))
    assert labels(figure) == ["× runs diverged"]
    assert axes.get_xlabel() == "learning rate"
    assert axes.get_ylabel() == "best val loss\nmedian and quartiles over 3 seeds"


def test_a_line_for_each_optimizer_and_each_value_of_a_second_hyperparameter():
    figure = example(labels=("adamw", "sgd")).plot()
    assert labels(figure) == ["× runs diverged", "adamw", "sgd"]
    np.testing.assert_allclose(lines(figure)[1][:4, 1], [1.15, 0.4, 0.15, 0.4])
    assert [to_hex(line.get_color()).upper() for line in crosses(figure)] == list(COLORS[:2])
    assert len({line.get_ydata()[0] for line in crosses(figure)}) == 2
    figure = example((0,), weight_decay=(0.0, 0.01)).plot()
    assert labels(figure) == ["× runs diverged", "weight decay 0", "weight decay 0.01"]
    low, high = lines(figure)
    np.testing.assert_allclose(high[:4, 1] - low[:4, 1], 0.01)
    assert not figure.axes[0].collections  # one seed has no band
    assert figure.axes[0].get_ylabel() == "best val loss"


def test_what_is_not_shown_has_its_best_value():
    sweep = example((0,), labels=("adamw", "sgd"), weight_decay=DECAYS)
    figure = sweep.plot()
    assert figure.axes[0].get_xlabel() == "learning rate\nat each point the best weight decay"
    for line in lines(figure):
        np.testing.assert_allclose(line[:4, 1], [1.1001, 0.3501, 0.1001, 0.3501])
    figure = sweep.plot(by="weight_decay")
    assert labels(figure) == ["adamw", "sgd"] and not crosses(figure)
    np.testing.assert_allclose(lines(figure)[0], [(x, 0.1 + x) for x in DECAYS])


def test_an_optimizer_that_always_diverged_is_named():
    def only_adam(label, seed, learning_rate):
        return 1.0 if label == "adam" else None

    figure = grid_sweep(only_adam, labels=("adam", "sgd"), learning_rate=RATES).plot()
    assert labels(figure) == ["× runs diverged", "adam", "sgd (diverged)"]
    (cross,) = crosses(figure)
    np.testing.assert_allclose(cross.get_xdata(), RATES)


def test_where_a_larger_value_is_better_crosses_are_below():
    sweep = dataclasses.replace(example(), monitor="val_accuracy", mode="max")
    figure = sweep.plot()
    (line,) = lines(figure)
    np.testing.assert_allclose(line[:4, 1], 1 / (1 + np.array([1.15, 0.4, 0.15, 0.4])))
    assert figure.axes[0].get_yscale() == "linear"
    assert crosses(figure)[0].get_ydata()[0] < 0.1
    assert ring(figure) == pytest.approx((0.01, 1 / 1.15))


def test_the_last_value_may_be_drawn():
    entrants = [Entrant("sgd", None, {"learning_rate": rate}) for rate in (0.1, 1.0)]
    sweep = sweep_of(run(0, entrants[0], [3, 1, 2]), run(1, entrants[1], [3, 2, 1.5]))
    (best,), (final,) = (lines(sweep.plot(at=at)) for at in ("best", "final"))
    assert best[:, 1].tolist() == [1, 1.5] and final[:, 1].tolist() == [2, 1.5]


@pytest.mark.parametrize(
    "values, scale",
    [
        ((0.001, 0.01), "log"),
        ((16, 32, 64, 128), "log"),
        ((0.001, 0.003, 0.01, 0.03, 0.1), "log"),
        ((1, 2, 5, 10), "log"),
        (np.geomspace(1, 6, 4), "log"),
        ((0.1, 0.5, 0.9), "linear"),
        ((0.1, 0.5, 0.9, 0.99), "linear"),
        (np.linspace(0.01, 0.99, 30), "linear"),
        (np.linspace(1, 6, 4), "linear"),
        (np.linspace(0, 0.9, 10), "linear"),
        ((0.0, *np.geomspace(1e-4, 1e-2, 5)), "names"),
        ((-1.0, 0.01, 0.1), "linear"),
    ],
)
def test_an_axis_is_logarithmic_where_values_lie_evenly_on_it(values, scale):
    assert places(values)[1] == scale


def test_the_axis_of_a_draw_is_that_of_its_distribution():
    draws = np.sort(np.random.default_rng(0).uniform(0, 1, (200, 27)))
    assert np.mean([places(x)[1] == "linear" for x in draws]) > 0.97
    assert np.mean([places(1e-4 * 1e3**x)[1] == "log" for x in draws]) > 0.97


def test_names_flags_and_zeros_have_places_of_their_own():
    assert places([True, False])[1] == "names"
    schedules = [fnopt.cosine_decay_schedule(rate, 100) for rate in (0.1, 0.2)]
    figure = grid_sweep(lambda *_, **__: 1.0, learning_rate=schedules).plot()
    (axes,) = figure.axes
    words = [tick.get_text().replace("\n", "") for tick in axes.get_xticklabels()]
    assert words == [f"cosine_decay_schedule(init_value={rate})" for rate in (0.1, 0.2)]
    assert axes.lines[0].get_linestyle() == "None"  # nothing lies between two names
    figure = grid_sweep(lambda *_, decay: 1 + decay, decay=(0.0, 1e-4, 1e-2)).plot()
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["0", "0.0001", "0.01"]
    assert lines(figure)[0][:, 0].tolist() == [0, 1, 2]


def test_points_of_a_draw_are_not_joined():
    sweep = drawn()
    figure = sweep.plot(by="learning_rate")
    assert figure.axes[0].lines[0].get_linestyle() == "None"
    assert figure.axes[0].get_xlabel() == "learning rate"
    (points,) = lines(figure)
    assert len(points) == 24
    diverged = [r.entrant.hyperparameters["learning_rate"] for r in sweep.runs if r.diverged]
    np.testing.assert_allclose(crosses(figure)[0].get_xdata(), sorted(diverged))
    one = grid_sweep(loss, learning_rate=(0.001, 0.0123, 0.04)).plot()
    assert one.axes[0].lines[0].get_linestyle() == "-"  # one number alone has neighbours


# Heat maps


def test_a_heat_map_has_the_medians_and_frames_the_best():
    figure = example(weight_decay=DECAYS).plot()
    axes, bar = figure.axes
    mesh = axes.collections[0].get_array()
    assert mesh.shape == (5, 5)
    expected = np.array([[1.15, 0.4, 0.15, 0.4]]) + np.array(DECAYS)[:, None]
    np.testing.assert_allclose(mesh[:, :4], expected)
    assert mesh.mask[:, 4].all() and not mesh.mask[:, :4].any()
    words = texts(figure)
    assert words[0, 0] == "1.15" and words[2, 4] == "1.15" and words[2, 0] == "0.150"
    assert words[3, 0] == "0.400×" and words[4, 0] == "×"
    (frame,) = axes.patches
    assert frame.get_xy() == (1.5, -0.5)
    assert bar.get_ylabel() == "best val loss\nmedian over 3 seeds\n× runs diverged"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [
        *("0.0001", "0.001", "0.01", "0.1", "1")
    ]


def test_the_best_is_yellow_whatever_is_better():
    def color(sweep):
        mesh = sweep.plot(kind="heat map").axes[0].collections[0]
        return to_hex(mesh.cmap(mesh.norm(mesh.get_array()[0, 2])))

    sweep = example(weight_decay=DECAYS)
    larger = dataclasses.replace(sweep, monitor="val_accuracy", mode="max")
    assert color(sweep) == color(larger) == to_hex((0.995737, 0.909344, 0.217772))


def test_colors_are_of_what_matters_where_some_are_far_worse():
    def far(label, seed, learning_rate, weight_decay):
        return 1e9 if learning_rate == 1 else learning_rate + weight_decay

    figure = grid_sweep(far, learning_rate=RATES, weight_decay=DECAYS).plot()
    norm = figure.axes[0].collections[0].norm
    assert norm.vmin == pytest.approx(2e-4) and norm.vmax == pytest.approx(0.2)
    assert texts(figure)[4, 0] == "1.00e9"


def test_a_draw_is_drawn_as_points():
    sweep = drawn()
    figure = sweep.plot()
    (axes, _) = figure.axes
    finite = [each for each in sweep.runs if not each.diverged]
    points = axes.collections[0]
    values = {tuple(x): y for x, y in zip(points.get_offsets(), points.get_array(), strict=True)}
    assert len(values) == len(finite) and len(crosses(figure)) == 24 - len(finite)
    for each in finite:
        setting = each.entrant.hyperparameters
        at = setting["learning_rate"], setting["weight_decay"]
        assert values[at] == pytest.approx(0.1 + at[1])
    assert ring(figure) == min(values, key=values.__getitem__)
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_two_names_may_be_chosen():
    sweep = example((0,), weight_decay=DECAYS)
    assert texts(sweep.plot(kind="heat map", by=("weight_decay", "learning_rate")))[0, 4] == "×"
    figure = sweep.plot(by=("learning_rate", "weight_decay"))
    assert len(lines(figure)) == 5


# Curves


def test_curves_of_the_best_five():
    sweep = example(weight_decay=(0.0, 0.01))
    figure = sweep.plot(kind="curves")
    words = [label.replace("\n", " ").partition(" (")[0] for label in labels(figure)]
    assert words == list(sweep.curves())[:5]
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [4.15, 2.15, 0.15])
    assert axes.get_xlabel() == "epoch\nthe best 5 of 10" and axes.get_ylabel() == "val loss"
    figure.draw_without_rendering()
    assert all(float(tick.get_text()).is_integer() for tick in axes.get_xticklabels())


def test_curves_of_one_epoch_and_of_some_that_never_had_a_value():
    runs = [run(i, Entrant(name, None, {}), [x]) for i, (name, x) in enumerate(
        [("a", 1.0), ("b", math.nan)])]  # fmt: skip
    figure = sweep_of(runs[0], dataclasses.replace(runs[1], diverged_at=3)).plot()
    assert labels(figure) == ["a"] and figure.axes[0].get_xlim() == (0.5, 1.5)


# All of them


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["values", "heat map", "curves"])
def test_pictures_are_saved_in_the_colors_of_a_theme(tmp_path, theme, kind):
    path = tmp_path / "new" / "sweep.png"
    figure = example(weight_decay=DECAYS).plot(path, kind=kind, theme=theme, title="a title")
    assert path.stat().st_size > 10_000
    assert to_hex(figure.get_facecolor()) == THEMES[theme].background
    for axes in figure.axes:
        for tick in (*axes.get_xticklabels(), *axes.get_yticklabels()):
            assert to_hex(tick.get_color()) == THEMES[theme].ink
    assert figure.axes[0].get_title() == "a title"


@pytest.mark.parametrize("number", [2, 5, 11, 25])
def test_ticks_do_not_overlap(number):
    from matplotlib.figure import Figure

    values = list(np.geomspace(1e-6, 10, number))
    for kinds in (values, [fnopt.exponential_decay(x, 10, 0.5) for x in values]):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        name_ticks(axes.xaxis, kinds)
        figure.draw_without_rendering()
        ticks = axes.get_xticklabels()
        if ticks[0].get_rotation():  # then they are apart by more than a line is high
            apart = axes.transData.transform([(0, 0), (ticks[1].get_position()[0], 0)])
            assert np.ptp(apart[:, 0]) > 1.3 * ticks[0].get_size() * figure.dpi / 72
        else:
            boxes = [tick.get_window_extent() for tick in ticks]
            for one, other in itertools.pairwise(boxes):
                assert one.x1 < other.x0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "bars"}, "Sweep.plot: kind must be one of .*'heat map'.*'bars'"),
        ({"theme": "blue"}, "theme must be one of light, dark, got 'blue'"),
        ({"by": "learning_rat"}, "did you mean 'learning_rate'"),
        ({"by": ()}, "Sweep.plot: by must have one name or two"),
        ({"by": ("learning_rate", "seed", "optimizer")}, "by must have one name or two"),
        ({"by": "seed", "kind": "curves"}, "curves are over the epochs"),
        ({"kind": "heat map"}, "a heat map needs two hyperparameters that vary, and here learning"),
    ],
)
def test_mistakes(options, words):
    with pytest.raises(ValueError, match=words):
        example().plot(**options)


def test_where_all_diverged_there_is_no_picture():
    with pytest.raises(ValueError, match=r"Sweep\.plot: none of the 5 runs has a finite val_loss"):
        grid_sweep(lambda *_, **__: None, learning_rate=RATES).plot()
