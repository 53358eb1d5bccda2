"""The arguments of a sweep, checked and converted."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import optax

from fnopt.core.checks import brief, integer, positive_integer
from fnopt.core.entry import Function, entry
from fnopt.core.labels import labels_of
from fnopt.core.tracebacks import hides_frames
from fnopt.solve.methods import as_method
from fnopt.sweeps.data import Entrant
from fnopt.train.arguments import check_objective
from fnopt.train.objective import Objective

USAGE = "sweep(objective, optimizers, data, epochs=…)"
"""The call that is right."""
_PART = re.compile(r"^(?:fit|sweep|exploit_and_explore|halving_bracket|hyperband_brackets)([:(])")
"""The name of a part at the beginning of an error."""


def as_entrants(
    optimizers: Any, caller: str = "sweep", argument: str = "optimizers"
) -> tuple[Entrant, ...]:
    """The optimizers of a sweep, in their order.

    Args:
        optimizers: entrants, optimizers, their names, lists and dicts of them, one in another.
        caller: the function that was called, for errors.
        argument: the name of its argument.

    Raises:
        TypeError: something is none of these.
        ValueError: there is none, or no optimizer of a name.
    """
    entrants = list(_flattened(optimizers, caller, argument))
    if not entrants:
        raise ValueError(
            f"{caller}: {argument} is empty; give at least one, as in [fnopt.adamw(1e-3)] or"
            " grid(fnopt.adamw, learning_rate=[1e-3, 1e-2])"
        )
    plain = [i for i, entrant in enumerate(entrants) if not entrant.label]
    labels = labels_of([entrants[i].tx for i in plain])
    for i, label in zip(plain, labels, strict=True):
        entrants[i] = dataclasses.replace(entrants[i], label=label)
    return tuple(entrants)


def _flattened(item: Any, caller: str, argument: str) -> Iterator[Entrant]:
    if isinstance(item, Entrant):
        yield dataclasses.replace(item, tx=as_method(caller, item.tx))
    elif isinstance(item, (str, optax.GradientTransformation, optax.MultiSteps, type)):
        yield Entrant("", as_method(caller, item), {})
    elif isinstance(item, Mapping):
        for label, value in item.items():
            for entrant in _flattened(value, caller, argument):
                yield dataclasses.replace(entrant, label=str(label))
    elif isinstance(item, Iterable):
        for value in item:
            yield from _flattened(value, caller, argument)
    else:
        raise TypeError(
            f"{caller}: {argument} must be a list of optimizers, a dict from labels to such, or"
            f" what grid or sample returns; got {brief(item, 40)} ({type(item).__name__}) in it"
        )


def as_seeds(seeds: Any) -> tuple[int, ...]:
    """The seeds of a sweep.

    Args:
        seeds: their number, or the seeds themselves.

    Raises:
        TypeError: there is something that is no integer.
        ValueError: there is none, one is negative, or one is there twice.
    """
    if not isinstance(seeds, Iterable):
        return tuple(range(positive_integer("sweep: seeds, where it is a number,", seeds)))
    numbers = tuple(integer("sweep: each of seeds", seed, least=0) for seed in seeds)
    if not numbers:
        raise ValueError("sweep: seeds is empty; give their number, or at least one seed")
    if twice := [seed for seed in numbers if numbers.count(seed) > 1]:
        raise ValueError(f"sweep: the seed {twice[0]} is there twice; the seeds must differ")
    return numbers


def objectives_of(objective: Any, seeds: Sequence[int]) -> Callable[[int], Objective]:
    """A function of the seed that returns the objective; the same one for the same seed.

    Args:
        objective: an objective, or such a function.
        seeds: the seeds, of the first of which it is called now.

    Raises:
        TypeError: it is neither, or what the function returns is no objective.
    """
    if isinstance(objective, Objective) or not callable(objective) or isinstance(objective, type):
        check_objective(USAGE, objective)
        given: Any = objective
        return lambda seed: given
    function: Callable[[int], Any] = objective

    @functools.cache
    def of_seed(seed: int) -> Any:
        made = function(seed)
        check_objective(f"{USAGE}, where objective is a function of the seed", made)
        return made

    of_seed(seeds[0])
    return of_seed


@contextlib.contextmanager
def named(caller: str) -> Iterator[None]:
    """Lets errors of the parts that several functions share name the one that was called.

    Args:
        caller: the public function, such as ``"sweep"``.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        words = _PART.sub(rf"{caller}\1", f"{error}", count=1)
        if words != f"{error}":
            error.args = (words, *error.args[1:])
        raise


def sweep_entry(caller: str, usage: str) -> Callable[[Function], Function]:
    """:func:`fnopt.core.entry.entry`, where errors of shared parts name the function as well.

    Args:
        caller: name of the public function.
        usage: the call that is right.
    """

    def decorate(function: Function) -> Function:
        checked = entry(usage)(function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with named(caller):
                return checked(*args, **kwargs)

        return hides_frames(call)  # pyright: ignore[reportReturnType]

    return decorate
