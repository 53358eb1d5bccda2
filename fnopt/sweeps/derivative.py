"""The compiled program of a run of fixed length and of its derivatives."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from fnopt.core.types import ModelState, Params, PyTree
from fnopt.sweeps.coordinates import Coordinate
from fnopt.train.evaluate import evaluate_batches
from fnopt.train.objective import Objective
from fnopt.train.options import StepOptions
from fnopt.train.precision import as_optimizers_see
from fnopt.train.programs import per_objective
from fnopt.train.state import TrainState, copy
from fnopt.train.step import attempt_step

Mode = Literal["reverse", "forward"]
"""How a run is differentiated."""


class Plan(NamedTuple):
    """What the program of a run depends on besides its arrays.

    Attributes:
        structure: the structure of the optimizer.
        places: by name the place among its leaves of each number to differentiate by.
        coordinates: by name the coordinate of each, in which the derivative is taken.
        segment: number of steps between two states that are stored.
        mode: whether derivatives go backwards through the run, or along with it.
        options: the options of the steps.
    """

    structure: Any
    places: tuple[tuple[str, int], ...]
    coordinates: tuple[tuple[str, Coordinate], ...]
    segment: int
    mode: Mode
    options: StepOptions


class Differentiated(NamedTuple):
    """A run and its derivatives.

    Attributes:
        value: the validation loss after the last step.
        gradient: its derivative by each coordinate, by name.
        step_losses: the loss of each step's batch before the step, of shape (steps,).
    """

    value: jax.Array
    gradient: dict[str, jax.Array]
    step_losses: jax.Array


@per_objective(static_argnums=(7,))
def differentiated(
    objective: Objective,
    values: dict[str, jax.Array],
    others: list[jax.Array],
    state: TrainState,
    data: Any,
    order: jax.Array,
    validation: tuple[PyTree, jax.Array],
    plan: Plan,
) -> Differentiated:
    """A run of the optimizer and its derivatives, as one program.

    Args:
        objective: the objective to minimize.
        values: the coordinates to differentiate by, by name.
        others: all leaves of the optimizer; those named in ``values`` are not used.
        state: the state before the first step.
        data: the examples.
        order: the examples of each step, of shape (steps, batch size).
        validation: the examples to evaluate in batches, and their weights.
        plan: the program.
    """
    coordinates = dict(plan.coordinates)

    def loss(values: dict[str, jax.Array]) -> tuple[jax.Array, Any]:
        leaves = list(others)
        for name, place in plan.places:
            x = values[name]
            leaves[place] = coordinates[name].back(x) if name in coordinates else x
        tx = plan.structure.unflatten(leaves)
        wide = as_optimizers_see(state.params, plan.options.precision)
        begin = state.replace(tx=tx, opt_state=jax.tree.map(copy, tx.init(wide)))
        end, step_losses = _run(objective, begin, data, order, plan)
        model = end.eval_params, end.model_state
        value = validation_loss(objective, *model, validation, plan.options)
        return value, (value, step_losses)

    derivative = jax.jacfwd if plan.mode == "forward" else jax.grad
    gradient, (value, step_losses) = derivative(loss, has_aux=True)(values)
    return Differentiated(value, gradient, step_losses)


def _run(
    objective: Objective, state: TrainState, data: Any, order: jax.Array, plan: Plan
) -> tuple[TrainState, jax.Array]:
    """The state after all steps, and the loss of each."""

    def step(state: TrainState, indices: jax.Array) -> tuple[TrainState, jax.Array]:
        batch = data.batch(state.key, state.step, indices)
        state, metrics, _ = attempt_step(objective, state, batch, plan.options)
        return state, metrics["loss"]

    if plan.mode == "forward":
        return jax.lax.scan(step, state, order)
    # Stored are the states between segments, and in the backward pass those within one: of a step
    # alone is all stored that its derivative needs. In a scan nothing can be merged with the first
    # computation, so that no barrier is needed.
    step = jax.checkpoint(step, prevent_cse=False)

    def segment(state: TrainState, order: jax.Array) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(step, state, order)

    shorter = order.shape[0] % plan.segment
    losses = []
    if shorter:
        state, first = jax.checkpoint(segment)(state, order[:shorter])
        losses = [first]
    segments = order[shorter:].reshape(-1, plan.segment, order.shape[1])
    state, rest = jax.lax.scan(jax.checkpoint(segment, prevent_cse=False), state, segments)
    return state, jnp.concatenate([*losses, rest.reshape(-1)])


def segment_length(steps: int) -> int:
    """The number of steps between two stored states, near the root of all of them.

    The nearest divisor, where there is one within a factor of two, so that no segment is shorter
    than the others and the step is compiled once.
    """
    root = math.sqrt(steps)
    divisors = [k for k in range(1, steps + 1) if steps % k == 0]
    best = min(divisors, key=lambda k: abs(k - steps // k))  # the first of a pair, the smaller
    return best if max(best, root) / min(best, root) <= 2 else math.ceil(root)


def validation_loss(
    objective: Objective,
    params: Params,
    model_state: ModelState,
    validation: tuple[PyTree, jax.Array],
    options: StepOptions,
) -> jax.Array:
    """The mean loss of the model on the validation data.

    Args:
        objective: the objective.
        params: the parameters to evaluate.
        model_state: the model state that goes with them.
        validation: the examples in batches, and their weights.
        options: the options of the steps, for the precision.
    """
    return evaluate_batches(objective, params, model_state, *validation, options.precision)["loss"]
