"""AdamC: AdamW whose weight decay falls with the rate where a normalization follows."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

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
    combined,
    scale_by_learning_rate,
)
from fnopt.first_order.adam import scale_by_adam
from fnopt.first_order.corrected_weight_decay import add_corrected_weight_decay


class adamc(Composed):
    r"""Adam with a weight decay that does not make gradients grow as the learning rate falls.

    .. math:: \Delta\theta_t = -\gamma_t\,\bigl(\hat m_t / (\sqrt{\hat v_t + \bar\epsilon}
        + \epsilon) + \lambda_t\,\theta_{t-1}\bigr), \qquad
        \lambda_t = \lambda\,\gamma_t / \gamma_{\max}

    for the weights of layers that a normalization follows, and :math:`\lambda_t = \lambda` for the
    others, as the last layer; see :class:`add_corrected_weight_decay`. At a constant rate of
    :math:`\gamma_{\max}` it is :class:`adamw`.

    Args:
        learning_rate: learning rate :math:`\gamma \ge 0`.
        peak_value: its largest value, :math:`\gamma_{\max} > 0`.
        b1: decay of the mean, :math:`\beta_1 \in [0, 1)`.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        eps_root: added under the root, :math:`\bar\epsilon \ge 0`.
        mu_dtype: dtype of the mean; the parameter's if None.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        mask: the leaves to decay; all if None.
        normalized: the leaves whose decay is corrected; all if None.
        nesterov: whether to use Nesterov's momentum.
        nu_dtype: dtype of the mean square; the parameter's, float32 at least, if None.

    When:
        As :class:`adamw`, in long trainings at a rate that falls far.

    References:
        Defazio, *Why gradients rapidly increase near the end of training*, 2025, arXiv:2506.02285.

    >>> import fnopt
    >>> rate = fnopt.cosine_decay_schedule(1e-3, 10_000)
    >>> tx = fnopt.adamc(rate, 1e-3, weight_decay=0.1, normalized="*/hidden/*")
    """

    learning_rate: Rate
    peak_value: Positive
    b1: Decay = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    eps_root: NonNegative = 0.0
    mu_dtype: DType = None
    weight_decay: Rate = 1e-4
    mask: Mask = None
    normalized: Mask = None
    _: dataclasses.KW_ONLY
    nesterov: Static[bool] = False
    nu_dtype: DType = None
    family = "adaptive"
    example: ClassVar[dict[str, Any]] = {"peak_value": 1e-3}

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
            *self._decays(),
            scale_by_learning_rate(self.learning_rate),
        )

    def _decays(self) -> tuple[Transform, ...]:
        def corrected(mask: Any) -> Transform:
            return add_corrected_weight_decay(
                self.weight_decay, self.learning_rate, self.peak_value, mask
            )

        if self.normalized is None:
            return (corrected(self.mask),)
        both = self.normalized, *(() if self.mask is None else (self.mask,))
        plain = combined(lambda follows, *decays: not follows and all(decays), *both)
        return (
            corrected(combined(lambda follows, *decays: follows and all(decays), *both)),
            add_decayed_weights(self.weight_decay, plain),
        )
