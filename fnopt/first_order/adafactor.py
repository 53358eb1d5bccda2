"""Adafactor."""

from __future__ import annotations

from fnopt.core import (
    Composed,
    Decay,
    DType,
    Mask,
    NonNegative,
    Positive,
    Rate,
    Static,
    Transform,
    add_decayed_weights,
    ema,
    identity,
    scale,
    scale_by_learning_rate,
)
from fnopt.core.schedule import Bound
from fnopt.first_order.block import clip_by_block_rms, scale_by_param_block_rms
from fnopt.first_order.factored import scale_by_factored_rms


class adafactor(Composed):
    r"""Adafactor: RMSProp with a factored second moment and steps relative to the weights.

    .. math::
        U_t = g_t / \sqrt{R_t\,C_t / 1^T R_t}, \qquad
        \hat U_t = U_t / \max(1, \text{rms}(U_t) / d), \qquad
        \Delta\theta_t = -\eta_t \max(\text{rms}(\theta_{t-1}), 10^{-3})\,\hat U_t

    with the moments of :class:`scale_by_factored_rms`. The learning rate is thus a relative one.
    Momentum and decay, where wanted, come last: the decay is not multiplied by the rate.

    When:
        Large transformers when memory is short: a second moment of a matrix costs a row and a
        column. AdamW is easier to tune where it fits.

    Args:
        learning_rate: :math:`\eta \ge 0`; None for 1. The paper's is
            :math:`\min(10^{-2}, 1 / \sqrt t)`.
        min_dim_size_to_factor: the two longest axes are factored if as long as this.
        decay_rate: :math:`c > 0` in the decay :math:`1 - t^{-c}`.
        decay_offset: subtracted from :math:`t` in it.
        multiply_by_parameter_scale: False for steps that are not relative to the weights.
        clipping_threshold: :math:`d > 0`; None or inf does not clip.
        momentum: of the average of steps, in [0, 1); None keeps none.
        dtype_momentum: of that average.
        weight_decay_rate: at least 0, not times :math:`\eta`; None does not decay.
        eps: added to squared gradients, above 0.
        factored: False keeps the whole second moment.
        weight_decay_mask: the leaves to decay; all if None.

    References:
        Shazeer & Stern, *Adafactor: adaptive learning rates with sublinear memory cost*, ICML
        2018, arXiv:1804.04235, Algorithms 4 and 5.
    """

    learning_rate: Rate = None
    min_dim_size_to_factor: Static[int] = 128
    decay_rate: Positive = 0.8
    decay_offset: NonNegative = 0.0
    multiply_by_parameter_scale: Static[bool] = True
    clipping_threshold: Bound = 1.0
    momentum: Decay = None
    dtype_momentum: DType = "float32"
    weight_decay_rate: Rate = None
    eps: Positive = 1e-30
    factored: Static[bool] = True
    weight_decay_mask: Mask = None
    family = "layerwise"

    def parts(self) -> tuple[Transform, ...]:
        clipping, momentum, decay = (
            self.clipping_threshold,
            self.momentum,
            self.weight_decay_rate,
        )
        return (
            scale_by_factored_rms(
                self.factored,
                self.decay_rate,
                self.decay_offset,
                self.min_dim_size_to_factor,
                self.eps,
            ),
            identity() if clipping is None else clip_by_block_rms(clipping),
            scale_by_learning_rate(self.learning_rate, flip_sign=False),
            scale_by_param_block_rms() if self.multiply_by_parameter_scale else identity(),
            identity() if momentum is None else ema(momentum, False, self.dtype_momentum),
            identity() if decay is None else add_decayed_weights(decay, self.weight_decay_mask),
            scale(-1.0),
        )
