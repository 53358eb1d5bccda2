"""A traced function as a list of steps, which can be run while values are recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend.core import Literal

from fnopt.core.types import PyTree
from fnopt.layers.joined import Joined
from fnopt.layers.primitives import CALLS, PRODUCTS, WRAPPERS, inner_of, parts, primitives


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """Numbers that are part of the program."""

    value: Any


Reference = int | Constant
"""A value by its number, or a constant."""
Look = Mapping[int, Callable[[jax.Array], PyTree]]
"""For the number of a value, the function whose result for that value is recorded."""


class Step(NamedTuple):
    """One primitive, with the numbers of its input and output values.

    Attributes:
        name: the name of the primitive.
        equation: the equation of the jaxpr.
        inputs, outputs: the values that it reads and computes.
        body: the program of one iteration of a ``scan``; None otherwise.
    """

    name: str
    equation: Any
    inputs: tuple[Reference, ...]
    outputs: tuple[int, ...]
    body: Program | None = None

    def reads(self) -> set[int]:
        return {value for value in self.inputs if isinstance(value, int)}

    @property
    def length(self) -> int:
        """The number of iterations of a ``scan``."""
        return self.equation.params["length"]


class Entry(NamedTuple):
    """How a value enters the body of a ``scan``.

    Attributes:
        inside: its number in the body.
        outside: the value before the loop; of a carry the first one.
        out: the reference that the body passes to the next iteration; None if it is no carry.
        sliced: whether each iteration gets a slice along the first axis.
    """

    inside: int
    outside: Reference
    out: Reference | None
    sliced: bool

    @property
    def carried(self) -> bool:
        """Whether iterations change it; a carry that the body passes on unchanged does not."""
        return self.out is not None and self.out != self.inside


def consts_and_carries(scan: Any) -> tuple[int, int]:
    """The numbers of constants and of carried arrays, which are the first inputs of a ``scan``."""
    if "num_consts" in scan.params:
        return scan.params["num_consts"], scan.params["num_carry"]
    consts, carry, _ = scan.params["ft_in"].unpack()  # from jax 0.12 on
    return len(list(consts)), len(list(carry))


def entries(step: Step) -> list[Entry]:
    """How each input of a ``scan`` enters its body, in order."""
    assert step.body is not None
    consts, carries = consts_and_carries(step.equation)
    outs = [None] * consts + step.body.outputs[:carries] + [None] * len(step.inputs)
    return [
        Entry(inside, outside, outs[i], i >= consts + carries)
        for i, (inside, outside) in enumerate(zip(step.body.inputs, step.inputs, strict=True))
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """The primitives of a function in order, its inner functions written out.

    Steps that no output needs are left out. A ``scan`` is one step with a body, which is a program
    too; values have different numbers in all of them. ``while`` and ``cond`` are one step without
    a body. Where a product is in a function with a custom derivative, that function is
    written out too, and differentiated as what it computes.

    Attributes:
        steps: the steps in the order of their computation.
        inputs: the numbers of the inputs.
        outputs: references to the outputs.
        shapes: shape and dtype of every value by its number; in a body, of one iteration.
        numbers: the numbers of the values of this program, its bodies' among them.
    """

    steps: list[Step]
    inputs: list[int]
    outputs: list[Reference]
    shapes: list[Any]
    numbers: range

    def run(
        self, inputs: Sequence[Any], look: Look | None = None, add: Mapping[int, Any] | None = None
    ) -> tuple[list[Any], dict[int, PyTree]]:
        """The outputs, and what was recorded on the way.

        Args:
            inputs: arrays, one for each input.
            look: the functions by number whose results are recorded; nothing if None.
            add: arrays by number that are added to those values, before they are recorded;
                nothing if None. The arrays for values in a loop have the iterations along a first
                axis.

        Returns:
            The outputs; and by number what ``look`` gave. Of a value in a loop it has the
            iterations along a first axis, in nested loops the outermost first.
        """
        look, add = look or {}, add or {}
        values: dict[int, Any] = {}
        recorded: dict[int, PyTree] = {}

        def put(numbers: Sequence[int], arrays: Sequence[Any]) -> None:
            for number, array in zip(numbers, arrays, strict=True):
                values[number] = array + add[number] if number in add else array
                if number in look:
                    recorded[number] = look[number](values[number])

        def read(at: Reference) -> Any:
            return at.value if isinstance(at, Constant) else values[at]

        put(self.inputs, inputs)
        for step in self.steps:
            read_by_step = list(map(read, step.inputs))
            with step.equation.ctx.manager:
                if step.body and any(x in step.body.numbers for x in (*look, *add)):
                    outputs, inner = _scanned(step, read_by_step, look, add)
                    recorded |= inner
                else:
                    outputs = _bound(step, read_by_step)
            put(step.outputs, outputs)
        return [read(at) for at in self.outputs], recorded


def bind(step: Step, *inputs: Any) -> Any:
    """What a step with one output makes of other inputs."""
    return _bound(step, inputs)[0]


def _bound(step: Step, inputs: Sequence[Any]) -> list[Any]:
    primitive = step.equation.primitive
    bind_params = primitive.get_bind_params(step.equation.params)
    # Before 0.10 jax stored inner functions apart from the other parameters.
    functions, params = bind_params if isinstance(bind_params, tuple) else ((), bind_params)
    outputs = primitive.bind(*functions, *inputs, **params)
    return list(outputs) if primitive.multiple_results else [outputs]


def _scanned(
    step: Step, inputs: list[Any], look: Look, add: Mapping[int, Any]
) -> tuple[list[Any], dict[int, PyTree]]:
    """The outputs of a ``scan`` whose body is recorded, and the recorded values."""
    assert step.body is not None
    body, params = step.body, step.equation.params
    first, carries = consts_and_carries(step.equation)
    consts, carry = inputs[:first], inputs[first : first + carries]
    inside = {number: array for number, array in add.items() if number in body.numbers}

    def iteration(carry: list[Any], sliced: Any) -> Any:
        slices, added = sliced
        outputs, recorded = body.run([*consts, *carry, *slices], look, added)
        return outputs[: len(carry)], (outputs[len(carry) :], recorded)

    carry, (stacked, recorded) = jax.lax.scan(
        iteration,
        carry,
        (inputs[len(consts) + len(carry) :], inside),
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *stacked], recorded


def trace(function: Callable[..., Any], *args: Any) -> Program:
    """The program of a function.

    Args:
        function: any that jax can trace.
        *args: its arguments, trees of arrays or of their shapes; their leaves are the inputs.
    """
    return _written(jax.make_jaxpr(function)(*args), [])


def _written(closed: Any, shapes: list[Any]) -> Program:
    """The program of a jaxpr, whose values are numbered behind those that have shapes already."""
    begin = len(shapes)

    def new(var: Any) -> int:
        shapes.append(var.aval)
        return len(shapes) - 1

    steps: list[Step] = []
    joined = Joined()

    def write_out(closed: Any, inputs: Sequence[Reference]) -> list[Reference]:
        jaxpr, consts = parts(closed)
        known: dict[Any, Reference] = dict(zip(jaxpr.invars, inputs, strict=True))
        known |= {var: Constant(x) for var, x in zip(jaxpr.constvars, consts, strict=True)}

        def read(atom: Any) -> Reference:
            return Constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            inputs = tuple(map(read, equation.invars))
            name, inner = equation.primitive.name, inner_of(equation)
            if name in CALLS or (name in WRAPPERS and PRODUCTS & primitives(inner)):
                outputs = write_out(inner, inputs)
            else:
                loops = name == "scan" and equation.params["length"] > 0
                body = _written(inner, shapes) if loops else None
                outputs = [new(var) for var in equation.outvars]
                steps.append(Step(name, equation, inputs, tuple(outputs), body))
                outputs = joined.see(equation, inputs, outputs)
            known |= dict(zip(equation.outvars, outputs, strict=True))
        return list(map(read, jaxpr.outvars))

    numbers = [new(var) for var in parts(closed)[0].invars]
    outputs = write_out(closed, numbers)
    return Program(_needed(steps, outputs), numbers, outputs, shapes, range(begin, len(shapes)))


def _needed(steps: list[Step], outputs: list[Reference]) -> list[Step]:
    """The steps that outputs need."""
    needed = {value for value in outputs if isinstance(value, int)}
    used = []
    for step in reversed(steps):
        if needed & set(step.outputs):
            needed |= step.reads()
            used.append(step)
    return used[::-1]
