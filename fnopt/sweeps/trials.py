"""Optuna's trials: one after the other with pruning, or many as one sweep."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from fnopt.core.checks import brief, positive_integer
from fnopt.core.stacking import structure_of
from fnopt.sweeps.arguments import sweep_entry
from fnopt.sweeps.chunks import at_once
from fnopt.sweeps.data import Entrant, Sweep
from fnopt.sweeps.distributions import Distribution
from fnopt.sweeps.grid import check_draws, entrant_of
from fnopt.sweeps.memory import limit_of
from fnopt.sweeps.prepare import prepare
from fnopt.sweeps.run import Log, run_epochs
from fnopt.sweeps.studies import (
    asked,
    check_direction,
    imported_optuna,
    median,
    score,
    suggest,
    tell,
)
from fnopt.sweeps.sweep import sweep
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision

OF_THE_SWEEP = {"memory", "folder", "resume", "progress", "keep"}
"""The arguments of a sweep that say nothing of its runs."""
_ARGUMENTS = "hyperparameters={name: distribution}, epochs=…)"


@sweep_entry("optuna_objective", f"optuna_objective(objective, make, data, {_ARGUMENTS}")
def optuna_objective(
    objective: Objective | Callable[[int], Objective],
    make: Callable[..., Any],
    data: Any,
    *,
    hyperparameters: Mapping[str, Any],
    epochs: int,
    seeds: Any = 1,
    batch_size: int | None = 32,
    validation_data: Any = None,
    monitor: str | None = None,
    monitor_mode: Literal["min", "max"] | None = None,
    same_order: bool = False,
    precision: Precision | str | None = None,
) -> Callable[[Any], float]:
    """A function of a trial for ``study.optimize``, which trains with suggested hyperparameters.

    A trial trains with all seeds at once. After each epoch it reports the median over the seeds,
    and ends where ``trial.should_prune()`` says so. A trial of which most seeds diverge is pruned
    as well, since a failed one would tell the sampler nothing. All trials of one structure are one
    compiled program. Many trials at once, without pruning, is :func:`optuna_sweep`, which is
    faster.

    Args:
        objective: as for :func:`fnopt.sweep`.
        make: what returns an optimizer, such as :class:`fnopt.adamw` or a function of your own.
        data: the training data in memory, as for :func:`fnopt.sweep`.
        hyperparameters: arguments of ``make`` by name: a distribution to suggest from, such as
            ``log_uniform(1e-5, 1)``, ``uniform(0.8, 1)`` or ``choice("cosine", "constant")``; or
            one value for all trials.
        epochs: number of passes over the data, at least 1.
        seeds: their number, at least 1, or the seeds themselves, as for :func:`fnopt.sweep`.
        batch_size: examples of a step, at least 1; None for all.
        validation_data: data in memory, evaluated after each epoch; None evaluates nothing.
        monitor: the metric that is reported, such as ``"val_accuracy"``; None for ``"val_loss"``,
            or for ``"loss"`` without validation data.
        monitor_mode: ``"min"`` or ``"max"``, its better direction; None asks the metric itself.
        same_order: whether all seeds see the examples in the order of the first.
        precision: the precision of the steps, as for :func:`fnopt.sweep`.

    Returns:
        A function of a trial that returns the median over the seeds of each one's best value, as
        :meth:`Sweep.best` judges. It raises ``optuna.TrialPruned``; and ``ValueError`` where the
        study has another direction than the metric.

    Raises:
        ImportError: optuna is not installed.
        TypeError: an argument is something else, or ``make`` has no argument of a name.
        ValueError: no hyperparameter has a distribution, or a number is out of its range.

    References:
        Akiba, Sano, Yanase, Ohta & Koyama, *Optuna: a next-generation hyperparameter optimization
        framework*, KDD 2019, arXiv:1907.10902.

    >>> import numpy as np, fnopt
    >>> from fnopt.sweeps import log_uniform, optuna_objective
    >>> from fnopt.train import objective
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
    >>> task = objective(lambda params, x: params * x, "squared_error", params=np.float32(0))
    >>> ranges = {"learning_rate": log_uniform(1e-4, 1.0)}
    >>> def search(trials):
    ...     import optuna
    ...     study = optuna.create_study()
    ...     trial = optuna_objective(task, fnopt.sgd, (x, 3 * x), hyperparameters=ranges, epochs=5)
    ...     study.optimize(trial, n_trials=trials)
    ...     return study.best_params
    """
    optuna = imported_optuna("optuna_objective")
    drawn = _checked("optuna_objective", make, hyperparameters)

    def prepared(entrant: Entrant) -> Any:
        return prepare(
            objective, [entrant], data, seeds=seeds, epochs=epochs, batch_size=batch_size,
            validation_data=validation_data, monitor=monitor, monitor_mode=monitor_mode,
            same_order=same_order, mesh=None, precision=precision,
        )  # fmt: skip

    # Before the first trial, so that a mistake is found here.
    usual = prepared(_middle("optuna_objective", make, drawn))

    @sweep_entry("optuna_objective", "it with a trial of optuna")
    def run_trial(trial: Any) -> float:
        entrant = _suggested("optuna_objective", trial, make, drawn)
        training, watched, mode = usual
        if structure_of(entrant.tx) != structure_of(training.entrants[0].tx):
            training, watched, mode = prepared(entrant)
        number = len(training.seeds)
        training = dataclasses.replace(training, entrants=(entrant,) * number)
        check_direction("optuna_objective", getattr(trial, "study", None), watched, mode)
        log = Log(training, range(number))
        chunk, program = at_once(training, limit_of(None, None), lambda words: None)

        def on_epoch(epoch: int, metrics: dict[str, np.ndarray]) -> None:
            value = median(metrics[watched], mode)
            if math.isfinite(value):
                trial.report(value, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned(f"pruned after epoch {epoch} of {training.epochs}")

        epochs = range(training.epochs)
        run_epochs(log, training.begin(chunk), np.arange(number), program, epochs, on_epoch)
        records = [log.record(place) for place in range(number)]
        value = score(records, watched, mode)
        if not math.isfinite(value):
            raise optuna.TrialPruned(f"diverged at step {records[0].diverged_at}")
        return value

    return run_trial


@sweep_entry("optuna_sweep", f"optuna_sweep(study, objective, make, data, n=…, {_ARGUMENTS}")
def optuna_sweep(
    study: Any,
    objective: Objective | Callable[[int], Objective],
    make: Callable[..., Any],
    data: Any,
    *,
    n: int,
    hyperparameters: Mapping[str, Any],
    epochs: int,
    **options: Any,
) -> Sweep:
    """Asks a study for many trials, trains them as one sweep, and tells it what came of them.

    Call it again for further ones, whose suggestions go by all before. A trial of which most seeds
    diverge is told as pruned. After Ctrl-C or SIGTERM those trials are told as failed of which a
    run is missing or not whole; if the sweep raises, all are.

    Args:
        study: the study, of ``optuna.create_study``. A sampler that suggests many trials before it
            knows the first should know so: ``TPESampler(constant_liar=True)``.
        objective: as for :func:`fnopt.sweep`.
        make: what returns an optimizer, such as :class:`fnopt.adamw` or a function of your own.
        data: the training data in memory, as for :func:`fnopt.sweep`.
        n: number of trials, at least 1.
        hyperparameters: arguments of ``make`` by name, as for :func:`optuna_objective`.
        epochs: number of passes over the data, at least 1.
        **options: further arguments of :func:`fnopt.sweep`, such as ``seeds``,
            ``validation_data`` and ``memory``.

    Returns:
        The sweep; its entrants are in the order of the trials.

    Raises:
        ImportError: optuna is not installed.
        TypeError: an argument is something else, or ``make`` has no argument of a name.
        ValueError: no hyperparameter has a distribution, the study has another direction than the
            metric, or a number is out of its range.
    """
    optuna = imported_optuna("optuna_sweep")
    if not isinstance(study, optuna.Study):
        raise TypeError(
            "optuna_sweep: study must be a study, optuna.create_study(direction='minimize'), got"
            f" {brief(study, 40)} ({type(study).__name__})"
        )
    n = positive_integer("optuna_sweep: n", n)
    drawn = _checked("optuna_sweep", make, hyperparameters)
    of_runs = {name: x for name, x in options.items() if name not in OF_THE_SWEEP}
    # Before anything is asked, so that a mistake leaves no trials in the study.
    training, monitor, mode = prepare(
        objective, [_middle("optuna_sweep", make, drawn)], data, epochs=epochs, **of_runs
    )
    check_direction("optuna_sweep", study, monitor, mode)
    with asked(study, n) as trials:
        entrants = [_suggested("optuna_sweep", trial, make, drawn) for trial in trials]
        result = sweep(objective, entrants, data, epochs=epochs, **options)
        tell(study, trials, result, len(training.seeds), training.epochs)
    return result


def _checked(caller: str, make: Any, hyperparameters: Any) -> dict[str, Any]:
    if not isinstance(hyperparameters, Mapping):
        raise TypeError(
            f"{caller}: hyperparameters must be a dict from names to distributions, such as"
            f' {{"learning_rate": log_uniform(1e-5, 1)}}, got {brief(hyperparameters, 40)}'
        )
    return check_draws(caller, make, hyperparameters)


def _middle(caller: str, make: Any, drawn: Mapping[str, Any]) -> Entrant:
    """The entrant in the middle of each distribution."""
    values = {n: x.at(0.5) if isinstance(x, Distribution) else x for n, x in drawn.items()}
    return entrant_of(caller, make, values)


def _suggested(caller: str, trial: Any, make: Any, drawn: Mapping[str, Any]) -> Entrant:
    """The entrant of a trial."""
    values = {name: suggest(trial, name, value) for name, value in drawn.items()}
    return entrant_of(caller, make, values)
