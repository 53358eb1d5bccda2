"""Makes an objective of a model and a loss, by the kind of the model."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Mapping
from typing import Any

import optax
from flax import linen, nnx

from fnopt.core import did_you_mean
from fnopt.core.types import Batch, Outputs, Params
from fnopt.train.equinox import EquinoxObjective
from fnopt.train.function import FunctionObjective
from fnopt.train.linen import LinenObjective
from fnopt.train.nnx import NNXObjective
from fnopt.train.objective import Function, Objective


def objective(
    model: Any,
    loss: Function | str | None = None,
    *,
    metrics: Mapping[str, Function] | None = None,
    params: Params = None,
    inputs: Function | None = None,
    targets: Function | None = None,
    weights: Function | None = None,
    has_aux: bool = False,
    rngs: tuple[str, ...] = ("dropout",),
    state: Any = None,
) -> Objective:
    """An objective: a model and a loss on its outputs, to be minimized.

    Batch statistics are carried from step to step, and dropout keys are folded from one key by
    step. In evaluation dropout is off and the running statistics are used.

    Args:
        model: a Flax NNX model, a Flax Linen module, an Equinox module, or a function
            ``f(params, inputs)``. If its call has an argument ``train``, ``training``,
            ``is_training`` or ``deterministic``, it receives whether it trains; a function or an
            Equinox module whose call has an argument ``key`` receives one, None in evaluation. An
            Equinox module is
            called on one example, under ``vmap`` with the axis name ``"batch"``.
        loss: ``loss(outputs, targets)``, a number for each example, as optax's losses give; or the
            name of one of optax's. None, for a function alone: it returns its loss.
        metrics: more such functions, by the names under which they are reported; none if None.
        params: the parameters at the start, for a function.
        inputs: a function of a batch giving the inputs of the model; None for the first item of a
            pair, and for the whole batch of a function without a loss.
        targets: a function of a batch giving the targets of the loss; None for the second item of
            a pair.
        weights: a function of a batch giving one weight for each example, as
            ``lambda batch: batch[2]``; loss and metrics are then Σ w·l / Σ w. Batches may be tuples
            of more than two items with it. None: equal weights.
        has_aux: whether the loss function (or the function that returns its loss) returns a pair,
            the loss and a dict of numbers that are reported like metrics.
        rngs: the names of a Linen module's random streams.
        state: the state of an Equinox module, from ``eqx.nn.make_with_state``; None if it has
            none.

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
        return EquinoxObjective(model, state, *common)
    if not callable(model):
        raise TypeError(
            "objective: model must be a Flax NNX or Linen module or a function, got"
            f" {type(model).__name__}"
        )
    if params is None:
        raise TypeError("objective: a function needs params=, its parameters at the start")
    return FunctionObjective(model, params, *common)


def _item(position: int, weighted: bool, batch: Batch) -> Any:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2 or (len(batch) > 2 and not weighted):
        raise TypeError(
            f"objective: a batch is a {type(batch).__name__}, not a pair of inputs and targets; say"
            " which are which by inputs=lambda batch: … and targets=lambda batch: …"
        )
    return batch[position]


def _is_equinox(model: Any) -> bool:
    # A module of a library that was never imported is none: there is no need to import it.
    equinox: Any = sys.modules.get("equinox")
    return equinox is not None and isinstance(model, equinox.Module)


def _outputs_are_losses(outputs: Outputs, targets: Any) -> Any:
    return outputs


def _optax_loss(name: str) -> Function:
    known = [n for n in dir(optax.losses) if not n.startswith("_")]
    if name not in known:
        raise ValueError(f"objective: optax has no loss {name!r}; {did_you_mean(name, known)}")
    return getattr(optax.losses, name)
