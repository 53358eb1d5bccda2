"""Sweeps: many trainings with ``fnopt.sweep``, compared with the loops that people write.

``python benchmarks/sweep.py`` trains the digits network with 64 configurations for 10 epochs in
several ways, each in a process of its own, in turn, and prints the wall time with compilation and
without imports, its ratio to the others' and the peak of memory. With ``--curve`` it does so with
``fnopt.sweep`` alone for 1, 2, 4, … runs. ``--report LOG…`` joins logs, prints them and draws the
curve.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from log import Log
from machine import HERE, load_average, machine
from sweep_contenders import CONTENDERS, ON_TWO, work_of
from torch_device import torch_is_left_out
from turns import print_table, ratios, with_interval

OURS = "fnopt.sweep"


def child(name: str, runs: int, epochs: int) -> None:
    """Does the work once, and prints what it took as JSON."""
    import jax

    if name == ON_TWO:
        jax.config.update("jax_num_cpu_devices", 2)
    work = work_of(runs, epochs)
    jax.block_until_ready(jax.numpy.zeros(1) + 1)  # the device is there
    if name.startswith("torch"):
        import torch

        torch.zeros(1)
    before, start = _peak(), time.perf_counter()
    losses = CONTENDERS[name](work)
    seconds = time.perf_counter() - start
    device = jax.devices()[0].memory_stats() or {}
    finite = [loss for loss in losses if math.isfinite(loss)]
    about = {"seconds": seconds, "before": before, "peak": _peak(), "finite": len(finite)}
    about |= {"best": min(finite), "device_peak": device.get("peak_bytes_in_use")}
    print(json.dumps(about))


def _peak() -> int:
    """The peak of memory of this process, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measured(log: Log, name: str, runs: int, epochs: int, turn: int) -> None:
    command = [sys.executable, __file__, "--child", name, "--runs", f"{runs}"]
    done = subprocess.run(
        [*command, "--epochs", f"{epochs}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    about = json.loads(done.stdout.splitlines()[-1])
    log("time", contender=name, runs=runs, epochs=epochs, turn=turn, **about)
    print(f"{name}, {runs} runs: {about['seconds']:.2f} s", file=sys.stderr, flush=True)


def report(records: Sequence[dict[str, Any]]) -> None:
    """Prints the comparison and the curve of a log."""
    times = [r for r in records if r["kind"] == "time"]
    for runs, epochs in sorted({(r["runs"], r["epochs"]) for r in times}):
        own = [r for r in times if (r["runs"], r["epochs"]) == (runs, epochs)]
        names = list(dict.fromkeys(r["contender"] for r in own))
        if len(names) < 2:
            continue
        seconds = {name: [r["seconds"] for r in own if r["contender"] == name] for name in names}
        rows = [("", "seconds", f"{OURS} / it", "peak MB", "of that before", "finite", "best loss")]
        for name in names:
            mine = [r for r in own if r["contender"] == name]
            ratio = (
                None if name == OURS else ratios({OURS: seconds[OURS], name: seconds[name]}, name)
            )
            rows.append(
                (
                    name,
                    f"{statistics.median(seconds[name]):.2f}",
                    with_interval(ratio and ratio[OURS]),
                    *(
                        f"{statistics.median(r[k] for r in mine) / 1e6:.0f}"
                        for k in ("peak", "before")
                    ),
                    f"{mine[0]['finite']}/{runs}",
                    f"{statistics.median(r['best'] for r in mine):.4f}",
                )
            )
        print_table(f"{runs} configurations, {epochs} epochs", rows)
    curve = _curve(times)
    rows = [("runs", "seconds", "seconds a run", "peak MB")]
    for runs, (seconds, peak) in curve.items():
        rows.append((f"{runs}", f"{seconds:.2f}", f"{seconds / runs:.3f}", f"{peak / 1e6:.0f}"))
    print_table(f"{OURS} by number of runs", rows)


def _curve(times: Sequence[dict[str, Any]]) -> dict[int, tuple[float, float]]:
    """Median seconds and peak of memory by number of runs."""
    own = [r for r in times if r["contender"] == OURS]
    curve = {}
    for runs in sorted({r["runs"] for r in own}):
        both = [(r["seconds"], r["peak"]) for r in own if r["runs"] == runs]
        curve[runs] = tuple(statistics.median(x) for x in zip(*both, strict=True))
    return curve


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws seconds and memory against the number of runs, others' as lines through their one."""
    import matplotlib.pyplot as plt

    times = [r for r in records if r["kind"] == "time"]
    curve = _curve(times)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    runs = list(curve)
    left.plot(runs, [curve[n][0] for n in runs], "o-", label=OURS)
    for name in dict.fromkeys(r["contender"] for r in times if r["contender"] != OURS):
        own = [r for r in times if r["contender"] == name]
        at = own[0]["runs"]
        left.plot(at, statistics.median(r["seconds"] for r in own), "D", ms=4, label=name)
    right.plot(runs, [curve[n][1] / 1e6 for n in runs], "o-")
    left.set(xscale="log", yscale="log", xlabel="runs", ylabel="seconds, with compilation")
    right.set(xscale="log", xlabel="runs", ylabel="peak memory of the process, MB", ylim=(0, None))
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--turns", type=int, default=5, help="of each contender")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--curve", nargs="*", type=int, help="numbers of runs; 1 to 256 if none")
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--log", default="sweep", help="what the log is called before the tag")
    parser.add_argument("--tag", default="local", help="names the log")
    parser.add_argument("--report", nargs="+", help="logs to join instead")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.runs, options.epochs)
        return
    log = Log(HERE / "logs" / f"{options.log}-{options.tag}.jsonl")
    if options.report:
        for line in (x for path in options.report for x in Path(path).read_text().splitlines()):
            record = json.loads(line)
            log(record.pop("kind"), **record)
    else:
        log("machine", **machine())
        names = [OURS] if options.curve is not None else options.contenders
        if reason := torch_is_left_out():
            print(f"torch is left out: {reason}")
            names = [name for name in names if not name.startswith("torch")]
        numbers = [options.runs]
        if options.curve is not None:
            numbers = options.curve or [2**i for i in range(9)]
        for turn in range(options.turns):
            for runs in numbers:
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    measured(log, name, runs, options.epochs, turn)
        log("end", load_average=load_average())
    report(log.records)
    draw(log.records, log.path.with_suffix(".png"))
    print(f"log: {log.path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
