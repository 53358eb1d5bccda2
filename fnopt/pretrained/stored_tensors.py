"""Tensors of a file, as far as they are known before their numbers are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Stored(NamedTuple):
    """A tensor of a file: what it is, and a function that reads it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class Weights(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: by name.
        ordered: whether they come in the order in which the model has its layers.
        metadata: what the file says of itself.
    """

    tensors: dict[str, Stored]
    ordered: bool
    metadata: dict[str, str]
