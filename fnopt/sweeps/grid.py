"""Optimizers of one kind with many hyperparameters: on a grid, or drawn at random."""

from __future__ import annotations

import inspect
import itertools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from fnopt.core.arguments import suggested
from fnopt.core.checks import brief, positive_integer
from fnopt.core.entry import entry
from fnopt.core.fields import as_number
from fnopt.core.prng import typed_key
from fnopt.core.tracebacks import hides_frames
from fnopt.core.transform import as_transform
from fnopt.sweeps.data import Entrant
from fnopt.sweeps.distributions import Distribution

Make = Callable[..., Any]
_VARIADIC = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


@hides_frames
def grid(make: Make, /, *args: Any, **values: Any) -> tuple[Entrant, ...]:
    """An optimizer at all combinations of values of its hyperparameters.

    Args:
        make: what returns an optimizer, such as :class:`fnopt.adamw` or a function of your own; by
            position alone.
        *args: arguments of it by position, as ``values``.
        **values: its arguments by name: a list, tuple or array of values of which each is tried,
            or one value for all. Of an argument that takes a tuple itself, give a list of tuples.

    Returns:
        An entrant for each combination; the last argument that varies changes fastest.

    Raises:
        TypeError: ``make`` cannot be called, has no argument of a name, or returns no optimizer.
        ValueError: a list is empty; or what ``make`` raises for a value out of its range.

    >>> import fnopt
    >>> entrants = grid(fnopt.adamw, learning_rate=[1e-3, 1e-2], weight_decay=[0, 0.1], b1=0.8)
    >>> len(entrants), dict(entrants[1].hyperparameters)
    (4, {'learning_rate': 0.001, 'weight_decay': 0.1, 'b1': 0.8})
    """
    named = _by_name("grid", make, args, values)
    choices = {name: _values(name, value) for name, value in named.items()}
    return tuple(
        entrant_of("grid", make, dict(zip(choices, combination, strict=True)))
        for combination in itertools.product(*choices.values())
    )


@entry("sample(make, n, key, learning_rate=log_uniform(1e-5, 1)), the first three by position")
def sample(make: Make, n: int, key: Any, /, **distributions: Any) -> tuple[Entrant, ...]:
    """An optimizer with hyperparameters that are drawn at random, each by itself.

    What is drawn for a hyperparameter depends on the key, its name and its distribution alone, so
    that more draws, or another distribution beside it, leave the first draws as they are. The first
    three arguments go by position alone, as ``make`` may have hyperparameters of these names.

    Args:
        make: what returns an optimizer, such as :class:`fnopt.adamw` or a function of your own.
        n: number of draws, at least 1.
        key: a PRNG key, or an integer to make one.
        **distributions: its arguments by name: a distribution, such as ``log_uniform(1e-5, 1)``,
            ``uniform(0.8, 1)``, ``integers(1, 8)`` or ``choice(0, 0.01)``; or one value for all
            draws.

    Returns:
        An entrant for each draw.

    Raises:
        TypeError: ``make`` cannot be called, has no argument of a name, or returns no optimizer;
            or ``n`` is no integer.
        ValueError: ``n`` is below 1, or no hyperparameter has a distribution.

    References:
        Bergstra & Bengio, *Random Search for Hyper-Parameter Optimization*, JMLR 13 (2012).

    >>> import fnopt
    >>> from fnopt.sweeps.distributions import log_uniform
    >>> entrants = sample(fnopt.adam, 3, 0, learning_rate=log_uniform(1e-4, 1e-2), b1=0.8)
    >>> all(1e-4 <= e.tx.learning_rate < 1e-2 and e.tx.b1 == 0.8 for e in entrants)
    True
    """
    named = check_draws("sample", make, distributions)
    n, key = positive_integer("sample: n", n), typed_key(key)
    drawn = {name: _draws(name, value, n, key) for name, value in named.items()}
    return tuple(
        entrant_of("sample", make, {name: values[i] for name, values in drawn.items()})
        for i in range(n)
    )


