"""How many runs go at once: the memory that a program of runs takes, and what there is of it."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import brief

_CACHE = 2**21
"""What the runs of a group take on a CPU, in bytes: the second level cache of a core or two."""
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Need(NamedTuple):
    """The memory that a program of runs takes on one device, in bytes.

    Attributes:
        shared: what all runs have together: the data.
        each: what each run takes: its state, and what the program computes for it.
    """

    shared: int
    each: int

    def of(self, runs: int) -> int:
        """The memory of so many runs."""
        return self.shared + runs * self.each


def need_of(compiled: Any, runs: Any, others: Any, number: int) -> Need:
    """The memory of a compiled program, as it says itself.

    Args:
        compiled: the program of so many runs, as ``jax.stages.Compiled``.
        runs: the runs, trees of arrays.
        others: the arrays that all runs share.
        number: how many runs the program has on a device.
    """
    states, shared = bytes_of(runs), bytes_of(others)
    analysis = compiled.memory_analysis()
    if analysis is None:  # of a backend that does not say
        return Need(shared, lower_bound(runs))
    temporary = analysis.temp_size_in_bytes
    outputs = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return Need(shared, -(-(states + temporary + max(0, outputs)) // number))


def lower_bound(state: Any) -> int:
    """The bytes that runs take at least: their states, and a gradient and an update for each."""
    fields = vars(state.states) if hasattr(state, "states") else vars(state)
    return bytes_of(state) + 2 * bytes_of(fields["params"])


def lanes(each: int) -> int:
    """How many runs a device computes side by side, at least 1.

    A CPU goes through runs in groups whose arrays stay in its caches: a step of all runs at once
    would read all of their arrays from memory. Elsewhere a step costs what its kernels cost.

    Args:
        each: bytes of a run.
    """
    return max(1, _CACHE // each) if jax.default_backend() == "cpu" else 2**31


def bytes_of(tree: Any) -> int:
    """The bytes of all arrays of a tree; shapes suffice."""
    return sum(_bytes(x) for x in jax.tree.leaves(tree))


def _bytes(x: Any) -> int:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.eval_shape(jax.random.key_data, x)
    return int(np.prod(x.shape, dtype=np.int64)) * x.dtype.itemsize


def budget(memory: Any, device: Any) -> int:
    """The memory that a sweep may take on each device, in bytes.

    Args:
        memory: a number of bytes, or a text such as ``"8GiB"``; None for nine tenths of what is
            free on the device, and on a CPU for half of the machine's.
        device: the device.

    Raises:
        TypeError: it is none of these.
        ValueError: it is not above 0, or the text is no size.
    """
    if memory is None:
        stats = device.memory_stats()
        if stats and "bytes_limit" in stats:
            return int(0.9 * (stats["bytes_limit"] - stats.get("bytes_in_use", 0)))
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        except (ValueError, OSError, AttributeError):  # of another system
            return 2**62
    if isinstance(memory, str):
        match = re.fullmatch(r"\s*(\d+\.?\d*)\s*([KMGT]?)i?B?\s*", memory, re.IGNORECASE)
        if not match:
            raise ValueError(
                f"sweep: memory must be a number of bytes or a text such as '8GiB', got {memory!r}"
            )
        memory = float(match[1]) * _UNITS[match[2].upper()]
    if isinstance(memory, bool) or not isinstance(memory, (int, float, np.number)):
        raise TypeError(
            "sweep: memory must be a number of bytes, a text such as '8GiB' or None, got"
            f" {brief(memory, 40)}"
        )
    if not memory > 0:
        raise ValueError(f"sweep: memory must be above 0 bytes, got {memory}")
    return int(min(memory, 2**62))


def limit_of(memory: Any, mesh: jax.sharding.Mesh | None) -> int:
    """:func:`budget` on the devices of a sweep; those of a CPU share what is its own by default.

    Args:
        memory: as of :func:`budget`.
        mesh: the devices; None for the first.
    """
    device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
    own = budget(memory, device)
    if mesh is None or memory is not None or device.platform != "cpu":
        return own
    return own // mesh.size


def most_runs(need: Need, limit: int, what: str) -> int:
    """How many runs a device holds at once, at least 1.

    Args:
        need: the memory that they take.
        limit: the memory that there is.
        what: the optimizer, for the error.

    Raises:
        ValueError: there is not enough for one.
    """
    if need.of(1) > limit:
        raise ValueError(
            f"sweep: one run of {what} takes about {size(need.of(1))} ({size(need.shared)} for the"
            f" data), and memory is {size(limit)}; give more, smaller batches or a smaller model"
        )
    return max(1, (limit - need.shared) // max(1, need.each))


def size(number: float) -> str:
    """A number of bytes in words, such as ``"1.5 GiB"``."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.3g} {unit}" if unit != "bytes" else f"{number:.0f} bytes"
        number /= 1024
    return f"{number:.3g} TiB"
