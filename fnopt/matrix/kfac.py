"""K-FAC."""

from __future__ import annotations

import dataclasses

import jax

from fnopt.core import Decay, Inner, Mask, NonNegative, Rate, Seed, Static, Transform, trace
from fnopt.core.ranges import Bound
from fnopt.core.types import Params, PyTree
from fnopt.curvature.gauss_newton_bartlett import Likelihood
from fnopt.matrix.blocks import blocks_of
from fnopt.matrix.choice import Matrices, MatricesField
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_kfac import Fisher, Solver, scale_by_kfac
from fnopt.wrap.partition import partition


class kfac(MatrixOptimizer):
    r"""K-FAC: the natural gradient of each layer, by a Kronecker product."""

    learning_rate: Rate
    damping: NonNegative = 1e-3
    momentum: Decay = 0.9
    decay: Decay = 0.95
    fisher: Fisher = "sampled"
    likelihood: Likelihood = "categorical"
    solver: Solver = "cholesky"
    factor_interval: Static[int] = 1
    inverse_interval: Static[int] = 20
    max_kl: Bound = None
    weight_decay: Rate = 0.0
    mask: Mask = None
    random_seed: Seed = None
    matrices: MatricesField = None
    other: Inner = None
    family = "matrix"

    def direction(self) -> tuple[Transform, ...]:
        own = scale_by_kfac(
            self.damping, self.decay, self.fisher, self.likelihood, self.solver,
            self.factor_interval, self.inverse_interval, self.max_kl, self.random_seed,
            self.matrices,
        )  # fmt: skip
        return own, trace(self.momentum)

    def parts(self) -> tuple[Transform, ...]:
        transforms = {"matrices": self.of_matrices(), "other": self.of_others()}
        return (partition(transforms, _Labels(self._rules)),)


@dataclasses.dataclass(frozen=True)
class _Labels:
    """The labels of the leaves: ``"matrices"`` of weights with their biases, or ``"other"``."""

    rules: Matrices

    def __call__(self, params: Params) -> PyTree:
        own = {i for block in blocks_of(self.rules, params) for i in (block.weight, block.bias)}
        leaves, structure = jax.tree.flatten(params)
        return structure.unflatten("matrices" if i in own else "other" for i in range(len(leaves)))
