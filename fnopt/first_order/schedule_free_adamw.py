"""Schedule-free gradient descent and schedule-free AdamW."""

from __future__ import annotations

from typing import Any

from fnopt.core import (
    Decay,
    DType,
    NonNegative,
    Rate,
    Transform,
    add_decayed_weights,
    scale_by_learning_rate,
)
from fnopt.first_order.rmsprop import scale_by_rms
from fnopt.first_order.schedule_free import Share, Warmup
from fnopt.first_order.schedule_free_ready import ReadyScheduleFree


class schedule_free_sgd(ReadyScheduleFree):
    r"""Schedule-free gradient descent: :class:`schedule_free` of steps along the gradient.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        warmup_steps: number of updates in which the rate rises from 0 to :math:`\eta`; 0 if None.
        b1: weight of the average in the parameters, :math:`\beta_1 \in (0, 1]`.
        weight_decay: strength of an L2 penalty at :math:`y`, :math:`\lambda \ge 0`; none if None.
        weight_lr_power: power of the rate that weighs an update in the average, :math:`p \ge 0`.
        state_dtype: dtype of :math:`z`; the parameter's if None.

    When:
        Gradient descent with momentum suits and the length of the training is open.

    References:
        Defazio et al., *The road less scheduled*, NeurIPS 2024, arXiv:2405.15682, eqs. 3-5.
    """

    learning_rate: Rate = 1.0
    warmup_steps: Warmup = None
    b1: Share = 0.9
    weight_decay: Rate = None
    weight_lr_power: NonNegative = 2.0
    state_dtype: DType = None
    family = "rate_free"

    def parts_of(self, rate: Any) -> tuple[Transform, ...]:
        step = scale_by_learning_rate(rate)
        if self.weight_decay is None:
            return (step,)
        return add_decayed_weights(self.weight_decay), step


class schedule_free_adamw(ReadyScheduleFree):
    r"""Schedule-free AdamW: :class:`schedule_free` of AdamW without its mean.

    The bias of the mean square is corrected at the root, as in the authors' program from release
    1.3 on and in optax; the paper has it in the rate, hence in decay and weights too. The warm-up
    begins at 0, as in optax, the paper's at the first of its steps.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        warmup_steps: number of updates in which the rate rises from 0 to :math:`\eta`; 0 if None.
        b1: weight of the average in the parameters, :math:`\beta_1 \in (0, 1]`, instead of a mean.
        b2: decay of the mean square, :math:`\beta_2 \in [0, 1)`.
        eps: added to the root, :math:`\epsilon \ge 0`.
        weight_decay: strength of the weight decay at :math:`y`, :math:`\lambda \ge 0`.
        weight_lr_power: power of the rate that weighs an update in the average, :math:`p \ge 0`.
        state_dtype: dtype of :math:`z`; the parameter's if None.

    When:
        AdamW suits and the length of the training is open; its rate is one to ten times AdamW's.

    References:
        Defazio et al., *The road less scheduled*, NeurIPS 2024, arXiv:2405.15682, Algorithm 1.

    >>> import fnopt, jax.numpy as jnp
    >>> tx, params = fnopt.schedule_free_adamw(0.01, warmup_steps=100), jnp.ones(3)
    >>> averaged = fnopt.schedule_free_eval_params(tx.init(params), params)
    """

    learning_rate: Rate = 0.0025
    warmup_steps: Warmup = None
    b1: Share = 0.9
    b2: Decay = 0.999
    eps: NonNegative = 1e-8
    weight_decay: Rate = 0.0
    weight_lr_power: NonNegative = 2.0
    state_dtype: DType = None
    family = "rate_free"

    def parts_of(self, rate: Any) -> tuple[Transform, ...]:
        return (
            scale_by_rms(self.b2, self.eps, eps_in_sqrt=False, bias_correction=True),
            add_decayed_weights(self.weight_decay),
            scale_by_learning_rate(rate),
        )
