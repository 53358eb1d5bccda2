"""A training step whose optimizer evaluates, against gradients by hand: ``sam`` on a ConvNet.

``python benchmarks/sam.py --quick`` shows what it does; README.md next to it says what is compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from machine import HERE, machine
from turns import median_interval, orders

import fnopt
from fnopt.train import TrainState, make_train_step, objective
from fnopt.train.models import ConvNet

PEER = "two gradients"


def task_and_batch(batch_size: int) -> tuple[Any, Any]:
    """A ConvNet for pictures of 28 by 28, and a batch of noise."""
    net = ConvNet((28, 28, 1), (32, 64), 128, 10, 0.0, rngs=nnx.Rngs(0))
    draw = np.random.RandomState(0)
    images = jnp.asarray(draw.standard_normal((batch_size, 28, 28, 1)), jnp.float32)
    labels = jnp.asarray(draw.randint(10, size=batch_size))
    return objective(net, "softmax_cross_entropy_with_integer_labels"), (images, labels)


def stepping(task: Any, batch: Any, tx: Any) -> Callable[[], Any]:
    """A function that makes one training step and returns what to wait for."""
    state, step = [TrainState.create(task, tx, 0)], make_train_step(task)

    def call() -> Any:
        state[0], metrics = step(state[0], batch)
        return metrics

    return call


def differentiating(task: Any, batch: Any) -> Callable[[], Any]:
    """A function that computes two gradients, one after the other, each by the same program."""
    params, model_state = task.init(jax.random.key(0), batch)

    @jax.jit
    def gradient(params: Any) -> Any:
        def loss(params: Any) -> Any:
            key = jax.random.key(0)
            outputs, after = task.forward(params, model_state, batch, key=key, train=True)
            return task.loss(outputs, batch), after

        return jax.grad(loss, has_aux=True)(params)

    return lambda: (gradient(params), gradient(params))


def contenders(batch_size: int) -> dict[str, Callable[[], Any]]:
    """What is timed, by name."""
    task, batch = task_and_batch(batch_size)
    ascent = fnopt.chain(fnopt.normalize(), fnopt.sgd(0.05))
    return {
        PEER: differentiating(task, batch),
        "sgd": stepping(task, batch, fnopt.sgd(0.1)),
        "sam": stepping(task, batch, fnopt.sam(fnopt.sgd(0.1), ascent, opaque_mode=True)),
        "two gradients again": differentiating(task, batch),
    }


def seconds_of(call: Callable[[], Any], calls: int) -> float:
    """Seconds a call, of several calls one after the other with one wait at the end."""
    jax.block_until_ready(call())
    start = time.perf_counter()
    for _ in range(calls - 1):
        call()
    jax.block_until_ready(call())
    return (time.perf_counter() - start) / calls


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--batch-size", type=int, default=32, help="examples of a batch")
    add("--blocks", type=int, default=40, help="turns of each contender")
    add("--calls", type=int, default=5, help="calls a turn, after one that is not timed")
    add("--tag", default="local", help="the log is benchmarks/logs/sam-TAG.jsonl")
    add("--quick", action="store_true", help="a smoke test: 4 blocks")
    chosen = parser.parse_args(arguments)
    blocks = 4 if chosen.quick else chosen.blocks
    path = HERE / "logs" / f"sam-{chosen.tag}.jsonl"
    with path.open("w") as file:

        def log(kind: str, **record: Any) -> None:
            file.write(json.dumps({"kind": kind, **record}) + "\n")

        command = " ".join(["python", "benchmarks/sam.py", *sys.argv[1:]])
        log("machine", **{**machine(), "command": command}, options=vars(chosen))
        calls = contenders(chosen.batch_size)
        for call in calls.values():
            jax.block_until_ready(call())  # which compiles
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        names = orders(list(calls))
        for block in range(blocks):
            for name in names[block % len(names)]:
                seconds[name].append(seconds_of(calls[name], chosen.calls))
        for name, values in seconds.items():
            ratios = [x / y for x, y in zip(values, seconds[PEER], strict=True)]
            middle, low, high = median_interval(ratios)
            log("step", name=name, seconds=values, ratio=middle, interval=[low, high])
            milliseconds = 1e3 * statistics.median(values)
            print(f"{name:22} {milliseconds:8.2f} ms  {middle:.2f} [{low:.2f}, {high:.2f}]")
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
