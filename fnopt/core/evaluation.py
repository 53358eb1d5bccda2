"""What an optimizer may compute of a step's batch, at any parameters: loss, gradient, outputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core.types import Outputs, Params, PyTree, Updates


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The loss on the batch of one step as functions of the parameters.

    A transform finds it among the extra arguments of ``update``, by :func:`evaluation_of`. The
    batch, the random key and the model state are the same in every call. All functions can be
    differentiated. A gradient is the direction of ascent: the conjugate of what ``jax.grad`` gives
    for a complex parameter.

    Where a caller of ``update`` passes functions instead, those that do not follow from them are
    None.

    Attributes:
        value: ``value(params)``, the loss, a scalar.
        grad: ``grad(params)``, its gradient, a tree like the parameters. A caller's function may
            take a second argument, the number of the call in this update (as in optax).
        value_and_grad: ``value_and_grad(params)``, the pair of both from one pass.
        outputs: ``outputs(params)``, the outputs of the model, a tree of arrays. Examples are along
            the first axis, or, where a batch is computed in micro-batches, along the first two.
        loss_of_outputs: ``loss_of_outputs(outputs)``, the loss: that of ``outputs(params)`` is
            ``value(params)``.
        losses_of_outputs: ``losses_of_outputs(outputs)``, a pair of arrays of one shape, the loss
            of each example and its weight: the loss is the sum of their products.
        residuals: ``residuals(params)``, a tree of real arrays whose sum of squares is twice the
            loss; for problems of least squares alone.
    """

    value: Callable[[Params], jax.Array] | None = None
    grad: Callable[..., Updates] | None = None
    value_and_grad: Callable[[Params], tuple[jax.Array, Updates]] | None = None
    outputs: Callable[[Params], Outputs] | None = None
    loss_of_outputs: Callable[[Outputs], jax.Array] | None = None
    losses_of_outputs: Callable[[Outputs], tuple[jax.Array, jax.Array]] | None = None
    residuals: Callable[[Params], PyTree] | None = None

    @classmethod
    def of_loss(cls, loss: Callable[[Params], jax.Array]) -> Evaluation:
        """The evaluation of a loss.

        Args:
            loss: a function of the parameters that returns a scalar.
        """

        def value_and_grad(params: Params) -> tuple[jax.Array, Updates]:
            value, grads = jax.value_and_grad(loss)(params)
            return value, ascent(grads)

        return cls(loss, lambda params: value_and_grad(params)[1], value_and_grad)

    @classmethod
    def of_outputs(
        cls,
        outputs: Callable[[Params], Outputs],
        loss_of_outputs: Callable[[Outputs], jax.Array],
        losses_of_outputs: Callable[[Outputs], tuple[jax.Array, jax.Array]] | None = None,
    ) -> Evaluation:
        """The evaluation of a loss on the outputs of a model.

        Args:
            outputs: a function of the parameters, the forward pass of a batch.
            loss_of_outputs: the loss as a function of what that returns, a scalar.
            losses_of_outputs: as the attribute; None where the loss is no sum over examples.
        """
        of_loss = cls.of_loss(lambda params: loss_of_outputs(outputs(params)))
        return dataclasses.replace(
            of_loss,
            outputs=outputs,
            loss_of_outputs=loss_of_outputs,
            losses_of_outputs=losses_of_outputs,
        )

    @classmethod
    def of_residuals(cls, residuals: Callable[[Params], PyTree]) -> Evaluation:
        """The evaluation of a problem of least squares: its loss is half the sum of squares.

        Args:
            residuals: a function of the parameters that returns a tree of real arrays.
        """

        def half_of_squares(residuals: PyTree) -> jax.Array:
            squares = [jnp.sum(r * r) for r in jax.tree.leaves(residuals)]
            return functools.reduce(jnp.add, squares) / 2

        evaluation = cls.of_outputs(residuals, half_of_squares)
        return dataclasses.replace(evaluation, residuals=residuals)

    def extra_args(self) -> dict[str, Any]:
        """This evaluation as extra arguments of an update, with optax's names for parts of it."""
        value = None if self.value is None else _for_optax(self.value)
        return {"evaluation": self, "value_fn": value, "obj_fn": value, "grad_fn": self.grad}

    def restricted(
        self, part_of: Callable[[PyTree], PyTree], whole: Callable[[PyTree], Params]
    ) -> Evaluation:
        """The evaluation as a function of parameters in another form, such as a part of them.

        Args:
            part_of: gives a tree like the parameters in that form.
            whole: a function of such a form that returns the parameters.
        """

        def of_pair(pair: tuple[jax.Array, Updates]) -> tuple[jax.Array, Updates]:
            value, grads = pair
            return value, part_of(grads)

        return Evaluation(
            value=_restricted(self.value, whole),
            grad=_restricted(self.grad, whole, part_of),
            value_and_grad=_restricted(self.value_and_grad, whole, of_pair),
            outputs=_restricted(self.outputs, whole),
            loss_of_outputs=self.loss_of_outputs,
            losses_of_outputs=self.losses_of_outputs,
            residuals=_restricted(self.residuals, whole),
        )


