"""The sets of data that a run is evaluated on, by the names that precede their metrics."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax

from fnopt.core.warn import warn_deprecated
from fnopt.train.data_argument import check_data
from fnopt.train.evaluate import check_evaluation_labels, evaluate_batches
from fnopt.train.evaluation_data import EvaluationData, evaluation_data
from fnopt.train.fit_options import EvaluationOptions
from fnopt.train.objective import Objective
from fnopt.train.state import TrainState
from fnopt.train.summaries import NO_METRICS

VALIDATION, TEST = "val", "test"
_ARGUMENTS = {VALIDATION: "validation_data", TEST: "test_data"}
_RESERVED = (VALIDATION, TEST, "train")


def named_sets(validation_data: Any, options: EvaluationOptions) -> dict[str, Any]:
    """The data of all evaluations by name, those that the watched metric is of first.

    Args:
        validation_data: the set ``"val"``; None for none.
        options: has the further sets, and the former ``test_data``.

    Raises:
        TypeError: ``evaluation_sets`` is no dict of data by name.
        ValueError: a set is given twice, or a name is taken or no identifier.
    """
    sets = {} if validation_data is None else {VALIDATION: validation_data}
    if options.test_data is not None:
        if sets:
            raise ValueError(
                "fit: test_data is the former name of validation_data; give one of the two, or"
                " evaluation_sets={'name': data} for further sets"
            )
        warn_deprecated(
            "fit: test_data= is now validation_data=, whose metrics are recorded as val_loss"
            " instead of test_loss; test_data will be removed in the next version"
        )
        sets[TEST] = options.test_data
    return sets | _further_sets(options.evaluation_sets)


def _further_sets(sets: Any) -> dict[str, Any]:
    if sets is None:
        return {}
    if not isinstance(sets, Mapping):
        raise TypeError(
            "fit: evaluation_sets must be a dict of data by name, such as {'noisy': data}, got"
            f" {type(sets).__name__}"
        )
    for name, data in sets.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                f"fit: the name {name!r} in evaluation_sets must be an identifier such as 'noisy';"
                " its metrics are recorded as noisy_loss"
            )
        if name in _RESERVED:
            raise ValueError(
                f"fit: the name {name!r} in evaluation_sets is reserved; take another, such as"
                " 'held_out'" + ", or give validation_data=" * (name == VALIDATION)
            )
        if data is None:
            raise TypeError(f"fit: evaluation_sets[{name!r}] is None; leave it out, or give data")
    return dict(sets)


def prepared_sets(
    objective: Objective, state: TrainState, sets: dict[str, Any], batch_size: int | None
) -> tuple[dict[str, EvaluationData], list[str]]:
    """The sets prepared for evaluation by name, and the names of their metrics in the history.

    Args:
        objective: the objective to minimize.
        state: the state with which the run begins.
        sets: data by name.
        batch_size: examples at a time, for arrays; None for all of them.

    Raises:
        ValueError: two metrics would be recorded under one name, or what
            :func:`~fnopt.train.evaluation_data.evaluation_data` raises.
    """
    prepared: dict[str, EvaluationData] = {}
    names: list[str] = []
    evaluated = functools.partial(evaluate_batches, objective)
    for name, data in sets.items():
        argument = _ARGUMENTS.get(name, f"evaluation_sets[{name!r}]")
        check_data("fit", data, argument)
        prepared[name] = evaluation_data(data, batch_size, "fit", argument)
        example = prepared[name].example()
        with _of(argument):
            check_evaluation_labels(objective, state, prepared[name], name=argument)
            metrics = jax.eval_shape(evaluated, state.params, state.model_state, *example)
        _check_names(name, metrics, names)
        names += [f"{name}_{metric}" for metric in metrics]
    return prepared, names


@contextlib.contextmanager
def _of(argument: str) -> Iterator[None]:
    """Says in an error of the model which data it evaluated."""
    try:
        yield
    except Exception as error:
        if argument not in f"{error}":
            error.add_note(f"This was an evaluation of {argument}.")
        raise


def _check_names(name: str, metrics: Iterable[str], others: list[str]) -> None:
    """Refuses a set whose metrics could not be distinguished from others in the history."""
    recorded = {"loss", *NO_METRICS, *metrics, *others}
    if name in recorded:
        raise ValueError(
            f"fit: the name {name!r} in evaluation_sets is that of a metric; take another, such as"
            " 'held_out'"
        )
    for metric in metrics:
        if (full := f"{name}_{metric}") in recorded:
            raise ValueError(
                f"fit: evaluation of the set {name!r} would record {full!r}, the name of another"
                " metric; rename the set or the metric"
            )
