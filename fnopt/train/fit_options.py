"""The options of a run in four groups: defaults, documentation and checks of each argument.

A dataclass holds a group; a ``TypedDict`` of the same names lets type checkers and editors see the
options as keyword arguments of :func:`~fnopt.train.fit`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from fnopt.core.checks import integer, positive_integer
from fnopt.train.callbacks import Callback, Callbacks, OnEpochs, OnSteps, make_callbacks
from fnopt.train.foreign_options import cure
from fnopt.train.kinds import description
from fnopt.train.logs import Paths, log_paths
from fnopt.train.options import StepOptions
from fnopt.train.precision import Precision
from fnopt.train.stopping import early_stopping as EarlyStopping


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """How a run is evaluated, and how it acts on the results.

    Args:
        validation_split: share of ``data``, arrays in memory, to hold out and take as
            ``validation_data``, in (0, 1): ``fnopt.data.split(data, share, key=0)``, the same
            examples for every ``key`` and after a ``resume``. Weights and augmentation of an
            ``Arrays`` stay with the rest. None holds out nothing.
        evaluation_sets: further data to evaluate, a dict by name: the metrics of ``"noisy"`` are
            recorded as ``noisy_loss``. Kinds of data are those of ``validation_data``. None for
            none.
        test_data: the former name of ``validation_data``, with the prefix ``test_``; deprecated.
        monitor: name of the watched metric, as the history has it, such as ``"val_accuracy"``:
            ``tx`` receives it as ``metric``, early stopping decides by it, and the best checkpoint
            is the best in it. None is ``"val_loss"``, without validation data the loss of the first
            of ``evaluation_sets``.
        monitor_mode: whether the smallest (``"min"``) or the largest value (``"max"``) of that
            metric is the best; None asks the metric, see :func:`fnopt.train.maximized`.
        eval_batch_size: examples at a time in an evaluation of arrays in memory; None for all.
        eval_every: steps between two evaluations; None evaluates after each epoch.
        early_stopping: ends the run when the watched metric no longer improves; it becomes part of
            the state. None for none.

    Raises:
        TypeError: a number is no integer, or ``early_stopping`` is something else.
        ValueError: a number is below 1, or ``monitor_mode`` is something else.
    """

    validation_split: float | None = None
    evaluation_sets: Mapping[str, Any] | None = None
    test_data: Any = None
    monitor: str | None = None
    monitor_mode: Literal["min", "max"] | None = None
    eval_batch_size: int | None = 1024
    eval_every: int | None = None
    early_stopping: EarlyStopping | None = None

    def __post_init__(self) -> None:
        _check_numbers(self, "eval_batch_size", "eval_every")
        if self.monitor_mode not in (None, "min", "max"):
            raise ValueError(
                f"fit: monitor_mode must be 'min', 'max' or None, got {self.monitor_mode!r}"
            )
        if not isinstance(self.early_stopping, (EarlyStopping, type(None))):
            raise TypeError(
                "fit: early_stopping must be fnopt.train.early_stopping(…), got"
                f" {description(self.early_stopping)}; give, say,"
                " early_stopping=early_stopping(patience=5)"
            )


@dataclasses.dataclass(frozen=True)
class CheckpointOptions:
    """Where and when a run writes checkpoints, and whether it resumes from them.

    Args:
        checkpoint_dir: folder where checkpoints are written, created if missing; None for none.
        checkpoint_every: steps between two checkpoints, ``"epoch"`` after each epoch, None at the
            end alone. There is one at the end in any case, after an interrupt, and after an error.
        keep: number of the last checkpoints to keep, at least 1.
        keep_best: number of checkpoints of the best evaluations to keep besides the last ones.
        resume: whether to continue from the newest good checkpoint there; without one the run
            begins. The checkpoint's numbers win over those of ``tx`` and ``early_stopping``, and
            what differs is logged; ``"override"`` takes the code's. A run of other epochs, or of
            epochs of other steps, takes the schedules of ``tx``, which have its length.

    Raises:
        TypeError: a number is no integer.
        ValueError: an option is out of its range, or ``resume`` has no ``checkpoint_dir``.
    """

    checkpoint_dir: str | os.PathLike | None = None
    checkpoint_every: int | Literal["epoch"] | None = "epoch"
    keep: int = 3
    keep_best: int = 1
    resume: bool | Literal["override"] = False

    def __post_init__(self) -> None:
        if isinstance(self.checkpoint_every, str) and self.checkpoint_every != "epoch":
            raise ValueError(
                "fit: checkpoint_every must be a number of steps, 'epoch' or None, got"
                f" {self.checkpoint_every!r}"
            )
        if self.checkpoint_every != "epoch":
            _check_numbers(self, "checkpoint_every")
        object.__setattr__(self, "keep", positive_integer("fit: keep", self.keep))
        integer("fit: keep_best", self.keep_best, least=0)
        if self.resume not in (False, True, "override"):
            raise ValueError(f"fit: resume must be True, False or 'override', got {self.resume!r}")
        if self.resume and self.checkpoint_dir is None:
            raise ValueError("fit: resume needs checkpoint_dir=, where to go on from")


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """The reports of a run: where they go, and how often.

    Args:
        steps_per_call: steps between two looks at the run; None finds a number that takes about a
            quarter of a second. The result does not depend on it.
        log: path of a file to which each record is written at once: as a readable line where it
            ends in ``.txt`` or ``.log``, otherwise as a line of JSON; or a list of paths. None for
            none.
        tensorboard: path of a folder where each record is written for TensorBoard; None for none.
        progress: whether to show, on the error stream, a line for each epoch and, where that is a
            terminal (or in a notebook), a bar. False shows nothing; None leaves about one line a
            second in a run of more than 100 epochs.
        on_epoch: called with the state and the record after each epoch; returning True stops the
            run. The state is valid during the call: the next step takes over its buffers. A
            function or a list of functions.
        on_step: called after each call of the loop with the number of steps so far and the metrics
            of the steps of the call, arrays by name. A function or a list of functions. An
            exception that a callback raises gets the run's ``state`` and ``history`` as attributes.
        callbacks: objects whose methods ``on_epoch(state, record)`` and ``on_step(step, metrics)``,
            if they have them, are called after those functions; a list, or one object. One with a
            method ``on_state(state)`` and a number ``every`` is called before the first step,
            after each ``every`` steps, at which calls of the loop end, and at the end of the run.
            It must copy what it keeps of a state: the next step takes over the buffers.
        step_history: whether ``history.steps`` keeps the metrics of every step, over the whole run
            and in its checkpoints: 4 bytes for each metric of a step. Otherwise it is empty.

    Raises:
        TypeError: ``steps_per_call`` is no integer, or something is no path or no callback.
        ValueError: ``steps_per_call`` is below 1, or ``log`` has a path twice.
    """

    steps_per_call: int | None = None
    log: Paths | None = None
    tensorboard: str | os.PathLike | None = None
    progress: bool | None = None
    on_epoch: OnEpochs = None
    on_step: OnSteps = None
    callbacks: Callback | Sequence[Callback] | None = None
    step_history: bool = False

    def __post_init__(self) -> None:
        _check_numbers(self, "steps_per_call")
        log_paths(self.log)  # refuses what is no path, before the run begins
        self.make_callbacks()

    def make_callbacks(self) -> Callbacks:
        """The callbacks in the order in which they are called."""
        return make_callbacks(self.on_epoch, self.on_step, self.callbacks)


class StepArguments(TypedDict, total=False):
    """The fields of :class:`StepOptions` that a run leaves to the user."""

    accumulate: int
    accumulator_dtype: Any
    precision: Precision | str | None
    clip_norm: float | None


class EvaluationArguments(TypedDict, total=False):
    """The fields of :class:`EvaluationOptions`."""

    validation_split: float | None
    evaluation_sets: Mapping[str, Any] | None
    test_data: Any
    monitor: str | None
    monitor_mode: Literal["min", "max"] | None
    eval_batch_size: int | None
    eval_every: int | None
    early_stopping: EarlyStopping | None


class CheckpointArguments(TypedDict, total=False):
    """The fields of :class:`CheckpointOptions`."""

    checkpoint_dir: str | os.PathLike | None
    checkpoint_every: int | Literal["epoch"] | None
    keep: int
    keep_best: int
    resume: bool | Literal["override"]


class ReportArguments(TypedDict, total=False):
    """The fields of :class:`ReportOptions`."""

    steps_per_call: int | None
    log: Paths | None
    tensorboard: str | os.PathLike | None
    progress: bool | None
    on_epoch: OnEpochs
    on_step: OnSteps
    callbacks: Callback | Sequence[Callback] | None
    step_history: bool


class FitOptions(
    StepArguments, EvaluationArguments, CheckpointArguments, ReportArguments, total=False
):
    """The optional keyword arguments of :func:`~fnopt.train.fit`, by group."""


GROUPS: dict[type, type] = {
    StepArguments: StepOptions,
    EvaluationArguments: EvaluationOptions,
    CheckpointArguments: CheckpointOptions,
    ReportArguments: ReportOptions,
}
"""The dataclass of each group of arguments."""


def read_options(
    options: Mapping[str, Any], others: tuple[str, ...] = ()
) -> tuple[StepOptions, EvaluationOptions, CheckpointOptions, ReportOptions]:
    """The options of a run, checked, by group.

    Args:
        options: keyword arguments by name.
        others: names of further arguments, to suggest for one that is unknown.

    Raises:
        TypeError: there is no option of this name; the nearest name is suggested.
        TypeError, ValueError: what a group raises.
    """
    known = [name for group in GROUPS for name in group.__annotations__]
    for name in options:
        if name not in known:
            message = f"fit() got an unexpected keyword argument {name!r}"
            raise TypeError(f"{message}; {cure(name, [*known, *others])}")
    step, evaluation, checkpoint, report = (
        kind(**{name: options[name] for name in group.__annotations__ if name in options})
        for group, kind in GROUPS.items()
    )
    return step, evaluation, checkpoint, report


def _check_numbers(options: Any, *names: str) -> None:
    """Makes numbers of a frozen dataclass Python integers of at least 1; None stays."""
    for name in names:
        number = getattr(options, name)
        if number is not None:
            object.__setattr__(options, name, positive_integer(f"fit: {name}", number))
