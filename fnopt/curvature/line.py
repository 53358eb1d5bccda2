"""The loss along a direction: what every line search looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core import computing_dtype, evaluation_of, required, vdot
from fnopt.core.checks import Interval, float_leaves, positive_integer, updates_and_params
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.transform import as_transform
from fnopt.core.types import Params, PyTree, Updates
from fnopt.curvature.pairs import along

Reals = list[jax.Array]
"""A tree as a list of real arrays, in single precision at least: a complex leaf is two of them."""


@dataclasses.dataclass(frozen=True)
class OrNone(Field):
    """A leaf that may be None, with any default."""

    kind = "float | None"

    def accept(self, argument: str, value: Any, default: Any) -> Any:
        return None if value is None else super().accept(argument, value, default)


Share = Annotated[Any, Field(Interval("(0, 1)"))]
"""A number between 0 and 1; a line search has no count by which it could be a schedule."""
Tolerance = Annotated[Any, Field(Interval("[0, inf)"))]
"""A number, at least 0."""
ToleranceOrInf = Annotated[Any, Field(Interval("[0, inf]"))]
"""A number, at least 0; inf to be content with anything."""
ToleranceOrNone = Annotated[Any, OrNone(Interval("[0, inf)"))]
"""A number, at least 0, or None for another criterion."""
Growth = Annotated[Any, Field(Interval("[1, inf]"))]
"""A factor by which a step grows, at least 1."""
Longest = Annotated[Any, Field(Interval("(0, inf]"))]
"""The largest step, above 0; inf for no limit."""
Largest = Annotated[Any, OrNone(Interval("(0, inf]"))]
"""The largest step, above 0; None for no limit."""
Evaluations = Annotated[
    int, Field(convert=lambda n: positive_integer("it", n), static=True, shown="int")
]
"""The largest number of evaluations, at least 1."""
LineSearch = Annotated[
    Any,
    Field(
        convert=lambda search: None if search is None else as_transform(search),
        shown="GradientTransformation | None",
    ),
]
"""A transform that follows a direction and finds its length, of fnopt or of optax; or None."""
Guess = Annotated[Any, Field(static=True, choices=("keep", "one"))]
"""The first step to try: ``"keep"`` for that of the last update, ``"one"`` for 1."""


class Point(NamedTuple):
    r"""A point of the line: the step :math:`t`, the loss, its gradient and slope there."""

    step: jax.Array
    value: jax.Array
    grad: Any
    slope: jax.Array


@dataclasses.dataclass(frozen=True)
class Line:
    r"""The loss :math:`\varphi(t) = f(\theta + t\,d)` along a direction.

    Attributes:
        start: the parameters :math:`\theta`.
        direction: :math:`d`.
        origin: the point :math:`t = 0`.
        evaluated: number of evaluations that the origin took.
        tree: a function of real arrays that gives the tree of parameters, in their dtypes.
        reals: a function of a tree like the parameters that gives real arrays.
        dtypes: the dtypes of the updates.
        value_fn, value_and_grad_fn: functions of the parameters.
    """

    start: Reals
    direction: Reals
    origin: Point
    evaluated: int
    tree: Callable[[Reals, Any], PyTree]
    reals: Callable[[PyTree], Reals]
    params_dtypes: list[Any]
    dtypes: list[Any]
    value_fn: Callable[[Params], jax.Array]
    value_and_grad_fn: Callable[[Params], tuple[jax.Array, Updates]]

    @property
    def dtype(self) -> Any:
        """That of steps, losses and slopes."""
        return self.origin.slope.dtype

    def value(self, position: Reals) -> jax.Array:
        """The loss at a point of space; inf instead of -inf, which no search can work with."""
        return self._bounded_below(self.value_fn(self.params(position)))

    def value_and_grad(self, position: Reals) -> tuple[jax.Array, Reals]:
        """The loss at a point of space, as :meth:`value` gives it, and its gradient."""
        value, grad = self.value_and_grad_fn(self.params(position))
        return self._bounded_below(value), self.reals(grad)

    def at(self, step: jax.Array) -> Point:
        """The point of the line at a step."""
        value, grad = self.value_and_grad(along(self.start, step, self.direction))
        return Point(step, value, grad, cast(vdot(grad, self.direction), self.dtype))

    def for_optax(self) -> Callable[[Reals], jax.Array]:
        """The loss at a point of space in any precision, whose gradient is that of the caller."""

        @jax.custom_vjp
        def value(position: Reals) -> jax.Array:
            return self.value(position)

        value.defvjp(self.value_and_grad, lambda grad, by: ([by * g for g in grad],))
        return lambda position: value([cast(x, self.dtype) for x in position])

    def begin(self, learning_rate: Any) -> jax.Array:
        """The step of a state to begin a search with; 1 where it is none, as after underflow."""
        step = cast(jnp.asarray(learning_rate), self.dtype)
        return jnp.where((step > 0) & jnp.isfinite(step), step, jnp.ones_like(step))

    def accept(self, point: Point, highest: jax.Array) -> Point:
        """A point; the origin where its loss is above ``highest`` or not finite."""
        accepted = jnp.isfinite(point.value) & (point.value <= highest)
        return jax.tree.map(lambda x, old: jnp.where(accepted, x, old), point, self.origin)

    def _bounded_below(self, value: Any) -> jax.Array:
        value = cast(jnp.asarray(value), self.dtype)
        return jnp.where(value == -jnp.inf, jnp.inf, value)

    def params(self, position: Reals) -> Params:
        """A point of space as parameters."""
        return self.tree(position, self.params_dtypes)

    def update(self, step: jax.Array) -> Updates:
        """The update that leads to a step; 0 for the step 0, whatever the direction."""
        moved = [jnp.where(step == 0, jnp.zeros_like(d), step * d) for d in self.direction]
        return self.tree(moved, self.dtypes)


def line_of(
    transform: Any,
    updates: Updates,
    params: Params,
    value: Any,
    grad: Updates | None,
    extra_args: dict[str, Any],
) -> Line:
    """The line that a transform received: from the parameters along the updates.

    Args:
        transform: the line search, for errors.
        updates: the direction.
        params: the parameters.
        value: the loss at the parameters; computed if None.
        grad: the gradient there; computed if None.
        extra_args: the other extra arguments of ``update``.

    Raises:
        ValueError: parameters or ``value_fn`` were not passed.
    """
    updates, params = updates_and_params(transform, updates, params)
    evaluation = evaluation_of(extra_args)
    value_and_grad_fn = required(transform, "value_fn", evaluation.value_and_grad)
    value_fn = evaluation.value
    value_fn = (lambda params: value_and_grad_fn(params)[0]) if value_fn is None else value_fn
    directions, treedef = jax.tree.flatten(updates)
    starts = jax.tree.leaves(params)
    real = jnp.finfo(computing_dtype(*(x.dtype for x in (*starts, *directions)))).dtype
    complex_ = [jnp.iscomplexobj(x) for x in starts]

    def reals(tree: PyTree) -> Reals:
        parts: Reals = []
        for x, pair in zip(treedef.flatten_up_to(tree), complex_, strict=True):
            x = jnp.asarray(x)
            parts += [cast(p, real) for p in ((x.real, x.imag) if pair else (x,))]
        return parts or [jnp.zeros(0, real)]  # optax wants an array

    def tree(parts: Reals, dtypes: Any) -> PyTree:
        left, leaves = iter(parts), []
        for pair, dtype in zip(complex_, dtypes, strict=True):
            leaves.append(jax.lax.complex(next(left), next(left)) if pair else next(left))
            leaves[-1] = cast(leaves[-1], dtype)
        return treedef.unflatten(leaves)

    evaluated = int(value is None or grad is None)
    if grad is None:
        first, grad = value_and_grad_fn(params)
        value = first if value is None else value
    elif value is None:
        value = value_fn(params)
    direction, slopes = reals(updates), reals(grad)
    slope = cast(vdot(slopes, direction), real)
    return Line(
        start=reals(params),
        direction=direction,
        origin=Point(jnp.zeros((), real), cast(jnp.asarray(value), real), slopes, slope),
        evaluated=evaluated,
        tree=tree,
        reals=reals,
        params_dtypes=[x.dtype for x in starts],
        dtypes=[x.dtype for x in directions],
        value_fn=value_fn,
        value_and_grad_fn=value_and_grad_fn,
    )


def like_state(new: Any, state: Any) -> Any:
    """A line search's next state in the dtypes of the last, whatever those of the batch."""
    return jax.tree.map(lambda x, old: cast(jnp.asarray(x), jnp.asarray(old).dtype), new, state)


def real_dtype(params: Params) -> Any:
    """The dtype of the numbers in a line search's state."""
    _, leaves, _ = float_leaves("params", params)
    return jnp.finfo(computing_dtype(*(leaf.dtype for leaf in leaves))).dtype
