"""L-BFGS as torch.optim has it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnopt.compat.torch.strong_wolfe import strong_wolfe
from fnopt.core import Number, Rate, Static, Transform, computing_dtype, required, vdot, zeros
from fnopt.core.checks import float_leaves, leaves_like, refuse_state, same_shape
from fnopt.core.fields import Field
from fnopt.core.moments import cast
from fnopt.core.transform import at_count

LineSearch = Annotated[Any, Field(static=True, choices=(None, "strong_wolfe"))]


class LBFGSState(NamedTuple):
    """The state of L-BFGS under torch's names, and the counts of updates and of pairs kept.

    ``old_dirs`` are the differences :math:`y` of gradients and ``old_stps`` the steps :math:`s`:
    the pair number ``num_old``, from 0, is in row ``num_old % history_size``.
    """

    count: jax.Array
    func_evals: jax.Array
    n_iter: jax.Array
    d: Any
    t: jax.Array
    old_dirs: Any
    old_stps: Any
    num_old: jax.Array
    ro: jax.Array
    H_diag: jax.Array
    prev_flat_grad: Any
    prev_loss: jax.Array


class _Run(NamedTuple):
    """What an iteration within an update hands to the next; trees are lists of leaves."""

    place: list[jax.Array]
    loss: jax.Array
    grad: list[jax.Array]
    state: LBFGSState
    n_iter: jax.Array
    evals: jax.Array
    going: jax.Array


class LBFGS(Transform):
    r"""torch's L-BFGS: Newton's method with curvature from the last steps, many in one update.

    .. math::
        \theta_{k+1} &= \theta_k + t_k\,d_k, \qquad d_k = -H_k\,g_k, \qquad
        s_k = \theta_{k+1} - \theta_k, \quad y_k = g_{k+1} - g_k, \quad
        \rho_k = 1 / \langle y_k, s_k \rangle \\
        H_{k+1} &= (I - \rho_k\,s_k\,y_k^\top)\,H_k\,(I - \rho_k\,y_k\,s_k^\top)
            + \rho_k\,s_k\,s_k^\top

    from the pairs kept, the last :math:`m`, and :math:`\gamma_k = \langle y, s \rangle /
    \lVert y \rVert^2` of the newest as the diagonal to begin with. The direction takes two loops
    over them:

    .. math::
        q \leftarrow -g; \quad \text{newest first:} \quad
        \alpha_i &= \rho_i\,\langle s_i, q \rangle, & q &\leftarrow q - \alpha_i\,y_i \\
        d \leftarrow \gamma\,q; \quad \text{oldest first:} \quad
        \beta_i &= \rho_i\,\langle y_i, d \rangle, & d &\leftarrow d + (\alpha_i - \beta_i)\,s_i

    A pair is kept if :math:`\langle y, s \rangle > 10^{-10}`. The first step has
    :math:`d = -g, t = \eta \min(1, 1 / \lVert g \rVert_1)`; later :math:`t = \eta`, or what
    :func:`strong_wolfe` finds from there. Complex parameters count as twice as many real ones.

    One ``update`` is one ``step`` of torch: up to ``max_iter`` iterations, of which the next update
    takes up the last. It needs ``value_fn`` (or ``obj_fn``) and takes gradients of it itself; the
    first evaluation is saved where ``value`` and, as ``updates``, its gradient are given.
    Evaluations are made where torch makes them, and ``func_evals`` counts them alike. The loops
    have no reverse-mode derivative.

    The state is :math:`2\,m + 2` times the parameters, in single precision at least.

    Args:
        lr: :math:`\eta \ge 0`; a schedule is of the updates, not of their iterations.
        max_iter: iterations in one update, at least 1.
        max_eval: evaluations in one update, at least 1, with the overshoot of torch: an iteration
            begun is finished; None is a quarter more than ``max_iter``.
        tolerance_grad: an update ends where :math:`\lVert g \rVert_\infty` is not above it.
        tolerance_change: an update ends where step or loss change by less, or the slope along
            :math:`d` is not below its negative.
        history_size: :math:`m \ge 1`.
        line_search_fn: None for :math:`t = \eta`, or ``"strong_wolfe"``.

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
    rate_name = "lr"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_iter", "max_eval", "history_size"):
            given = getattr(self, name)
            whole = isinstance(given, int) and not isinstance(given, bool) and given >= 1
            if not whole and not (name == "max_eval" and given is None):
                raise ValueError(f"LBFGS: {name} must be an integer, 1 or above, got {given!r}")

    def init(self, params: Any) -> LBFGSState:
        _, leaves, treedef = float_leaves("params", params)
        real = jnp.finfo(computing_dtype(*(leaf.dtype for leaf in leaves))).dtype

        def vector() -> Any:
            return treedef.unflatten([_vector(leaf) for leaf in leaves])

        def history() -> Any:
            return treedef.unflatten([_history(leaf, self.history_size) for leaf in leaves])

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

    def count(self, state: Any) -> jax.Array:
        return state.count

    def update(
        self,
        updates: Any,
        state: Any,
        params: Any = None,
        *,
        value: Any = None,
        value_fn: Any = None,
        obj_fn: Any = None,
        **extra_args: Any,
    ) -> tuple[Any, Any]:
        if getattr(state, "_fields", None) != LBFGSState._fields:
            refuse_state(self, state)
        if params is None:
            raise ValueError("LBFGS needs the parameters: call update(updates, state, params)")
        loss = required(self, "value_fn", obj_fn if value_fn is None else value_fn)
        paths, grads, treedef = float_leaves("updates", updates)
        starts = [jnp.asarray(p) for p in leaves_like(treedef, "params", params, "updates")]
        for path, grad, start in zip(paths, grads, starts, strict=True):
            same_shape(path, grad.shape, start.shape, "parameter")
        state = state._replace(
            **{
                name: leaves_like(treedef, f"state.{name}", getattr(state, name), "updates")
                for name in _TREES
            }
        )

        def wide(leaves: list[Any]) -> list[jax.Array]:
            return [cast(x, like.dtype) for x, like in zip(leaves, state.d, strict=True)]

        def evaluate(place: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            here = [cast(x, start.dtype) for x, start in zip(place, starts, strict=True)]
            value, grad = jax.value_and_grad(loss)(treedef.unflatten(here))
            # Of a complex parameter jax.grad gives the conjugate of the direction of ascent.
            ascent = [
                jnp.conj(g) if jnp.iscomplexobj(g) else g for g in treedef.flatten_up_to(grad)
            ]
            return cast(value, state.ro.dtype), wide(ascent)

        first = wide(starts)
        if value is None:
            value, grad = evaluate(first)
        else:
            value, grad = cast(jnp.asarray(value), state.ro.dtype), wide(grads)
        place, state = self._run(evaluate, first, value, grad, state)
        moves = [cast(x - x0, grad.dtype) for x, x0, grad in zip(place, first, grads, strict=True)]
        return treedef.unflatten(moves), state._replace(
            count=optax.safe_increment(state.count),
            **{name: treedef.unflatten(getattr(state, name)) for name in _TREES},
        )

    def _run(
        self, evaluate: Callable[..., Any], place: Any, loss: Any, grad: Any, state: LBFGSState
    ) -> tuple[list[jax.Array], LBFGSState]:
        """All iterations of an update: where they lead, and the next state."""
        rule = at_count(self, state.count, state.ro.dtype)
        one = jnp.ones((), jnp.int32)
        going = ~(_largest(grad) <= rule.tolerance_grad)
        start = _Run(place, loss, grad, state, one - 1, one, going)
        run = jax.lax.while_loop(
            lambda r: r.going, functools.partial(rule._iterate, evaluate), start
        )
        return run.place, run.state._replace(func_evals=run.state.func_evals + run.evals)

    def _iterate(self, evaluate: Callable[..., Any], run: _Run) -> _Run:
        """A direction, a step along it, and whether to go on."""
        n_iter, first = run.n_iter + 1, run.state.n_iter == 0
        state = _remember(run.state, run.grad)
        d = _direction(state, run.grad)
        slope = vdot(run.grad, d)
        at_rest = slope > -self.tolerance_change
        inverse = 1 / _total(run.grad)
        short = jnp.where(inverse < 1, inverse, jnp.ones_like(inverse))
        t = cast(jnp.where(first, short * self.lr, self.lr), slope.dtype)
        search = self._fixed if self.line_search_fn is None else self._searched
        place, loss, grad, t, evals = jax.lax.cond(
            at_rest,
            lambda: (run.place, run.loss, run.grad, t, jnp.zeros((), jnp.int32)),
            lambda: search(evaluate, run, d, t, slope),
        )
        evals = run.evals + evals
        stop = at_rest | (n_iter >= self.max_iter) | (evals >= self._max_eval)
        stop |= _largest(grad) <= self.tolerance_grad
        stop |= _largest(_along(None, t, d)) <= self.tolerance_change
        stop |= jnp.abs(loss - run.loss) < self.tolerance_change
        state = state._replace(
            n_iter=optax.safe_increment(state.n_iter),
            d=d,
            t=t,
            prev_flat_grad=run.grad,
            prev_loss=run.loss,
        )
        return _Run(place, loss, grad, state, n_iter, evals, ~stop)

    @property
    def _max_eval(self) -> int:
        return self.max_iter * 5 // 4 if self.max_eval is None else self.max_eval

    def _fixed(
        self, evaluate: Callable[..., Any], run: _Run, d: list[jax.Array], t: Any, slope: Any
    ) -> Any:
        """A step of the length given; after the last nobody asks for the loss."""
        place = _along(run.place, t, d)
        if self.max_iter == 1:
            return place, run.loss, run.grad, t, jnp.zeros((), jnp.int32)
        more = run.n_iter + 1 < self.max_iter
        loss, grad = jax.lax.cond(more, evaluate, lambda _: (run.loss, run.grad), place)
        return place, loss, grad, t, more.astype(jnp.int32)

    def _searched(
        self, evaluate: Callable[..., Any], run: _Run, d: list[jax.Array], t: Any, slope: Any
    ) -> Any:
        """A step of the length that the line search finds."""

        def along(t: jax.Array) -> Any:
            loss, grad = evaluate(_along(run.place, t, d))
            return loss, grad, vdot(grad, d)

        point, evals = strong_wolfe(
            along,
            t,
            run.loss,
            run.grad,
            slope,
            tolerance_change=1e-9,  # torch's own, whatever that of the optimizer
            max_ls=self._max_eval - run.evals,
            size=_largest(d),
        )
        return _along(run.place, point.step, d), point.value, point.grad, point.step, evals


_TREES = ("d", "old_dirs", "old_stps", "prev_flat_grad")


def _history(param: jax.Array, rows: int) -> jax.Array:
    """Rows of vectors like a parameter, sharded as it is."""
    return jnp.broadcast_to(_vector(param), (rows, *param.shape))


def _vector(param: jax.Array) -> jax.Array:
    return zeros(param, computing_dtype(param.dtype))


def _components(leaves: list[jax.Array]) -> list[jax.Array]:
    """The magnitudes of all real numbers in a list of arrays."""
    parts = []
    for leaf in leaves:
        parts += [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
    wide = computing_dtype(*(x.dtype for x in parts))
    return [jnp.abs(cast(x, wide)) for x in parts]


def _largest(leaves: list[jax.Array]) -> jax.Array:
    r"""The norm :math:`\lVert x \rVert_\infty`."""
    parts = [jnp.max(x, initial=0) for x in _components(leaves)]
    return functools.reduce(jnp.maximum, parts) if parts else jnp.zeros(())


def _total(leaves: list[jax.Array]) -> jax.Array:
    r"""The norm :math:`\lVert x \rVert_1`."""
    parts = [jnp.sum(x) for x in _components(leaves)]
    return functools.reduce(jnp.add, parts) if parts else jnp.zeros(())


def _along(place: Any, t: jax.Array, d: list[jax.Array]) -> list[jax.Array]:
    r"""The point :math:`\theta + t\,d`, or the step alone."""
    steps = [cast(t, x.dtype) * x for x in d]
    return steps if place is None else [x + step for x, step in zip(place, steps, strict=True)]


def _rows(history: list[jax.Array], i: jax.Array) -> list[jax.Array]:
    return [jax.lax.dynamic_index_in_dim(leaf, i, keepdims=False) for leaf in history]


def _remember(state: LBFGSState, grad: list[jax.Array]) -> LBFGSState:
    """The state with the newest pair in the place of the oldest, if its curvature is positive."""
    y = [g - old for g, old in zip(grad, state.prev_flat_grad, strict=True)]
    s = _along(None, state.t, state.d)
    ys = vdot(y, s)
    kept = (state.n_iter > 0) & (ys > 1e-10)
    row = state.num_old % state.ro.size

    def put(history: list[jax.Array], new: list[jax.Array]) -> list[jax.Array]:
        # A row is chosen, not a history, which the loop then changes in place.
        return [
            jax.lax.dynamic_update_index_in_dim(leaf, jnp.where(kept, x, old), row, 0)
            for leaf, x, old in zip(history, new, _rows(history, row), strict=True)
        ]

    return state._replace(
        old_dirs=put(state.old_dirs, y),
        old_stps=put(state.old_stps, s),
        num_old=state.num_old + kept.astype(jnp.int32),
        ro=state.ro.at[row].set(jnp.where(kept, 1 / ys, state.ro[row])),
        H_diag=jnp.where(kept, ys / vdot(y, y), state.H_diag),
    )


def _direction(state: LBFGSState, grad: list[jax.Array]) -> list[jax.Array]:
    """The two loops over the pairs kept."""
    size = state.ro.size
    stored = jnp.minimum(state.num_old, size)

    def back(k: Any, carry: Any) -> Any:
        q, alphas = carry
        i = (state.num_old - 1 - k) % size
        alpha = vdot(_rows(state.old_stps, i), q) * state.ro[i]
        return _along(q, -alpha, _rows(state.old_dirs, i)), alphas.at[i].set(alpha)

    def forth(k: Any, d: Any) -> Any:
        i = (state.num_old - stored + k) % size
        beta = vdot(_rows(state.old_dirs, i), d) * state.ro[i]
        return _along(d, alphas[i] - beta, _rows(state.old_stps, i))

    start = [-g for g in grad], jnp.zeros_like(state.ro)
    q, alphas = jax.lax.fori_loop(0, stored, back, start)
    return jax.lax.fori_loop(0, stored, forth, _along(None, state.H_diag, q))
