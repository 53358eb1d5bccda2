"""Population based training: runs side by side, the worst copying the best between two epochs."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core.checks import brief, positive_integer
from fnopt.core.prng import typed_key
from fnopt.core.stacking import groups_of
from fnopt.sweeps.arguments import as_entrants, sweep_entry
from fnopt.sweeps.chunks import at_once
from fnopt.sweeps.data import Entrant, Sweep
from fnopt.sweeps.keeper import Keeper
from fnopt.sweeps.memory import limit_of
from fnopt.sweeps.population import bounds_of, exploit_and_explore, numbers_of
from fnopt.sweeps.population_result import PopulationResult
from fnopt.sweeps.prepare import prepare
from fnopt.sweeps.program import Runs
from fnopt.sweeps.progress import SweepProgress
from fnopt.sweeps.run import Log, final_state, run_epochs
from fnopt.sweeps.training import Training
from fnopt.train.interrupts import interrupts
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision
from fnopt.train.state import TrainState

USAGE = (
    "population_based_training(objective, optimizers, data, hyperparameters={name: (low, high)},"
    " epochs=…)"
)


@sweep_entry("population_based_training", USAGE)
def population_based_training(
    objective: Objective | Callable[[int], Objective],
    optimizers: Any,
    data: Any,
    *,
    hyperparameters: Mapping[str, tuple[float, float]],
    epochs: int,
    every: int = 1,
    share: float = 0.2,
    factors: Sequence[float] = (0.8, 1.2),
    key: Any = 0,
    seeds: Any = 1,
    batch_size: int | None = 32,
    validation_data: Any = None,
    monitor: str | None = None,
    monitor_mode: Literal["min", "max"] | None = None,
    same_order: bool = False,
    precision: Precision | str | None = None,
    memory: float | str | None = None,
    mesh: jax.sharding.Mesh | None = None,
    progress: bool = True,
) -> PopulationResult:
    r"""Trains a population of runs, in which the worst copy the best and vary their numbers.

    After every so many epochs, except the last, :func:`exploit_and_explore` makes the worst runs
    copies of the best, with all of their state, and multiplies the hyperparameters of the copies by
    factors. A run whose loss or gradient was not finite becomes a copy too. So a hyperparameter
    follows a schedule that is found in the course of one training; ``result.schedule(name)`` is
    that of the best run. There is one compiled program of an epoch, and one of the step between.

    Args:
        objective: as for :func:`fnopt.sweep`.
        optimizers: the population at the beginning, as for :func:`fnopt.sweep`, such as ``sample(
            fnopt.adamw, 20, key, learning_rate=log_uniform(1e-5, 1))``. They must be of one
            structure, that is, differ in numbers alone. Every optimizer with every seed is a run;
            at least two.
        data: the training data in memory, as for :func:`fnopt.sweep`.
        hyperparameters: the numbers to vary, each with its lowest and highest value, such as
            ``{"learning_rate": (1e-5, 1.0)}``; names as of :func:`exploit_and_explore`.
        epochs: number of passes over the data, at least 1.
        every: number of epochs between two such steps, at least 1.
        share: the share of the runs that become copies, in (0, 0.5].
        factors: the factors, one of which is drawn for each hyperparameter of a copy, above 0.
        key: a PRNG key, or an integer to make one, for what is drawn between the epochs.
        seeds: their number, at least 1, or the seeds themselves, as for :func:`fnopt.sweep`.
        batch_size: examples of a step, at least 1; None for all.
        validation_data: data in memory, evaluated after each epoch; None evaluates nothing.
        monitor: the metric by which runs are judged, such as ``"val_accuracy"``; None for
            ``"val_loss"``, or for ``"loss"`` without validation data.
        monitor_mode: ``"min"`` or ``"max"``, its better direction; None asks the metric itself.
        same_order: whether all runs see the examples in the order of the first seed; otherwise
            each run has that of its own seed.
        precision: the precision of the steps, as for :func:`fnopt.sweep`.
        memory: memory to take on each device, in bytes or as ``"8GiB"``; None for most of what is
            there. The population must fit into it at once.
        mesh: devices over which the runs are spread; None for one.
        progress: whether to show a bar, where there is a terminal or a notebook.

    Returns:
        The sweep, the lineage of each run, its hyperparameters over time, and the best state. After
        Ctrl-C or SIGTERM all runs end with their epoch; a second signal ends the process.

    Raises:
        KeyboardInterrupt: it was interrupted before the first epoch.
        TypeError: an argument is something else, or data are no arrays in memory.
        ValueError: there are fewer than two runs, or optimizers of several structures; there is no
            hyperparameter of a name; a number is out of its range; the memory is too small.

    References:
        Jaderberg et al., *Population based training of neural networks*, 2017, arXiv:1711.09846,
        algorithm 1.

    >>> import numpy as np, fnopt
    >>> from fnopt.sweeps import grid, log_space, population_based_training
    >>> from fnopt.train import objective
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
    >>> task = objective(lambda params, x: params * x, "squared_error", params=np.float32(0))
    >>> rates = grid(fnopt.sgd, learning_rate=log_space(1e-4, 1e-2, 5))
    >>> result = population_based_training(
    ...     task, rates, (x, 3 * x), hyperparameters={"learning_rate": (1e-5, 1.0)}, epochs=4
    ... )
    >>> result.exploits.tolist(), result.hyperparameters["learning_rate"].shape
    ([1, 2, 3], (4, 5))
    >>> int(result.lineage()[0])  # the best run came from the one with the highest learning rate
    4
    """
    began = time.perf_counter()
    entrants = as_entrants(optimizers)
    _check_structure(entrants)
    every = positive_integer("population_based_training: every", every)
    training, monitor, mode = prepare(
        objective, entrants, data, seeds=seeds, epochs=epochs, batch_size=batch_size,
        validation_data=validation_data, monitor=monitor, monitor_mode=monitor_mode,
        same_order=same_order, mesh=mesh, precision=precision,
    )  # fmt: skip
    step = Step(_ranges(hyperparameters), mode, share, tuple(np.ravel(factors).tolist()))
    number, key = len(training.entrants), typed_key(key)
    _check(step, training, key)
    best, log = Keeper(monitor, mode, "none"), Log(training, range(number))
    with SweepProgress(progress, number, training.epochs, monitor) as bar, interrupts() as received:
        bar.doing("compiling")
        chunk, program = at_once(training, limit_of(memory, mesh), bar.say)

        def on_epoch(epoch: int, metrics: dict[str, np.ndarray]) -> None:
            best.see(metrics)
            bar.epoch(epoch, number, best.value)

        if received:
            raise KeyboardInterrupt
        runs, exploits, sources, used = training.begin(chunk), [], [], []
        for begin in range(0, training.epochs, every):
            end = min(begin + every, training.epochs)
            numbers, places = jax.device_get(_used(runs, step, number)), np.arange(number)
            runs = run_epochs(
                log, runs, places, program, range(begin, end), on_epoch, lambda: received
            )
            done = int(log.epochs[0])
            used += [numbers] * (done - begin)
            scores = log.columns[monitor][done - 1]
            if received or end == training.epochs or not np.isfinite(scores).any():
                break
            drawn = jax.random.fold_in(key, end)
            runs, source = _between(drawn, runs, jnp.asarray(scores, jnp.float32), step)
            runs = runs if training.sharding is None else jax.device_put(runs, training.sharding)
            exploits.append(end)
            sources.append(np.asarray(source))
        bar.chunk(number)
    if len(used) < training.epochs:
        log.stopped[log.going] = len(used)
    sweep = Sweep(
        runs=tuple(log.record(place) for place in range(number)),
        monitor=monitor,
        mode=mode,
        programs=1,
        seconds=time.perf_counter() - began,
        states={},
        interrupted=bool(received),
    )
    rest = training.epochs - len(used)
    result = PopulationResult(
        sweep,
        np.array(exploits, int),
        np.array(sources, int).reshape(-1, number),
        {
            name: np.stack([epoch[name] for epoch in used] + rest * [x * np.nan])
            for name, x in used[0].items()
        },
    )
    if np.isfinite(log.columns[monitor][len(used) - 1]).any():
        chosen = result.best_run().number
        sweep.states[chosen] = final_state(training, runs.states, chosen)
    return result


class Step(NamedTuple):
    """What is fixed in the step between two epochs, as :func:`exploit_and_explore` has it."""

    hyperparameters: tuple[tuple[str, tuple[float, float]], ...]
    mode: str
    share: float
    factors: tuple[float, ...]


@functools.partial(jax.jit, static_argnums=3)
def _between(key: jax.Array, runs: Runs, scores: jax.Array, step: Step) -> tuple[Runs, jax.Array]:
    """The runs after the step between two epochs, and where each came from.

    Args:
        key: a PRNG key.
        runs: the runs; those that only fill their program are behind the others.
        scores: the metric of each that fills no more than that.
        step: what is fixed.
    """
    number, packed = len(scores), runs.states.is_packed
    own: Any = jax.tree.map(lambda x: x[:number], runs)
    states, sources = exploit_and_explore(
        key,
        jax.vmap(TrainState.unpacked)(own.states),
        scores,
        dict(step.hyperparameters),
        mode=step.mode,
        share=step.share,
        factors=step.factors,
    )
    copied = sources != jnp.arange(number)
    own = Runs(
        jax.vmap(TrainState.packed)(states) if packed else states,
        jnp.where(copied, own.going[sources], own.going),
        jnp.where(copied, -1, own.diverged),
        own.order,
    )
    return jax.tree.map(lambda x, all_: jnp.concatenate([x, all_[number:]]), own, runs), sources


@functools.partial(jax.jit, static_argnums=(1, 2))
def _used(runs: Runs, step: Step, number: int) -> dict[str, jax.Array]:
    """The hyperparameters of the first so many runs, by name."""
    own: Any = jax.tree.map(lambda x: x[:number], runs.states)
    states = jax.vmap(TrainState.unpacked)(own)
    names = [name for name, _ in step.hyperparameters]
    return functools.reduce(operator.or_, (numbers_of(states, name) for name in names))


def _ranges(hyperparameters: Any) -> tuple[tuple[str, tuple[float, float]], ...]:
    if not isinstance(hyperparameters, Mapping) or not hyperparameters:
        raise TypeError(
            "population_based_training: hyperparameters must be a dict from names to their lowest"
            ' and highest value, such as {"learning_rate": (1e-5, 1.0)}, got'
            f" {brief(hyperparameters, 40)}"
        )
    return tuple((name, bounds_of(name, bounds)) for name, bounds in hyperparameters.items())


def _check(step: Step, training: Training, key: jax.Array) -> None:
    """Refuses what the step between two epochs cannot do, before the first of them."""
    number = len(training.entrants)
    if number < 2:
        raise ValueError(
            "population_based_training: there is 1 run, and a population has 2 at least; give more"
            " optimizers or seeds"
        )

    def wider(x: Any) -> Any:
        return jax.ShapeDtypeStruct((number, *x.shape[1:]), x.dtype)

    runs = jax.tree.map(wider, jax.eval_shape(lambda: training.begin_one(0)))
    scores = jax.ShapeDtypeStruct((number,), jnp.float32)
    jax.eval_shape(functools.partial(_between, step=step), key, runs, scores)


def _check_structure(entrants: Sequence[Entrant]) -> None:
    groups = groups_of(entrant.tx for entrant in entrants)
    if len(groups) > 1:
        one, other = (brief(entrants[group[0]].tx, 60) for group in groups[:2])
        raise ValueError(
            f"population_based_training: optimizers are of {len(groups)} structures, such as {one}"
            f" and {other}; a run takes over the whole state of another, so that all must differ in"
            " numbers alone"
        )
