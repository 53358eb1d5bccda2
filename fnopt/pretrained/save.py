"""Weights as a file for others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fnopt.pretrained.limits import check_names
from fnopt.pretrained.names import array_leaves


def save_pretrained(
    params: Any, file: str | os.PathLike, *, metadata: Mapping[str, str] | None = None
) -> Path:
    """Writes a tree of weights as a file of safetensors, for :func:`load_pretrained`.

    Names are paths with dots (``layers.0.kernel``), layouts those of the tree, and every number is
    kept to the bit. The file is written under another name and renamed, so that one of this name is
    whole.

    Args:
        params: as of :func:`load_pretrained`: parameters, a tuple of parameters and model state, a
            whole model. Random keys are left out.
        file: where to; its folder must exist.
        metadata: strings to keep with it.

    Returns:
        The path.

    Raises:
        ImportError: safetensors is not installed.
        TypeError: a leaf is no array, or of a dtype that the format has not; names its path.
        ValueError: two leaves would have one name, or there are none; a name is longer than
            :func:`load_pretrained` reads.
        OSError: the file cannot be written.

    >>> import tempfile, jax.numpy as jnp
    >>> from fnopt.initialize import load_pretrained
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
    path = Path(file)
    for name, value in (metadata or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"save_pretrained: metadata is strings by name, got {name!r}: {value!r}"
            )
    tensors: dict[str, np.ndarray] = {}
    for at, leaf in array_leaves(params).items():
        name = at.replace("/", ".") or "value"
        if name in tensors:
            raise ValueError(f"save_pretrained: two leaves would have the name {name!r}")
        array = np.array(leaf, order="C")
        if array.dtype.kind in "OUSMm":
            raise TypeError(f"save_pretrained: {at!r} is no array of numbers but {array.dtype}")
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
