"""``fnopt sweep``: many runs by the options of the command line, their tables and pictures."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from fnopt.cli.data import Data
from fnopt.cli.model import make_objective
from fnopt.cli.options import names
from fnopt.cli.screen import fitted
from fnopt.cli.sweep_best import about_edges, as_command, as_python, others_of
from fnopt.cli.sweep_grid import entrants_of, grids_of
from fnopt.cli.sweep_options import SweepOptions
from fnopt.cli.train import RESUME, batch_size_of, load_data, printed
from fnopt.cli.usage import UsageError
from fnopt.core.checks import positive_integer
from fnopt.sweeps import BestEntrant, Sweep, Table
from fnopt.sweeps import sweep as run_sweep
from fnopt.sweeps.memory import budget
from fnopt.sweeps.pictures import kinds_for
from fnopt.sweeps.store import finished_runs
from fnopt.train import early_stopping
from fnopt.train.progress_line import duration, number


def sweep(options: SweepOptions, settings: Mapping[str, Sequence[Any]]) -> None:
    """Trains with all combinations of hyperparameters, and says which are the best.

    Args:
        options: the options of the command.
        settings: the values of the hyperparameters, by name.

    Raises:
        UsageError: options, hyperparameters, data or model are not what they must be; the sweep was
            interrupted; or all of its runs diverged.
        ValueError, TypeError, OSError: what :func:`fnopt.sweeps.sweep` raises.
    """
    run, out = options.run, options.output.out
    _use_all_cores()
    epochs, seeds = (positive_integer(name, getattr(run, name)) for name in ("epochs", "seeds"))
    stopping = None if run.early_stop is None else early_stopping(run.early_stop)
    data = load_data(options.data)
    batch_size = batch_size_of(run.batch_size, len(data.train[0]))
    steps = epochs * (len(data.train[0]) // batch_size)
    grids = grids_of(",".join(options.optimizers) or "adamw", settings, names(SweepOptions))
    entrants = [entrant for grid in grids for entrant in entrants_of(grid, run.schedule, steps)]
    out.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    print(fitted(data.about, sys.stdout))
    counts = {"configuration": len(entrants), "seed": seeds, "epoch": epochs}
    print(", ".join(f"{n} {what}{'s' * (n != 1)}" for what, n in counts.items()), flush=True)
    mesh = _mesh(len(entrants) * seeds)
    # On a terminal the display says what the log does.
    with printed(logging.WARNING if sys.stderr.isatty() else logging.INFO):
        try:
            result = run_sweep(
                functools.partial(make_objective, data, options.model.model, options.model.loss),
                entrants,
                data.train,
                seeds=seeds,
                epochs=epochs,
                batch_size=batch_size,
                validation_data=data.validation,
                monitor=run.monitor,
                early_stopping=stopping,
                precision=None if run.precision == "float32" else run.precision,
                memory=_memory(run.memory, mesh),
                mesh=mesh,
                folder=run.folder,
                resume=bool(RESUME[run.resume]),
            )
        except KeyboardInterrupt:
            raise UsageError("interrupted before the first epoch was over") from None
    table, everything = (out / f"{data.name}-sweep.{ending}" for ending in ("csv", "json"))
    result.to_csv(table)
    result.to_json(everything)
    _print_tables(result, table)
    try:
        best = result.best()
    except ValueError:
        raise UsageError(
            f"all {len(result.runs)} runs diverged; try lower learning rates, such as"
            f" --learning-rate 1e-5:1e-2:log4 (table: {table})"
        ) from None
    _print_best(result, best, options)
    files = {"table": table, "curves": everything}
    if options.output.plot:
        files = {"pictures": _draw(result, data, options), **files}
    print(fitted(", ".join(f"{what}: {path}" for what, path in files.items()), sys.stdout))
    if result.interrupted:
        raise UsageError(_interrupted(run.folder, len(entrants) * seeds))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _use_all_cores() -> None:
    """Makes each core a device of its own, for runs of its own: one small run leaves cores idle."""
    try:
        jax.config.update("jax_num_cpu_devices", _cores())
    except RuntimeError:  # jax is at work already: where the command is called from Python
        return


def _mesh(runs: int) -> jax.sharding.Mesh | None:
    """The devices over which the runs are spread; None for one."""
    devices = jax.devices()
    most = _cores() if devices[0].platform == "cpu" else len(devices)
    number = min(len(devices), most, runs)
    return jax.make_mesh((number,), ("runs",), devices=devices[:number]) if number > 1 else None


def _memory(size: Any, mesh: jax.sharding.Mesh | None) -> int | None:
    """The memory of each device; the cores of a CPU share what is given."""
    if size is None:
        return None
    cores = mesh.size if mesh is not None and jax.default_backend() == "cpu" else 1
    return budget(size, jax.devices()[0]) // cores


def _interrupted(folder: Path | None, runs: int) -> str:
    """What to do after Ctrl-C."""
    if folder is None:
        return "interrupted; with --folder FOLDER a sweep can go on after the last finished chunk"
    done = finished_runs(folder)
    return f"interrupted, {done} of {runs} runs finished; the same command with --resume goes on"


def _print_tables(result: Sweep, path: Path) -> None:
    """Prints the best runs, and where there are several seeds the medians over them."""
    several = len({run.seed for run in result.runs}) > 1
    for table in (result.table(), *([result.quantiles()] if several else [])):
        print(f"\n{_in_commands(table, path)}")
    print()


def _in_commands(table: Table, path: Path) -> str:
    """The text of a table that refers to its file instead of to Python."""
    shown = re.sub(r"; \.text\(most=None\)\s+prints\s+all", "", table.text())
    return re.sub(r";\s+\.text\(width=…\)\s+prints\s+wider", f"; {path} has all", shown)


def _print_best(result: Sweep, best: BestEntrant, options: SweepOptions) -> None:
    """Prints the best configuration, and how it is written."""
    seeds, reached = len(best.runs), {best.metric: best.median} | others_of(best, result.mode)
    words = ", ".join(f"{name} {number(value)}" for name, value in reached.items())
    over = f" (medians over {seeds} seeds)" if seeds > 1 else ""
    print(fitted(f"{duration(result.seconds)}; the best: {words}{over}", sys.stdout))
    print(f"{as_python(best.entrant)}\n{as_command(best.entrant, options)}")
    for line in about_edges(result, best.entrant):
        print(fitted(line, sys.stdout))


def _draw(result: Sweep, data: Data, options: SweepOptions) -> str:
    """Draws the pictures, and returns their paths as a shell has them."""
    start, names = f"{options.output.out / data.name}-sweep-", []
    for kind in kinds_for(result.runs):
        names.append(kind.replace(" ", "-"))
        path = f"{start}{names[-1]}.png"
        print(f"drawing {path}", flush=True)
        result.plot(path, kind=kind, theme=options.output.theme, title=f"Sweep: {data.title}")
    return f"{start}{{{','.join(names)}}}.png" if len(names) > 1 else f"{start}{names[0]}.png"
