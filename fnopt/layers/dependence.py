"""The inputs that each value of a program depends on, and the products of parameters and data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax

from fnopt.layers.primitives import BRANCHES, LOOKUPS, PRODUCTS, inner_of, primitives
from fnopt.layers.program import Program, Reference, Step, entries


class Origin(NamedTuple):
    """What a value depends on.

    Attributes:
        leaves: the numbers of leaves of the parameters.
        data: whether it depends on the batch.
        loops: the loops whose iterations have different ones, each by its first output.
    """

    leaves: frozenset[int] = frozenset()
    data: bool = False
    loops: frozenset[int] = frozenset()


class Product(NamedTuple):
    """A step that multiplies parameters with data, or looks rows of them up.

    Attributes:
        step: the step.
        program: the program that it is a step of: the whole, or the body of a loop.
        loops: the loops that it is in, the outermost first.
        weights, reads: the numbers of the two factors; ``weights`` depends on parameters alone.
    """

    step: Step
    program: Program
    loops: tuple[Step, ...]
    weights: int
    reads: int


class Dependence:
    """What the values of a program depend on.

    Args:
        program: the program, whose first inputs are the leaves of the parameters, the next those of
            the batch.
        leaves: the number of the former.
        data: the number of the latter.

    Attributes:
        origins: the origin of every value by its number.
        products: all products, those in the bodies of loops too, in order.
        unseen: numbers of leaves that are used together with data where products may be hidden: in
            ``while``, ``cond`` or another function that is not written out, in a ragged or a
            complex product.
    """

    def __init__(self, program: Program, leaves: int, data: int) -> None:
        inputs = program.inputs
        self.origins = {number: Origin(frozenset([k])) for k, number in enumerate(inputs[:leaves])}
        self.origins |= dict.fromkeys(inputs[leaves : leaves + data], Origin(data=True))
        self._follow(program)
        self.products = list(self._products(program, ()))
        self.unseen = list(dict.fromkeys(self._unseen(program)))

    def leaves_of(self, at: Reference) -> frozenset[int]:
        """The leaves that a value depends on, if it depends on parameters alone."""
        origin = self._of(at)
        return frozenset() if origin.data else origin.leaves

    def _of(self, at: Reference) -> Origin:
        return self.origins.get(at, Origin()) if isinstance(at, int) else Origin()

    def _follow(self, program: Program) -> None:
        for step in program.steps:
            if step.body is None:
                joined = _joined(map(self._of, step.inputs))
                self.origins |= dict.fromkeys(step.outputs, joined)
            else:
                self._follow_loop(step, step.body)

    def _follow_loop(self, step: Step, body: Program) -> None:
        loop = frozenset([step.outputs[0]])
        enters = entries(step)
        for entry in enters:
            origin = self._of(entry.outside)
            if entry.sliced or entry.carried:
                origin = origin._replace(loops=origin.loops | loop)
            self.origins[entry.inside] = origin
        while True:
            self._follow(body)
            before = [self._of(entry.inside) for entry in enters]
            for entry in enters:
                if entry.carried and entry.out is not None:
                    after = _joined([self._of(entry.inside), self._of(entry.out)])
                    self.origins[entry.inside] = after
            if before == [self._of(entry.inside) for entry in enters]:
                break
        for number, out in zip(step.outputs, body.outputs, strict=True):
            origin = self._of(out)
            self.origins[number] = origin._replace(loops=origin.loops - loop)

    def _products(self, program: Program, loops: tuple[Step, ...]) -> Iterator[Product]:
        for step in program.steps:
            if step.body is not None:
                yield from self._products(step.body, (*loops, step))
            elif factors := self._factors(program, step):
                yield Product(step, program, loops, *factors)

    def _factors(self, program: Program, step: Step) -> tuple[int, int] | None:
        """The weights and the factor that they are multiplied with; None for another step."""
        shape = program.shapes[step.outputs[0]]
        if step.name not in PRODUCTS | LOOKUPS or not shape.size:
            return None
        if jax.numpy.issubdtype(shape.dtype, jax.numpy.complexfloating):
            return None
        left, right = step.inputs[:2]
        sides = [(left, right)] if step.name in LOOKUPS else [(right, left), (left, right)]
        for weights, reads in sides:
            if not isinstance(weights, int) or not isinstance(reads, int):
                continue
            if self.leaves_of(weights) and self._of(reads).data:
                return weights, reads
        return None

    def _unseen(self, program: Program) -> Iterator[int]:
        for step in program.steps:
            if step.body is not None:
                yield from self._unseen(step.body)
            elif any(self._of(at).data for at in step.inputs) and _hides(program, step):
                if not self._factors(program, step):
                    yield from frozenset[int]().union(*map(self.leaves_of, step.inputs))


def _joined(origins: Iterable[Origin]) -> Origin:
    leaves, loops, data = frozenset[int](), frozenset[int](), False
    for origin in origins:
        leaves, loops, data = leaves | origin.leaves, loops | origin.loops, data or origin.data
    return Origin(leaves, data, loops)


def _hides(program: Program, step: Step) -> bool:
    """Whether products may be in a step that is none itself."""
    if step.name in PRODUCTS | LOOKUPS:
        return program.shapes[step.outputs[0]].size > 0
    inner = inner_of(step.equation)
    products = PRODUCTS & primitives(inner) if inner is not None else None
    if step.name == "scan":  # of no iterations
        return False
    return step.name in BRANCHES or step.name.startswith("ragged_dot") or bool(products)
