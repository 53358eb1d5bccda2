"""K-FAC."""

from __future__ import annotations

from typing import Any

from fnopt.core import (
    Composed,
    Decay,
    Inner,
    Mask,
    NonNegative,
    Rate,
    Seed,
    Transform,
    trace,
)
from fnopt.core.ranges import Bound, PositiveInteger
from fnopt.core.types import OptState, Params
from fnopt.curvature.gauss_newton_bartlett import Likelihood
from fnopt.matrix.choice import MatricesField
from fnopt.matrix.damped_factors import Solver
from fnopt.matrix.fisher_roots import Fisher
from fnopt.matrix.kfac_blocks import TAKES, BlockLabels, owned
from fnopt.matrix.optimizer import MatrixOptimizer
from fnopt.matrix.scale_by_kfac import scale_by_kfac
from fnopt.matrix.view import Seen
from fnopt.wrap.partition import partition


class kfac(MatrixOptimizer):
    r"""K-FAC: the natural gradient of each layer, nearly, by a Kronecker product of two matrices.

    .. math:: v_t = u_t + \mu\,v_{t-1}, \qquad
        \Delta\theta_t = -\eta_t\,(v_t + \lambda_w\,\theta_{t-1})

    with :math:`u_t` of :class:`scale_by_kfac`, for the weights of dense and convolution layers with
    their biases; embeddings and all other leaves get ``other``. Which leaves are weights is decided
    by names and shapes, and compared with the program: one that it multiplies with no data, or in
    another way, is refused with the rule that cures it. A bias is a vector beside the weights, as
    ``bias`` beside ``kernel``; where none is found, the weights are alone.

    A leaf of :math:`m \times n` has a state of :math:`2 m^2 + 2 n^2` numbers and its momentum. A
    head of 50,000 classes is too large: give it to the other optimizer, as
    ``matrices=(("head/*", "other"),)``.

    Args:
        learning_rate: learning rate :math:`\eta \ge 0`.
        damping: :math:`\lambda \ge 0`, in units of the Fisher matrix. With more of it steps are
            shorter.
        momentum: decay of the velocity, :math:`\mu \in [0, 1)`; no velocity if None.
        decay: share of the old in the mean factors, :math:`\beta \in [0, 1)`.
        fisher: ``"sampled"``, ``"exact"`` or ``"empirical"``; see :class:`scale_by_kfac`.
        likelihood: the loss: ``"categorical"`` for the cross entropy of logits, ``"bernoulli"``
            for the binary one, ``"normal"`` for squared errors.
        solver: ``"cholesky"`` for inverses with the damping split between both factors; ``"eigh"``
            for eigenvectors, with the damping of the product.
        factor_interval: number of updates from one measurement of the factors to the next.
        inverse_interval: number of updates from one inverse of a factor to the next.
        max_kl: largest divergence between the predictions before and after a direction; None or
            inf does not bound it.
        weight_decay: strength of the weight decay, :math:`\lambda_w \ge 0`.
        mask: the leaves to decay; all if None.
        random_seed: seed of the draws, an integer or a key; the step's own key if None.
        matrices: which leaves are matrices, and how: pairs of a pattern of paths and words for the
            axes, as ``("blocks/*/kernel", "stack in out")`` or ``("position", "other")``; by name
            and shape if None.
        other: the optimizer of all other leaves; AdamW at the same rate if None.

    When:
        Networks of dense and convolution layers in batches of some hundreds, where gradients cost
        more than the factors. It needs a damping that is tuned with the rate.

    Raises:
        TypeError: a parameter is complex, or outputs do not fit the likelihood.
        ValueError: as of :class:`scale_by_kfac`.

    References:
        Martens & Grosse, *Optimizing neural networks with Kronecker-factored approximate
        curvature*, ICML 2015, arXiv:1503.05671. Rate, momentum and damping are given here, where
        Algorithm 2 adapts them; the decay is of the weights, where the paper's is in the loss.

    >>> import fnopt, jax.numpy as jnp, optax
    >>> inputs, labels = jnp.eye(3), jnp.arange(3)
    >>> evaluation = fnopt.core.Evaluation.of_outputs(
    ...     lambda params: inputs @ params["w"] + params["b"],
    ...     lambda z: optax.softmax_cross_entropy_with_integer_labels(z, labels).mean(),
    ... )
    >>> tx, params = fnopt.kfac(0.1), {"w": jnp.zeros((3, 3)), "b": jnp.zeros(3)}
    >>> grads, state = evaluation.grad(params), tx.init(params)
    >>> updates, state = tx.update(grads, state, params, evaluation=evaluation)
    >>> float(evaluation.value(optax.apply_updates(params, updates))) < 1.09
    True
    """

    learning_rate: Rate
    damping: NonNegative = 1e-3
    momentum: Decay = 0.9
    decay: Decay = 0.95
    fisher: Fisher = "sampled"
    likelihood: Likelihood = "categorical"
    solver: Solver = "cholesky"
    factor_interval: PositiveInteger = 1
    inverse_interval: PositiveInteger = 20
    max_kl: Bound = None
    weight_decay: Rate = 0.0
    mask: Mask = None
    random_seed: Seed = None
    matrices: MatricesField = None
    other: Inner = None
    family = "matrix"

    takes = TAKES

    def direction(self) -> tuple[Transform, ...]:
        own = scale_by_kfac(
            self.damping, self.decay, self.fisher, self.likelihood, self.solver,
            self.factor_interval, self.inverse_interval, self.max_kl, self.random_seed,
            self.matrices,
        )  # fmt: skip
        return (own,) if self.momentum is None else (own, trace(self.momentum))

    def parts(self) -> tuple[Transform, ...]:
        transforms = {"matrices": self.of_matrices(), "other": self.of_others()}
        return (partition(transforms, BlockLabels(self._rules)),)

    def init(self, params: Params) -> OptState:
        # Without warnings of guesses, which the program confirms or refuses.
        self._rules.check(type(self).__name__, params)
        return Composed.init(self._decided(params), params)

    def taken(self, params: Params, seen: list[Seen]) -> list[bool]:
        return owned(self._rules, params)

    def _decided(self, params: Params) -> Any:
        # With the rules, which say what is no bias.
        return self.for_params(params)
