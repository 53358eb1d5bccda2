"""An optimizer's step compared with optax's and torch's: the times to run and to compile it.

``python benchmarks/step.py --quick`` shows what it does; README.md next to it says what is compared
and how the comparison is kept fair.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from bandwidth import Copy
from log import Log
from machine import HERE, load_average, machine
from report import STEP_PEER as PEER
from report import of_step
from step_contenders import METHODS, OTHERS, contenders, shared_methods
from step_torch import torch_tracks
from step_track import NotComparable, Track, new_tree, verify
from torch_device import torch_is_left_out
from trees import ON_GPUS, TREES
from turns import median_interval, orders, print_table, ratios


@dataclasses.dataclass(frozen=True)
class Options:
    """The arguments of the command."""

    methods: list[str]
    trees: list[str]
    blocks: int
    compiles: int
    turn_ms: float
    torch: bool
    without: list[str]
    tag: str


# ---- Time of a step ----


def time_steps(method: str, tree: str, options: Options, log: Log) -> None:
    """Times the steps of a method on a tree, and logs all and a summary."""
    shapes = TREES[tree]()
    params = new_tree(shapes, seed=0, size=0.02)
    # Two gradients, so that nothing adapts to a value that never changes.
    gradients = [new_tree(shapes, seed=seed, size=1.0) for seed in (1, 2)]
    compared = contenders(method, params, options.without)
    track = Track(method, params, compared, gradients)
    of_torch = {}
    if options.torch and method in METHODS:
        of_torch = torch_tracks(method, params, gradients)
    agreement = verify(track, of_torch, params)
    in_place = {name: track.in_place(name) for name in compared}
    del params
    runs = {name: _runner(track, name) for name in compared}
    runs |= {name: of_torch[name].run for name in of_torch}
    steps = {name: _steps_of_turn(run, options.turn_ms) for name, run in runs.items()}
    log("setup", tree=tree, method=method, steps=steps, agreement=agreement, in_place=in_place)

    on_gpu = jax.default_backend() == "gpu"
    copy, bandwidths = Copy() if on_gpu else None, []
    rows = orders(list(compared))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    gc.disable()
    for block in range(options.blocks):
        order = rows[block % len(rows)]
        # The first step is not timed: the caches are as the one before left them.
        times = {name: runs[name](steps[name], 1) / steps[name] for name in order}
        for name in of_torch:
            # Last and by itself: torch's idle threads go on spinning for some time.
            times[name] = runs[name](steps[name], 1) / steps[name]
            time.sleep(0.0 if on_gpu else 0.02)
        for name, value in times.items():
            seconds[name].append(value)
        if copy is not None:
            bandwidths.append(copy.measure())
        log(
            "block", tree=tree, method=method, block=block, order=order, seconds=times,
            copy_bandwidth=bandwidths[-1] if bandwidths else None,
        )  # fmt: skip
    gc.enable()
    moved = track.bytes_moved()
    shares = {
        name: median_interval([moved / a / b for a, b in zip(times, bandwidths, strict=True)])
        for name, times in (seconds.items() if bandwidths else ())
    }
    summarize(
        "step", tree, method, seconds, log, in_place=in_place, bytes_moved=moved,
        shares_of_copy_bandwidth=shares, torch={name: x.kind for name, x in of_torch.items()},
    )  # fmt: skip


def _runner(track: Track, name: str) -> Callable[..., float]:
    return lambda steps, warm=0: track.run(name, steps, warm)


def _steps_of_turn(run: Callable[..., float], turn_ms: float) -> int:
    """As many steps as make a turn that a clock's and a scheduler's grain do not show in.

    At least 4: the first step of a turn runs beside no other's dispatch, and weighs more in fewer.
    """
    one = min(run(2) / 2 for _ in range(3))
    return min(max(4, math.ceil(turn_ms / 1e3 / one)), 1000)


# ---- Time to trace and compile ----


_warm: list[str] = []
"""Who has compiled anything in this process."""


def time_compiles(method: str, tree: str, options: Options, log: Log) -> None:
    """Times tracing and compiling the steps, and logs all and a summary."""
    params = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        TREES[tree](),
        is_leaf=lambda x: isinstance(x, tuple),
    )
    seconds: dict[str, list[float]] = {}
    temporary = {}
    choose = contenders(method, params, options.without)
    rows = orders(list(choose))
    for repeat in range(0 if _warm else -1, options.compiles):
        for name in rows[repeat % len(rows)]:
            contender = choose[name]
            arguments = (contender.pack(params), contender.shapes(params))
            arguments += (contender.gradients(params), *contender.extra())
            jax.clear_caches()
            gc.collect()
            start = time.perf_counter()
            lowered = contender.step(method).lower(*arguments)
            middle = time.perf_counter()
            compiled = lowered.compile()
            end = time.perf_counter()
            memory = compiled.memory_analysis()
            temporary[name] = getattr(memory, "temp_size_in_bytes", None)
            if repeat < 0:
                _warm.append(name)  # the first of all pays for imports
                continue
            seconds.setdefault(name, []).append(end - start)
            log(
                "compile", tree=tree, method=method, repeat=repeat, contender=name,
                trace=middle - start, compile=end - middle, temporary_bytes=temporary[name],
            )  # fmt: skip
    summarize("compile", tree, method, seconds, log, temporary_bytes=temporary)


# ---- Summaries ----


def summarize(
    kind: str, tree: str, method: str, seconds: dict[str, list[float]], log: Log, **more: Any
) -> None:
    """Logs the medians and the ratios to the peer."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    log(
        f"{kind} summary", tree=tree, method=method, n=len(seconds[PEER]), seconds=medians,
        ratios=ratios(seconds, PEER), load_average=load_average(), **more,
    )  # fmt: skip


