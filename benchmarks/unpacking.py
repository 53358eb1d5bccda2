"""The cost of packed parameters in a forward and backward pass: ResNet-18 on 32 by 32 pictures.

``python benchmarks/unpacking.py --quick`` shows what it does; README.md next to it says what is
compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
from log import Log
from machine import HERE, load_average, machine
from program import counts
from report import UNPACKING_PEER as PEER
from report import of_unpacking
from resnet_models import batches, new_network
from turns import orders, print_table

import fnopt
from fnopt.train import objective

CONTENDERS = (PEER, "packed", "tree again")


def passes(network: Any, batch: Any, packed: bool) -> Callable[[], Any]:
    """A function that computes loss and gradient of a batch by one compiled program.

    Args:
        network: the network.
        batch: the batch.
        packed: whether the parameters come packed, and with them the gradient.
    """
    task = objective(network, "softmax_cross_entropy_with_integer_labels")
    params, model_state = task.init(jax.random.key(0), batch)
    packing = fnopt.Packing.of(fnopt.adamw(1e-3), params)

    def loss(params: Any, model_state: Any, batch: Any) -> Any:
        tree = packing.unpack(params)
        key = jax.random.key(0)
        outputs, after = task.forward(tree, model_state, batch, key=key, train=True)
        return task.loss(outputs, batch), after

    arguments = packing.pack(params) if packed else params, model_state, batch
    both = jax.jit(jax.value_and_grad(loss, has_aux=True)).lower(*arguments).compile()

    def call() -> Any:
        return both(*arguments)

    call.counts = counts(both)
    call.tree = packing.unpack
    return call


def verify(calls: dict[str, Any]) -> float:
    """The largest difference of the gradients, relative to the largest entry of a leaf.

    Raises:
        AssertionError: a packed gradient is another.
    """
    grads = {name: jax.tree.leaves(call.tree(call()[1])) for name, call in calls.items()}
    shares = [
        float(abs(a - b).max() / abs(b).max())
        for a, b in zip(grads["packed"], grads[PEER], strict=True)
    ]
    # On GPUs convolutions of one program may be computed by another algorithm than of another.
    if max(shares) > (1e-4 if jax.default_backend() == "cpu" else 5e-2):
        raise AssertionError(f"the packed gradient differs by {max(shares):.2g}")
    return max(shares)


def seconds_of(call: Callable[[], Any], count: int) -> float:
    """Seconds a call, of several calls one after the other with one wait at the end."""
    jax.block_until_ready(call())
    start = time.perf_counter()
    for _ in range(count):
        last = call()
    jax.block_until_ready(last)
    return (time.perf_counter() - start) / count


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares what the command line says, prints a table and writes a log."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--batch", type=int, default=128, help="pictures of a batch")
    add("--width", type=int, default=64, help="channels of the first stage; 64 is ResNet-18")
    add("--blocks", type=int, default=30, help="turns of each contender")
    add("--calls", type=int, default=5, help="calls a turn, after one that is not timed")
    add("--tag", default="local", help="the log is benchmarks/logs/unpacking-TAG.jsonl")
    add("--quick", action="store_true", help="a smoke test: a small network, 4 blocks")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        vars(chosen).update(batch=2, width=4, blocks=4, calls=2)
    path = HERE / "logs" / f"unpacking-{chosen.tag}.jsonl"
    log = Log(path)
    log("machine", **machine(), options=vars(chosen))
    network, (batch,) = new_network(chosen.width), batches(chosen.batch, 1)
    calls: dict[str, Any] = {x: passes(network, batch, x == "packed") for x in CONTENDERS}
    log("setup", counts={name: call.counts for name, call in calls.items()},
        difference=verify(calls))  # fmt: skip
    rows = orders(list(calls))
    for block in range(chosen.blocks):
        times = {x: seconds_of(calls[x], chosen.calls) for x in rows[block % len(rows)]}
        log("block", block=block, seconds=times)
    log("end", load_average=load_average())
    for title, rows in of_unpacking(log.records):
        print_table(title, rows)
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
