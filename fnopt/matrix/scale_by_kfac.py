"""K-FAC's direction."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax

from fnopt.core import Decay, NonNegative, Seed, Transform, evaluation_of
from fnopt.core.checks import refuse_state
from fnopt.core.plan import UNTOUCHED, plan_by
from fnopt.core.ranges import Bound, PositiveInteger
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.curvature.gauss_newton_bartlett import Likelihood
from fnopt.curvature.preconditioned import params_like, refuse_complex
from fnopt.matrix.choice import Matrices, MatricesField
from fnopt.matrix.damped_factors import Solver
from fnopt.matrix.fisher_roots import Fisher
from fnopt.matrix.kfac_blocks import Block, blocks_of
from fnopt.matrix.kfac_state import KFACState, init_state
from fnopt.matrix.kfac_step import stepped


class scale_by_kfac(Transform):
    r"""Multiplies each layer's gradient by the inverse of its Fisher matrix, a Kronecker product.

    For the weights of a layer :math:`W`, with its bias as a last column, which reads :math:`a`
    (with a last element of 1 for the bias), and with :math:`g` the derivative of
    :math:`-\log p(\hat y)` by its output,

    .. math::
        A_t &= \beta_t\,A_{t-1} + (1 - \beta_t)\,\mathbb{E}\,a\,a^\top, \qquad
        G_t = \beta_t\,G_{t-1} + (1 - \beta_t)\,\mathbb{E}\,g\,g^\top, \qquad
        \beta_t = \min(1 - 1/t,\ \beta) \\
        U_t &= \bigl(G_t + \tfrac{\sqrt\lambda}{\pi} I\bigr)^{-1}\,\nabla_W L\,
        \bigl(A_t + \pi\sqrt\lambda\,I\bigr)^{-1}, \qquad
        \pi^2 = \frac{\operatorname{tr} A_t / \dim A}{\operatorname{tr} G_t / \dim G}

    or, by eigenvectors, :math:`(A \otimes G + \lambda I)^{-1}` itself. Layers are read off the
    computation of the outputs, so that models of any framework are seen. All positions at which a
    layer is used count as examples: those of a sequence or of a convolution's output (where
    :math:`a` is a patch), iterations, several uses, groups of channels. In a ``scan`` each slice of
    a stack is a layer. :class:`kfac` says what is no layer.

    ``update`` needs parameters and an ``evaluation`` with outputs, which a step of
    :mod:`fnopt.train` passes; by hand it is ``Evaluation.of_outputs(outputs, loss_of_outputs,
    losses_of_outputs)``, the last for the empirical matrix alone. Other leaves pass.

    Args:
        damping: :math:`\lambda \ge 0`, in units of the Fisher matrix.
        decay: :math:`\beta \in [0, 1)`, the share of the old in the mean factors.
        fisher: ``"sampled"`` draws a target :math:`\hat y` for each output from the model, at the
            cost of about 2/3 of a gradient; ``"exact"`` sums over all of them, by the root of the
            loss's Hessian in the outputs, at a backward pass for each class; ``"empirical"`` takes
            the targets of the batch.
        likelihood: the distribution of sampled targets, and with it the loss: ``"categorical"``
            for the cross entropy of logits, ``"bernoulli"`` for the binary one, ``"normal"`` for
            squared errors. The others do not use it.
        solver: ``"cholesky"`` for inverses with the damping split; ``"eigh"`` for eigenvectors,
            with the damping of the product.
        factor_interval: number of updates from one measurement of the factors to the next.
        inverse_interval: number of updates from one inverse to the next, 20 as in the paper.
            Matrices take turns.
        max_kl: largest divergence between the predictions before and after the step, by its
            second order with the damping: the directions are scaled by
            :math:`\min(1, \sqrt{2\,\delta / \langle u, \nabla L \rangle})`; None does not bound it.
        random_seed: seed of the draws, an integer or a key; if None, the ``key`` that ``update``
            received, or 0.
        matrices: which leaves are matrices, and how; by name and shape if None.

    Raises:
        TypeError: a parameter is complex, or outputs do not fit the likelihood.
        ValueError: ``update`` received no parameters or no outputs; or the program does not use a
            leaf as it is seen.

    References:
        Martens & Grosse, *Optimizing neural networks with Kronecker-factored approximate
        curvature*, ICML 2015, arXiv:1503.05671, Sections 3, 5 and 6.3, without its adaptive damping
        and momentum; Grosse & Martens, *A Kronecker-factored approximate Fisher matrix for
        convolution layers*, ICML 2016, arXiv:1602.01407, whose sum over positions is in A, here in
        G, with the same product; Eschenhagen et al., *Kronecker-factored approximate curvature for
        modern neural network architectures*, NeurIPS 2023, arXiv:2311.00636, of which this is
        K-FAC-expand.
    """

    damping: NonNegative = 1e-3
    decay: Decay = 0.95
    fisher: Fisher = "sampled"
    likelihood: Likelihood = "categorical"
    solver: Solver = "cholesky"
    factor_interval: PositiveInteger = 1
    inverse_interval: PositiveInteger = 20
    max_kl: Bound = None
    random_seed: Seed = None
    matrices: MatricesField = None
    family = "parts"

    keeps_zero = True

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
        updates = jax.tree.map(jnp.asarray, updates)
        blocks = self._blocks(params)
        if not blocks:
            return updates, state._replace(count=optax.safe_increment(state.count))
        evaluation, key = evaluation_of(extra_args), extra_args.get("key")
        return stepped(self, state, blocks, updates, params, evaluation, key)

    def _blocks(self, tree: PyTree) -> list[Block]:
        return blocks_of(self.matrices if self.matrices is not None else Matrices(), tree)
