"""Colours that can be told apart, and labels that do not overlap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("matplotlib")


from fnopt.core.figure import ShownFigure
from fnopt.lab.ends import End, spread
from fnopt.lab.labels import label_ends
from fnopt.lab.style import COLORS, THEMES, _contrast, line_styles, text_color, theme_of

# Simulation of colour blindness in linear RGB, severity 1: G. M. Machado, M. M. Oliveira, L. A. F.
# Fernandes, "A physiologically-based model for simulation of color vision deficiency", 2009.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def cielab(color, sight):
    """CIE 1976 L*a*b* of a colour as one sees it, for the white of D65."""
    srgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(SIGHT[sight] @ linear, 0, 1) / [0.95047, 1, 1.08883]
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_the_colors_of_lines_can_be_told_apart(sight):
    """A distance of 2.3 is just noticeable; these are told apart at a glance."""
    seen = [cielab(color, sight) for color in COLORS]
    distances = {
        pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]])
        for pair in itertools.combinations(range(len(COLORS)), 2)
    }
    assert min(distances.values()) > 15, min(distances, key=distances.__getitem__)


@pytest.mark.parametrize("theme", THEMES)
def test_lines_and_their_labels_stand_out(theme):
    look = theme_of(theme)
    for color in COLORS:
        for behind in (look.background, look.low, look.high):
            assert _contrast(color, behind) > 1.3
        assert _contrast(color, look.background) > 2
        assert _contrast(text_color(color, look), look.background) >= 4.5


def test_lines_beyond_the_colors_have_other_dashes():
    styles = line_styles(32)
    assert len({(style["color"], style["linestyle"]) for style in styles}) == 32
    assert {style["linestyle"] for style in styles[: len(COLORS)]} == {"-"}


@given(st.lists(st.floats(-2, 12), max_size=12), st.floats(0.01, 3))
def test_spread_keeps_distance_order_and_range(wanted, gap):
    places = spread(wanted, gap, 0.0, 10.0)
    order = np.lexsort((-np.arange(len(wanted)), wanted))
    room = min(gap, 10 / max(len(wanted) - 1, 1))
    assert np.all(np.diff(places[order]) >= room - 1e-9)
    assert np.all((places >= -1e-9) & (places <= 10 + 1e-9))
    if np.all(np.diff(np.asarray(wanted)[order]) >= gap):
        if all(0 <= place <= 10 for place in wanted):
            np.testing.assert_allclose(places, wanted, atol=1e-9)


def test_labels_do_not_overlap_and_are_inside_the_figure():
    figure = ShownFigure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(1e-9, 1), yscale="log")
    ends = [End(f"line {i}", 1.0, y, COLORS[i]) for i, y in enumerate([0.1, 0.1, 0.09, 1e-4, 7.0])]
    labels = label_ends(axes, [*ends, End("lost", 0.4, np.nan, COLORS[7])], theme_of("light"))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in labels]
    for (_, upper), (_, lower) in itertools.pairwise(sorted((-box.y0, box) for box in boxes)):
        assert lower.y1 <= upper.y0 + 0.5
    assert all(0 <= box.x0 and box.x1 <= figure.bbox.width for box in boxes)
    assert [box.y0 for box in boxes].index(sorted(box.y0 for box in boxes)[-2]) == 5


def test_an_unknown_theme_is_refused():
    with pytest.raises(ValueError, match="theme must be one of light, dark, got 'blue'"):
        theme_of("blue")
