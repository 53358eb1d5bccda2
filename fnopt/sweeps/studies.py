"""What goes between a study of Optuna and runs: suggestions, and values that are told."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fnopt.core.quantile import quantile
from fnopt.sweeps.data import RunRecord, Sweep
from fnopt.sweeps.distributions import choice, integers, log_uniform, uniform
from fnopt.sweeps.measure import Measure


@contextlib.contextmanager
def asked(study: Any, n: int) -> Iterator[list[Any]]:
    """Trials of a study; those that are not told by the end, whatever happens, have failed.

    Args:
        study: the study.
        n: their number.
    """
    failed = imported_optuna("optuna_sweep").trial.TrialState.FAIL
    trials = []
    with contextlib.ExitStack() as stack:  # all are told, even where telling one raises
        for _ in range(n):
            trials.append(study.ask())
            stack.callback(study.tell, trials[-1], state=failed, skip_if_finished=True)
        yield trials


def tell(study: Any, trials: Sequence[Any], result: Sweep, seeds: int, epochs: int) -> None:
    """Tells a study the values of those trials of which all runs are whole.

    Args:
        study: the study.
        trials: its trials, in the order of the entrants.
        result: the runs of them, perhaps interrupted.
        seeds: number of runs of a trial.
        epochs: number of epochs of a run that is whole.
    """
    pruned = imported_optuna("optuna_sweep").trial.TrialState.PRUNED
    of_trial: list[list[RunRecord]] = [[] for _ in trials]
    for record in result.runs:
        of_trial[record.number // seeds].append(record)
    for trial, records in zip(trials, of_trial, strict=True):
        if len(records) < seeds or not all(_is_whole(record, epochs) for record in records):
            continue
        curves = np.stack([record.curves[result.monitor] for record in records], axis=1)
        for epoch, values in zip(records[0].epochs.tolist(), curves, strict=True):
            if math.isfinite(value := median(values, result.mode)):
                trial.report(value, epoch)
        value = score(records, result.monitor, result.mode)
        if math.isfinite(value):
            study.tell(trial, value)
        else:
            study.tell(trial, state=pruned)


def _is_whole(run: RunRecord, epochs: int) -> bool:
    """Whether a run came to its end, which may be that of early stopping or divergence."""
    ended = run.diverged or run.stopped_at is not None
    return ended or len(run.epochs) == epochs


def suggest(trial: Any, name: str, value: Any) -> Any:
    """The value of a hyperparameter in a trial.

    Args:
        trial: the trial.
        name: the name of the hyperparameter.
        value: its distribution, or one value for all trials.
    """
    if isinstance(value, integers):
        return trial.suggest_int(name, value.low, value.high)
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


def median(values: Any, mode: str) -> float:
    """The median of a metric over seeds; a seed that diverged is the worst there is."""
    worst = math.inf if mode == "min" else -math.inf
    return quantile([x if math.isfinite(x) else worst for x in np.asarray(values).tolist()], 0.5)


def score(records: Sequence[RunRecord], monitor: str, mode: str) -> float:
    """The median over seeds of each one's best value; one that diverged is the worst there is."""
    return quantile(map(Measure(monitor, mode, "best").score, records), 0.5)


def check_direction(caller: str, study: Any, monitor: str, mode: str) -> None:
    """Refuses a study of another direction; trials of none, such as fixed ones, have no study.

    Raises:
        ValueError: it has another direction.
    """
    if study is None:
        return
    names = [direction.name.lower() for direction in study.directions]
    if names != [f"{mode}imize"]:
        better = "smaller" if mode == "min" else "larger"
        raise ValueError(
            f"{caller}: {monitor} is better the {better} it is, and the direction of the study is"
            f" {' and '.join(names)}; optuna.create_study(direction='{mode}imize') fits it"
        )


def imported_optuna(caller: str) -> Any:
    """The package optuna.

    Args:
        caller: the public function, for the error.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(f"{caller} needs Optuna: pip install 'fnopt[optuna]'") from error
    return optuna
