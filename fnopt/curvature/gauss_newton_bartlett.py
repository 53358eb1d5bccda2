"""The diagonal of the Gauss-Newton matrix, by targets that the model draws itself."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax

from fnopt.core import (
    Evaluation,
    Outcome,
    Seed,
    Transform,
    as_key,
    computing_dtype,
    evaluation_of,
)
from fnopt.core.checks import float_leaves, leaves_like, refuse_state, updates_and_params
from fnopt.core.fields import Field
from fnopt.core.moments import abs_sq, cast
from fnopt.core.types import OptState, Params, Updates
from fnopt.curvature.likelihoods import LIKELIHOODS, drawn_gradient

Likelihood = Annotated[Any, Field(static=True, choices=tuple(LIKELIHOODS))]
"""A distribution of the targets, given the outputs of a model."""


class GaussNewtonBartlettState(NamedTuple):
    """The state of :class:`gauss_newton_bartlett_estimator_diag_hessian`: a key for its draws."""

    key: jax.Array


class gauss_newton_bartlett_estimator_diag_hessian(Transform):
    r"""Replaces the gradient by an estimate of the Gauss-Newton matrix's diagonal.

    .. math:: \hat h = \hat g \odot \hat g, \qquad
        \hat g = \sum_i \sqrt{c_i}\;\nabla_\theta \bigl(-\log p(\hat y_i \mid f_i(\theta))\bigr),
        \qquad \hat y_i \sim p(\cdot \mid f_i(\theta))

    for a loss :math:`\sum_i -c_i \log p(y_i \mid f_i(\theta))` of the outputs :math:`f_i`. Its
    targets :math:`y_i` are not used. The estimate is unbiased and never negative. With
    :math:`c_i = 1/B` it is the paper's, :math:`B` times the square of the mean gradient. The
    :math:`c_i` are read off the loss: they are its curvature at outputs of a known one, so that
    means, sums, weights and padding are counted as the loss counts them. It costs one gradient.

    Args:
        likelihood: the distribution :math:`p`, and with it the loss: "categorical" for the cross
            entropy of logits, with classes along the last axis; "bernoulli" for the binary cross
            entropy of logits; "normal" for squared errors.
        random_seed: seed of the draws, an integer or a key; 0 if None.

    Raises:
        ValueError: ``update`` received no parameters, or no ``evaluation`` with outputs.
        TypeError: outputs of the model are not real numbers.

    When:
        As ``hessian_diagonal_fn`` of :class:`scale_by_sophia` or :class:`scale_by_adahessian`,
        where the loss is one of these: it costs half of Hutchinson's, and is never negative.

    References:
        Liu, Li, Hall, Liang & Ma, *Sophia: a scalable stochastic second-order optimizer for
        language model pre-training*, ICLR 2024, arXiv:2305.14342, Algorithm 2.
    """

    likelihood: Likelihood = "categorical"
    random_seed: Seed = None

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> GaussNewtonBartlettState:
        float_leaves("params", params)
        seed = 0 if self.random_seed is None else self.random_seed
        return GaussNewtonBartlettState(as_key(seed))

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != GaussNewtonBartlettState._fields:
            refuse_state(self, state)
        updates, params = updates_and_params(self, updates, params)
        grads, treedef = jax.tree.flatten(updates)
        model, loss = self._model_and_loss(evaluation_of(extra_args))
        key, subkey = jax.random.split(state.key)

        outputs, pull_back = jax.vjp(model, params)
        otherwise = "hutchinson_estimator_diag_hessian, which needs the loss alone"
        drawn = drawn_gradient(
            type(self).__name__, self.likelihood, loss, outputs, subkey, otherwise
        )
        (pulled,) = pull_back(drawn)
        leaves = leaves_like(treedef, "the gradient of the outputs", pulled, "updates")
        diagonal = [
            cast(abs_sq(cast(x, computing_dtype(x.dtype))), grad.dtype)
            for x, grad in zip(leaves, grads, strict=True)
        ]
        return treedef.unflatten(diagonal), GaussNewtonBartlettState(key)

    def outcome(self, state: OptState) -> Outcome | None:
        return Outcome(grads=1)

    def _model_and_loss(self, evaluation: Evaluation) -> tuple[Any, Any]:
        model, loss = evaluation.outputs, evaluation.loss_of_outputs
        if model is None or loss is None:
            raise ValueError(
                f"{type(self).__name__} needs the outputs of the model and the loss of them: an"
                " objective's step passes them; by hand call update(…,"
                " evaluation=Evaluation.of_outputs(outputs, loss_of_outputs))"
            )
        return model, loss
