"""Arrays joined to buffers and split again, by a layout."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def run(function: Callable[..., Any], packing: Any, arrays: Any) -> Any:
    """``join`` or ``split`` of a layout and arrays, or shapes."""
    leaves = jax.tree.leaves(arrays)
    if any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves):
        return jax.eval_shape(functools.partial(function, packing), arrays)
    # The parts of an eager array are programs of their own already.
    if function is split or any(isinstance(leaf, Tracer) for leaf in leaves):
        return function(packing, arrays)
    return _compiled(function, packing, arrays)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _compiled(function: Callable[..., Any], packing: Any, arrays: Any) -> Any:
    return function(packing, arrays)


def join(packing: Any, members: list[list[Any]]) -> list[Any]:
    """The buffers of leaves; where a leaf is a container of arrays, a container of buffers."""

    def of_arrays(places: tuple[int, ...], *xs: Any) -> Any:
        flat = [_flat(x, packing.shapes[i]) for x, i in zip(xs, places, strict=True)]
        with jax.numpy_dtype_promotion("standard"):
            return _concatenated(flat)

    return [
        jax.tree.map(functools.partial(of_arrays, places), *leaves)
        for places, leaves in zip(packing.buffers, members, strict=True)
    ]


CHUNK = 16
"""Arrays that are concatenated at once."""


def _concatenated(xs: list[jax.Array]) -> jax.Array:
    # XLA takes 2 s to compile one concatenation of 1,000 arrays on a CPU, and a fifth of that for
    # those of 16. It would join them to one again without the barrier.
    while len(xs) > CHUNK:
        chunks = (xs[i : i + CHUNK] for i in range(0, len(xs), CHUNK))
        xs = [jax.lax.optimization_barrier(jnp.concatenate(chunk, axis=-1)) for chunk in chunks]
    return jnp.concatenate(xs, axis=-1)


def _flat(x: Any, shape: tuple[int, ...]) -> jax.Array:
    return jnp.reshape(x, (*jnp.shape(x)[: jnp.ndim(x) - len(shape)], -1))


def split(packing: Any, entries: Iterable[Any]) -> list[list[Any]]:
    """The leaves of each buffer; containers of arrays where it is a container of buffers."""
    found = []
    for buffer, entry in zip(packing.buffers, entries, strict=True):
        shapes = [packing.shapes[i] for i in buffer]
        arrays, treedef = jax.tree.flatten(entry)
        parts = [_parts(jnp.asarray(x), shapes) for x in arrays]
        found.append([treedef.unflatten([own[k] for own in parts]) for k in range(len(buffer))])
    return found


def _parts(x: jax.Array, shapes: list[tuple[int, ...]]) -> list[jax.Array]:
    sizes = [math.prod(shape) for shape in shapes]
    if not isinstance(x, Tracer):
        # XLA compiles each slice of a program by itself: on a CPU 1,000 take more than 10 s.
        offsets = np.cumsum([0, *sizes[:-1]], dtype=np.uint32)
        return [_part(x, *where) for where in zip(offsets, shapes, strict=True)]
    # The transpose of split is one concatenation, that of slices a sum of padded arrays.
    parts = jax.lax.split(x, sizes, axis=x.ndim - 1)
    lead = x.shape[:-1]
    return [jnp.reshape(part, (*lead, *shape)) for part, shape in zip(parts, shapes, strict=True)]


@functools.partial(jax.jit, static_argnums=2)
def _part(x: jax.Array, offset: Any, shape: tuple[int, ...]) -> jax.Array:
    """The array of a shape that begins at an offset: one program for all that have the shape."""
    part = jax.lax.dynamic_slice_in_dim(x, offset, math.prod(shape), axis=-1)
    return jnp.reshape(part, (*x.shape[:-1], *shape))
