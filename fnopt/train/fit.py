"""A whole run: epochs over data in memory, many steps a call, evaluation after each epoch."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnopt.core import did_you_mean
from fnopt.data.arrays import check_batch_size, epoch_order, size, take
from fnopt.train.evaluate import batches_of, evaluate_batches
from fnopt.train.history import History
from fnopt.train.objective import Objective
from fnopt.train.progress import Progress
from fnopt.train.state import TrainState, copy
from fnopt.train.step import train_step


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What a run has come to.

    Attributes:
        state: after the last step.
        history: a record an epoch.
        steps_per_second: of training, compilation and evaluation not counted.
        interrupted: the run was ended by Ctrl-C.
    """

    state: TrainState
    history: History
    steps_per_second: float
    interrupted: bool = False


class NonFiniteError(FloatingPointError):
    """Loss or gradient stopped being finite.

    Attributes:
        step: the number of the step that was not taken, 0 for the first.
        state: before that step, with parameters that were still good. (If it was the optimizer that
            made a finite gradient into an update that is not, its own state is not that before.)
        history: of the epochs completed.
    """

    def __init__(self, step: int, figures: dict[str, Any], state: TrainState, history: History):
        self.step, self.state, self.history = step, state, history
        told = ", ".join(
            f"{name} {figures[name]:g}" for name in ("loss", "grad_norm", "update_norm")
        )
        super().__init__(
            f"training stopped at step {step}, which was not taken: {told}. The state before it is"
            " this exception's .state. A lower learning rate, a warm-up or clip_by_global_norm are"
            " the usual cures."
        )


