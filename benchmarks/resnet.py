"""A training step dispatched from Python: ResNet-18 with batch normalization, 32 by 32 pictures.

``python benchmarks/resnet.py --quick`` shows what it does; README.md next to it says what is
compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import jax
from log import Log
from machine import HERE, load_average, machine
from report import RESNET_PEER as PEER
from report import UNPACKED, of_resnet
from resnet_models import batches
from resnet_steps import TORCH, TORCH_ON_GPUS, Step, wait_for, with_fnopt, with_nnx_loop
from torch_device import torch_is_left_out
from turns import orders, print_table


def contenders(
    width: int, data: Any, torch_too: bool, compiled: bool
) -> tuple[dict[str, Step], dict[str, Any]]:
    """Steps by name, and the numbers of the compiled programs of those of fnopt.

    Args:
        width: channels of the first stage.
        data: the batches.
        torch_too: whether to compare with torch.
        compiled: whether to compare with ``torch.compile``.
    """
    steps: dict[str, Step] = {PEER: with_nnx_loop(width, data)}
    numbers = {}
    for name, packed in (("make_train_step, packed", True), (UNPACKED, False)):
        steps[name], numbers[name] = with_fnopt(width, data, packed)
    if torch_too:
        chosen = TORCH | (TORCH_ON_GPUS if jax.default_backend() == "gpu" else {})
        for name, make in chosen.items():
            if compiled or name != "torch.compile":
                steps[name] = make(width, data)
    return steps, numbers


def first_losses(steps: dict[str, Step], data: Any) -> tuple[dict[str, list[float]], dict]:
    """The losses of each contender's first steps, by which it compiles; and who fails, and why.

    Raises:
        AssertionError: the first loss of one is another than the peer's.
    """
    losses, failed = {}, {}
    for name, step in steps.items():
        try:
            losses[name] = [wait_for(step(i)) for i in range(len(data))]
        except RuntimeError as error:  # torch.compile without a compiler
            failed[name] = f"{type(error).__name__}: {error}"[:300]
    for name, (first, *_) in losses.items():
        # On GPUs they multiply in TF32.
        if abs(first - losses[PEER][0]) > 1e-2 * abs(losses[PEER][0]):
            raise AssertionError(f"{name} begins with the loss {first}, {PEER} with {losses[PEER]}")
    return losses, failed


def seconds_of(step: Step, steps: int, count: int) -> float:
    """Seconds a step, of several one after the other with one wait at the end.

    Args:
        step: the step.
        steps: how many.
        count: the number of batches, which they take in turn.
    """
    wait_for(step(0))
    start = time.perf_counter()
    for i in range(steps):
        loss = step(i % count)
    wait_for(loss)
    return (time.perf_counter() - start) / steps


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares what the command line says, prints tables and writes a log."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--batch", type=int, default=128, help="pictures of a batch")
    add("--width", type=int, default=64, help="channels of the first stage; 64 is ResNet-18")
    add("--blocks", type=int, default=30, help="turns of each contender")
    add("--steps", type=int, default=10, help="steps a turn, after one that is not timed")
    add("--torch", action=argparse.BooleanOptionalAction, default=True)
    add("--torch-compile", action=argparse.BooleanOptionalAction, default=True)
    add("--tag", default="local", help="the log is benchmarks/logs/resnet-TAG.jsonl")
    add("--quick", action="store_true", help="a smoke test: a small network, 4 blocks")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        vars(chosen).update(batch=2, width=4, blocks=4, steps=2)
    if chosen.torch and (reason := torch_is_left_out()):
        print(f"torch is left out: {reason}")
        chosen.torch = False
    path = HERE / "logs" / f"resnet-{chosen.tag}.jsonl"
    log = Log(path)
    log("machine", **machine(), options=vars(chosen))
    data = batches(chosen.batch)
    steps, numbers = contenders(chosen.width, data, chosen.torch, chosen.torch_compile)
    losses, failed = first_losses(steps, data)
    log("setup", counts=numbers, losses=losses, failed=failed)
    for name, reason in failed.items():
        print(f"{name} is left out: {reason}")
    of_torch = [name for name in losses if name.startswith("torch")]
    rows = orders([name for name in losses if name not in of_torch])
    for block in range(chosen.blocks):
        # torch last and by itself: its idle threads go on spinning for some time.
        order = [*rows[block % len(rows)], *of_torch]
        times = {}
        for name in order:
            times[name] = seconds_of(steps[name], chosen.steps, len(data))
            time.sleep(0.02 if name in of_torch else 0.0)
        log("block", block=block, order=order, seconds=times)
    log("end", load_average=load_average())
    for title, rows in of_resnet(log.records):
        print_table(title, rows)
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
