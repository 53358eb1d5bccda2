"""The optimizers that ``step.py`` compares, and the forms in which their arguments come."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from report import STEP_PEER as PEER

import fnopt
from fnopt.core.packed_trees import packed_like, unpacked

# The same numbers for all three libraries. torch's RMSProp adds eps to the root.
METHODS: dict[str, dict[str, Any]] = {
    "adamw": dict(learning_rate=1e-3, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-2),
    "sgd": dict(learning_rate=1e-3, momentum=0.9),
    "rmsprop": dict(learning_rate=1e-3, decay=0.9, eps=1e-8, eps_in_sqrt=False),
}
# Not timed; and what updates need besides gradients.
LEFT_OUT = {
    "dpsgd": "takes the gradients of single examples",
    "galore": "its time is that of the SVD",
    "sophia": "needs the loss as a function",
}
NEEDS_VALUE = {"momo", "momo_adam", "polyak_sgd"}
OTHERS = (
    "fnopt",
    "optax again",
    "packed",
    "packed, gradients as a tree",
    "packed(tx)",
    "fnopt as argument",
)


@dataclasses.dataclass(frozen=True)
class Contender:
    """An optimizer, and the form in which parameters, state and gradients come.

    Attributes:
        tx: the optimizer.
        packing: the layout of parameters, state and gradients; None for trees.
        grads_as_tree: whether gradients come as a tree, which the step packs.
        as_argument: whether the optimizer is an argument of the step, not closed over by it.
    """

    tx: Any
    packing: fnopt.Packing | None = None
    grads_as_tree: bool = False
    as_argument: bool = False

    def pack(self, tree: Any) -> Any:
        """Parameters in this form."""
        return tree if self.packing is None else self.packing.pack(tree)

    def unpack(self, tree: Any) -> Any:
        """The tree of parameters in this form."""
        return tree if self.packing is None else self.packing.unpack(tree)

    def gradients(self, tree: Any) -> Any:
        """Gradients in the form in which the step receives them."""
        return tree if self.grads_as_tree else self.pack(tree)

    def state_of(self, leaves: list[Any], params: Any) -> Any:
        """The state in this form, of the leaves of an unpacked one.

        Args:
            leaves: the leaves.
            params: the parameters as a tree; their shapes suffice.
        """
        return packed_like(leaves, self.shapes(params))

    def leaves_of(self, state: Any) -> list[Any]:
        """The leaves of the state, unpacked."""
        return jax.tree.leaves(unpacked(state))

    def shapes(self, params: Any) -> Any:
        """The shapes of the state in this form."""
        return jax.eval_shape(lambda params: self.tx.init(self.pack(params)), params)

    def extra(self) -> tuple[Any, ...]:
        """What the step receives after parameters, state and gradients."""
        return (jax.device_put(self.tx),) if self.as_argument else ()

    def step(self, method: str) -> Any:
        """A jitted step that no other shares a cache with: ``step(params, state, grads, *extra)``.

        State goes in and comes out in one order. Crossed, every buffer is copied.
        """
        more = {"value": jnp.ones(())} if method in NEEDS_VALUE else {}

        def step(tx: Any, params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            updates, state = tx.update(self.pack(grads), state, params, **more)
            return optax.apply_updates(params, updates), state

        def with_argument(params: Any, state: Any, grads: Any, tx: Any) -> tuple[Any, Any]:
            return step(tx, params, state, grads)

        closed_over = functools.partial(step, self.tx)
        return jax.jit(with_argument if self.as_argument else closed_over, donate_argnums=(0, 1))


def peer_of(method: str) -> Any:
    """optax's function of the same name, or None."""
    # Some of contrib have a deprecated name in optax too.
    return getattr(optax.contrib, method, None) or getattr(optax, method, None)


def shared_methods() -> list[str]:
    """The optimizers that both have."""
    shared = [name for name in fnopt.optimizers() if peer_of(name) is not None]
    return [name for name in shared if name not in LEFT_OUT]


def contenders(method: str, params: Any, without: Sequence[str] = ()) -> dict[str, Contender]:
    """Contenders by name. optax is there twice: its difference from itself is noise.

    Args:
        method: the name of an optimizer that both libraries have.
        params: the parameters; their shapes suffice.
        without: names of contenders to leave out.
    """
    make_optax, make_fnopt = peer_of(method), getattr(fnopt, method)
    usual = {"learning_rate": 1e-3} if "learning_rate" in make_fnopt._fields else {}
    numbers = METHODS.get(method, usual)
    tx = make_fnopt(**numbers)
    packing = fnopt.Packing.of(tx, params)
    found = (
        Contender(make_optax(**numbers)),
        Contender(tx),
        Contender(make_optax(**numbers)),
        Contender(tx, packing),
        Contender(tx, packing, grads_as_tree=True),
        Contender(fnopt.packed(tx)),
        Contender(jax.tree.map(np.float32, tx), as_argument=True),
    )
    return {x: c for x, c in zip((PEER, *OTHERS), found, strict=True) if x not in without}
