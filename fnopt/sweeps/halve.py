"""Successive halving and Hyperband: many entrants for few epochs, the best of them for more."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import optax

from fnopt.core.checks import brief
from fnopt.sweeps.arguments import as_entrants, sweep_entry
from fnopt.sweeps.brackets import Bracket, Rung, halving_bracket, hyperband_brackets
from fnopt.sweeps.data import Entrant
from fnopt.sweeps.halving_result import HalvingResult
from fnopt.sweeps.train_brackets import train_brackets
from fnopt.train.objective import Objective
from fnopt.train.precision import Precision


@sweep_entry("successive_halving", "successive_halving(objective, optimizers, data, epochs=…)")
def successive_halving(
    objective: Objective | Callable[[int], Objective],
    optimizers: Any,
    data: Any,
    *,
    epochs: int | Sequence[Rung],
    min_epochs: int = 1,
    eta: int = 3,
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
) -> HalvingResult:
    r"""Trains all optimizers for few epochs, the best of them for more, and so on.

    Of :math:`n` entrants one in :math:`\eta` goes on from rung to rung, from the state that it has,
    with :math:`\eta` times the epochs; see :func:`halving_bracket`. An entrant is an optimizer with
    all of its seeds: it is judged by the median over these of the monitored metric after the last
    epoch of the rung, and goes on with all of them or with none. Optimizers of all structures
    compete. A run that diverged counts as the worst there is and is trained no further; an entrant
    whose median is not finite does not go on.

    A run that comes to the end is the one that :func:`fnopt.sweep` makes. All rungs of a structure
    are one compiled program, of as many places as one of the later rungs has runs: those before go
    one chunk after the other, and those that are left are put together in fewer chunks.

    Args:
        objective: as for :func:`fnopt.sweep`.
        optimizers: the entrants, as for :func:`fnopt.sweep`: what :func:`sample` and :func:`grid`
            return, a list of optimizers, or a dict from labels to them.
        data: the training data in memory, as for :func:`fnopt.sweep`.
        epochs: number of epochs of those that come to the end, at least 1; or the rungs
            themselves, as :func:`budget_bracket` returns them.
        min_epochs: the smallest number of epochs of the first rung, from 1 to ``epochs``; not used
            where the rungs are given.
        eta: the factor :math:`\eta`, an integer of at least 2; not used likewise.
        seeds: their number, at least 1, or the seeds themselves, as for :func:`fnopt.sweep`.
        batch_size: examples of a step, at least 1; None for all.
        validation_data: data in memory, evaluated after each epoch; None evaluates nothing.
        monitor: the metric by which entrants are judged, such as ``"val_accuracy"``; None for
            ``"val_loss"``, or for ``"loss"`` without validation data.
        monitor_mode: ``"min"`` or ``"max"``, its better direction; None asks the metric itself.
        same_order: whether all runs see the examples in the order of the first seed; otherwise
            each run has that of its own seed.
        precision: the precision of the steps, as for :func:`fnopt.sweep`.
        memory: memory to take on each device, in bytes or as ``"8GiB"``; None for most of what is
            there. Runs that it does not hold at once go one chunk after the other.
        mesh: devices over which the runs are spread; None for one.
        progress: whether to show a bar, where there is a terminal or a notebook.

    Returns:
        The sweep, and who went on in each rung. After Ctrl-C or SIGTERM the runs under way end with
        their epoch, the rung with those that began it, and no other follows; a second signal ends
        the process.

    Raises:
        KeyboardInterrupt: it was interrupted before any entrant had an epoch.
        TypeError: an argument is something else, or data are no arrays in memory.
        ValueError: there is no optimizer or no seed; a number is out of its range; the rungs are of
            another number of optimizers, or do not become longer; the memory is too small for one
            run.

    References:
        Jamieson & Talwalkar, *Non-stochastic best arm identification and hyperparameter
        optimization*, AISTATS 2016, arXiv:1502.07943.

    >>> import numpy as np, fnopt
    >>> from fnopt.sweeps import grid, log_space, successive_halving
    >>> from fnopt.train import objective
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
    >>> task = objective(lambda params, x: params * x, "squared_error", params=np.float32(0))
    >>> rates = grid(fnopt.sgd, learning_rate=log_space(1e-4, 1, 9))
    >>> result = successive_halving(task, rates, (x, 3 * x), epochs=9)
    >>> [(rung.epochs, len(rung.runs)) for rung in result.brackets[0].rungs]
    [(1, 9), (3, 3), (9, 1)]
    >>> result.best().hyperparameters, result.sweep.programs, result.epochs
    ({'learning_rate': 1.0}, 1, 21)
    """
    entrants = as_entrants(optimizers)
    if isinstance(epochs, Sequence):
        bracket = _checked(epochs, len(entrants))
    else:
        bracket = halving_bracket(len(entrants), epochs, min_epochs=min_epochs, eta=eta)
    return train_brackets(
        objective, entrants, data, (bracket,), memory, progress,
        seeds=seeds, batch_size=batch_size, validation_data=validation_data, monitor=monitor,
        monitor_mode=monitor_mode, same_order=same_order, mesh=mesh, precision=precision,
    )  # fmt: skip


@sweep_entry("hyperband", "hyperband(objective, optimizers, data, epochs=…)")
def hyperband(
    objective: Objective | Callable[[int], Objective],
    optimizers: Any,
    data: Any,
    *,
    epochs: int,
    min_epochs: int = 1,
    eta: int = 3,
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
) -> HalvingResult:
    r"""Trains random optimizers in several successive halvings, of short first rungs and of long.

    How long a run must be to tell whether it is good is not known: each bracket supposes another
    length, at about the same cost, and the last one trains all of its entrants to the end; see
    :func:`hyperband_brackets`. In each bracket it is as in :func:`successive_halving`. The brackets
    go side by side: their runs are trained together up to each rung, by one program.

    Args:
        objective: as for :func:`fnopt.sweep`.
        optimizers: a function of a number that returns so many optimizers, such as
            ``lambda n: sample(fnopt.adamw, n, key, learning_rate=log_uniform(1e-5, 1))``; or just
            so many, as for :func:`fnopt.sweep`, for which ``sum(bracket[0].runs for bracket in
            hyperband_brackets(epochs))`` is the number. The first are in the bracket of the most.
        data: the training data in memory, as for :func:`fnopt.sweep`.
        epochs: the largest number of epochs of a run, at least 1.
        min_epochs: the smallest number of epochs of a rung, from 1 to ``epochs``.
        eta: the factor :math:`\eta`, an integer of at least 2.
        seeds: as for :func:`successive_halving`, as are all further arguments.
        batch_size: examples of a step, at least 1; None for all.
        validation_data: data in memory, evaluated after each epoch; None evaluates nothing.
        monitor: the metric by which entrants are judged; None for ``"val_loss"``, or for ``"loss"``
            without validation data.
        monitor_mode: ``"min"`` or ``"max"``, its better direction; None asks the metric itself.
        same_order: whether all runs see the examples in the order of the first seed.
        precision: the precision of the steps, as for :func:`fnopt.sweep`.
        memory: memory to take on each device, in bytes or as ``"8GiB"``; None for most of it.
        mesh: devices over which the runs are spread; None for one.
        progress: whether to show a bar, where there is a terminal or a notebook.

    Returns:
        The sweep, and for each bracket who went on in each rung; it may be interrupted as
        :func:`successive_halving`.

    Raises:
        KeyboardInterrupt: it was interrupted before any entrant had an epoch.
        TypeError: an argument is something else, or data are no arrays in memory.
        ValueError: there are more or fewer optimizers than the brackets have; or as
            :func:`successive_halving`.

    References:
        Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar, *Hyperband: a novel bandit-based approach
        to hyperparameter optimization*, JMLR 18, 2018, arXiv:1603.06560, algorithm 1. Of the runs
        the best is here the one with the best metric at the end, not in any rung.

    >>> import numpy as np, fnopt
    >>> from fnopt.sweeps import hyperband, log_uniform, sample
    >>> from fnopt.train import objective
    >>> x = np.linspace(-1, 1, 64, dtype=np.float32)
    >>> task = objective(lambda params, x: params * x, "squared_error", params=np.float32(0))
    >>> def draw(n):
    ...     return sample(fnopt.sgd, n, 0, learning_rate=log_uniform(1e-4, 1.0))
    >>> result = hyperband(task, draw, (x, 3 * x), epochs=4, eta=2)
    >>> for bracket in result.brackets:
    ...     print([(len(rung.runs), rung.epochs) for rung in bracket.rungs])
    [(4, 1), (2, 2), (1, 4)]
    [(3, 2), (1, 4)]
    [(3, 4)]
    """
    brackets = hyperband_brackets(epochs, min_epochs=min_epochs, eta=eta)
    number = sum(bracket[0].runs for bracket in brackets)
    drawn = optimizers(number) if _is_draw(optimizers) else optimizers
    entrants = as_entrants(drawn)
    if len(entrants) != number:
        which = "optimizers returned" if drawn is not optimizers else "there are"
        raise ValueError(
            f"hyperband: {which} {len(entrants)} optimizers, and the {len(brackets)} brackets of"
            f" {epochs} epochs with eta={eta} have {number}; give a function of their number, such"
            " as lambda n: sample(fnopt.adamw, n, 0, learning_rate=log_uniform(1e-5, 1))"
        )
    return train_brackets(
        objective, entrants, data, brackets, memory, progress,
        seeds=seeds, batch_size=batch_size, validation_data=validation_data, monitor=monitor,
        monitor_mode=monitor_mode, same_order=same_order, mesh=mesh, precision=precision,
    )  # fmt: skip


def _is_draw(optimizers: Any) -> bool:
    """Whether it is a function of the number of optimizers."""
    classes = optax.GradientTransformation, optax.MultiSteps, type, Entrant
    return callable(optimizers) and not isinstance(optimizers, classes)


def _checked(rungs: Sequence[Any], entrants: int) -> Bracket:
    """Rungs that were given, refused where they are no bracket of so many entrants."""
    if not rungs or not all(isinstance(rung, Rung) for rung in rungs):
        raise TypeError(
            "successive_halving: epochs must be an integer, or rungs as halving_bracket and"
            f" budget_bracket return, got {brief(rungs, 60)}"
        )
    if rungs[0].runs != entrants:
        raise ValueError(
            f"successive_halving: the first rung in epochs has {rungs[0].runs} runs, and there are"
            f" {entrants} optimizers; give the rungs of so many"
        )
    for one, other in itertools.pairwise(rungs):
        if other.epochs <= one.epochs or not 1 <= other.runs <= one.runs:
            raise ValueError(
                "successive_halving: from rung to rung in epochs the epochs must become more and"
                f" the runs not more, got {one} before {other}"
            )
    return tuple(rungs)
