"""Short texts of hyperparameters: numbers, flags, schedules, functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST = 40
"""Most characters of a value in a table or a picture."""


class _Absent:
    """What stands for a hyperparameter that an entrant does not have."""

    def __repr__(self) -> str:
        return "-"


ABSENT = _Absent()


def number(value: float, digits: int = 6) -> str:
    """A number with so many digits at most.

    >>> number(1e-5), number(0.001), number(3.1622776e-05, 3), number(1e6)
    ('1e-5', '0.001', '3.16e-5', '1e6')
    """
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def is_number(value: Any) -> bool:
    """Whether a hyperparameter is one real number; a flag is none."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return value.shape == () and getattr(value.dtype, "kind", "") in set("iuf")
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def text(value: Any, digits: int = 6) -> str:
    """A hyperparameter as text on one line: a function has its name, a schedule its call.

    Args:
        value: a hyperparameter.
        digits: most digits of a number.

    >>> import fnopt, numpy as np
    >>> text(np.float32(0.1)), text(True), text(None), text(abs), text((0.9, 0.99))
    ('0.1', 'True', 'None', 'abs', '(0.9, 0.99)')
    >>> text(fnopt.exponential_decay(0.1, 10, 0.5))[:40]
    'exponential_decay(init_value=0.1, transi'
    """
    if is_number(value):
        return number(float(value), digits)
    if isinstance(value, str):
        return value
    if type(value) is tuple:  # an optimizer is a tuple too
        inside = ", ".join(text(part, digits) for part in value)
        return f"({inside}{',' * (len(value) == 1)})"
    return " ".join(str(getattr(value, "__qualname__", None) or repr(value)).split())


def call(name: str, hyperparameters: Mapping[str, Any], digits: int = 6) -> str:
    """A call with hyperparameters; the name alone where there are none.

    >>> call("sgd", {"learning_rate": 0.1, "momentum": None}), call("adam", {})
    ('sgd(learning_rate=0.1, momentum=None)', 'adam')
    """
    if not hyperparameters:
        return name
    return f"{name}({', '.join(f'{key}={text(x, digits)}' for key, x in hyperparameters.items())})"


def short_texts(values: Sequence[Any], most: int = MOST) -> list[str]:
    """Texts that are as short as they can be and still tell the values apart.

    Numbers have three digits where these suffice. Of calls of the same function the arguments that
    all of them share are left out.

    Args:
        values: hyperparameters, one for each text.
        most: most characters of a text.

    >>> short_texts([0.1, 0.0316227, 1e-5])
    ['0.1', '0.0316', '1e-5']
    >>> import fnopt
    >>> rates = [fnopt.cosine_decay_schedule(rate, 100) for rate in (0.1, 0.2)]
    >>> short_texts(rates)
    ['cosine_decay_schedule(init_value=0.1)', 'cosine_decay_schedule(init_value=0.2)']
    """
    numbers = {float(value) for value in values if is_number(value)}
    digits = next(
        (n for n in (3, 4, 6) if len({number(x, n) for x in numbers}) == len(numbers)), 12
    )
    whole = [text(value, digits) for value in values]
    calls = {full for full, value in zip(whole, values, strict=True) if _is_call(value)}
    brief = _without_common(calls) if len(set(whole)) > 1 else {}
    return [cut(brief.get(full, full), most) for full in whole]


def _is_call(value: Any) -> bool:
    return not is_number(value) and not isinstance(value, str) and type(value) is not tuple


def _without_common(texts: set[str]) -> dict[str, str]:
    """Shorter texts of calls, by the whole ones."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for full in texts:
        name, parenthesis, rest = full.partition("(")
        if parenthesis and full.endswith(")"):
            kinds.setdefault(name, {})[full] = _arguments(rest[:-1])
    brief: dict[str, str] = {}
    for name, calls in kinds.items():
        shared = set.intersection(*map(set, calls.values()))
        for full, arguments in calls.items():
            own = [argument for argument in arguments if argument not in shared]
            brief[full] = f"{name}({', '.join(own)})" if own else name
    return brief


def _arguments(inside: str) -> list[str]:
    """The arguments of a call, which may be calls themselves."""
    parts, depth = [""], 0
    for character in inside:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def cut(words: str, most: int) -> str:
    """A text of so many characters at most; of a call the name is cut before the arguments.

    >>> cut("cosine_decay_schedule(init_value=0.1)", 30), cut("a long sentence", 7)
    ('cosine_decay_…(init_value=0.1)', 'a long…')
    """
    if len(words) <= most:
        return words
    name, parenthesis, rest = words.partition("(")
    left = most - len(parenthesis + rest) - 1
    if parenthesis and rest.endswith(")") and left >= 3:
        return f"{name[:left]}…({rest}"
    return words[: most - 1] + "…"
