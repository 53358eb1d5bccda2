"""What is joined and split again, as packed parameters are, is what it was before."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

Pieces = list[tuple[Any, int]]
"""References to vectors, in the order in which they lie, each with its size."""


class Joined:
    """The vectors of a program that others were joined to."""

    def __init__(self) -> None:
        self._pieces: dict[int, Pieces] = {}

    def see(self, equation: Any, inputs: Sequence[Any], outputs: Sequence[int]) -> list[Any]:
        """References to the outputs of an equation, of a split where it may be to what was joined.

        Args:
            equation: the equation of a jaxpr.
            inputs: references to its inputs.
            outputs: the numbers of its outputs.
        """
        name = equation.primitive.name
        if name == "concatenate" and len(equation.outvars[0].aval.shape) == 1:
            sizes = (atom.aval.shape[0] for atom in equation.invars)
            pieces = (self._of(x, size) for x, size in zip(inputs, sizes, strict=True))
            self._pieces[outputs[0]] = list(itertools.chain.from_iterable(pieces))
        elif name == "optimization_barrier":
            for before, after in zip(inputs, outputs, strict=True):
                if isinstance(before, int) and before in self._pieces:
                    self._pieces[after] = self._pieces[before]
        elif name == "split" and isinstance(inputs[0], int) and inputs[0] in self._pieces:
            return self._split(self._pieces[inputs[0]], equation.params["sizes"], outputs)
        return list(outputs)

    def _of(self, reference: Any, size: int) -> Pieces:
        known = self._pieces.get(reference) if isinstance(reference, int) else None
        return known or [(reference, size)]

    def _split(self, pieces: Pieces, sizes: Sequence[int], outputs: Sequence[int]) -> list[Any]:
        begins = itertools.accumulate((size for _, size in pieces), initial=0)
        # Of two that begin together one is empty.
        at = {(begin, size): x for begin, (x, size) in zip(begins, pieces, strict=False)}
        starts = itertools.accumulate(sizes, initial=0)
        return [
            at.get((start, size), out)
            for start, size, out in zip(starts, sizes, outputs, strict=False)
        ]
