"""Pictures from elsewhere in the colours of a theme."""

from __future__ import annotations

from typing import Any

from fnopt.lab.style import style_axes, theme_of


def themed(figure: Any, theme: str) -> Any:
    """Gives a figure that was drawn without a theme the colours of one, in place.

    It is for the pictures of ``History.plot``, ``Diagnosis.plot``, ``SpectrumRecorder.plot`` and
    :func:`fnopt.plot`. What is drawn of the data keeps its colours, except that black lines and
    text get the colour of text, and a map of grey shades is reversed in the dark.

    Args:
        figure: matplotlib's figure.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure, which a notebook shows.

    Raises:
        ValueError: there is no theme of this name.

    >>> import fnopt
    >>> from fnopt.lab import themed
    >>> figure = themed(fnopt.plot(fnopt.cosine_decay_schedule(0.1, 100), 100).figure, "dark")
    >>> figure.savefig("schedule.png")  # doctest: +SKIP
    """
    from matplotlib.colors import to_rgba

    colors = theme_of(theme)
    black = {to_rgba(name) for name in ("black", *(other.ink for other in map(theme_of, _THEMES)))}
    for axes in figure.axes:
        bar = hasattr(axes, "_colorbar")
        if bar:
            axes.tick_params(colors=colors.ink, which="both")
            axes.yaxis.label.set_color(colors.ink)
            axes._colorbar.outline.set_color(colors.muted)
        else:
            style_axes(axes, colors)
        for line in axes.lines:
            if to_rgba(line.get_color()) in black:
                line.set_color(colors.ink)
        for text in axes.texts:
            if to_rgba(text.get_color()) in black:
                text.set_color(colors.ink)
        for mesh in axes.collections:
            if mesh.get_array() is not None and mesh.get_cmap().name in _GREYS.values():
                mesh.set_cmap(_GREYS[theme])
    for legend in [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]:
        legend.get_frame().set(facecolor=colors.background, edgecolor=colors.muted)
        for text in legend.get_texts():
            text.set_color(colors.ink)
    if figure._suptitle is not None:
        figure._suptitle.set_color(colors.ink)
    return figure


_THEMES = ("light", "dark")
_GREYS = {"light": "Greys", "dark": "Greys_r"}
