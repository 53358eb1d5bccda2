"""A race of eight optimizers at 16 rates, 200 steps each, on Beale's function: seconds in all.

``python benchmarks/race.py --quick`` shows what it does; README.md says what is compared.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from machine import HERE, machine
from turns import median_interval, orders

import fnopt
from fnopt.lab import beale, race

RATES = np.geomspace(1e-4, 1e-1, 16)
STEPS = 200
SHOWN = ["sgd", "heavy_ball", "rmsprop", "adam", "adagrad", "quickprop", "newton", "lbfgs"]
"""Methods with line searches among them, which have no rates."""
COMPARED: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sgd": (fnopt.sgd, optax.sgd),
    "momentum": (
        functools.partial(fnopt.sgd, momentum=0.9),
        functools.partial(optax.sgd, momentum=0.9),
    ),
    "rmsprop": (fnopt.rmsprop, optax.rmsprop),
    "adam": (fnopt.adam, optax.adam),
    "adagrad": (fnopt.adagrad, optax.adagrad),
    "adabelief": (fnopt.adabelief, optax.adabelief),
    "amsgrad": (fnopt.amsgrad, optax.amsgrad),
    "lion": (fnopt.lion, optax.lion),
}
"""Each as fnopt's and as optax's function of the rate."""
PEER, SHOWN_NAME = "optax, a rate is an argument", "race and GIF"
TURNS = ("first", "second", "first_cpu", "second_cpu")
"""Seconds of a call in a process that has compiled nothing, and of one after it; and of the CPU."""


def shown() -> Any:
    """What a user calls: a race, and its animation."""
    result = race(SHOWN, beale, learning_rates=RATES, steps=STEPS)
    with tempfile.TemporaryDirectory() as folder:
        result.animate(Path(folder) / "race.gif")
    return [entrant.paths[:, 0, -1] for entrant in result.entrants], result.programs


def raced() -> Any:
    """The eight that optax has too, as a race."""
    optimizers = {name: ours(1.0) for name, (ours, _) in COMPARED.items()}
    result = race(optimizers, beale, learning_rates=RATES, steps=STEPS)
    return [entrant.paths[:, 0, -1] for entrant in result.entrants], result.programs


def looped(steppers: Iterable[tuple[Callable[..., Any], list[Any]]]) -> Any:
    """Loops over jitted steps: of each optimizer a step and the states to begin with."""
    ends, programs = [], 0
    for step, states in steppers:
        points = []
        for state in states:
            params, path = jnp.asarray(beale.start), [beale(jnp.asarray(beale.start))]
            for _ in range(STEPS):
                params, state, value = step(params, state)
                path.append(value)
            points.append(params)
        ends.append(np.stack(points))
        programs += 1
    return ends, programs


def step_of(tx: Any) -> Callable[..., Any]:
    @jax.jit
    def step(params: Any, state: Any) -> Any:
        value, grads = jax.value_and_grad(beale)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    return step


def by_argument() -> Any:
    """optax in a loop over optimizers, rates and steps; a step is compiled for each optimizer."""

    def steppers() -> Iterable[Any]:
        for _, theirs in COMPARED.values():
            make = optax.inject_hyperparams(theirs)
            params = jnp.asarray(beale.start)
            yield step_of(make(1.0)), [make(float(rate)).init(params) for rate in RATES]

    return looped(steppers())


def for_each() -> Any:
    """The same as one writes it first: a step is compiled for each optimizer and rate."""
    ends, programs = [], 0
    for _, theirs in COMPARED.values():
        optimizers = [theirs(float(rate)) for rate in RATES]
        params = jnp.asarray(beale.start)
        points, compiled = looped((step_of(tx), [tx.init(params)]) for tx in optimizers)
        ends.append(np.concatenate(points))
        programs += compiled
    return ends, programs


CONTENDERS: dict[str, Callable[[], Any]] = {
    SHOWN_NAME: shown,
    "race": raced,
    PEER: by_argument,
    "optax, a rate is a constant": for_each,
}


def measure(name: str) -> None:
    """Prints the seconds of two calls, in a process that has compiled nothing."""
    jax.block_until_ready(jnp.zeros(2) + 1)
    seconds: dict[str, float] = {}
    for turn in TURNS[:2]:
        start, of_cpu = time.perf_counter(), time.process_time()
        ends, programs = CONTENDERS[name]()
        seconds[turn] = time.perf_counter() - start
        seconds[f"{turn}_cpu"] = time.process_time() - of_cpu
    ends = [np.asarray(end, float).tolist() for end in ends]
    print(json.dumps({**seconds, "programs": programs, "ends": ends}))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--blocks", type=int, default=4, help="processes of each contender")
    parser.add_argument("--tag", default="local", help="the log is benchmarks/logs/race-TAG.jsonl")
    parser.add_argument("--quick", action="store_true", help="a smoke test: one block")
    parser.add_argument("--measure", choices=CONTENDERS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        measure(chosen.measure)
        return
    path = HERE / "logs" / f"race-{chosen.tag}.jsonl"
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    with path.open("w") as file:

        def log(kind: str, **record: Any) -> None:
            file.write(json.dumps({"kind": kind, **record}) + "\n")
            file.flush()

        command = " ".join(["python", "benchmarks/race.py", *sys.argv[1:]])
        log("machine", **{**machine(), "command": command}, load=os.getloadavg())
        names = orders(list(CONTENDERS))
        for block in range(1 if chosen.quick else chosen.blocks):
            for name in names[block % len(names)]:
                output = subprocess.run(
                    [sys.executable, __file__, "--measure", name],
                    capture_output=True, text=True, check=True,
                ).stdout  # fmt: skip
                found[name].append(json.loads(output))
        ends = [np.array(found[name][0]["ends"]) for name in CONTENDERS if name != SHOWN_NAME]
        apart = [float(np.nanmax(np.abs(end - ends[0]) / np.abs(ends[0]))) for end in ends]
        log("difference", largest=max(apart))
        for name, runs in found.items():
            seconds = {turn: [run[turn] for run in runs] for turn in TURNS}
            ratios = {
                turn: median_interval(
                    [mine / run[turn] for mine, run in zip(of_turn, found[PEER], strict=True)]
                )
                for turn, of_turn in seconds.items()
            }
            log("race", name=name, **seconds, programs=runs[0]["programs"], ratios=ratios)
            columns = [
                f"{turn} {statistics.median(seconds[turn]):6.2f} s"
                f" {ratios[turn][0]:5.2f} [{ratios[turn][1]:.2f}, {ratios[turn][2]:.2f}]"
                for turn in TURNS
            ]
            print(f"{name:28} {runs[0]['programs']:4} programs", *columns, sep="   ")
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
