"""Files of weights: of safetensors, of orbax, of torch. What they are is told by their content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fnopt.initialize.torch_file import Stored, read_torch
from fnopt.initialize.torch_pickle import dtype_of
from fnopt.wrap.paths import path_name

_SAFETENSORS = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32",
    "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16", "BF16": "bfloat16",
    "F32": "float32", "F64": "float64", "C64": "complex64", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}  # fmt: skip


class Weights(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: by name.
        ordered: whether they come in the order in which the model has its layers.
        metadata: what is told with them.
    """

    tensors: dict[str, Stored]
    ordered: bool
    metadata: dict[str, str]


def read_weights(file: Any, entry: str | None = None) -> Weights:
    """What a file holds, as far as it can be told without reading all numbers.

    Raises:
        TypeError: it is neither a path nor arrays by name.
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or none of the three; names the file.
    """
    if isinstance(file, Mapping):
        return Weights({name: _stored(np.asarray(x)) for name, x in file.items()}, True, {})
    try:
        path = Path(file)
    except TypeError as error:
        raise TypeError(
            f"load_pretrained: file must be a path or arrays by name, got {type(file).__name__}"
        ) from error
    if not path.exists():
        raise FileNotFoundError(f"load_pretrained: there is no {path}")
    try:
        if path.is_dir():
            return _orbax(path)
        with path.open("rb") as opened:
            begins = opened.read(9)
        if begins[:2] == b"PK" or begins[:1] == b"\x80":
            return Weights(read_torch(path, entry), True, {})
        if begins[8:] == b"{":
            return _safetensors(path)
    except ValueError as error:
        raise ValueError(f"load_pretrained: {path} is refused: {error}") from error
    raise ValueError(
        f"load_pretrained: {path} is refused: it is none of the kinds that are read (safetensors,"
        " a folder of orbax, a state dict of torch)"
    )


def _stored(array: np.ndarray) -> Stored:
    return Stored(array.shape, array.dtype, lambda: array)


def _safetensors(path: Path) -> Weights:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError("safetensors files need pip install 'fnopt[weights]'") from error
    try:
        found = safetensors.deserialize(path.read_bytes())
        with safetensors.safe_open(path, "np") as opened:
            metadata = dict(opened.metadata() or {})
    except safetensors.SafetensorError as error:
        raise ValueError(f"it is cut off or damaged ({error})") from error
    tensors = {}
    for name, told in sorted(found, key=lambda one: one[0]):  # they come in any order
        if told["dtype"] not in _SAFETENSORS:
            raise ValueError(f"{name!r} has the dtype {told['dtype']}, which NumPy has not")
        dtype = dtype_of(_SAFETENSORS[told["dtype"]])
        tensors[name] = _stored(np.frombuffer(told["data"], dtype).reshape(told["shape"]))
    return Weights(tensors, False, metadata)


def _orbax(path: Path) -> Weights:
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError("folders of orbax need pip install 'fnopt[train]'") from error
    if not (path / "_METADATA").exists():
        inner = sorted(str(at.parent.relative_to(path)) for at in path.glob("**/_METADATA"))
        cure = f"; give one of the folders in it: {', '.join(inner[:4])}" if inner else ""
        raise ValueError(f"it is no good folder of orbax: there is no _METADATA in it{cure}")
    try:
        with orbax.Checkpointer(orbax.PyTreeCheckpointHandler()) as checkpointer:
            told: Any = checkpointer.metadata(path.absolute())
            tree = told.item_metadata.tree
            # As NumPy's: the devices that they were saved from may not be there.
            args = jax.tree.map(lambda _: orbax.RestoreArgs(restore_type=np.ndarray), tree)
            read = checkpointer.restore(
                path.absolute(),
                args=orbax.args.PyTreeRestore(restore_args=args),  # pyright: ignore
            )
    except Exception as error:  # orbax raises what its storage raises
        raise ValueError(f"it is no good folder of orbax ({error})") from error
    leaves = jax.tree_util.tree_flatten_with_path(read)[0]
    return Weights({path_name(at): _stored(np.asarray(x)) for at, x in leaves}, False, {})
