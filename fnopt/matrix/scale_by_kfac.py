"""K-FAC's direction."""

from __future__ import annotations

from typing import Annotated, Any

import jax
import jax.numpy as jnp

from fnopt.core import Decay, Evaluation, NonNegative, Seed, Static, Transform, evaluation_of
from fnopt.core.checks import positive_integer, refuse_state
from fnopt.core.fields import Field
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.plan import UNTOUCHED, plan_by
from fnopt.core.prng import typed_key
from fnopt.core.ranges import Bound
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.curvature.gauss_newton_bartlett import Likelihood
from fnopt.curvature.preconditioned import params_like, refuse_complex
from fnopt.matrix.blocks import Block, blocks_of
from fnopt.matrix.choice import Matrices, MatricesField
from fnopt.matrix.damped_factors import SOLVERS
from fnopt.matrix.fisher_roots import FISHERS, roots_of
from fnopt.matrix.kfac_state import KFACState, factors_of, init_state, with_factors
from fnopt.matrix.kfac_step import directions, ordered, renewed_factors
from fnopt.matrix.traced_blocks import TracedBlocks

Fisher = Annotated[Any, Field(static=True, choices=FISHERS)]
"""Which Fisher matrix: of drawn targets, of all, or of those in the batch."""
Solver = Annotated[Any, Field(static=True, choices=SOLVERS)]
"""How factors are inverted, and with them how they are damped."""


class scale_by_kfac(Transform):
    r"""Multiplies gradients by the inverse of a Fisher matrix, a Kronecker product by layer."""

    damping: NonNegative = 1e-3
    decay: Decay = 0.95
    fisher: Fisher = "sampled"
    likelihood: Likelihood = "categorical"
    solver: Solver = "cholesky"
    factor_interval: Static[int] = 1
    inverse_interval: Static[int] = 20
    max_kl: Bound = None
    random_seed: Seed = None
    matrices: MatricesField = None
    family = "parts"

    keeps_zero = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("factor_interval", "inverse_interval"):
            positive_integer(f"{type(self).__name__}: {name}", getattr(self, name))

    @property
    def evaluates(self) -> bool | None:
        return True

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def plan(self, params: Params) -> PyTree:
        plans, treedef = jax.tree.flatten(plan_by(self, params))
        own = {i for block in self._blocks(params) for i in (block.weight, block.bias)}
        return treedef.unflatten(p if i in own else UNTOUCHED for i, p in enumerate(plans))

    def init(self, params: Params) -> KFACState:
        refuse_complex(self, params)
        return init_state(self._blocks(params), params, self.solver == "eigh")

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != KFACState._fields:
            refuse_state(self, state)
        params = params_like(self, updates, params)
        grads, treedef = jax.tree.flatten(updates)
        blocks = self._blocks(params)
        dtype = computing_dtype(*(jnp.result_type(grads[b.weight]) for b in blocks))
        evaluation = evaluation_of(extra_args)
        rule = at_count(self, state.count, dtype)
        factors = factors_of(state, blocks, treedef, dtype)
        if blocks:
            outputs = self._outputs(evaluation)
            traced = TracedBlocks(type(self).__name__, outputs, params, blocks)
            roots = roots_of(self, evaluation, self._key(state, extra_args))
            pairs = ordered(traced, factors)
            pairs = renewed_factors(rule, traced, roots, pairs, state.count + 1)
            wide = [cast(jnp.asarray(grad), dtype) for grad in grads]
            for own in directions(rule, traced, pairs, wide):
                for i, direction in own.items():
                    grads[i] = cast(direction, grads[i].dtype)
            factors = ordered(traced, pairs)
        return treedef.unflatten(grads), with_factors(state, blocks, treedef, factors)

    def _key(self, state: OptState, extra_args: dict[str, Any]) -> jax.Array:
        key = extra_args.get("key")
        if key is None or self.random_seed is not None:
            seed = 0 if self.random_seed is None else self.random_seed
            key = jax.random.fold_in(typed_key(seed), state.count)
        return typed_key(key)

    def _outputs(self, evaluation: Evaluation) -> Any:
        if evaluation.outputs is None:
            raise ValueError(
                f"{type(self).__name__} needs the outputs of the model: an objective's step passes"
                " them; by hand call update(…, evaluation=Evaluation.of_outputs(outputs,"
                " loss_of_outputs))"
            )
        return evaluation.outputs

    def _blocks(self, tree: PyTree) -> list[Block]:
        return blocks_of(self.matrices if self.matrices is not None else Matrices(), tree)
