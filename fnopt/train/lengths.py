"""Schedules that end before the run does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.compose import Composed
from fnopt.core.schedule import is_schedule
from fnopt.core.transform import as_transform
from fnopt.core.warn import warn_caller

_MOST = 2**16
"""Most counts at which a schedule is evaluated."""


def warn_of_rate_0(tx: Any, opt_state: Any, steps: int | None, resumed: bool) -> None:
    """Warns where a scheduled learning rate is 0 from some step of the run on.

    Only the parts of chains are checked; a part inside a wrapper may count something else.

    Args:
        tx: the optimizer that will run.
        opt_state: its state at the beginning.
        steps: number of steps ahead; None if not known.
        resumed: whether the run continues from a checkpoint.
    """
    if steps is None or steps <= 0:
        return
    for part, state in _parts(as_transform(tx), opt_state):
        schedule, count = vars(part).get(part.rate_name), part.count(state)
        if count is None or not is_schedule(schedule):
            continue
        every = -(-steps // _MOST)
        ahead = np.arange(steps - 1, -1, -every)[::-1]
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            rates = np.asarray(jax.vmap(schedule)(int(count) + jnp.asarray(ahead)))  # pyright: ignore
        moving = np.flatnonzero(rates)
        idle = steps - (int(ahead[moving[-1]]) + 1 if len(moving) else 0)
        if idle > max(1, steps // 100):
            cure = ", and resume with resume='override'" if resumed else ""
            warn_caller(
                f"fit: the learning rate is 0 for the last {idle} of {steps} steps: its schedule,"
                f" {schedule!r}, ends before the run does; make it for all steps of the run{cure}"
            )


def _parts(tx: Any, state: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(tx, Composed) and type(state) is tuple:
        for part, part_state in zip(tx.parts(), state, strict=True):
            yield from _parts(part, part_state)
    elif isinstance(tx, Composed) and isinstance(state, dict):
        for part, part_state in zip(tx.parts(), state.values(), strict=True):
            yield from _parts(part, part_state)
    else:
        yield tx, state
