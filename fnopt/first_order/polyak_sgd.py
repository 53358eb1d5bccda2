"""Gradient descent with Polyak's step."""

from __future__ import annotations

from typing import Annotated, Any

import jax.numpy as jnp

from fnopt.core import (
    Composed,
    Context,
    Joint,
    NonNegative,
    Rate,
    Scalar,
    Transform,
    divide,
    required,
    scale_by_learning_rate,
    vdot,
)
from fnopt.core.fields import Field
from fnopt.core.ranges import Cap
from fnopt.core.types import Arrays, LeavesUpdate, Rows

Variant = Annotated[Any, Field(static=True, choices=("sps", "sps+"))]


class scale_by_polyak(Joint):
    r"""Multiplies by Polyak's step: the gap to the minimum over the squared gradient.

    .. math:: u_t = g_t\,\min\Bigl(\frac{f(\theta) - f_*}{\lVert g_t \rVert^2 + \epsilon},
        \gamma_{\max}\Bigr)

    Where gradient and :math:`\epsilon` are 0, so is the direction. ``update`` needs ``value``.

    Args:
        f_min: smallest value of the loss, or a bound below it, :math:`f_*`.
        max_learning_rate: largest step size, :math:`\gamma_{\max} \ge 0`; inf for no limit.
        eps: added to the squared norm, :math:`\epsilon \ge 0`.
        variant: ``"sps"``, or ``"sps+"`` for a gap that counts as 0 where it is below.

    Raises:
        ValueError: an argument is out of its range, or, in ``update``, the loss is missing.
    """

    f_min: Scalar = 0.0
    max_learning_rate: Cap = 1.0
    eps: NonNegative = 0.0
    variant: Variant = "sps"

    elementwise = keeps_zero = True

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        gap = required(self, "value", extra_args.get("value")) - self.f_min
        if self.variant == "sps+":
            gap = jnp.maximum(gap, 0.0)
        rate = jnp.minimum(divide(gap, vdot(grads, grads) + self.eps), self.max_learning_rate)
        return [rate * g for g in grads], [{} for _ in slots], {}


class polyak_sgd(Composed):
    r"""Gradient descent that takes its step from the loss.

    .. math:: \Delta\theta_t = -s\,g_t\,\min\Bigl(
        \frac{f(\theta) - f_*}{\lVert g_t \rVert^2 + \epsilon}, \gamma_{\max}\Bigr)

    ``update`` needs ``value``, the loss of this batch.

    optax scales the gradient before it measures it, so that there half the ``scaling``
    doubles the step; here it halves it, as both say.

    Args:
        max_learning_rate: largest step size, :math:`\gamma_{\max} \ge 0`; inf for no limit.
        scaling: factor of the step, :math:`s \ge 0`.
        f_min: smallest value of the loss, or a bound below it, :math:`f_*`.
        eps: added to the squared norm, :math:`\epsilon \ge 0`.
        variant: ``"sps"``, or ``"sps+"`` for a gap that counts as 0 where it is below.

    When:
        The least value of the loss is known, as the 0 of a model that fits its data exactly. With
        a wrong ``f_min`` it diverges or stops early.

    References:
        Loizou, Vaswani, Laradji & Lacoste-Julien, *Stochastic Polyak step-size for SGD*, AISTATS
        2021, arXiv:2002.10542, the bounded step with c = 1; Garrigos, Gower & Schaipp, *Function
        value learning*, 2023, arXiv:2307.14528, for ``"sps+"``.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.polyak_sgd()
    >>> x = jnp.array([1.0, 2.0, 3.0])
    >>> updates, state = tx.update(2 * x, tx.init(x), x, value=jnp.sum(x * x))
    >>> updates
    Array([-0.5, -1. , -1.5], dtype=float32)
    """

    max_learning_rate: Cap = 1.0
    scaling: Rate = 1.0
    f_min: Scalar = 0.0
    eps: NonNegative = 0.0
    variant: Variant = "sps"
    family = "rate_free"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_polyak(self.f_min, self.max_learning_rate, self.eps, self.variant),
            scale_by_learning_rate(self.scaling),
        )