def fit(
    objective: Objective,
    tx: optax.GradientTransformation | None,
    data: Any,
    *,
    epochs: int,
    batch_size: int | None = 32,
    test_data: Any = None,
    key: Any = 0,
    state: TrainState | None = None,
    monitor: str = "loss",
    eval_batch_size: int | None = 1024,
    steps_per_call: int | None = None,
    progress: bool | None = None,
    on_epoch: Callable[[TrainState, dict[str, Any]], Any] | None = None,
) -> FitResult:
    """Trains for a number of epochs.

    Each epoch goes through a permutation of the examples that is drawn from the key, and drops its
    remainder; the same key gives the same run to the bit. All steps run in one compiled loop,
    some of them a call; a call ends early at a step whose loss or gradient is not finite.

    Args:
        objective: what is minimized, from :func:`objective`.
        tx: the optimizer; None with ``state``, which has its own.
        data: a tree of arrays with examples along the first axis, such as ``(images, labels)``.
        epochs: how often to go through the data; with ``state``, how often more.
        batch_size: examples a step: 1 is stochastic, None full-batch gradient descent.
        test_data: evaluated after each epoch, recorded with the prefix ``test_``.
        key: a PRNG key, or an integer to make one. Ignored with ``state``, which has its own.
        state: to go on from; the buffers stay the caller's. Another optimizer of the same kind goes
            in by ``state.replace(tx=…)``.
        monitor: the evaluation's figure that ``tx`` is told as ``metric``.
        eval_batch_size: examples at a time in evaluation.
        steps_per_call: steps between two looks at the run; None finds a number that takes about a
            quarter of a second. The result does not depend on it.
        progress: whether to show a bar; None shows one on a terminal.
        on_epoch: called with the state and the record after each epoch; returning True stops. The
            state is good for the time of the call: the next step takes over its buffers.

    Raises:
        ValueError: there are no epochs, the batch size is above the number of examples, the arrays
            differ in it, or the evaluation has no figure ``monitor``.
        NonFiniteError: loss or gradient are not finite; has the last good state.
    """
    if epochs < 1:
        raise ValueError(f"fit: epochs must be at least 1, got {epochs}")
    if steps_per_call is not None and steps_per_call < 1:
        raise ValueError(f"fit: steps_per_call must be at least 1, got {steps_per_call}")
    examples = size(data)
    batch_size = check_batch_size(batch_size, examples)
    data = jax.tree.map(jnp.asarray, data)
    current = _begin(objective, tx, data, key, state)
    test = None if test_data is None else batches_of(test_data, eval_batch_size)
    _check_monitor(objective, current, test, monitor)
    steps = examples // batch_size
    first = int(current.step)
    history, pace = History(), _Pace(steps_per_call)
    # No steps yet: compiles the loop before anything is timed.
    current, _, _ = _run(objective, current, data, jnp.zeros((steps, batch_size), jnp.int32), 0, 0)
    with Progress(progress, epochs * steps, epochs) as bar, _interrupts() as interrupts:
        for epoch in range(1, epochs + 1):
            done = first + (epoch - 1) * steps
            order = _epoch_order(current.key, done, examples, batch_size)
            began, at, logs = time.perf_counter(), 0, []
            while at < steps and not interrupts:
                stop = min(at + pace.steps, steps)
                with pace.call(stop - at):
                    current, log, reached = _run(objective, current, data, order, at, stop)
                    log = {name: np.asarray(x) for name, x in log.items()}
                if reached < stop:
                    bad = {name: x[reached] for name, x in log.items()}
                    raise NonFiniteError(done + int(reached), bad, current, history)
                logs.append({name: x[at:stop] for name, x in log.items()})
                at = stop
                bar.show(epoch, done - first + at, pace.speed, {"loss": logs[-1]["loss"][-1]})
            if interrupts:
                break
            record = _record(
                first // steps + epoch, done + steps, time.perf_counter() - began, logs
            )
            if test is not None:
                current = _tested(objective, current, test, monitor, record)
            history.records.append(record)
            bar.show(epoch, done - first + at, pace.speed, _shown(record))
            if on_epoch is not None and on_epoch(current, record):
                break
    return FitResult(current, history, pace.speed, bool(interrupts))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _run(
    objective: Objective, state: TrainState, data: Any, order: jax.Array, start: int, stop: int
) -> tuple[TrainState, dict[str, jax.Array], jax.Array]:
    """Steps ``start`` to ``stop`` of an epoch, ending before one that is not finite.

    A loop with bounds that are arguments, not a scan: one program for every number of steps.

    Returns:
        The state, the figures of every step of the epoch (zero for those not taken here), and
        the step at which the loop ended.
    """

    def step(state: TrainState, at: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        return train_step(objective, state, take(data, order[at]))

    def going_on(carry: Any) -> jax.Array:
        _, _, at, finite = carry
        return (at < stop) & finite

    def body(carry: Any) -> Any:
        state, log, at, _ = carry
        state, figures = step(state, at)
        finite = jnp.isfinite(figures["update_norm"])
        log = {name: x.at[at].set(figures[name]) for name, x in log.items()}
        return state, log, at + finite.astype(at.dtype), finite

    shapes = jax.eval_shape(step, state, 0)[1]
    log = {name: jnp.zeros(order.shape[:1], x.dtype) for name, x in shapes.items()}
    at = jnp.asarray(start).astype(jnp.int32)
    state, log, at, _ = jax.lax.while_loop(going_on, body, (state, log, at, jnp.bool_(True)))
    return state, log, at


@functools.partial(jax.jit, static_argnums=(2, 3))
def _epoch_order(key: jax.Array, step: Any, examples: int, batch_size: int) -> jax.Array:
    # By the step at which the epoch begins, so that a run in two parts has the order of one.
    # The stream is its own: a step's key is folded from the same key by the step alone.
    stream = jax.random.fold_in(jax.random.fold_in(key, _ORDER), step)
    return epoch_order(stream, examples, batch_size)


_ORDER = 2**32 - 1


def _begin(
    objective: Objective, tx: Any, data: Any, key: Any, state: TrainState | None
) -> TrainState:
    if (state is None) == (tx is None):
        raise TypeError(
            "fit: give either an optimizer or a state to go on from; to go on with other numbers,"
            " state.replace(tx=…)"
        )
    if state is not None:
        return jax.tree.map(copy, state)  # the loop takes over its buffers
    return TrainState.create(objective, tx, key, take(data, jnp.arange(1)))


def _record(epoch: int, step: int, seconds: float, logs: list[Any]) -> dict[str, Any]:
    figures = {name: np.concatenate([log[name] for log in logs]) for name in logs[0]}
    means = {name: float(np.mean(x, dtype=np.float64)) for name, x in figures.items()}
    means["learning_rate"] = float(figures["learning_rate"][-1])
    return {"epoch": epoch, "step": step, "seconds": seconds, **means}


def _shown(record: dict[str, Any]) -> dict[str, float]:
    """The figures of an epoch worth a place beside the bar, the most telling first."""
    tested = [name for name in record if name.startswith("test_")]
    return {name: record[name] for name in ("loss", *tested, "learning_rate")}


def _check_monitor(objective: Objective, state: TrainState, test: Any, monitor: str) -> None:
    """Refuses, before the work, a figure that no evaluation will have."""
    if test is None:
        if monitor != "loss":
            raise ValueError(f"fit: monitor={monitor!r} is a figure of test_data; give some")
        return
    tested = functools.partial(evaluate_batches, objective)
    figures = jax.eval_shape(tested, state.params, state.model_state, *test)
    if monitor not in figures:
        raise ValueError(f"fit: no figure monitor={monitor!r}; {did_you_mean(monitor, figures)}")


def _tested(
    objective: Objective, state: TrainState, test: Any, monitor: str, record: dict[str, Any]
) -> TrainState:
    """Evaluates into the record; the state knows of the figure that is watched."""
    figures = evaluate_batches(objective, state.params, state.model_state, *test)
    record |= {f"test_{name}": float(x) for name, x in figures.items()}
    return state.replace(
        metric=figures[monitor].astype(state.metric.dtype), evaluations=state.evaluations + 1
    )


class _Pace:
    """How many steps to make a call: as many as take about a quarter of a second."""

    def __init__(self, steps: int | None) -> None:
        self.steps, self.fixed = steps or 1, steps is not None
        self.done, self.seconds = 0, 0.0

    @property
    def speed(self) -> float:
        """Steps a second, so far."""
        return self.done / self.seconds if self.seconds else 0.0

    @contextlib.contextmanager
    def call(self, steps: int) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        self.done, self.seconds = self.done + steps, self.seconds + seconds
        if not self.fixed and steps == self.steps and seconds < 0.125:
            self.steps *= 2
        elif not self.fixed and seconds > 0.5:
            self.steps = max(1, self.steps // 2)


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The signals of Ctrl-C that came: the first is left to the loop, a second one raises."""
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
