"""What a joint rule is: a method whose formula is on all arrays together."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from fnopt.core.checks import same_names, same_shape
from fnopt.core.moments import cast, computing_dtype
from fnopt.core.rule import Leaves, Rule, settled, stored, widened
from fnopt.core.transform import at_count


class Joint(Rule):
    """A method that is a formula on all leaves together, as those are that find their own rate.

    A subclass says what the leaves share, beside their slots, and gives all directions at once::

        class scale_by_distance(Joint):
            eps: Positive = 1e-6

            State = ScaleByDistanceState  # farthest: Any; start: Any
            shared = ("farthest",)
            needs_params = True

            def begin(self, params):
                return {"farthest": jnp.asarray(self.eps)}

            def slots(self, param):
                return {"start": jnp.array(param)}

            def direct_all(self, grads, slots, params, shared, t, **extra_args):
                moved = global_norm([p - s.start for p, s in zip(params, slots, strict=True)])
                farthest = jnp.maximum(shared["farthest"], moved)
                rate = farthest / (global_norm(grads) + self.eps)
                rows = [{"start": s.start} for s in slots]
                return [rate * g for g in grads], rows, {"farthest": farthest}

    Everything in ``direct_all`` is in the widest precision of the leaves, float32 at least; what
    it returns is rounded as that of :class:`Rule` is.
    """

    leafwise: ClassVar[bool] = False

    def direct_all(
        self,
        grads: list[jax.Array],
        slots: list[Any],
        params: Any,
        shared: dict[str, Any],
        t: Any,
        **extra_args: Any,
    ) -> tuple[list[jax.Array], list[dict[str, Any]], dict[str, Any]]:
        """The directions, the next slots and what is shared next.

        Args:
            grads: the gradients of all leaves.
            slots: their slots, by name.
            params: the parameters, or None if they were not given to ``update``.
            shared: what all leaves share, by name.
            t: as in :meth:`Rule.direct`.
            **extra_args: those of ``update``.
        """
        raise NotImplementedError

    def _step(
        self, leaves: Leaves, shared: Any, count: Any, next_count: Any, extra_args: dict[str, Any]
    ) -> Any:
        paths, grads, rows, params, _ = leaves
        real = jnp.finfo(computing_dtype(*(jnp.result_type(x) for x in (*grads, *_given(params)))))
        wide = [computing_dtype(grad.dtype, real.dtype) for grad in grads]
        # A number for all leaves meets leaves of every dtype, real and complex.
        with jax.numpy_dtype_promotion("standard"):
            rule = at_count(self, count, real.dtype)
            t = None if next_count is None else rule.once(cast(next_count, real.dtype))
            result = rule.direct_all(
                [cast(grad, dtype) for grad, dtype in zip(grads, wide, strict=True)],
                [widened(row, dtype, real.dtype) for row, dtype in zip(rows, wide, strict=True)],
                # No leaves are not no parameters: update of Rule has seen to those.
                [cast(jnp.asarray(p), dtype) for p, dtype in zip(params, wide, strict=True)]
                if all(param is not None for param in params)
                else None,
                {name: _floating(x, real.dtype) for name, x in shared.items()},
                t,
                **extra_args,
            )
        kind = type(self).__name__
        if not isinstance(result, tuple) or len(result) != 3:
            raise TypeError(
                f"{kind}: direct_all must return three things, the directions, the next slots and"
                f" what is shared next, got {result!r:.99}"
            )
        directions, slots, new = result
        for what, found in (("directions", directions), ("rows of slots", slots)):
            if not isinstance(found, (list, tuple)) or len(found) != len(grads):
                number = len(found) if isinstance(found, (list, tuple)) else repr(found)[:99]
                raise ValueError(
                    f"{kind}: direct_all must return a list of {what}, one for each of the"
                    f" {len(grads)} leaves ({', '.join(paths[:3])}{', …' * (len(paths) > 3)}),"
                    f" got {number}"
                )
        for i, direction in enumerate(directions):
            rows[i] = stored(self, paths[i], slots[i], rows[i])
            grads[i] = settled(self, paths[i], grads[i], direction)
        same_names(f"{kind}: what is shared next", new, shared)
        return {name: _kept(name, new[name], old) for name, old in shared.items()}


def _given(params: list[Any]) -> list[Any]:
    return [param for param in params if param is not None]


def _floating(x: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: cast(x, dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, x)


def _kept(name: str, new: Any, old: Any) -> Any:
    def keep(new: Any, old: Any) -> Any:
        same_shape(f"state.{name}", jnp.shape(new), old.shape, "first value")
        return cast(jnp.asarray(new), old.dtype)

    return jax.tree.map(keep, new, old)