EVALUATION = "fnopt_evaluation"
"""What the names of compiled evaluations contain."""


def evaluation_call(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, so compiled that a step can compute its calls before the branch of the update.

    Args:
        function: a function of the parameters that is costly, as a pass over the batch is.
    """

    def fnopt_evaluation(*args: Any) -> Any:
        return function(*args)

    return jax.jit(fnopt_evaluation)


def evaluation_of(extra_args: dict[str, Any]) -> Evaluation:
    """The evaluation among the extra arguments of an update.

    Args:
        extra_args: the extra arguments of ``update``. Without ``evaluation`` it is built from
            ``value_fn`` (or ``obj_fn``, optax's other name for it) and ``grad_fn``, if passed.
    """
    evaluation = extra_args.get("evaluation")
    if evaluation is not None:
        return evaluation
    value = extra_args.get("value_fn")
    value = extra_args.get("obj_fn") if value is None else value
    grad = extra_args.get("grad_fn")
    if value is None:
        return Evaluation(grad=grad)

    evaluation = Evaluation.of_loss(value)
    return evaluation if grad is None else dataclasses.replace(evaluation, grad=grad)


def restrict(
    extra_args: dict[str, Any],
    part_of: Callable[[PyTree], PyTree],
    whole: Callable[[PyTree], Params],
) -> dict[str, Any]:
    """The extra arguments for a transform that sees the parameters in another form.

    Args:
        extra_args: those of ``update``.
        part_of: gives a tree like the parameters in that form.
        whole: a function of such a form that returns the parameters.
    """
    restricted = dict(extra_args)
    if extra_args.get("grad") is not None:
        restricted["grad"] = part_of(extra_args["grad"])
    if extra_args.get("evaluation") is not None:
        restricted["evaluation"] = extra_args["evaluation"].restricted(part_of, whole)
    for name in ("value_fn", "obj_fn"):
        if name in extra_args:
            restricted[name] = _restricted(extra_args[name], whole)
    if "grad_fn" in extra_args:
        restricted["grad_fn"] = _restricted(extra_args["grad_fn"], whole, part_of)
    return restricted


def ascent(grads: Updates) -> Updates:
    """The direction of ascent: what ``jax.grad`` gives, conjugate for complex parameters."""
    return jax.tree.map(lambda g: jnp.conj(g) if jnp.iscomplexobj(g) else g, grads)


def _for_optax(value: Callable[[Params], jax.Array]) -> Callable[..., jax.Array]:
    # optax's line searches refuse extra arguments that value_fn does not name.
    def value_fn(
        params: Params, *, evaluation=None, obj_fn=None, grad_fn=None, metric=None,
        evaluations=None, key=None,
    ) -> jax.Array:  # fmt: skip
        return value(params)

    return value_fn


def _restricted(
    function: Any, whole: Callable[[PyTree], Params], result_of: Callable[[Any], Any] | None = None
) -> Any:
    """A function of the parameters as one of their other form; None stays None."""
    if function is None:
        return None

    @functools.wraps(function)  # optax looks at the signature
    def of_part(part: PyTree, *args: Any, **kwargs: Any) -> Any:
        result = function(whole(part), *args, **kwargs)
        return result if result_of is None else result_of(result)

    return of_part
