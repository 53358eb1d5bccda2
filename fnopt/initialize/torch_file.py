"""The tensors of a file that ``torch.save`` wrote, without torch.

Since version 1.6 it is a zip archive: ``data.pkl`` says which tensors there are, and each storage
is an entry ``data/KEY`` that is not compressed. Tensors may share a storage, and be views of it.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fnopt.core import did_you_mean
from fnopt.initialize.torch_pickle import Storage, Tensor, described, dtype_of

USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
"""Under which names trainers put the state dict beside other things."""


class Stored(NamedTuple):
    """A tensor of a file: what it is, and a function that reads it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


def read_torch(path: Path, entry: str | None = None) -> dict[str, Stored]:
    """The tensors by their names, in the order of the file.

    Args:
        path: of the file.
        entry: which of several dicts of tensors is meant.

    Raises:
        ValueError: it is damaged, holds anything but weights, or several dicts of tensors.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise ValueError(
                "it is a plain pickle, as torch wrote before version 1.6; save it anew:"
                " torch.save(torch.load(file, weights_only=True), new_file)"
            )
    archive = _Archive(path)
    found = described(archive.bytes("data.pkl"))
    tensors = _state_dict(found, entry)
    for name, tensor in tensors.items():
        archive.check(name, tensor.storage)
    return {
        name: Stored(tensor.shape, dtype_of(tensor.dtype), lambda t=tensor: archive.tensor(t))
        for name, tensor in tensors.items()
    }


class _Archive:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: dict[str, bytes] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                self.entries = {entry.filename: entry for entry in archive.infolist()}
        except Exception as error:  # zipfile raises many things on what is damaged
            raise ValueError(f"it is cut off or damaged ({error})") from error
        inside = [name for name in self.entries if name.split("/")[1:] == ["data.pkl"]]
        if len(inside) != 1:
            raise ValueError("it is a zip archive, but none of torch's: there is no data.pkl in it")
        self.prefix = inside[0].removesuffix("data.pkl")
        if any(name.startswith(f"{self.prefix}code/") for name in self.entries):
            raise ValueError(
                "it is a program of TorchScript; save its weights alone:"
                " torch.save(torch.jit.load(file).state_dict(), new_file)"
            )
        if f"{self.prefix}byteorder" in self.entries and self.bytes("byteorder") != b"little":
            raise ValueError("its numbers are big-endian; save it anew on another machine")

    def entry(self, name: str) -> zipfile.ZipInfo:
        entry = self.entries.get(self.prefix + name)
        if entry is None:
            raise ValueError(f"it is damaged: there is no entry {name!r} in it")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"its entry {name!r} is compressed, which torch never does")
        return entry

    def bytes(self, name: str) -> bytes:
        entry = self.entry(name)
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(entry)  # compares its check sum
        except Exception as error:
            raise ValueError(f"it is cut off or damaged ({error})") from error

    def check(self, name: str, storage: Storage) -> None:
        size = storage.size * dtype_of(storage.dtype).itemsize
        held = self.entry(f"data/{storage.key}").file_size
        if held != size:
            raise ValueError(
                f"it is damaged: the storage of {name!r} must have {size} bytes, and has {held}"
            )

    def tensor(self, tensor: Tensor) -> np.ndarray:
        key = tensor.storage.key
        if key not in self.read:
            self.read[key] = self.bytes(f"data/{key}")
        dtype = dtype_of(tensor.dtype)
        raw = self.read[key]
        if not math.prod(tensor.shape):
            return np.empty(tensor.shape, dtype)
        strides = [step * dtype.itemsize for step in tensor.strides]
        array = np.ndarray(tensor.shape, dtype, raw, tensor.offset * dtype.itemsize, strides)
        array = np.conj(array) if tensor.conjugate else array
        return -array if tensor.negative else array


def _state_dict(found: Any, entry: str | None) -> dict[str, Tensor]:
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}, and no dict of tensors by name")
    inner = {str(key): value for key, value in found.items() if _tensors(value)}
    if entry is not None:
        if entry not in inner:
            raise ValueError(
                f"it has no dict of tensors {entry!r} (entry=); {did_you_mean(entry, inner)}"
            )
        return _tensors(inner[entry])
    usual = [name for name in USUAL if name in inner]
    if len(usual) == 1:
        return _tensors(inner[usual[0]])
    if not usual and _tensors(found):
        return _tensors(found)
    if not usual and len(inner) == 1:
        return _tensors(*inner.values())
    if not inner:
        raise ValueError("there is no tensor in it")
    raise ValueError(
        f"it holds several dicts of tensors: {', '.join(map(repr, inner))}; say which by entry="
    )


def _tensors(found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict):
        return {}
    return {key: x for key, x in found.items() if isinstance(key, str) and isinstance(x, Tensor)}
