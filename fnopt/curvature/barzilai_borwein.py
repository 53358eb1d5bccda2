"""Gradient descent with Barzilai and Borwein's step."""

from __future__ import annotations

from fnopt.core import Composed, Positive, Rate, Transform
from fnopt.curvature.line import LineSearch
from fnopt.curvature.scale_by_barzilai_borwein import Variant, scale_by_barzilai_borwein
from fnopt.curvature.scale_by_nonmonotone_linesearch import scale_by_nonmonotone_linesearch
from fnopt.curvature.search import length


class barzilai_borwein(Composed):
    r"""Barzilai and Borwein's method: gradient descent by the curvature along the last step.

    .. math:: \Delta\theta_t = -\eta_t\,\lambda_t\,\alpha_t\,g_t

    with :math:`\alpha_t` as :class:`scale_by_barzilai_borwein` has it, and :math:`\lambda_t`, most
    often 1, from a line search that lets the loss rise now and then. ``update`` receives
    ``value_fn``, and ``value`` and ``grad`` where they are known; without a line search, none of
    these.

    Args:
        learning_rate: factor of the step, :math:`\eta \ge 0`.
        variant: ``"long"``, :math:`\lVert s \rVert^2 / \langle s, y \rangle`, or ``"short"``,
            :math:`\langle s, y \rangle / \lVert y \rVert^2`.
        min_step: smallest :math:`\alpha_t`, above 0.
        max_step: largest :math:`\alpha_t`.
        linesearch: the transform that finds :math:`\lambda_t`; None for 1, with which the method
            converges on convex quadratics, and may diverge elsewhere.

    When:
        The loss is smooth and has no noise, and a step should cost one gradient and little memory.
        Not with batches that change.

    References:
        Barzilai & Borwein, *Two-point step size gradient methods*, IMA Journal of Numerical
        Analysis 8, 1988, doi:10.1093/imanum/8.1.141; with the line search: Raydan, *The Barzilai
        and Borwein gradient method for the large scale unconstrained minimization problem*, SIAM
        Journal on Optimization 7, 1997, doi:10.1137/S1052623494266365; along negative curvature:
        Dai, Al-Baali & Yang, *A positive Barzilai-Borwein-like stepsize and an extension for
        symmetric linear systems*, Numerical Analysis and Optimization, 2015.

    >>> import fnopt, jax, jax.numpy as jnp, optax
    >>> def loss(x):
    ...     return jnp.sum(jnp.array([1.0, 10.0, 100.0]) * (x - 1.0) ** 2)
    >>> tx = fnopt.barzilai_borwein()
    >>> @jax.jit
    ... def step(x, state):
    ...     value, grad = jax.value_and_grad(loss)(x)
    ...     updates, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=loss)
    ...     return optax.apply_updates(x, updates), state
    >>> x = jnp.zeros(3)
    >>> state = tx.init(x)
    >>> for _ in range(25):
    ...     x, state = step(x, state)
    >>> print(x.round(3))
    [1. 1. 1.]
    """

    learning_rate: Rate = 1.0
    variant: Variant = "long"
    min_step: Positive = 1e-10
    max_step: Positive = 1e10
    linesearch: LineSearch = scale_by_nonmonotone_linesearch()
    family = "curvature"

    def parts(self) -> tuple[Transform, ...]:
        return (
            scale_by_barzilai_borwein(self.variant, self.min_step, self.max_step),
            *length(self.learning_rate, self.linesearch),
        )
