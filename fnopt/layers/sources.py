"""From which leaf of the parameters a value comes, and through which moves."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from fnopt.layers.axes import Axes, axes_after, axes_before
from fnopt.layers.primitives import MOVES
from fnopt.layers.program import Program, Reference, Step, bind, entries


class Source(NamedTuple):
    """The origin of a value.

    Attributes:
        at: the first value.
        moves: the moves of its elements, in order: steps, and the numbers of the loops (of their
            first outputs) that take slices along the first axis.
    """

    at: Reference
    moves: tuple[Step | int, ...]

    def replay(self, array: Any) -> Any:
        """The value of another source, the slices of each loop along a first axis."""
        for i, move in enumerate(self.moves):
            if isinstance(move, int):
                return jax.vmap(Source(self.at, self.moves[i + 1 :]).replay)(array)
            array = bind(move, array)
        return array

    def without(self, *names: str) -> Source:
        """The same without the moves of these names, which must not change a shape."""
        kept = (move for move in self.moves if isinstance(move, int) or move.name not in names)
        return Source(self.at, tuple(kept))

    def until(self, name: str) -> Source:
        """The same up to the first move of this name."""
        names = [None if isinstance(move, int) else move.name for move in self.moves]
        return Source(self.at, self.moves[: [*names, name].index(name)])

    def sliced_axes(self, shapes: list[Any]) -> dict[int, int]:
        """By loop the axis of the first value along which it takes slices, if it is one axis.

        Args:
            shapes: shape and dtype of every value by its number.
        """
        assert isinstance(self.at, int)
        by_loop: dict[int, int] = {}
        for axis in range(len(shapes[self.at].shape)):
            axes: Axes | None = (axis,)
            for move in self.moves:
                if not isinstance(move, int):
                    (before, *_), (after, *_) = move.inputs, move.outputs
                    assert isinstance(before, int)
                    axes = axes_after(move, shapes[before].shape, shapes[after].shape, axes)
                elif axes == (0,):
                    by_loop[move] = axis
                    break
                else:
                    axes = tuple(x - 1 for x in axes) if axes and 0 not in axes else None
                if axes is None:
                    break
        return by_loop

    def axes_before(self, shapes: list[Any], axes: Axes | None) -> Axes | None:
        """The axes of the first value that are these axes of the last; None if they are not known.

        Args:
            shapes: shape and dtype of every value by its number.
            axes: axes of the last value.
        """
        for move in reversed(self.moves):
            if axes is None:
                return None
            if isinstance(move, int):
                axes = tuple(axis + 1 for axis in axes)  # of the array that the loop slices
            else:
                (before, *_), (after, *_) = move.inputs, move.outputs
                assert isinstance(before, int)
                axes = axes_before(move, shapes[before].shape, shapes[after].shape, axes)
        return axes


class Sources:
    """Where the values of a program, and of the bodies of its loops, come from.

    Args:
        program: the whole program.
    """

    def __init__(self, program: Program) -> None:
        self._makers: dict[int, Step] = {}
        self._enters: dict[int, tuple[Reference, int | None]] = {}
        self._read(program)

    def of(self, at: Reference) -> Source:
        """The source of a value."""
        moves: list[Step | int] = []
        while isinstance(at, int):
            step = self._makers.get(at)
            if step is not None and step.name in MOVES:
                moves.append(step)
                at = step.inputs[0]
            elif at in self._enters:
                at, loop = self._enters[at]
                moves += [] if loop is None else [loop]
            else:
                break
        return Source(at, tuple(moves[::-1]))

    def _read(self, program: Program) -> None:
        for step in program.steps:
            self._makers |= dict.fromkeys(step.outputs, step)
            if step.body is not None:
                for entry in entries(step):
                    if not entry.carried:
                        loop = step.outputs[0] if entry.sliced else None
                        self._enters[entry.inside] = entry.outside, loop
                self._read(step.body)
