"""Methods of curvature on the digits: what each costs to 97.5 % validation accuracy, by one call.

``python benchmarks/curvature.py`` trains the network of ``examples/digits`` (64-128-128-10, batch
normalization, dropout) with the same call of ``fit`` and six optimizers. The rate or the damping of
each is tuned by eight values on one seed, by the fewest passes to the goal; then five other seeds
are run. It writes ``logs/curvature-TAG.jsonl`` and a picture, and prints a table.

A gradient of all examples is a pass over the data. The gradient that ``fit`` makes in each step is
counted, and what the optimizer says it evaluates itself: a gradient is 1, a product with a matrix
of curvature 2, and a loss without gradient 1/3. Seconds are those of ``fit`` without compilation,
which the first run of a method does, and without the evaluations on the validation data. No
schedule, no weight decay, no clipping.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from machine import machine

import fnopt
from fnopt.core import Inner
from fnopt.data import digits
from fnopt.train import NonFiniteError, accuracy, evaluate, fit, objective

GOAL, VALUES, SEEDS, TUNED_ON = 0.975, 8, range(1, 6), 0
PRODUCT, LOSS = 2, 1 / 3
"""The cost of a product and of a loss, in gradients."""


class Network(linen.Module):
    """That of ``examples/digits/linen.py``."""

    dropout: float

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = linen.Dense(128)(x)
            x = linen.relu(linen.BatchNorm(use_running_average=not train, momentum=0.9)(x))
            x = linen.Dropout(self.dropout, deterministic=not train)(x)
        return linen.Dense(10)(x)


class CountedState(NamedTuple):
    """What an optimizer has evaluated in all updates so far."""

    losses: jax.Array
    grads: jax.Array
    products: jax.Array
    inner_state: Any


class counted(fnopt.Wrapper):
    """An optimizer that counts what it evaluates."""

    inner: Inner

    State = CountedState

    def init(self, params: Any) -> CountedState:
        zero = jnp.zeros((), jnp.int32)
        return CountedState(zero, zero, zero, self.inner.init(params))

    def update(
        self, updates: Any, state: Any, params: Any = None, **extra_args: Any
    ) -> tuple[Any, Any]:
        updates, inner = self.inner.update(updates, self.check(state), params, **extra_args)
        outcome = self.inner.outcome(inner) or fnopt.core.Outcome()
        alone = jnp.maximum(outcome.values - jnp.asarray(outcome.grads), 0)
        new = zip(state[:3], (alone, outcome.grads, outcome.products), strict=True)
        return updates, CountedState(*(a + b for a, b in new), inner)


class Method(NamedTuple):
    """An optimizer to be tuned.

    Attributes:
        make: a function of the number that is tuned.
        tuned: what that number is.
        between: the least and the largest value to try.
        batch_size: examples of a step; None for all.
    """

    make: Callable[[float], fnopt.Transform]
    tuned: str
    between: tuple[float, float]
    batch_size: int | None


RATE, DAMPING = "learning_rate", "damping"
METHODS = {
    "adamw": Method(
        lambda rate: fnopt.adamw(rate, weight_decay=0.0), RATE, (3e-4, 1e-1), 64
    ),
    "lbfgs": Method(fnopt.lbfgs, RATE, (3e-2, 3.0), None),
    "newton_cg": Method(
        lambda damping: fnopt.newton_cg(
            damping=damping, warm_start=0.95, max_cg_steps=20, curvature="gauss_newton"
        ),
        DAMPING, (3e-3, 10.0), 256,
    ),
    "gauss_newton": Method(
        lambda damping: fnopt.gauss_newton(damping=damping), DAMPING, (3e-3, 10.0), 256
    ),
    "levenberg_marquardt": Method(
        lambda damping: fnopt.levenberg_marquardt(damping=damping),
        DAMPING, (3e-3, 10.0), 256,
    ),
    "natural_gradient": Method(
        lambda damping: fnopt.natural_gradient(damping=damping, max_kl=0.1),
        DAMPING, (3e-3, 10.0), 256,
    ),
}  # fmt: skip


class Run(NamedTuple):
    """A run: after each of its epochs what it had cost, and how good it was."""

    seconds: list[float]
    passes: list[float]
    accuracies: list[float]
    steps: list[int]
    grads: list[float]

    def at_goal(self) -> int | None:
        """The number of the first epoch that reaches the goal; None without one."""
        return next((i for i, x in enumerate(self.accuracies) if x >= GOAL), None)


def run(task: Any, tx: Any, method: Method, seed: int, options: argparse.Namespace) -> Run:
    """Trains until the goal is reached or the budget is spent."""
    train, validation = digits()
    share = (method.batch_size or len(train[1])) / len(train[1])
    record = Run([], [], [], [], [])
    paused, began = 0.0, time.perf_counter()

    def on_epoch(state: Any, metrics: dict[str, Any]) -> bool:
        nonlocal paused
        entered = time.perf_counter()
        losses, grads, products = (int(x) for x in state.opt_state[:3])
        steps = int(state.step)
        cost = steps + grads + PRODUCT * products + LOSS * losses
        record.seconds.append(entered - began - paused)
        record.passes.append(cost * share)
        record.steps.append(steps)
        record.grads.append(cost)
        record.accuracies.append(float(evaluate(task, state, validation)["accuracy"]))
        paused += time.perf_counter() - entered
        spent = record.passes[-1] >= options.passes or record.seconds[-1] >= options.seconds
        return spent or record.accuracies[-1] >= GOAL

    with contextlib.suppress(NonFiniteError):  # such a run did not reach the goal
        fit(
            task, counted(tx), train, epochs=100_000, batch_size=method.batch_size, key=seed,
            on_epoch=on_epoch, progress=False,
        )  # fmt: skip
    return record


def values_of(method: Method) -> list[float]:
    return [float(f"{x:.2g}") for x in np.geomspace(*method.between, VALUES)]


def judged(record: Run) -> tuple[float, float]:
    """What a value is chosen by: the passes to the goal, or else the best accuracy."""
    at = record.at_goal()
    return (
        (record.passes[at], 0.0)
        if at is not None
        else (np.inf, -max(record.accuracies, default=0.0))
    )


def compare(names: list[str], options: argparse.Namespace, write: Callable[[dict], None]) -> Any:
    """The tuned value and the runs of each method."""
    loss = "softmax_cross_entropy_with_integer_labels"
    task = objective(Network(options.dropout), loss, metrics={"accuracy": accuracy})
    results = {}
    for name in names:
        method = METHODS[name]
        began = time.perf_counter()
        once = argparse.Namespace(passes=0.0, seconds=0.0)
        run(task, method.make(values_of(method)[0]), method, TUNED_ON, once)  # compiles
        write({"method": name, "first_run_seconds": time.perf_counter() - began})
        trials = {}
        for value in values_of(method):
            trials[value] = run(task, method.make(value), method, TUNED_ON, options)
            write({"method": name, "tuning": value, "seed": TUNED_ON, **trials[value]._asdict()})
        best = min(trials, key=lambda value: judged(trials[value]))
        runs = []
        for seed in SEEDS:
            runs.append(run(task, method.make(best), method, seed, options))
            write({"method": name, method.tuned: best, "seed": seed, **runs[-1]._asdict()})
        results[name] = best, runs
        print(row(name, best, runs), flush=True)
    return results


def row(name: str, best: float, runs: list[Run]) -> str:
    """A line of the table: medians, and the smallest and largest in brackets."""
    method, reached = METHODS[name], [r for r in runs if r.at_goal() is not None]
    cells = [name, str(method.batch_size or "all"), f"{method.tuned} {best:.2g}"]
    cells.append(f"{len(reached)} of {len(runs)}")
    for field, places in (("steps", 0), ("grads", 0), ("passes", 1), ("seconds", 2)):
        numbers = [getattr(r, field)[r.at_goal()] for r in reached]
        if len(reached) == len(runs):
            low, middle, high = min(numbers), statistics.median(numbers), max(numbers)
            cells.append(f"{middle:.{places}f} [{low:.{places}f}, {high:.{places}f}]")
        else:
            cells.append("")
    accuracies = [max(r.accuracies, default=0.0) for r in runs]
    cells.append(f"{100 * statistics.median(accuracies):.1f} %")
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| method | batch | tuned | reached | steps | gradients | passes | seconds | best |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def draw(results: Any, path: Path) -> None:
    """Accuracy against seconds and against passes: each seed, the median seed in bold."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for number, (name, (_, runs)) in enumerate(results.items()):
        order = sorted(runs, key=judged)
        for record in runs:
            middle = record is order[len(order) // 2]
            for panel, costs in zip(panels, (record.seconds, record.passes), strict=True):
                panel.plot(
                    costs, [100 * x for x in record.accuracies], color=f"C{number}",
                    alpha=1.0 if middle else 0.25, linewidth=2.0 if middle else 1.0,
                    label=name if middle else None,
                    marker="o", markevery=[-1], markersize=4,
                )  # fmt: skip
    for panel, label in zip(panels, ("seconds", "passes over the data (gradients)"), strict=True):
        panel.axhline(100 * GOAL, color="0.6", linewidth=1.0, linestyle="--")
        panel.set_xscale("log")
        panel.set_xlabel(label)
        panel.set_ylim(80, 99)
    panels[0].set_ylabel("validation accuracy, %")
    panels[1].legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--passes", type=float, default=800.0, help="most of a run")
    parser.add_argument("--seconds", type=float, default=10.0, help="most of a run")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--tag", default="local", help="names log and picture")
    options = parser.parse_args()
    log = Path(__file__).parent / "logs" / f"curvature-{options.tag}.jsonl"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as file:

        def write(record: dict[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()

        write({"machine": machine(), "options": vars(options)})
        print(HEAD)
        results = compare(options.methods, options, write)
    draw(results, log.with_suffix(".png"))
    print(f"raw log: {log.name}; picture: {log.with_suffix('.png').name}")


if __name__ == "__main__":
    main()
