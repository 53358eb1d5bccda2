"""What a wrapper is: a transform that calls another."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import jax

from fnopt.core.checks import refuse_state
from fnopt.core.compose import merge
from fnopt.core.fields import Field
from fnopt.core.outcome import Outcome
from fnopt.core.plan import LeafPlan, plan_by
from fnopt.core.transform import Transform, as_transform
from fnopt.core.types import OptState, Params, PyTree

Inner = Annotated[Any, Field(convert=as_transform, shown="GradientTransformation")]
"""A transform, of fnopt or of optax; optax's is structure, not leaves."""


class Wrapper(Transform):
    """A transform that calls another: its one field that is a transform.

    A subclass stores the inner transform's state in a field of its own ``State``::

        class every_other(Wrapper):
            inner: Inner

            State = EveryOtherState  # count, inner_state

            def init(self, params): ...
            def update(self, updates, state, params=None, **extra_args):
                self.check(state)
                ...

    Its hyperparameters (:func:`fnopt.hyperparameters`) are its own and the inner ones. What is
    frozen in the inner transform stays frozen, unless the wrapper reads all gradients or moves a
    leaf whose inner update is zero; class attributes say so.
    """

    State: ClassVar[Any]
    """A named tuple; a state of another kind is refused by :meth:`check`."""
    inner_state: ClassVar[str | None] = "inner_state"
    """The field of the state that is the inner transform's; None if that is the whole state."""
    family = "wrappers"

    # What the wrapper adds to the inner transform's plan; the rest is the inner one's.
    leafwise: ClassVar[bool] = True
    """Whether it reads and changes each leaf by itself, besides what the inner transform does."""
    elementwise: ClassVar[bool] = True
    """Whether it acts on each element alone, up to numbers that all leaves share."""
    keeps_zero: ClassVar[bool] = True
    """Whether inner updates that are zero at every step stay zero."""
    alike: ClassVar[bool] = True
    """Whether it treats leaves of one shape and dtype in the same way."""

    @property
    def wrapped(self) -> Transform:
        """The inner transform."""
        for field in vars(self).values():
            if isinstance(field, Transform):
                return field
        raise TypeError(
            f"{type(self).__name__} has no field that is a transform; write inner: Inner, with"
            " Inner from fnopt.core"
        )

    @classmethod
    def undefined(cls) -> str:
        if cls.init is Transform.init or cls.update is Transform.update:
            return "init(self, params) and update(self, updates, state, params=None, **extra_args)"
        return ""

    def check(self, state: OptState) -> OptState:
        """The inner state; raises ValueError if the state is not this transform's."""
        if self.inner_state is None:
            return state
        own = getattr(getattr(type(self), "State", None), "_fields", None)
        if own is None or self.inner_state not in own:
            raise TypeError(
                f"{type(self).__name__} must define State, a named tuple class that has the inner"
                f" state in a field {self.inner_state!r} (or inner_state, the name of that field)"
            )
        if getattr(state, "_fields", None) != own:
            refuse_state(self, state)
        return getattr(state, self.inner_state)

    @property
    def evaluates(self) -> bool | None:
        # A wrapper with several transforms, such as sam, says so of itself.
        return self.wrapped.evaluates

    def eval_params(self, state: OptState, params: Params) -> Params:
        return self.wrapped.eval_params(self.check(state), params)

    def plan(self, params: Params) -> PyTree:
        return jax.tree.map(LeafPlan.within, self.wrapped.plan(params), plan_by(self, params))

    def outcome(self, state: OptState) -> Outcome | None:
        inner = self.wrapped.outcome(self.check(state))
        # A wrapper may change where the update leads.
        return None if inner is None else inner._replace(value=None, grad=None)

    def count(self, state: OptState) -> jax.Array | None:
        return self.wrapped.count(self.check(state))

    def hyperparameters(self, state: OptState, **extra_args: Any) -> dict[str, Any]:
        inner = self.wrapped.hyperparameters(self.check(state), **extra_args)
        names = type(self).__name__, type(self.wrapped).__name__
        return merge(names, (super().hyperparameters(state), inner))
