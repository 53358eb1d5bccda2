"""Gradient descent on the numbers of an optimizer, by another optimizer."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt import registry
from fnopt.core import Transform
from fnopt.core.checks import positive_integer
from fnopt.core.entry import entry
from fnopt.sweeps.coordinates import Coordinate
from fnopt.sweeps.derivative import Differentiated, Mode, Plan
from fnopt.sweeps.leaves import choose, with_leaves
from fnopt.sweeps.unrolled import Unrolled, checked_optimizer
from fnopt.train.objective import Objective
from fnopt.train.reprs import call
from fnopt.train.state import copy

logger = logging.getLogger("fnopt")

SHRINKAGE = 0.5
"""Factor of all further steps after a round that diverged."""


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The result of :func:`tune`; there is an entry for each round.

    Attributes:
        optimizer: the optimizer of the best round, the one of the lowest loss.
        values: by name the numbers that were tuned; arrays with the rounds along the first axis.
        losses: the validation loss after the run of each round, of shape (rounds,); not finite
            where the run was not.
        diverged: whether each round diverged, of shape (rounds,).
        best_round: number of the best round, from 0.
    """

    optimizer: Any
    values: dict[str, np.ndarray]
    losses: np.ndarray
    diverged: np.ndarray
    best_round: int

    def __repr__(self) -> str:
        first, best = self.losses[0], self.losses[self.best_round]
        return call(
            "Tuned",
            f"optimizer={self.optimizer!r}",
            f"loss={best:.4g} (first {first:.4g}, round {self.best_round + 1}"
            f" of {len(self.losses)})",
            f"diverged={int(self.diverged.sum())}",
        )


@entry(
    "tune(objective, optimizer, data, steps, by=…), where data are one argument, (inputs, targets)"
)
def tune(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    data: Any,
    steps: int,
    *,
    names: str | Sequence[str] | None = "learning_rate",
    by: optax.GradientTransformation | None = None,
    rounds: int = 20,
    validation_data: Any = None,
    batch_size: int | None = 32,
    key: Any = 0,
    mode: Mode = "reverse",
    **options: Any,
) -> Tuned:
    r"""An optimizer whose numbers descend the validation loss after a run.

    .. math:: z_{k+1} = z_k + \sigma_k\,u_k, \qquad
        u_k = \text{by}\Bigl(\frac{\mathrm d}{\mathrm d z}\,E(s_T(\lambda(z_k)))\Bigr)

    A round is a run of ``steps`` steps from the start and its derivative, see
    :func:`~fnopt.sweeps.hypergradient`. Each number goes in the coordinate in which its range has
    no ends: a positive one by its logarithm, so that a learning rate is multiplied; one in
    :math:`(a, b)` by its logit :math:`\log\frac{x - a}{b - x}`; any other as it is. The numbers of
    a schedule have the range of the argument that it stands for, and positive ones that lie outside
    of it, such as lengths, go by their logarithm.

    A round diverges where the loss or the derivative is not finite, or the loss is above both that
    before the run and that of the first round. Then the last step is taken back and
    :math:`\sigma`, at first 1, is halved: the next round is nearer to the last good one.

    All rounds run one compiled program, with the same data in the same order.

    Args:
        objective: the objective that the steps minimize, and whose loss is the validation loss.
        optimizer: the optimizer to begin with; it stays as it is.
        data: as that of :func:`~fnopt.sweeps.hypergradient`.
        steps: number of updates of a run, at least 1. What is best for few is seldom best for many.
        names: the names of the numbers to tune, such as ``"weight_decay"``. A name stands for all
            in whose own it is a whole field, ``"learning_rate"`` for all numbers of a schedule
            too; None for all numbers. Of these, numbers at an end of their range stay.
        by: the optimizer of the coordinates, for which a step of 0.7 doubles a positive number; it
            must not need the loss as a function. If None, ``rprop(0.5, max_step_size=2.0,
            variant="rprop-")``, which looks at signs alone: derivatives grow by many orders of
            magnitude near the edge of divergence.
        rounds: number of runs, at least 1; the first is that of ``optimizer``.
        validation_data: the data of the validation loss; those of training if None.
        batch_size: number of examples per step; None for all in each. Ignored for batches.
        key: a PRNG key, or an integer to make one.
        mode: ``"reverse"``, or ``"forward"``, which is faster for one or two numbers and takes
            methods with a loop.
        **options: the options of a step, see :class:`~fnopt.train.StepOptions`.

    Returns:
        A :class:`Tuned`, with the best ``optimizer`` and the history of ``values`` and ``losses``.

    Raises:
        ValueError: a name is unknown; no number of a name can move; the run of ``optimizer`` itself
            is not finite; ``by`` needs the loss as a function; or as ``hypergradient``.
        TypeError: an argument is of another kind.

    References:
        Maclaurin, Duvenaud & Adams, *Gradient-based hyperparameter optimization through reversible
        learning*, ICML 2015, arXiv:1502.03492; Riedmiller & Braun, *A direct adaptive
        method for faster backpropagation learning: the RPROP algorithm*, 1993,
        doi:10.1109/ICNN.1993.298623 (the default of ``by``).

    >>> import numpy as np, fnopt
    >>> from fnopt.sweeps import tune
    >>> from fnopt.train import objective
    >>> task = objective(lambda w, x: w * x, "squared_error", params=np.float32(1))
    >>> data = np.ones(1, np.float32), np.zeros(1, np.float32)
    >>> tuned = tune(task, fnopt.sgd(0.005), data, 2, rounds=10, batch_size=None)
    >>> bool(tuned.losses[tuned.best_round] < 0.01 * tuned.losses[0])
    True
    """
    run = Unrolled.prepared(
        "tune", objective, optimizer, data, steps,
        validation_data=validation_data, batch_size=batch_size, key=key, mode=mode, options=options,
    )  # fmt: skip
    rounds = positive_integer("tune: rounds", rounds)
    outer = _outer(by)
    leaves, left = choose("tune", run.tx, names)
    if left:
        logger.info("tune: %s stay, at an end of their range", ", ".join(left))
    coordinates = {name: Coordinate.of(leaf.interval) for name, leaf in leaves.items()}
    begin = {name: coordinates[name](copy(leaf.value)) for name, leaf in leaves.items()}
    plan = run.plan(leaves, coordinates)
    points, losses, diverged = _descend(run, plan, begin, outer, rounds)
    best = int(np.argmin(np.where(diverged, np.inf, losses)))
    values = {
        name: np.stack([np.asarray(coordinate.back(z[name])) for z in points])
        for name, coordinate in coordinates.items()
    }
    # Where nothing is gained it is the optimizer itself, without the rounding of coordinates.
    chosen = {name: _number(values[name][best]) for name in values} if best else {}
    return Tuned(with_leaves(run.tx, leaves, chosen), values, losses, diverged, best)


