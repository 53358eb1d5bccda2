"""Optuna's trials: one after the other with pruning, or many as one sweep."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from fnopt.core.checks import brief, positive_integer
from fnopt.core.stacking import structure_of
from fnopt.sweeps.arguments import sweep_entry
from fnopt.sweeps.chunks import at_once
from fnopt.sweeps.data import Entrant, RunRecord, Sweep
from fnopt.sweeps.distributions import Distribution, choice, log_uniform, uniform
from fnopt.sweeps.grid import check_draws, entrant_of
from fnopt.sweeps.measure import Measure, quantile
from fnopt.sweeps.memory import limit_of
from fnopt.sweeps.prepare import prepare
from fnopt.sweeps.run import Log, run_epochs
from fnopt.sweeps.sweep import sweep
from fnopt.train.fit_options import EvaluationOptions
from fnopt.train.objective import Objective

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
    optuna = _optuna("optuna_objective")
    drawn = _checked("optuna_objective", make, hyperparameters)

    def prepared(entrant: Entrant) -> Any:
        return prepare(
            objective, [entrant], data, seeds=seeds, epochs=epochs, batch_size=batch_size,
            validation_data=validation_data, same_order=same_order, mesh=None,
            options=EvaluationOptions(monitor=monitor, monitor_mode=monitor_mode),
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
        _check_direction("optuna_objective", getattr(trial, "study", None), watched, mode)
        log = Log(training, range(number))
        chunk, program = at_once(training, limit_of(None, None), lambda words: None)

        def on_epoch(epoch: int, metrics: dict[str, np.ndarray]) -> None:
            value = _median(metrics[watched], mode)
            if math.isfinite(value):
                trial.report(value, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned(f"pruned after epoch {epoch} of {training.epochs}")

        epochs = range(training.epochs)
        run_epochs(log, training.begin(chunk), np.arange(number), program, epochs, on_epoch)
        records = [log.record(place) for place in range(number)]
        value = _score(records, watched, mode)
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
    diverge is told as pruned. If the sweep raises, its trials are told as failed.

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
    optuna = _optuna("optuna_sweep")
    if not isinstance(study, optuna.Study):
        raise TypeError(
            "optuna_sweep: study must be a study, optuna.create_study(direction='minimize'), got"
            f" {brief(study, 40)} ({type(study).__name__})"
        )
    n, drawn = (
        positive_integer("optuna_sweep: n", n),
        _checked("optuna_sweep", make, hyperparameters),
    )
    # Before anything is asked, so that a mistake leaves no trials in the study.
    _, monitor, mode = prepare(
        objective, [_middle("optuna_sweep", make, drawn)], data, epochs=epochs,
        seeds=options.get("seeds", 1), batch_size=options.get("batch_size", 32),
        validation_data=options.get("validation_data"), same_order=True, mesh=None,
        options=EvaluationOptions(
            monitor=options.get("monitor"), monitor_mode=options.get("monitor_mode")
        ),
    )  # fmt: skip
    _check_direction("optuna_sweep", study, monitor, mode)
    trials = [study.ask() for _ in range(n)]
    states = optuna.trial.TrialState
    try:
        entrants = [_suggested("optuna_sweep", trial, make, drawn) for trial in trials]
        result = sweep(objective, entrants, data, epochs=epochs, **options)
    except BaseException:
        for trial in trials:
            study.tell(trial, state=states.FAIL)
        raise
    seeds = len(result.runs) // n
    for place, trial in enumerate(trials):
        records = result.runs[place * seeds : (place + 1) * seeds]
        curves = np.stack([record.curves[result.monitor] for record in records], axis=1)
        for epoch, values in zip(records[0].epochs.tolist(), curves, strict=True):
            if math.isfinite(value := _median(values, result.mode)):
                trial.report(value, epoch)
        value = _score(records, result.monitor, result.mode)
        if math.isfinite(value):
            study.tell(trial, value)
        else:
            study.tell(trial, state=states.PRUNED)
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
    values = {name: _suggest(trial, name, value) for name, value in drawn.items()}
    return entrant_of(caller, make, values)


def _suggest(trial: Any, name: str, value: Any) -> Any:
    if isinstance(value, uniform):
        log = isinstance(value, log_uniform)
        return trial.suggest_float(name, value.low, value.high, log=log)
    if isinstance(value, choice):
        values = value.values
        if not all(x is None or isinstance(x, (bool, int, float, str)) for x in values):
            # Optuna stores nothing else, such as schedules: these go by their texts.
            # A function by its name, since its text is another in the next process.
            texts = [getattr(x, "__qualname__", None) or repr(x) for x in values]
            if len(set(texts)) < len(texts):
                texts = [f"{i}: {text}" for i, text in enumerate(texts)]
            return values[texts.index(trial.suggest_categorical(name, texts))]
        return trial.suggest_categorical(name, values)
    return value


def _median(values: Any, mode: str) -> float:
    """The median of a metric over seeds; a seed that diverged is the worst there is."""
    worst = math.inf if mode == "min" else -math.inf
    return quantile([x if math.isfinite(x) else worst for x in np.asarray(values).tolist()], 0.5)


def _score(records: Sequence[RunRecord], monitor: str, mode: str) -> float:
    return quantile(map(Measure(monitor, mode, "best").score, records), 0.5)


def _check_direction(caller: str, study: Any, monitor: str, mode: str) -> None:
    """Refuses a study of another direction; trials of none, such as fixed ones, have no study."""
    if study is None:
        return
    names = [direction.name.lower() for direction in study.directions]
    if names != [f"{mode}imize"]:
        better = "smaller" if mode == "min" else "larger"
        raise ValueError(
            f"{caller}: {monitor} is better the {better} it is, and the direction of the study is"
            f" {' and '.join(names)}; optuna.create_study(direction='{mode}imize') fits it"
        )


def _optuna(caller: str) -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ImportError(f"{caller} needs Optuna: pip install 'fnopt[optuna]'") from error
    return optuna
