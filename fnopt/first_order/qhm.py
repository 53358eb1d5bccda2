"""Quasi-hyperbolic momentum."""

from __future__ import annotations

from typing import Any

import jax
import optax

from fnopt.core import (
    Composed,
    Context,
    Decay,
    DType,
    Rate,
    Rule,
    Scalar,
    Transform,
    moment,
    scale_by_learning_rate,
    zeros,
)
from fnopt.core.types import LeafUpdate, Slots


class scale_by_qhm(Rule):
    r"""Mixes the gradient with the mean of recent gradients.

    .. math:: m_t = \beta\,m_{t-1} + (1 - \beta)\,g_t, \qquad u_t = (1 - \nu)\,g_t + \nu\,m_t

    Args:
        decay: decay of the mean, :math:`\beta \in [0, 1)`.
        nu: share of the mean, :math:`\nu`, usually in :math:`[0, 1]`: 0 is the gradient, 1 the
            mean, :math:`\beta` Nesterov's momentum.
        accumulator_dtype: dtype of the mean; the parameter's if None.
    """

    decay: Decay = 0.999
    nu: Scalar = 0.7
    accumulator_dtype: DType = None

    State = optax.TraceState
    elementwise = keeps_zero = True

    def init_leaf(self, param: jax.Array) -> dict[str, jax.Array]:
        return {"trace": zeros(param, self.accumulator_dtype)}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        mean = moment(grad, slots.trace, self.decay)
        return (1 - self.nu) * grad + self.nu * mean, {"trace": mean}


class qhm(Composed):
    r"""QHM: gradient descent along a mixture of gradient and momentum.

    .. math:: \Delta\theta_t = -\eta_t\,\bigl((1 - \nu)\,g_t + \nu\,m_t\bigr)

    The momentum is a mean, so a rate is :math:`1 / (1 - \beta)` times that of :class:`sgd`.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: decay of the mean, :math:`\beta \in [0, 1)`.
        nu: :math:`\nu`, usually in :math:`[0, 1]`; at 0 and 1 and at :math:`\beta` it is gradient
            descent without momentum, with it, and with Nesterov's.
        accumulator_dtype: dtype of the mean; the parameter's if None.

    When:
        Instead of :class:`sgd` with momentum: the defaults allow a long memory (0.999) that
        plain momentum does not.

    References:
        Ma & Yarats, *Quasi-hyperbolic momentum and Adam for deep learning*, ICLR 2019,
        arXiv:1810.06801, eqs. 3 and 4.
    """

    learning_rate: Rate
    momentum: Decay = 0.999
    nu: Scalar = 0.7
    accumulator_dtype: DType = None
    family = "gradient_descent"
    usual_rate = 0.1

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_qhm(self.momentum, self.nu, self.accumulator_dtype),
            scale_by_learning_rate(self.learning_rate),
        )
