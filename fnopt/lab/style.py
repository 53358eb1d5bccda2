"""Colours and line styles of all pictures of the lab."""

from __future__ import annotations

from typing import Any, NamedTuple

COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B03040", "#207070",
)  # fmt: skip
"""For lines, in this order: six of Okabe and Ito, and two that colour-blind people can tell from
them and from each other."""
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
"""Line styles that tell lines apart where there are more of them than colours."""


class Theme(NamedTuple):
    """Colours of all that is not data.

    Attributes:
        background: behind all.
        ink: text and axes.
        muted: grid and what is less important.
        low: where a function is lowest.
        high: where it is highest.
    """

    background: str
    ink: str
    muted: str
    low: str
    high: str


THEMES = {
    "light": Theme("#ffffff", "#24292f", "#8c959f", "#ffffff", "#c3cad3"),
    "dark": Theme("#0d1117", "#e6edf3", "#6e7681", "#2b333e", "#0d1117"),
}


def theme_of(name: str) -> Theme:
    """A theme by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}, got {name!r}")
    return THEMES[name]


def line_styles(number: int) -> list[dict[str, Any]]:
    """Colour and dashes of each of so many lines, as matplotlib takes them.

    >>> line_styles(9)[8]["color"] == line_styles(9)[0]["color"]
    True
    """
    return [
        {"color": COLORS[i % len(COLORS)], "linestyle": DASHES[i // len(COLORS) % len(DASHES)]}
        for i in range(number)
    ]


def text_color(color: str, theme: Theme) -> str:
    """The colour of a line, moved towards that of text until text in it can be read.

    The contrast is that of the Web Content Accessibility Guidelines, 4.5 to 1.

    >>> text_color("#E69F00", THEMES["dark"])
    '#e69f00'
    >>> text_color("#E69F00", THEMES["light"])
    '#987013'
    """
    shares = [_mixed(color, theme.ink, share / 20) for share in range(21)]
    return next(mixed for mixed in shares if _contrast(mixed, theme.background) >= 4.5)


def style_axes(axes: Any, theme: Theme) -> None:
    """Gives axes the colours of a theme: no frame above and right, a light grid."""
    axes.set_facecolor(theme.background)
    axes.figure.set_facecolor(theme.background)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.muted)
    axes.tick_params(colors=theme.ink, which="both")
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(theme.ink)
    axes.grid(color=theme.muted, alpha=0.25, linewidth=0.7)


def height_colors(theme: Theme) -> Any:
    """matplotlib's colour map of a function's height, so pale that lines stand out on it."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("heights", [theme.low, theme.high])


def _rgb(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def _mixed(color: str, other: str, share: float) -> str:
    pairs = zip(_rgb(color), _rgb(other), strict=True)
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def _contrast(color: str, background: str) -> float:
    def luminance(color: str) -> float:
        parts = [part / 255 for part in _rgb(color)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(color), luminance(background)])
    return (high + 0.05) / (low + 0.05)
