"""The values in a torch file: tensors over storages, and the few calls that build them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import ml_dtypes
import numpy as np

from fnopt.pretrained.limits import MOST_AXES, MOST_ELEMENTS, short

_STORAGES = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "Untyped": "uint8",
}
STORAGES = {
    f"{module}.{name}Storage": dtype
    for name, dtype in _STORAGES.items()
    for module in ("torch", "torch.storage")
}
"""Kinds of storage, and the dtype of their elements."""

_FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
DTYPES = {
    f"torch.{name}": name for name in (*_STORAGES.values(), *_FLOAT8, "uint16", "uint32", "uint64")
}
CALLS = {
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.device",
}
KNOWN = CALLS | set(STORAGES) | set(DTYPES)


class Refused(ValueError):
    """The pickle asks for something that weights have no use for."""


def dtype_of(name: str) -> np.dtype:
    """NumPy's dtype of a name, or that of ml_dtypes."""
    return np.dtype(getattr(ml_dtypes, name, name))


@dataclasses.dataclass(frozen=True, eq=False)
class Name:
    """A name that the pickle calls; it is never looked up."""

    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """A block of numbers in the archive."""

    key: str
    dtype: str
    size: int


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage; offset and strides are in elements of ``dtype``.

    torch stores a conjugate or a negative as a flag next to the numbers themselves.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugate: bool = False
    negative: bool = False


def called(name: str, arguments: tuple[Any, ...]) -> Any:
    """The result of one of the few calls that are known."""
    if name == "collections.OrderedDict":
        ordered: dict[Any, Any] = {}
        if arguments:
            (pairs,) = arguments
            if type(pairs) is not list or any(
                type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs
            ):
                raise TypeError("an OrderedDict does not consist of pairs")
            fill(ordered, [key for key, _ in pairs], [value for _, value in pairs])
        return ordered
    if name == "torch.Size":
        (shape,) = arguments
        return sizes(shape)
    if name == "torch.device":
        return Name(name)
    if name == "torch._utils._rebuild_parameter":
        data, _, _ = arguments
        if type(data) is not Tensor:
            raise TypeError("a parameter has no tensor")
        return data
    if name == "torch._utils._rebuild_tensor_v3":
        storage, offset, shape, strides, _, _, kind, *flags = arguments
        if type(kind) is not Name or kind.name not in DTYPES:
            raise TypeError("a tensor's dtype is none")
        return _tensor(storage, DTYPES[kind.name], offset, shape, strides, *flags)
    storage, offset, shape, strides, _, _, *flags = arguments
    return _tensor(storage, None, offset, shape, strides, *flags)


def _tensor(
    storage: Any, dtype: str | None, offset: Any, shape: Any, strides: Any, flags: Any = None
) -> Tensor:
    if type(storage) is not Storage:
        raise TypeError("a tensor lies in no storage")
    dtype = dtype or storage.dtype
    (offset,), shape, strides = sizes((offset,)), sizes(shape), sizes(strides)
    if len(shape) != len(strides):
        raise Refused("its pickle is malformed: a tensor's shape and strides differ in length")
    elements = storage.size * dtype_of(storage.dtype).itemsize // dtype_of(dtype).itemsize
    reached = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and reached >= elements:
        raise Refused(
            f"a tensor of shape {short(shape)} reaches beyond its storage {short(storage.key)!r},"
            f" which has {elements} elements"
        )
    flags = {} if flags is None else flags
    if type(flags) is not dict:
        raise TypeError("the flags of a tensor are none")
    for flag, on in flags.items():  # ends at the third, however many there are
        if flag not in ("conj", "neg"):
            raise Refused(f"of a tensor it says {short(flag)}, which is not known")
        if type(on) is not bool:
            raise TypeError("the flags of a tensor are none")
    conjugate, negative = flags.get("conj", False), flags.get("neg", False)
    return Tensor(storage, dtype, offset, shape, strides, conjugate, negative)


def sizes(numbers: Any) -> tuple[int, ...]:
    """A shape, strides or an offset; raises TypeError if it is none."""
    # The length first: one long tuple may be used as the shape of many tensors.
    if (
        type(numbers) not in (tuple, list)
        or len(numbers) > MOST_AXES
        or any(type(n) is not int or not 0 <= n < MOST_ELEMENTS for n in numbers)
    ):
        raise TypeError(
            f"a size, a stride or an offset is no number of elements, or of over {MOST_AXES} axes"
        )
    return tuple(numbers)


def fill(filled: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    """Sets items of a dict, and refuses keys that are slow to look up."""
    for key, value in zip(keys, values, strict=True):
        # No tuples: the hash of a deeply nested one overflows the stack of the interpreter.
        if type(key) not in (str, int, bool, float, bytes, type(None)):
            raise TypeError("the key of a dict is neither a string nor a number")
        # Of larger and of finer numbers many have one hash: each would be compared with all.
        if type(key) in (int, float) and key and not 2**-64 < abs(key) < 2**64:
            raise Refused("the key of a dict is a number of more than 64 bits; nothing was loaded")
        filled[key] = value
