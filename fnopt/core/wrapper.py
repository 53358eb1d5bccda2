"""What a wrapper is: a transform that calls another."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import jax

from fnopt.core.checks import refuse_state
from fnopt.core.compose import merge
from fnopt.core.fields import Field
from fnopt.core.transform import Transform, as_transform
from fnopt.core.types import OptState, Params

Inner = Annotated[Any, Field(convert=as_transform)]
"""A transform, of fnopt or of optax; optax's is structure, not leaves."""


class Wrapper(Transform):
    """A transform made of another: its one field that is a transform.

    A subclass keeps the inner transform's state in a field of its own ``State``::

        class every_other(Wrapper):
            inner: Inner

            State = EveryOtherState  # count, inner_state

            def init(self, params): ...
            def update(self, updates, state, params=None, **extra_args):
                self.check(state)
                ...

    What it shows of its numbers (:func:`fnopt.hyperparameters`) is its own and the inner ones.
    """

    State: ClassVar[Any]
    """A named tuple; a state of another kind is refused by :meth:`check`."""
    inner_state: ClassVar[str] = "inner_state"
    """The field of the state that is the inner transform's."""

    @property
    def wrapped(self) -> Transform:
        """The inner transform."""
        return next(x for x in vars(self).values() if isinstance(x, Transform))

    def check(self, state: Any) -> Any:
        """The inner state; raises ValueError if the state is not this transform's."""
        if getattr(state, "_fields", None) != self.State._fields:
            refuse_state(self, state)
        return getattr(state, self.inner_state)

    @property
    def evaluates(self) -> bool | None:
        # A wrapper with several transforms, such as sam, says so of itself.
        return self.wrapped.evaluates

    def eval_params(self, state: OptState, params: Params) -> Params:
        return self.wrapped.eval_params(getattr(state, self.inner_state), params)

    def count(self, state: Any) -> jax.Array | None:
        return self.wrapped.count(getattr(state, self.inner_state))

    def hyperparameters(self, state: Any, **extra_args: Any) -> dict[str, Any]:
        inner = self.wrapped.hyperparameters(getattr(state, self.inner_state), **extra_args)
        names = type(self).__name__, type(self.wrapped).__name__
        return merge(names, (super().hyperparameters(state), inner))
