"""Reads files and folders of weights, whose kind is recognized by their content."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnopt.core.select import path_name
from fnopt.pretrained.limits import check_names, short, some
from fnopt.pretrained.safetensors_file import is_safetensors, read_safetensors
from fnopt.pretrained.shards import USUAL_FILES, file_of_folder, read_index
from fnopt.pretrained.stored_tensors import StoredTensor, Weights
from fnopt.pretrained.torch_file import read_torch


def read_weights(file: Any, entry: str | None = None) -> Weights:
    """The tensors of a file or a folder, whose numbers are read when they are needed.

    Args:
        file: a path, or a dict of arrays by name.
        entry: the key of the state dict in a torch file that holds several things; the usual keys
            are tried if None.

    Raises:
        TypeError: it is neither a path nor arrays by name.
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, too large, or of no known kind.
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
        if path.is_dir() and not (path / "_METADATA").exists():
            in_folder = file_of_folder(path)
            if in_folder is None:
                raise ValueError(_advice(path))
            path = in_folder
        weights = _orbax(path) if path.is_dir() else _read(path, entry)
        check_names(weights.tensors, len(weights.tensors))
    except ValueError as error:
        raise ValueError(f"load_pretrained: {path} is refused: {error}") from error
    return weights


def _read(path: Path, entry: str | None, alone: bool = True) -> Weights:
    """The weights of a file; an index is read only where ``alone``, not from an index."""
    if not path.is_file():
        raise ValueError("it is no regular file; copy its content to one")
    with path.open("rb") as opened:
        begins = opened.read(9)
    if is_safetensors(begins, path.stat().st_size):
        return read_safetensors(path)
    if begins[:2] == b"PK" or begins[:1] == b"\x80":
        return Weights(read_torch(path, entry), True, {})
    if alone and begins.lstrip()[:1] == b"{":
        return read_index(path, lambda file: _read(file, entry, alone=False))
    if not begins:
        raise ValueError("it is cut off: it is empty; get it again")
    raise ValueError(
        "it is none of the kinds that are read (safetensors, a folder of orbax, a state dict of"
        " torch, an index of Hugging Face)"
    )


def _stored(array: np.ndarray) -> StoredTensor:
    return StoredTensor(array.shape, array.dtype, lambda: array)


def _advice(path: Path) -> str:
    """The message for a folder that has no weights of a known name."""
    message = (
        "it is no good folder of orbax: there is no _METADATA in it, nor has it one of the files"
        f" of Hugging Face ({', '.join(USUAL_FILES)})"
    )
    # No deeper than a manager of checkpoints puts them: below may be a whole disk.
    nested = chain(path.glob("*/_METADATA"), path.glob("*/*/_METADATA"))
    inner = sorted(str(at.parent.relative_to(path)) for at in islice(nested, 1000))
    if inner:
        return f"{message}; give one of the folders in it: {some(inner, 4)}"
    kinds = ("*.safetensors", "*.index.json", "*.pt", "*.pth", "*.bin")
    files = sorted(at.name for at in islice(chain(*map(path.glob, kinds)), 1000))
    return f"{message}; give one of the files in it: {some(files, 4)}" if files else message


def _orbax(path: Path) -> Weights:
    try:
        import orbax.checkpoint as orbax
    except ImportError as error:
        raise ImportError("folders of orbax need pip install 'fnopt[train]'") from error
    try:
        with orbax.Checkpointer(orbax.PyTreeCheckpointHandler()) as checkpointer:
            metadata: Any = checkpointer.metadata(path.absolute())
            tree = metadata.item_metadata.tree
            # As NumPy's: the devices that they were saved from may not be there.
            args = jax.tree.map(lambda _: orbax.RestoreArgs(restore_type=np.ndarray), tree)
            read = checkpointer.restore(
                path.absolute(),
                args=orbax.args.PyTreeRestore(restore_args=args),  # pyright: ignore
            )
    except Exception as error:  # orbax raises what its storage raises
        raise ValueError(f"it is no good folder of orbax ({short(error, 300)})") from error
    leaves = jax.tree_util.tree_flatten_with_path(read)[0]
    return Weights({path_name(at): _stored(np.asarray(x)) for at, x in leaves}, False, {})
