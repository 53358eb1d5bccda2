"""What the fields of a value accept, by the name of a field's annotation.

A field is a leaf (or a subtree of values) unless it is declared ``Static``. The names here and in
:mod:`fnopt.core.schedule` are the vocabulary::

    class scale_by_rms(Rule):
        decay: Decay = 0.9
        eps: NonNegative = 1e-8
        eps_in_sqrt: Static[bool] = True
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Generator, Iterable
from typing import Annotated, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.core.checks import Interval, brief

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Field:
    """A leaf: a number or an array.

    Attributes:
        interval: the range of a concrete number; traced and batched ones pass.
        below, above: the advice for a number below or above the range, for the error.
        convert: returns the value to store for an argument, instead of the checks for numbers.
        static: part of the structure (a flag, a dtype, a callable), not a leaf.
        choices: the values allowed; none means any.
        shown: the type in signatures, where the above do not say it.
        declared: the type of a static field that is checked: bool or int.
    """

    interval: Interval | None = None
    below: str = ""
    above: str = ""
    convert: Callable[[Any], Any] | None = None
    static: bool = False
    choices: tuple[Any, ...] = ()
    shown: str = ""
    declared: Any = None

    expected = "a number or an array"
    kind = "float"

    def annotation(self, declared: Any, default: Any) -> str:
        """The type of an argument as a signature shows it.

        Args:
            declared: the type in the field's annotation, which says what a static field is.
            default: the field's default; None shows that None is accepted.
        """
        text = self.shown or self.kind
        if self.choices:
            text = f"Literal[{', '.join(map(repr, self.choices))}]"
        elif self.static and not self.shown:
            text = re.sub(r"\b(?:\w+\.)+(?=\w)", "", inspect.formatannotation(declared))
            text = re.sub(r"Callable\[(\[[^]]*\]|\.\.\.), [^]]*\]", "Callable", text)
        return f"{text} | None" if default is None and "None" not in text else text

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        """The value to store for an argument.

        Args:
            argument: the argument's name, for the error.
            value: the user's argument.
            default: the field's default; where it is None, None is accepted.

        Raises:
            TypeError, ValueError: it is not accepted.
        """
        if value is None and default is None:
            return None
        if self.convert is None and not self.static:
            return self.accept_number(argument, value, default)
        if self.declared in _PLAIN:
            return _PLAIN[self.declared](argument, value)
        try:
            converted = value if self.convert is None else self.convert(value)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{argument}: {error}") from None
        if self.choices and converted not in self.choices:
            raise ValueError(f"{argument} must be one of {self.choices}, got {brief(value)}")
        if self.static:
            try:
                hash(converted)
            except TypeError as error:
                raise TypeError(f"{argument} must be hashable, got {brief(value)}") from error
        return converted

    def accept_number(self, argument: str, value: Any, default: Any) -> Any:
        """The number to store for an argument; as :meth:`accept`."""
        number = as_number(value)
        if number is None:
            raise TypeError(
                f"{argument} must be {self.expected}, got {brief(value)} ({type(value).__name__})"
                f"{_advice(value, default)}"
            )
        if isinstance(number, float) and self.interval is not None and number not in self.interval:
            low, high = self.interval.ends
            # NaN is on neither side.
            advice = self.below if number <= low else self.above if number >= high else ""
            advice = f" ({advice})" if advice else ""
            usual = f"; the default is {default!r}" if isinstance(default, (int, float)) else ""
            raise ValueError(
                f"{argument} must lie in {self.interval}, got {value!r}{advice}{usual}"
            )
        return number


def as_number(x: Any) -> Any:
    """A concrete scalar as a Python float, an array as it is, anything else as None.

    Python floats, so that int, float and NumPy scalars make one trace.
    """
    if isinstance(x, Tracer):
        return x
    if isinstance(x, (bool, str)) or (not np.isscalar(x) and not hasattr(x, "dtype")):
        return None
    try:
        dtype = jnp.result_type(x)
    except TypeError:  # an array of another library
        return None
    if not (jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)):
        return None
    return float(x) if np.ndim(x) == 0 else x  # pyright: ignore[reportArgumentType]


def _flag(argument: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)) and not (isinstance(value, int) and value in (0, 1)):
        raise TypeError(
            f"{argument} must be True or False, got {brief(value)} ({type(value).__name__})"
        )
    return bool(value)


def _whole(argument: str, value: Any) -> Any:
    if callable(value):
        raise TypeError(
            f"{argument} must be an integer, got {brief(value)}; a schedule cannot stand here"
        )
    return value


_PLAIN: dict[Any, Callable[[str, Any], Any]] = {bool: _flag, int: _whole}


def _advice(value: Any, default: Any) -> str:
    """What to do with an argument that is no number, where that is clear."""
    if value is None and isinstance(default, float):
        return f"; leave it out for the default, {default:g}"
    if isinstance(value, str):
        try:
            return f"; write it without quotes: {float(value):g}"
        except ValueError:
            return ""
    if isinstance(value, type):
        return "; call the class"
    tree = isinstance(value, (dict, Generator)) or is_torch_model(value)
    if tree or any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(value)):
        return "; parameters go to init: tx.init(params)"
    return "; a schedule cannot stand here" if callable(value) else ""


def is_torch_model(value: Any) -> bool:
    """Whether something is a model of torch, which can be called as a function can."""
    return hasattr(value, "state_dict") and hasattr(value, "parameters")


def as_numbers(xs: Iterable[Any]) -> tuple[Any, ...]:
    """Several numbers, each as ``as_number`` returns it.

    Raises:
        TypeError: one is no number.
    """
    xs = tuple(xs)
    numbers = tuple(map(as_number, xs))
    for number, x in zip(numbers, xs, strict=True):
        if number is None:
            raise TypeError(f"must be numbers, got {brief(x)}")
    return numbers


def _dtype_name(dtype: Any) -> str | None:
    # A name, since two spellings of one dtype are one structure, and a name can be saved.
    return None if dtype is None else str(jnp.dtype(dtype))


def _pairs(table: Any) -> tuple[tuple[Any, Any], ...]:
    pairs = tuple(table.items() if isinstance(table, dict) else table or ())
    if not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        dots = ", ".join(f"{brief(count, 20)}: 0.1" for count in pairs[:3])
        raise TypeError(
            f"must be a dict from counts to factors, such as {{{dots}}}, got {brief(table, 60)}"
        )
    numbers = [as_numbers(pair) for pair in pairs]
    # Traced counts cannot be sorted; they are taken to be.
    return tuple(sorted(numbers) if all(isinstance(n, float) for n, _ in numbers) else numbers)


def _as_seed(seed: Any) -> Any:
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return int(seed)
    if not hasattr(seed, "dtype"):
        raise TypeError(f"must be an integer or a key, got {seed!r} ({type(seed).__name__})")
    return seed


def as_key(seed: Any) -> jax.Array:
    """The key of a seed as plain integers, which every kind of checkpoint can hold."""
    if isinstance(seed, int) or (not jnp.ndim(seed) and jnp.issubdtype(seed.dtype, jnp.integer)):
        seed = jax.random.key(seed)
    typed = jnp.issubdtype(seed.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(seed) if typed else jnp.asarray(seed)


# For the type checker a number is Any: the user passes a float or an array, and a method computes
# with an array.
Number = Annotated[Any, Field()]
"""A number or an array."""
Steps = Annotated[Any, Field(Interval("(0, inf)"))]
"""A number of updates, above 0."""
Table = Annotated[Any, Field(convert=_pairs, shown="dict[int, float]")]
"""A dict from counts to numbers, or pairs of them, stored as sorted pairs."""
Numbers = Annotated[Any, Field(convert=as_numbers, shown="Sequence[float]")]
"""A tuple of numbers."""
Seed = Annotated[Any, Field(convert=_as_seed, shown="int | jax.Array")]
"""A seed of random draws, an integer that stays one, or a key."""
Static = Annotated[T, Field(static=True)]
"""Part of the structure: another value of it is another program."""
DType = Annotated[Any, Field(convert=_dtype_name, static=True, shown="DTypeLike")]
"""A dtype, by any of its names, or None for the dtype of the parameter."""
