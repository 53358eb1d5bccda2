"""L-BFGS as torch.optim has it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.compat.torch import pairs
from fnopt.compat.torch.pairs import LBFGSState
from fnopt.compat.torch.strong_wolfe import strong_wolfe
from fnopt.core import (
    Number,
    Rate,
    Static,
    Transform,
    computing_dtype,
    evaluation_of,
    required,
    vdot,
)
from fnopt.core.checks import float_leaves, leaves_like, refuse_state, updates_and_params
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.transform import at_count
from fnopt.core.types import OptState, Params, Updates

LineSearch = Annotated[Any, Field(static=True, choices=(None, "strong_wolfe"))]


class _Run(NamedTuple):
    """The carry from one iteration within an update to the next; trees are lists of leaves."""

    position: list[jax.Array]
    loss: jax.Array
    grad: list[jax.Array]
    state: LBFGSState
    n_iter: jax.Array
    evals: jax.Array
    continues: jax.Array


class LBFGS(Transform):
    r"""torch's L-BFGS: Newton's method with curvature from the last steps, many in one update.

    .. math::
        \theta_{k+1} &= \theta_k + t_k\,d_k, \qquad d_k = -H_k\,g_k, \qquad
        s_k = \theta_{k+1} - \theta_k, \quad y_k = g_{k+1} - g_k, \quad
        \rho_k = 1 / \langle y_k, s_k \rangle \\
        H_{k+1} &= (I - \rho_k\,s_k\,y_k^\top)\,H_k\,(I - \rho_k\,y_k\,s_k^\top)
            + \rho_k\,s_k\,s_k^\top

    from the stored pairs, the last :math:`m`, and :math:`\gamma_k = \langle y, s \rangle /
    \lVert y \rVert^2` of the newest as the diagonal to begin with. The direction takes two loops
    over them:

    .. math::
        q \leftarrow -g; \quad \text{newest first:} \quad
        \alpha_i &= \rho_i\,\langle s_i, q \rangle, & q &\leftarrow q - \alpha_i\,y_i \\
        d \leftarrow \gamma\,q; \quad \text{oldest first:} \quad
        \beta_i &= \rho_i\,\langle y_i, d \rangle, & d &\leftarrow d + (\alpha_i - \beta_i)\,s_i

    A pair is stored if :math:`\langle y, s \rangle > 10^{-10}`. The first step has
    :math:`d = -g, t = \eta \min(1, 1 / \lVert g \rVert_1)`; later :math:`t = \eta`, or what
    :func:`strong_wolfe` finds from there. Complex parameters count as twice as many real ones.

    One ``update`` is one ``step`` of torch: up to ``max_iter`` iterations, of which the next update
    takes up the last. It needs ``value_fn`` (or ``obj_fn``) and takes gradients of it itself; the
    first evaluation is saved where ``value`` and, as ``updates``, its gradient are given.
    Evaluations are where torch has them, and ``func_evals`` counts them as torch does. The loops
    have no reverse-mode derivative.

    The state is :math:`2\,m + 2` times the parameters, in single precision at least.

    Args:
        lr: learning rate :math:`\eta \ge 0`; a schedule is of the updates, not of their iterations.
        max_iter: largest number of iterations in one update, at least 1.
        max_eval: number of evaluations in one update, at least 1; as in torch an iteration that has
            begun is finished. A quarter more than ``max_iter`` if None.
        tolerance_grad: an update ends where :math:`\lVert g \rVert_\infty` is not above it.
        tolerance_change: an update ends where step or loss change by less, or the slope along
            :math:`d` is not below its negative.
        history_size: number of stored pairs, :math:`m \ge 1`.
        line_search_fn: the line search, ``"strong_wolfe"``; None for :math:`t = \eta`.

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of its range, or, in ``update``, parameters or ``value_fn``
            were not given.

    When:
        The loss is smooth and has no noise: full batches, small networks, fits to equations. With
        ``"strong_wolfe"`` it seldom needs another rate than 1. Not with batches that change: the
        differences of gradients are then of the batches.

    References:
        Nocedal, *Updating quasi-Newton matrices with limited storage*, Mathematics of Computation
        35, 1980, doi:10.1090/S0025-5718-1980-0572855-7; Liu & Nocedal, *On the limited memory BFGS
        method for large scale optimization*, Mathematical Programming 45, 1989,
        doi:10.1007/BF01589116.

    >>> import jax, jax.numpy as jnp, optax
    >>> def rosenbrock(x):
    ...     return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    >>> tx = LBFGS(max_iter=50, line_search_fn="strong_wolfe")
    >>> x = jnp.array([-1.2, 1.0])
    >>> value, grad = jax.value_and_grad(rosenbrock)(x)
    >>> updates, state = tx.update(grad, tx.init(x), x, value=value, value_fn=rosenbrock)
    >>> bool(rosenbrock(optax.apply_updates(x, updates)) < 1e-6)
    True
    """

    lr: Rate = 1.0
    max_iter: Static[int] = 20
    max_eval: Static[int | None] = None
    tolerance_grad: Number = 1e-7
    tolerance_change: Number = 1e-9
    history_size: Static[int] = 100
    line_search_fn: LineSearch = None

    State = LBFGSState
    elementwise = alike = True
    rate_name = "lr"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_iter", "max_eval", "history_size"):
            value = getattr(self, name)
            valid = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            if not valid and not (name == "max_eval" and value is None):
                raise ValueError(f"LBFGS: {name} must be an integer, 1 or above, got {value!r}")

    @property
    def evaluates(self) -> bool | None:
        return True

    def init(self, params: Params) -> LBFGSState:
        _, leaves, treedef = float_leaves("params", params)
        real = jnp.finfo(computing_dtype(*(leaf.dtype for leaf in leaves))).dtype

        def vector() -> Any:
            return treedef.unflatten([pairs.vector(leaf) for leaf in leaves])

        def history() -> Any:
            return treedef.unflatten([pairs.history(leaf, self.history_size) for leaf in leaves])

        def whole() -> jax.Array:
            return jnp.zeros((), jnp.int32)

        return LBFGSState(
            count=whole(),
            func_evals=whole(),
            n_iter=whole(),
            d=vector(),
            t=jnp.zeros((), real),
            old_dirs=history(),
            old_stps=history(),
            num_old=whole(),
            ro=jnp.zeros(self.history_size, real),
            H_diag=jnp.ones((), real),
            prev_flat_grad=vector(),
            prev_loss=jnp.zeros((), real),
        )

    def count(self, state: OptState) -> jax.Array:
        return state.count

    def update(
        self,
        updates: Updates,
        state: OptState,
        params: Params = None,
        *,
        value: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != LBFGSState._fields:
            refuse_state(self, state)
        updates, params = updates_and_params(self, updates, params)
        value_and_grad = required(self, "value_fn", evaluation_of(extra_args).value_and_grad)
        grads, treedef = jax.tree.flatten(updates)
        starts = jax.tree.leaves(params)
        state = state._replace(
            **{
                name: leaves_like(treedef, f"state.{name}", getattr(state, name), "updates")
                for name in _TREES
            }
        )

        def wide(leaves: list[Any]) -> list[jax.Array]:
            return [cast(x, like.dtype) for x, like in zip(leaves, state.d, strict=True)]

        def evaluate(position: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            here = [cast(x, start.dtype) for x, start in zip(position, starts, strict=True)]
            value, grad = value_and_grad(treedef.unflatten(here))
            return cast(value, state.ro.dtype), wide(treedef.flatten_up_to(grad))

        first = wide(starts)
        if value is None:
            value, grad = evaluate(first)
        else:
            value, grad = cast(jnp.asarray(value), state.ro.dtype), wide(grads)
        position, state = self._run(evaluate, first, value, grad, state)
        moves = [
            cast(x - x0, grad.dtype) for x, x0, grad in zip(position, first, grads, strict=True)
        ]
        return treedef.unflatten(moves), state._replace(
            count=optax.safe_increment(state.count),
            **{name: treedef.unflatten(getattr(state, name)) for name in _TREES},
        )

    def _run(
        self, evaluate: Callable[..., Any], position: Any, loss: Any, grad: Any, state: LBFGSState
    ) -> tuple[list[jax.Array], LBFGSState]:
        """All iterations of an update: where they lead, and the next state."""
        rule = at_count(self, state.count, state.ro.dtype)
        one = jnp.ones((), jnp.int32)
        continues = ~(pairs.largest(grad) <= rule.tolerance_grad)
        start = _Run(position, loss, grad, state, one - 1, one, continues)
        run = jax.lax.while_loop(
            lambda r: r.continues, functools.partial(rule._iterate, evaluate), start
        )
        return run.position, run.state._replace(func_evals=run.state.func_evals + run.evals)

    def _iterate(self, evaluate: Callable[..., Any], run: _Run) -> _Run:
        """A direction, a step along it, and whether to continue."""
        n_iter, first = run.n_iter + 1, run.state.n_iter == 0
        state = pairs.remember(run.state, run.grad)
        d = pairs.direction(state, run.grad)
        slope = vdot(run.grad, d)
        at_rest = slope > -self.tolerance_change
        inverse = 1 / pairs.total(run.grad)
        short = jnp.where(inverse < 1, inverse, jnp.ones_like(inverse))
        t = cast(jnp.where(first, short * self.lr, self.lr), slope.dtype)
        search = self._fixed if self.line_search_fn is None else self._searched
        position, loss, grad, t, evals = jax.lax.cond(
            at_rest,
            lambda: (run.position, run.loss, run.grad, t, jnp.zeros((), jnp.int32)),
            lambda: search(evaluate, run, d, t, slope),
        )
        evals = run.evals + evals
        stop = at_rest | (n_iter >= self.max_iter) | (evals >= self._max_eval)
        stop |= pairs.largest(grad) <= self.tolerance_grad
        stop |= pairs.largest(pairs.along(None, t, d)) <= self.tolerance_change
        stop |= jnp.abs(loss - run.loss) < self.tolerance_change
        state = state._replace(
            n_iter=optax.safe_increment(state.n_iter),
            d=d,
            t=t,
            prev_flat_grad=run.grad,
            prev_loss=run.loss,
        )
        return _Run(position, loss, grad, state, n_iter, evals, ~stop)

    @property
    def _max_eval(self) -> int:
        return self.max_iter * 5 // 4 if self.max_eval is None else self.max_eval

    def _fixed(
        self, evaluate: Callable[..., Any], run: _Run, d: list[jax.Array], t: Any, slope: Any
    ) -> Any:
        """A step of this length; after the last the loss is not needed."""
        position = pairs.along(run.position, t, d)
        if self.max_iter == 1:
            return position, run.loss, run.grad, t, jnp.zeros((), jnp.int32)
        more = run.n_iter + 1 < self.max_iter
        loss, grad = jax.lax.cond(more, evaluate, lambda _: (run.loss, run.grad), position)
        return position, loss, grad, t, more.astype(jnp.int32)

    def _searched(
        self, evaluate: Callable[..., Any], run: _Run, d: list[jax.Array], t: Any, slope: Any
    ) -> Any:
        """A step of the length that the line search finds."""

        def along(t: jax.Array) -> Any:
            loss, grad = evaluate(pairs.along(run.position, t, d))
            return loss, grad, vdot(grad, d)

        point, evals = strong_wolfe(
            along,
            t,
            run.loss,
            run.grad,
            slope,
            tolerance_change=1e-9,  # torch's constant, not the optimizer's argument
            max_ls=self._max_eval - run.evals,
            size=pairs.largest(d),
        )
        return pairs.along(run.position, point.step, d), point.value, point.grad, point.step, evals


_TREES = ("d", "old_dirs", "old_stps", "prev_flat_grad")
