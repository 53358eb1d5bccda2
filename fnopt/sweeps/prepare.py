"""What all runs of a sweep have in common, made of its arguments as a single run makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax

from fnopt.core.checks import brief, positive_integer
from fnopt.data.batches import is_stream
from fnopt.sweeps.arguments import USAGE, as_entrants, as_seeds, objectives_of
from fnopt.sweeps.begin import starts_of
from fnopt.sweeps.data import Entrant
from fnopt.sweeps.program import Plan
from fnopt.sweeps.training import Training, replicated
from fnopt.train.begin import first_state
from fnopt.train.data_argument import check_data
from fnopt.train.evaluation_data import EvaluationArrays
from fnopt.train.evaluation_sets import VALIDATION, prepared_sets
from fnopt.train.feeds import ArrayFeed
from fnopt.train.fit_options import EvaluationOptions
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.watch import Watched, check_unwatched, find_watched


def prepare(
    objective: Any,
    optimizers: Any,
    data: Any,
    *,
    epochs: int,
    seeds: Any = 1,
    batch_size: int | None = 32,
    validation_data: Any = None,
    monitor: str | None = None,
    monitor_mode: Literal["min", "max"] | None = None,
    same_order: bool = False,
    mesh: jax.sharding.Mesh | None = None,
    precision: Any = None,
    early_stopping: Any = None,
) -> tuple[Training, str, str]:
    """What :func:`training_of` returns, of the arguments of a sweep as users give them.

    Raises:
        TypeError: as :func:`fnopt.sweeps.sweep`.
        ValueError: likewise.
    """
    entrants, seeds = as_entrants(optimizers), as_seeds(seeds)
    return training_of(
        objectives_of(objective, seeds), entrants, seeds, data, validation_data,
        epochs=positive_integer("sweep: epochs", epochs),
        batch_size=batch_size,
        options=EvaluationOptions(
            monitor=monitor, monitor_mode=monitor_mode, early_stopping=early_stopping
        ),
        same_order=same_order,
        mesh=mesh,
        precision=precision,
    )  # fmt: skip


def training_of(
    objective_of: Callable[[int], Objective],
    entrants: Sequence[Entrant],
    seeds: tuple[int, ...],
    data: Any,
    validation_data: Any,
    *,
    epochs: int,
    batch_size: int | None,
    options: EvaluationOptions,
    same_order: bool,
    mesh: jax.sharding.Mesh | None,
    precision: Any = None,
) -> tuple[Training, str, str]:
    """What the runs have in common, the metric by which they are judged, and its better direction.

    Args:
        objective_of: a function of the seed that returns the objective.
        entrants: the optimizers; each has a run for each seed.
        seeds: the seeds.
        data: the training data.
        validation_data: the data to evaluate, or None.
        epochs: number of epochs.
        batch_size: examples of a step; None for all.
        options: the watched metric and early stopping.
        same_order: whether all runs go through the examples in one order.
        mesh: the devices, or None for one.
        precision: the precision of the steps, or its name; None leaves dtypes as they are.

    Raises:
        TypeError: data are no arrays in memory, or the mesh is none.
        ValueError: the batch size is out of its range, there is no such metric, or a label has no
            output.
    """
    objective = objective_of(seeds[0])
    for name, value in (("data", data), ("validation_data", validation_data)):
        if name == "data" or value is not None:
            _check_in_memory(name, value)
    if mesh is not None and not isinstance(mesh, jax.sharding.Mesh):
        raise TypeError(f"sweep: mesh must be a jax.sharding.Mesh or None, got {brief(mesh, 40)}")
    if mesh is not None:  # axes that are Explicit would be in the types of all arrays
        mesh = jax.sharding.Mesh(mesh.devices, mesh.axis_names)
    step = StepOptions(precision=precision)
    feed = ArrayFeed(objective, data, batch_size, step)
    sets = {} if validation_data is None else {VALIDATION: validation_data}
    watched = _watched(objective, entrants, list(sets), options)
    stopping = options.early_stopping and options.early_stopping.replace(mode=watched.mode)
    first = first_state(
        objective, entrants[0].tx, feed, seeds[0], None,
        stopping=None, average=None, precision=step.precision,
    )  # fmt: skip
    evaluated, metrics = prepared_sets(objective, first, sets, options.eval_batch_size)
    watched.check(metrics)
    one_order = bool(same_order) or len(seeds) == 1
    plan = Plan(feed.batch_size, watched.name, one_order, mesh, step.precision)
    starts, keys = starts_of(objective_of, seeds, feed.example())
    parts = {n: x.part for n, x in evaluated.items() if isinstance(x, EvaluationArrays)}
    starts, keys, arrays, parts = replicated((starts, keys, feed.data, parts), plan)
    training = Training(
        objective=objective,
        entrants=tuple(entrant for entrant in entrants for _ in seeds),
        places=tuple(place for _ in entrants for place in range(len(seeds))),
        seeds=seeds,
        starts=starts,
        keys=keys,
        stopping=stopping,
        data=arrays,
        sets=parts,
        steps=feed.steps or 0,
        epochs=epochs,
        plan=plan,
    )
    return training, watched.name or "loss", watched.mode


def _watched(
    objective: Objective, entrants: Sequence[Entrant], sets: list[str], options: EvaluationOptions
) -> Watched:
    """The watched metric; refuses optimizers that watch another, or none where they need one."""
    stopping, monitor, mode = options.early_stopping, options.monitor, options.monitor_mode
    if not sets:
        monitor = None if monitor == "loss" else monitor
        for entrant in entrants:
            check_unwatched(monitor, stopping, entrant.tx, None)
    found = [
        find_watched(objective, sets, monitor, mode, stopping, entrant.tx) for entrant in entrants
    ]
    return found[0]


def _check_in_memory(name: str, data: Any) -> None:
    check_data(USAGE, data, name)
    if is_stream(data):
        raise TypeError(
            f"sweep: {name} must be arrays in memory, such as (inputs, targets), since all steps"
            f" run in one program; got {brief(data, 40)} ({type(data).__name__}), which is read"
            " batch by batch"
        )
