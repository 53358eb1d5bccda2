"""Makes an objective of a model and a loss, by the kind of the model."""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen, nnx

from fnopt.core.entry import entry
from fnopt.core.types import Batch, Outputs, Params
from fnopt.train.equinox import EquinoxObjective
from fnopt.train.function import FunctionObjective
from fnopt.train.kinds import description, is_equinox, is_model, is_state, of_torch
from fnopt.train.linen import LinenObjective
from fnopt.train.losses import loss_function
from fnopt.train.metric_names import metric_functions
from fnopt.train.nnx import NNXObjective
from fnopt.train.objective import Function, Objective
from fnopt.train.signatures import check_call


@entry("objective(model, loss, metrics=…)")
def objective(
    model: Any,
    loss: Function | str | None = None,
    *,
    metrics: Mapping[str, Function | str] | Sequence[Function | str] | Function | str | None = None,
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
            ``is_training``, ``is_train``, ``deterministic``, ``inference`` or
            ``use_running_average``, it receives whether it trains; a function or an Equinox module
            whose call has an argument ``key`` receives one, None in evaluation. An Equinox module
            is called on one example, under ``vmap`` with the axis name ``"batch"``.
        loss: ``loss(outputs, targets)``, a number for each example, as optax's losses give; or the
            name of one of optax's. None, for a function alone: it returns its loss.
        metrics: more such functions, by the names under which they are reported; or a list of
            functions and names, each reported under its own; ``"accuracy"`` and optax's losses
            have a name. None for none.
        params: the parameters at the start, for a function. Of a Linen module its variables, such
            as ``{"params": …, "batch_stats": …}``, or the parameters alone; None draws them.
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
        TypeError: the model is none of the four, or lacks what its kind needs; or a loss or metric
            is no function.
        ValueError: there is no loss or metric of a name.
    """
    is_function = _check_model(model, loss, params, state)
    for argument, function in (("inputs", inputs), ("targets", targets), ("weights", weights)):
        _check_of_batch(argument, function)
    if loss is None:
        inputs = inputs or (lambda batch: batch)
        targets = targets or (lambda batch: None)
        loss = _outputs_are_losses
    else:
        loss = loss_function(loss)
    first, second = (functools.partial(_item, i, weights is not None) for i in range(2))
    common = (
        loss, metric_functions(metrics), inputs or first, targets or second, weights, has_aux
    )  # fmt: skip
    if is_function:
        return FunctionObjective(model, params, *common)
    if isinstance(model, nnx.Module):
        return NNXObjective(model, *common)
    if isinstance(model, linen.Module):
        return LinenObjective(model, params, rngs, *common)
    return EquinoxObjective(model, state, *common)


def _check_model(model: Any, loss: Any, params: Params, state: Any) -> bool:
    """Whether the model is a function; refuses what is no model, or lacks what its kind needs."""
    what = description(model)
    if inspect.isclass(model):
        raise TypeError(
            f"objective: {model.__name__} is a class; give an instance of it, {model.__name__}(…)"
        )
    if not callable(model) or of_torch(model, "nn.Module") or isinstance(model, Objective):
        raise TypeError(
            "objective: model must be a Flax NNX or Linen module, an Equinox module or a function,"
            f" got {what}{_cure(model)}"
        )
    if loss is None and is_model(model):
        raise TypeError("objective: a model needs a loss, loss(outputs, targets) or its name")
    if params is not None and (isinstance(model, nnx.Module) or is_equinox(model)):
        raise TypeError(
            f"objective: params= is for a function or a Flax Linen module; {what} has its own"
        )
    if state is not None and not is_equinox(model):
        raise TypeError("objective: state= is for an Equinox module")
    if is_model(model):
        second = ", state" if state is not None else ""
        key = ("key",) if is_equinox(model) else ()
        check_call(what, model.__call__, f"inputs{second}", *key)
        return False
    if params is None:
        raise TypeError("objective: a function needs params=, its parameters at the start")
    check_call(what, model, "params, batch" if loss is None else "params, inputs", "key")
    return True


def _check_of_batch(argument: str, function: Any) -> None:
    """Refuses what is no function of a batch, such as a key of its dict."""
    if function is None or callable(function):
        return
    item = reprlib.repr(function) if isinstance(function, (str, int)) else "…"
    raise TypeError(
        f"objective: {argument} must be a function of a batch, got {description(function)}; say"
        f" which item it is by {argument}=lambda batch: batch[{item}]"
    )


def _cure(model: Any) -> str:
    if of_torch(model, "nn.Module"):
        return "; write it in one of them, and fnopt.pretrained.load_pretrained loads its weights"
    if isinstance(model, Objective):
        return ", which is ready for fit"
    if is_state(model):
        return "; a model and its loss come here, the state into make_train_step(…)(state, batch)"
    return ""


def _item(position: int, weighted: bool, batch: Batch) -> Any:
    if not isinstance(batch, (tuple, list)) or len(batch) < 2 or (len(batch) > 2 and not weighted):
        what = description(batch) if not isinstance(batch, dict) else f"a dict of {list(batch)}"
        raise TypeError(
            f"objective: a batch is {what:.200}, not a pair of inputs and targets; give the pair,"
            " (inputs, targets), or say in objective(…) which are which, by inputs=lambda batch: …"
            " and targets=lambda batch: …"
        )
    return batch[position]


def _outputs_are_losses(outputs: Outputs, targets: Any) -> Any:
    return outputs
