"""What is wrong with a call of a class, in one sentence, and how it should be called."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

from fnopt.core.checks import brief, did_you_mean

_EMPTY = inspect.Parameter.empty
_POSITIONAL = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD

_OTHER_NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "lr": (("learning_rate",),),
    "rate": (("learning_rate",),),
    "step_size": (("learning_rate",),),
    "stepsize": (("learning_rate",),),
    "eta": (("learning_rate",),),
    "betas": (("b1", "b2"), ("b1", "b2", "b3")),
    "beta1": (("b1",),),
    "beta_1": (("b1",),),
    "beta2": (("b2",),),
    "beta_2": (("b2",),),
    "epsilon": (("eps",),),
    "alpha": (("decay",), ("b2",)),
    "rho": (("decay",), ("b2",)),
    "momentum": (("b1",), ("beta",), ("decay",)),
    "wd": (("weight_decay",),),
    "etas": (("eta_minus", "eta_plus"),),
    "step_sizes": (("min_step_size", "max_step_size"),),
    "T_max": (("decay_steps",),),
    "eta_min": (("end_value",), ("alpha",)),
    "gamma": (("decay_rate",), ("factor",)),
}
"""Names in torch and elsewhere, with those that may stand for them here; the first that do."""
_TOGETHER = [names for choices in _OTHER_NAMES.values() for names in choices if len(names) > 1]
"""Arguments here that are one elsewhere."""
_OF_COMPILED = "leave it out, jax.jit compiles every update"
_INSTEAD: dict[str, str] = {
    "amsgrad": "AMSGrad is fnopt.amsgrad",
    "capturable": _OF_COMPILED,
    "clipnorm": "clip before it: fnopt.chain(fnopt.clip_by_global_norm(1.0), …)",
    "dampening": "fnopt.compat.torch.SGD has it",
    "differentiable": _OF_COMPILED,
    "foreach": _OF_COMPILED,
    "fused": _OF_COMPILED,
    "lr_decay": "pass a schedule as learning_rate, such as fnopt.inverse_time_decay(…)",
    "maximize": "negate the loss to maximize it",
    "model": "parameters are not passed here but to init: tx.init(params)",
    "momentum_decay": "fnopt.compat.torch.NAdam has it",
    "parameters": "parameters are not passed here but to init: tx.init(params)",
    "params": "parameters are not passed here but to init: tx.init(params)",
    "weight_decay": "for decoupled decay use fnopt.adamw or another method with it, for an L2"
    " penalty fnopt.chain(fnopt.add_l2(…), …)",
}
"""What does the work of arguments that have no counterpart here."""
_OF_TORCH = {"alpha", "amsgrad", "betas", "capturable", "dampening", "differentiable", "etas"}
_OF_TORCH |= {"foreach", "fused", "lr", "lr_decay", "maximize", "momentum_decay", "rho"}
_OF_TORCH |= {"step_sizes"}


def example_call(cls: Any) -> str:
    """A call of a class that works, as text; required arguments of unknown kind are dots."""
    required = [
        name
        for name, parameter in cls.__signature__.parameters.items()
        if parameter.default is _EMPTY and parameter.kind in _POSITIONAL
    ]
    usual = getattr(cls, "usual_rate", None) or 1e-3
    shown = [f"{usual:g}" if name == "learning_rate" else f"{name}=…" for name in required]
    # As people write the number.
    shown = ["1e-3" if text == "0.001" else text for text in shown]
    home = cls.__module__.split(".")
    prefix = "fnopt." if home[0] == "fnopt" and "compat" not in home else ""
    return f"{prefix}{cls.__name__}({', '.join(shown)})"


def not_called(cls: Any) -> str:
    """The refusal of a class where one of its instances is wanted."""
    return f"{cls.__name__} is a class; call it: {example_call(cls)}"


def call_mistake(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """What is wrong with the arguments of a call, besides their values; empty if nothing is."""
    try:
        bound = cls.__signature__.bind(*args, **kwargs)
    except TypeError:
        return f"{cls.__name__} {_mistake(cls, args, kwargs)}"
    for name, value in bound.arguments.items():
        for names in _TOGETHER:
            # As torch's betas, passed by position.
            several = isinstance(value, (tuple, list)) and len(value) == len(names)
            if name == names[0] and several and set(names) <= set(cls.__signature__.parameters):
                return (
                    f"{cls.__name__}: {name} is one number, got {brief(value, 40)}; write"
                    f" {_written(names, value)}"
                )
    return ""


def _mistake(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    parameters = cls.__signature__.parameters
    for name, value in kwargs.items():
        if name not in parameters:
            return f"has no argument {name!r}: {_cure(cls, name, value)}"
    kinds = {parameter.kind for parameter in parameters.values()}
    positional = [name for name, p in parameters.items() if p.kind in _POSITIONAL]
    if len(args) > len(positional) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        names = f" ({', '.join(positional)})" if positional else ""
        return (
            f"takes {len(positional)} arguments by position{names}, got {len(args)}; pass the"
            f" others by name, as in {example_call(cls)}"
        )
    for name, value in zip(positional, args):  # noqa: B905 - as many as there are
        if name in kwargs:
            return (
                f"got {name} twice, by position ({brief(value, 40)}) and by name"
                f" ({brief(kwargs[name], 40)}){_of_init(value)}"
            )
    missing = [name for name in positional[len(args) :] if parameters[name].default is _EMPTY]
    missing = [name for name in missing if name not in kwargs]
    return f"needs {' and '.join(missing)}: call it as {example_call(cls)}"


def _of_init(value: Any) -> str:
    return "" if isinstance(value, (int, float, str)) else "; parameters go to tx.init(params)"


def suggested(name: str, known: Collection[str], value: Any) -> str:
    """What to add to the refusal of an unknown argument: the one here that is meant.

    Args:
        name: the unknown name.
        known: the names that there are.
        value: what was passed for it.
    """
    for names in _OTHER_NAMES.get(name, ()):
        if set(names) <= set(known):
            return f"did you mean {_written(names, value)}?"
    return did_you_mean(name, known)


def _cure(cls: Any, name: str, value: Any) -> str:
    known = cls.__signature__.parameters
    torch = name in _OF_TORCH and "compat" not in cls.__module__.split(".")
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name in vars(cls) and not callable(vars(cls)[name]):
        return f"it is a class attribute; write {name}: Scalar = … to make it an argument"
    return suggested(name, known, value) + (
        " torch's names are those of fnopt.compat.torch" if torch else ""
    )


def _written(names: tuple[str, ...], value: Any) -> str:
    values = value if len(names) > 1 else (value,)
    if not isinstance(values, (tuple, list)) or len(values) != len(names):
        return ", ".join(names)
    return ", ".join(f"{n}={brief(x, 30)}" for n, x in zip(names, values, strict=True))
