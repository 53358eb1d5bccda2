"""Brackets of successive halving as trainings of entrants with all of their seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnopt.core.quantile import quantile
from fnopt.sweeps.brackets import Bracket
from fnopt.sweeps.data import Entrant, Sweep
from fnopt.sweeps.halving import Interrupted, levels_of, run_brackets
from fnopt.sweeps.halving_result import HalvingResult
from fnopt.sweeps.keeper import Keeper
from fnopt.sweeps.memory import limit_of
from fnopt.sweeps.prepare import prepare
from fnopt.sweeps.progress import SweepProgress
from fnopt.sweeps.rungs import Rungs
from fnopt.train.interrupts import interrupts


def train_brackets(
    objective: Any,
    entrants: tuple[Entrant, ...],
    data: Any,
    brackets: Sequence[Bracket],
    memory: Any,
    progress: bool,
    **arguments: Any,
) -> HalvingResult:
    """Brackets side by side; their entrants are numbered through.

    Args:
        objective: as users give it.
        entrants: the optimizers of all brackets.
        data: the training data.
        brackets: the brackets.
        memory: memory of each device, as users give it.
        progress: whether to show a bar.
        **arguments: further arguments of :func:`fnopt.sweeps.prepare.prepare`.

    Raises:
        KeyboardInterrupt: it was interrupted before any entrant had an epoch.
    """
    began = time.perf_counter()
    epochs = max(rung.epochs for bracket in brackets for rung in bracket)
    training, monitor, mode = prepare(objective, entrants, data, epochs=epochs, **arguments)
    seeds, levels = len(training.seeds), [rung.epochs for rung in levels_of(brackets)]
    worst = math.inf if mode == "min" else -math.inf
    with SweepProgress(progress, len(training.entrants), epochs, monitor) as bar:
        limit, best = limit_of(memory, arguments["mesh"]), Keeper(monitor, mode, "none")
        expected = [(number * seeds, end) for number, end in levels_of(brackets)]
        rungs = Rungs(training, limit, expected, bar, best)

        def medians(runs: np.ndarray, epoch: int) -> list[float]:
            values = rungs.log.columns[monitor][epoch - 1, runs]
            values = np.where(np.isfinite(values), values, worst)
            return [quantile(of_seeds, 0.5) for of_seeds in values.tolist()]

        def advance(numbers: np.ndarray, until: int) -> list[float]:
            runs = numbers[:, None] * seeds + np.arange(seeds)
            at = levels.index(until)
            before = levels[at - 1] if at else 0
            bar.rung(f"rung {at + 1} of {len(levels)}", runs.size, until - before)
            rungs.advance(runs.ravel(), until, lambda: received)
            if not received:
                return medians(runs, until)
            if not rungs.trained.reshape(-1, seeds).all(axis=1).any():
                raise KeyboardInterrupt
            curves = [medians(runs, epoch) for epoch in range(1, until + 1)]
            # An entrant has had the epochs that all of its seeds have had.
            raise Interrupted(rungs.trained[runs].min(axis=1), np.transpose(curves))

        with interrupts() as received:
            results = run_brackets(advance, brackets, mode=mode)
    rungs.stop_early()
    sweep = Sweep(
        runs=rungs.records(),
        monitor=monitor,
        mode=mode,
        programs=rungs.programs,
        seconds=time.perf_counter() - began,
        states=rungs.states(),
        interrupted=bool(received),
    )
    return HalvingResult(sweep, results)
