"""Runs of one structure in chunks that fit into memory, and the program of an epoch of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.sweeps.memory import Need, bytes_of, lanes, lower_bound, most_runs, need_of, size
from fnopt.sweeps.program import run_epoch
from fnopt.sweeps.training import Chunk, Training

logger = logging.getLogger("fnopt")


class Program:
    """The compiled program of an epoch for chunks of so many runs.

    Args:
        training: what the runs have in common.
        chunk: a chunk of that size.
    """

    def __init__(self, training: Training, chunk: Chunk) -> None:
        shapes, shared = training.shapes(chunk), training.shared
        leaves, structure = jax.tree.flatten((shapes, shared))
        signature = tuple((x.shape, x.dtype, x.sharding) for x in leaves)
        known = vars(training.objective).setdefault("_programs", {})
        key = run_epoch.function, training.plan, chunk.groups, structure, signature
        if key not in known:
            # Ahead of time, since what is compiled so says what memory it takes.
            program = run_epoch.of(training.objective)
            known[key] = program.lower(shapes, *shared, training.plan, chunk.groups).compile()
        self.compiled = known[key]
        own = -(-chunk.slots // training.devices)
        parts = jax.tree.map(lambda x: jax.ShapeDtypeStruct((own, *x.shape[1:]), x.dtype), shapes)
        self.need = need_of(self.compiled, parts, shared, own)

    def __call__(self, runs: Any, training: Training, epoch: int) -> Any:
        start = jnp.int32(epoch * training.steps)
        shared = training.keys[0], start, training.orders(epoch), training.data, training.sets
        return self.compiled(runs, *shared)


def chunks_of(
    training: Training,
    numbers: Sequence[int],
    limit: int,
    say: Callable[[str], None],
    slots: int | None = None,
) -> tuple[list[Chunk], Program]:
    """Runs of one structure in chunks that fit into memory, and the program of all of them.

    Args:
        training: what the runs have in common.
        numbers: the numbers of the runs.
        limit: memory of each device in bytes.
        say: says what memory they take.
        slots: how many went at once in chunks that are finished, so that those to come are the
            same program; None where there is none.

    Raises:
        ValueError: the memory is too small for one run.
    """
    devices = training.devices
    what = training.entrants[numbers[0]].label
    least = Need(bytes_of(training.shared), lower_bound(training.shapes(Chunk((numbers[0],), 1))))
    most = most_runs(least, limit, what)
    while True:
        chunks = split(numbers, slots or most * devices, devices, lanes(least.each), even=not slots)
        program = Program(training, chunks[0])
        own = chunks[0].slots // devices
        if program.need.of(own) <= limit or own == 1:
            break
        fits = min(most_runs(program.need, limit, what), own - 1)
        most, slots = (fits if slots else max(1, min(fits, most - 1))), None
    most_runs(program.need, limit, what)  # refuses what does not fit once
    at_once = f"{chunks[0].slots} at once" if len(chunks) > 1 else "all at once"
    words = (
        f"{len(numbers)} run{'s' * (len(numbers) != 1)} of {what}, {at_once}: about"
        f" {size(program.need.of(own))}{' on each device' if devices > 1 else ''},"
        f" {size(program.need.each)} a run"
    )
    logger.info("sweep: %s", words)
    say(words)
    return chunks, program


def at_once(training: Training, limit: int, say: Callable[[str], None]) -> tuple[Chunk, Program]:
    """All runs of a sweep as one chunk, and their program.

    Args:
        training: the runs, all of one structure.
        limit: memory of each device in bytes.
        say: says what memory they take.

    Raises:
        ValueError: the memory is too small for them.
    """
    number = len(training.entrants)
    chunks, program = chunks_of(training, range(number), limit, say)
    if len(chunks) > 1:
        raise ValueError(
            f"sweep: the memory is {size(limit)}{' on each device' * (training.devices > 1)}, which"
            f" holds {chunks[0].slots} of {number} runs, and here all go at once; give fewer"
            " optimizers or seeds, more memory or devices, or smaller batches"
        )
    return chunks[0], program


def split(
    numbers: Sequence[int], most: int, devices: int, lanes: int = 2**31, even: bool = False
) -> list[Chunk]:
    """Numbers in chunks for one program.

    Args:
        numbers: the numbers of the runs.
        most: most runs that go at once; a few places more are there where these make even groups.
        devices: number of devices, of which the places in a chunk are a multiple.
        lanes: most runs of a group.
        even: whether the chunks are nearly of one size; otherwise each but the last has the most.
    """
    count = -(-len(numbers) // most)
    own = -(-(-(-len(numbers) // count) if even else most) // devices)
    groups = -(-own // lanes)
    slots = groups * -(-own // groups) * devices
    parts = [tuple(numbers[i : i + slots]) for i in range(0, len(numbers), slots)]
    return [Chunk(part, slots, groups) for part in parts]