# ---- The command ----


def options(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    on_gpu = jax.default_backend() == "gpu"
    trees = [name for name in TREES if on_gpu or name not in ON_GPUS]
    add("--methods", nargs="+", default=list(METHODS), help="or all: every one that optax has")
    add("--trees", nargs="+", choices=trees, default=trees)
    add("--blocks", type=int, default=100, help="turns of each contender at each tree and method")
    add("--compiles", type=int, default=12, help="compilations of each; 0 leaves them out")
    add("--turn-ms", type=float, default=30.0, help="how long a turn should last, at least 4 steps")
    add(
        "--torch",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare with torch; if it is installed",
    )
    add("--without", nargs="+", choices=OTHERS, default=[], help="contenders to leave out")
    add("--tag", default="local", help="the log is benchmarks/logs/step-TAG.jsonl")
    add("--quick", action="store_true", help="a smoke test: 4 blocks and 2 compilations of mlp")
    options = vars(parser.parse_args(arguments))
    if options.pop("quick"):
        options |= dict(trees=["mlp"], blocks=4, compiles=2)
    known = shared_methods()
    if options["methods"] == ["all"]:
        options["methods"] = known
    for method in options["methods"]:
        if method not in known:
            parser.error(f"no method {method!r}; known: {', '.join(known)}")
    return Options(**options)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares what the command line says, prints tables and writes a log."""
    chosen = options(arguments)
    # Or the second compilation would be a look-up.
    jax.config.update("jax_enable_compilation_cache", False)
    if chosen.torch:
        reason = torch_is_left_out()
        if reason:
            print(f"torch is left out: {reason}")
            chosen = dataclasses.replace(chosen, torch=False)
        else:
            import torch

            torch.set_grad_enabled(False)

    path = HERE / "logs" / f"step-{chosen.tag}.jsonl"
    log = Log(path)
    about = machine()
    log("machine", **about, options=dataclasses.asdict(chosen))
    print(json.dumps(about, indent=1))
    for tree in chosen.trees:
        for method in chosen.methods:
            start = time.perf_counter()
            try:
                if chosen.blocks:
                    time_steps(method, tree, chosen, log)
                if chosen.compiles:
                    time_compiles(method, tree, chosen, log)
            except NotComparable as error:
                log("left out", tree=tree, method=method, reason=str(error))
                print(f"{tree} {method} is left out: {error}")
            print(f"{tree} {method}: {time.perf_counter() - start:.0f} s", flush=True)
    for title, rows in of_step(log.records):
        print_table(title, rows)
    print(f"\nlog: {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
