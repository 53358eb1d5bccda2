"""Mistakes in the function of a solve: each is answered with its cause and cure."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from fnopt.core.checks import brief
from fnopt.solve.printing import Unquoted, array_type
from fnopt.solve.result import NOT_FINITE


def check_function(caller: str, name: str, fun: Any, args: tuple[Any, ...]) -> None:
    """Refuses what is no function, or does not take ``x`` and the further arguments.

    Args:
        caller: the function that was called.
        name: the name of the argument.
        fun: the argument.
        args: the further arguments.
    """
    if not callable(fun):
        raise TypeError(
            f"{caller}: {name} must be a function of x, got {brief(fun)} ({type(fun).__name__});"
            f" call {caller}({name}, x0)"
        )
    try:
        inspect.signature(fun).bind(None, *args)
    except TypeError as error:
        calls = ", ".join(["x", *(f"args[{i}]" for i in range(len(args)))])
        raise TypeError(
            f"{caller}: {name} is called as {name}({calls}), and {error}; give its further"
            " arguments by args=(…), or close over them: lambda x: fun(x, a)"
        ) from None
    except ValueError:  # a builtin without a signature
        pass


def check_scalar(shapes: Any, has_aux: bool) -> None:
    """Refuses a function that returns no real scalar.

    Args:
        shapes: the shapes of its result.
        has_aux: whether it returns a pair.
    """
    is_pair = isinstance(shapes, tuple) and len(shapes) == 2
    if has_aux and not is_pair:
        raise TypeError(
            "minimize: with has_aux=True fun must return a pair, the loss and what else is wanted,"
            f" got {_shown(shapes)}; write return loss, aux"
        )
    loss = shapes[0] if has_aux else shapes
    if _is_scalar(loss):
        return
    cure = "return one number, such as jnp.sum(…), or give residuals to fnopt.least_squares"
    if is_pair and not has_aux and _is_scalar(shapes[0]):
        cure = "say has_aux=True, or return the loss alone"
    elif getattr(loss, "shape", None) == ():
        cure = "return a real floating-point number"
    raise TypeError(f"minimize: fun must return a scalar, got {_shown(loss)}; {cure}")


def check_residuals(shapes: Any, has_aux: bool) -> None:
    """Refuses a function that returns no real arrays.

    Args:
        shapes: the shapes of its result.
        has_aux: whether it returns a pair, which residuals do not.
    """
    leaves = jax.tree.leaves(shapes)
    if any(not jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise TypeError(
            f"least_squares: residuals must return real floating numbers, got {_shown(shapes)};"
            " of complex ones return the real and the imaginary part"
        )
    if not sum(leaf.size for leaf in leaves):
        raise ValueError(
            f"least_squares: residuals must return at least one number, got {_shown(shapes)};"
            " return predictions minus observations"
        )


def check_finite_start(caller: str, result: Any, name: str = "fun") -> None:
    """Refuses a loss that is not finite at the start, where that is known: outside of jit."""
    if isinstance(result.status, Tracer) or result.status.ndim:
        return
    if result.status == NOT_FINITE and result.nit == 0:
        what = "the loss"
        value = f"{float(result.fun):.4g}"
        if np.isfinite(result.fun):
            what, value = "the gradient", _where_not_finite(result.jac)
        raise ValueError(
            f"{caller}: {what} at x0 is {value}; begin at another x0, or keep {name} from"
            " dividing by 0 and from log or sqrt of what is not positive (a jnp.where must guard"
            " their arguments)"
        )


@contextlib.contextmanager
def answers_untraceable(caller: str, name: str) -> Iterator[None]:
    """A context in which NumPy, and decisions by values, within a traced function are answered.

    Args:
        caller: the function that was called.
        name: the name of the argument that is the function.
    """
    try:
        yield
    except jax.errors.TracerArrayConversionError as error:
        cure = (
            "gives a traced array to NumPy; use jax.numpy (jnp) and jax.scipy in it, or"
            " jax.pure_callback for what jax cannot trace"
        )
        trace = error.__traceback__
        raise TypeError(f"{caller}: {name} {cure}").with_traceback(trace) from None
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError) as error:
        cure = (
            "needs the value of a traced array, as an `if`, float() or range() does; use jnp.where"
            " or jax.lax.cond, and close over what is no array instead of passing it by args"
        )
        trace = error.__traceback__
        raise TypeError(f"{caller}: {name} {cure}").with_traceback(trace) from None


@contextlib.contextmanager
def answers_lists(caller: str, name: str, x: Any, args: tuple[Any, ...]) -> Iterator[None]:
    """A context in which a function that takes a list of numbers for a vector is answered.

    Args:
        caller: the function that was called.
        name: the name of the argument that is the function.
        x: the first argument of the function.
        args: its further arguments.
    """
    try:
        yield
    except (TypeError, AttributeError) as error:
        named = {"x0": x, **{f"args[{i}]": arg for i, arg in enumerate(args)}}
        listed = [name for name, tree in named.items() if _is_list_of_numbers(tree)]
        if not listed or isinstance(error, jax.errors.JAXTypeError):
            raise
        which, cause = listed[0], brief(Unquoted(error), 150)
        raise TypeError(
            f"{caller}: {name} raised {type(error).__name__} ({cause}); {which} is a"
            f" {type(named[which]).__name__}, a tree of numbers: for a vector give jnp.array([…])"
        ).with_traceback(error.__traceback__) from None


def _is_list_of_numbers(tree: Any) -> bool:
    return isinstance(tree, list | tuple) and any(
        jax.tree_util.all_leaves([x]) and np.ndim(x) == 0 for x in tree
    )


def _is_scalar(shapes: Any) -> bool:
    shape = getattr(shapes, "shape", None)
    return shape == () and bool(jnp.issubdtype(shapes.dtype, jnp.floating))


def _shown(shapes: Any) -> str:
    """What a function returns, in short."""
    return brief(jax.tree.map(array_type, shapes))


def _where_not_finite(grad: Any) -> str:
    """The path of the first leaf of a gradient that is not finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(grad):
        if not np.all(np.isfinite(leaf)):
            at = jax.tree_util.keystr(path)
            return f"not finite in x0{at}" if at else "not finite"
    return "finite"
