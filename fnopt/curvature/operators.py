"""Matrices of curvature as linear operators: Hessian, Gauss-Newton, empirical Fisher."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from fnopt.core import Evaluation
from fnopt.core.types import Params, PyTree


@dataclasses.dataclass(frozen=True)
class LinearOperator:
    """A symmetric matrix, known by its products with trees like the parameters.

    Attributes:
        product: ``product(tree)``, the matrix times a tree like ``like``.
        like: the parameters, or another tree with their shapes and dtypes.

    >>> import jax.numpy as jnp
    >>> from fnopt import curvature
    >>> matrix = curvature.hessian(lambda x: x[0] ** 2 * x[1], jnp.array([1.0, 2.0]))
    >>> matrix @ jnp.array([1.0, 0.0])
    Array([4., 2.], dtype=float32)
    >>> matrix.dense()
    Array([[4., 2.],
           [2., 0.]], dtype=float32)
    """

    product: Callable[[PyTree], PyTree]
    like: PyTree

    def __matmul__(self, tree: PyTree) -> Any:
        return self.product(tree)

    def dense(self) -> jax.Array:
        """The matrix itself: rows and columns are the elements of the leaves, leaf after leaf."""
        vector, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, self.like))

        def column(unit: jax.Array) -> jax.Array:
            return ravel_pytree(self.product(unravel(unit)))[0]

        return jax.vmap(column)(jnp.eye(vector.size, dtype=vector.dtype))


def hessian(loss: Evaluation | Callable[[Params], jax.Array], params: Params) -> LinearOperator:
    r"""The Hessian :math:`\nabla^2 L(\theta)` of a loss.

    A product costs about two gradients, by the derivative of the gradient along a direction.

    Args:
        loss: an evaluation, such as the extra argument of an update, or a function of the
            parameters that returns a scalar.
        params: the parameters :math:`\theta`.

    Returns:
        A linear operator on trees like the parameters.

    References:
        Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6, 1994.
    """
    grad = (loss if isinstance(loss, Evaluation) else Evaluation.of_loss(loss)).grad
    if grad is None:
        raise ValueError(
            "hessian: the evaluation has no gradient; Evaluation.of_loss(loss) has one"
        )
    return LinearOperator(jax.linearize(grad, params)[1], params)


def generalized_gauss_newton(evaluation: Evaluation, params: Params) -> LinearOperator:
    r"""The generalized Gauss-Newton matrix :math:`J^\top \nabla^2 \ell\, J` of a loss on outputs.

    :math:`J` is the derivative of the model's outputs by the parameters, and :math:`\nabla^2 \ell`
    the Hessian of the loss by the outputs. It has no negative eigenvalue where the loss is convex
    in the outputs. A product costs about two gradients.

    Args:
        evaluation: an evaluation with outputs and a loss of outputs, as
            :meth:`fnopt.core.Evaluation.of_outputs` makes of two functions.
        params: the parameters.

    Returns:
        A linear operator on trees like the parameters.

    References:
        Schraudolph, *Fast curvature matrix-vector products for second-order gradient descent*,
        Neural Computation 14, 2002, doi:10.1162/08997660260028683.
    """
    model, loss_of_outputs = evaluation.outputs, evaluation.loss_of_outputs
    if model is None or loss_of_outputs is None:
        raise ValueError(_NO_OUTPUTS.format("generalized_gauss_newton"))
    outputs, jacobian = jax.linearize(model, params)
    transpose = jax.linear_transpose(jacobian, params)
    _, curvature = jax.linearize(jax.grad(loss_of_outputs), outputs)
    return LinearOperator(lambda tree: transpose(curvature(jacobian(tree)))[0], params)


def empirical_fisher(evaluation: Evaluation, params: Params) -> LinearOperator:
    r"""The empirical Fisher matrix :math:`\sum_i w_i\,g_i\,g_i^\top` of the examples' gradients.

    The loss is :math:`\sum_i w_i\,\ell_i`, and :math:`g_i` the gradient of :math:`\ell_i`. It is no
    Fisher matrix, whose expectation is over the model's own targets, but for losses that are
    negative log-likelihoods it is near it where the model fits (Kunstner, Balles & Hennig,
    *Limitations of the empirical Fisher approximation*, NeurIPS 2019, arXiv:1905.12558).

    Args:
        evaluation: an evaluation with outputs and the losses of the examples.
        params: the parameters.

    Returns:
        A linear operator on trees like the parameters.
    """
    model, losses_of_outputs = evaluation.outputs, evaluation.losses_of_outputs
    if model is None or losses_of_outputs is None:
        raise ValueError(_NO_OUTPUTS.format("empirical_fisher").replace("loss_of", "losses_of"))

    def losses(params: Params) -> tuple[jax.Array, jax.Array]:
        return losses_of_outputs(model(params))

    _, jacobian, weights = jax.linearize(losses, params, has_aux=True)
    transpose = jax.linear_transpose(jacobian, params)
    return LinearOperator(lambda tree: transpose(weights * jacobian(tree))[0], params)


_NO_OUTPUTS = (
    "{}: the evaluation lacks outputs or loss_of_outputs; an objective's step passes them, and"
    " Evaluation.of_outputs(outputs, loss_of_outputs) has them for functions of your own"
)
