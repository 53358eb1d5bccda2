"""The result of a diagnosis: metrics by layer, as a table and a picture, and a verdict."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any, NamedTuple

from fnopt.initialize.faults import Fault
from fnopt.layers import UNSEEN


class LayerMetrics(NamedTuple):
    """The metrics of one layer, over all examples, positions and units of a batch.

    Attributes:
        layer: the path of its weights; with the iteration, ``blocks/kernel[3]``, for one of the
            layers that are stacked for a ``scan``.
        kind: ``"dense"``, ``"convolution"`` or ``"embedding"``.
        function: the nonlinearity that follows: ``"relu"``, ``"tanh"``, ``"sigmoid"``, ``"other"``,
            or ``""``.
        units: the number of units.
        depth: the number of layers from the inputs to this one, itself counted; 1 for a layer that
            reads the inputs.
        hidden: whether another layer reads its outputs.
        mean, std: mean and standard deviation of the pre-activation.
        activation_mean, activation_std: mean and standard deviation after the nonlinearity.
        dead: the share of units that are 0 after it for every example.
        saturated: the share of activations at the ends of a tanh (beyond ±0.99) or a sigmoid.
        gradient_mean, gradient_std: mean and standard deviation of the derivative of the loss by
            the pre-activation.
        gradient_norm, gradient_norm_later: the norm of that derivative at the start and after three
            steps.
        distinct, distinct_later: the number of units that differ in what they compute, at the start
            and after three steps; units that are equal at both are counted once.
        update: the norm of the first update of the weights as a share of the norm of the weights;
            NaN without an optimizer, infinite for weights that are 0.
        varies: whether the pre-activation depends on the example.
        fed: whether some number that the layer reads is not 0.
        zero: whether all weights are 0.
        finite: whether all pre-activations are finite.
    """

    layer: str
    kind: str
    function: str
    units: int
    depth: int
    hidden: bool
    mean: float
    std: float
    activation_mean: float
    activation_std: float
    dead: float
    saturated: float
    gradient_mean: float
    gradient_std: float
    gradient_norm: float
    gradient_norm_later: float
    distinct: int
    distinct_later: int
    update: float
    varies: bool
    fed: bool
    zero: bool
    finite: bool


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The result of :func:`diagnose`. It prints as a table with the verdict below.

    Attributes:
        layers: the metrics of every layer, in the order of their computation.
        faults: the faults, the most severe first; empty for a sound start.
        loss: the loss of the batch.
        unseen: paths of parameters that are used where a diagnosis does not look: in
            ``while_loop``, ``cond`` or ``shard_map``, or in a ragged or complex product.
    """

    layers: tuple[LayerMetrics, ...]
    faults: tuple[Fault, ...]
    loss: float
    unseen: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The faults in words, with the layers and the cures; a line for each kind."""
        kinds: dict[tuple[str, str], list[Fault]] = {}
        for fault in self.faults:
            kinds.setdefault((fault.fault, fault.cure), []).append(fault)
        lines = [
            f"{_named(these)}: {these[0].fault}. {_sentence(these[0].says)} Cure: {these[0].cure}."
            for these in kinds.values()
        ]
        if not lines:
            many = "layer" if len(self.layers) == 1 else "layers"
            lines = [f"no fault found in {len(self.layers)} {many}"]
        if self.unseen:
            lines.append(f"not looked at, since used in {UNSEEN}: {', '.join(self.unseen)}")
        return "\n".join(lines)

    def table(self) -> str:
        """The metrics as a table, a line for every layer (act: activations, grad: gradients)."""
        steps = any(not math.isnan(row.update) for row in self.layers)
        head = ["layer", "units", "follows", "mean", "std", "act mean", "act std", "dead"]
        head += ["saturated", "grad mean", "grad std", "distinct"] + ["update"] * steps
        rows = [head]
        for x in self.layers:
            ends = f"{x.saturated:.0%}" if x.function in ("tanh", "sigmoid") else ""
            dead = f"{x.dead:.0%}" if x.function else ""
            moments = [x.mean, x.std, x.activation_mean, x.activation_std]
            rows.append(
                [x.layer, str(x.units), x.function, *map(_short, moments), dead, ends]
                + [_short(x.gradient_mean), _short(x.gradient_std), str(x.distinct)]
                + [_short(x.update)] * steps
            )
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if column in (0, 2) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def plot(self, path: str | os.PathLike | None = None, *, title: str | None = None) -> Any:
        """Draws what the verdict is about, by layer; layers at fault are marked.

        There are panels of the scale of pre-activations and gradients; of saturated and of dead
        units, where there are such nonlinearities; of units that differ, where some do not; and of
        the first update, if an optimizer was given. The verdict stands above, without the cures.

        Args:
            path: the file that the picture is written to; none if None.
            title: a line above the verdict; none if None.

        Returns:
            matplotlib's figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from fnopt.initialize.picture import draw

        figure = draw({"": self}, title)
        if path is not None:
            from fnopt.core.figure import save

            save(figure, path, 130)
        return figure

    def __str__(self) -> str:
        return f"{self.table()}\n{self.verdict}"


def _named(faults: list[Fault]) -> str:
    """The names of the layers with one kind of fault; of many the first two and the last."""
    names = [fault.layer for fault in faults]
    if len(names) > 4:
        return f"{names[0]}, {names[1]}, …, {names[-1]} ({len(names)} layers)"
    return ", ".join(names)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _short(x: float) -> str:
    if x == 0:
        return "0"
    return f"{x:.3f}" if 0.01 <= abs(x) < 1000 else f"{x:.1e}"
