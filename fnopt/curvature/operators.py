"""Matrices of curvature as linear operators: Hessian, Gauss-Newton, empirical Fisher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import Evaluation
from fnopt.core.checks import brief, float_leaves
from fnopt.core.entry import entry
from fnopt.core.evaluation import ascent
from fnopt.core.moments import cast
from fnopt.core.types import Outputs, Params, PyTree
from fnopt.curvature.linear_operator import LinearOperator, wider

Loss = Evaluation | Callable[[Params], jax.Array]


@entry("curvature.hessian(loss, params)")
def hessian(loss: Loss, params: Params) -> LinearOperator:
    r"""The Hessian :math:`\nabla^2 L(\theta)` of a loss.

    A product costs about two gradients, by the derivative of the gradient along a direction.

    Args:
        loss: an evaluation, such as the extra argument of an update, or a function of the
            parameters that returns a scalar. :func:`fnopt.train.evaluation_on` makes an evaluation
            of an objective and a batch.
        params: the parameters :math:`\theta`.

    Returns:
        A linear operator on trees like the parameters.

    Raises:
        TypeError: ``loss`` is neither, or its value is no scalar.
        ValueError: the evaluation has neither a gradient nor a value.

    References:
        Pearlmutter, *Fast exact multiplication by the Hessian*, Neural Computation 6, 1994.
    """
    params = _as_arrays(params)
    product = jax.linearize(_gradient(loss), params)[1]
    return LinearOperator(_in_dtypes_of(params, product), params)


@entry("curvature.generalized_gauss_newton(evaluation, params)")
def generalized_gauss_newton(evaluation: Evaluation, params: Params) -> LinearOperator:
    r"""The generalized Gauss-Newton matrix :math:`J^\top \nabla^2 \ell\, J` of a loss on outputs.

    :math:`J` is the derivative of the model's outputs by the parameters, and :math:`\nabla^2 \ell`
    the Hessian of the loss by the outputs. It has no negative eigenvalue where the loss is convex
    in the outputs. For a problem of least squares it is :math:`J^\top J` of the residuals. A
    product costs about two gradients.

    Args:
        evaluation: an evaluation with outputs and a loss of outputs, as
            :meth:`fnopt.core.Evaluation.of_outputs` makes of two functions, and
            :func:`fnopt.train.evaluation_on` of an objective and a batch.
        params: the parameters.

    Returns:
        A linear operator on trees like the parameters.

    Raises:
        TypeError: the argument is no evaluation.
        ValueError: the evaluation has no outputs, or no loss of outputs.

    References:
        Schraudolph, *Fast curvature matrix-vector products for second-order gradient descent*,
        Neural Computation 14, 2002, doi:10.1162/08997660260028683.
    """
    model, loss_of_outputs = _of_outputs("generalized_gauss_newton", evaluation, "loss_of_outputs")
    params = _as_arrays(params)

    # Outputs may have integers, of which there is no derivative.
    def parts(params: Params) -> tuple[Outputs, Outputs]:
        outputs = model(params)
        return _part(outputs, inexact=True), _part(outputs, inexact=False)

    def gradient(outputs: Outputs) -> Outputs:
        def loss(outputs: Outputs) -> jax.Array:
            return loss_of_outputs(jax.tree.map(_first, outputs, rest, is_leaf=_is_none))

        return ascent(jax.grad(loss)(outputs))

    outputs, jacobian, rest = jax.linearize(parts, params, has_aux=True)
    _, curvature = jax.linearize(gradient, outputs)
    adjoint = _adjoint(jacobian, params)
    product = _in_dtypes_of(params, lambda tree: adjoint(curvature(jacobian(tree))))
    return LinearOperator(product, params)


@entry("curvature.empirical_fisher(evaluation, params)")
def empirical_fisher(evaluation: Evaluation, params: Params) -> LinearOperator:
    r"""The empirical Fisher matrix :math:`\sum_i w_i\,g_i\,g_i^\top` of the examples' gradients.

    The loss is :math:`\sum_i w_i\,\ell_i`, and :math:`g_i` the gradient of :math:`\ell_i`. It is no
    Fisher matrix, whose expectation is over the model's own targets, but for losses that are
    negative log-likelihoods it is near it where the model fits. A product costs about two
    gradients; no example's gradient is stored.

    Args:
        evaluation: an evaluation with outputs and the losses of the examples, such as that of a
            step, or of :func:`fnopt.train.evaluation_on`.
        params: the parameters.

    Returns:
        A linear operator on trees like the parameters.

    Raises:
        TypeError: the argument is no evaluation.
        ValueError: the evaluation has no outputs, or no losses of examples.

    References:
        Kunstner, Balles & Hennig, *Limitations of the empirical Fisher approximation for natural
        gradient descent*, NeurIPS 2019, arXiv:1905.12558.
    """
    model, losses_of_outputs = _of_outputs("empirical_fisher", evaluation, "losses_of_outputs")
    params = _as_arrays(params)

    def losses(params: Params) -> tuple[jax.Array, jax.Array]:
        return losses_of_outputs(model(params))

    _, jacobian, weights = jax.linearize(losses, params, has_aux=True)
    adjoint = _adjoint(jacobian, params)
    product = _in_dtypes_of(params, lambda tree: adjoint(weights * jacobian(tree)))
    return LinearOperator(product, params)


def _gradient(loss: Any) -> Callable[[Params], Any]:
    if isinstance(loss, Evaluation):
        if loss.grad is not None:
            return loss.grad
        if loss.value is None:
            raise ValueError(
                "hessian: the evaluation has neither grad nor value; Evaluation.of_loss(loss) has"
                " both"
            )
        loss = loss.value
    if not callable(loss):
        raise TypeError(
            "hessian: loss must be a function of the parameters or an Evaluation, got"
            f" {brief(loss)} ({type(loss).__name__}); fnopt.train.evaluation_on(objective, state,"
            " batch) makes one of an objective"
        )

    def scalar(params: Params) -> jax.Array:
        value: Any = loss(params)
        leaves = jax.tree.leaves(value)
        if jax.tree.structure(value) != jax.tree.structure(0) or jnp.shape(value):
            shapes = ", ".join(str(jnp.shape(x)) for x in leaves[:3])
            raise TypeError(
                f"hessian: the loss must return a scalar, got {type(value).__name__} of shape"
                f" {shapes}; return the mean or the sum, and no pair"
            )
        return value

    gradient = Evaluation.of_loss(scalar).grad
    assert gradient is not None
    return gradient


def _of_outputs(caller: str, evaluation: Any, name: str) -> tuple[Callable[..., Any], ...]:
    """The outputs of an evaluation, and the function of them of this name."""
    cure = (
        "fnopt.train.evaluation_on(objective, state, batch) makes one of an objective, and"
        " Evaluation.of_outputs(outputs, loss_of_outputs, losses_of_outputs) of functions; a sum of"
        " squares is for fnopt.least_squares(residuals, x0)"
    )
    if not isinstance(evaluation, Evaluation):
        raise TypeError(
            f"{caller}: evaluation is {brief(evaluation)} ({type(evaluation).__name__}), not an"
            f" Evaluation; {cure}"
        )
    functions = {"outputs": evaluation.outputs, name: getattr(evaluation, name)}
    lacking = [name for name, function in functions.items() if function is None]
    if lacking:
        raise ValueError(
            f"{caller}: the evaluation has no {' and no '.join(lacking)}; {cure}; an update"
            " receives it as update(…, evaluation=…)"
        )
    return tuple(functions.values())


def _as_arrays(params: Params) -> Any:
    _, leaves, treedef = float_leaves("params", params)
    return treedef.unflatten(leaves)


def _in_dtypes_of(
    params: Params, product: Callable[[PyTree], PyTree]
) -> Callable[[PyTree], PyTree]:
    """A linear function of trees with the dtypes of the parameters as one of other dtypes too."""

    def of_tree(tree: PyTree) -> PyTree:
        narrow = jax.tree.map(lambda x, param: cast(jnp.asarray(x), param.dtype), tree, params)
        return jax.tree.map(lambda x, result: cast(result, wider(x, result)), tree, product(narrow))

    return of_tree


def _adjoint(linear: Callable[[PyTree], PyTree], like: PyTree) -> Callable[[PyTree], Any]:
    """The adjoint of a linear function for real inner products, of complex trees too."""
    transpose = jax.linear_transpose(linear, like)
    return lambda tree: ascent(transpose(ascent(tree))[0])


def _part(outputs: Outputs, *, inexact: bool) -> Outputs:
    """The leaves of which there is a derivative, or the others; None for the rest."""

    def kept(x: Any) -> Any:
        return x if jnp.issubdtype(jnp.result_type(x), jnp.inexact) == inexact else None

    return jax.tree.map(kept, outputs)


def _is_none(x: Any) -> bool:
    return x is None


def _first(x: Any, y: Any) -> Any:
    return y if x is None else x
