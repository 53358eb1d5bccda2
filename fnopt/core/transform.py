"""What a transform is: an optax gradient transformation that is a value."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import jax
import optax

from fnopt.core.arguments import not_called
from fnopt.core.boundary import METHODS, boundary
from fnopt.core.checks import brief, updates_of
from fnopt.core.fields import Static
from fnopt.core.outcome import Outcome
from fnopt.core.plan import frozen_of, plan_by
from fnopt.core.schedule import Schedule, map_leaves, to_dtype
from fnopt.core.types import OptState, Params, PyTree, Updates
from fnopt.core.unpacking import UNPACKING
from fnopt.core.value import Value, make


class Transform(Value, optax.GradientTransformationExtraArgs):
    """An optimizer, or a part of one: a pair of pure functions that is a pytree of its numbers.

    It is an ``optax.GradientTransformationExtraArgs`` and goes wherever one goes. Its leaves are
    its hyperparameters and those of its schedules, so it also goes where arrays go: through
    ``jit`` as an argument, under ``vmap`` and ``grad``, into a checkpoint.

    A subclass has its hyperparameters as annotated fields and defines ``init`` and ``update``;
    most are a :class:`fnopt.Rule` or a :class:`fnopt.Composed` instead.

    Extra arguments have one meaning everywhere; an ``update`` ignores what it does not use:

    - ``value``, ``grad``: the loss at ``params`` and its gradient;
    - ``evaluation``: the loss on this batch as functions of the parameters, an
      :class:`~fnopt.core.Evaluation`; ``value_fn`` (or ``obj_fn``) and ``grad_fn``, optax's names
      for two of them, may be passed instead;
    - ``metric``, ``evaluations``: the metric of the last evaluation and how many there have been;
    - ``key``: a key for this step's own draws;
    - ``max_logits``: the largest attention logit of each head, see :class:`fnopt.qk_clip`.
    """

    rate_name: ClassVar[str] = "learning_rate"
    """The field that is the learning rate, where there is one."""
    family: ClassVar[str] = "parts"
    """The page of the reference that lists it: parts, wrappers, or the kind of an optimizer.

    It is "" for a base class that is no method itself, which is neither exported nor listed.
    """
    usual_rate: ClassVar[float | None] = None
    """The learning rate to try first; None for the argument's default, or 0.003 without one."""
    example: ClassVar[dict[str, Any]] = {}
    """Arguments, besides the learning rate, with which the reference counts its bytes of state."""

    # What is promised for every leaf, by default nothing; a property where a static flag decides.
    leafwise: ClassVar[bool] = False
    """Whether a leaf's update depends on no other leaf, and no other leaf's update on it."""
    elementwise: ClassVar[bool] = False
    """Whether the formula acts on each element alone, up to numbers that all leaves share."""
    keeps_zero: ClassVar[bool] = False
    """Whether an update that is zero at every step stays zero."""
    alike: ClassVar[bool] = False
    """Whether leaves of one shape and dtype are treated in the same way."""
    has_slots: ClassVar[bool] = False
    """Whether it has slots of its own for every parameter."""

    @property
    def packs(self) -> bool:
        """Whether its methods take packed trees as they are; without, they see them unpacked."""
        return self.elementwise

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in {*METHODS, *UNPACKING}:
            method = vars(cls).get(name)
            if inspect.isfunction(method):  # no property, and no static method
                method = UNPACKING[name](method) if name in UNPACKING else method
                setattr(cls, name, boundary(name, method) if name in METHODS else method)

    @classmethod
    def undefined(cls) -> str:
        if cls.init is not Transform.init and cls.update is not Transform.update:
            return ""
        return (
            "init and update; a formula on one array is shorter as a Rule, several transforms as a"
            " Composed"
        )

    def init(self, params: Params) -> OptState:
        """The state before the first update.

        Args:
            params: the parameters.
        """
        raise NotImplementedError

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        """The transformed updates and the next state.

        Args:
            updates: the gradients, or the output of the transforms before.
            state: the state that ``init`` or the last ``update`` returned.
            params: the parameters; some transforms do without.
            **extra_args: the extra arguments, see above.

        Returns:
            Updates like ``updates`` in structure and dtypes, and the next state.
        """
        raise NotImplementedError

    def for_params(self, params: Params) -> Any:
        """This transform where it decides nothing by what the whole tree of parameters is.

        Otherwise one in which that is decided, so that it does the same for a part of the tree. A
        transform that calls others asks them.

        Args:
            params: the parameters; shapes suffice.
        """
        fields = {name: getattr(self, name) for name in self._fields}
        inner, structure = jax.tree.flatten(fields, is_leaf=_is_transform)
        decided = [x.for_params(params) if _is_transform(x) else x for x in inner]
        same = all(x is y for x, y in zip(inner, decided, strict=True))
        return self if same else make(type(self), structure.unflatten(decided))

    def count(self, state: OptState) -> jax.Array | None:
        """The number of updates in this state, or None where this transform does not count."""
        return None

    def plan(self, params: Params) -> PyTree:
        """What this transform promises for each parameter.

        Args:
            params: the parameters; shapes suffice.

        Returns:
            A tree of :class:`fnopt.core.plan.LeafPlan` like ``params``.
        """
        return plan_by(self, params)

    def frozen(self, params: Params) -> PyTree:
        """For each parameter a flag, whether its gradient need not be computed; a tree like them.

        That is where its update is 0 for any gradient, and no other's depends on its gradient.
        """
        return frozen_of(self, params)

    def eval_params(self, state: OptState, params: Params) -> Params:
        """The parameters to evaluate, to average and to keep as the best.

        They are ``params`` themselves, the same object, unless the method says otherwise, as one
        that evaluates an average of its steps does.

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

    def outcome(self, state: OptState) -> Outcome | None:
        """What the last update evaluated, and what it knows of the parameters it leads to.

        Args:
            state: the state after the update.

        Returns:
            The outcome, of an update that is applied as it is; None where nothing is known.
        """
        return None

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        """What the next update applies, by name; see :func:`fnopt.hyperparameters`."""
        fields = vars(at_count(self, self.count(state)))
        return {
            "learning_rate" if name == self.rate_name else name: fields[name]
            for name, spec in self._specs.items()
            # A transform in it reports its own, and a seed is no hyperparameter.
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


def _is_transform(x: Any) -> bool:
    return isinstance(x, Transform)


class foreign(Transform):
    """An optax transformation that is not fnopt's, as structure: it has no leaves.

    Args:
        transformation: the pair of functions; compared by their identity.
    """

    transformation: Static[optax.GradientTransformation]

    def init(self, params: Params) -> OptState:
        return self.transformation.init(params)

    def update(
        self, updates: Updates, state: OptState, params: Params = None, **extra_args: Any
    ) -> tuple[Updates, OptState]:
        inner = optax.with_extra_args_support(self.transformation)
        new, state = inner.update(updates, state, params, **extra_args)
        return updates_of(self, new, updates, params), state

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        # What optax.inject_hyperparams shows of itself.
        return dict(optax.tree.get(state, "hyperparams", {}))

    def __repr__(self) -> str:
        # optax's transformations are closures: all that is known is which function returned it.
        return getattr(self.transformation.update, "__qualname__", "foreign").split(".<locals>")[0]


def as_transform(transformation: Any) -> Transform:
    """A transformation of fnopt or of optax as a :class:`Transform`.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(transformation, Transform):
        return transformation
    if isinstance(transformation, optax.MultiSteps):
        transformation = transformation.gradient_transformation()
    if isinstance(transformation, optax.GradientTransformation):
        return foreign(transformation)
    if isinstance(transformation, type) and issubclass(transformation, Value):
        raise TypeError(not_called(transformation))
    raise TypeError(
        "expected a transform, of fnopt or of optax, got"
        f" {brief(transformation)} ({type(transformation).__name__}){_advice(transformation)}"
    )


def _advice(written: Any) -> str:
    """How to make a transform of what was written in its place, where that is clear."""
    if isinstance(written, Schedule):
        return "; multiply by it: fnopt.scale_by_schedule(…)"
    if isinstance(written, (int, float, jax.Array)):
        return f"; multiply by it: fnopt.scale({brief(written, 30)})"
    if inspect.isfunction(written):
        return f"; call it, if {written.__name__}(…) returns a transform"
    return ""


def any_evaluates(transforms: Iterable[Transform]) -> bool | None:
    """Whether any of several transforms evaluates; None if none is known to and one may."""
    claims = [tx.evaluates for tx in transforms]
    return True if True in claims else None if None in claims else False


def at_count(value: Any, count: jax.Array | None, dtype: Any = None) -> Any:
    """A transform with its schedules replaced by their values at this count.

    Args:
        value: the transform.
        count: the number of updates so far; may be None where there is no schedule.
        dtype: the dtype of its numbers; as they are if None.
    """

    def evaluate(x: Any) -> Any:
        if isinstance(x, Schedule):
            x = x(count)  # pyright: ignore[reportArgumentType]
        return x if dtype is None else to_dtype(x, dtype)

    return map_leaves(value, evaluate)
