"""LAMB."""

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
from fnopt.first_order.adam import scale_by_adam
from fnopt.first_order.trust_ratio import scale_by_trust_ratio


class lamb(Composed):
    r"""LAMB: AdamW's direction, in each layer as long as its weights.

    .. math:: r_t = \hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon) + \lambda\,\theta_{t-1},
        \qquad \Delta\theta_t = -\eta_t\,\frac{\lVert\theta_{t-1}\rVert}{\lVert r_t\rVert}\,r_t

    Norms are those of a leaf; a leaf of zeros takes the step :math:`-\eta_t\,r_t`.

    When:
        Very large batches (thousands), where AdamW must be warmed up long. With usual batches
        AdamW serves as well.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.

    References:
        You et al., *Large batch optimization for deep learning: training BERT in 76 minutes*,
        ICLR 2020, arXiv:1904.00962, Algorithm 2 with the identity for :math:`\phi`.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-6
    eps_root: NonNegative = 0.0
    weight_decay: Rate = 0.0
    mask: Mask = None
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adam(self.b1, self.b2, self.eps, self.eps_root),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_trust_ratio(),
            scale_by_learning_rate(self.learning_rate),
        )
