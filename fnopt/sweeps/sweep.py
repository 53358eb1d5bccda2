"""Many trainings as few programs: optimizers, hyperparameters and seeds side by side."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from fnopt.core.checks import one_of
from fnopt.core.stacking import groups_of
from fnopt.sweeps.arguments import USAGE, sweep_entry
from fnopt.sweeps.chunks import chunks_of
from fnopt.sweeps.data import RunRecord, Sweep
from fnopt.sweeps.identity import identity
from fnopt.sweeps.keeper import Keeper
from fnopt.sweeps.memory import limit_of
from fnopt.sweeps.prepare import prepare
from fnopt.sweeps.progress import SweepProgress
from fnopt.sweeps.run import run_chunk
from fnopt.sweeps.store import Store
from fnopt.train.interrupts import interrupts
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision
from fnopt.train.stopping import early_stopping as EarlyStopping

KEEP = ("best", "all", "none")


@sweep_entry("sweep", f"{USAGE}, where data are one argument, (inputs, targets)")
def sweep(
    objective: Objective | Callable[[int], Objective],
    optimizers: Any,
    data: Any,
    *,
    seeds: Any = 1,
    epochs: int,
    batch_size: int | None = 32,
    validation_data: Any = None,
    monitor: str | None = None,
    monitor_mode: Literal["min", "max"] | None = None,
    early_stopping: EarlyStopping | None = None,
    same_order: bool = False,
    precision: Precision | str | None = None,
    memory: float | str | None = None,
    mesh: jax.sharding.Mesh | None = None,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    progress: bool = True,
    keep: Literal["best", "all", "none"] = "best",
) -> Sweep:
    """Trains with every optimizer and every seed, all runs of one structure as one program.

    Each run is the one that ``fnopt.train.fit(objective, tx, data, key=seed, …)`` makes with the
    same arguments. Optimizers that differ in numbers alone, their schedules' among them, are of one
    structure. A run whose loss or gradient is not finite ends by itself and is marked, as does one
    that early stopping ends; its state stays as it is, and no other run changes by it.

    Args:
        objective: the objective to minimize, from :func:`fnopt.train.objective`; or a function of
            the seed that returns one, for models that are initialized by it. Such a function makes
            new objectives at each call, which are compiled again: with ``functools.cache`` it
            returns those of before.
        optimizers: a list of optimizers, of fnopt or of optax, or of names such as ``"adam"``; a
            dict from labels to them; what :func:`fnopt.sweeps.grid` and :func:`fnopt.sweeps.sample`
            return; or lists of all of these.
        data: the training data in memory: a tree of arrays with examples along the first axis, such
            as ``(images, labels)``, or an ``fnopt.data.Arrays``.
        seeds: their number, at least 1: 0, 1, … ; or the seeds themselves. A seed is the key of a
            run: of initialization, shuffling and dropout.
        epochs: number of passes over the data, at least 1.
        batch_size: examples of a step, at least 1; None for all.
        validation_data: data in memory, evaluated after each epoch; None evaluates nothing.
        monitor: the metric by which runs are judged, such as ``"val_accuracy"``; None for
            ``"val_loss"``, or for ``"loss"`` without validation data.
        monitor_mode: whether its smallest (``"min"``) or its largest value (``"max"``) is the best;
            None asks the metric, see :func:`fnopt.train.maximized`.
        early_stopping: ends each run by itself; None for none.
        same_order: whether all runs see the examples in the order of the first seed; otherwise
            each run has that of its own seed.
        precision: the precision of the steps, or its name, such as ``"bfloat16"``; None leaves
            dtypes as they are. Under loss scaling a run has diverged that is not finite at the
            smallest scale; steps that are skipped do not change the order of later examples, as
            they do in a single run.
        memory: memory to take on each device, in bytes or as ``"8GiB"``; None for most of what is
            there. Runs that it does not hold at once go one chunk after the other.
        mesh: devices over which the runs are spread; None for one.
        folder: where each finished chunk is saved; None for nowhere.
        resume: whether to go on after the last finished chunk in ``folder``.
        progress: whether to show a bar, where there is a terminal or a notebook.
        keep: of which runs to keep the final state: the ``"best"``, ``"all"`` or ``"none"``.

    Returns:
        The runs in the order of the optimizers, and for each in that of the seeds. After Ctrl-C or
        SIGTERM the runs under way end with their epoch, and those that have not begun are left out;
        a second signal ends the process.

    Raises:
        KeyboardInterrupt: it was interrupted before any run had an epoch.
        TypeError: an argument is something else, or data are no arrays in memory.
        ValueError: there is no optimizer or no seed; a number is out of its range; the memory is
            too small for one run; the folder has another sweep, or one and ``resume`` is false.
        OSError: the folder cannot be written to.

    >>> import numpy as np, fnopt
    >>> from fnopt.sweeps import grid, sweep
    >>> from fnopt.train import objective
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
    >>> task = objective(lambda params, x: params * x, "squared_error", params=np.float32(0))
    >>> rates = grid(fnopt.sgd, learning_rate=[0.01, 0.1, 1.0])
    >>> result = sweep(task, rates, (x, 3 * x), seeds=2, epochs=5)
    >>> len(result.runs), result.programs, result.monitor
    (6, 1, 'loss')
    """
    began = time.perf_counter()
    one_of("sweep: keep", keep, KEEP)
    if resume and folder is None:
        raise ValueError("sweep: resume needs folder=, where to go on from")
    training, watched, mode = prepare(
        objective, optimizers, data, seeds=seeds, epochs=epochs, batch_size=batch_size,
        validation_data=validation_data, monitor=monitor, monitor_mode=monitor_mode,
        same_order=same_order, mesh=mesh, precision=precision, early_stopping=early_stopping,
    )  # fmt: skip
    limit = limit_of(memory, mesh)
    kept = Keeper(watched, mode, keep)
    records: dict[int, RunRecord] = {}
    runs, programs = len(training.entrants), 0
    with (
        Store(folder, resume) as store,
        SweepProgress(progress, runs, epochs, watched) as bar,
        interrupts() as received,
    ):

        def on_epoch(at_once: int, epoch: int, metrics: dict[str, np.ndarray]) -> None:
            kept.see(metrics)
            bar.epoch(epoch, at_once, kept.value)

        store.open(lambda: identity(training, watched, mode, keep))
        for group in groups_of(entrant.tx for entrant in training.entrants):
            done = store.read(training, group)
            records.update((record.number, record) for record in done.records)
            kept.offer(done.records, done.states)
            bar.restored(len(done.records))
            ahead = [number for number in group if number not in records]
            if not ahead or received:
                continue
            bar.doing("compiling")
            chunks, program = chunks_of(training, ahead, limit, bar.say, store.slots(group))
            programs += 1
            for chunk in chunks:
                if received:
                    break
                report = functools.partial(on_epoch, len(chunk.numbers))
                finished = run_chunk(
                    training, chunk, program, report, kept.choose, lambda: received
                )
                if finished.whole:
                    store.write(chunk, finished)
                records.update((record.number, record) for record in finished.records)
                kept.offer(finished.records, finished.states)
                bar.chunk(len(chunk.numbers))
    if received and not records:
        raise KeyboardInterrupt
    return Sweep(
        runs=tuple(records[number] for number in sorted(records)),
        monitor=watched,
        mode=mode,
        programs=programs,
        seconds=time.perf_counter() - began,
        states=kept.states,
        interrupted=bool(received),
    )
