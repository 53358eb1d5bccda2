"""torch's Rprop."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import jax.numpy as jnp

from fnopt.compat.torch.base import Switch, TorchOptimizer
from fnopt.core import Rate, Schedule, Static, Transform, scale
from fnopt.core.checks import Interval
from fnopt.core.ranges import Scheduled, Several
from fnopt.first_order.rprop import scale_by_rprop

Etas = Annotated[Any, Several(of=(Scheduled(Interval("(0, 1)")), Scheduled(Interval("(1, inf)"))))]
Sizes = Annotated[Any, Several(of=(Scheduled(Interval("(0, inf)")),) * 2)]


class Rprop(TorchOptimizer):
    r"""``torch.optim.Rprop``: :class:`fnopt.rprop` of the variant ``"irprop-"``.

    Args:
        lr: initial step size, at least 0; of a schedule the first value.
        etas: factors of a step size after a change of sign and after none,
            :math:`\eta^- \in (0, 1)` and :math:`\eta^+ > 1`.
        step_sizes: the smallest and the largest step size, above 0; the first step too lies between
            them.
        capturable, foreach, differentiable: ignored; see :class:`TorchOptimizer`.
        maximize: whether to maximize the objective.

    Raises:
        ValueError: a number is out of its range.

    References:
        Riedmiller & Braun 1993, doi:10.1109/ICNN.1993.298623, and torch 2.13,
        ``torch/optim/rprop.py``.
    """

    lr: Rate = 1e-2
    etas: Etas = (0.5, 1.2)
    step_sizes: Sizes = (1e-6, 50.0)
    _: dataclasses.KW_ONLY
    capturable: Switch = False
    foreach: Switch = None
    maximize: Static[bool] = False
    differentiable: Switch = False

    def parts(self) -> tuple[Transform, ...]:
        first = self.lr(0) if isinstance(self.lr, Schedule) else self.lr
        first = jnp.clip(first, *self.step_sizes)
        method = scale_by_rprop(first, *self.etas, *self.step_sizes)
        return *self.climbing(), method, scale(-1.0)
