"""The text of a table: its cells, and the columns that fit a width."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fnopt.sweeps.texts import cut, short_texts
from fnopt.train.progress_line import number

GAP = "  "
NONE = "-"
"""What stands for no value."""
NARROW = 20
"""Characters to which a hyperparameter may be cut where the columns do not fit otherwise."""


def table_text(
    title: str,
    columns: Mapping[str, Sequence[str]],
    *,
    constant: Sequence[str],
    settings: Sequence[str],
    left: int,
    width: int,
) -> str:
    """A table as text.

    Args:
        title: the first line.
        columns: the cells of each column that are to be printed, by its name; one that has none is
            left out.
        constant: those of ``settings`` that are the same in all rows.
        settings: names of the columns that have hyperparameters.
        left: how many rows there are beside these.
        width: columns of a line.
    """
    everywhere = [f"{name} {columns[name][0]}" for name in constant if columns[name]]
    words = {
        name: texts
        for name, texts in columns.items()
        if name not in constant and any(text != NONE for text in texts)
    }
    broken = _width(words, _heads(words, broken=False)) > width
    words = _shrunk(words, settings, _width(words, _heads(words, broken=broken)) - width)
    left_out: list[str] = []
    while _width(words, _heads(words, broken=broken)) > width:
        droppable = [name for name in settings if name in words][1:]
        if not droppable:
            break
        left_out.insert(0, droppable[-1])
        del words[droppable[-1]]
    lines = textwrap.wrap(title, width)
    if everywhere:
        lines += textwrap.wrap(f"in all: {', '.join(everywhere)}", width, subsequent_indent="  ")
    lines += _aligned(words, _heads(words, broken=broken), settings)
    notes = [f"… and {left} more; .text(most=None) prints all"] * bool(left)
    if left_out:
        notes.append(f"no room for {', '.join(left_out)}; .text(width=…) prints wider")
    for note in notes:
        lines += textwrap.wrap(note, width, subsequent_indent="  ")
    return "\n".join(lines)


def cells(values: Sequence[Any], *, setting: bool, metric: bool) -> list[str]:
    """The texts of a column.

    Args:
        values: its values.
        setting: whether they are hyperparameters.
        metric: whether they are values of a metric.
    """
    if setting:
        return short_texts([NONE if value is None else value for value in values])
    if metric:
        return [_metric(value) for value in values]
    return [NONE if value is None else str(value) for value in values]


def _metric(value: float | None) -> str:
    if value is None or math.isnan(value):
        return NONE
    return "diverged" if math.isinf(value) else "0" if value == 0 else number(value)


def _shrunk(
    words: Mapping[str, Sequence[str]], settings: Sequence[str], excess: int
) -> dict[str, Sequence[str]]:
    """Columns of which the wide ones of hyperparameters are cut, the widest first."""
    words = dict(words)
    by_width = sorted(
        (name for name in settings if name in words),
        key=lambda name: max(map(len, words[name]), default=0),
        reverse=True,
    )
    for name in by_width:
        wide = max(map(len, words[name]), default=0)
        most = max(NARROW, wide - max(excess, 0))
        if most < wide:
            words[name] = [cut(text, most) for text in words[name]]
            excess -= wide - most
    return words


def _heads(words: Mapping[str, Sequence[str]], *, broken: bool) -> dict[str, list[str]]:
    """The lines of the head of each column: its name, or the words of it one below another."""
    heads = {name: name.split("_") if broken else [name] for name in words}
    lines = max(map(len, heads.values()), default=1)
    return {name: [""] * (lines - len(head)) + head for name, head in heads.items()}


def _widths(words: Mapping[str, Sequence[str]], heads: Mapping[str, list[str]]) -> dict[str, int]:
    return {name: max(map(len, [*heads[name], *texts])) for name, texts in words.items()}


def _width(words: Mapping[str, Sequence[str]], heads: Mapping[str, list[str]]) -> int:
    return sum(_widths(words, heads).values()) + len(GAP) * (len(words) - 1)


def _aligned(
    words: Mapping[str, Sequence[str]], heads: Mapping[str, list[str]], settings: Sequence[str]
) -> list[str]:
    """The lines of head and rows; hyperparameters begin where their name does, numbers end so."""
    columns = []
    for name, wide in _widths(words, heads).items():
        texts = [*heads[name], *words[name]]
        columns.append([x.ljust(wide) if name in settings else x.rjust(wide) for x in texts])
    return [GAP.join(row).rstrip() for row in zip(*columns, strict=True)]
