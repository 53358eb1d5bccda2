"""AdaMaxW."""

from __future__ import annotations

from fnopt.core import (
    Composed,
    Decay,
    Mask,
    NonNegative,
    Rate,
    Transform,
    add_decayed_weights,
    scale_by_learning_rate,
)
from fnopt.first_order.adamax import scale_by_adamax


class adamaxw(Composed):
    r"""AdaMax with decoupled weight decay.

    .. math:: \Delta\theta_t = -\eta_t\,
        \Bigl(\frac{m_t}{(1 - \beta_1^t)\,w_t} + \lambda\,\theta_{t-1}\Bigr)

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the largest magnitude, :math:`\beta_2 \in [0, 1)`.
        eps: added to the magnitude, :math:`\epsilon > 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    When:
        Where :class:`adamax` suits and the weights are to be regularized.

    References:
        Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980,
        Algorithm 2; Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019,
        arXiv:1711.05101.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    weight_decay: Rate = 1e-4
    mask: Mask = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adamax(self.b1, self.b2, self.eps),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
