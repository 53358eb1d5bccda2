"""Generalized primal averaging: Nesterov's momentum, or a smooth DiLoCo, by averaging."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Decay, DType, Inner, Wrapper, real_number
from fnopt.core.checks import Interval, float_leaves, leaves_like, updates_and_params
from fnopt.core.moments import cast
from fnopt.core.ranges import Scheduled
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates
from fnopt.first_order.between import average_of, moved

Share = Annotated[Any, Scheduled(Interval("(0, 1]"))]
"""A share in (0, 1], the average being recomputed by dividing by it."""


class PrimalAveragingState(NamedTuple):
    """The state of :class:`primal_averaging`.

    Attributes:
        count: the number of updates.
        inner_state: the optimizer's.
        train_interp_coeff: weight of the average in the parameters.
        z: the optimizer's points.
    """

    count: jax.Array
    inner_state: Any
    train_interp_coeff: jax.Array
    z: Any


class primal_averaging(Wrapper):
    r"""Averages the points of an optimizer, and takes gradients between them and their average.

    .. math::
        z_t &= z_{t-1} + u_t(y_{t-1}), \qquad
        x_t = \mu_x\,x_{t-1} + (1 - \mu_x)\,z_t \\
        y_t &= \mu_y\,x_t + (1 - \mu_y)\,z_t

    with the steps :math:`u` of the optimizer. The parameters are :math:`y`, where gradients are
    taken; the average :math:`x` is to be evaluated, and is what ``eval_params`` gives. Only
    :math:`z` is stored. With gradient descent and :math:`\mu_x = \mu_y` it is Nesterov's momentum;
    with another share in every step, :class:`schedule_free`.

    The optimizer sees the parameters :math:`y`, so that a weight decay in it is that of
    :math:`y`, as in the authors' program.

    Args:
        inner: the optimizer that gives :math:`u`.
        train_interp_coeff: weight of the average in the parameters, :math:`\mu_y \in (0, 1]`.
        eval_interp_coeff: share of the old in the average, :math:`\mu_x \in [0, 1)`; 0.9967 is
            like :class:`outer_step` with 32 inner steps, 0.9869 with 8 and 0.9984 with 64.
        state_dtype: dtype of :math:`z`; the parameter's if None.

    Raises:
        TypeError: ``inner`` is no transform.
        ValueError: a number is out of its range.

    When:
        In place of :class:`outer_step` on one worker: one slot instead of two, and no period.
        The rate still falls at the end, unlike that of :class:`schedule_free`. Batch statistics
        must be computed again for :math:`x`.

    References:
        Defazio, Mishchenko, Raman, Shi & Xiao, *Smoothing DiLoCo with primal averaging for faster
        training of LLMs*, 2025, arXiv:2512.17131; the numbers are their program's,
        github.com/facebookresearch/optimizers.
    """

    inner: Inner
    train_interp_coeff: Share = 0.7
    eval_interp_coeff: Decay = 0.9967
    state_dtype: DType = None

    State = PrimalAveragingState

    @property
    def keeps_zero(self) -> bool:
        # In another dtype z may differ from the parameters without any update.
        return self.state_dtype is None

    def init(self, params: Params) -> PrimalAveragingState:
        count = jnp.zeros((), jnp.int32)
        _, leaves, treedef = float_leaves("params", params)
        return PrimalAveragingState(
            count=count,
            inner_state=self.inner.init(params),
            train_interp_coeff=real_number(at_count(self, count).train_interp_coeff, leaves),
            z=treedef.unflatten([jnp.array(leaf, self.state_dtype) for leaf in leaves]),
        )

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def eval_params(self, state: OptState, params: Params) -> Params:
        """The average :math:`x`."""
        params = super().eval_params(state, params)
        return average_of(params, state.z, state.train_interp_coeff)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, PrimalAveragingState]:
        inner_state = self.check(state)
        updates, params = updates_and_params(self, updates, params)
        grads, treedef = jax.tree.flatten(updates)
        steps, inner_state = self.inner.update(updates, inner_state, params, **extra_args)
        steps = leaves_like(treedef, "the inner updates", steps, "updates")
        points = leaves_like(treedef, "state.z", state.z, "updates")
        before = state.train_interp_coeff
        rule = at_count(self, state.count, before.dtype)
        share, after = 1 - rule.eval_interp_coeff, jnp.asarray(rule.train_interp_coeff)
        with jax.numpy_dtype_promotion("standard"):
            pairs = [
                moved(y, z, u, share, before, after)
                for y, z, u in zip(jax.tree.leaves(params), points, steps, strict=True)
            ]
        moves = [cast(move, grad.dtype) for (move, _), grad in zip(pairs, grads, strict=True)]
        return treedef.unflatten(moves), PrimalAveragingState(
            count=jnp.asarray(optax.safe_increment(state.count)),
            inner_state=inner_state,
            train_interp_coeff=cast(after, before.dtype),
            z=treedef.unflatten([z for _, z in pairs]),
        )
