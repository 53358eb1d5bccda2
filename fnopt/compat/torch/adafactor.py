"""torch's Adafactor."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.compat.torch.base import Switch, TorchOptimizer, refuse_complex
from fnopt.core import Context, Rate, Rule, Static, Transform, abs_sq, moment, rms
from fnopt.core.checks import Interval
from fnopt.core.ranges import AtLeastOne, Scheduled, Several
from fnopt.core.types import LeafUpdate, OptState, Params, Slots
from fnopt.first_order.factored import factored_zeros

_FROM_0 = Scheduled(Interval("[0, inf)"))
Eps = Annotated[Any, Several(of=(_FROM_0, _FROM_0))]
UpToZero = Annotated[Any, Scheduled(Interval("(-inf, 0]"))]


def _mean_sq(x: jax.Array, axis: int) -> jax.Array:
    # 0 where there is nothing to take the mean of.
    return jnp.sum(abs_sq(x), axis) / max(x.shape[axis], 1)


class AdafactorState(NamedTuple):
    """The state of :class:`Adafactor`.

    Attributes:
        count: number of updates so far.
        row_var, col_var: for leaves of two axes or more, the means of squares along the last axis
            and along the one before it.
        variance: mean square of the other leaves.
    """

    count: jax.Array
    row_var: Any
    col_var: Any
    variance: Any


class step_of_adafactor(Rule):
    """What :class:`Adafactor` does with a gradient, with its arguments."""

    lr: Rate = 1e-2
    beta2_decay: UpToZero = -0.8
    eps: Eps = (None, 1e-3)
    d: AtLeastOne = 1.0
    weight_decay: Rate = 0.0

    State = AdafactorState
    needs_params = True

    def init_leaf(self, param: jax.Array) -> dict[str, Any]:
        row, col, whole = factored_zeros(param, (-2, -1) if param.ndim > 1 else None)
        return {"row_var": row, "col_var": col, "variance": whole}

    def update_leaf(self, grad: jax.Array, slots: Slots, param: Any, ctx: Context) -> LeafUpdate:
        eps1, eps2 = self.eps
        if eps1 is None:
            eps1 = float(jnp.finfo(ctx.dtype).eps)
        size = jnp.maximum(eps2, rms(param))
        rate = size * jnp.minimum(self.lr, 1 / jnp.sqrt(ctx.t))
        decay = 1 - ctx.t**self.beta2_decay
        row, col, square = slots
        if isinstance(square, jax.Array):
            square = estimate = moment(abs_sq(grad), square, decay)
        else:
            row = moment(_mean_sq(grad, -1), row, decay)
            col = moment(_mean_sq(grad, -2), col, decay)
            total = jnp.maximum(jnp.mean(row, -1, keepdims=True), eps1)[..., None]
            estimate = row[..., None] * col[..., None, :] / total
        update = grad * jax.lax.rsqrt(jnp.maximum(estimate, eps1 * eps1))
        clipped = jnp.maximum(1.0, rms(update) / self.d)
        step = -rate / clipped * update - self.lr * self.weight_decay * param
        return step, {"row_var": row, "col_var": col, "variance": square}


class Adafactor(TorchOptimizer):
    r"""``torch.optim.Adafactor``, which differs from the paper's and from optax's.

    .. math::
        \hat\beta_t &= 1 - t^{\gamma}, \qquad
        R_t, C_t = \text{averages of } g_t^2 \text{ along rows and columns}, \qquad
        V_t = R_t\,C_t / \max(\operatorname{mean} R_t, \epsilon_1) \\
        U_t &= g_t / \max(\sqrt{V_t}, \epsilon_1), \qquad
        \alpha_t = \max(\epsilon_2, \operatorname{rms} \theta_{t-1})\,\min(\eta_t, 1 / \sqrt t) \\
        \theta_t &= (1 - \eta_t\,\lambda)\,\theta_{t-1}
            - \alpha_t\,U_t / \max(1, \operatorname{rms}(U_t) / d)

    The two last axes are factored, of any lengths: of a convolution in torch's layout its
    height and width, of a kernel of Flax its inputs and outputs.

    Args:
        lr: learning rate :math:`\eta \ge 0`.
        beta2_decay: power in the decay, :math:`\gamma \le 0`.
        eps: smallest root of the mean square, :math:`\epsilon_1 \ge 0`, the machine epsilon of the
            parameter's dtype if None, and smallest scale of the parameter,
            :math:`\epsilon_2 \ge 0`.
        d: largest root mean square of a step, :math:`d \ge 1`.
        weight_decay: strength of the weight decay, :math:`\lambda \ge 0`.
        foreach: ignored; see :class:`TorchOptimizer`.
        maximize: whether to maximize the objective.

    Raises:
        ValueError: a number is out of its range.
        TypeError: in ``init``, a parameter is complex.

    References:
        Shazeer & Stern, arXiv:1804.04235, and torch 2.13, ``torch/optim/_adafactor.py``.
    """

    lr: Rate = 1e-2
    beta2_decay: UpToZero = -0.8
    eps: Eps = (None, 1e-3)
    d: AtLeastOne = 1.0
    weight_decay: Rate = 0.0
    _: dataclasses.KW_ONLY
    foreach: Switch = None
    maximize: Static[bool] = False

    def init(self, params: Params) -> OptState:
        refuse_complex(self, params)
        return super().init(params)

    def parts(self) -> tuple[Transform, ...]:
        method = step_of_adafactor(self.lr, self.beta2_decay, self.eps, self.d, self.weight_decay)
        return *self.climbing(), method
