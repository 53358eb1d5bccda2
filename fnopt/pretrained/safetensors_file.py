"""Reads files of safetensors: a header in JSON, then the numbers, which are read on demand.

The first 8 bytes are the length of the header, which begins with ``{``. Everything that the format
demands is checked: the tensors follow each other without gaps or overlaps and fill the file.

References:
    https://github.com/huggingface/safetensors, section "Format".
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.pretrained.limits import MOST_AXES, MOST_BYTES, MOST_ELEMENTS, check_size, short
from fnopt.pretrained.stored_tensors import StoredTensor, Weights
from fnopt.pretrained.torch_values import dtype_of

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16",
    "F32": "float32", "F64": "float64", "C64": "complex64", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_FIELDS = ("dtype", "shape", "data_offsets")


def is_safetensors(begins: bytes, size: int) -> bool:
    """Whether a file is one of safetensors, even if it is cut off or too large.

    Neither an archive nor a pickle begins so: in an archive the ninth byte is a method of
    compression, and ``{`` is none; in a pickle the bytes before it would be zeros, which are no
    instructions.

    Args:
        begins: the first 9 bytes of the file.
        size: its size in bytes.

    >>> is_safetensors(bytes([0x80, 0, 0, 0, 0, 0, 0, 0]) + b"{", size=200)
    True
    """
    length = int.from_bytes(begins[:8], "little")
    return begins[8:9] == b"{" and length <= max(MOST_BYTES, size)


def read_safetensors(path: Path) -> Weights:
    """The tensors of a file, sorted by name, and its metadata.

    Raises:
        ValueError: it is damaged, or has a dtype that NumPy does not have.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        check_size("its header", length)
        if length > size - 8:
            raise ValueError(
                f"it is cut off or damaged (its header has {length} bytes, the file {size})"
            )
        header = parsed("its header", file.read(length))
    metadata = header.pop("__metadata__", None) or {}
    if type(metadata) is not dict or any(type(x) is not str for x in metadata.values()):
        raise ValueError("it is damaged: its __metadata__ is not strings by name")
    begin = 8 + length
    tensors, spans = {}, []
    for name in sorted(header):
        # Taken out one by one, so that the two tables are never both whole.
        shape, dtype, first, last = _described(name, header.pop(name))
        read = functools.partial(_read, path, begin + first, dtype, shape)
        tensors[name] = StoredTensor(shape, dtype, read)
        spans.append((first, last))
    reached = 0
    for first, last in sorted(spans):
        if first != reached:
            raise ValueError(
                f"it is damaged: a tensor begins at byte {first} of the numbers, and the one before"
                f" ends at {reached}"
            )
        reached = last
    if begin + reached != size:
        raise ValueError(
            f"it is cut off or damaged (its header tells of {begin + reached} bytes, the file has"
            f" {size})"
        )
    return Weights(tensors, False, metadata)


def parsed(what: str, raw: bytes) -> dict[str, Any]:
    """A JSON object in which no name occurs twice.

    Raises:
        ValueError: it is anything else.
    """
    try:
        content = json.loads(raw.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is cut off or damaged ({what}: {short(error)})") from error
    if type(content) is not dict:
        raise ValueError(f"it is damaged: {what} is no JSON object")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name occurs twice")
    return unique


def _described(name: str, fields: Any) -> tuple[tuple[int, ...], np.dtype, int, int]:
    """Shape, dtype, and where its bytes begin and end, counted from the end of the header."""
    if type(fields) is not dict or any(field not in fields for field in _FIELDS):
        raise ValueError(f"it is damaged: {short(name)!r} has not {', '.join(_FIELDS)}")
    kind, shape, offsets = (fields[field] for field in _FIELDS)
    if type(kind) is str and kind not in _DTYPES:
        raise ValueError(f"{short(name)!r} has the dtype {short(kind)}, which NumPy has not")
    if type(kind) is not str or not _sizes(shape, MOST_AXES) or not _sizes(offsets, 2):
        raise ValueError(
            f"it is damaged: dtype, shape or offsets of {short(name)!r} are none, or it has more"
            f" than {MOST_AXES} axes"
        )
    dtype, first, last = dtype_of(_DTYPES[kind]), *offsets
    size = math.prod(shape) * dtype.itemsize
    if last - first != size:
        raise ValueError(
            f"it is damaged: {short(name)!r} must have {short(size)} bytes, and has {last - first}"
        )
    return tuple(shape), dtype, first, last


def _sizes(numbers: Any, most: int) -> bool:
    return (
        type(numbers) is list
        and len(numbers) <= most
        and all(type(n) is int and 0 <= n < MOST_ELEMENTS for n in numbers)
    )


def _read(path: Path, begin: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    count = math.prod(shape) * dtype.itemsize
    raw = np.fromfile(path, np.uint8, count, offset=begin)
    if len(raw) != count:
        raise ValueError("it became shorter while it was read")
    return raw.view(dtype).reshape(shape)