Point = dict[str, jax.Array]
"""Coordinates by name."""


def _descend(
    run: Unrolled, plan: Plan, begin: Point, outer: Transform, rounds: int
) -> tuple[list[Point], np.ndarray, np.ndarray]:
    """The points of all rounds, the loss of each, and whether it diverged."""
    points, losses, diverged = [], [], []
    z = good = begin
    state, scale, limit = outer.init(z), 1.0, run.loss_before()
    update = jax.tree.map(jnp.zeros_like, z)
    for number in range(rounds):
        result = run(z, plan)
        loss = float(result.value)
        if number == 0:
            _check_first(run.tx, result)
            limit = max(limit, loss)
        bad = not (_is_finite(result) and loss <= limit)
        points.append(z)
        losses.append(loss)
        diverged.append(bad)
        logger.info("tune: round %d of %d, loss %.6g", number + 1, rounds, loss)
        if bad:
            scale *= SHRINKAGE
        else:
            good = z
            extra = {"value": result.value, "grad": result.gradient}
            update, state = outer.update(result.gradient, state, z, **extra)
        z = optax.tree.add_scale(good, scale, update)
    return points, np.array(losses), np.array(diverged)


def _outer(by: Any) -> Transform:
    """The optimizer of the coordinates."""
    if by is None:
        # Its other variants stay put where a sign has changed, which is a round for nothing here.
        return registry.optimizer("rprop", 0.5, max_step_size=2.0, variant="rprop-")
    outer = checked_optimizer("tune(objective, optimizer, data, steps)", "by", by)
    if outer.evaluates:
        raise ValueError(
            f"tune: by is {type(outer).__name__}, which calls the loss several times a step, and"
            " here a loss is a whole run; give one that takes gradients, such as"
            " fnopt.adam(0.3) or fnopt.rprop(0.5)"
        )
    return outer


def _is_finite(result: Differentiated) -> bool:
    numbers = result.value, result.gradient
    return all(bool(np.all(np.isfinite(x))) for x in jax.tree.leaves(numbers))


def _check_first(tx: Transform, result: Differentiated) -> None:
    """Refuses to begin where there is no derivative to follow."""
    if _is_finite(result):
        return
    losses = np.asarray(result.step_losses)
    where = np.flatnonzero(~np.isfinite(losses))
    if where.size:
        what = f"the run of {type(tx).__name__} diverges, at step {where[0] + 1} of {losses.size}"
    else:
        bad = [name for name, x in result.gradient.items() if not np.all(np.isfinite(x))]
        what = f"the derivative by {', '.join(bad[:4]) or 'the validation loss'} is not finite"
    raise ValueError(
        f"tune: {what}, so there is no way to go; begin with a smaller learning rate or fewer steps"
    )


def _number(x: np.ndarray) -> Any:
    return float(x) if x.ndim == 0 else jnp.asarray(x)
