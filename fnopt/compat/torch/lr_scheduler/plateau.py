"""torch's scheduler with memory."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import Number
from fnopt.core.checks import Interval
from fnopt.core.fields import Field
from fnopt.core.types import Params
from fnopt.schedule.plateau import Watcher, count_bad
from fnopt.schedule.progress import Length


class ReduceLROnPlateauState(NamedTuple):
    """What :class:`ReduceLROnPlateau` remembers, by torch's names.

    Attributes:
        last_lr: the present rate.
        best: the best metric so far.
        num_bad_epochs: metrics since that were no better.
        cooldown_counter: metrics that the cooldown still lets pass.
        evaluations: the number of the last evaluation taken in.
    """

    last_lr: jax.Array
    best: jax.Array
    num_bad_epochs: jax.Array
    cooldown_counter: jax.Array
    evaluations: jax.Array


class ReduceLROnPlateau(Watcher):
    r"""Lowers the rate by a factor when a metric stops improving, by torch's comparison.

    A metric :math:`x` is better than the best :math:`b` so far if

    .. math:: x < b\,(1 - \epsilon), \quad x < b - \epsilon, \quad
        x > b\,(1 + \epsilon), \quad x > b + \epsilon

    for ``"min"`` and ``"rel"``, ``"min"`` and ``"abs"``, ``"max"`` and ``"rel"``, ``"max"`` and
    ``"abs"``. With ``"rel"`` a negative metric may therefore count as better when it is not;
    :func:`fnopt.reduce_on_plateau` has no such flaw. NaN is no better. After more than
    ``patience`` metrics in a row that are not better the rate is lowered; then ``cooldown``
    metrics pass before any is counted.

    It stands last in a chain, behind an optimizer with the rate ``lr``, whose updates it
    multiplies by the present rate over ``lr``: torch's step where that is in proportion to the
    rate, hence not of ASGD, Adafactor, Rprop and LBFGS. With ``monitor="metric"`` it takes in a
    metric when ``evaluations`` has advanced, with ``monitor="value"`` the loss of every update.

    Args:
        lr: the optimizer's rate, above 0.
        mode: whether lower or higher metrics are better, ``"min"`` or ``"max"``.
        factor: factor of each reduction, in [0, 1).
        patience: number of metrics without improvement that are tolerated.
        threshold: improvement that counts as one, :math:`\epsilon`.
        threshold_mode: whether ``threshold`` is relative or absolute, ``"rel"`` or ``"abs"``.
        cooldown: number of metrics after a reduction that are not counted.
        min_lr: lowest rate, at least 0.
        eps: smallest reduction that is applied.
        monitor: the extra argument that is watched, ``"metric"`` or ``"value"``.

    Raises:
        ValueError: an argument is out of its range, or, in ``update``, the loss is missing.

    References:
        ``torch.optim.lr_scheduler.ReduceLROnPlateau``.

    >>> import fnopt, jax.numpy as jnp
    >>> from fnopt.compat.torch.lr_scheduler import ReduceLROnPlateau
    >>> tx = fnopt.chain(fnopt.sgd(1.0), ReduceLROnPlateau(1.0, factor=0.5, patience=0))
    >>> state = tx.init(jnp.zeros(()))
    >>> for epoch in (1, 2):
    ...     update, state = tx.update(jnp.ones(()), state, metric=3.0, evaluations=epoch)
    >>> float(update)
    -0.5
    """

    lr: Annotated[Any, Field(Interval("(0, inf)"))]
    mode: Annotated[Any, Field(static=True, choices=("min", "max"))] = "min"
    factor: Annotated[Any, Field(Interval("[0, 1)"))] = 0.1
    patience: Length = 10.0
    threshold: Number = 1e-4
    threshold_mode: Annotated[Any, Field(static=True, choices=("rel", "abs"))] = "rel"
    cooldown: Length = 0.0
    min_lr: Length = 0.0
    eps: Length = 1e-8
    _: dataclasses.KW_ONLY
    monitor: Annotated[Any, Field(static=True, choices=("value", "metric"))] = "metric"

    def init(self, params: Params) -> ReduceLROnPlateauState:
        dtype, zero = jnp.result_type(float), jnp.zeros((), jnp.int32)
        return ReduceLROnPlateauState(
            last_lr=jnp.array(self.lr).astype(dtype),
            best=jnp.array(jnp.inf if self.mode == "min" else -jnp.inf, dtype),
            num_bad_epochs=zero,
            cooldown_counter=jnp.zeros_like(zero),
            evaluations=jnp.zeros_like(zero),
        )

    def scale(self, state: ReduceLROnPlateauState) -> jax.Array:
        return state.last_lr / jnp.asarray(self.lr).astype(state.last_lr.dtype)

    def take_in(self, state: ReduceLROnPlateauState, metric: Any) -> ReduceLROnPlateauState:
        best, rate = state.best, state.last_lr
        metric = jnp.asarray(metric).astype(best.dtype)
        sign = -1.0 if self.mode == "min" else 1.0
        margin = sign * self.threshold
        bound = best * (1.0 + margin) if self.threshold_mode == "rel" else best + margin
        better = metric < bound if self.mode == "min" else metric > bound
        reduce, bad, cooling = count_bad(
            better, state.num_bad_epochs, state.cooldown_counter, self.patience, self.cooldown
        )
        lower = jnp.maximum(rate * self.factor, self.min_lr)
        return state._replace(
            last_lr=jnp.where(reduce & (rate - lower > self.eps), lower, rate),
            best=jnp.where(better, metric, best),
            num_bad_epochs=bad,
            cooldown_counter=cooling,
        )
