"""Whether a tensor of a file fits a leaf, and the array for that leaf."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.pretrained.limits import short
from fnopt.pretrained.stored_tensors import StoredTensor
from fnopt.pretrained.torch_layout import flax_layout

_LARGE = 2**26


class TensorFit:
    """A tensor of a file that fits a leaf; its numbers are read on demand.

    Args:
        path: the path of the leaf.
        leaf: an array or its shape.
        name: the name of the tensor.
        tensor: the tensor of the file.
        layout: the layout that a rule says, a function of the array; if None a tensor that becomes
            a kernel and had another name is assumed to have torch's.

    Raises:
        ValueError: it does not fit.
    """

    def __init__(
        self,
        path: str,
        leaf: Any,
        name: str,
        tensor: StoredTensor,
        layout: Callable[[Any], Any] | None,
    ) -> None:
        self.path, self.name, self.tensor, self.layout = path, name, tensor, layout
        self.shape, self.dtype = np.shape(leaf), np.dtype(jnp.result_type(leaf))
        last = name.replace("/", ".").removesuffix(".value").rpartition(".")[2]
        self.translated = path.rpartition("/")[2] != last
        # Tried without the numbers; not where a few bytes declare a tensor of any size.
        becomes = None
        if math.prod(tensor.shape) <= max(_LARGE, math.prod(self.shape)):
            stand_in = np.broadcast_to(np.zeros((), tensor.dtype), tensor.shape)
            becomes = np.shape(self.laid_out(stand_in))
        if becomes != self.shape:
            shape = short(tensor.shape)
            if becomes not in (None, tensor.shape):
                shape += f", which becomes {short(becomes)}"
            raise ValueError(f"{short(name)} is {shape}, but the leaf is {self.shape}")
        if not np.can_cast(_comparable(tensor.dtype), _comparable(self.dtype), "same_kind"):
            raise ValueError(f"{short(name)} is {tensor.dtype}, but the leaf is {self.dtype}")

    @property
    def note(self) -> str:
        """What changes: the shape, the dtype, both or nothing."""
        changed = [
            f"from {stored}"
            for stored, needed in (
                (self.tensor.shape, self.shape),
                (self.tensor.dtype, self.dtype),
            )
            if stored != needed
        ]
        return ", ".join(changed)

    def laid_out(self, array: Any) -> Any:
        """An array of the file in the layout of the leaf."""
        if self.layout is not None:
            return self.layout(array)
        return flax_layout(self.path, array) if self.translated else array

    def array(self) -> np.ndarray:
        """The leaf's numbers, a copy."""
        ours = np.asarray(self.laid_out(self.tensor.read()))
        return ours.astype(self.dtype, order="C", copy=True)


def like(array: np.ndarray, leaf: Any) -> Any:
    """An array of the leaf's kind: jax's with its sharding, or NumPy's."""
    if isinstance(leaf, (np.ndarray, np.generic)):
        return array
    sharding = getattr(leaf, "sharding", None)
    if sharding is not None and getattr(leaf, "committed", True):
        return jax.device_put(array, sharding)
    return jnp.asarray(array)


def is_weight(leaf: Any) -> bool:
    """Whether a file must have it; not so for a counter of random draws."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _comparable(dtype: np.dtype) -> np.dtype:
    """The dtype; for those of ml_dtypes, of which NumPy knows no kind, float32."""
    return np.dtype(np.float32) if dtype.kind == "V" else dtype
