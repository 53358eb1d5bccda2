"""Steps of matrix methods beside AdamW, by how often what is costly in them is computed again.

``python benchmarks/refresh.py --quick`` shows what it does; README.md next to it says what is
compared.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from log import Log
from machine import HERE, machine
from turns import orders, print_table

import fnopt
from fnopt.train import TrainState, make_train_step, objective
from fnopt.train.models import MLP

PEER = "adamw"
RATE = 1e-3


def _shampoo(**options: Any) -> Callable[[int], Any]:
    return lambda every: fnopt.shampoo(RATE, precondition_frequency=every, **options)


METHODS: dict[str, Callable[[int], Any]] = {
    "shampoo": _shampoo(),
    "shampoo, newton": _shampoo(method="newton"),
    "shampoo, one side": _shampoo(one_sided=True),
    "shampoo, not staggered": _shampoo(staggered=False),
    "soap": lambda every: fnopt.soap(RATE, precondition_frequency=every),
    "kl_soap": lambda every: fnopt.kl_soap(RATE, precondition_frequency=every),
    "kfac": lambda every: fnopt.kfac(RATE, factor_interval=every, inverse_interval=every),
}
"""Optimizers by name: functions of the number of updates from one refresh to the next."""


class Contender(NamedTuple):
    """A training step, and what its optimizer keeps.

    Attributes:
        step: makes one step and waits for it.
        compile_seconds: of the first step.
        state_bytes: bytes of the optimizer's state for each parameter.
    """

    step: Callable[[], None]
    compile_seconds: float
    state_bytes: float


def contender(task: Any, batch: Any, tx: Any) -> Contender:
    """A step of a task, compiled and called once."""
    state, step = [TrainState.create(task, tx, 0)], make_train_step(task)
    leaves = jax.tree.leaves(state[0].opt_state)
    size = sum(x.size for x in jax.tree.leaves(state[0].params))
    kept = sum(x.size * x.dtype.itemsize for x in leaves if hasattr(x, "dtype"))

    def call() -> None:
        state[0], metrics = step(state[0], batch)
        jax.block_until_ready((state[0].params, metrics))

    start = time.perf_counter()
    call()
    return Contender(call, time.perf_counter() - start, kept / size)


def task_and_batch(width: int, layers: int, examples: int) -> tuple[Any, Any]:
    """A net of dense layers of one width, and a batch of noise."""
    net = MLP(width, (width,) * layers, 10, 0.0, rngs=nnx.Rngs(0))
    draw = np.random.RandomState(0)
    inputs = jnp.asarray(draw.standard_normal((examples, width)), jnp.float32)
    labels = jnp.asarray(draw.randint(10, size=examples))
    return objective(net, "softmax_cross_entropy_with_integer_labels"), (inputs, labels)


def seconds_of(step: Callable[[], None], count: int) -> list[float]:
    """Seconds of every one of so many steps."""
    found = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        found.append(time.perf_counter() - start)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS), help="what is timed")
    add("--every", nargs="+", type=int, default=[1, 10, 100], help="updates between refreshes")
    add("--width", type=int, default=128, help="of the layers")
    add("--layers", type=int, default=8, help="how many there are")
    add("--examples", type=int, default=16, help="of a batch")
    add("--blocks", type=int, default=4, help="turns of each contender, each of a whole cycle")
    add("--tag", default="local", help="the log is benchmarks/logs/refresh-TAG.jsonl")
    add("--quick", action="store_true", help="a smoke test: narrow layers, 1 block")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.width, chosen.layers, chosen.blocks = 16, 2, 1
    path = HERE / "logs" / f"refresh-{chosen.tag}.jsonl"
    log = Log(path)
    log("machine", **machine(), options=vars(chosen))
    task, batch = task_and_batch(chosen.width, chosen.layers, chosen.examples)
    makers = {PEER: (1, fnopt.adamw(RATE)), "sgd": (1, fnopt.sgd(RATE))}
    for name in chosen.methods:
        for every in chosen.every:
            makers[f"{name}, {every}"] = (every, METHODS[name](every))
    compared = {name: contender(task, batch, tx) for name, (_, tx) in makers.items()}
    gc.collect()
    gc.disable()  # it stops a step for as long as ten
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    names = orders(list(compared))
    for block in range(chosen.blocks):
        for name in names[block % len(names)]:
            # A whole cycle, or several short ones.
            count = max(makers[name][0], 10)
            seconds[name] += seconds_of(compared[name].step, count)
    peer = statistics.mean(seconds[PEER])
    rows: list[Sequence[Any]] = [
        ("method, every", "ms: mean", "median", "longest", "mean/adamw", "median/adamw", "bytes")
    ]
    for name, times in seconds.items():
        mean, middle, longest = statistics.mean(times), statistics.median(times), max(times)
        ratio, usual = mean / peer, middle / statistics.median(seconds[PEER])
        kept = compared[name].state_bytes
        log(
            "step",
            name=name,
            every=makers[name][0],
            seconds=times,
            ratio=ratio,
            ratio_of_medians=usual,
            state_bytes_per_parameter=kept,
            compile_seconds=compared[name].compile_seconds,
        )
        cells = [f"{1e3 * x:.2f}" for x in (mean, middle, longest)]
        rows.append((name, *cells, f"{ratio:.2f}", f"{usual:.2f}", f"{kept:.1f}"))
    print_table(f"Steps of {chosen.layers} layers of width {chosen.width}", rows)
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
