"""What a transform is: an optax gradient transformation that is a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import jax
import optax

from fnopt.core.checks import updates_of
from fnopt.core.fields import Static
from fnopt.core.schedule import Schedule, map_leaves, to_dtype
from fnopt.core.types import OptState, Params
from fnopt.core.value import Value


class Transform(Value, optax.GradientTransformationExtraArgs):
    """An optimizer, or a part of one: a pair of pure functions that is a pytree of its numbers.

    It is an ``optax.GradientTransformationExtraArgs`` and goes wherever one goes. Its leaves are
    its hyperparameters and those of its schedules, so it also goes where arrays go: through
    ``jit`` as an argument, under ``vmap`` and ``grad``, into a checkpoint.

    A subclass has its hyperparameters as annotated fields and defines ``init`` and ``update``;
    most are a :class:`fnopt.core.Rule` or a :class:`fnopt.core.Composed` instead.

    Extra arguments have one meaning everywhere; an ``update`` ignores what it does not use:

    - ``value``, ``grad``: the loss at ``params`` and its gradient;
    - ``evaluation``: the loss on this batch as functions of the parameters, an
      :class:`~fnopt.core.Evaluation`; ``value_fn`` (or ``obj_fn``) and ``grad_fn``, optax's names
      for two of them, may be given instead;
    - ``metric``, ``evaluations``: the last validation figure and how many there have been;
    - ``key``: a key for this step's own draws.
    """

    rate_name: ClassVar[str] = "learning_rate"
    """The field that is the learning rate, where there is one."""

    def init(self, params: Any) -> Any:
        """The state before the first update."""
        raise NotImplementedError

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        """The transformed updates, like ``updates`` in structure and dtypes, and the next state."""
        raise NotImplementedError

    def count(self, state: Any) -> jax.Array | None:
        """The number of updates made so far, or None where this transform does not count."""
        return None

    @property
    def leafwise(self) -> bool:
        """Whether the update of a leaf is made of that leaf's own gradient, and of no other's."""
        return False

    def frozen(self, params: Any) -> Any:
        """For each parameter a flag, whether its gradient need not be computed; a tree like them.

        That is where its update is 0 whatever comes, and no other's depends on its gradient.
        """
        return jax.tree.map(lambda param: False, params)

    def eval_params(self, state: OptState, params: Params) -> Params:
        """The parameters to evaluate, to average and to keep as the best.

        They are ``params`` themselves, the same object, unless the method says otherwise, as one
        that steps beside its own average does.

        Args:
            state: the state after an update.
            params: the parameters after it.

        Returns:
            A tree like ``params``, with the same dtypes.
        """
        return params

    @property
    def evaluates(self) -> bool | None:
        """Whether ``update`` may call the functions among its extra arguments; None if unknown."""
        return None

    def hyperparameters(self, state: Any, **extra_args: Any) -> dict[str, Any]:
        """What the next update applies, by name; see :func:`fnopt.hyperparameters`."""
        fields = vars(at_count(self, self.count(state)))
        return {
            "learning_rate" if name == self.rate_name else name: fields[name]
            for name, spec in self._specs.items()
            # A transform in it tells of itself, and a seed is no hyperparameter.
            if not spec.static and not isinstance(fields[name], (Transform, int, type(None)))
        }

    # The tree tools of optax and flax look into tuples with named fields; the fields are ours.
    def _replace(self, **changes: Any) -> Any:
        return self.replace(**changes)

    def _asdict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._fields}

    def __getnewargs__(self) -> tuple[()]:
        return ()

    # optax takes the pair apart by iteration, index or attribute.
    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter((self.init, self.update))

    def __getitem__(self, index: Any) -> Any:
        return (self.init, self.update)[index]

    def __len__(self) -> int:
        return 2


class foreign(Transform):
    """An optax transformation that is not fnopt's: structure, without hyperparameters to reach.

    Args:
        transformation: compared by the identity of its functions.
    """

    transformation: Static[optax.GradientTransformation]

    def init(self, params: Any) -> Any:
        return self.transformation.init(params)

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        inner = optax.with_extra_args_support(self.transformation)
        new, state = inner.update(updates, state, params, **extra_args)
        return updates_of(self, new, updates, params), state

    def hyperparameters(self, state: Any, **extra_args: Any) -> dict[str, Any]:
        # What optax.inject_hyperparams shows of itself.
        return dict(optax.tree.get(state, "hyperparams", {}))

    def __repr__(self) -> str:
        # optax's transformations are closures: all that can be said is who made them.
        return getattr(self.transformation.update, "__qualname__", "foreign").split(".<locals>")[0]


def as_transform(given: Any) -> Transform:
    """A transform of ours or of optax as a transform of ours.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(given, Transform):
        return given
    if isinstance(given, optax.MultiSteps):
        given = given.gradient_transformation()
    if isinstance(given, optax.GradientTransformation):
        return foreign(given)
    raise TypeError(
        f"expected a transform, of fnopt or of optax, got {given!r} ({type(given).__name__})"
    )


def any_evaluates(transforms: Iterable[Transform]) -> bool | None:
    """Whether any of several transforms evaluates; None if none is known to and one may."""
    claims = [tx.evaluates for tx in transforms]
    return True if True in claims else None if None in claims else False


def at_count(value: Any, count: jax.Array | None, dtype: Any = None) -> Any:
    """A transform with its schedules replaced by their values at this count.

    Args:
        value: the transform.
        count: updates made so far; None is allowed where there is no schedule.
        dtype: what its numbers become, if given.
    """

    def evaluate(x: Any) -> Any:
        if isinstance(x, Schedule):
            x = x(count)  # pyright: ignore[reportArgumentType]
        return x if dtype is None else to_dtype(x, dtype)

    return map_leaves(value, evaluate)


def hyperparameters(
    tx: optax.GradientTransformation, state: Any, **extra_args: Any
) -> dict[str, Any]:
    """What the next update of an optimizer applies, by name.

    In a chain the learning rates of the parts multiply; another name that two parts share is told
    apart by the part, as in ``"trace.decay"``. Works under ``jit``.

    Args:
        tx: the optimizer.
        state: its state before the update.
        **extra_args: those of the update; a transform with memory may act on them.

    >>> import fnopt, jax.numpy as jnp
    >>> tx = fnopt.adam(fnopt.linear_schedule(1.0, 0.0, 10))
    >>> state = tx.init(jnp.zeros(3))
    >>> float(fnopt.hyperparameters(tx, state)["learning_rate"])
    1.0
    """
    return as_transform(tx).hyperparameters(state, **extra_args)
