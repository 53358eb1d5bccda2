"""One epoch of many runs as one compiled program.

The steps, the evaluation and the decisions that follow from it are those of
:func:`fnopt.train.fit`, under ``vmap`` over the runs. A run that is over takes no further step: its
state stays as it is, to the bit, and since no run reads what another computes, those beside it do
not notice.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from fnopt.core.types import Metrics, PyTree
from fnopt.data.arrays import Arrays
from fnopt.train.evaluate import evaluate_batches, observe
from fnopt.train.loop import without_last_skip
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.precision import Precision
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState
from fnopt.train.step import attempt_step
from fnopt.train.summaries import NO_METRICS

Sets = Mapping[str, tuple[PyTree, jax.Array]]
"""Batches to evaluate and the weights of their examples, by the name before their metrics."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is fixed in the program of an epoch.

    Attributes:
        batch_size: examples of a step.
        monitor: name of the watched metric of the evaluation; ``""`` where nothing is evaluated.
        same_order: whether all runs go through the examples in one order.
        mesh: the devices over which runs are spread; None for one device.
        precision: the precision of the steps; None leaves dtypes as they are.
    """

    batch_size: int
    monitor: str
    same_order: bool
    mesh: Mesh | None = None
    precision: Precision | None = None

    @property
    def of_runs(self) -> PartitionSpec:
        """How the axis of the runs lies on the mesh: over all of its devices."""
        return PartitionSpec(self.mesh.axis_names) if self.mesh else PartitionSpec()


class Runs(NamedTuple):
    """Runs between two epochs, side by side.

    Attributes:
        states: the train states, their leaves stacked.
        going: for each run a flag, whether it goes on.
        diverged: for each run the number of the step that was not finite; -1 for none.
        order: for each run the place of its order of the examples.
    """

    states: TrainState
    going: jax.Array
    diverged: jax.Array
    order: jax.Array


class Report(NamedTuple):
    """What an epoch measured.

    Attributes:
        steps: the metrics of the training steps, by name, of shape (steps, runs).
        evaluation: the metrics of the evaluation, by name, of shape (runs,).
        complete: for each run a flag, whether it made all steps of the epoch.
        going: for each run a flag, whether it goes on after it.
        diverged: as that of :class:`Runs`.
    """

    steps: Metrics
    evaluation: Metrics
    complete: jax.Array
    going: jax.Array
    diverged: jax.Array


@per_objective(static_argnums=(7, 8), donate_argnums=(1,))
def run_epoch(
    objective: Objective,
    runs: Runs,
    key: jax.Array,
    start: Any,
    orders: jax.Array,
    data: Arrays,
    sets: Sets,
    plan: Plan,
    groups: int,
) -> tuple[Runs, Report]:
    """The runs after one more epoch and its evaluation.

    Args:
        objective: the objective to minimize.
        runs: the runs; their buffers are taken over.
        key: the key of what is drawn for a batch, where all runs have the same batches.
        start: number of the epoch's first step.
        orders: the examples of each step, of shape (orders, steps, batch size); one order, or one
            for each seed.
        data: the training data.
        sets: the data to evaluate; may be empty.
        plan: what is fixed.
        groups: how many groups of runs a device goes through one after another.
    """
    epoch = functools.partial(_in_groups, groups, functools.partial(_epoch, objective, plan))
    if plan.mesh is None:
        return epoch(runs, key, start, orders, data, sets)
    # No run needs anything of another: each device goes on by itself with those that it has.
    own, all_have, steps = plan.of_runs, PartitionSpec(), PartitionSpec(None, *plan.of_runs)
    return jax.shard_map(
        epoch,
        mesh=plan.mesh,
        in_specs=(own, *[all_have] * 5),
        out_specs=(own, Report(steps, own, own, own, own)),  # pyright: ignore[reportArgumentType]
        check_vma=False,
    )(runs, key, start, orders, data, sets)


def _in_groups(
    groups: int, epoch: Callable[..., tuple[Runs, Report]], runs: Runs, *shared: Any
) -> tuple[Runs, Report]:
    """An epoch of one group of runs after another."""
    if groups == 1:
        return epoch(runs, *shared)

    def of_group(runs: Runs, i: jax.Array) -> tuple[Runs, Report]:
        group, report = epoch(jax.tree.map(lambda x: x[i], runs), *shared)
        # In the place of what was there, so that nothing is copied.
        return jax.tree.map(lambda x, new: x.at[i].set(new), runs, group), report

    def joined(x: jax.Array, axis: int = 0) -> jax.Array:
        x = jnp.moveaxis(x, 0, axis)
        return x.reshape(*x.shape[:axis], -1, *x.shape[axis + 2 :])

    runs = jax.tree.map(lambda x: x.reshape(groups, -1, *x.shape[1:]), runs)
    runs, report = jax.lax.scan(of_group, runs, jnp.arange(groups))
    steps = {name: joined(x, 1) for name, x in report.steps.items()}
    return jax.tree.map(joined, runs), jax.tree.map(joined, report._replace(steps={}))._replace(
        steps=steps
    )


def _epoch(
    objective: Objective,
    plan: Plan,
    runs: Runs,
    key: jax.Array,
    start: jax.Array,
    orders: jax.Array,
    data: Arrays,
    sets: Sets,
) -> tuple[Runs, Report]:
    options = StepOptions(precision=plan.precision)

    def step_of_run(run: Runs, rows: jax.Array, batch: Any) -> tuple[Runs, Metrics]:
        state, going, diverged, order = run
        if not plan.same_order:
            batch = data.batch(state.key, state.step, rows[order])
        new, metrics, taken = attempt_step(objective, state, batch, options, going)
        more = going & _continues(state, taken)
        diverged = jnp.where(going & ~more, state.step, diverged)
        metrics = {name: x for name, x in metrics.items() if name not in NO_METRICS}
        if state.scaling is not None:  # what was skipped does not count in the means
            metrics = {name: jnp.where(taken, x, jnp.nan) for name, x in metrics.items()}
        return Runs(without_last_skip(state, new, more), more, diverged, order), metrics

    def step(runs: Runs, at_and_rows: Any) -> tuple[Runs, Metrics]:
        at, rows = at_and_rows
        batch = data.batch(key, start + at, rows[0]) if plan.same_order else None
        return jax.vmap(step_of_run, in_axes=(0, None, None))(runs, rows, batch)

    steps = jnp.arange(orders.shape[1], dtype=jnp.int32)
    runs, metrics = jax.lax.scan(step, runs, (steps, jnp.swapaxes(orders, 0, 1)))
    complete = runs.going
    if not sets:
        return runs, Report(metrics, {}, complete, runs.going, runs.diverged)
    finish = functools.partial(_evaluated, objective, plan, sets)
    states, going, evaluation = jax.vmap(finish)(runs.states, runs.going)
    runs = runs._replace(states=states, going=going)
    return runs, Report(metrics, evaluation, complete, going, runs.diverged)


def _continues(state: TrainState, taken: jax.Array) -> jax.Array:
    """Whether a run continues after a step: it was taken, or a smaller loss scale may help."""
    if state.scaling is None:
        return taken
    return taken | (state.scaling_state.scale > state.scaling.min_scale)


def _evaluated(
    objective: Objective, plan: Plan, sets: Sets, state: TrainState, going: jax.Array
) -> tuple[TrainState, jax.Array, Metrics]:
    """A run after an evaluation, whether it goes on, and the metrics."""
    model = state.stored_eval_params, state.stored.model_state
    metrics = {
        f"{name}_{metric}": x
        for name, part in sets.items()
        for metric, x in evaluate_batches(objective, *model, *part, plan.precision).items()
    }
    seen = observe(state, metrics[plan.monitor])
    changed = ("metric", "evaluations", "stopping_state")
    old, new = ({name: vars(s)[name] for name in changed} for s in (state, seen))
    state = state.replace(**optax.tree.where(going, new, old))
    if state.stopping is not None:
        going = going & ~state.stored.stopping_state.stop
    return state, going, metrics
