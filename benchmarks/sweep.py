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


def measured(log: Log, kind: str, name: str, runs: int, epochs: int, turn: int) -> None:
    command = [sys.executable, __file__, "--child", name, "--runs", f"{runs}"]
    done = subprocess.run(
        [*command, "--epochs", f"{epochs}"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    about = json.loads(done.stdout.splitlines()[-1])
    log(kind, contender=name, runs=runs, epochs=epochs, turn=turn, **about)
    print(f"{name}, {runs} runs: {about['seconds']:.2f} s", file=sys.stderr, flush=True)


def report(records: Sequence[dict[str, Any]]) -> None:
    """Prints the comparison of a log, with both of fnopt.sweep's ratios, and the curves."""
    times = [r for r in records if r["kind"] == "time"]
    for runs, epochs in sorted({(r["runs"], r["epochs"]) for r in times}):
        own = [r for r in times if (r["runs"], r["epochs"]) == (runs, epochs)]
        names = list(dict.fromkeys(r["contender"] for r in own))
        seconds = {name: [r["seconds"] for r in own if r["contender"] == name] for name in names}
        ours = [name for name in (OURS, ON_TWO) if name in names]
        rows = [("", "seconds", *(f"{x} / it" for x in ours), "peak MB", "before", "best loss")]
        for name in names:
            mine = [r for r in own if r["contender"] == name]
            against = ratios({**{x: seconds[x] for x in ours}, name: seconds[name]}, name)
            peak, before, best = (
                statistics.median(r[key] for r in mine) for key in ("peak", "before", "best")
            )
            ratio = [with_interval(against.get(x)) for x in ours]
            took = f"{statistics.median(seconds[name]):.2f}"
            rows.append(
                (name, took, *ratio, f"{peak / 1e6:.0f}", f"{before / 1e6:.0f}", f"{best:.4f}")
            )
        print_table(f"{runs} configurations, {epochs} epochs", rows)
    for name in (OURS, ON_TWO):
        rows = [("runs", "seconds", "seconds a run", "peak MB")]
        for runs, (took, peak) in _curve(records, name).items():
            rows.append((f"{runs}", f"{took:.2f}", f"{took / runs:.3f}", f"{peak / 1e6:.0f}"))
        if rows[1:]:
            print_table(f"{name} by number of runs", rows)


def _curve(records: Sequence[dict[str, Any]], name: str) -> dict[int, tuple[float, float]]:
    """Median seconds and peak of memory of a contender by number of runs."""
    own = [r for r in records if r["kind"] == "curve" and r["contender"] == name]
    curve = {}
    for runs in sorted({r["runs"] for r in own}):
        both = [(r["seconds"], r["peak"]) for r in own if r["runs"] == runs]
        curve[runs] = tuple(statistics.median(x) for x in zip(*both, strict=True))
    return curve


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws seconds and memory against the number of runs, others' as points."""
    import matplotlib.pyplot as plt

    times = [r for r in records if r["kind"] == "time"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for name in (OURS, ON_TWO):
        curve = _curve(records, name)
        left.plot(list(curve), [took for took, _ in curve.values()], "o-", label=name)
        right.plot(list(curve), [peak / 1e6 for _, peak in curve.values()], "o-")
    others = (r["contender"] for r in times if r["contender"] not in (OURS, ON_TWO))
    for name in dict.fromkeys(others):
        own = [r for r in times if r["contender"] == name]
        at = own[0]["runs"]
        left.plot(at, statistics.median(r["seconds"] for r in own), "D", ms=4, label=name)
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
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS)
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
        names, kind = options.contenders or list(CONTENDERS), "time"
        if options.curve is not None:
            names, kind = options.contenders or [OURS, ON_TWO], "curve"
        if reason := torch_is_left_out():
            print(f"torch is left out: {reason}")
            names = [name for name in names if not name.startswith("torch")]
        numbers = [options.runs]
        if options.curve is not None:
            numbers = options.curve or [2**i for i in range(9)]
        for turn in range(options.turns):
            for runs in numbers:
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    measured(log, kind, name, runs, options.epochs, turn)
        log("end", load_average=load_average())
    report(log.records)
    draw(log.records, log.path.with_suffix(".png"))
    print(f"log: {log.path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
