"""The bandwidth of a device's memory, measured by copies."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp


class Copy:
    """Copies of one array on jax's default device.

    Args:
        size: bytes of the array; many times those of the device's cache.
    """

    def __init__(self, size: int = 2**30) -> None:
        self.array = jax.block_until_ready(jnp.ones(size // 4, jnp.float32))
        # An identity whose argument is not donated: XLA copies it.
        self.copy = jax.jit(lambda x: x.copy())
        self.measure()

    def measure(self, copies: int = 10) -> float:
        """Bytes read and written a second."""
        jax.block_until_ready(self.copy(self.array))
        start = time.perf_counter()
        for _ in range(copies):
            last = self.copy(self.array)
        jax.block_until_ready(last)
        return copies * 2 * self.array.nbytes / (time.perf_counter() - start)
