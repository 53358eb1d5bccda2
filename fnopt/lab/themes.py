"""Other pictures in the colours of a theme."""

from __future__ import annotations

from typing import Any

from fnopt.lab.style import dress, theme_of


def themed(figure: Any, theme: str) -> Any:
    """Gives a picture that was drawn without a theme the colours of one, in place.

    For those of ``History.plot``, ``Diagnosis.plot``, ``SpectrumRecorder.plot`` and
    :func:`fnopt.plot`; what is drawn of the data keeps its colours, but that black lines and words
    get those of the text, and a map of grey shades is reversed in the dark.

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

    look = theme_of(theme)
    black = {to_rgba(name) for name in ("black", *(other.ink for other in map(theme_of, _THEMES)))}
    for axes in figure.axes:
        bar = hasattr(axes, "_colorbar")
        if bar:
            axes.tick_params(colors=look.ink, which="both")
            axes.yaxis.label.set_color(look.ink)
            axes._colorbar.outline.set_color(look.muted)
        else:
            dress(axes, look)
        for line in axes.lines:
            if to_rgba(line.get_color()) in black:
                line.set_color(look.ink)
        for text in axes.texts:
            if to_rgba(text.get_color()) in black:
                text.set_color(look.ink)
        for mesh in axes.collections:
            if mesh.get_array() is not None and mesh.get_cmap().name in _GREYS.values():
                mesh.set_cmap(_GREYS[theme])
    for legend in [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]:
        legend.get_frame().set(facecolor=look.background, edgecolor=look.muted)
        for text in legend.get_texts():
            text.set_color(look.ink)
    if figure._suptitle is not None:
        figure._suptitle.set_color(look.ink)
    return figure


_THEMES = ("light", "dark")
_GREYS = {"light": "Greys", "dark": "Greys_r"}
