"""A traced function, with all that it closes over as arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import jaxpr_as_fun

from fnopt.core.types import PyTree


class Program:
    """A function that is traced once; what it closes over are arguments of its own.

    So it can be differentiated by those. Called with the :attr:`constants` first, it does what the
    function does.

    Attributes:
        constants: the arrays that the function closes over.
        shapes: the shapes and dtypes of its result, a tree.
    """

    def __init__(self, function: Callable[..., PyTree], *args: PyTree) -> None:
        """Args:
        function: the function.
        *args: arguments of it; shapes suffice.
        """
        closed, self.shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        self.constants: list[Any] = list(closed.consts)
        self._closed = closed

    def __call__(self, constants: list[Any], *args: PyTree) -> PyTree:
        leaves = jaxpr_as_fun(self._closed.replace(consts=constants))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(self.shapes), leaves)
