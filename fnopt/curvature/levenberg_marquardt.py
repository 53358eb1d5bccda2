"""Levenberg-Marquardt."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import (
    NonNegative,
    Outcome,
    Positive,
    Rate,
    Static,
    Transform,
    evaluation_of,
    real_zeros,
)
from fnopt.core.checks import positive_integer, refuse_state
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.bounds import Bounds
from fnopt.curvature.damped_step import try_step
from fnopt.curvature.dense import RealVector
from fnopt.curvature.preconditioned import params_like, refuse_complex

Solver = Annotated[Any, Field(static=True, choices=(None, "qr", "cholesky", "cg"))]
_ACCEPTED, _REACH, _MOST = 1e-4, 10.0, 1e10


class LevenbergMarquardtState(NamedTuple):
    """State of Levenberg-Marquardt.

    Attributes:
        count: number of updates so far.
        accepted: number of those that moved.
        damping: the damping of the next update.
        growth: the factor of the damping at the next rejection.
        scale: the largest curvature so far of each parameter, a root; 0 with ``"cg"``.
        value: the loss at the parameters that the last update led to.
        values, grads, products: numbers of losses, Jacobians and products in the last update.
    """

    count: jax.Array
    accepted: jax.Array
    damping: jax.Array
    growth: jax.Array
    scale: Any
    value: jax.Array
    values: jax.Array
    grads: jax.Array
    products: jax.Array


class levenberg_marquardt(Transform):
    r"""Levenberg-Marquardt: Gauss-Newton with a damping that follows the success of its steps.

    .. math::
        h_t &= -(A_t + \lambda_t D_t^2)^{-1} g_t, \qquad D_{t,ii} = \max_{s \le t} \sqrt{A_{s,ii}}
        \\
        \rho_t &= \frac{L(\theta) - L(\theta + \eta\,h_t)}{-\eta\,\langle g_t, h_t \rangle
            - \tfrac12 \eta^2 \langle h_t, A_t\,h_t \rangle}

    If :math:`\rho_t > 10^{-4}`, the update is :math:`\eta\,h_t`, and :math:`\lambda_{t+1} =
    \lambda_t \max\bigl(1/3,\, 1 - (2\,\rho_t - 1)^3\bigr)`. Otherwise, also where the loss at the
    trial point is not finite, it is 0, and :math:`\lambda` is multiplied by 2, at once again by 4,
    8 and so on. The first step is no longer than 10 times the parameters, in units of D.

    For residuals r, :math:`A = J^\top J` and :math:`g = J^\top r`; for another loss on outputs, A
    is the Gauss-Newton matrix. ``update`` needs an ``evaluation``: a step of :mod:`fnopt.train`
    passes it, by hand it is ``Evaluation.of_residuals(residuals)``, or of_outputs.
    :func:`fnopt.solve.least_squares` is the whole solve.

    Args:
        learning_rate: factor of the step, :math:`\eta \ge 0`.
        damping: the first :math:`\lambda > 0`; without a unit, but in units of A for ``"cg"``.
        solver: ``"qr"`` of the Jacobian, the most exact; ``"cholesky"`` of A, for any loss; or
            ``"cg"``, products with A alone, and :math:`D = I`. None for ``"qr"`` where there are
            residuals, else ``"cg"``.
        max_cg_steps: largest number of steps of conjugate gradients, at least 1.
        rtol: they end at a residual of this times the norm of the gradient, at least 0.
        lower: smallest values: a number, or a tree like the parameters, which begin within the
            bounds and stay there. None for no bound. Not with ``"cg"``.
        upper: largest values, likewise.

    Raises:
        TypeError: a parameter is complex.
        ValueError: ``update`` received no parameters, or no residuals or outputs.

    When:
        Least squares: fits of curves and of small networks. With ``"cg"``, networks in large
        batches.

    References:
        Moré, *The Levenberg-Marquardt algorithm: implementation and theory*, Numerical Analysis,
        Springer 1978, for D and QR; Nielsen, *Damping parameter in Marquardt's method*, report
        IMM-REP-1999-05, for the damping; Kanzow, Yamashita & Fukushima, *Levenberg-Marquardt
        methods with strong local convergence properties for solving nonlinear equations with
        convex constraints*, JCAM 172, 2004, doi:10.1016/j.cam.2004.02.013, for bounds.

    >>> import fnopt, jax.numpy as jnp, optax
    >>> evaluation = fnopt.core.Evaluation.of_residuals(lambda p: jnp.exp(p * jnp.arange(3.0)) - 2)
    >>> tx, rate = fnopt.levenberg_marquardt(), jnp.array(1.0)
    >>> state = tx.init(rate)
    >>> for _ in range(9):
    ...     grad = evaluation.grad(rate)
    ...     updates, state = tx.update(grad, state, rate, evaluation=evaluation)
    ...     rate = optax.apply_updates(rate, updates)
    >>> round(float(rate), 3)
    0.389
    """

    learning_rate: Rate = 1.0
    damping: Positive = 1e-3
    solver: Solver = None
    max_cg_steps: Static[int] = 20
    rtol: NonNegative = 1e-4
    lower: Bounds = None
    upper: Bounds = None

    State = LevenbergMarquardtState
    family = "curvature"

    def __post_init__(self) -> None:
        super().__post_init__()
        positive_integer("levenberg_marquardt: max_cg_steps", self.max_cg_steps)
        if self.solver == "cg" and (self.lower is not None or self.upper is not None):
            raise ValueError(
                "levenberg_marquardt: bounds need solver 'qr' or 'cholesky', got 'cg'; or leave"
                " them out, and clip with fnopt.keep_params_nonnegative and the like"
            )

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> LevenbergMarquardtState:
        refuse_complex(self, params)
        zero, real = jnp.zeros((), jnp.int32), RealVector.of(params).dtype
        damping = at_count(self, zero, real).damping
        scale = jax.tree.map(lambda p: real_zeros(jnp.asarray(p), dtype=real), params)
        return LevenbergMarquardtState(
            zero, zero, jnp.asarray(damping, real), jnp.full((), 2, real), scale,
            jnp.zeros((), real), zero, zero, zero,
        )  # fmt: skip

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params = None,
        *,
        value: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != LevenbergMarquardtState._fields:
            refuse_state(self, state)
        params, evaluation = params_like(self, updates, params), evaluation_of(extra_args)
        rule = at_count(self, state.count, state.damping.dtype)
        grads = jax.tree.map(lambda g, p: cast(jnp.asarray(g), p.dtype), updates, params)
        trial = try_step(rule, evaluation, params, grads, state, value)
        far = (state.accepted == 0) & (trial.length > _REACH * trial.reach) & (trial.reach > 0)
        accepted = (trial.ratio > _ACCEPTED) & ~far
        factor = jnp.maximum(1 - (2 * trial.ratio - 1) ** 3, 1 / 3)
        factor = jnp.where(accepted, factor, state.growth)
        two = jnp.full_like(state.growth, 2)
        growth = jnp.where(accepted, two, jnp.minimum(2 * state.growth, _MOST))
        count: Any = optax.safe_increment(state.count)
        next_state = LevenbergMarquardtState(
            count,
            state.accepted + accepted.astype(jnp.int32),
            jnp.clip(factor * state.damping, jnp.finfo(two.dtype).tiny ** 0.5, _MOST),
            growth,
            trial.scale,
            jnp.where(accepted, trial.new_value, trial.value),
            *trial.counts,
        )
        step = jax.tree.map(
            lambda h, u: cast(jnp.where(accepted, h, jnp.zeros_like(h)), jnp.asarray(u).dtype),
            trial.step,
            updates,
        )
        return step, next_state

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def outcome(self, state: OptState) -> Outcome | None:
        return Outcome(state.value, None, state.values, state.grads, state.products)

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        named = super().hyperparameters(state, **extra_args)
        named = {name: x for name, x in named.items() if name not in ("lower", "upper")}
        return {**named, "damping": state.damping}
