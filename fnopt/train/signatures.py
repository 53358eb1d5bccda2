"""How a model or a loss is called: the flags it takes, and a refusal of one that needs more."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

TRUE_IN_TRAINING = ("train", "training", "is_training", "is_train")
FALSE_IN_TRAINING = ("deterministic", "inference", "use_running_average")


def train_flags(call: Callable[..., Any]) -> Callable[[bool], dict[str, bool]]:
    """The arguments by which a model's call knows whether it trains.

    Args:
        call: the function; it may have any of ``train``, ``training``, ``is_training``,
            ``is_train``, ``deterministic``, ``inference`` and ``use_running_average``.

    Returns:
        A function of the flag ``train``, giving those of these arguments that the call has.
    """
    parameters = inspect.signature(call).parameters
    true_in_training = [name for name in TRUE_IN_TRAINING if name in parameters]
    false_in_training = [name for name in FALSE_IN_TRAINING if name in parameters]

    def flags(train: bool) -> dict[str, bool]:
        return dict.fromkeys(true_in_training, train) | dict.fromkeys(false_in_training, not train)

    return flags


def check_call(what: str, call: Callable[..., Any], arguments: str, *more: str) -> None:
    """Refuses a function that cannot be called as it will be.

    Args:
        what: its name, for the error.
        call: the function.
        arguments: the arguments that it is called with, by position, such as ``"params, batch"``.
        *more: names of arguments that it receives besides, if it has them.

    Raises:
        TypeError: it needs other arguments; says which.
    """
    mismatch = mismatch_of(
        call, len(arguments.split(", ")), (*TRUE_IN_TRAINING, *FALSE_IN_TRAINING, *more)
    )
    if mismatch is not None:
        signature, error = mismatch
        raise TypeError(
            f"objective: {what} is called with ({arguments}), but takes {signature}: {error}."
            " Give what else it needs a default value; a flag of training must be called one of"
            f" {', '.join((*TRUE_IN_TRAINING, *FALSE_IN_TRAINING))}"
        )


def mismatch_of(
    call: Callable[..., Any], count: int, names: tuple[str, ...] = ()
) -> tuple[inspect.Signature, TypeError] | None:
    """The signature of a function that cannot be called so, and why; None where it can.

    Args:
        call: the function. One that ``functools.wraps`` has made has two signatures, its own and
            that of the function inside; either will do.
        count: number of arguments by position.
        names: arguments by name, of which it receives those that it has.
    """
    found = None
    # Flax passes all arguments on to the method inside.
    of_flax = getattr(call, "__globals__", {}).get("__name__", "").startswith("flax.")
    for follow in (True,) if of_flax else (True, False):
        try:
            signature = inspect.signature(call, follow_wrapped=follow)
        except (TypeError, ValueError):  # of C code
            return None
        passed = [name for name in names if name in signature.parameters]
        try:
            signature.bind(*[None] * count, **dict.fromkeys(passed))
            return None
        except TypeError as error:
            found = found or (signature, error)
    return found
