"""A traced function as a flat list of steps, which can be run with values looked at on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

# jax's names for a function within a function that is nothing but its body.
CALLS = {"jit", "pjit", "closed_call", "core_call"}
# These have derivatives or memory of their own, and are kept whole unless a product is in them.
WRAPPERS = {"custom_jvp_call", "custom_vjp_call", "remat2", "checkpoint", "remat"}
PRODUCTS = {"dot_general", "conv_general_dilated"}


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that stand in the program."""

    value: Any


Reference = int | Constant
"""A value by its number, or a constant."""


class Step(NamedTuple):
    """One primitive: values by their numbers go in and come out."""

    name: str
    equation: Any
    inputs: tuple[Reference, ...]
    outputs: tuple[int, ...]

    def reads(self) -> set[int]:
        return {value for value in self.inputs if isinstance(value, int)}


class Program:
    """What a function does, one primitive after the other, its inner functions written out.

    Steps that no output needs are left away. A loop (``scan``, ``while``, ``cond``) remains one
    step. Where a product stands in a function with a derivative of its own, that function is
    written out too, and differentiated as what it computes.

    Args:
        function: any that jax can trace.
        *args: its arguments, arrays or their shapes.

    Attributes:
        steps: in the order of their computation.
        inputs, outputs: the numbers of the leaves of the arguments, and references to the outputs.
        shapes: of every value, with its dtype.
    """

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        closed = jax.make_jaxpr(function)(*args)
        self.shapes: list[Any] = []
        self.steps: list[Step] = []
        self.inputs = [self._new(var) for var in closed.jaxpr.invars]
        self.outputs = self._write_out(closed, self.inputs)
        needed = {value for value in self.outputs if isinstance(value, int)}
        kept = []
        for step in reversed(self.steps):
            if needed & set(step.outputs):
                needed |= step.reads()
                kept.append(step)
        self.steps = kept[::-1]

    def run(
        self, leaves: list[Any], look: Callable[[int, Any], Any] = lambda number, value: value
    ) -> list[Any]:
        """The outputs, given the leaves of the arguments.

        Args:
            leaves: of the arguments, in order.
            look: what becomes of a value on its way, ``look(number, value) -> value``.
        """
        values = {i: look(i, x) for i, x in zip(self.inputs, leaves, strict=True)}

        def read(at: Reference) -> Any:
            return at.value if isinstance(at, Constant) else values[at]

        for step in self.steps:
            primitive = step.equation.primitive
            told = primitive.get_bind_params(step.equation.params)
            # jax has told inner functions apart from the other parameters until 0.10.
            functions, params = told if isinstance(told, tuple) else ((), told)
            with step.equation.ctx.manager:
                made = primitive.bind(*functions, *map(read, step.inputs), **params)
            made = made if primitive.multiple_results else [made]
            values |= {i: look(i, x) for i, x in zip(step.outputs, made, strict=True)}
        return [read(at) for at in self.outputs]

    def _new(self, var: Any) -> int:
        self.shapes.append(var.aval)
        return len(self.shapes) - 1

    def _write_out(self, closed: Any, given: list[Any]) -> list[Reference]:
        jaxpr, consts = _parts(closed)
        known: dict[Any, Reference] = dict(zip(jaxpr.invars, given, strict=True))
        known |= {var: Constant(x) for var, x in zip(jaxpr.constvars, consts, strict=True)}

        def read(atom: Any) -> Reference:
            return Constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            inputs = tuple(map(read, equation.invars))
            name = equation.primitive.name
            inner = inner_of(equation)
            if name in CALLS or (name in WRAPPERS and PRODUCTS & primitives(inner)):
                outputs = self._write_out(inner, list(inputs))
            else:
                outputs = [self._new(var) for var in equation.outvars]
                self.steps.append(Step(name, equation, inputs, tuple(outputs)))
            known |= dict(zip(equation.outvars, outputs, strict=True))
        return list(map(read, jaxpr.outvars))


def inner_of(equation: Any) -> Any:
    """The function within a call, or None."""
    return equation.params.get("jaxpr", equation.params.get("call_jaxpr"))


def primitives(closed: Any) -> set[str]:
    """The names of all primitives in a function, those in its inner functions too."""
    names: set[str] = set()
    for equation in _parts(closed)[0].eqns:
        inner = [x for x in jax.tree.leaves(list(equation.params.values())) if _is_jaxpr(x)]
        names |= set().union(*map(primitives, inner)) if inner else {equation.primitive.name}
    return names


def _is_jaxpr(x: Any) -> bool:
    return hasattr(x, "eqns") or hasattr(getattr(x, "jaxpr", None), "eqns")


def _parts(closed: Any) -> tuple[Any, tuple[Any, ...]]:
    """A function's body and its constants; one that is not closed has none."""
    return getattr(closed, "jaxpr", closed), tuple(getattr(closed, "consts", ()))
