"""Saves weights in a file of safetensors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fnopt.core.types import PyTree
from fnopt.pretrained.array_leaves import array_leaves
from fnopt.pretrained.limits import check_names


def save_pretrained(
    params: PyTree, file: str | os.PathLike, *, metadata: Mapping[str, str] | None = None
) -> Path:
    """Saves a tree of weights in a file of safetensors, for :func:`load_pretrained`.

    Names are paths with dots (``layers.0.kernel``), layouts are those of the tree, and every number
    is saved to the bit. The file is written under another name and then renamed, so that a file of
    this name is complete.

    Args:
        params: the tree to save: parameters, a tuple of parameters and model state, a whole model.
            Random keys are left out.
        file: the path of the file; its folder must exist.
        metadata: strings by name that are saved with it; none if None.

    Returns:
        The path of the file.

    Raises:
        ImportError: safetensors is not installed.
        TypeError: a leaf is no array, or has a dtype that the format does not have.
        ValueError: two leaves would have one name, there are no leaves, or a name is longer than
            :func:`load_pretrained` reads.
        OSError: the file cannot be written.

    >>> import tempfile, jax.numpy as jnp
    >>> from fnopt.pretrained import load_pretrained
    >>> params = {"dense": {"kernel": jnp.ones((2, 3), jnp.bfloat16)}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_pretrained(params, f"{folder}/net.safetensors")
    ...     print(load_pretrained(params, path)[1])
    path          shape   from
    dense/kernel  (2, 3)  dense.kernel
    1 loaded
    """
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("save_pretrained needs pip install 'fnopt[weights]'") from error
    if isinstance(params, (str, os.PathLike)):
        raise TypeError(
            f"save_pretrained: params is the path {str(params)!r}; the tree comes first,"
            " save_pretrained(params, file)"
        )
    path = Path(file)
    for name, value in (metadata or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"save_pretrained: metadata is strings by name, got {name!r}: {value!r}"
            )
    tensors: dict[str, np.ndarray] = {}
    for leaf_path, leaf in array_leaves(params).items():
        name = leaf_path.replace("/", ".") or "value"
        if name in tensors:
            raise ValueError(f"save_pretrained: two leaves would have the name {name!r}")
        array = np.array(leaf, order="C")
        if array.dtype.kind in "OUSMm":
            raise TypeError(
                f"save_pretrained: {leaf_path!r} is no array of numbers but {array.dtype}"
            )
        tensors[name] = array
    if not tensors:
        raise ValueError("save_pretrained: there are no weights in the tree")
    try:
        check_names(tensors, len(tensors))
    except ValueError as error:
        raise ValueError(f"save_pretrained: {error}") from error
    # In the same folder: a rename is atomic within one file system alone.
    number, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(number)
    try:
        try:
            safetensors.numpy.save_file(tensors, partial, {"format": "flax", **(metadata or {})})
        except safetensors.SafetensorError as error:
            dtypes = ", ".join(sorted({str(x.dtype) for x in tensors.values()}))
            raise TypeError(f"save_pretrained: {error} (dtypes here: {dtypes})") from error
        _flush(Path(partial))
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
        _flush(path.parent)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    return path


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
