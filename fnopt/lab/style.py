"""Colours and manners of all pictures of the lab."""

from __future__ import annotations

from typing import Any, NamedTuple

COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1", "#999999",
)  # fmt: skip
"""For lines, in this order: those of Okabe and Ito, which colour-blind people can tell apart."""


class Theme(NamedTuple):
    """Colours of what is not data.

    Attributes:
        background: behind all.
        ink: text and axes.
        muted: grid and what is less important.
        colormap: matplotlib's name of that of heights.
    """

    background: str
    ink: str
    muted: str
    colormap: str


THEMES = {
    "light": Theme("#ffffff", "#24292f", "#8c959f", "Greys"),
    "dark": Theme("#0d1117", "#e6edf3", "#6e7681", "Greys_r"),
}


def theme_of(name: str) -> Theme:
    """A theme by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}, got {name!r}")
    return THEMES[name]


def dress(axes: Any, theme: Theme) -> None:
    """Gives axes the colours of a theme: no frame above and right, a light grid."""
    axes.set_facecolor(theme.background)
    axes.figure.set_facecolor(theme.background)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.muted)
    axes.tick_params(colors=theme.ink, which="both")
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(theme.ink)
    axes.grid(color=theme.muted, alpha=0.25, linewidth=0.7)
