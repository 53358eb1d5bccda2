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
from fnopt.core.ranges import Bound
from fnopt.first_order.block import clip_by_block_rms, scale_by_param_block_rms
from fnopt.first_order.factored import scale_by_factored_rms


class adafactor(Composed):
    r"""Adafactor: RMSProp with a factored second moment and steps relative to the weights.

    .. math::
        U_t = g_t / \sqrt{R_t\,C_t / 1^T R_t}, \qquad
        \hat U_t = U_t / \max(1, \text{rms}(U_t) / d), \qquad
        \Delta\theta_t = -\eta_t \max(\text{rms}(\theta_{t-1}), 10^{-3})\,\hat U_t

    with the moments of :class:`scale_by_factored_rms`. So the learning rate is a relative one.
    Momentum and decay, if used, come last: the decay is not multiplied by the rate.

    When:
        Large transformers when memory is short: a second moment of a matrix costs a row and a
        column. AdamW is easier to tune where it fits.

    Args:
        learning_rate: relative learning rate :math:`\eta \ge 0`; 1 if None. The paper's is
            :math:`\min(10^{-2}, 1 / \sqrt t)`.
        min_dim_size_to_factor: length from which the two longest axes are factored, an integer.
        decay_rate: power in the decay :math:`1 - t^{-c}`, :math:`c > 0`.
        decay_offset: number subtracted from :math:`t` in the decay, at least 0.
        multiply_by_parameter_scale: whether steps are relative to the size of the weights.
        clipping_threshold: largest root mean square of a step, :math:`d > 0`; None or inf does not
            clip.
        momentum: decay of the average of steps, in [0, 1); no average if None.
        dtype_momentum: dtype of that average; the parameter's if None.
        weight_decay_rate: strength of the weight decay, at least 0, not times :math:`\eta`; none if
            None.
        eps: added to squared gradients, above 0.
        factored: whether the second moment is factored; False keeps all of it.
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
