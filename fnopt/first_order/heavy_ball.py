"""The classical momentum: the learning rate inside the velocity."""

from __future__ import annotations

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Rate,
    Static,
    Transform,
    scale_by_learning_rate,
    trace,
)


class heavy_ball(Composed):
    r"""Momentum whose velocity is a sum of steps, not of gradients.

    .. math:: \Delta\theta_t = \beta\,\Delta\theta_{t-1} - \eta_t\,g_t

    A rate that changes acts on new gradients alone, where :class:`sgd` (and torch) scale the whole
    velocity. At a constant rate the two are the same.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        momentum: decay of the velocity, :math:`\beta \in [0, 1)`.
        nesterov: whether to look ahead along the velocity:
            :math:`\beta\,\Delta\theta_t - \eta_t\,g_t`.
        accumulator_dtype: dtype of the velocity; the parameter's if None.

    When:
        As :class:`sgd` with momentum, where the rate changes abruptly and old steps are to keep
        theirs; or to follow papers that write it so.

    References:
        Polyak, *Some methods of speeding up the convergence of iteration methods*, 1964,
        doi:10.1016/0041-5553(64)90137-5, eq. 9; Rumelhart, Hinton & Williams, *Learning
        representations by back-propagating errors*, 1986, doi:10.1038/323533a0, eq. 9.
    """

    learning_rate: Rate
    momentum: Decay = 0.9
    nesterov: Static[bool] = False
    accumulator_dtype: DType = None
    family = "gradient_descent"
    usual_rate = 0.05

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_learning_rate(self.learning_rate),
            trace(self.momentum, self.nesterov, self.accumulator_dtype),
        )
