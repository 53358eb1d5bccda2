"""Schedule-free gradient descent and schedule-free AdamW."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import (
    Decay,
    DType,
    NonNegative,
    Rate,
    Scalar,
    Schedule,
    Transform,
    add_decayed_weights,
    as_schedule,
    chain,
    divide,
    scale_by_learning_rate,
)
from fnopt.core.types import OptState, Params
from fnopt.first_order.rmsprop import scale_by_rms
from fnopt.first_order.schedule_free import Share, Warmup, schedule_free


class _warmed_up(Schedule):
    """A rate that rises from 0 in a straight line before it is itself."""

    rate: Scalar
    steps: Warmup

    def at(self, count: jax.Array) -> Any:
        return as_schedule(self.rate)(count) * jnp.minimum(divide(count, self.steps, 1.0), 1.0)


class _ScheduleFree(Transform):
    """What the ready optimizers share: they are a ``schedule_free``, with its state."""

    learning_rate: Rate
    warmup_steps: Warmup = None

    def parts_of(self, rate: Any) -> tuple[Transform, ...]:
        """The optimizer's parts, given its rate."""
        raise NotImplementedError

    @property
    def whole(self) -> schedule_free:
        """The same as a ``schedule_free``."""
        rate, numbers = self.learning_rate, vars(self)
        if self.warmup_steps is not None:
            rate = _warmed_up(rate, self.warmup_steps)
        names = ("b1", "weight_lr_power", "state_dtype")
        return schedule_free(
            chain(*self.parts_of(rate)), rate, **{name: numbers[name] for name in names}
        )

    def init(self, params: Any) -> Any:
        return self.whole.init(params)

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        return self.whole.update(updates, state, params, **extra_args)

    def eval_params(self, state: OptState, params: Params) -> Params:
        return self.whole.eval_params(state, params)

    @property
    def evaluates(self) -> bool | None:
        return self.whole.evaluates

    def count(self, state: Any) -> jax.Array | None:
        return self.whole.count(state)

    def hyperparameters(self, state: Any, **extra_args: Any) -> dict[str, Any]:
        rate = self.whole.hyperparameters(state, **extra_args)["learning_rate"]
        return {**super().hyperparameters(state, **extra_args), "learning_rate": rate}


class schedule_free_sgd(_ScheduleFree):
    r"""Schedule-free gradient descent: :class:`schedule_free` of steps along the gradient.

    Args:
        learning_rate: :math:`\eta \ge 0`.
        warmup_steps: updates in which the rate rises from 0 to :math:`\eta`; none if None or 0.
        b1: :math:`\beta_1 \in (0, 1]`.
        weight_decay: :math:`\lambda \ge 0`, of an L2 penalty at :math:`y`; none if None or 0.
        weight_lr_power: :math:`p \ge 0`, how much less updates with a small rate count.
        state_dtype: of :math:`z`; that of the parameter if None.

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

    def parts_of(self, rate: Any) -> tuple[Transform, ...]:
        step = scale_by_learning_rate(rate)
        if self.weight_decay is None:
            return (step,)
        return add_decayed_weights(self.weight_decay), step


class schedule_free_adamw(_ScheduleFree):
    r"""Schedule-free AdamW: :class:`schedule_free` of AdamW without its mean.

    The bias of the mean square is corrected at the root, as in the authors' program from release
    1.3 on and in optax; the paper has it in the rate, hence in decay and weights too. The warm-up
    begins at 0, as in optax, the paper's at the first of its steps.

    Args:
        learning_rate: :math:`\eta \ge 0`.
        warmup_steps: updates in which the rate rises from 0 to :math:`\eta`; none if None or 0.
        b1: :math:`\beta_1 \in (0, 1]`, in the place of the mean's.
        b2: :math:`\beta_2 \in [0, 1)`, of the mean square.
        eps: :math:`\epsilon \ge 0`, beside the root.
        weight_decay: :math:`\lambda \ge 0`, of the weights at :math:`y`.
        weight_lr_power: :math:`p \ge 0`, how much less updates with a small rate count.
        state_dtype: of :math:`z`; that of the parameter if None.

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

    def parts_of(self, rate: Any) -> tuple[Transform, ...]:
        return (
            scale_by_rms(self.b2, self.eps, eps_in_sqrt=False, bias_correction=True),
            add_decayed_weights(self.weight_decay),
            scale_by_learning_rate(rate),
        )
