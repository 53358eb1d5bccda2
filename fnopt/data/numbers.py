"""Copies of anything that a user passes as an array, checked to be numbers.

An array that is stored longer than a call must be copied: the user may write into it again, as a
loader does that fills one buffer for every batch, and jax may read from it later or never copy it.
"""

from __future__ import annotations

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.types import PyTree


class NotNumbersError(TypeError):
    """Something in the data is no array of numbers; the message has its path and the cure."""


def own(tree: PyTree, name: str = "batch") -> PyTree:
    """The arrays of a tree on the device, copied: their memory may be written into again.

    Arrays of NumPy, jax and torch, and all others with ``__array__`` or ``__dlpack__``, are
    accepted; numbers of another byte order are converted.

    Args:
        tree: arrays of numbers.
        name: name of the tree in messages.

    Raises:
        NotNumbersError: a leaf is no array of numbers, or there is no leaf.

    Examples:
        >>> memory = np.ones(3, ">f4")
        >>> copy = own({"x": memory})
        >>> memory[:] = 0
        >>> copy["x"].tolist()
        [1.0, 1.0, 1.0]
        >>> own({"x": np.array(["a", "b"])})
        Traceback (most recent call last):
        fnopt.data.numbers.NotNumbersError: batch['x'] is text (an array of <U1), not an array of \
numbers; encode it as integers
    """
    return jax.device_put(host(tree, name))


def host(tree: PyTree, name: str = "batch") -> PyTree:
    """The same as :func:`own` in NumPy's arrays; those of an accelerator stay jax's."""
    paths, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_list_of_numbers)
    if not paths:
        words = "None" if tree is None else f"an empty {type(tree).__name__}"
        raise NotNumbersError(f"{name} is {words}, without any array; give arrays of numbers")
    leaves = [_copied(leaf, name + jax.tree_util.keystr(path)) for path, leaf in paths]
    return structure.unflatten(leaves)


def unshared(batch: PyTree) -> PyTree:
    """A batch for a compiled step: NumPy's arrays copied, torch's and others converted.

    Args:
        batch: arrays of numbers; those of jax and Python's numbers stay.

    Raises:
        NotNumbersError: a leaf is no array of numbers.
    """
    leaves, structure = jax.tree.flatten(batch, is_leaf=_is_list_of_numbers)
    if all(isinstance(leaf, _READY) for leaf in leaves):
        copies = [np.array(x) if isinstance(x, np.ndarray) else x for x in leaves]
        if all(x.dtype.kind in "biufcV" for x in copies if isinstance(x, np.ndarray)):
            return structure.unflatten(copies)
    return host(batch)


_READY = np.ndarray, np.generic, jax.Array, bool, int, float, complex


def is_traced(leaf: Any) -> bool:
    """Whether this stands for an array while a program is traced."""
    return isinstance(leaf, jax.core.Tracer)  # pyright: ignore[reportAttributeAccessIssue]


def _copied(leaf: Any, path: str) -> Any:
    if isinstance(leaf, jax.Array):
        return _of_jax(leaf)
    if _is_list_of_numbers(leaf):
        raise NotNumbersError(f"{path} is {_list(leaf)}")
    try:
        array = np.ma.MaskedArray.copy(leaf) if _is_masked(leaf) else _array(leaf)
    except Exception as error:
        raise NotNumbersError(
            f"{path} is of type {_kind(leaf)} and cannot become an array of numbers: {error}"
        ) from error
    if reason := _refusal(array, leaf):
        raise NotNumbersError(f"{path} is {reason}")
    if isinstance(array, jax.Array):
        return array
    if array.dtype.kind in "fc" and array.dtype.itemsize > (8 if array.dtype.kind == "f" else 16):
        return array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)
    return np.asarray(array).astype(array.dtype.newbyteorder("="), copy=False)


def _of_jax(leaf: jax.Array) -> Any:
    """On the CPU an array of jax may alias one of NumPy or torch, or be donated by its maker."""
    if is_traced(leaf) or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    sharding = leaf.sharding
    if len(sharding.device_set) > 1 or next(iter(sharding.device_set)).platform != "cpu":
        return leaf
    copy = np.array(leaf)
    return jax.device_put(copy, sharding) if leaf.committed else copy


def _array(leaf: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(leaf, torch.Tensor):
        return _of_torch(torch, leaf)
    if hasattr(leaf, "__dlpack__") and not hasattr(leaf, "__array__"):
        try:
            return np.array(np.from_dlpack(leaf))
        except Exception:  # of an accelerator, or of a dtype that NumPy has not
            return jax.block_until_ready(jnp.from_dlpack(leaf).copy())
    return np.array(leaf)


def _of_torch(torch: Any, tensor: Any) -> np.ndarray:
    if tensor.layout != torch.strided:
        raise TypeError("it is sparse; call .to_dense()")
    if tensor.is_quantized:
        raise TypeError("it is quantized; call .dequantize()")
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    name = str(tensor.dtype).removeprefix("torch.")
    if name.startswith(("bfloat", "float8")):  # NumPy has none of its own
        bits = {1: torch.uint8, 2: torch.int16}[tensor.element_size()]
        return tensor.clone().view(bits).numpy().view(jnp.dtype(name))
    return np.array(tensor.numpy())


def _refusal(array: Any, leaf: Any) -> str | None:
    """Why an array is not one of numbers, with the cure; None if it is."""
    if isinstance(array, np.ma.MaskedArray) and (masked := int(np.ma.count_masked(array))):
        return (
            f"a masked array with {masked} masked of {array.size} entries; fill them in,"
            " .filled(value), or leave their examples out"
        )
    dtype = array.dtype
    # NumPy counts lengths of time among the integers.
    if dtype == np.bool_ or (jnp.issubdtype(dtype, np.number) and dtype.kind != "m"):
        return None
    what, cure = f"an array of {dtype}", "give one of numbers"
    if dtype.kind in "UST":
        what, cure = f"text ({what})", "encode it as integers"
    elif dtype.kind in "Mm":
        what, cure = f"an array of dates or times ({dtype})", "convert it, .astype('int64')"
    elif dtype.names:
        what, cure = f"a structured array ({dtype})", "give each field as an array, by its name"
    elif dtype.kind == "O" and array.shape == () and not isinstance(leaf, np.ndarray):
        what, cure = f"of type {_kind(leaf)}", "give an array, or a tree of arrays"
    elif dtype.kind == "O":
        what = f"an array of Python objects ({_kind(array.flat[0])})" if array.size else what
        cure = "give it a dtype, np.asarray(x, np.float32), with rows of one length"
    return f"{what}, not an array of numbers; {cure}"


def _list(items: Any) -> str:
    kind = type(items).__name__
    try:
        np.array(items)
    except ValueError:
        return (
            f"a ragged {kind} of numbers, not an array of numbers; fill its rows up to one length"
            " and give np.array(rows)"
        )
    return f"a {kind} of Python numbers, not an array of numbers; give np.array(…) of it"


def _is_list_of_numbers(node: Any) -> bool:
    """Whether this is a list of Python numbers, or of such lists: a tree, but meant as an array."""
    if type(node) is not list or not node:
        return False
    return all(isinstance(x, (bool, int, float, complex)) or _is_list_of_numbers(x) for x in node)


def _is_masked(leaf: Any) -> bool:
    return isinstance(leaf, np.ma.MaskedArray)


def _kind(leaf: Any) -> str:
    kind = type(leaf)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
