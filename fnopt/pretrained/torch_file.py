"""Reads files that ``torch.save`` wrote, without torch.

Since version 1.6 it is a zip archive: ``data.pkl`` says which tensors there are, and each storage
is an entry ``data/KEY`` that is not compressed. Tensors may share a storage, and be views of it.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.core import did_you_mean
from fnopt.pretrained.limits import check_size, short, some
from fnopt.pretrained.stored_tensors import StoredTensor
from fnopt.pretrained.torch_pickle import described
from fnopt.pretrained.torch_values import Storage, Tensor, dtype_of

USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
"""The keys under which trainers save the state dict among other things."""


def read_torch(path: Path, entry: str | None = None) -> dict[str, StoredTensor]:
    """The tensors by their names, in the order of the file.

    Args:
        path: the path of the file.
        entry: the key of the dict of tensors, where there are several; the usual keys are tried if
            None.

    Raises:
        ValueError: it is damaged, holds anything but weights, or several dicts of tensors.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise ValueError(
                "it is a plain pickle, as torch wrote before version 1.6; save it again:"
                " torch.save(torch.load(file, weights_only=True), new_file)"
            )
    archive = _Archive(path)
    check_size("its pickle", archive.entry("data.pkl").file_size)
    tensors = _state_dict(described(archive.bytes("data.pkl")), entry)
    for name, tensor in tensors.items():
        archive.check(name, tensor.storage)
    return {
        name: StoredTensor(tensor.shape, dtype_of(tensor.dtype), lambda t=tensor: archive.tensor(t))
        for name, tensor in tensors.items()
    }


class _Archive:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: dict[str, bytes] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except Exception as error:  # zipfile raises many kinds of errors on damaged files
            raise ValueError(f"it is cut off or damaged ({short(error)})") from error
        # Entries that lie over each other would make much of a small file.
        if sum(entry.compress_size for entry in entries) > path.stat().st_size:
            raise ValueError("it is damaged: its entries overlap")
        inside = [
            entry.filename for entry in entries if entry.filename.split("/")[1:] == ["data.pkl"]
        ]
        if len(inside) != 1:
            raise ValueError("it is a zip archive, but none of torch's: there is no data.pkl in it")
        prefix = inside[0].removesuffix("data.pkl")
        self.entries = {
            entry.filename.removeprefix(prefix): entry
            for entry in entries
            if entry.filename.startswith(prefix)
        }
        if any(name.startswith("code/") for name in self.entries):
            raise ValueError(
                "it is a program of TorchScript; save its weights alone:"
                " torch.save(torch.jit.load(file).state_dict(), new_file)"
            )
        if "byteorder" in self.entries and self.bytes("byteorder") != b"little":
            raise ValueError("its numbers are big-endian; save it again on another machine")

    def entry(self, name: str) -> zipfile.ZipInfo:
        entry = self.entries.get(name)
        if entry is None:
            raise ValueError(f"it is damaged: there is no entry {short(name)!r} in it")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"its entry {short(name)!r} is compressed, which torch never does")
        return entry

    def bytes(self, name: str) -> bytes:
        # By itself: zipfile would read the list of all entries again for each of them.
        entry = self.entry(name)
        with self.path.open("rb") as file:
            file.seek(max(entry.header_offset, 0))
            head = file.read(30)
            if head[:4] != b"PK\3\4":
                raise ValueError(f"it is cut off or damaged (no entry begins at {short(name)!r})")
            lengths = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
            file.seek(sum(lengths), 1)
            raw = file.read(entry.file_size)
        if len(raw) != entry.file_size or zlib.crc32(raw) != entry.CRC:
            raise ValueError(f"it is cut off or damaged (Bad CRC-32 of its entry {short(name)!r})")
        return raw

    def check(self, name: str, storage: Storage) -> None:
        size = storage.size * dtype_of(storage.dtype).itemsize
        stored = self.entry(f"data/{storage.key}").file_size
        if stored != size:
            raise ValueError(
                f"it is damaged: the storage of {short(name)!r} must have {size} bytes, and has"
                f" {stored}"
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


def _state_dict(content: Any, entry: str | None) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, and no dict of tensors by name")
    # Each dict once, however many keys have it.
    once = {id(x): x for x in content.values()}.values()
    tensors_of = {id(value): _tensors(value) for value in once}
    inner = {
        str(key): tensors_of[id(value)] for key, value in content.items() if tensors_of[id(value)]
    }
    if entry is not None:
        if entry not in inner:
            known = [short(name) for name in islice(inner, 8)]
            raise ValueError(
                f"it has no dict of tensors {short(entry)!r} (entry=);"
                f" {did_you_mean(short(entry), known)}"
            )
        return inner[entry]
    usual = [name for name in USUAL if name in inner]
    if len(usual) == 1:
        return inner[usual[0]]
    if not usual and (tensors := _tensors(content)):
        return tensors
    if not usual and len(inner) == 1:
        return next(iter(inner.values()))
    if not inner:
        raise ValueError("there is no tensor in it")
    raise ValueError(
        f"it holds several dicts of tensors: {some(inner, quoted=True)}; say which by entry="
    )


def _tensors(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        return {}
    return {key: x for key, x in value.items() if isinstance(key, str) and isinstance(x, Tensor)}
