"""What is minimized: a model's forward pass and a loss on its outputs, behind one protocol."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen, nnx

from fnopt.core import computing_dtype, did_you_mean, divide
from fnopt.train.metrics import called

Function = Callable[..., Any]
_REPORTED = {"loss", "learning_rate", "grad_norm", "update_norm", "skipped", "loss_scale"}


class Objective:
    """A model and its loss as pure functions of parameters and model state.

    Model state is what the forward pass changes beside the parameters: batch statistics. A
    subclass says how a model begins (``init``) and computes (``forward``); the loss on the
    outputs is kept apart from it. Made by :func:`objective`.

    Attributes:
        loss_fn: ``loss_fn(outputs, targets)``, a number for each example (or one for all).
        metric_fns: more such functions, by name, that are reported.
        inputs: what of a batch the model is given; its first item by default.
        targets: what of a batch the loss is given; its second item by default.
        weights: what of a batch is each example's weight; None counts all alike.
        has_aux: whether the loss function returns figures by name beside the loss.
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
        # A copy has programs of its own (see programs.py), and compiled ones cannot be pickled.
        return {name: x for name, x in vars(self).items() if name != "_programs"}

    def init(self, key: jax.Array, batch: Any) -> tuple[Any, Any]:
        """Parameters and model state at the start.

        Args:
            key: for models that are not initialized yet.
            batch: for models whose shapes follow from their inputs.
        """
        raise NotImplementedError

    def forward(
        self, params: Any, model_state: Any, batch: Any, *, key: jax.Array | None, train: bool
    ) -> tuple[Any, Any]:
        """Outputs for a batch, and the next model state.

        Args:
            params: the parameters.
            model_state: batch statistics and the like; evaluation leaves them as they are.
            batch: a tree of arrays with examples along the first axis.
            key: for dropout; used in training alone.
            train: whether to drop units and to normalize by this batch's statistics.
        """
        raise NotImplementedError

    def losses(self, outputs: Any, batch: Any) -> jax.Array:
        """The loss of each example, or one number if the loss function gives but one."""
        return _of_examples(self._losses_and_aux(outputs, batch)[0])

    def loss(self, outputs: Any, batch: Any) -> jax.Array:
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

    def metrics(self, outputs: Any, batch: Any) -> dict[str, jax.Array]:
        """The reported figures of each example, those among them that come with the loss."""
        targets = self.targets(batch)
        figures = {
            name: called(f"metric {name!r}", fn, outputs, targets)
            for name, fn in self.metric_fns.items()
        }
        aux = self._losses_and_aux(outputs, batch)[1] if self.has_aux else {}
        _check_names(aux, figures)
        return {name: _of_examples(figure) for name, figure in {**figures, **aux}.items()}

    def example_weights(self, batch: Any) -> jax.Array | None:
        """The weight of each example, None if all count alike.

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

    def mean(self, figure: jax.Array, batch: Any) -> jax.Array:
        """The mean of a figure over the examples, by their weights: Σ w·f / Σ w.

        What the figure is where a weight is 0 does not matter, and of nothing but such examples the
        mean is 0. A figure that is one number for the whole batch is its own mean.
        """
        weights = self.example_weights(batch)
        if weights is None or figure.ndim == 0:
            return jnp.mean(figure)
        if weights.shape != figure.shape:
            raise ValueError(
                f"objective: there are {weights.size} weights for figures of shape {figure.shape}"
            )
        weights = weights.astype(figure.dtype)
        weighed = jnp.where(weights == 0, jnp.zeros_like(figure), weights * figure)
        return divide(jnp.sum(weighed), jnp.sum(weights))

    def _losses_and_aux(self, outputs: Any, batch: Any) -> tuple[Any, Mapping[str, Any]]:
        told = called("loss", self.loss_fn, outputs, self.targets(batch))
        if not self.has_aux:
            return told, {}
        if not (isinstance(told, tuple) and len(told) == 2 and isinstance(told[1], Mapping)):
            raise TypeError(
                "objective: with has_aux=True the loss is a pair (loss, {name: figure}), not a"
                f" {type(told).__name__}"
            )
        return told


class NNXObjective(Objective):
    """A Flax NNX model; its random streams are made anew from each step's key.

    Args:
        model: the model; it is copied, not changed.
        *args: those of :class:`Objective`.
    """

    def __init__(self, model: nnx.Module, *args: Any) -> None:
        super().__init__(*args)
        model = nnx.clone(model)
        nnx.pop(model, nnx.Intermediate)  # what calls before this have noted down
        self._flags = _train_flags(type(model).__call__)
        self._graphs = {}
        for train in (False, True):
            model.train() if train else model.eval()
            self._graphs[train], self._params, self._streams, self._model_state = _split(model)

    def init(self, key: jax.Array, batch: Any) -> tuple[Any, Any]:
        return self._params, self._model_state

    def forward(
        self, params: Any, model_state: Any, batch: Any, *, key: jax.Array | None, train: bool
    ) -> tuple[Any, Any]:
        streams = self._streams if key is None else _streams_from(self._streams, key)
        model: Any = nnx.merge(self._graphs[train], params, streams, model_state, copy=True)
        outputs = model(self.inputs(batch), **self._flags(train))
        return outputs, _split(model)[-1] if train else model_state


class LinenObjective(Objective):
    """A Flax Linen module.

    Args:
        module: the module.
        rngs: the names of its random streams in training.
        *args: those of :class:`Objective`.
    """

    def __init__(self, module: linen.Module, rngs: tuple[str, ...], *args: Any) -> None:
        super().__init__(*args)
        self.module: Any = module
        self.rngs = rngs
        self._flags = _train_flags(type(module).__call__)

    def init(self, key: jax.Array, batch: Any) -> tuple[Any, Any]:
        if batch is None:
            raise TypeError(
                "TrainState.create: a Linen module's shapes need batch=, an example batch"
            )
        keys = self._keys(key) | {"params": key}
        variables = self.module.init(keys, self.inputs(batch), **self._flags(False))
        variables = {name: tree for name, tree in variables.items() if name != "intermediates"}
        return variables.pop("params", {}), variables

    def forward(
        self, params: Any, model_state: Any, batch: Any, *, key: jax.Array | None, train: bool
    ) -> tuple[Any, Any]:
        outputs = self.module.apply(
            {"params": params, **model_state},
            self.inputs(batch),
            rngs=self._keys(key) if train else None,
            mutable=list(model_state) if train else False,
            **self._flags(train),
        )
        return outputs if train else (outputs, model_state)

    def _keys(self, key: jax.Array | None) -> dict[str, jax.Array]:
        if key is None:
            return {}
        return {name: jax.random.fold_in(key, i) for i, name in enumerate(self.rngs)}


class FunctionObjective(Objective):
    """A plain function of parameters and inputs; ``key`` and ``train`` are given if it asks.

    Args:
        function: ``function(params, inputs)``.
        params: the parameters at the start.
        *args: those of :class:`Objective`.
    """

    def __init__(self, function: Function, params: Any, *args: Any) -> None:
        super().__init__(*args)
        self.function, self.params = function, params
        self._flags = _train_flags(function)
        self._wants_key = "key" in inspect.signature(function).parameters

    def init(self, key: jax.Array, batch: Any) -> tuple[Any, Any]:
        return self.params, {}

    def forward(
        self, params: Any, model_state: Any, batch: Any, *, key: jax.Array | None, train: bool
    ) -> tuple[Any, Any]:
        given = {"key": key} if self._wants_key else {}
        return self.function(params, self.inputs(batch), **given, **self._flags(train)), model_state


def objective(
    model: Any,
    loss: Function | str | None = None,
    *,
    metrics: Mapping[str, Function] | None = None,
    params: Any = None,
    inputs: Function | None = None,
    targets: Function | None = None,
    weights: Function | None = None,
    has_aux: bool = False,
    rngs: tuple[str, ...] = ("dropout",),
    state: Any = None,
) -> Objective:
    """What is minimized, made of a model and a loss.

    Batch statistics are threaded and dropout keys folded from one key by step; dropout is off and
    the running statistics are used in evaluation.

    Args:
        model: a Flax NNX model, a Flax Linen module, an Equinox module, or a function
            ``f(params, inputs)``. If its call has an argument ``train``, ``training``,
            ``is_training`` or ``deterministic``, it is told; a function or an Equinox module whose
            call has an argument ``key`` is given one, None in evaluation. An Equinox module is
            called on one example, under ``vmap`` with the axis name ``"batch"``.
        loss: ``loss(outputs, targets)``, a number for each example, as optax's losses give; or the
            name of one of optax's. None, for a function alone: it returns its loss.
        metrics: more such functions, by the names they are reported under.
        params: the parameters at the start, for a function.
        inputs: what of a batch the model is given; the first item of a pair by default, and the
            whole batch for a function without a loss.
        targets: what of a batch the loss is given; the second item of a pair by default.
        weights: what of a batch is each example's weight, ``lambda batch: batch[2]``; loss and
            metrics are then Σ w·l / Σ w. Batches may be tuples of more than two items with it.
        has_aux: whether the loss function (or the function that returns its loss) returns a pair,
            the loss and a dict of figures that are reported like metrics.
        rngs: the names of a Linen module's random streams.
        state: of an Equinox module that has one, as ``eqx.nn.make_with_state`` gives it.

    Raises:
        TypeError: the model is none of the four, or lacks what its kind needs.
        ValueError: optax has no loss of this name.
    """
    if inspect.isclass(model):
        raise TypeError(f"objective: {model.__name__} is a class; give an instance of it")
    is_module = isinstance(model, (nnx.Module, linen.Module)) or _is_equinox(model)
    if isinstance(loss, str):
        loss = _optax_loss(loss)
    if loss is None:
        if is_module or not callable(model):
            raise TypeError("objective: a model needs a loss, loss(outputs, targets) or its name")
        inputs = inputs or (lambda batch: batch)
        targets = targets or (lambda batch: None)
        loss = _outputs_are_losses
    if params is not None and is_module:
        raise TypeError(
            "objective: params= is for a function; a model's go into the state,"
            " TrainState.create(…).replace(params=…)"
        )
    if state is not None and not _is_equinox(model):
        raise TypeError("objective: state= is for an Equinox module")
    first, second = (functools.partial(_item, i, weights is not None) for i in range(2))
    common = loss, metrics or {}, inputs or first, targets or second, weights, has_aux
    if isinstance(model, nnx.Module):
        return NNXObjective(model, *common)
    if isinstance(model, linen.Module):
        return LinenObjective(model, rngs, *common)
    if _is_equinox(model):
        from fnopt.train.equinox import EquinoxObjective

        return EquinoxObjective(model, state, *common)
    if not callable(model):
        raise TypeError(
            "objective: model must be a Flax NNX or Linen module or a function, got"
            f" {type(model).__name__}"
        )
    if params is None:
        raise TypeError("objective: a function needs params=, its parameters at the start")
    return FunctionObjective(model, params, *common)


def _item(place: int, weighted: bool, batch: Any) -> Any:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2 or (len(batch) > 2 and not weighted):
        raise TypeError(
            f"objective: a batch is a {type(batch).__name__}, not a pair of inputs and targets; say"
            " which are which by inputs=lambda batch: … and targets=lambda batch: …"
        )
    return batch[place]


def _check_names(*groups: Mapping[str, Any]) -> None:
    """Refuses metrics whose names are taken, or one name in two groups."""
    names = [name for group in groups for name in group]
    taken = sorted(_REPORTED & set(names))
    if taken:
        raise ValueError(f"objective: every step reports {', '.join(taken)}; rename the metric")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"objective: {', '.join(twice)} comes with the loss; rename the metric")


def _is_equinox(model: Any) -> bool:
    # A module of a library that was never imported is none: there is no need to import it.
    equinox: Any = sys.modules.get("equinox")
    return equinox is not None and isinstance(model, equinox.Module)


def _outputs_are_losses(outputs: Any, targets: Any) -> Any:
    return outputs


def _of_examples(figures: Any) -> jax.Array:
    """One figure for each example: the mean over whatever axes there are beside the first."""
    figures = jnp.asarray(figures)
    figures = figures.astype(computing_dtype(figures.dtype))  # they will be summed
    return figures if figures.ndim < 2 else jnp.mean(figures, axis=tuple(range(1, figures.ndim)))


def _optax_loss(name: str) -> Function:
    known = [n for n in dir(optax.losses) if not n.startswith("_")]
    if name not in known:
        raise ValueError(f"objective: optax has no loss {name!r}; {did_you_mean(name, known)}")
    return getattr(optax.losses, name)


def _train_flags(call: Function) -> Callable[[bool], dict[str, bool]]:
    """How a model's call is told that it trains: by whichever of the usual arguments it has."""
    parameters = inspect.signature(call).parameters
    told_true = [name for name in ("train", "training", "is_training") if name in parameters]
    told_false = [name for name in ("deterministic",) if name in parameters]

    def flags(train: bool) -> dict[str, bool]:
        return dict.fromkeys(told_true, train) | dict.fromkeys(told_false, not train)

    return flags


def _split(model: nnx.Module) -> tuple[Any, Any, Any, Any]:
    """Graph, parameters, random streams, model state; what a forward pass notes down is left."""
    graph, params, streams, _, rest = nnx.split(
        model, nnx.Param, nnx.RngState, nnx.Intermediate, ...
    )
    return graph, params, streams, rest


def _streams_from(streams: Any, key: jax.Array) -> Any:
    """Random streams that begin at this key, each with its own."""
    leaves, treedef = jax.tree.flatten(streams)
    anew = [
        jax.random.split(jax.random.fold_in(key, i), leaf.shape)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else jnp.zeros_like(leaf)
        for i, leaf in enumerate(leaves)
    ]
    return treedef.unflatten(anew)
