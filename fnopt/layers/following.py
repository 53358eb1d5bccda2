"""What follows a product: its bias and its nonlinearity."""

from __future__ import annotations

from fnopt.layers.axes import Axes, axes_after
from fnopt.layers.dependence import Dependence
from fnopt.layers.primitives import MOVES, NONLINEAR, REDUCTIONS, inner_of, primitives
from fnopt.layers.program import Program, Step


class Following:
    """Finds what follows the products of a program.

    Args:
        dependence: the dependences of the values of the whole program.
        program: the whole program, or the body of a loop for the products in it.
    """

    def __init__(self, dependence: Dependence, program: Program) -> None:
        self.leaves_of = dependence.leaves_of
        self.program = program
        self.readers: dict[int, list[Step]] = {}
        for step in program.steps:
            for value in step.reads():
                self.readers.setdefault(value, []).append(step)
        steps = {id(product.step) for product in dependence.products}
        steps |= {id(loop) for product in dependence.products for loop in product.loops}
        self.layers = steps
        """The ids of the steps that are products, or loops with products in them."""

    def with_bias(self, value: int, units: Axes) -> tuple[int, Axes, int | None]:
        """The value to which a bias has been added, if one is; or the value itself.

        Args:
            value: the number of a product's output.
            units: its axes along which the units lie.

        Returns:
            The number of the value, its axes along which the units lie, and the number of the bias;
            None if there is none.
        """
        at, axes = value, units
        while len(self.readers.get(at, [])) == 1 and at not in self.program.outputs:
            step = self.readers[at][0]
            others = [x for x in step.inputs if x != at]
            if step.name in ("add", "add_any") and others and self.leaves_of(others[0]):
                assert isinstance(others[0], int)
                return step.outputs[0], axes, others[0]
            moved = self._moved(step, at, axes) if step.name in MOVES else None
            if moved is None:
                break
            at, axes = step.outputs[0], moved
        return value, units, None

    def activation(self, value: int, units: Axes) -> tuple[int, str]:
        """The output of the first nonlinearity after a value, and its name; else the value and "".

        The steps between two values that everything computed from the value passes through are a
        function: of one primitive or of many, as a GELU is.
        """
        axes: dict[int, Axes | None] = {value: units}
        waiting = {value: len(self.readers.get(value, []))}
        block: list[Step] = []
        started = False
        for step in self.program.steps:
            inside = [x for x in step.inputs if isinstance(x, int) and x in axes]
            started = started or value in step.outputs
            if not inside or not started:
                continue
            if id(step) in self.layers:
                break
            for x in set(inside):
                waiting[x] -= 1
            block.append(step)
            moved = next((k for x in inside if (k := self._moved(step, x, axes[x]))), None)
            for number in step.outputs:
                axes[number] = moved
                ends = number in self.program.outputs
                waiting[number] = len(self.readers.get(number, [])) + ends
            open_ends = [x for x, left in waiting.items() if left]
            if len(open_ends) == 1 and (moved := axes[open_ends[0]]) is not None:
                function = _function(block, set(axes))
                if function:
                    same = moved == units and self._shape(open_ends[0]) == self._shape(value)
                    return (open_ends[0], function) if same else (value, "")
                block = []
        return value, ""

    def _moved(self, step: Step, value: int, axes: Axes | None) -> Axes | None:
        return axes_after(step, self._shape(value), self._shape(step.outputs[0]), axes)

    def _shape(self, value: int) -> tuple[int, ...]:
        return self.program.shapes[value].shape


def _function(block: list[Step], inside: set[int]) -> str:
    """The nonlinearity that some steps are, or "" if they are none, or normalize."""
    names = [name for step in block for name in _names(step, inside)]
    if REDUCTIONS & set(names):
        return ""
    nonlinear = [name for name in names if name in NONLINEAR or name == "select_n"]
    if not nonlinear:
        return ""
    known = {"max": "relu", "tanh": "tanh", "logistic": "sigmoid"}
    alone = len(set(names) - MOVES) == 1
    return known.get(nonlinear[0], "other") if alone else "other"


def _names(step: Step, inside: set[int]) -> list[str]:
    if step.name == "select_n" and step.inputs[0] not in inside:
        return []  # dropout: which are chosen does not depend on what is
    inner = inner_of(step.equation)
    return [step.name] if inner is None else sorted(primitives(inner))
