"""Training with matrix methods beside AdamW: steps and seconds to AdamW's final loss.

``python benchmarks/matrix_training.py`` trains a dense network on the digits, 2c2d on
Fashion-MNIST and a transformer on letters with ``fit``. Every method is tried at as many learning
rates, half a decade apart, with one seed; the best by its final validation loss is trained with
three seeds. It writes ``logs/matrix-training-TAG.jsonl`` and a picture, and prints a table.

A rate falls to 0 by a cosine over the budget after a twentieth of warm-up; everything else has its
default. A method that reaches AdamW's final loss in no run is shown as such;
a star is at a rate that is the smallest or largest tried.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from log import Log
from machine import HERE, machine
from matrix_tasks import TASKS, Task

import fnopt
from fnopt.train import TrainState, fit, make_train_step

SEEDS = 3


class Method(NamedTuple):
    """An optimizer to be tuned.

    Attributes:
        make: a function of the learning rate.
        usual: the rate in the middle of those that are tried.
    """

    make: Callable[[Any], fnopt.Transform]
    usual: float


METHODS = {
    "adamw": Method(fnopt.adamw, 3e-3),
    "muon": Method(lambda rate: fnopt.muon(rate, consistent_rms=0.2), 3e-3),
    "normuon": Method(fnopt.normuon, 3e-3),
    "soap": Method(fnopt.soap, 3e-3),
    "kl_soap": Method(fnopt.kl_soap, 3e-3),
    "shampoo": Method(fnopt.shampoo, 3e-3),
    "psgd_kron": Method(fnopt.psgd_kron, 1e-3),
    "kfac": Method(fnopt.kfac, 1e-3),
}
"""The usual rates are those of methods whose updates have the length of Adam's, unless said."""


def scheduled(task: Task, rate: float) -> Any:
    steps = task.steps
    return fnopt.warmup_cosine_decay_schedule(0.0, rate, math.ceil(steps / 20), steps)


def trained(task: Task, method: Method, rate: float, seed: int) -> dict[str, Any]:
    """A run: its validation losses, and at which steps."""
    try:
        result = fit(
            task.objective(seed), method.make(scheduled(task, rate)), task.train,
            epochs=task.epochs, batch_size=task.batch_size, validation_data=task.validation,
            eval_every=task.every, key=seed, progress=False,
        )  # fmt: skip
    except FloatingPointError as error:
        return {"steps": [], "losses": [], "final": math.inf, "error": str(error)}
    if result.interrupted:
        raise KeyboardInterrupt
    records = result.history.evaluations
    losses = [float(r["val_loss"]) for r in records]
    final = losses[-1] if losses and math.isfinite(losses[-1]) else math.inf
    return {
        "steps": [int(r["step"]) for r in records],
        "losses": losses,
        "final": final,
    }


def time_steps(task: Task, names: Sequence[str], log: Log, key: str, blocks: int) -> None:
    """Logs mean seconds of blocks of ten steps of each method, after its first ten, in turn."""
    batch = jax.tree.map(lambda x: jnp.asarray(x[: task.batch_size]), task.train)
    goal = task.objective(0)
    step = make_train_step(goal)
    state = {name: TrainState.create(goal, METHODS[name].make(1e-4), 0) for name in names}
    for block in range(blocks + 1):
        for name in names:
            start = time.perf_counter()
            for _ in range(10):
                state[name], metrics = step(state[name], batch)
            jax.block_until_ready((state[name].step, metrics))
            if block:
                seconds = (time.perf_counter() - start) / 10
                log("steps", task=key, method=name, seconds=seconds)


def rates_of(method: Method, count: int) -> list[float]:
    half = (count - 1) / 2
    return [float(f"{method.usual * 10 ** ((i - half) / 2):.2g}") for i in range(count)]


def first_at(run: dict[str, Any], target: float) -> int | None:
    """The step of the first evaluation that is as good as the target."""
    pairs = zip(run["steps"], run["losses"], strict=True)
    return next((step for step, loss in pairs if loss <= target), None)


def seconds_of_a_step(records: Sequence[dict[str, Any]], task: str, name: str) -> float:
    """The median of the blocks that were timed in turn."""
    about = "steps", task, name
    timed = (r for r in records if (r["kind"], r.get("task"), r.get("method")) == about)
    return statistics.median(r["seconds"] for r in timed)


