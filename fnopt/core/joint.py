"""Joint rules: methods whose formula is on all arrays together."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fnopt.core.checks import same_names, same_shape
from fnopt.core.context import Context
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.rule import Leaves, Rule
from fnopt.core.slots import round_direction, round_slots, widen_slots
from fnopt.core.transform import at_count
from fnopt.core.types import Arrays, LeavesUpdate, Rows

_FORMULA = (
    "update_leaves(self, grads, slots, params, shared, ctx, **extra_args), which returns the"
    " directions, dicts of the next slots and a dict of what is shared next"
)


class Joint(Rule):
    """A method that is one formula on all leaves together, such as one that finds its own rate.

    A subclass defines what the leaves share, besides their slots, and computes all directions::

        class scale_by_distance(Joint):
            eps: Positive = 1e-6

            shared = ("farthest",)
            needs_params = True

            def init_shared(self, params):
                return {"farthest": jnp.asarray(self.eps)}

            def init_leaf(self, param):
                return {"start": jnp.array(param)}

            def update_leaves(self, grads, slots, params, shared, ctx, **extra_args):
                moved = global_norm([p - s.start for p, s in zip(params, slots, strict=True)])
                farthest = jnp.maximum(shared["farthest"], moved)
                rate = farthest / (global_norm(grads) + self.eps)
                rows = [{"start": s.start} for s in slots]
                return [rate * g for g in grads], rows, {"farthest": farthest}

    Everything in ``update_leaves`` has the widest precision of the leaves, float32 at least; what
    it returns is rounded as in :class:`Rule`.
    """

    leafwise: ClassVar[bool] = False

    @classmethod
    def undefined(cls) -> str:
        own = cls.update_leaves is not Joint.update_leaves or cls.update is not Rule.update
        return "" if own else _FORMULA

    def update_leaves(
        self, grads: Arrays, slots: Rows, params: Any, shared: Any, ctx: Context, **extra_args: Any
    ) -> LeavesUpdate:
        """The directions of all leaves, dicts of their next slots, and the next shared values.

        Args:
            grads: the gradients, a list of arrays, one for each leaf.
            slots: a list of named tuples, the slots of each leaf.
            params: a list of the parameters; None if ``update`` was called without parameters.
            shared: a dict of the values that all leaves share.
            ctx: the count and what :meth:`Rule.precompute` returned; without path and dtype.
            **extra_args: the extra arguments of ``update``.
        """
        raise NotImplementedError

    def _step(
        self, leaves: Leaves, shared: Any, count: Any, next_count: Any, extra_args: dict[str, Any]
    ) -> Any:
        paths, grads, rows, params, _ = leaves
        present = [param for param in params if param is not None]
        if len(present) < len(grads):
            self._check_shapes(paths, grads, rows)
        real = jnp.finfo(computing_dtype(*(jnp.result_type(x) for x in (*grads, *present)))).dtype
        wide = [computing_dtype(grad.dtype, real) for grad in grads]
        # A number for all leaves meets leaves of every dtype, real and complex.
        with jax.numpy_dtype_promotion("standard"):
            rule = at_count(self, count, real)
            result = rule.update_leaves(
                [cast(grad, dtype) for grad, dtype in zip(grads, wide, strict=True)],
                [widen_slots(row, dtype, real) for row, dtype in zip(rows, wide, strict=True)],
                # A tree without leaves has parameters; that they are missing is refused before.
                [cast(jnp.asarray(p), dtype) for p, dtype in zip(params, wide, strict=True)]
                if all(param is not None for param in params)
                else None,
                {name: _floating(x, real) for name, x in shared.items()},
                rule._context(next_count, real),
                **extra_args,
            )
        kind = type(self).__name__
        if not isinstance(result, tuple) or len(result) != 3:
            raise TypeError(
                f"{kind}: update_leaves must return three things, the directions, the next slots"
                f" and what is shared next, got {result!r:.99}"
            )
        directions, slots, new = result
        for what, values in (("directions", directions), ("rows of slots", slots)):
            if not isinstance(values, (list, tuple)) or len(values) != len(grads):
                number = len(values) if isinstance(values, (list, tuple)) else repr(values)[:99]
                raise ValueError(
                    f"{kind}: update_leaves must return a list of {what}, one for each of"
                    f" the {len(grads)} leaves ({', '.join(paths[:3])}{', …' * (len(paths) > 3)}),"
                    f" got {number}"
                )
        for i, direction in enumerate(directions):
            rows[i] = round_slots(self, paths[i], slots[i], rows[i])
            grads[i] = round_direction(self, paths[i], grads[i], direction)
        same_names(f"{kind}: what is shared next", new, shared)
        return {name: _round_shared(name, new[name], old) for name, old in shared.items()}

    def _check_shapes(self, paths: list[str], grads: Arrays, rows: Rows) -> None:
        """Raises ValueError where the slots of a gradient are of another shape.

        Without parameters nothing else says so before the formula meets both.
        """
        for path, grad, row in zip(paths, grads, rows, strict=True):
            start = jax.eval_shape(self.init_leaf, grad)
            for name, slot in start.items():
                old = getattr(row, name)
                for a, b in zip(jax.tree.leaves(slot), jax.tree.leaves(old), strict=True):
                    what = f"{type(self).__name__}: the gradient of {path} needs a slot that"
                    same_shape(what, a.shape, jnp.shape(b), f"slot state.{name}")


def _floating(x: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: cast(x, dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, x)


def _round_shared(name: str, new: Any, old: Any) -> Any:
    """A shared value in the dtypes of the one before."""

    def round_one(new: Any, old: Any) -> Any:
        same_shape(f"state.{name}", jnp.shape(new), old.shape, "first value")
        return cast(jnp.asarray(new), old.dtype)

    return jax.tree.map(round_one, new, old)
