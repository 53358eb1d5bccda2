"""Losses by name: optax's, with the names that other libraries use in the message of a refusal."""

from __future__ import annotations

import difflib
from typing import Any

import optax

from fnopt.train.kinds import description, of_torch
from fnopt.train.metrics import mode_of
from fnopt.train.objective import Function
from fnopt.train.signatures import mismatch_of

_INTEGER = "softmax_cross_entropy_with_integer_labels"
_BY_CLASS = f"{_INTEGER!r} takes integer labels, 'softmax_cross_entropy' one-hot ones"
_ABSOLUTE = "write it, lambda outputs, targets: abs(outputs - targets)"
_BINARY = "the same is 'sigmoid_binary_cross_entropy', of outputs without a sigmoid"

_CURES = {
    "crossentropy": _BY_CLASS,
    "softmaxcrossentropy": _BY_CLASS,
    "nll": f"the same is {_INTEGER!r}, of outputs without a softmax",
    "sparsecategoricalcrossentropy": f"the same is {_INTEGER!r}",
    "categoricalcrossentropy": "the same is 'softmax_cross_entropy'",
    "mse": "the same is 'squared_error'",
    "meansquarederror": "the same is 'squared_error'",
    "l2": "it is called 'l2_loss', half of 'squared_error'",
    "l1": _ABSOLUTE,
    "mae": _ABSOLUTE,
    "meanabsoluteerror": _ABSOLUTE,
    "absoluteerror": _ABSOLUTE,
    "smoothl1": "the same is 'huber_loss'",
    "huber": "it is called 'huber_loss'",
    "bce": _BINARY,
    "bcewithlogits": _BINARY,
    "binarycrossentropy": _BINARY,
    "binarycrossentropywithlogits": _BINARY,
    "kldiv": "the same is 'kl_divergence'",
    "hinge": "it is called 'hinge_loss'",
    "accuracy": "it has no gradient: give metrics=['accuracy'] and a loss such as "
    + repr(_INTEGER),
}
"""What to take for the names of PyTorch and Keras, without ``_``, ``loss`` and capitals."""


def loss_function(loss: Any) -> Function:
    """The loss function of an argument.

    Args:
        loss: a function, or the name of one of optax's losses.

    Raises:
        ValueError: optax has no loss of this name; the message has the nearest.
        TypeError: it is neither, a function of PyTorch, or a metric that is to be maximized.
    """
    if isinstance(loss, str):
        return loss_by_name(loss)
    if _is_torchs(loss):
        name = getattr(loss, "__name__", type(loss).__name__)
        raise TypeError(
            f"objective: loss is {name} of PyTorch, which cannot compute on arrays of JAX;"
            f" {_cure(name) or 'take one of optax.losses'}"
        )
    if mode_of(loss) == "max":
        raise TypeError(
            f"objective: loss is {description(loss)}, a metric that is better when it is larger;"
            " give it in metrics=[…], and a loss to minimize"
        )
    if not callable(loss):
        raise TypeError(
            "objective: loss must be a function loss(outputs, targets) or the name of one of"
            f" optax's, such as 'squared_error'; got {description(loss)}"
        )
    _check_call(loss)
    return loss


def loss_by_name(name: str) -> Function:
    """One of optax's losses by its name.

    Raises:
        ValueError: there is none of this name.
    """
    known = [n for n in dir(optax.losses) if not n.startswith("_")]
    if name in known:
        return getattr(optax.losses, name)
    cure = _cure(name)
    if not cure:
        near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
        cure = f"did you mean {' or '.join(map(repr, near))}?" if near else ""
        cure += " optax.losses has them all, and a function of your own is one, too"
    raise ValueError(f"objective: optax has no loss {name!r}; {cure.strip()}")


def _cure(name: str) -> str | None:
    plain = name.lower().replace("_", "").replace(" ", "").replace("-", "")
    return _CURES.get(plain) or _CURES.get(plain.removesuffix("loss"))


def _is_torchs(loss: Any) -> bool:
    module = getattr(loss, "__module__", None) or ""
    return (
        of_torch(loss, "nn.Module")
        or module.partition(".")[0] == "torch"
        or (isinstance(loss, type) and loss.__module__.startswith("torch."))
    )


def _check_call(loss: Function) -> None:
    """Refuses a function that does not take outputs and targets."""
    mismatch = mismatch_of(loss, 2)
    if mismatch is not None:
        signature, error = mismatch
        if isinstance(loss, type):
            raise TypeError(
                f"objective: loss is {description(loss)}; give a function loss(outputs, targets)"
            )
        raise TypeError(
            f"objective: the loss is called as loss(outputs, targets), but {description(loss)}"
            f" takes {signature} ({error})"
        )