def report(records: Sequence[dict[str, Any]]) -> str:
    """A table for each task."""
    lines = []
    for about in (r for r in records if r["kind"] == "task"):
        runs = [r for r in records if r["kind"] == "run" and r["task"] == about["task"]]
        final = statistics.fmean([r["final"] for r in runs if r["method"] == "adamw"] or [math.nan])
        lines += [
            f"{about['title']}: {about['steps']} steps; AdamW's final validation loss {final:.4f}",
            "",
            "| method | rate | final loss | steps to it | seconds to it | ms a step |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for name in dict.fromkeys(r["method"] for r in runs):
            own = [r for r in runs if r["method"] == name]
            step = seconds_of_a_step(records, about["task"], name)
            reached = [first_at(r, final) for r in own]
            known = [x for x in reached if x is not None]
            at = f"{statistics.median(known):g}" if len(known) == len(own) else "–"
            if known and len(known) < len(own):
                at = f"{len(known)} of {len(own)} runs"
            seconds = f"{statistics.median(known) * step:.3g}" if len(known) == len(own) else "–"
            losses = ", ".join(f"{r['final']:.4f}" for r in own)
            tried = [
                r["rate"]
                for r in records
                if r["kind"] == "tried" and (r["task"], r["method"]) == (about["task"], name)
            ]
            edge = "*" if own[0]["rate"] in (min(tried), max(tried)) else ""
            rate, step_ms = f"{own[0]['rate']:g}{edge}", f"{1e3 * step:.3g}"
            lines.append(f"| `{name}` | {rate} | {losses} | {at} | {seconds} | {step_ms} |")
        lines.append("")
    return "\n".join(lines)


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """The validation losses over steps and over seconds, a row for each task."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    tasks = [r for r in records if r["kind"] == "task"]
    figure, axes = plt.subplots(len(tasks), 2, figsize=(9, 3 * len(tasks) + 0.5), squeeze=False)
    lines = {}
    for row, about in zip(axes, tasks, strict=True):
        runs = [r for r in records if r["kind"] == "run" and r["task"] == about["task"]]
        for run in runs:
            name, steps = run["method"], run["steps"]
            of_one = seconds_of_a_step(records, about["task"], name)
            look = {"color": f"C{list(METHODS).index(name)}", "lw": 1, "alpha": 0.8}
            (lines[name],) = row[0].plot(steps, run["losses"], **look)
            row[1].plot([step * of_one for step in steps], run["losses"], **look)
        row[0].set(title=about["title"], xlabel="step", ylabel="validation loss", yscale="log")
        row[1].set(xlabel="seconds", yscale="log", xscale="log")
        for ax in row:
            low, high = ax.get_ylim()
            if high > 5 * low:  # the numbers between would overlap
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_minor_formatter(NullFormatter())
            else:
                ax.yaxis.set_minor_formatter(ScalarFormatter())
                ax.tick_params(axis="y", which="minor", labelsize=8)
            ax.yaxis.set_major_formatter(ScalarFormatter())
    names = [name for name in METHODS if name in lines]
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.legend([lines[x] for x in names], names, loc="lower center", ncols=8, fontsize=8)
    figure.savefig(path, dpi=120)


def join(log: Log, paths: Sequence[str]) -> None:
    """Logs the records of several logs, each task once and methods in the order of METHODS."""
    lines = [line for path in paths for line in Path(path).read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    order = list(METHODS)
    records.sort(key=lambda r: order.index(r["method"]) if "method" in r else -1)
    seen = set()
    for record in records:
        about = record["kind"], record.get("task")
        if record["kind"] == "task" and about in seen:
            continue
        seen.add(about)
        log(record.pop("kind"), **record)


def show(log: Log) -> None:
    print(report(log.records))
    draw(log.records, log.path.with_suffix(".png"))
    print(f"log: {log.path.relative_to(HERE.parent)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rates", type=int, default=5, help="learning rates tried of each method")
    parser.add_argument("--root", help="where Debian's packages of the data are unpacked")
    parser.add_argument("--tag", default="here")
    parser.add_argument("--time", type=int, help="only time steps, so many blocks of ten in turn")
    parser.add_argument("--report", nargs="+", help="logs to join instead, of separate tasks")
    options = parser.parse_args()
    log = Log(HERE / "logs" / f"matrix-training-{options.tag}.jsonl")
    if options.report:
        join(log, options.report)
        show(log)
        return
    log("machine", **machine())
    for key in options.tasks:
        task = TASKS[key](options)
        log("task", task=key, title=task.title, steps=task.steps, batch_size=task.batch_size)
        time_steps(task, options.methods, log, key, options.time or 2)
        for name in [] if options.time else options.methods:
            method = METHODS[name]
            tried = {}
            for rate in rates_of(method, options.rates):
                tried[rate] = trained(task, method, rate, 0)
                log("tried", task=key, method=name, rate=rate, seed=0, **tried[rate])
            best = min(tried, key=lambda rate: tried[rate]["final"])
            log("run", task=key, method=name, rate=best, seed=0, **tried[best])
            for seed in range(1, SEEDS):
                run = trained(task, method, best, seed)
                log("run", task=key, method=name, rate=best, seed=seed, **run)
            print(f"{key} {name}: rate {best:g}, loss {tried[best]['final']:.4f}", file=sys.stderr)
    show(log)


if __name__ == "__main__":
    main()
