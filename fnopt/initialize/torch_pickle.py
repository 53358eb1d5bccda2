"""The pickle of a torch file, read as a description of tensors: nothing in it is executed.

A pickle is a program for a small machine, which may import and call whatever it names. This is such
a machine without imports and calls: a name stays a name, and the few calls that weights are made of
(an ordered dict, a tensor over a storage, a parameter) build plain values. All else is refused by
its name.
"""

from __future__ import annotations

import dataclasses
import math
import pickletools
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

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

_PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT",
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


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


def described(pickled: bytes) -> Any:
    """What a pickle holds: dicts, lists, tuples, numbers, strings, and :class:`Tensor`.

    Raises:
        ValueError: it asks for anything else, or is no pickle.
    """
    try:
        return _Machine().run(pickled)
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise Refused(f"its pickle is malformed ({type(error).__name__}: {error})") from error


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []  # the stacks below each mark
        self.memo: dict[int, Any] = {}

    def run(self, pickled: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(pickled):
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _PUSHED:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _TUPLES:
                count = _TUPLES[name]
                self.stack[-count:] = [tuple(self._top(count))]
            elif name in ("BINPUT", "LONG_BINPUT"):
                self.memo[argument] = self.stack[-1]  # pyright: ignore[reportArgumentType]
            elif name in ("BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[argument])  # pyright: ignore[reportArgumentType]
            elif name == "GLOBAL":
                self._name(*str(argument).split(" ", 1))
            elif step := getattr(self, f"_{name}", None):
                step()
            elif name not in ("PROTO", "FRAME"):
                raise Refused(
                    f"its pickle has the instruction {name}, which weights have no use for; it was"
                    " not followed, and nothing was executed"
                )
        raise Refused("its pickle is malformed: it has no end")

    def _top(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        return self.stack[-count:]

    def _MARK(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _marked(self) -> list[Any]:
        """What lies above the last mark."""
        above, self.stack = self.stack, self.marks.pop()
        return above

    def _MEMOIZE(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _EMPTY_DICT(self) -> None:
        self.stack.append({})

    def _EMPTY_LIST(self) -> None:
        self.stack.append([])

    def _EMPTY_TUPLE(self) -> None:
        self.stack.append(())

    def _TUPLE(self) -> None:
        above = self._marked()
        self.stack.append(tuple(above))

    def _APPEND(self) -> None:
        self._extend([self.stack.pop()])

    def _APPENDS(self) -> None:
        self._extend(self._marked())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise TypeError("items are appended to what is no list")
        self.stack[-1].extend(items)

    def _SETITEM(self) -> None:
        pair = self._top(2)
        del self.stack[-2:]
        self._fill(pair)

    def _SETITEMS(self) -> None:
        self._fill(self._marked())

    def _fill(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise TypeError("items are set in what is no dict")
        _fill(self.stack[-1], items[::2], items[1::2])

    def _STACK_GLOBAL(self) -> None:
        module, name = self._top(2)
        del self.stack[-2:]
        if type(module) is not str or type(name) is not str:
            raise TypeError("a name is no string")
        self._name(module, name)

    def _name(self, module: str, name: str = "") -> None:
        full = f"{module}.{name}"
        if full not in KNOWN:
            _refuse(full)
        self.stack.append(Name(full))

    def _BINPERSID(self) -> None:
        found = self.stack.pop()
        if type(found) is not tuple or len(found) != 5 or found[0] != "storage":
            raise TypeError("a persistent id is not that of a storage")
        _, kind, key, _, size = found
        if type(kind) is not Name or kind.name not in STORAGES or type(key) is not str:
            raise TypeError("a storage is of no known kind")
        self.stack.append(Storage(key, STORAGES[kind.name], *_sizes((size,))))

    def _REDUCE(self) -> None:
        function, given = self._top(2)
        del self.stack[-2:]
        if type(function) is not Name or function.name not in CALLS or type(given) is not tuple:
            raise TypeError("it calls what is no function")
        self.stack.append(_called(function.name, given))

    def _BUILD(self) -> None:
        # A state dict's _metadata: the versions of torch's layers, of no use here.
        state = self.stack.pop()
        if type(self.stack[-1]) is not dict or type(state) is not dict:
            raise Refused(
                "its pickle sets the attributes of an object (BUILD), which weights have no use"
                " for; nothing was executed"
            )


def _called(name: str, given: tuple[Any, ...]) -> Any:
    """What the few calls that are known give."""
    if name == "collections.OrderedDict":
        made: dict[Any, Any] = {}
        if given:
            (pairs,) = given
            if type(pairs) is not list or any(
                type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs
            ):
                raise TypeError("an OrderedDict is not made of pairs")
            _fill(made, [key for key, _ in pairs], [value for _, value in pairs])
        return made
    if name == "torch.Size":
        (shape,) = given
        return _sizes(shape)
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
    (offset,), shape, strides = _sizes((offset,)), _sizes(shape), _sizes(strides)
    if len(shape) != len(strides) or len(shape) > 32:
        raise Refused("its pickle is malformed: a tensor's shape and strides differ in length")
    held = storage.size * dtype_of(storage.dtype).itemsize // dtype_of(dtype).itemsize
    reached = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if math.prod(shape) and reached >= held:
        raise Refused(
            f"a tensor of shape {shape} reaches beyond its storage {storage.key!r}, which has"
            f" {held} elements"
        )
    flags = {} if flags is None else flags
    if type(flags) is not dict or not all(type(flag) is bool for flag in flags.values()):
        raise TypeError("what is said of a tensor is no flags")
    if unknown := sorted(map(str, set(flags) - {"conj", "neg"})):
        raise Refused(f"of a tensor it says {', '.join(unknown)[:100]}, which is not known")
    told = flags.get("conj", False), flags.get("neg", False)
    return Tensor(storage, dtype, offset, shape, strides, *told)


def _sizes(given: Any) -> tuple[int, ...]:
    if type(given) not in (tuple, list) or any(
        type(n) is not int or not 0 <= n < 2**48 for n in given
    ):
        raise TypeError("a size, a stride or an offset is no number of elements")
    return tuple(given)


def _fill(made: dict[Any, Any], keys: list[Any], values: list[Any]) -> None:
    for key, value in zip(keys, values, strict=True):
        # No tuples: the hash of a deeply nested one overflows the stack of the interpreter.
        if type(key) not in (str, int, bool, float, bytes, type(None)):
            raise TypeError("the key of a dict is neither a string nor a number")
        made[key] = value


def _refuse(name: str) -> NoReturn:
    raise Refused(
        f"its pickle asks for {name[:100]}, which is not among what weights are made of; it was not"
        " imported, and nothing was executed. Save the weights alone:"
        " torch.save(model.state_dict(), file)"
    )
