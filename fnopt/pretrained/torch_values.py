"""What a torch file is made of: tensors over storages, and the few calls that build them."""

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
    """What the pickle asks for is not given to it."""


def dtype_of(name: str) -> np.dtype:
    """NumPy's dtype of a name, those of ml_dtypes among them."""
    return np.dtype(getattr(ml_dtypes, name, name))


@dataclasses.dataclass(frozen=True, eq=False)
class Name:
    """What the pickle calls by name; never looked up."""

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

    torch keeps a conjugate or a negative as a flag on the numbers that it is of.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugate: bool = False
    negative: bool = False


def called(name: str, given: tuple[Any, ...]) -> Any:
    """What the few calls that are known give."""
    if name == "collections.OrderedDict":
        made: dict[Any, Any] = {}
        if given:
            (pairs,) = given
            if type(pairs) is not list or any(
                type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs
            ):
                raise TypeError("an OrderedDict is not made of pairs")
            fill(made, [key for key, _ in pairs], [value for _, value in pairs])
        return made
    if name == "torch.Size":
        (shape,) = given
        return sizes(shape)
    if name == "torch.device":
        return Name(name)
    if name == "torch._utils._rebuild_parameter":
        data, _, _ = given
        if type(data) is not Tensor:
            raise TypeError("a parameter is not made of a tensor")
        return data
    if name == "torch._utils._rebuild_tensor_v3":
        storage, offset, shape, strides, _, _, kind, *flags = given
        if type(kind) is not Name or kind.name not in DTYPES:
            raise TypeError("a tensor's dtype is none")
        return _tensor(storage, DTYPES[kind.name], offset, shape, strides, *flags)
    storage, offset, shape, strides, _, _, *flags = given
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
    held = storage.size * dtype_of(storage.dtype).itemsize // dtype_of(dtype).itemsize
    reached = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and reached >= held:
        raise Refused(
            f"a tensor of shape {short(shape)} reaches beyond its storage {short(storage.key)!r},"
            f" which has {held} elements"
        )
    flags = {} if flags is None else flags
    if type(flags) is not dict:
        raise TypeError("what is said of a tensor is no flags")
    for flag, on in flags.items():  # ends at the third, however many there are
        if flag not in ("conj", "neg"):
            raise Refused(f"of a tensor it says {short(flag)}, which is not known")
        if type(on) is not bool:
            raise TypeError("what is said of a tensor is no flags")
    told = flags.get("conj", False), flags.get("neg", False)
    return Tensor(storage, dtype, offset, shape, strides, *told)


def sizes(given: Any) -> tuple[int, ...]:
    """A shape, strides or an offset; raises TypeError if it is none."""
    # The length first: one long tuple may be named as the shape of many tensors.
    if (
        type(given) not in (tuple, list)
        or len(given) > MOST_AXES
        or any(type(n) is not int or not 0 <= n < MOST_ELEMENTS for n in given)
    ):
        raise TypeError(
            f"a size, a stride or an offset is no number of elements, or of over {MOST_AXES} axes"
        )
    return tuple(given)


def fill(made: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    """Sets items of a dict whose keys cost no more than others to look up."""
    for key, value in zip(keys, values, strict=True):
        # No tuples: the hash of a deeply nested one overflows the stack of the interpreter.
        if type(key) not in (str, int, bool, float, bytes, type(None)):
            raise TypeError("the key of a dict is neither a string nor a number")
        # Of larger and of finer numbers many have one hash: each would be compared with all.
        if type(key) in (int, float) and key and not 2**-64 < abs(key) < 2**64:
            raise Refused("the key of a dict is a number of more than 64 bits; nothing was made")
        made[key] = value
