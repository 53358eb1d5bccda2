"""The buffers that all steps of jax take turns on, and the proof that all steps are the same."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from step_contenders import PEER, Contender
from step_torch import TorchTrack


class NotComparable(Exception):
    """Two contenders do not do the same."""


class Track:
    """The parameters and the state that all steps of jax take turns on.

    They work on the same buffers, since two copies of a state differ in speed by where they lie.
    Small leaves are packed before a turn and unpacked after it, untimed; large ones stay.
    """

    def __init__(
        self,
        method: str,
        params: Any,
        contenders: dict[str, Contender],
        gradients: Sequence[Any],
    ) -> None:
        self.contenders = contenders
        self.steps = {name: c.step(method) for name, c in contenders.items()}
        self.extra = {name: c.extra() for name, c in contenders.items()}
        self.gradients = {
            name: [c.gradients(grads) for grads in gradients] for name, c in contenders.items()
        }
        expected = _shapes(contenders[PEER], params)
        for name, contender in contenders.items():
            if _shapes(contender, params) != expected:
                raise NotComparable(f"{name} keeps another state than {PEER}")
        self.reset(params)
        # The first of several equal programs, and it alone, took a quarter less time for 1,000
        # arrays on a CPU, whoever compiled it. It is compiled before the contenders', and kept.
        self.before = contenders[PEER].step(method)
        self._leave(PEER, *self.before(*self._enter(PEER), self.gradients[PEER][0]))
        self.reset(params)

    def reset(self, params: Any) -> None:
        """Starts again from a copy of these parameters."""
        self.params = jax.tree.map(jnp.array, params)
        self.state = jax.tree.leaves(jax.jit(self.contenders[PEER].tx.init)(self.params))

    def run(self, name: str, steps: int, warm: int = 0) -> float:
        """Seconds for some steps, called as a training loop would: one after the other, waiting
        for the last.

        Args:
            name: the contender.
            steps: the number of steps that are timed.
            warm: the number of steps before them.
        """
        params, state = jax.block_until_ready(self._steps(name, *self._enter(name), warm))
        start = time.perf_counter()
        params, state = jax.block_until_ready(self._steps(name, params, state, steps))
        seconds = time.perf_counter() - start
        self._leave(name, params, state)
        return seconds

    def in_place(self, name: str) -> bool:
        """Whether a step writes its results where its arguments were."""

        def addresses(arrays: Any) -> list[int]:
            return [x.unsafe_buffer_pointer() for x in jax.tree.leaves(arrays)]

        arrays = self._steps(name, *self._enter(name), 1)
        before = addresses(arrays)
        arrays = self._steps(name, *arrays, 1)
        after = addresses(arrays)
        self._leave(name, *arrays)
        return before == after

    def bytes_moved(self) -> int:
        """The bytes that a step reads and writes at least: all once, gradients only read."""
        grads = sum(x.nbytes for x in jax.tree.leaves(self.gradients[PEER][0]))
        return 2 * sum(x.nbytes for x in jax.tree.leaves((self.params, self.state))) + grads

    def _enter(self, name: str) -> tuple[Any, Any]:
        contender = self.contenders[name]
        state = contender.state_of(self.state, self.params)
        params = contender.pack(self.params)
        del self.params, self.state
        return params, state

    def _leave(self, name: str, params: Any, state: Any) -> None:
        contender = self.contenders[name]
        self.params, self.state = contender.unpack(params), contender.leaves_of(state)

    def _steps(self, name: str, params: Any, state: Any, count: int) -> tuple[Any, Any]:
        step, gradients, extra = self.steps[name], self.gradients[name], self.extra[name]
        for i in range(count):
            params, state = step(params, state, gradients[i % len(gradients)], *extra)
        return params, state


def _shapes(contender: Contender, params: Any) -> list[Any]:
    leaves = jax.eval_shape(contender.leaves_of, contender.shapes(params))
    return [(x.shape, x.dtype) for x in leaves]


def new_tree(shapes: Any, seed: int, size: float) -> Any:
    """A tree of normal numbers.

    Args:
        shapes: a tree of shapes.
        seed: the seed.
        size: the standard deviation.
    """
    leaves, treedef = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    draws = (size * jax.random.normal(key, x) for key, x in zip(keys, leaves, strict=True))
    return treedef.unflatten(draws)


def verify(track: Track, torch_tracks: dict[str, TorchTrack], params: Any) -> dict[str, float]:
    """How far each is from the peer after three steps, as a share of the way.

    Raises:
        NotComparable: some are another method.
    """
    track.run(PEER, 3)
    expected, differences = track.params, {}
    # A parameter is rounded to 6e-8 of itself, and has moved by a hundredth or so.
    tolerance = 1e-5 + 1e-6 * _largest(_size_in_ways, expected, params)
    for name in track.contenders:
        track.reset(params)
        track.run(name, 3)
        differences[name] = _largest(_ways_apart, track.params, expected, params)
    for name, torch_track in torch_tracks.items():
        torch_track.run(3)
        moved = [jnp.from_dlpack(param) for param in torch_track.params]
        differences[name] = _largest(_ways_apart, moved, expected, params)
    for name, share in differences.items():
        if not share <= tolerance:
            raise NotComparable(
                f"{name} is another method than {PEER}: {share:.2g} of the way apart"
            )
    return differences


def _largest(of_leaf: Any, *trees: Any) -> float:
    leaves = (jax.tree.leaves(tree) for tree in trees)
    return max(float(of_leaf(*arrays)) for arrays in zip(*leaves, strict=True))


@jax.jit
def _size_in_ways(moved: Any, start: Any) -> Any:
    return jnp.max(jnp.abs(moved)) / jnp.max(jnp.abs(moved - start))


@jax.jit
def _ways_apart(moved: Any, expected: Any, start: Any) -> Any:
    return jnp.max(jnp.abs(moved - expected)) / jnp.max(jnp.abs(expected - start))
