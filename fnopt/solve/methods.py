"""Methods by name: the library's own names, and SciPy's for those it has."""

from __future__ import annotations

import inspect
from typing import Any

from fnopt.core import Transform
from fnopt.core.checks import brief, nearest
from fnopt.core.transform import as_transform
from fnopt.core.types import Params
from fnopt.registry import KINDS, USUAL_RATE, exported
from fnopt.solve.checks import as_box

SCIPY: dict[str, tuple[str, dict[str, Any]]] = {
    "cg": ("nonlinear_cg", {}),
    "l-bfgs": ("lbfgs", {}),
    "l-bfgs-b": ("lbfgsb", {}),
    "trust-ncg": ("newton_cg", {}),
    "trust-krylov": ("newton_cg", {}),
    "trust-exact": ("trust_newton", {}),
    "lm": ("levenberg_marquardt", {}),
    "trf": ("levenberg_marquardt", {}),
    "dogbox": ("levenberg_marquardt", {}),
}
"""SciPy's methods that go by another name here: that name, and arguments."""


def usual_method(bounded: bool) -> str:
    """The method where none is given.

    Of those without bounds it solves most problems in benchmarks/README.md, and stores no matrix.
    """
    return "lbfgsb" if bounded else "newton_cg"


def as_method(caller: str, method: Any) -> Transform:
    """A method by its name or as a value.

    Args:
        caller: the function that was called, for errors.
        method: the name of an optimizer of the library or of SciPy's, in any case; or a
            transformation of fnopt or of optax.

    Raises:
        TypeError: it is neither; or the method of this name needs arguments.
        ValueError: there is no method of this name; the message has the nearest.
    """
    if not isinstance(method, str):
        return as_transform(method)
    name = method.lower()
    name, arguments = SCIPY.get(name, (name.replace("-", "_"), {}))
    known = {name: make for name, make in exported().items() if make.family not in KINDS}
    if name not in known:
        near = nearest(name, {*known, *SCIPY})
        suggestion = f"did you mean {near!r}? " if near else ""
        raise ValueError(
            f"{caller}: no method {brief(method, 40)}; {suggestion}fnopt.optimizers() has all"
        )
    return _make(caller, known[name], arguments)


def keeps_to_bounds(tx: Transform) -> bool:
    """Whether a method takes bounds: it has them as fields ``lower`` and ``upper``."""
    return {"lower", "upper"} <= set(tx._fields)


def box_for(caller: str, tx: Transform, bounds: Any, start: Params) -> Any:
    """The box of a solve: that of its bounds, or those of the method itself.

    Args:
        caller: the function that was called, for errors.
        tx: the method.
        bounds: the argument, as :func:`~fnopt.solve.checks.as_box` takes it.
        start: the parameters at the start.

    Raises:
        ValueError: there are bounds, and the method takes none.
    """
    box = as_box(caller, bounds, start)
    if keeps_to_bounds(tx):
        own: Any = tx
        bounded = own.lower is not None or own.upper is not None
        return box or as_box(caller, (own.lower, own.upper) if bounded else None, start)
    if box is not None:
        usual = {"minimize": "lbfgsb", "least_squares": "levenberg_marquardt"}[caller]
        raise ValueError(
            f"{caller}: {type(tx).__name__} takes no bounds; method={usual!r} does, or write x as a"
            " function of free variables, as jnp.exp(z) for x > 0"
        )
    return None


def _make(caller: str, make: Any, arguments: dict[str, Any]) -> Transform:
    """A method with its usual rate."""
    parameters = inspect.signature(make).parameters
    required = {name for name, p in parameters.items() if p.default is p.empty}
    rate = make.rate_name
    if rate in parameters and (rate in required or make.usual_rate is not None):
        arguments = {rate: make.usual_rate or USUAL_RATE, **arguments}
    missing = required - arguments.keys()
    if missing:
        name = make.__name__
        raise TypeError(
            f"{caller}: {name} needs {', '.join(sorted(missing))}; give it as a value,"
            f" fnopt.{name}({', '.join(f'{x}=…' for x in sorted(missing))})"
        )
    return make(**arguments)
