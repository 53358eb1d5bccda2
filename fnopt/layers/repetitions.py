"""The order in which layers are computed, the depth of each, and which one reads which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fnopt.layers.program import Program, Reference, Step, consts_and_carries, entries


class Repetition(NamedTuple):
    """One use of a layer with separate weights: a layer, or one iteration of a stacked one.

    Attributes:
        layer: the number of the layer.
        index: the iteration of each loop that gives it separate weights, the outermost first; empty
            for a layer that is not stacked.
        depth: the number of layers from the inputs to this one, itself counted; a layer whose
            weights several iterations share counts once.
        hidden: whether a layer reads its output.
    """

    layer: int
    index: tuple[int, ...]
    depth: int
    hidden: bool


class _At(NamedTuple):
    """The number of layers between the inputs and a value, and the last ones before it."""

    depth: int = 0
    sources: frozenset[tuple[int, tuple[int, ...]]] = frozenset()


def repetitions(
    program: Program, layers: dict[int, int], stacked: Sequence[tuple[int, ...]]
) -> list[Repetition]:
    """All uses of the layers, in the order of their computation.

    Args:
        program: the whole program.
        layers: the number of the layer by the ``id`` of its step.
        stacked: for each layer the loops that give it separate weights, each by its first output.
    """
    walk = _Walk(layers, stacked)
    walk.through(program, {})
    return [
        Repetition(*key, depth=depth, hidden=key in walk.hidden)
        for key, depth in walk.depths.items()
    ]


class _Walk:
    def __init__(self, layers: dict[int, int], stacked: Sequence[tuple[int, ...]]) -> None:
        self.layers, self.stacked = layers, stacked
        self.at: dict[int, _At] = {}
        self.depths: dict[tuple[int, tuple[int, ...]], int] = {}
        self.hidden: set[tuple[int, tuple[int, ...]]] = set()

    def through(self, program: Program, iterations: dict[int, int]) -> None:
        for step in program.steps:
            if step.body is not None:
                self._loop(step, step.body, iterations)
                continue
            at = _deepest([self._of(value) for value in step.inputs])
            if (layer := self.layers.get(id(step))) is not None:
                key = layer, tuple(iterations[loop] for loop in self.stacked[layer])
                self.hidden |= at.sources
                at = _At(self.depths.setdefault(key, at.depth + 1), frozenset([key]))
            self.at |= dict.fromkeys(step.outputs, at)

    def _loop(self, step: Step, body: Program, iterations: dict[int, int]) -> None:
        loop, enters = step.outputs[0], entries(step)
        self.at |= {entry.inside: self._of(entry.outside) for entry in enters}
        carried = [entry for entry in enters if entry.carried]
        outs = [_At()] * len(body.outputs)
        order = range(step.length)
        for i in order[::-1] if step.equation.params["reverse"] else order:
            self.through(body, {**iterations, loop: i})
            before = [self.at[entry.inside] for entry in carried]
            for entry in carried:
                self.at[entry.inside] = self._of(entry.out)
            carries = consts_and_carries(step.equation)[1]
            now = [self._of(out) for out in body.outputs]
            outs = now[:carries] + [
                _deepest(pair) for pair in zip(outs[carries:], now[carries:], strict=True)
            ]
            unchanged = before == [self.at[entry.inside] for entry in carried]
            # Where no weights are an iteration's own, nothing new comes after that.
            if unchanged and not any(loop in loops for loops in self.stacked):
                break
        self.at |= dict(zip(step.outputs, outs, strict=True))

    def _of(self, at: Reference | None) -> _At:
        return self.at.get(at, _At()) if isinstance(at, int) else _At()


def _deepest(values: Sequence[_At]) -> _At:
    return _At(
        max((value.depth for value in values), default=0),
        frozenset().union(*(value.sources for value in values)),
    )
