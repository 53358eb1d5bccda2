"""The derivative of the validation loss after a run by the numbers of the optimizer."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core.entry import entry
from fnopt.sweeps.derivative import Mode
from fnopt.sweeps.leaves import check_leaves, leaves_of, with_leaves
from fnopt.sweeps.unrolled import Unrolled
from fnopt.train.objective import Objective
from fnopt.train.reprs import call, listed, number
from fnopt.train.state import copy


class Hypergradient(NamedTuple):
    """The validation loss after a run, and its derivative by the optimizer.

    Attributes:
        value: the validation loss after the last step; not finite where the run diverged.
        gradient: an optimizer with a derivative in the place of each number; 0 in that of an
            integer, such as a seed.
        step_losses: the loss of each step's batch, before the step; of shape (steps,).
    """

    value: jax.Array
    gradient: Any
    step_losses: jax.Array

    @property
    def by_name(self) -> dict[str, jax.Array]:
        """The derivatives by name, as in ``"learning_rate.decay_steps"``."""
        return {name: leaf.value for name, leaf in leaves_of(self.gradient).items()}

    def __repr__(self) -> str:
        steps = f"value={number(self.value)} after {self.step_losses.shape[-1]} steps"
        return call("Hypergradient", steps, listed(self.by_name))


@entry(
    "hypergradient(objective, optimizer, data, steps), where data are one argument,"
    " (inputs, targets)"
)
def hypergradient(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    data: Any,
    steps: int,
    *,
    validation_data: Any = None,
    batch_size: int | None = 32,
    key: Any = 0,
    mode: Mode = "reverse",
    **options: Any,
) -> Hypergradient:
    r"""The validation loss after a run, and its gradient by every number of the optimizer.

    .. math:: \frac{\mathrm d}{\mathrm d\lambda}\,E(s_T(\lambda)), \qquad
        s_t = \Phi_t(s_{t-1}, \lambda)

    where :math:`s_t` is the train state after :math:`t` steps, :math:`\Phi_t` a step of ``fit``,
    :math:`E` the validation loss of the state, and :math:`\lambda` all numbers of the optimizer:
    learning rate, momentum, decay, and those of its schedules, lengths included.

    In reverse mode about :math:`2\sqrt T` train states are stored: those between segments of about
    :math:`\sqrt T` steps, and those within one. For that every step is computed three times. In
    forward mode a tangent of the state is carried along for each number, and nothing is stored; it
    costs a step or two for each, and takes methods with a loop, such as a line search.

    The gradient is exact, whatever it is worth: of a run near the edge of divergence it grows
    exponentially in :math:`T` and points nowhere (Metz et al. 2019), and one of few steps prefers
    rates that are too small for many (Wu et al. 2018). A number that acts by jumps, such as the
    boundary of a stepwise schedule, has the derivative 0.

    Other numbers, another key and other data of one shape run the same compiled program.

    Args:
        objective: the objective that the steps minimize, and whose loss is the validation loss.
        optimizer: the optimizer, fnopt's; it stays as it is.
        data: arrays with examples along the first axis, such as ``(images, labels)``; an
            ``fnopt.data.Arrays``; or batches, as :func:`~fnopt.train.fit` takes them, of which one
            is kept for each step. The order is that of ``fit`` with the same key.
        steps: number of updates :math:`T`, at least 1.
        validation_data: the data of the validation loss :math:`E`, of the same kinds, evaluated
            all at once; those of training if None, which favors to overfit.
        batch_size: number of examples per step; None for all in each. Ignored for batches.
        key: a PRNG key, or an integer to make one; it initializes the model, orders the data and
            drops units.
        mode: ``"reverse"``, or ``"forward"`` for few numbers and for methods with a loop.
        **options: the options of a step, see :class:`~fnopt.train.StepOptions`. Steps that are not
            finite are taken, unless ``skip_nonfinite=True``: the value shows them.

    Returns:
        A :class:`Hypergradient`: ``value``, ``gradient`` (an optimizer that holds derivatives) and
        ``step_losses``. Nothing is raised where they are not finite.

    Raises:
        ValueError: the optimizer has no numbers; there are no steps, or more examples in a batch
            than there are; a loop in a step has no reverse derivative.
        TypeError: an argument is of another kind; a function of the model has no forward
            derivative.

    References:
        Maclaurin, Duvenaud & Adams, *Gradient-based hyperparameter optimization through reversible
        learning*, ICML 2015, arXiv:1502.03492 (by reversing the run; here states are stored);
        Franceschi, Donini, Frasconi & Pontil, *Forward and reverse gradient-based hyperparameter
        optimization*, ICML 2017, arXiv:1703.01785 (both modes);
        Griewank, *Achieving logarithmic growth of temporal and spatial complexity in reverse
        automatic differentiation*, 1992, doi:10.1080/10556789208805505 (checkpoints), and Chen, Xu,
        Zhang & Guestrin, *Training deep nets with sublinear memory cost*, 2016, arXiv:1604.06174
        (one level of them, of memory :math:`\sqrt T`);
        Metz, Maheswaranathan, Nixon, Freeman & Sohl-Dickstein, *Understanding and correcting
        pathologies in the training of learned optimizers*, ICML 2019, arXiv:1810.10180;
        Wu, Ren, Liao & Grosse, *Understanding short-horizon bias in stochastic meta-optimization*,
        ICLR 2018, arXiv:1803.02021.

    Of gradient descent on a parabola, :math:`E = w_T^2 = (1 - 2\eta)^{2T} w_0^2`:

    >>> import numpy as np, fnopt
    >>> from fnopt.sweeps import hypergradient
    >>> from fnopt.train import objective
    >>> task = objective(lambda w, x: w * x, "squared_error", params=np.float32(1))
    >>> data = np.ones(1, np.float32), np.zeros(1, np.float32)
    >>> result = hypergradient(task, fnopt.sgd(0.25), data, 2, batch_size=None)
    >>> float(result.value), result.gradient
    (0.0625, sgd(learning_rate=-1, nesterov=False))
    """
    run = Unrolled.prepared(
        "hypergradient", objective, optimizer, data, steps,
        validation_data=validation_data, batch_size=batch_size, key=key, mode=mode, options=options,
    )  # fmt: skip
    leaves = check_leaves("hypergradient", run.tx)
    values = {name: copy(leaf.value) for name, leaf in leaves.items()}
    value, gradient, step_losses = run(values, run.plan(leaves))
    zeros: Any = jax.tree.map(lambda x: np.zeros(jnp.shape(x)), run.tx)
    return Hypergradient(value, with_leaves(zeros, leaves, gradient), step_losses)
