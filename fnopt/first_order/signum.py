"""Signum: sign descent with momentum."""

from __future__ import annotations

from fnopt.core import Composed, Decay, DType, Rate, Transform, ema, scale_by_learning_rate
from fnopt.first_order.sign_sgd import scale_by_sign


class signum(Composed):
    r"""The sign of a moving average of gradients.

    .. math:: m_t = \beta\,m_{t-1} + (1 - \beta)\,g_t, \qquad
        \Delta\theta_t = -\eta_t\,\operatorname{sign}(m_t)

    When:
        As :class:`sign_sgd`, with noisy gradients; :class:`lion` is its successor.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        beta: decay of the average, :math:`\beta \in [0, 1)`.
        accumulator_dtype: dtype of the average; the parameter's if None.

    References:
        Bernstein, Wang, Azizzadenesheli & Anandkumar, *signSGD: compressed optimisation for
        non-convex problems*, ICML 2018, arXiv:1802.04434, Algorithm 2.
    """

    learning_rate: Rate
    beta: Decay = 0.9
    accumulator_dtype: DType = None
    family = "sign"
    usual_rate = 3e-4

    def parts(self) -> tuple[Transform, ...]:
        return (
            ema(self.beta, False, self.accumulator_dtype),
            scale_by_sign(),
            scale_by_learning_rate(self.learning_rate),
        )
