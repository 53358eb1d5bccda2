"""GaLore's direction."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from fnopt.core import Inner, Scalar, Static, Transform, Wrapper
from fnopt.core.checks import float_leaves, leaves_like, same_shape
from fnopt.core.moments import cast
from fnopt.core.ranges import AtLeastOne
from fnopt.core.schedule import is_schedule
from fnopt.core.transform import foreign
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.first_order.adam import scale_by_adam
from fnopt.matrix.subspace import Axes, Plan, plans_of


class scale_by_galore(Wrapper):
    r"""Preconditions gradients of matrices within a subspace of low rank, found by their SVD.

    For a matrix :math:`G_t` of shape :math:`m \times n`, and at every :math:`T`-th update
    :math:`U \Sigma V^\top = G_t`,

    .. math::
        P_t &= U_{:,1:r} \text{ every } T \text{ updates, } P_{t-1} \text{ otherwise} \\
        u_t &= \alpha\,P_t\,\rho_t(P_t^\top G_t)

    with :math:`\rho` the base optimizer, whose slots have :math:`r` rows; or the same of
    :math:`G_t^\top`. optax's function, and this one by default, projects the longer side,
    so that slots and projector are smallest together; the paper the shorter.

    Args:
        rank: rank of the subspace, an integer :math:`r \ge 1`, at most the shorter side of a
            matrix.
        update_proj_gap: number of updates per subspace, :math:`T \ge 1`, rounded.
        scale: factor of the direction, :math:`\alpha`; 1/4 in the paper.
        base_optimizer: the transform :math:`\rho`, of other leaves too; :class:`scale_by_adam` if
            None. It receives no parameters, which are not in the subspace.
        weight_dimension_numbers: the axes of a leaf that are rows and those that are columns: a
            ``GaLoreDimensionNumbers`` for all leaves of two axes and more, a tree of them with
            None for leaves that are left whole, or a function of the parameters that gives one.
            If None, arrays of two axes are matrices.
        long_side: whether the longer side is projected; False for the paper's.

    Raises:
        TypeError: the rank is no integer.
        ValueError: it is below 1, or the axes named are not those of the leaf.

    References:
        Zhao et al., *GaLore: memory-efficient LLM training by gradient low-rank projection*, ICML
        2024, arXiv:2403.03507, Algorithm 2.
    """

    rank: Static[int] = 128
    update_proj_gap: AtLeastOne = 200
    scale: Scalar = 1.0
    base_optimizer: Inner = None
    weight_dimension_numbers: Axes = None
    _: dataclasses.KW_ONLY
    long_side: Static[bool] = True
    family = "parts"

    elementwise = False  # a subspace is that of a matrix

    @property
    def alike(self) -> bool:
        # A tree or a function of names of axes may tell leaves of one shape apart.
        return self.weight_dimension_numbers is None

    State = optax.contrib.GaLoreState
    inner_state = "base_optimizer_state"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rank, int) or isinstance(self.rank, bool):
            raise TypeError(f"scale_by_galore: rank must be an integer, got {self.rank!r}")
        if self.rank < 1:
            raise ValueError(f"scale_by_galore: rank must be at least 1, got {self.rank!r}")

    @property
    def wrapped(self) -> Transform:
        return scale_by_adam() if self.base_optimizer is None else self.base_optimizer

    def init(self, params: Params) -> OptState:
        paths, leaves, treedef = float_leaves("params", params)
        plans = self._plans(params, paths)
        low = leaves[:]
        projectors: list[Any] = [optax.MaskedNode()] * len(leaves)
        for i, plan in enumerate(plans):
            if plan is not None:
                low[i], projectors[i] = (jnp.zeros(shape, leaves[i].dtype) for shape in plan.slots)
        return self.State(
            count=jnp.zeros((), jnp.int32),
            base_optimizer_state=self.wrapped.init(treedef.unflatten(low)),
            projector=treedef.unflatten(projectors),
        )

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        inner_state = self.check(state)
        paths, grads, treedef = float_leaves("updates", updates)
        if params is not None:
            like = leaves_like(treedef, "params", params, "updates")
            for path, grad, param in zip(paths, grads, like, strict=True):
                same_shape(path, grad.shape, jnp.shape(param), "parameter")
        plans = self._plans(updates, paths)
        projectors = leaves_like(treedef, "state.projector", state.projector, "updates")
        renew = state.count % _at(self.update_proj_gap, state.count, jnp.int32) == 0
        low: list[Any] = list(grads)
        for i, plan in enumerate(plans):
            if plan is not None:
                same_shape(paths[i], plan.slots[1], projectors[i].shape, "state.projector")
                low[i], projectors[i] = plan.project(grads[i], projectors[i], renew)
                if isinstance(self.wrapped, foreign):
                    low[i] = cast(low[i], grads[i].dtype)
        low, inner_state = self.wrapped.update(
            treedef.unflatten(low), inner_state, None, **extra_args
        )
        scale = _at(self.scale, state.count, jnp.result_type(float))
        directions = [
            direction if plan is None else plan.back(direction, projector, scale)
            for direction, projector, plan in zip(
                treedef.flatten_up_to(low), projectors, plans, strict=True
            )
        ]
        back = [cast(x, grad.dtype) for x, grad in zip(directions, grads, strict=True)]
        return treedef.unflatten(back), self.State(
            count=optax.safe_increment(state.count),
            base_optimizer_state=inner_state,
            projector=treedef.unflatten(projectors),
        )

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def _plans(self, tree: PyTree, paths: list[str]) -> list[Plan | None]:
        return plans_of(self.weight_dimension_numbers, self.rank, self.long_side, tree, paths)


def _at(number: Any, count: jax.Array, dtype: Any) -> jax.Array:
    value = jnp.asarray(number(count) if is_schedule(number) else number)
    return jnp.round(value).astype(dtype) if dtype == jnp.int32 else value.astype(dtype)
