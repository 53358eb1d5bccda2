"""What initializations must be, from their papers: float64, no jax."""

from __future__ import annotations

import math
from typing import Any


def truncated_variance(low: float, high: float) -> float:
    """Of a standard normal between two bounds (Johnson, Kotz & Balakrishnan, eq. 13.134)."""

    def density(x: float) -> float:
        return math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)

    def below(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    mass = below(high) - below(low)
    mean = (density(low) - density(high)) / mass
    return 1 + (low * density(low) - high * density(high)) / mass - mean**2


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Inputs of an output and outputs of an input, of a kernel (…, in, out)."""
    *sides, inputs, outputs = shape
    window = math.prod(sides)
    return window * inputs, window * outputs


# Tensor Programs V, Tables 3 and 8, for a net whose widths are all n: how each entry goes with n.
# A row: initial variance, output multiplier, learning rate of SGD, of Adam, as powers of n.
TABLE_3 = {"input": (0, 0, 1, 0), "output": (-2, 0, -1, -1), "hidden": (-1, 0, 0, -1)}
TABLE_8 = {"input": (0, 0, 1, 0), "output": (0, -1, 1, 0), "hidden": (-1, 0, 0, -1)}


def mup(kind: str, ratio: float, optimizer: str, table: Any = None) -> tuple[float, float, float]:
    """Deviation, multiplier and rate of a layer relative to those at the base width."""
    variance, multiplier, sgd, adam = (table or TABLE_3)[kind]
    rate = sgd if optimizer == "sgd" else adam
    return ratio ** (variance / 2), ratio**multiplier, ratio**rate
