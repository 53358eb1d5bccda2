"""Runs by their entrants, and by the hyperparameters that vary among these."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from fnopt.core.checks import did_you_mean
from fnopt.sweeps.records import Entrant, RunRecord
from fnopt.sweeps.texts import ABSENT, call, is_number, short_texts

Runs = Sequence[RunRecord]
OPTIMIZER = "optimizer"
"""The name by which the label of an entrant is read, as if it were a hyperparameter."""


def key_of(value: Any) -> Hashable:
    """What is equal for equal hyperparameters, and may be a key of a dict."""
    if is_number(value):
        return ("number", repr(float(value)))  # NaN equals itself so
    if isinstance(value, bool):
        return ("flag", value)  # else equal to 1
    if type(value) in (list, tuple):  # an optimizer is a tuple too
        return tuple(map(key_of, value))
    if isinstance(getattr(value, "dtype", None), np.dtype):
        return (value.shape, np.asarray(value).tobytes())
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def entrant_key(entrant: Entrant) -> Hashable:
    """What is equal for the same entrant in several runs: its seeds have one object.

    Labels and hyperparameters do not say all of an optimizer, which a function may have made.
    """
    return id(entrant)


def by_entrant(runs: Iterable[RunRecord]) -> list[list[RunRecord]]:
    """The runs of each entrant, in the order of the sweep."""
    groups: dict[Hashable, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(entrant_key(run.entrant), []).append(run)
    return list(groups.values())


def value_of(run: RunRecord, name: str) -> Any:
    """A hyperparameter of a run; ABSENT if it has none of the name.

    ``"optimizer"`` and ``"seed"`` name the label and the seed, where no hyperparameter is called
    so.
    """
    numbers = run.entrant.hyperparameters
    if name in numbers:
        return numbers[name]
    return {OPTIMIZER: run.entrant.label, "seed": run.seed}.get(name, ABSENT)


def hyperparameters(runs: Runs) -> list[str]:
    """Names of the hyperparameters that were set in any run, in the order of the sweep."""
    return list(dict.fromkeys(name for run in runs for name in run.entrant.hyperparameters))


def varying(runs: Runs) -> list[str]:
    """What differs between entrants: ``"optimizer"`` and names of hyperparameters."""
    names = dict.fromkeys([OPTIMIZER, *hyperparameters(runs)])
    return [name for name in names if len({key_of(value_of(run, name)) for run in runs}) > 1]


def check_names(caller: str, names: Sequence[str], runs: Runs) -> None:
    """Refuses names that no run has.

    Args:
        caller: the method, for the error.
        names: names of hyperparameters, ``"optimizer"`` or ``"seed"``.
        runs: the runs.

    Raises:
        ValueError: a name is unknown, or there twice.
    """
    known = [*hyperparameters(runs), OPTIMIZER, "seed"]
    for name in names:
        if name not in known:
            raise ValueError(
                f"{caller}: no hyperparameter {name!r} was set in this sweep;"
                f" {did_you_mean(str(name), known)}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"{caller}: the names {list(names)} must differ")


def by_values(runs: Runs, names: Sequence[str]) -> dict[tuple[Any, ...], list[RunRecord]]:
    """Runs by their values of hyperparameters: numbers rise, others are in the sweep's order.

    Args:
        runs: the runs.
        names: names of hyperparameters.

    Returns:
        A dict from the places of the values among all of their name to the runs; see
        :func:`values_of` for these.
    """
    places = [{key_of(x): i for i, x in enumerate(values_of(runs, name))} for name in names]
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in runs:
        at = (place[key_of(value_of(run, n))] for n, place in zip(names, places, strict=True))
        groups.setdefault(tuple(at), []).append(run)
    return dict(sorted(groups.items()))


def values_of(runs: Runs, name: str) -> list[Any]:
    """The different values of a hyperparameter: numbers rise, then the others in order."""
    values = {key_of(value): value for value in (value_of(run, name) for run in runs)}.values()
    numbers = sorted((value for value in values if is_number(value)), key=float)
    return [*numbers, *(value for value in values if not is_number(value))]


def labels(groups: Sequence[Runs]) -> list[str]:
    """A label for each entrant, no two the same: what varies among them, as a call.

    Args:
        groups: the runs of each entrant.
    """
    firsts = [runs[0] for runs in groups]
    names = [name for name in varying(firsts) if name != OPTIMIZER]
    columns = {name: short_texts([value_of(run, name) for run in firsts]) for name in names}
    texts = []
    for i, run in enumerate(firsts):
        own = [name for name in names if name in run.entrant.hyperparameters]
        texts.append(call(run.entrant.label, {name: columns[name][i] for name in own}))
    numbered: dict[str, int] = {}
    for i, label in enumerate(texts):
        numbered[label] = numbered.get(label, 0) + 1
        if texts.count(label) > 1 and numbered[label] > 1:
            texts[i] = f"{label} #{numbered[label]}"
    return texts
