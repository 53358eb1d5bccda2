"""Which optimizer: seventeen of them on four small tasks, each with the same tuning.

``python benchmarks/choice.py`` trains each optimizer on each task at ten learning rates from three
starts. The thirty runs are one program: an optimizer is a value, and so a batch of optimizers with
its train states goes under ``vmap``. Everything but the rate has its default. It writes
``logs/choice-TAG.jsonl`` and a picture, and prints tables.

On mini-batches the rate falls to 0 by a cosine over the budget, except that of
``schedule_free_adamw``, which is made to need no schedule; on whole batches it is constant.
Steps are timed apart from that, one run at a time, optimizers in turn: under ``vmap`` a branch that
one optimizer takes every ten steps is computed in each.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from choice_report import draw, report, summary
from choice_tasks import SEEDS, TASKS, Task
from curvature import LOSS, PRODUCT, counted
from machine import machine

import fnopt
from fnopt.train import TrainState, train_step

RATES = tuple(float(f"{x:.2g}") for x in np.geomspace(1e-4, 10**0.5, 10))


class Method(NamedTuple):
    """An optimizer to be tuned.

    Attributes:
        make: a function of the learning rate, which may be a schedule.
        anneals: whether the rate falls over the budget on mini-batches.
        whole: whether it is for whole batches alone.
        tuned: whether it has a rate to tune.
    """

    make: Callable[[Any], fnopt.Transform]
    anneals: bool = True
    whole: bool = False
    tuned: bool = True


def finder(make: Callable[[], fnopt.Transform]) -> Method:
    """A method that finds the length of its steps by itself."""
    return Method(lambda rate: make(), whole=True, tuned=False)


METHODS = {
    "sgd": Method(fnopt.sgd),
    "momentum": Method(lambda rate: fnopt.sgd(rate, momentum=0.9)),
    "nesterov": Method(lambda rate: fnopt.sgd(rate, momentum=0.9, nesterov=True)),
    "rmsprop": Method(fnopt.rmsprop),
    "adagrad": Method(fnopt.adagrad),
    "adam": Method(fnopt.adam),
    "adamw": Method(lambda rate: fnopt.adamw(rate, weight_decay=0.01)),
    "nadam": Method(fnopt.nadam),
    "lion": Method(lambda rate: fnopt.lion(rate, weight_decay=0.0)),
    "adafactor": Method(lambda rate: fnopt.adafactor(rate, min_dim_size_to_factor=8)),
    "lamb": Method(fnopt.lamb),
    "prodigy": Method(fnopt.prodigy),
    "schedule_free_adamw": Method(fnopt.schedule_free_adamw, anneals=False),
    "sophia_h": Method(lambda rate: fnopt.sophia_h(rate, weight_decay=0.0)),
    "rprop": Method(fnopt.rprop, whole=True),
    "lbfgs": finder(fnopt.lbfgs),
    "trust_newton": finder(fnopt.trust_newton),
}


def optimizers(method: Method, task: Task) -> list[fnopt.Transform]:
    """One for each rate."""
    rates = RATES if method.tuned else RATES[-1:]
    if task.batch_size is None or not method.anneals:
        return [counted(method.make(rate)) for rate in rates]
    schedules = [fnopt.cosine_decay_schedule(rate, task.steps) for rate in rates]
    return [counted(method.make(schedule)) for schedule in schedules]


def stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *trees)


def starts(task: Task, txs: list[fnopt.Transform]) -> TrainState:
    """Train states, stacked by seed and then by rate."""
    rows = [
        stack([TrainState.create(goal, tx, key=seed) for tx in txs])
        for seed, goal in enumerate(task.objectives)
    ]
    return stack(rows)


def judged(task: Task, state: TrainState) -> dict[str, jax.Array]:
    """Loss, score and cost so far of a run."""
    goal = task.objectives[0]
    outputs, _ = goal.forward(
        state.eval_params, state.model_state, task.judged_on, key=None, train=False
    )
    values = {"loss": goal.loss(outputs, task.judged_on)}
    values |= {k: jnp.mean(x) for k, x in goal.metrics(outputs, task.judged_on).items()}
    losses, grads, products = state.opt_state[:3]
    return values | {"gradients": state.step + grads + PRODUCT * products + LOSS * losses}


def program(task: Task) -> Callable[[TrainState, Any], dict[str, jax.Array]]:
    """All runs of a method on a task, as a function of the states at the start and of the orders
    of the examples: what the evaluations gave, of shape (evaluations, seeds, rates)."""
    data = jax.tree.map(jnp.asarray, task.train)

    def step(states: TrainState, rows: jax.Array) -> tuple[TrainState, None]:
        def one(state: TrainState, rows: jax.Array) -> TrainState:
            return train_step(task.objectives[0], state, jax.tree.map(lambda x: x[rows], data))[0]

        return jax.vmap(jax.vmap(one, (0, None)))(states, rows), None

    def epoch(states: TrainState, rows: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        states, _ = jax.lax.scan(step, states, rows)
        return states, jax.vmap(jax.vmap(functools.partial(judged, task)))(states)

    return jax.jit(lambda states, orders: jax.lax.scan(epoch, states, orders)[1])


def reached(task: Task, score: np.ndarray) -> np.ndarray:
    return score >= task.target if task.score == "accuracy" else score <= task.target


def first(hits: np.ndarray, values: np.ndarray) -> list[list[float | None]]:
    """The values at the first hit of each run; None where there is none."""
    at, some = hits.argmax(axis=0)[None], hits.any(axis=0)
    chosen = np.take_along_axis(values, at, axis=0)[0]
    return [[float(x) if hit else None for x, hit in zip(*row, strict=True)]
            for row in zip(chosen, some, strict=True)]  # fmt: skip


def measure(name: str, task: Task) -> dict[str, Any]:
    """The record of a method on a task: lists by seed and then by rate."""
    method = METHODS[name]
    began = time.perf_counter()
    results = program(task)(starts(task, optimizers(method, task)), task.orders())
    results = {k: np.asarray(x, float) for k, x in results.items()}
    seconds = time.perf_counter() - began
    score = results[task.score]
    hits = reached(task, score)
    steps = np.broadcast_to(task.every * np.arange(1, len(score) + 1)[:, None, None], score.shape)
    some = np.linspace(0, len(score) - 1, 10).round().astype(int)
    return {
        "method": name,
        "rates": list(RATES) if method.tuned else None,
        "steps": first(hits, steps),
        "gradients": first(hits, results["gradients"]),
        "final": {k: numbers(x[-1]) for k, x in results.items()},
        "at_steps": [int(task.every * (i + 1)) for i in some],
        "curve": [numbers(score[i]) for i in some],
        "seconds_with_compilation": round(seconds, 2),
    }


def numbers(x: np.ndarray) -> list[list[float | None]]:
    return [[float(f"{v:.5g}") if np.isfinite(v) else None for v in row] for row in x]


def step_times(names: list[str], task: Task, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a step of one run in a compiled loop, in each round."""
    data = jax.tree.map(jnp.asarray, task.train)
    rows = jnp.asarray(task.orders()[0][:, 0])

    @jax.jit
    def loop(state: TrainState) -> TrainState:
        def step(state: TrainState, rows: jax.Array) -> tuple[TrainState, None]:
            batch = jax.tree.map(lambda x: x[rows], data)
            return train_step(task.objectives[0], state, batch)[0], None

        return jax.lax.scan(step, state, rows)[0]

    begun = {}
    for name in names:
        tx = METHODS[name].make(1e-3)
        begun[name] = TrainState.create(task.objectives[0], tx, key=0)
        jax.block_until_ready(loop(begun[name]))
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            began = time.perf_counter()
            jax.block_until_ready(loop(begun[name]))
            times[name].append(1e3 * (time.perf_counter() - began) / len(rows))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=30, help="of timed steps; 0 for none")
    parser.add_argument("--tag", default="local", help="names log and picture")
    parser.add_argument("--append", action="store_true", help="to the log, instead of a new one")
    parser.add_argument("--report", action="store_true", help="only read the log")
    parser.add_argument("--picture", default=None, help="path of the picture")
    options = parser.parse_args()
    log = Path(__file__).parent / "logs" / f"choice-{options.tag}.jsonl"
    if not options.report:
        log.parent.mkdir(exist_ok=True)
        with log.open("a" if options.append else "w") as file:

            def write(**record: Any) -> None:
                file.write(json.dumps(record) + "\n")
                file.flush()

            write(machine=machine(), command=["benchmarks/choice.py", *sys.argv[1:]], seeds=SEEDS)
            for key in options.tasks:
                task = TASKS[key]()
                about = task._asdict()
                for field in ("objectives", "train", "judged_on"):
                    del about[field]
                write(task=key, about=about)
                whole = task.batch_size is None
                for name in options.methods:
                    # A decay moves the minimum, and has no validation data to help with here.
                    if METHODS[name].whole <= whole and not (whole and name == "adamw"):
                        write(task=key, **measure(name, task))
                        print(key, name, flush=True)
            if options.rounds:
                timed = [name for name in options.methods if not METHODS[name].whole]
                write(step_milliseconds=step_times(timed, TASKS["mlp"](), options.rounds))
    records = [json.loads(line) for line in log.read_text().splitlines()]
    print("\n".join([*report(records), *summary(records)]))
    picture = Path(options.picture or log.with_suffix(".png"))
    draw(records, picture)
    draw(records, picture.with_stem(f"{picture.stem}_dark"), theme="dark")


if __name__ == "__main__":
    main()
