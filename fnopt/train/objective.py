"""The objective: a model's forward pass and a loss on its outputs, behind one protocol."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, divide
from fnopt.core.types import Batch, Metrics, ModelState, Outputs, Params, PyTree
from fnopt.train.metrics import called
from fnopt.train.reprs import call
from fnopt.train.summaries import NO_METRICS

Function = Callable[..., Any]
_REPORTED = {"loss", *NO_METRICS}


class Objective:
    """A model and its loss as pure functions of parameters and model state.

    Model state is what the forward pass changes besides the parameters: batch statistics. A
    subclass says how a model begins (``init``) and computes (``forward``); the loss is a function
    of the outputs. :func:`~fnopt.train.objective` makes one.

    Attributes:
        loss_fn: ``loss_fn(outputs, targets)``, a number for each example (or one for all).
        metric_fns: more such functions, by the names under which they are reported.
        inputs: a function of a batch giving the inputs of the model.
        targets: a function of a batch giving the targets of the loss.
        weights: a function of a batch giving one weight for each example; None: equal weights.
        has_aux: whether the loss function returns metrics by name besides the loss.
    """

    def __init__(
        self,
        loss_fn: Function,
        metric_fns: Mapping[str, Function],
        inputs: Function,
        targets: Function,
        weights: Function | None = None,
        has_aux: bool = False,
    ) -> None:
        _check_names(metric_fns)
        self.loss_fn, self.metric_fns = loss_fn, dict(metric_fns)
        self.inputs, self.targets, self.weights = inputs, targets, weights
        self.has_aux = has_aux

    def __getstate__(self) -> dict[str, Any]:
        # A copy has separate programs (see programs.py), and compiled ones cannot be pickled.
        return {name: x for name, x in vars(self).items() if name != "_programs"}

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, ModelState]:
        """Parameters and model state at the start.

        Args:
            key: a PRNG key, for models that are not initialized yet.
            batch: an example batch, for models whose shapes follow from their inputs.
        """
        raise NotImplementedError

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        batch: Batch,
        *,
        key: jax.Array | None,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        """Outputs for a batch, and the next model state.

        Args:
            params: the parameters.
            model_state: batch statistics and the like; evaluation leaves them as they are.
            batch: a tree of arrays with examples along the first axis.
            key: a PRNG key for dropout; used in training alone.
            train: whether to drop units and to normalize by this batch's statistics.
        """
        raise NotImplementedError

    def model(self, params: Params, model_state: ModelState) -> Any:
        """The model with these parameters, ready to use.

        It has copies of the arrays, since steps take over the buffers of a state. The model that
        the objective was made of stays as it is.

        - Flax NNX: a new model in evaluation mode. (To have the numbers in your own model instead:
          ``nnx.update(model, params, model_state)``.)
        - Flax Linen: the module, bound to its variables. Call it as the module is called, with
          ``train=False`` where its call takes that.
        - Equinox: the module in inference mode, called on one example; one with a state gets that
          as it does elsewhere, ``model(x, state.model_state)``.
        - A function: ``functools.partial(function, params)``, with ``train=False`` and ``key=None``
          where it takes those.

        Args:
            params: the parameters, such as :attr:`TrainState.eval_params`.
            model_state: the model state that goes with them.

        Raises:
            NotImplementedError: the objective is of a class of your own, without this method.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not say what its model is; give it a method"
            " model(self, params, model_state), or call forward(…, key=None, train=False)"
        )

    def __repr__(self) -> str:
        parts = vars(self)
        fields = {"model": self.model_name, "loss": name_of(parts.get("loss_fn"))}
        if metrics := parts.get("metric_fns"):
            fields["metrics"] = f"[{', '.join(metrics)}]"
        return call(type(self).__name__, *(f"{name}={x}" for name, x in fields.items() if x))

    @property
    def model_name(self) -> str:
        """The name of the model's class or function, to print; empty if it is not known."""
        return ""

    def losses(self, outputs: Outputs, batch: Batch) -> jax.Array:
        """The loss of each example, or one number if the loss function gives only one."""
        return _of_examples(self._losses_and_aux(outputs, batch)[0])

    def loss(self, outputs: Outputs, batch: Batch) -> jax.Array:
        """The mean loss, by the weights of the examples.

        Raises:
            ValueError: there are weights, but one number is the loss of the whole batch.
        """
        losses = self.losses(outputs, batch)
        if self.weights is not None and losses.ndim == 0:
            raise ValueError(
                "objective: weights= are of examples, but the loss is one number for a whole batch;"
                " return the losses without their mean"
            )
        return self.mean(losses, batch)

    def metrics(self, outputs: Outputs, batch: Batch) -> Metrics:
        """The reported metrics of each example, by name, with those that the function returns."""
        targets = self.targets(batch)
        metrics = {
            name: called(f"metric {name!r}", fn, outputs, targets)
            for name, fn in self.metric_fns.items()
        }
        aux = self._losses_and_aux(outputs, batch)[1] if self.has_aux else {}
        _check_names(aux, metrics)
        return {name: _of_examples(metric) for name, metric in {**metrics, **aux}.items()}

    def example_weights(self, batch: Batch) -> jax.Array | None:
        """The weight of each example, None if all are equal.

        Raises:
            ValueError: they are not one number for each.
        """
        if self.weights is None:
            return None
        weights = jnp.asarray(self.weights(batch))
        if weights.ndim != 1:
            raise ValueError(
                "objective: weights must be one number for each example of a batch; they have shape"
                f" {weights.shape}"
            )
        return weights.astype(computing_dtype(weights.dtype))

    def mean(self, metric: jax.Array, batch: Batch) -> jax.Array:
        """The mean of a metric over the examples, by their weights: Σ w·m / Σ w.

        A value whose weight is 0 does not matter, not even NaN; where all weights are 0 the mean is
        0.

        Args:
            metric: one number for each example, or one for the whole batch, which is its own mean.
            batch: the batch, for the weights.

        Raises:
            ValueError: there are not as many weights as numbers.
        """
        weights = self.example_weights(batch)
        if weights is None or metric.ndim == 0:
            return jnp.mean(metric)
        if weights.shape != metric.shape:
            raise ValueError(
                f"objective: there are {weights.size} weights for metrics of shape {metric.shape}"
            )
        weights = weights.astype(metric.dtype)
        weighed = jnp.where(weights == 0, jnp.zeros_like(metric), weights * metric)
        return divide(jnp.sum(weighed), jnp.sum(weights))

    def _losses_and_aux(self, outputs: Outputs, batch: Batch) -> tuple[Any, Mapping[str, Any]]:
        result = called("loss", self.loss_fn, outputs, self.targets(batch))
        if not self.has_aux:
            if isinstance(result, tuple):
                raise TypeError(
                    f"objective: the loss returned {len(result)} items; to report numbers besides"
                    " it, objective(…, has_aux=True)"
                )
            return result, {}
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
            raise TypeError(
                "objective: with has_aux=True the loss is a pair (loss, {name: metric}), not a"
                f" {type(result).__name__}"
            )
        return result


def copied(tree: PyTree) -> Any:
    """A tree with copies of its arrays, which no step takes over."""
    return jax.tree.map(jnp.array, tree)


def name_of(function: Any) -> str:
    """The name of a function or of a class, to print; empty for None."""
    while isinstance(function, functools.partial):
        function = function.func
    if function is None:
        return ""
    return getattr(function, "__name__", type(function).__name__)


def _check_names(*groups: Mapping[str, Any]) -> None:
    """Refuses metrics whose names are taken, or one name in two groups."""
    names = [name for group in groups for name in group]
    taken = sorted(_REPORTED & set(names))
    if taken:
        raise ValueError(f"objective: every step reports {', '.join(taken)}; rename the metric")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"objective: {', '.join(twice)} comes with the loss; rename the metric")


def _of_examples(metric: Any) -> jax.Array:
    """One number for each example: the mean over all axes but the first."""
    metric = jnp.asarray(metric)
    metric = metric.astype(computing_dtype(metric.dtype))  # they will be summed
    return metric if metric.ndim < 2 else jnp.mean(metric, axis=tuple(range(1, metric.ndim)))
