"""Functions of an objective, compiled once for each objective and released with it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import jax


class per_objective:
    """A compiled function of an objective and of arrays.

    As ``jax.jit`` with the objective as a static argument, with one difference: ``jit`` keeps every
    static argument for the life of the process, and with an objective its initial parameters and
    its programs. Here they live as long as the objective does.

    Args:
        static_argnums: positions of further static arguments; the objective is at 0.
        donate_argnums: positions of the arguments whose buffers are taken over.
    """

    def __init__(
        self, *, static_argnums: tuple[int, ...] = (), donate_argnums: tuple[int, ...] = ()
    ) -> None:
        # Behind the objective everything moves up by one.
        self.static, self.donated = (
            tuple(i - 1 for i in positions) for positions in (static_argnums, donate_argnums)
        )

    def __call__(self, function: Callable[..., Any]) -> Program:
        return Program(function, self.static, self.donated)


class Program:
    """The compiled function that :class:`per_objective` returns; it is called like the function."""

    def __init__(
        self, function: Callable[..., Any], static: tuple[int, ...], donated: tuple[int, ...]
    ) -> None:
        functools.update_wrapper(self, function)
        self.function, self.static, self.donated = function, static, donated

    def __call__(self, objective: Any, *args: Any) -> Any:
        return self.of(objective)(*args)

    def of(self, objective: Any) -> Any:
        """The compiled function of the other arguments, for this objective."""
        programs = vars(objective).setdefault("_programs", {})
        if self.function not in programs:
            # Weak, so that an objective is not held by its own programs.
            weak = weakref.ref(objective)

            @functools.wraps(self.function)
            def of_objective(*args: Any) -> Any:
                return self.function(weak(), *args)

            del of_objective.__wrapped__  # jit counts the arguments of this one
            programs[self.function] = jax.jit(
                of_objective, static_argnums=self.static, donate_argnums=self.donated
            )
        return programs[self.function]
