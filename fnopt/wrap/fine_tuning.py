r"""Optimizers for fine-tuning: at which rate, and from which step on, each part learns.

With the parts of a network in an order, the head first and the input last, part :math:`i = 0, 1,
\dots` gets the learning rate

.. math:: \eta_i = \eta / f^i

(discriminative fine-tuning, :math:`f = 2.6`) and takes its first step at step :math:`i\, T`
(gradual unfreezing, :math:`T` the steps of an epoch). Both are :class:`fnopt.groups` of paths, in
which ``"freeze"`` is for a part that never learns.

References:
    Howard & Ruder, *Universal language model fine-tuning for text classification*, ACL 2018,
    arXiv:1801.06146, Sections 3.2 and 3.3.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import optax

from fnopt.core import chain, scale
from fnopt.core.checks import positive_integer
from fnopt.core.select import Pattern
from fnopt.wrap.conditional import conditionally_mask
from fnopt.wrap.groups import groups


@dataclasses.dataclass(frozen=True)
class From:
    """The condition that a count has reached a step; equal to any other of the same step.

    Checkpoints have this name and that of its field.
    """

    step: int

    def __call__(self, count: Any) -> Any:
        return count >= self.step


def discriminative(
    order: Sequence[Pattern], base: optax.GradientTransformation, factor: float = 2.6
) -> groups:
    r"""An optimizer with a smaller learning rate the deeper a part lies: :math:`\eta / f^i`.

    Args:
        order: a pattern for each part, as in :class:`fnopt.groups`, the head first. The first that
            matches a leaf wins; the last may be ``"*"``.
        base: the optimizer, with the rate :math:`\eta` of the head.
        factor: :math:`f`, in (0, inf), the factor between the rates of two parts; 1 for one rate.
            It scales the whole update, decay too.

    Returns:
        The optimizer, as :class:`fnopt.groups`.

    Raises:
        TypeError, ValueError: an argument is out of its range, or refused by
            :class:`fnopt.groups`.

    >>> import fnopt, jax.numpy as jnp
    >>> params = {name: {"kernel": jnp.ones((2, 2))} for name in ("conv1", "conv2", "head")}
    >>> tx = discriminative(["head/*", "conv2/*", "*"], fnopt.sgd(0.1))
    >>> print(tx.table(params))
    path          shape   parameters  pattern  gets
    conv1/kernel  (2, 2)           4  *        base, multiplier=0.14792899408284022
    conv2/kernel  (2, 2)           4  conv2/*  base, multiplier=0.3846153846153846
    head/kernel   (2, 2)           4  head/*   base
    total                         12           frozen: 0
    base: sgd(learning_rate=0.1, nesterov=False)
    """
    _check("discriminative", order, factor)
    rates = [factor**-i for i in range(len(order))]
    return groups(
        *(
            (which, {"multiplier": rate} if i and factor != 1 else {})
            for i, (which, rate) in enumerate(zip(order, rates, strict=True))
        ),
        base=base,
    )


def unfreeze_gradually(
    order: Sequence[Pattern], base: optax.GradientTransformation, every: int, factor: float = 1.0
) -> groups:
    r"""An optimizer in which one more part learns every :math:`T` steps, the head first.

    Before its first step the update of a part is exactly 0 and its state does not change: no
    moment, no decay and no count, so that its warm-up, bias correction and schedule begin with that
    step. All parts are in one compiled program. For a schedule of the whole run, chain it after:
    ``chain(unfreeze_gradually(order, adam(1.0), every), scale_by_schedule(…))`` with updates of the
    rate 1.

    Args:
        order: a pattern for each part, as in :class:`fnopt.groups`, the head first. The first that
            matches a leaf wins; the last may be ``"*"``.
        base: the optimizer of each part.
        every: :math:`T \ge 1`, in steps: part :math:`i` learns from step :math:`i\, T` on. Another
            value is another compiled program, unlike another rate.
        factor: :math:`f`, in (0, inf), by which the rate falls from part to part; 2.6 in the
            paper, which does both.

    Returns:
        The optimizer, as :class:`fnopt.groups`.

    Raises:
        TypeError, ValueError: an argument is out of its range, or refused by
            :class:`fnopt.groups`.

    >>> import fnopt, jax, jax.numpy as jnp
    >>> params = {"body": jnp.ones(()), "head": jnp.ones(())}
    >>> tx = unfreeze_gradually(["head", "body"], fnopt.sgd(1.0), every=2)
    >>> state = tx.init(params)
    >>> for _ in range(3):
    ...     updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    ...     print({path: float(update) for path, update in updates.items()})
    {'body': 0.0, 'head': -1.0}
    {'body': 0.0, 'head': -1.0}
    {'body': -1.0, 'head': -1.0}
    """
    _check("unfreeze_gradually", order, factor)
    every = positive_integer("unfreeze_gradually: every", every)

    def part(i: int) -> Any:
        if i == 0:
            return {}
        slowed = base if factor == 1 else chain(base, scale(factor**-i))
        return conditionally_mask(slowed, From(i * every))

    return groups(*((which, part(i)) for i, which in enumerate(order)), base=base)


def _check(name: str, order: Any, factor: Any) -> None:
    if isinstance(order, str) or not isinstance(order, Sequence) or not order:
        raise TypeError(
            f"{name}: order must be a list of patterns, the head's first, got {order!r}"
        )
    if isinstance(factor, bool) or not isinstance(factor, (int, float)):
        raise TypeError(f"{name}: factor must be a number, got {factor!r}")
    if not (0 < factor and math.isfinite(factor)):
        raise ValueError(f"{name}: factor must lie in (0, inf), got {factor!r}")