def check_draws(caller: str, make: Any, distributions: Mapping[str, Any]) -> dict[str, Any]:
    """What the hyperparameters of an optimizer are drawn from, refused where it cannot be.

    Args:
        caller: the public function, for errors.
        make: what returns the optimizer.
        distributions: for its arguments by name a distribution, or one value for all draws.

    Raises:
        TypeError: ``make`` cannot be called or has no argument of a name, or there is a list.
        ValueError: no hyperparameter has a distribution.
    """
    named = _by_name(caller, make, (), distributions)
    for name, value in named.items():
        if isinstance(value, list):
            words = ", ".join(brief(x, 20) for x in value[:3])
            raise TypeError(f"{caller}: {name} is a list; choice({words}) draws one of its values")
    if not any(isinstance(value, Distribution) for value in named.values()):
        raise ValueError(
            f"{caller}: nothing is drawn for {_name(make)}; give a distribution, such as"
            " learning_rate=log_uniform(1e-5, 1)"
        )
    return named


def _by_name(
    caller: str, make: Any, args: tuple[Any, ...], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments by name, those by position first."""
    if not callable(make) or isinstance(make, str):
        raise TypeError(
            f"{caller}: make must be what returns an optimizer, such as fnopt.adamw, got"
            f" {brief(make, 40)} ({type(make).__name__})"
        )
    parameters = _parameters(make)
    positional = [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(args) > len(positional):
        raise TypeError(
            f"{caller}: {_name(make)} takes {len(positional)} arguments by position"
            f" ({', '.join(positional)}), got {len(args)}"
        )
    by_position = dict(zip(positional, args))  # noqa: B905 - as many as there are
    known = [name for name, p in parameters.items() if p.kind not in _VARIADIC]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in values.items():
        if name in by_position:
            raise TypeError(f"{caller}: {_name(make)} got {name} twice, by position and by name")
        if name not in known and not takes_all:
            raise TypeError(
                f"{caller}: {_name(make)} has no hyperparameter {name!r};"
                f" {suggested(name, known, value)}"
            )
    return {**by_position, **values}


def _parameters(make: Make) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(make).parameters)
    except ValueError:  # of a builtin: the call says what is wrong
        return {"values": inspect.Parameter("values", inspect.Parameter.VAR_KEYWORD)}


def _name(make: Any) -> str:
    make = getattr(make, "func", make)  # of functools.partial
    name = getattr(make, "__name__", type(make).__name__)
    return "optimizer" if name == "<lambda>" else name


def _values(name: str, value: Any) -> list[Any]:
    """The values of an argument: those of a list, or one."""
    if isinstance(value, Distribution):
        raise TypeError(
            f"grid: {name} is the distribution {value!r}, and a grid needs values;"
            " sample(make, n, key, …) draws from it"
        )
    if isinstance(value, (list, tuple, range)):
        values = list(value)
    elif getattr(value, "ndim", 0) == 1:
        values = list(np.asarray(value))
    else:
        return [value]
    if not values:
        raise ValueError(f"grid: {name} is empty; give at least one value, as in {name}=[0.1]")
    return values


def _draws(name: str, value: Any, n: int, key: jax.Array) -> list[Any]:
    if isinstance(value, Distribution):
        # By the name, so that it does not matter what else is drawn.
        own = jax.random.fold_in(key, zlib.crc32(name.encode()))
        keys = jax.vmap(lambda i: jax.random.fold_in(own, i))(np.arange(n))
        shares = jax.vmap(jax.random.uniform)(keys)
        return [value.at(float(share)) for share in np.asarray(shares)]
    return [value] * n


def entrant_of(caller: str, make: Make, values: Mapping[str, Any]) -> Entrant:
    """The entrant of an optimizer with these hyperparameters.

    Args:
        caller: the public function, for errors.
        make: what returns the optimizer.
        values: its arguments by name.

    Raises:
        TypeError: it returns no optimizer.
    """
    values = {name: _plain(value) for name, value in values.items()}
    tx = make(**values)
    try:
        return Entrant(_name(make), as_transform(tx), values)
    except TypeError:
        raise TypeError(
            f"{caller}: {_name(make)} must return an optimizer, got {brief(tx, 40)}"
            f" ({type(tx).__name__})"
        ) from None


def _plain(value: Any) -> Any:
    """A number of NumPy or jax as one of Python; an integer stays one."""
    if isinstance(value, (bool, int, float, str, np.bool_)):
        return bool(value) if isinstance(value, np.bool_) else value
    number = as_number(value)
    if not isinstance(number, float):
        return value
    return int(value) if np.issubdtype(np.result_type(value), np.integer) else number
