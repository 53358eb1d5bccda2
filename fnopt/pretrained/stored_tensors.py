"""The tensors of a file, before their numbers are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class StoredTensor(NamedTuple):
    """A tensor of a file: its shape, its dtype and a function that reads it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class Weights(NamedTuple):
    """The contents of a file.

    Attributes:
        tensors: the tensors by name.
        ordered: whether their order is that of the layers of the model.
        metadata: strings that the file has besides the tensors.
    """

    tensors: dict[str, StoredTensor]
    ordered: bool
    metadata: dict[str, str]
