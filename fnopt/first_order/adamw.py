"""AdamW."""

from __future__ import annotations

import dataclasses

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Mask,
    NonNegative,
    Rate,
    Static,
    Transform,
    add_decayed_weights,
    scale_by_learning_rate,
)
from fnopt.first_order.adam import scale_by_adam


class adamw(Composed):
    r"""Adam with decoupled weight decay.

    .. math:: \Delta\theta_t = -\eta_t\,
        \bigl(\hat m_t / (\sqrt{\hat v_t + \bar\epsilon} + \epsilon) + \lambda\,\theta_{t-1}\bigr)

    The decay is multiplied by the rate, as in optax and torch.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        nesterov: whether to use Nesterov's momentum (NAdamW).
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        The default for transformers and for most networks that are regularized by weight decay;
        mask biases and scales out of the decay.

    References:
        Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101,
        Algorithm 2.
    """

    learning_rate: Rate
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    weight_decay: Rate = 1e-4
    mask: Mask = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    nu_dtype: DType = None
    family = "adaptive"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_adam(
                self.b1,
                self.b2,
                self.eps,
                self.eps_root,
                self.mu_dtype,
                nesterov=self.nesterov,
                nu_dtype=self.nu_dtype,
            ),
            add_decayed_weights(self.weight_decay, self.mask),
            scale_by_learning_rate(self.learning_rate),
        )
