"""The brackets of successive halving and Hyperband: how many runs are trained for how long."""

from __future__ import annotations

from typing import Any, NamedTuple

from fnopt.core.checks import positive_integer


class Rung(NamedTuple):
    """A stage of a bracket.

    Attributes:
        runs: the number of runs that are trained in it.
        epochs: the number of epochs that each has had at its end, those of earlier stages included.
    """

    runs: int
    epochs: int


Bracket = tuple[Rung, ...]
"""The rungs of one successive halving, from many runs of few epochs to few runs of many."""


def halving_bracket(runs: int, epochs: int, *, min_epochs: int = 1, eta: int = 3) -> Bracket:
    r"""The rungs of a successive halving that ends with runs of a given number of epochs.

    Of :math:`n` runs and at most :math:`R` epochs, rung :math:`i` of :math:`0, \dots, s` has

    .. math:: n_i = \lfloor n\,\eta^{-i} \rfloor \text{ runs}, \qquad
              r_i = \lfloor R\,\eta^{\,i-s} \rfloor \text{ epochs}

    with the largest :math:`s` for which the first rung has at least ``min_epochs`` epochs and the
    last at least one run.

    Args:
        runs: the number of runs at the start, :math:`n`, at least 1.
        epochs: the number of epochs of the runs that come to the end, :math:`R`, at least 1.
        min_epochs: the smallest number of epochs of the first rung, from 1 to ``epochs``.
        eta: the factor :math:`\eta`, at least 2: one run in so many goes on.

    Returns:
        The rungs, a tuple of :class:`Rung`.

    Raises:
        TypeError: a number is no integer.
        ValueError: a number is outside of its range.

    References:
        Jamieson & Talwalkar, *Non-stochastic best arm identification and hyperparameter
        optimization*, AISTATS 2016, arXiv:1502.07943; Li, Jamieson, DeSalvo, Rostamizadeh &
        Talwalkar, *Hyperband*, JMLR 18, 2018, arXiv:1603.06560, algorithm 1, lines 5-8.

    >>> for rung in halving_bracket(27, 81):
    ...     print(*rung)
    27 3
    9 9
    3 27
    1 81
    """
    runs = positive_integer("halving_bracket: runs", runs)
    epochs = positive_integer("halving_bracket: epochs", epochs)
    eta = _checked_eta("halving_bracket", eta)
    min_epochs = _checked_min("halving_bracket", min_epochs, epochs)
    cuts = min(_power_below(epochs // min_epochs, eta), _power_below(runs, eta))
    return _bracket(runs, epochs, eta, cuts)


def budget_bracket(runs: int, budget: int, *, eta: int = 2) -> Bracket:
    r"""The rungs of a successive halving that shares a budget equally between its rungs.

    Of :math:`n` runs and :math:`B` epochs in all, rung :math:`k` of the
    :math:`K = \lceil \log_\eta n \rceil` trains each of its :math:`n_k` runs for

    .. math:: r_k = \left\lfloor \frac{B}{n_k K} \right\rfloor, \qquad
              n_{k+1} = \lfloor n_k / \eta \rfloor

    further epochs, so that together they are at most :math:`B`.

    Args:
        runs: the number of runs at the start, :math:`n`, at least 2.
        budget: the number of epochs of all runs together, :math:`B`, at least :math:`n K`.
        eta: the factor :math:`\eta`, at least 2.

    Returns:
        The rungs, a tuple of :class:`Rung`; the best run of the last is the result.

    Raises:
        TypeError: a number is no integer.
        ValueError: a number is outside of its range.

    References:
        Jamieson & Talwalkar, *Non-stochastic best arm identification and hyperparameter
        optimization*, AISTATS 2016, arXiv:1502.07943, figure 3 (where :math:`\eta = 2`).

    >>> [tuple(rung) for rung in budget_bracket(8, 48)]
    [(8, 2), (4, 6), (2, 14)]
    """
    runs = positive_integer("budget_bracket: runs", runs)
    budget = positive_integer("budget_bracket: budget", budget)
    eta = _checked_eta("budget_bracket", eta)
    if runs < 2:
        raise ValueError("budget_bracket: runs must be at least 2, got 1; one run has no rival")
    number = _power_below(runs - 1, eta) + 1  # the ceiling of the logarithm
    if budget < runs * number:
        raise ValueError(
            f"budget_bracket: budget must be at least {runs * number}, one epoch for each of {runs}"
            f" runs in the first of {number} rungs of equal cost, got {budget}; give more, or fewer"
            " runs"
        )
    rungs, alive, epochs = [], runs, 0
    for _ in range(number):
        epochs += budget // (alive * number)
        rungs.append(Rung(alive, epochs))
        alive = max(1, alive // eta)
    return tuple(rungs)


def hyperband_brackets(epochs: int, *, min_epochs: int = 1, eta: int = 3) -> tuple[Bracket, ...]:
    r"""The brackets of Hyperband: successive halvings from the most runs to the longest.

    .. math:: s_\text{max} = \lfloor \log_\eta (R / r) \rfloor, \qquad
              n_s = \left\lceil (s_\text{max} + 1)\, \frac{\eta^s}{s + 1} \right\rceil

    for :math:`s = s_\text{max}, \dots, 0`, each with the rungs of :func:`halving_bracket` and about
    the same cost. How long runs must be to tell which is best is not known; one of the brackets
    is near it.

    Args:
        epochs: the largest number of epochs of a run, :math:`R`, at least 1.
        min_epochs: the smallest number of epochs of a rung, :math:`r`, from 1 to ``epochs``.
        eta: the factor :math:`\eta`, at least 2.

    Returns:
        The brackets, a tuple of tuples of :class:`Rung`.

    Raises:
        TypeError: a number is no integer.
        ValueError: a number is outside of its range.

    References:
        Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar, *Hyperband: a novel bandit-based approach
        to hyperparameter optimization*, JMLR 18, 2018, arXiv:1603.06560, algorithm 1 and table 1.

    >>> [bracket[0] for bracket in hyperband_brackets(9)]
    [Rung(runs=9, epochs=1), Rung(runs=5, epochs=3), Rung(runs=3, epochs=9)]
    """
    epochs = positive_integer("hyperband_brackets: epochs", epochs)
    eta = _checked_eta("hyperband_brackets", eta)
    min_epochs = _checked_min("hyperband_brackets", min_epochs, epochs)
    most = _power_below(epochs // min_epochs, eta)
    # In integers: logarithms and quotients of floats round the wrong way at powers of eta.
    runs = {s: -(-(most + 1) * eta**s // (s + 1)) for s in range(most, -1, -1)}
    return tuple(_bracket(n, epochs, eta, s) for s, n in runs.items())


def _bracket(runs: int, epochs: int, eta: int, cuts: int) -> Bracket:
    return tuple(Rung(runs // eta**i, epochs // eta ** (cuts - i)) for i in range(cuts + 1))


def _power_below(number: int, eta: int) -> int:
    """The largest power of ``eta`` that is not above a number of at least 1; 0 for 1."""
    power = 0
    while eta ** (power + 1) <= number:
        power += 1
    return power


def _checked_eta(caller: str, eta: Any) -> int:
    """The factor of a bracket.

    Raises:
        TypeError: it is no integer.
        ValueError: it is below 2.
    """
    eta = positive_integer(f"{caller}: eta", eta)
    if eta < 2:
        raise ValueError(
            f"{caller}: eta must be at least 2, got {eta}; one run in eta goes on, and of 1 all"
            " would"
        )
    return eta


def _checked_min(caller: str, min_epochs: Any, epochs: int) -> int:
    min_epochs = positive_integer(f"{caller}: min_epochs", min_epochs)
    if min_epochs > epochs:
        raise ValueError(
            f"{caller}: min_epochs must lie in [1, epochs] = [1, {epochs}], got {min_epochs}; the"
            " first rung cannot be longer than the last"
        )
    return min_epochs
