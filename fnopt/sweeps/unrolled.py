"""A run of fixed length as a differentiable function of the optimizer's numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnopt.core import Transform
from fnopt.core.checks import one_of, positive_integer
from fnopt.core.transform import as_transform
from fnopt.core.types import PyTree
from fnopt.data.arrays import Arrays, size
from fnopt.data.batches import Batches, as_data, is_stream
from fnopt.sweeps.coordinates import Coordinate
from fnopt.sweeps.derivative import (
    Differentiated,
    Mode,
    Plan,
    differentiated,
    segment_length,
    validation_loss,
)
from fnopt.sweeps.leaves import Leaf
from fnopt.train.arguments import check_objective
from fnopt.train.begin import first_state
from fnopt.train.data_argument import check_data
from fnopt.train.evaluation_data import evaluation_data
from fnopt.train.feeds import ArrayFeed
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.state import TrainState, copy


@dataclasses.dataclass(frozen=True)
class Unrolled:
    """A run of fixed length, ready to be differentiated.

    Attributes:
        caller: the public function, for errors.
        objective: the objective that the steps minimize.
        tx: the optimizer.
        state: the state before the first step.
        data: the examples.
        order: the examples of each step, of shape (steps, batch size).
        validation: the examples to evaluate in batches, and their weights.
        mode: how the run is differentiated.
        options: the options of the steps.
    """

    caller: str
    objective: Objective
    tx: Transform
    state: TrainState
    data: Any
    order: jax.Array
    validation: tuple[PyTree, jax.Array]
    mode: Mode
    options: StepOptions

    @classmethod
    def prepared(
        cls,
        caller: str,
        objective: Objective,
        optimizer: Any,
        data: Any,
        steps: int,
        *,
        validation_data: Any,
        batch_size: int | None,
        key: Any,
        mode: str,
        options: dict[str, Any],
    ) -> Unrolled:
        """The run that ``fit`` with the same arguments would begin with.

        Args:
            caller: the public function, for errors.
            objective, optimizer, data, steps, validation_data, batch_size, key, mode: the arguments
                of :func:`~fnopt.sweeps.hypergradient`.
            options: those of :class:`~fnopt.train.StepOptions`.
        """
        usage = f"{caller}(objective, optimizer, data, steps)"
        check_objective(usage, objective)
        tx = checked_optimizer(usage, "optimizer", optimizer)
        check_data(usage, data)
        if validation_data is not None:
            check_data(usage, validation_data, "validation_data")
        steps = positive_integer(f"{caller}: steps", steps)
        one_of(f"{caller}: mode", mode, ("reverse", "forward"))
        # What is not finite shows in the loss: a step that is left out would hide it.
        chosen = StepOptions.of(caller, {"skip_nonfinite": False, **options})
        arrays, batch_size = _in_memory(caller, data, steps, batch_size)
        feed = ArrayFeed(objective, arrays, batch_size, chosen)
        state = first_state(
            objective, tx, feed, key, None,
            stopping=None, average=None, precision=chosen.precision,
        )  # fmt: skip
        order = [
            feed.data.order(state.key, begin, feed.batch_size)
            for begin in range(0, steps, feed.steps or 1)
        ]
        evaluated = data if validation_data is None else validation_data
        evaluated = arrays if evaluated is data else evaluated
        parts = list(evaluation_data(evaluated, None, caller, "validation_data").parts())
        return cls(
            caller=caller,
            objective=objective,
            tx=tx,
            state=state,
            data=jax.device_put(feed.data),
            order=jnp.concatenate(order)[:steps],
            validation=jax.tree.map(lambda *xs: jnp.concatenate(xs), *parts),
            mode=mode,  # pyright: ignore[reportArgumentType]
            options=chosen,
        )

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.order.shape[0]

    def loss_before(self) -> float:
        """The validation loss before the first step."""
        state = self.state
        model = state.eval_params, state.model_state
        return float(validation_loss(self.objective, *model, self.validation, self.options))

    def plan(
        self, leaves: Mapping[str, Leaf], coordinates: Mapping[str, Coordinate] | None = None
    ) -> Plan:
        """The program of the run.

        Args:
            leaves: the numbers to differentiate by.
            coordinates: their coordinates, by name; None for the numbers themselves.
        """
        return Plan(
            structure=jax.tree.structure(self.tx),
            places=tuple((name, leaf.place) for name, leaf in leaves.items()),
            coordinates=tuple((coordinates or {}).items()),
            segment=segment_length(self.steps),
            mode=self.mode,
            options=self.options,
        )

    def arguments(self, values: Mapping[str, jax.Array], plan: Plan) -> tuple[Any, ...]:
        """The arguments of :func:`differentiated`, at these coordinates."""
        others = [copy(leaf) for leaf in jax.tree.leaves(self.tx)]
        inputs = self.state, self.data, self.order, self.validation
        return self.objective, dict(values), others, *inputs, plan

    def __call__(self, values: Mapping[str, jax.Array], plan: Plan) -> Differentiated:
        """The run and its derivatives.

        Args:
            values: the coordinates of the numbers, by name.
            plan: the program.

        Raises:
            ValueError: a loop in the run has no reverse derivative.
            TypeError: a function in it has a derivative of its own for one mode alone.
        """
        name, count = type(self.tx).__name__, sum(np.size(x) for x in values.values())
        try:
            return differentiated(*self.arguments(values, plan))
        except (ValueError, TypeError) as error:
            if "Reverse-mode differentiation does not work" in str(error):
                raise ValueError(
                    f"{self.caller}: a step of {name}, or of the model, has a loop whose length"
                    " depends on the data, such as a line search, and no reverse derivative; give"
                    f" mode='forward', which carries a tangent for each of the {count} numbers"
                ) from None
            if "(jvp) to a custom_vjp function" in str(error):
                raise TypeError(
                    f"{self.caller}: the model, its loss or {name} has a function with a"
                    " derivative of its own for the reverse mode alone (jax.custom_vjp); give"
                    " mode='reverse'"
                ) from None
            raise


def checked_optimizer(usage: str, argument: str, optimizer: Any) -> Transform:
    """An optimizer of fnopt or of optax as a transform.

    Args:
        usage: the call that is right, for the error.
        argument: the argument's name.
        optimizer: the argument.

    Raises:
        TypeError: it is something else.
    """
    try:
        return as_transform(optimizer)
    except TypeError as error:
        raise TypeError(f"{usage}: {argument}: {error}") from None


def _in_memory(
    caller: str, data: Any, steps: int, batch_size: int | None
) -> tuple[Any, int | None]:
    """Data as arrays; of what comes in batches, as many of them as there are steps, in order."""
    if not is_stream(data):
        return data, batch_size
    stream: Any = as_data(data, drop_last=True)
    batches: list[Any] = []
    while len(batches) < steps:
        before = len(batches)
        for batch in _epoch(stream, steps - before):
            batches.append(batch)
        if len(batches) == before:
            raise ValueError(f"{caller}: the data has no batch")
    examples = jax.tree.map(lambda *xs: np.concatenate([np.asarray(x) for x in xs]), *batches)
    return Arrays(examples, shuffle=False), size(batches[0])


def _epoch(stream: Batches, most: int) -> Any:
    """The first batches of an epoch."""
    iterator = stream.epoch()
    try:
        for _, batch in zip(range(most), iterator, strict=False):
            yield batch
    finally:
        iterator.close()  # pyright: ignore[reportAttributeAccessIssue]
